//! An executable as a process: what it takes and gives, and how it is run.
//!
//! Every dialect of service file is parsed into [`Service`]; nothing behind it knows which one it was.

use crate::template::{Argument, Template};
use anabranch_model::{Format, ProcessDescription};
use regex::Regex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Time between the polite signal and the deadly one, where the service file says nothing: enough to remove a lock file.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(3);

/// Longest grace a service file may ask for: a dismissed job occupies its slot meanwhile.
pub const GRACE_MAX: Duration = Duration::from_secs(600);

/// Bytes of log kept of one run, where the service file says nothing: ten megabytes are more than anyone reads.
pub const LOG_BYTES_MAX_DEFAULT: u64 = 10 << 20;

/// Runs of one service at once, where the service file says nothing: one, because who wrote nothing has not thought of two.
pub const RUNS_DEFAULT: u32 = 1;

/// An executable as a process.
#[derive(Clone, Debug)]
pub struct Service {
    /// What clients see.
    pub description: Arc<ProcessDescription>,
    /// The folder of the service file: its relative paths start here.
    pub folder: PathBuf,
    /// How each complex input comes to the executable; one for every input of the description, in its order.
    pub inputs: Vec<InputRule>,
    /// Where each output comes from; one for every output of the description, in its order.
    pub outputs: Vec<OutputRule>,
    /// Values that clients neither see nor set, by name.
    pub constants: Vec<(String, String)>,
    /// What is run.
    pub command: CommandLine,
    /// What a run may use.
    pub limits: Limits,
    /// What its lines mean; the first rule that matches decides.
    pub lines: Vec<LineRule>,
    /// Streams on which GDAL's `0...10...20` is understood.
    pub gdal_progress: Vec<Stream>,
    /// How many runs a machine takes.
    pub capacity: Capacity,
}

impl Service {
    /// The rule of an input.
    #[must_use]
    pub fn input(&self, id: &str) -> Option<&InputRule> {
        self.inputs.iter().find(|rule| rule.id == id)
    }

    /// The rule of an output.
    #[must_use]
    pub fn output(&self, id: &str) -> Option<&OutputRule> {
        self.outputs.iter().find(|rule| rule.id == id)
    }

    /// The value of a constant.
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<&str> {
        self.constants.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How an input comes to the executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRule {
    /// Identifier of the input.
    pub id: String,
    /// Complex inputs: name of its file in the run's folder; made from the identifier and the format where absent.
    pub file_name: Option<String>,
    /// Complex inputs: file taken where the client gives none; absolute.
    pub default_file: Option<PathBuf>,
    /// Literal inputs: a value may be an argument of its own although it starts with `-`.
    pub allow_leading_dash: bool,
}

/// Where an output comes from.
#[derive(Clone, Debug)]
pub struct OutputRule {
    /// Identifier of the output.
    pub id: String,
    /// Its source.
    pub source: OutputSource,
    /// What the executable calls each format (`GeoJSON` for `application/geo+json`), for `{id.format}`.
    pub format_names: Vec<(Format, String)>,
}

/// Where the chunks of an output come from. Paths are relative to the run's folder and never leave it.
#[derive(Clone, Debug)]
pub enum OutputSource {
    /// One file, one chunk.
    File(String),
    /// Every file that matches the pattern is a chunk, in the order of their names.
    Glob {
        /// In the syntax of shells: `tiles/*.tif`.
        pattern: String,
        /// A line that says that a file is complete; its first group is the file's path. The chunk is handed over at once,
        /// while the run goes on; what no line named follows at the end.
        announced: Option<(Stream, Regex)>,
    },
    /// All that comes on standard output.
    Stdout,
    /// The first group of the last line that matches.
    Line {
        /// Where to look.
        stream: Stream,
        /// What to look for.
        pattern: Regex,
    },
}

/// What is run.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// A name to be looked up in `PATH`, or a path: absolute, or relative to the service file where it holds a `/`.
    pub program: String,
    /// What follows it.
    pub arguments: Vec<Argument>,
    /// Set for the executable.
    pub environment: Vec<(String, Template)>,
    /// Taken over from the environment of this program.
    pub pass_environment: Vec<String>,
    /// Exit codes that mean success; never empty.
    pub success: Vec<i32>,
    /// How long a run may take; `None` leaves it open.
    pub time_limit: Option<Duration>,
    /// Time between the polite signal and the deadly one.
    pub grace: Duration,
    /// Bytes of log kept of one run.
    pub log_bytes_max: u64,
}

/// One of the two streams of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a run may use; `None` leaves it to the machine. All but the last hold for each process of the run by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space.
    pub memory_bytes: Option<u64>,
    /// Bytes of any one file written.
    pub file_bytes: Option<u64>,
    /// Files open at once.
    pub open_files: Option<u64>,
    /// Seconds of processor time.
    pub cpu_seconds: Option<u64>,
    /// Processes and threads of the account, over all its runs; the superuser has no such limit.
    pub processes: Option<u64>,
    /// The executable may gain rights by set-user-ID programs (`sudo`, `newuidmap`).
    pub new_privileges: bool,
}

/// What a line means.
#[derive(Clone, Debug)]
pub struct LineRule {
    /// Where it holds; `None` on both streams.
    pub stream: Option<Stream>,
    /// Which lines.
    pub pattern: Regex,
    /// What they mean.
    pub meaning: LineMeaning,
}

/// What a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineMeaning {
    /// Group 1 is a percentage, group 2 (if any) what it does. Not logged.
    Progress,
    /// Logged.
    Keep,
    /// Not logged.
    Ignore,
    /// Group 1, or the whole line, says why the run failed, should it fail. Logged.
    Failure,
}

/// How many runs a machine takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Runs of this service at once.
    pub runs: u32,
    /// What one run counts towards the machine's whole capacity.
    pub weight: f64,
}
