//! One run: folders, arguments, supervisor, lines, outputs.

use crate::arguments::Values;
use crate::feed::{Fed, Feeding};
use crate::folders::{self, Folders};
use crate::isolation;
use crate::journal::Journal;
use crate::lines::LineCutter;
use crate::os::{self, End, How, KILL_WAIT_MAX, Launch, RunGroups, Supervised, Told};
use crate::outputs;
use crate::pieces::Pieces;
use crate::prepare;
use crate::process::Settings;
use crate::program;
use crate::service::{Limits, OutputSource, PASS_ALL, RUN_ID_TOKEN, Service, Stream};
use crate::slurm::{self, Job};
use anabranch_model::{Error, Execution, LogLine, LogSource, OutputRequest, OutputSink, Value};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

/// Bytes read at once from a stream: what a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// What the supervisor may take beyond the grace and its own wait before it is thought to hang.
const SUPERVISOR_MARGIN: Duration = Duration::from_secs(5);

/// How long streams are read on after the end of all processes: what is in the pipes is there already.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How often files are looked for that may be complete.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) async fn run(
    service: &Arc<Service>,
    settings: &Settings,
    execution: Execution,
) -> Result<(), Error> {
    if execution.sink.is_cancelled() {
        return Err(Error::Dismissed);
    }
    let run_id = run_id(&execution);
    let service = &service.for_run(&run_id);
    let Prepared { folders, program, arguments, environment, stdout, mut execution } =
        prepare(Arc::clone(service), execution, run_id.clone(), settings.supervisor.program.clone()).await?;
    // A stream may have no feature that the executable lets pass.
    let is_stream = execution.feed.is_some();
    let (feeding, stdin) = Feeding::of(service.command.stdin.as_ref(), &mut execution)?.unzip();
    let Execution { outputs, sink, .. } = execution;
    let sink = &*sink;
    let _link = FolderLink::make(service, &folders.work, &run_id, sink);
    let mark = run_mark();
    // Before the executable is there: nothing that it closes is missed.
    let pieces = Pieces::of(service, &outputs, &folders.work, sink);
    let limits = limits(service, sink);
    let is_here = service.command.slurm.is_none();
    let missing = RunGroups::missing(settings.groups.as_ref(), &service.limits.run);
    if is_here && !missing.is_empty() {
        let text = format!(
            "limits.{} can't hold on this machine: it has no control groups for that",
            missing.join(", limits.")
        );
        sink.log(LogLine { source: LogSource::System, text });
    }
    let (mut supervised, streams) = Supervised::spawn(Launch {
        supervisor: &settings.supervisor,
        run: &mark,
        program: &program,
        arguments: &arguments,
        environment: &environment,
        folder: working_folder(service, &folders).as_os_str(),
        limits: &limits,
        groups: settings.groups.as_ref().filter(|_| is_here),
        grace: grace(service),
        is_patient: service.command.slurm.is_some(),
        stdin,
        stdout,
    })
    .map_err(|error| Error::internal(format!("the supervisor can't be started: {error}")))?;
    let work = folders.work.to_string_lossy();
    let journal = Journal::new(service, sink, &work);
    let handing_over = AtomicBool::new(false);
    let abort = Notify::new();
    let mut reading = Reading {
        journal,
        service,
        outputs: &outputs,
        sink,
        folders: &folders,
        sent: HashMap::new(),
        handing_over: &handing_over,
        abort: &abort,
        pieces,
    };
    let (end, read, fed) = {
        let watching = watch(&mut supervised, service, sink, &abort);
        let watching = fed_until_end(watching, feeding, &abort);
        let reading = reading.read(streams.stdout, streams.stderr);
        let ((end, fed), read) = both(watching, reading, &handing_over).await;
        (end, read, fed)
    };
    reading.journal.close();
    let reason = reading.journal.reason();
    let found = outputs::found_in_lines(&reading.journal, &outputs);
    let sent = std::mem::take(&mut reading.sent);
    let missing = reading.pieces.missing_records();
    if service.command.slurm.is_some() && end.cause == Cause::Itself {
        let seconds_max = service.command.time_limit.unwrap_or_default().as_secs();
        slurm::judge(sink.scratch(), seconds_max)?;
    }
    judge(service, sink, &end, &reason, reading.journal.is_aborted(), fed)?;
    read?;
    if let Some(id) = missing.filter(|_| !is_stream) {
        let message = format!("output '{id}': no record came on standard output");
        return Err(Error::process_failed(message));
    }
    write_outputs(service, &outputs, sink, folders, found, sent).await
}

/// All that is known before the executable starts.
struct Prepared {
    folders: Folders,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdout: Option<File>,
    execution: Execution,
}

/// `driver` is the program that can drive jobs of a cluster: this one.
async fn prepare(
    service: Arc<Service>,
    execution: Execution,
    run_id: String,
    driver: PathBuf,
) -> Result<Prepared, Error> {
    blocking(move || {
        let internal =
            |error: std::io::Error| Error::internal(format!("the run's folder can't be made: {error}"));
        let mut program = find_program(&service)?;
        let scratch = std::path::absolute(execution.sink.scratch()).map_err(internal)?;
        let folders = folders::make(&scratch, &service).map_err(internal)?;
        let files = folders::write_inputs(&service, &execution.inputs, &folders)?;
        let values = Values {
            service: &service,
            inputs: &execution.inputs,
            files: &files,
            outputs: &execution.outputs,
            work: &folders.work,
            run_id: &run_id,
        };
        prepare::run(&values)?;
        let mut arguments = values.arguments()?;
        if let Some(isolation) = &service.limits.isolation {
            (program, arguments) = isolation::wrap(isolation, &service, &folders, &program, arguments)?;
        }
        let mut environment = environment(&service, &folders, values.environment()?);
        if let Some(slurm) = &service.command.slurm {
            let folder = working_folder(&service, &folders);
            let job = Job { program: &program, arguments: &arguments, environment: &environment, folder };
            arguments = slurm::arguments(slurm, &service, &scratch, &job).map_err(internal)?;
            program = driver;
            environment = slurm::driver_environment(&environment);
        }
        let to_file = service.outputs.iter().any(|rule| matches!(rule.source, OutputSource::Stdout));
        let stdout = to_file.then(|| File::create(&folders.stdout)).transpose().map_err(internal)?;
        Ok(Prepared { folders, program, arguments, environment, stdout, execution })
    })
    .await?
}

fn working_folder<'a>(service: &'a Service, folders: &'a Folders) -> &'a Path {
    service.command.working_folder.as_ref().unwrap_or(&folders.work)
}

/// Time between the polite signal and the deadly one.
fn grace(service: &Service) -> Duration {
    if service.command.slurm.is_some() { slurm::CANCEL_MAX } else { service.command.grace }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(format!("a file task died: {error}")))
}

fn find_program(service: &Service) -> Result<PathBuf, Error> {
    let program = &service.command.program;
    program::find(program, &service.folder).ok_or_else(|| Error::ProcessFailed {
        message: format!("executable '{}' does not exist on this machine", program_name(service)),
        detail: format!("{program}, from {}", service.folder.display()),
    })
}

/// The program without its folder: clients need not know where it lies.
fn program_name(service: &Service) -> String {
    let program = Path::new(&service.command.program);
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

/// The environment of the executable, whole: ours, what is passed on, what the service file sets; the last one wins.
fn environment(
    service: &Service,
    folders: &Folders,
    own: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), program::search_path()),
        ("HOME".into(), folders.home.clone().into()),
        ("TMPDIR".into(), folders.temporary.clone().into()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    for name in &service.command.pass_environment {
        if name == PASS_ALL {
            environment.extend(std::env::vars_os().filter(|(name, _)| is_passed(&name.to_string_lossy())));
        } else {
            environment.extend(std::env::var_os(name).map(|value| (name.into(), value)));
        }
    }
    environment.extend(own);
    environment
}

/// Whether [`PASS_ALL`] means a variable: not those that hold this program's secrets, and not those made for the run.
fn is_passed(name: &str) -> bool {
    !name.starts_with("ANABRANCH_") && !matches!(name, "PATH" | "HOME" | "TMPDIR")
}

/// The run as executables and service files know it.
fn run_id(execution: &Execution) -> String {
    match (execution.attempt, execution.part) {
        (0 | 1, None) => execution.job.to_string(),
        (attempt, None) => format!("{}-{attempt}", execution.job),
        // Of several at once: each has paths of its own.
        (attempt, Some(part)) => format!("{}-{attempt}.{part}", execution.job),
    }
}

/// The other path of the run's folder, while the run lasts.
struct FolderLink(PathBuf);

impl FolderLink {
    /// Makes it, where the service wants it. Executables that are told their folder can do without: a failure is but logged.
    fn make(service: &Service, work: &Path, run_id: &str, sink: &dyn OutputSink) -> Option<Self> {
        let path = PathBuf::from(service.command.folder_link.as_ref()?.replace(RUN_ID_TOKEN, run_id));
        let made =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| os::link_folder(work, &path));
        match made {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                let text = format!("the run's folder can't be linked to {}: {error}", path.display());
                sink.log(LogLine { source: LogSource::System, text });
                None
            }
        }
    }
}

impl Drop for FolderLink {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(link = %self.0.display(), %error, "the link to a run's folder can't be removed");
        }
    }
}

/// A text that no other run has, now or after a restart, and that says nothing about the job.
fn run_mark() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}-{}", std::process::id(), since_1970.as_nanos())
}

/// How a run came to its end.
struct Ending {
    end: End,
    cause: Cause,
}

/// Who ended it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Itself,
    Cancelled,
    TimedOut,
    Aborted,
}

/// Waits until all processes of the run have ended, and ends them when it is time.
async fn watch(
    supervised: &mut Supervised,
    service: &Service,
    sink: &dyn OutputSink,
    abort: &Notify,
) -> Ending {
    let mut time_limit = match service.command.time_limit {
        // A job may wait in a queue as long as it likes: its driver counts the time that it runs.
        Some(limit) if service.command.slurm.is_none() => sink.sleep(limit),
        _ => Box::pin(std::future::pending()),
    };
    let cause = loop {
        tokio::select! {
            told = supervised.told() => match told {
                Told::Started => sink.started(None),
                Told::Ended(end) => return Ending { end: confirmed(supervised, end).await, cause: Cause::Itself },
            },
            () = sink.cancelled() => break Cause::Cancelled,
            () = abort.notified() => break Cause::Aborted,
            // The wait ends early where the run is cancelled.
            () = &mut time_limit => break if sink.is_cancelled() { Cause::Cancelled } else { Cause::TimedOut },
        }
    };
    supervised.terminate().await;
    let deadline = Instant::now() + grace(service) + KILL_WAIT_MAX + SUPERVISOR_MARGIN;
    loop {
        match timeout_at(deadline, supervised.told()).await {
            Ok(Told::Started) => {}
            Ok(Told::Ended(end)) => return Ending { end: confirmed(supervised, end).await, cause },
            Err(_hangs) => {
                let end = End { how: How::Unknown, left: 0 };
                return Ending { end: confirmed(supervised, end).await, cause };
            }
        }
    }
}

/// Where the supervisor itself was killed, the processes of the run are found by their mark.
async fn confirmed(supervised: &mut Supervised, mut end: End) -> End {
    if end.how == How::Unknown {
        end.left = supervised.end_by_force().await;
    }
    end
}

/// Feeds standard input while the run goes on. What is wrong with the feed ends the run.
async fn fed_until_end(
    watching: impl Future<Output = Ending>,
    feeding: Option<Feeding>,
    abort: &Notify,
) -> (Ending, Result<Fed, Error>) {
    let Some(feeding) = feeding else { return (watching.await, Ok(Fed::All)) };
    tokio::pin!(watching);
    let fed = tokio::select! {
        biased;
        fed = feeding.run() => fed,
        ending = &mut watching => return (ending, Ok(Fed::Unwanted)),
    };
    if fed.is_err() {
        abort.notify_one();
    }
    (watching.await, fed)
}

/// Waits for both, but for the streams not much longer than for the processes.
async fn both<W, R>(
    watching: impl Future<Output = (Ending, W)>,
    reading: impl Future<Output = Result<R, Error>>,
    handing_over: &AtomicBool,
) -> ((Ending, W), Result<(), Error>) {
    tokio::pin!(watching, reading);
    let mut read = None;
    let ending = loop {
        tokio::select! {
            ending = &mut watching => break ending,
            result = &mut reading, if read.is_none() => read = Some(result.map(drop)),
        }
    };
    let read = loop {
        if let Some(read) = read {
            break read;
        }
        match timeout(DRAIN_MAX, &mut reading).await {
            Ok(result) => break result.map(drop),
            // The store is slow, not the stream.
            Err(_elapsed) if ending.0.cause == Cause::Itself && handing_over.load(Ordering::Relaxed) => {}
            // Someone outside the run holds the streams open.
            Err(_elapsed) => break Ok(()),
        }
    };
    (ending, read)
}

/// Reads the streams of a run, and hands over what is announced there.
struct Reading<'a> {
    journal: Journal<'a>,
    service: &'a Arc<Service>,
    outputs: &'a [OutputRequest],
    sink: &'a dyn OutputSink,
    folders: &'a Folders,
    /// Files handed over already, by output.
    sent: HashMap<String, HashSet<PathBuf>>,
    /// A chunk is being written: that may take as long as it likes.
    handing_over: &'a AtomicBool,
    /// Told when a line says that the run has failed.
    abort: &'a Notify,
    /// What is handed over without an announcement.
    pieces: Pieces,
}

impl Reading<'_> {
    /// Reads both streams to their end.
    ///
    /// # Errors
    /// Where a chunk can't be written; the streams are read on all the same, so that the executable is not blocked.
    async fn read(
        &mut self,
        mut stdout: Option<impl AsyncRead + Unpin>,
        mut stderr: Option<impl AsyncRead + Unpin>,
    ) -> Result<(), Error> {
        let (mut out, mut err) = (LineCutter::default(), LineCutter::default());
        let (mut out_bytes, mut err_bytes) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let mut result = Ok(());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stdout.is_some() || stderr.is_some() {
            tokio::select! {
                _ = looks.tick(), if self.pieces.are_looked_for() && result.is_ok() => {
                    result = self.look().await;
                }
                count = next(&mut stdout, &mut out_bytes) => {
                    let bytes = &out_bytes[..count];
                    if !self.pieces.has_records() {
                        self.take(Stream::Stdout, &mut out, bytes);
                    } else if result.is_ok() {
                        result = match self.pieces.records(bytes, Instant::now()) {
                            Ok(batches) => self.hand_over_records(batches).await,
                            Err(error) => Err(error),
                        };
                    }
                    if count == 0 {
                        stdout = None;
                    }
                }
                count = next(&mut stderr, &mut err_bytes) => {
                    if !self.take(Stream::Stderr, &mut err, &err_bytes[..count]) {
                        stderr = None;
                    }
                }
            }
            while let Some((output, file)) = self.journal.next_announced() {
                if result.is_ok() {
                    self.handing_over.store(true, Ordering::Relaxed);
                    result = self.hand_over(output, file).await;
                    self.handing_over.store(false, Ordering::Relaxed);
                }
            }
        }
        result
    }

    /// Gives false at the end of the stream.
    fn take(&mut self, stream: Stream, cutter: &mut LineCutter, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            cutter.finish(|line| self.journal.line(stream, line));
        } else {
            cutter.feed(bytes, |line| self.journal.line(stream, line));
        }
        if self.journal.is_aborted() {
            self.abort.notify_one();
        }
        !bytes.is_empty()
    }

    /// Hands over files that are complete by now, and records that have waited.
    async fn look(&mut self) -> Result<(), Error> {
        for request in self.pieces.files.clone() {
            let closed = self.pieces.closed(&request.id);
            let (service, work) = (Arc::clone(self.service), self.folders.work.clone());
            let sent = self.sent.get(&request.id).cloned().unwrap_or_default();
            let id = request.id.clone();
            let look = move || outputs::completed(&service, &request, &work, &sent, &closed);
            for (path, chunk) in blocking(look).await?? {
                self.handing_over.store(true, Ordering::Relaxed);
                self.sent.entry(id.clone()).or_default().insert(path);
                let written = self.sink.write(&id, chunk).await;
                self.handing_over.store(false, Ordering::Relaxed);
                written?;
            }
        }
        let due = self.pieces.due(Instant::now());
        self.hand_over_records(due).await
    }

    async fn hand_over_records(&mut self, batches: Vec<Vec<u8>>) -> Result<(), Error> {
        let Some(request) = self.pieces.requested_records() else { return Ok(()) };
        for batch in batches {
            let Some(chunk) = outputs::records(self.service, request, batch) else { continue };
            self.handing_over.store(true, Ordering::Relaxed);
            let written = self.sink.write(&request.id, chunk).await;
            self.handing_over.store(false, Ordering::Relaxed);
            written?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, output: &str, file: String) -> Result<(), Error> {
        let Some(request) = self.outputs.iter().find(|request| request.id == output) else {
            return Ok(());
        };
        let (service, request, work) = (Arc::clone(self.service), request.clone(), self.folders.work.clone());
        let found = blocking(move || outputs::announced(&service, &request, &work, &file)).await??;
        let Some((path, chunk)) = found else { return Ok(()) };
        if self.sent.entry(output.to_owned()).or_default().insert(path) {
            self.sink.write(output, chunk).await?;
        }
        Ok(())
    }
}

/// The next bytes of a stream; none at its end, and after an error, which says no more than that.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>, bytes: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// What holds for the supervisor's processes: the service's limits, and what the job may use of the processor. Those of a Slurm job hold
/// on its node.
fn limits(service: &Service, sink: &dyn OutputSink) -> Limits {
    if service.command.slurm.is_some() {
        return Limits::default();
    }
    let cpu_seconds = service.limits.cpu_seconds.into_iter().chain(sink.cpu_s_max()).min();
    Limits { cpu_seconds, ..service.limits.clone() }
}

/// Whether the run may have outputs.
fn judge(
    service: &Service,
    sink: &dyn OutputSink,
    ending: &Ending,
    reason: &str,
    is_aborted: bool,
    fed: Result<Fed, Error>,
) -> Result<(), Error> {
    let left = ending.end.left;
    if left > 0 {
        let text = format!("{left} processes of the run could not be ended");
        sink.log(LogLine { source: LogSource::System, text });
        return Err(Error::internal(format!("{left} processes of a run could not be ended")));
    }
    match ending.cause {
        Cause::Cancelled => return Err(Error::Dismissed),
        Cause::TimedOut => {
            let seconds_max = service.command.time_limit.unwrap_or_default().as_secs();
            return Err(Error::TimedOut { seconds_max });
        }
        Cause::Itself if sink.is_cancelled() => return Err(Error::Dismissed),
        Cause::Itself | Cause::Aborted => {}
    }
    if fed? == Fed::Unwanted {
        let text = "the executable ended, or closed its standard input, before it had read all".to_owned();
        sink.log(LogLine { source: LogSource::System, text });
    }
    if is_aborted {
        return Err(Error::process_failed(reason));
    }
    let name = program_name(service);
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match &ending.end.how {
        How::Exited(code) if service.command.success.contains(code) => Ok(()),
        How::Exited(code) => Err(Error::process_failed(format!("{name} exited with code {code}{because}"))),
        How::Killed(signal) => {
            if let (true, Some(seconds)) = (signal.starts_with("SIGXCPU"), limits(service, sink).cpu_seconds)
            {
                sink.used_cpu(Duration::from_secs(seconds));
            }
            Err(Error::process_failed(format!("{name} was ended by {signal}{because}")))
        }
        How::NotStarted(error) => Err(Error::process_failed(format!("{name} can't be started: {error}"))),
        How::Unknown => {
            Err(Error::process_failed(format!("{name} was lost: its supervisor was killed{because}")))
        }
    }
}

async fn write_outputs(
    service: &Arc<Service>,
    outputs: &[OutputRequest],
    sink: &dyn OutputSink,
    folders: Folders,
    found: Vec<Option<String>>,
    mut sent: HashMap<String, HashSet<PathBuf>>,
) -> Result<(), Error> {
    for (request, found) in outputs.iter().zip(found) {
        let (service, request_, folders) = (Arc::clone(service), request.clone(), folders.clone());
        let sent = sent.remove(&request.id).unwrap_or_default();
        let collect = move || outputs::collect(&service, &request_, &folders, found.as_deref(), &sent);
        let chunks: Vec<Value> = blocking(collect).await??;
        for chunk in chunks {
            if sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
            sink.write(&request.id, chunk).await?;
        }
    }
    Ok(())
}
