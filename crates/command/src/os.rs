//! What differs between operating systems: process trees, limits, signals. Another system is one more file beside `linux`.

use std::ffi::OsString;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::supervise_main;

#[cfg(not(target_os = "linux"))]
compile_error!("process supervision is written for Linux: add a file beside crates/command/src/os/linux.rs");

/// First argument that makes a program of ours a supervisor instead of what it is otherwise.
pub const SUPERVISE: &str = "__supervise";

/// How the supervisor of a run is started: a program whose `main` hands over to [`supervise_main`] before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// The program.
    pub program: PathBuf,
    /// What comes first among its arguments.
    pub arguments: Vec<OsString>,
}

impl Supervisor {
    /// This very program, with [`SUPERVISE`] as its first argument.
    #[must_use]
    pub fn this_program() -> Self {
        // Not `current_exe()`: after an upgrade in place this still starts the version that is running.
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec![SUPERVISE.into()] }
    }
}
