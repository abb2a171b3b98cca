//! Jobs: registry, admission, life cycle, dispatch, job store, result store.
//!
//! An [`Engine`] takes an execute request of any protocol, binds it, writes the job down, runs it when a slot is free and
//! keeps what it puts out. It knows no protocol: whoever answers a client turns [`JobView`] and [`Results`] into bytes.
//!
//! Read these three first: [`Engine`] (what can be asked of it), [`Registry`] (what can be executed), [`JobView`] (what is
//! seen of a job).
//!
//! Invariants: no state of a job is shown before it is committed (progress excepted); a job changes through
//! [`anabranch_model::Job::apply`] only; nothing changes after its end; `dismissed` is never said of work that still goes on;
//! a visible chunk is a complete chunk.
//!
//! What it is not: it parses no document, opens no port, starts no executable and knows no agent.

mod arrival;
mod backup;
mod board;
mod callbacks;
mod check;
mod clock;
mod clocks;
mod convert;
mod counts;
mod cpu;
mod disk;
mod dismiss;
mod dispatch;
mod engine;
mod fair;
mod folders;
mod hints;
mod hours;
mod ledger;
mod limits;
mod list;
mod live;
mod log;
mod metrics;
mod nodes;
mod own;
mod query;
mod quota;
mod recover;
mod references;
mod registry;
mod results;
mod retention;
mod run;
mod shutdown;
mod sink;
mod slots;
mod spool;
mod store;
mod submit;
#[cfg(test)]
mod tests;
mod view;

pub use anabranch_model::Priority;
pub use backup::{Copied, CopyError, back_up, restore};
pub use callbacks::{CallbackBody, CallbackSettings, RenderCallback};
pub use check::{CheckError, Finding, StoreReport, check_store, repair_store};
pub use counts::{Counts, ProcessCounts};
pub use disk::{Reservation, Room};
pub use engine::{Engine, EngineConfig, OpenError, Recovered};
pub use ledger::{Usage, UsageOf};
pub use limits::Limits;
pub use list::{Cursor, InvalidCursor, JobFilter, JobPage, PAGE_JOBS_DEFAULT, PAGE_JOBS_MAX, StateName};
pub use log::{LogEntry, LogPage};
pub use nodes::{InvalidAccess, PostgresAccess, PostgresStore};
pub use own::OwnAddresses;
pub use quota::{Quota, Quotas, Terms};
pub use registry::Registry;
pub use submit::Submitter;
pub use view::{ChunkPage, JobHandle, JobView, LiveJob, OutputLog, OutputSummary, Results, StoredRequest};
