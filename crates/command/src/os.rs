//! What differs between operating systems: process trees, limits, signals. Another system is one more file beside `linux`.

use crate::service::Limits;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{ClosedFiles, Streams, Supervised, is_executable, link_folder, stamp};
#[cfg(target_os = "linux")]
pub use linux::{RunGroups, supervise_main};

#[cfg(not(target_os = "linux"))]
compile_error!("process supervision is written for Linux: add a file beside crates/command/src/os/linux.rs");

/// How a file is, without reading it: it differs after every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change, of content or name.
    changed: (i64, i64),
}

/// First argument that makes a program of ours a supervisor instead of what it is otherwise.
pub const SUPERVISE: &str = "__supervise";

/// Set for every process of a run, to a text of the run's own: by it they are found should the supervisor be killed.
pub(crate) const RUN_VARIABLE: &str = "ANABRANCH_RUN";

/// How long processes may take to die once they were killed: those that wait for a dead disk take for ever.
pub(crate) const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

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

/// One executable to be started.
pub(crate) struct Launch<'a> {
    pub(crate) supervisor: &'a Supervisor,
    /// Value of [`RUN_VARIABLE`].
    pub(crate) run: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [OsString],
    /// All of it: nothing else is inherited.
    pub(crate) environment: &'a [(OsString, OsString)],
    /// Its working folder.
    pub(crate) folder: &'a OsStr,
    pub(crate) limits: &'a Limits,
    /// Where it gets a group of its own.
    pub(crate) groups: Option<&'a RunGroups>,
    /// Time between the polite signal and the deadly one.
    pub(crate) grace: Duration,
    /// The grace holds also where this program is gone: for what has to be wound up elsewhere.
    pub(crate) is_patient: bool,
    /// What it reads on standard input; nothing where absent.
    pub(crate) stdin: Option<OwnedFd>,
    /// Where standard output goes; read by us where absent.
    pub(crate) stdout: Option<File>,
}

/// What the supervisor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The executable runs.
    Started,
    /// It ended, and so did everything it had started.
    Ended(End),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) how: How,
    /// Processes that could not be ended, within [`KILL_WAIT_MAX`].
    pub(crate) left: usize,
    /// Processor time of all its processes.
    pub(crate) cpu: Duration,
}

impl End {
    /// The supervisor was killed.
    pub(crate) const UNKNOWN: Self = Self { how: How::Unknown, left: 0, cpu: Duration::ZERO };
}

/// How an executable ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself, with a code.
    Exited(i32),
    /// By a signal: its name.
    Killed(String),
    /// It never began.
    NotStarted(String),
    /// The supervisor was killed, so nobody knows.
    Unknown,
}
