//! Executables as processes: service files, argument building, the run's own folder, supervision, progress, outputs.
//!
//! It is *not* a shell (argv is built value by value), *not* a scheduler (who admits a run decides elsewhere) and can't know
//! whether it runs on the server or on an agent.
//!
//! Read these three first: [`Service`] (what a service file says), [`CommandProcess`] (a service as a process),
//! [`supervise_main`] (the small process between us and the executable, by which nothing is ever left running).
//!
//! Invariants: no shell; no argument holds two values; no process of a run outlives the run, not even when this program
//! is killed; no output lies outside the run's folder; nothing an executable says can make memory grow.

#![warn(missing_docs)]

mod arguments;
mod convert;
mod dialect;
mod draft;
mod feed;
mod folder;
mod folders;
mod gdal;
pub mod ini;
mod isolation;
mod journal;
mod lines;
mod links;
mod manual;
mod native;
mod os;
mod outputs;
mod pieces;
mod prepare;
mod process;
mod program;
mod records;
mod report;
mod run;
pub mod service;
mod slurm;
pub mod step;
pub mod template;
mod units;
mod usage;
mod wps_remote;

pub use convert::to_native;
pub use dialect::{Dialect, check};
pub use folder::{Looked, SERVICE_FILE_BYTES_MAX, ServiceFolder, load_file};
pub use links::remove_stale_links;
pub use os::{RunGroups, SUPERVISE, Supervisor, supervise_main};
pub use process::{CommandProcess, Settings};
pub use report::{Findings, Located, Report};
pub use service::Service;
pub use slurm::{SLURM, slurm_main};
