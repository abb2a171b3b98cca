//! An executable as a process: what it takes and gives, and how it is run.
//!
//! Every dialect of service file is parsed into [`Service`]; nothing behind it knows which one it was.

use crate::step::Step;
use crate::template::{Argument, Field, Owner, Template};
use anabranch_formats::playlist::features::Framing;
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

/// Runs of one service at once, where only the machine's capacity limits them.
pub const RUNS_UNBOUNDED: u32 = u32::MAX;

/// What stands for the run's identifier in paths: `out-{run.id}.zip`.
pub const RUN_ID_TOKEN: &str = "{run.id}";

/// In `pass_environment`: every variable, but this program's own (`ANABRANCH_*`), which may hold secrets.
pub const PASS_ALL: &str = "*";

/// An executable as a process.
#[derive(Clone, Debug)]
pub struct Service {
    /// What clients see.
    pub description: Arc<ProcessDescription>,
    /// It is to be published; a file that says no is kept at hand for another day.
    pub active: bool,
    /// The folder of the service file: its relative paths start here.
    pub folder: PathBuf,
    /// How each complex input comes to the executable; one for every input of the description, in its order.
    pub inputs: Vec<InputRule>,
    /// Where each output comes from; one for every output of the description, in its order.
    pub outputs: Vec<OutputRule>,
    /// Values that clients neither see nor set, by name.
    pub constants: Vec<(String, String)>,
    /// Files that are made before the executable starts, in this order.
    pub steps: Vec<Step>,
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
    /// On which machines it runs.
    pub labels: Labels,
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

    /// The same service with the run's identifier in its paths.
    pub(crate) fn for_run(self: &Arc<Self>, run_id: &str) -> Arc<Self> {
        let in_outputs =
            self.outputs.iter().any(|rule| rule.path().is_some_and(|path| path.contains(RUN_ID_TOKEN)));
        if !in_outputs && self.steps.is_empty() {
            return Arc::clone(self);
        }
        let mut service = Self::clone(self);
        for path in service.outputs.iter_mut().filter_map(OutputRule::path_mut) {
            *path = path.replace(RUN_ID_TOKEN, run_id);
        }
        for path in service.steps.iter_mut().flat_map(Step::run_paths_mut) {
            *path = path.replace(RUN_ID_TOKEN, run_id);
        }
        Arc::new(service)
    }

    /// Its complex input is used by its text, and nowhere by its file.
    pub(crate) fn takes_text_only(&self, input: &str) -> bool {
        let arguments = self.command.arguments.iter().flat_map(|argument| argument.templates());
        let environment = self.command.environment.iter().map(|(_, template)| template);
        let templates = arguments.chain(environment).chain(self.steps.iter().filter_map(Step::template));
        let fields: Vec<Field> = templates
            .flat_map(Template::placeholders)
            .filter(|placeholder| matches!(&placeholder.owner, Owner::Input(id) if id == input))
            .map(|placeholder| placeholder.field)
            .collect();
        fields.contains(&Field::Text)
            && !fields.iter().any(|field| matches!(field, Field::Value | Field::Name))
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
    /// Complex inputs: what is taken where the client gives none.
    pub default: Option<InputDefault>,
    /// Literal inputs of type `dateTime`: how the value is written for the executable, in the notation of `strftime`.
    pub date_format: Option<String>,
    /// Literal inputs: a value may be an argument of its own although it starts with `-`.
    pub allow_leading_dash: bool,
}

/// An input whose features come on standard input, one record each: all those of one value, or those of a stream as they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdinRule {
    /// Identifier of the input.
    pub input: String,
    /// How records are kept apart.
    pub framing: Framing,
}

/// The framings of records on standard input, with their names in service files.
pub const FRAMINGS: [(Framing, &str); 2] = [(Framing::Sequence, "geojsonseq"), (Framing::Lines, "ndjson")];

/// Complex data that a service file gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputDefault {
    /// Content of a file; absolute.
    File(PathBuf),
    /// The content itself.
    Text(String),
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
    /// Where else it is to go; carried along for those who deliver.
    pub delivery: Option<Delivery>,
}

impl OutputRule {
    fn path(&self) -> Option<&str> {
        match &self.source {
            OutputSource::File(path) | OutputSource::Glob { pattern: path, .. } => Some(path),
            OutputSource::Layers(_)
            | OutputSource::Stdout
            | OutputSource::Records(_)
            | OutputSource::Line { .. } => None,
        }
    }

    fn path_mut(&mut self) -> Option<&mut String> {
        match &mut self.source {
            OutputSource::File(path) | OutputSource::Glob { pattern: path, .. } => Some(path),
            OutputSource::Layers(_)
            | OutputSource::Stdout
            | OutputSource::Records(_)
            | OutputSource::Line { .. } => None,
        }
    }
}

/// Where an output is to go besides its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// A copy into the folder that agents and server share.
    pub shared_folder: bool,
    /// An upload by the agent's uploader.
    pub upload: bool,
    /// The folder on the uploader's server.
    pub upload_folder: Option<String>,
    /// A file whose text describes it on a map server: relative to the run's folder, or absolute.
    pub metadata_file: Option<String>,
}

/// Where the chunks of an output come from. Relative paths start at the run's folder and never leave it.
#[derive(Clone, Debug)]
pub enum OutputSource {
    /// One file, one chunk. An absolute path is the service author's choice: a file that all runs share.
    File(String),
    /// No file: the names under which other outputs are published, each with a `;` behind it (WPS Remote's map contexts).
    Layers(Vec<String>),
    /// Every file that matches the pattern is a chunk, in the order of their names.
    Glob {
        /// In the syntax of shells: `tiles/*.tif`.
        pattern: String,
        /// A line that says that a file is complete; its first group is the file's path. The chunk is handed over at once,
        /// while the run goes on; what no line named follows at the end.
        announced: Option<(Stream, Regex)>,
        /// When a file is complete that no line announces.
        complete: Complete,
    },
    /// All that comes on standard output.
    Stdout,
    /// Records of a sequence on standard output (GeoJSON text sequence, or one a line); several of them make a chunk, which is handed over
    /// while the run goes on.
    Records(Batch),
    /// The first group of the last line that matches.
    Line {
        /// Where to look.
        stream: Stream,
        /// What to look for.
        pattern: Regex,
    },
}

/// When a file that matches a pattern is complete. What is not seen to be so while the run goes on is handed over at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// At the end of the run.
    AtEnd,
    /// Once another file of the pattern is written later: for executables that write one file after the other.
    AtNext,
    /// As soon as it has its name: for executables that write to another name and rename.
    Named,
    /// Once whoever wrote it has closed it; the system tells that.
    Closed,
}

impl Complete {
    /// All of them, with their names in service files.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::AtEnd, "end"), (Self::AtNext, "next"), (Self::Named, "named"), (Self::Closed, "closed")];

    /// The name in service files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(complete, _)| *complete == self).map_or("end", |(_, name)| name)
    }
}

/// How many records make a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// So many at most.
    pub records_max: u64,
    /// What is there after this time is handed over, however few.
    pub wait_max: Duration,
}

/// Records of a chunk, where the service file says nothing.
pub const RECORDS_MAX_DEFAULT: u64 = 1000;

/// How long records wait for others, where the service file says nothing: nobody looks more often.
pub const RECORDS_WAIT_DEFAULT: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// A name to be looked up in `PATH`, or a path: absolute, or relative to the service file where it holds a `/`.
    pub program: String,
    /// What follows it.
    pub arguments: Vec<Argument>,
    /// Its working folder; absolute. `None` is the run's own.
    pub working_folder: Option<PathBuf>,
    /// A path with [`RUN_ID_TOKEN`] under which the run's folder is found too, for executables that make up its path
    /// themselves; absolute.
    pub folder_link: Option<String>,
    /// The input that comes on its standard input, which is empty else.
    pub stdin: Option<StdinRule>,
    /// Set for the executable.
    pub environment: Vec<(String, Template)>,
    /// Taken over from the environment of this program; [`PASS_ALL`] for all there is.
    pub pass_environment: Vec<String>,
    /// It is not run on this machine but submitted to Slurm; the run's folder has to be shared with the cluster's nodes.
    pub slurm: Option<Slurm>,
    /// Exit codes that mean success; never empty.
    pub success: Vec<i32>,
    /// How long a run may take; `None` leaves it open.
    pub time_limit: Option<Duration>,
    /// Time between the polite signal and the deadly one.
    pub grace: Duration,
    /// Bytes of log kept of one run.
    pub log_bytes_max: u64,
}

/// What a job on a Slurm cluster asks for; `None` leaves it to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slurm {
    /// The partition that takes it.
    pub partition: Option<String>,
    /// Processors.
    pub cpus: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// More options of `sbatch`, long ones, each whole: `--gres=gpu:1`.
    pub options: Vec<String>,
}

/// One of the two streams of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a run may use; `None` leaves it to the machine. Those without `run` before them hold for each process by itself.
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
    /// What all processes of the run may use together.
    pub run: RunLimits,
    /// The executable may gain rights by set-user-ID programs (`sudo`, `newuidmap`).
    pub new_privileges: bool,
    /// The executable runs apart from the rest of the machine.
    pub isolation: Option<Isolation>,
}

/// What all processes of a run may use together; `None` leaves it to the machine. They need control groups: see
/// [`RunGroups`](crate::RunGroups).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunLimits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processors, in thousandths of one.
    pub cpu_millis: Option<u64>,
}

/// How an executable is kept apart, by bubblewrap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// It may use the network.
    pub network: bool,
    /// Folders that it may read though they lie in hidden ones; absolute.
    pub visible: Vec<PathBuf>,
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
    /// What the run does now: group 1 is a level and group 2 the text, or group 1 the text; without groups the line. Logged as
    /// such, and shown beside the progress.
    Message,
    /// Why the work has not begun, as [`LineMeaning::Message`] says it. Logged, and shown as long as it has not.
    Waiting,
    /// The work has begun; what it does now, as [`LineMeaning::Message`] says it.
    Begun,
    /// Not logged.
    Ignore,
    /// Group 1, or the whole line, says why the run failed, should it fail. Logged.
    Failure,
    /// The run has failed, and its processes are ended. Which group says why as for [`LineMeaning::Message`]. Logged.
    Abort,
}

/// On which machines a service runs, by the labels that their owners give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Machines without all of these do not offer it.
    pub required: Vec<String>,
    /// Machines with more of these are taken first.
    pub preferred: Vec<String>,
}

/// How many runs a machine takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Runs of this service at once.
    pub runs: u32,
    /// What one run counts towards the machine's whole capacity.
    pub weight: f64,
}
