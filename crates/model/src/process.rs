//! Anything that can run: it takes bound inputs and pushes into a sink.
//!
//! A built-in algorithm, an executable and a remote agent differ only in who pushes.

use crate::description::{Format, ProcessDescription};
use crate::error::Error;
use crate::id::JobId;
use crate::priority::Priority;
use crate::request::OutputRequest;
use crate::value::{ComplexValue, Data, Inputs, Value};
use crate::viewer::UserName;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A boxed future, so that [`Process`] stays object-safe without a runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A process that can be published.
pub trait Process: Send + Sync {
    /// What it takes and gives; cheap, called for every request.
    fn description(&self) -> Arc<ProcessDescription>;

    /// What becomes of its runs when the server was stopped in the middle.
    fn on_restart(&self) -> OnRestart {
        if self.description().idempotent { OnRestart::Requeue } else { OnRestart::Fail }
    }

    /// Whether an attempt that was begun before the server was restarted may still be going on elsewhere; asked where
    /// [`Process::on_restart`] says [`OnRestart::Reattach`]. What never left the server is begun, not searched for.
    fn may_live_on(&self, job: JobId, attempt: u32) -> bool {
        let _any = (job, attempt);
        true
    }

    /// Most runs at once that get the work done sooner, where that is known. Who has one stream run piece by piece begins no more of them:
    /// they would only hold their data.
    fn runs_max(&self) -> Option<usize> {
        None
    }

    /// The input that a run can begin to read before it is all there ([`Execution::arriving`]); `None` where it needs all of each. Who fetches it
    /// need not wait then, but may.
    fn reads_arriving(&self) -> Option<String> {
        None
    }

    /// Does once what many runs have in common: reads the inputs that all of them share (an index over lines that do not change, say).
    /// Most processes have nothing in common between two runs, and leave it at that.
    ///
    /// # Errors
    /// Whatever is wrong with the shared inputs.
    fn prepare(&self, shared: Inputs, sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        let _no_files = sink;
        Box::pin(std::future::ready(Ok(Prepared { process: None, shared })))
    }

    /// Runs once. Calls [`OutputSink::started`] when the work really begins, pushes outputs, and ends promptly with
    /// [`Error::Dismissed`] once the sink is cancelled and *all its work has really ended*.
    ///
    /// # Errors
    /// Whatever made it fail; the job then fails with it.
    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>>;
}

/// A process around another one: it changes what it names here, and all else is the other's.
pub trait ProcessAround: Send + Sync {
    /// The other.
    fn inner(&self) -> &Arc<dyn Process>;

    /// See [`Process::description`].
    fn description(&self) -> Arc<ProcessDescription> {
        self.inner().description()
    }

    /// See [`Process::reads_arriving`].
    fn reads_arriving(&self) -> Option<String> {
        self.inner().reads_arriving()
    }

    /// See [`Process::prepare`].
    ///
    /// # Errors
    /// Whatever is wrong with the shared inputs.
    fn prepare(&self, shared: Inputs, sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        self.inner().prepare(shared, sink)
    }

    /// See [`Process::execute`].
    ///
    /// # Errors
    /// Whatever made it fail.
    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>>;
}

impl<P: ProcessAround> Process for P {
    fn description(&self) -> Arc<ProcessDescription> {
        ProcessAround::description(self)
    }

    fn on_restart(&self) -> OnRestart {
        self.inner().on_restart()
    }

    fn may_live_on(&self, job: JobId, attempt: u32) -> bool {
        self.inner().may_live_on(job, attempt)
    }

    fn runs_max(&self) -> Option<usize> {
        self.inner().runs_max()
    }

    fn reads_arriving(&self) -> Option<String> {
        ProcessAround::reads_arriving(self)
    }

    fn prepare(&self, shared: Inputs, sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        ProcessAround::prepare(self, shared, sink)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        ProcessAround::execute(self, execution)
    }
}

/// What [`Process::prepare`] gives.
pub struct Prepared {
    /// The process for the runs; `None` where it is the very one that was asked.
    pub process: Option<Arc<dyn Process>>,
    /// What the shared inputs have become: every run is given these with its own.
    pub shared: Inputs,
}

/// What becomes of a run when the server was stopped in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRestart {
    /// The job fails and says why.
    Fail,
    /// The job is run again from the start.
    Requeue,
    /// The job is run again, and goes on after the chunks that are there ([`Execution::written`]): what was shown stays.
    Continue,
    /// The run lives on elsewhere: [`Process::execute`] is called with [`Execution::resume`] once the process is back.
    Reattach,
}

/// One run of a process.
pub struct Execution {
    /// The job it belongs to.
    pub job: JobId,
    /// 1 for the first run, one more each time the job is queued again.
    pub attempt: u32,
    /// Which one it is of several runs that the attempt consists of; `None` where it is the only one. No number is used twice in an attempt.
    pub part: Option<u32>,
    /// The run was begun before the server restarted: find it again, do not start it.
    pub resume: bool,
    /// Chunks of the first output asked for that earlier attempts have put out. Not 0 only where [`Process::on_restart`] says
    /// [`OnRestart::Continue`].
    pub written: u64,
    /// Bound and resolved inputs.
    pub inputs: Inputs,
    /// Outputs asked for, with resolved formats; never empty.
    pub outputs: Vec<OutputRequest>,
    /// An input that arrives while the run goes on, of a process whose [`Chunking`](crate::Chunking) says `is_fed`; it is not among `inputs`.
    pub feed: Option<Feed>,
    /// An input that is still being fetched, of a process that says [`Process::reads_arriving`]; it is not among `inputs`.
    pub arriving: Option<Arriving>,
    /// Where everything goes.
    pub sink: Arc<dyn OutputSink>,
}

impl Execution {
    /// Waits until the input that is arriving is there, and puts it among `inputs`, where `description` has it.
    ///
    /// # Errors
    /// Why it can't be fetched.
    pub async fn arrived(&mut self, description: &ProcessDescription) -> Result<(), Error> {
        let Some(Arriving { input, format, data }) = self.arriving.take() else { return Ok(()) };
        let value = ComplexValue::new(data.complete().await?, format);
        let given = self.inputs.iter().map(|(id, values)| (id.to_owned(), values.to_vec()));
        let mut given: Vec<_> = given.chain([(input, vec![Value::Complex(value)])]).collect();
        given.sort_by_key(|(id, _)| description.inputs.iter().position(|input| input.id == *id));
        self.inputs = Inputs::new(given);
        Ok(())
    }
}

/// One value of an input that has begun to arrive: what it is is known already.
pub struct Arriving {
    /// The input's identifier.
    pub input: String,
    /// What its beginning, or the client, says it is: one of the described formats.
    pub format: Format,
    /// What there is of it.
    pub data: Arc<dyn ArrivingData>,
}

/// Bytes that are on their way.
pub trait ArrivingData: Send + Sync {
    /// Reads from the start; blocks where what is wanted is not there yet. The end is the end of all.
    ///
    /// # Errors
    /// Of the opening, and of each read: an [`io::Error`] around the [`Error`] why no more will come.
    fn open(&self) -> io::Result<Box<dyn Read + Send>>;

    /// All of it, as soon as it is there.
    ///
    /// # Errors
    /// Why no more will come.
    fn complete(&self) -> BoxFuture<'_, Result<Data, Error>>;
}

/// An input that arrives in pieces.
pub struct Feed {
    /// Its identifier.
    pub input: String,
    /// Never locked: it makes an execution one that can be borrowed across threads, which a reader alone is not.
    pieces: Mutex<Box<dyn ChunkReader>>,
}

impl Feed {
    /// The input of that identifier.
    #[must_use]
    pub fn new(input: impl Into<String>, pieces: Box<dyn ChunkReader>) -> Self {
        Self { input: input.into(), pieces: Mutex::new(pieces) }
    }

    /// The pieces.
    #[must_use]
    pub fn into_pieces(self) -> Box<dyn ChunkReader> {
        self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives chunks one after the other, as they come: the other end of [`OutputSink::write`].
pub trait ChunkReader: Send {
    /// The next chunk, as soon as it is there; `None` once no more will come. A chunk's file is kept until the next one is asked for.
    /// A future that is dropped before it has answered may take a chunk with it.
    ///
    /// # Errors
    /// What the stream ended with.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>>;
}

/// Where a run pushes: outputs are append-only logs of chunks, progress and log lines are events of the job.
pub trait OutputSink: Send + Sync {
    /// The work has begun, `on` which machine where it is not this one. Later calls change the machine only.
    fn started(&self, on: Option<&str>);

    /// Appends one chunk to an output's log. The wait is the back-pressure: when it is over, the chunk is stored.
    /// A file given as data is moved away if it lies below [`OutputSink::scratch`], else copied.
    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>>;

    /// The same for a chunk of which a copy lies on a server of the site's own, at `path` below what is shared there: who hands over
    /// paths instead of bytes may name it.
    fn write_uploaded(&self, output: &str, chunk: Value, path: &str) -> BoxFuture<'_, Result<(), Error>> {
        let _only_bytes = path;
        self.write(output, chunk)
    }

    /// Each output keeps its last so many chunks only, 1 at least; older ones are removed as new ones come.
    fn keep(&self, chunks: u64) {
        let _all = chunks;
    }

    /// Why the work has not begun; told again when that changes. Of no account once it has.
    fn waiting(&self, _reason: &str) {}

    /// How far it is, 0 to 100, and what it does; never goes back.
    fn progress(&self, percent: f32, message: Option<&str>);

    /// A line for the job's log.
    fn log(&self, line: LogLine);

    /// Ends when the run is to be ended: dismissed, or the server stops.
    fn cancelled(&self) -> BoxFuture<'_, ()>;

    /// The same, asked.
    fn is_cancelled(&self) -> bool;

    /// A folder of this run's own, which exists and is removed after the run.
    fn scratch(&self) -> &Path;

    /// Whose job it is: where runs wait for each other, users take turns.
    fn owner(&self) -> Option<&UserName> {
        None
    }

    /// What it goes before where runs wait for each other.
    fn priority(&self) -> Priority {
        Priority::default()
    }

    /// Most processor time that the run may use, in seconds; `None` where it need not be measured.
    fn cpu_s_max(&self) -> Option<u64> {
        None
    }

    /// The run has used so much more processor time. Above its limit it is cancelled.
    fn used_cpu(&self, _more: Duration) {}

    /// Waits, or ends early when cancelled. Processes know no clock of their own.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// A sink around another one: it sees what is written, and all else goes on as it is.
pub trait SinkAround: Send + Sync {
    /// Where everything else goes.
    fn inner(&self) -> &dyn OutputSink;

    /// What becomes of a chunk; see [`OutputSink::write`].
    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>>;
}

impl<S: SinkAround> OutputSink for S {
    fn started(&self, on: Option<&str>) {
        self.inner().started(on);
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        SinkAround::write(self, output, chunk)
    }

    fn keep(&self, chunks: u64) {
        self.inner().keep(chunks);
    }

    fn waiting(&self, reason: &str) {
        self.inner().waiting(reason);
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.inner().progress(percent, message);
    }

    fn log(&self, line: LogLine) {
        self.inner().log(line);
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        self.inner().cancelled()
    }

    fn is_cancelled(&self) -> bool {
        self.inner().is_cancelled()
    }

    fn scratch(&self) -> &Path {
        self.inner().scratch()
    }

    fn owner(&self) -> Option<&UserName> {
        self.inner().owner()
    }

    fn priority(&self) -> Priority {
        self.inner().priority()
    }

    fn cpu_s_max(&self) -> Option<u64> {
        self.inner().cpu_s_max()
    }

    fn used_cpu(&self, more: Duration) {
        self.inner().used_cpu(more);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        self.inner().sleep(duration)
    }
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Who said it.
    pub source: LogSource,
    /// Without line end.
    pub text: String,
}

/// Who said a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The executable, on standard output.
    Stdout,
    /// The executable, on standard error.
    Stderr,
    /// Whoever runs the process: agent, supervisor, algorithm.
    System,
}

/// A process as a plain function on a thread of its own: the engine runs it on its CPU pool.
/// An algorithm can't know who called it.
pub trait Algorithm: Send + Sync {
    /// What it takes and gives; cheap.
    fn description(&self) -> Arc<ProcessDescription>;

    /// Runs once, on a thread that may block.
    ///
    /// # Errors
    /// Whatever made it fail. Returns [`Error::Dismissed`] soon after [`AlgorithmSink::is_cancelled`] turns true.
    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error>;

    /// Does once what many runs with the same `shared` inputs have in common, on a thread that may block: gives the algorithm for those
    /// runs, which are given the shared inputs all the same; `None` where there is nothing in common.
    ///
    /// # Errors
    /// Whatever is wrong with the shared inputs.
    fn prepare(
        &self,
        shared: &Inputs,
        sink: &dyn AlgorithmSink,
    ) -> Result<Option<Arc<dyn Algorithm>>, Error> {
        let _nothing_in_common = (shared, sink);
        Ok(None)
    }
}

/// [`OutputSink`] for blocking code.
pub trait AlgorithmSink {
    /// Appends one chunk to an output's log and waits until it is stored.
    ///
    /// # Errors
    /// Where it can't be stored.
    fn write(&self, output: &str, chunk: Value) -> Result<(), Error>;

    /// How far it is, 0 to 100, and what it does.
    fn progress(&self, percent: f32, message: Option<&str>);

    /// A line for the job's log.
    fn log(&self, text: &str);

    /// The run is to be ended.
    fn is_cancelled(&self) -> bool;

    /// A folder of this run's own.
    fn scratch(&self) -> &Path;

    /// Does `work` here. Where a processor has nothing else to do, `help` does some of it on a thread of its own meanwhile; both have ended when this
    /// returns. `work` does whatever `help` does not, which may be never called.
    ///
    /// # Errors
    /// Those of `work`.
    fn share(
        &self,
        work: &mut dyn FnMut() -> Result<(), Error>,
        help: &(dyn Fn(&dyn HelperSink) + Sync),
    ) -> Result<(), Error> {
        let _alone = help;
        work()
    }
}

/// What a thread that helps with a run is told; see [`AlgorithmSink::share`].
pub trait HelperSink {
    /// The run is to be ended.
    fn is_cancelled(&self) -> bool;

    /// Another run has come to need the processor: whoever helps ends soon, within a few milliseconds.
    fn is_needed_elsewhere(&self) -> bool;
}
