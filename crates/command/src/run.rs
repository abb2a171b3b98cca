//! One run: folders, arguments, supervisor, lines, outputs.

mod link;
mod reading;
mod ready;
mod watching;

use crate::feed::{Fed, Feeding};
use crate::folders::Folders;
use crate::journal::Journal;
use crate::os::{How, Launch, RunGroups, Streams, Supervised};
use crate::outputs;
use crate::pieces::Pieces;
use crate::process::Settings;
use crate::service::{Limits, Service};
use crate::slurm;
use anabranch_model::{Error, Execution, LogLine, LogSource, OutputRequest, OutputSink, Value};
use link::FolderLink;
use reading::{Reading, Said};
use ready::Ready;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use watching::{Cause, Ending};

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
    let driver = settings.supervisor.program.clone();
    let mut ready = ready::make(Arc::clone(service), execution, run_id.clone(), driver).await?;
    // A stream may have no feature that the executable lets pass.
    let is_stream = ready.execution.feed.is_some();
    let (feeding, stdin) = Feeding::of(service.command.stdin.as_ref(), &mut ready.execution)?.unzip();
    let sink = Arc::clone(&ready.execution.sink);
    let (sink, outputs) = (&*sink, std::mem::take(&mut ready.execution.outputs));
    let _link = FolderLink::make(service, &ready.folders.work, &run_id, sink);
    // Before the executable is there: nothing that it closes is missed.
    let pieces = Pieces::of(service, &outputs, &ready.folders.work, sink);
    let folders = ready.folders.clone();
    let (mut supervised, streams) = start(service, settings, ready, stdin)?;
    let work = folders.work.to_string_lossy();
    let (handing_over, abort) = (AtomicBool::new(false), Notify::new());
    let mut reading = Reading {
        journal: Journal::new(service, sink, &work),
        service,
        outputs: &outputs,
        sink,
        folders: &folders,
        sent: HashMap::new(),
        handing_over: &handing_over,
        abort: &abort,
        pieces,
    };
    let ((ending, fed), read) = {
        let watching = watching::watch(&mut supervised, service, sink, &abort);
        let watching = watching::fed_until_end(watching, feeding, &abort);
        watching::both(watching, reading.read(streams.stdout, streams.stderr), &handing_over).await
    };
    let said = reading.said();
    judge(service, sink, &ending, &said, fed)?;
    read?;
    if let Some(id) = said.missing.as_ref().filter(|_| !is_stream) {
        let message = format!("output '{id}': no record came on standard output");
        return Err(Error::process_failed(message));
    }
    write_outputs(service, &outputs, sink, &folders, said).await
}

/// Starts the supervisor, which starts the executable.
fn start(
    service: &Service,
    settings: &Settings,
    ready: Ready,
    stdin: Option<OwnedFd>,
) -> Result<(Supervised, Streams), Error> {
    let sink = &*ready.execution.sink;
    let is_here = service.command.slurm.is_none();
    let missing = RunGroups::missing(settings.groups.as_ref(), &service.limits.run);
    if is_here && !missing.is_empty() {
        let text = format!(
            "limits.{} can't hold on this machine: it has no control groups for that",
            missing.join(", limits.")
        );
        sink.log(LogLine { source: LogSource::System, text });
    }
    let launch = Launch {
        supervisor: &settings.supervisor,
        run: &run_mark(),
        program: &ready.program,
        arguments: &ready.arguments,
        environment: &ready.environment,
        folder: working_folder(service, &ready.folders).as_os_str(),
        limits: &limits(service, sink),
        groups: settings.groups.as_ref().filter(|_| is_here),
        grace: grace(service),
        is_patient: !is_here,
        stdin,
        stdout: ready.stdout,
    };
    Supervised::spawn(launch)
        .map_err(|error| Error::internal(format!("the supervisor can't be started: {error}")))
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

/// The program without its folder: clients need not know where it lies.
fn program_name(service: &Service) -> String {
    let program = Path::new(&service.command.program);
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
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

/// A text that no other run has, now or after a restart, and that says nothing about the job.
fn run_mark() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}-{}", std::process::id(), since_1970.as_nanos())
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

/// Of all processes of a run. One that was ended for it has used all that it may, whatever the kernel's ticks make of that.
fn used_cpu(service: &Service, sink: &dyn OutputSink, ending: &Ending) -> Duration {
    let is_ended_for_it = matches!(&ending.end.how, How::Killed(signal) if signal.starts_with("SIGXCPU"));
    let all = limits(service, sink).cpu_seconds.filter(|_| is_ended_for_it);
    ending.end.cpu.max(Duration::from_secs(all.unwrap_or(0)))
}

/// Whether the run may have outputs.
fn judge(
    service: &Service,
    sink: &dyn OutputSink,
    ending: &Ending,
    said: &Said,
    fed: Result<Fed, Error>,
) -> Result<(), Error> {
    if service.command.slurm.is_some() && ending.cause == Cause::Itself {
        let seconds_max = service.command.time_limit.unwrap_or_default().as_secs();
        slurm::judge(sink.scratch(), seconds_max)?;
    }
    if service.command.slurm.is_none() {
        sink.used_cpu(used_cpu(service, sink, ending));
    }
    let reason = said.reason.as_str();
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
    if said.is_aborted {
        return Err(Error::process_failed(reason));
    }
    let name = program_name(service);
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match &ending.end.how {
        How::Exited(code) if service.command.success.contains(code) => Ok(()),
        How::Exited(code) => Err(Error::process_failed(format!("{name} exited with code {code}{because}"))),
        How::Killed(signal) => Err(Error::process_failed(format!("{name} was ended by {signal}{because}"))),
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
    folders: &Folders,
    mut said: Said,
) -> Result<(), Error> {
    for (request, found) in outputs.iter().zip(said.found) {
        let (service, request_, folders) = (Arc::clone(service), request.clone(), folders.clone());
        let sent = said.sent.remove(&request.id).unwrap_or_default();
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
