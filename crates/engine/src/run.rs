//! One run of a job, from the slot it gets to the state it leaves the job in.

use crate::clocks::{Waited, within};
use crate::engine::Inner;
use crate::folders::{self, blocking};
use crate::live::Live;
use crate::references::{self, Resolved};
use crate::sink::{Attempt, RunSink};
use anabranch_model::{
    BoundRequest, Error, Execution, JobEvent, LogLine, LogSource, OnRestart, Process, ProcessDescription,
    bind,
};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};

/// Pause before a lost run is repeated, times the attempts so far: an agent needs a moment to come back.
const REPEAT_AFTER: Duration = Duration::from_millis(500);

/// How a run left its job.
enum Ended {
    /// With this result, as a run of a process so described: it may be withdrawn by now, just because its only agent was lost.
    With(Result<(), Error>, Arc<ProcessDescription>),
    /// Its process is not published at present.
    NoProcess,
    /// The server goes, the run lives on elsewhere: the next server finds it again.
    Detached,
    /// It never began: the job had been dismissed.
    Gone,
}

impl Inner {
    /// Begins as many runs as there are slots.
    pub(crate) fn pump(self: &Arc<Self>) {
        while let Some(live) = self.dispatcher.next() {
            let engine = Arc::clone(self);
            let span = tracing::error_span!(parent: &live.span(), "run", otel.status_code = field::Empty);
            let run = async move {
                let began = Instant::now();
                let mut leavings = Vec::new();
                let ended = attempt(&engine, &live, &mut leavings).await;
                if matches!(ended, Ended::With(Err(_), _)) {
                    // What it is called where runs are traced.
                    Span::current().record("otel.status_code", "ERROR");
                }
                settle(&engine, &live, ended).await;
                engine.account(&live);
                // In the place of a run: what is still to be removed where the disk is slow can't grow.
                if !leavings.is_empty() {
                    // Lost work here is swept by the next start.
                    let _ = blocking(move || leavings.iter().for_each(|it| folders::remove_folder(it))).await;
                }
                engine.dispatcher.ended(&live, began.elapsed());
                engine.pump();
            };
            self.runtime.spawn(run.instrument(span));
        }
    }
}

/// `leavings` gets the folders that are to be removed once the end has been told.
async fn attempt(engine: &Arc<Inner>, live: &Arc<Live>, leavings: &mut Vec<PathBuf>) -> Ended {
    let Ok(process) = engine.registry.get(&live.request.request.process) else {
        return Ended::NoProcess;
    };
    let (description, on_restart) = (process.description(), process.on_restart());
    let Some(marked) = live.begin(on_restart) else {
        return Ended::Gone;
    };
    // After a crash the mark decides whether the job may be run again, so it must be there before the work begins.
    let must_be_marked = on_restart == OnRestart::Reattach || (on_restart == OnRestart::Fail && !live.sync);
    if must_be_marked && marked.await.is_err() {
        return Ended::Detached;
    }
    let detached = async {
        match on_restart {
            OnRestart::Reattach => engine.detach.cancelled().await,
            OnRestart::Fail | OnRestart::Requeue | OnRestart::Continue => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = execute(engine, live, process, &description, on_restart, leavings) => Ended::With(result, description),
        () = detached => Ended::Detached,
    }
}

async fn execute(
    engine: &Arc<Inner>,
    live: &Arc<Live>,
    process: Arc<dyn Process>,
    description: &Arc<ProcessDescription>,
    on_restart: OnRestart,
    leavings: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let resume = live.take_resume() && process.may_live_on(live.id, live.attempt());
    let cancel = match on_restart {
        // Such runs outlive the server, so its end is not theirs.
        OnRestart::Reattach => CancellationToken::new(),
        OnRestart::Fail | OnRestart::Requeue | OnRestart::Continue => engine.stop.child_token(),
    };
    let fetching = Instant::now();
    let arriving = process.reads_arriving();
    let resolved = inputs(engine, live, description, arriving.as_deref(), resume, &cancel).await;
    let fetched = live.has_references().then(|| engine.folders.fetched(live.id));
    let Resolved { inputs, arriving } = match (resolved, &fetched) {
        (Err(error), Some(folder)) => {
            let folder = folder.clone();
            blocking(move || folders::remove_folder(&folder)).await?;
            return Err(error);
        }
        (resolved, _) => resolved?,
    };
    let (arriving, fetching_on) = arriving.unzip();
    let waited = if resume { Waited::BeforeRestart } else { Waited::ButFor(fetching.elapsed()) };
    let attempt = Attempt::new(
        Arc::clone(engine),
        Arc::clone(live),
        Arc::clone(description),
        on_restart,
        cancel.clone(),
    );
    let attempt = Arc::new(attempt);
    let execution = Execution {
        job: live.id,
        attempt: live.attempt(),
        part: None,
        resume,
        written: if on_restart == OnRestart::Continue { live.written() } else { 0 },
        feed: None,
        arriving,
        inputs,
        outputs: live.request.outputs.to_vec(),
        sink: Arc::new(RunSink(Arc::clone(&attempt))),
    };
    let run = AssertUnwindSafe(async move { process.execute(execution).await }).catch_unwind();
    let run = async { run.await.unwrap_or_else(|payload| Err(panicked(payload.as_ref()))) };
    let result = within(engine, live, run, waited, &cancel).await;
    attempt.close();
    if let Some(fetching) = fetching_on {
        fetching.abort();
        // Its file is removed by then.
        let _ = fetching.await;
    }
    // Also of a run that has done its work meanwhile: how much all its processes have used is known when the last has ended.
    let result = attempt.cpu_exceeded().map_or(result, |limit| Err(Error::over(limit)));
    let scratch = attempt.scratch_made();
    if scratch.is_some() || fetched.is_some() {
        let folders = engine.folders.clone();
        let set_aside =
            move || scratch.iter().chain(&fetched).map(|folder| folders.set_aside(folder)).collect();
        *leavings = blocking(set_aside).await?;
    }
    result.and_then(|()| complete(live))
}

/// The inputs, unless the job is dismissed while they are fetched; `arriving` names one that need only have begun to arrive.
async fn inputs(
    engine: &Arc<Inner>,
    live: &Arc<Live>,
    description: &ProcessDescription,
    arriving: Option<&str>,
    resume: bool,
    cancel: &CancellationToken,
) -> Result<Resolved, Error> {
    let bound = bound(live, description)?;
    if resume {
        return Ok(Resolved::at_hand(&bound));
    }
    tokio::select! {
        biased;
        inputs = references::resolve(engine, live, description, &bound, arriving, cancel) => inputs,
        () = live.cancel.cancelled() => Err(Error::Dismissed),
        () = cancel.cancelled() => Err(Error::Dismissed),
    }
}

/// The request bound to its process: as it was accepted, or after a restart bound to the process as it is now.
fn bound(live: &Live, description: &ProcessDescription) -> Result<Arc<BoundRequest>, Error> {
    if let Some(bound) = live.bound() {
        return Ok(bound);
    }
    let bound = Arc::new(bind(description, &live.request.request)?);
    live.set_bound(Arc::clone(&bound));
    Ok(bound)
}

/// A run that ended well must have written what was asked for: outputs named in the request, and one at least.
fn complete(live: &Live) -> Result<(), Error> {
    let unwritten = live.unwritten();
    // Whoever asks for a group of outputs, or for all of them, gets what is there.
    let named = |id: &&String| live.request.request.outputs.iter().any(|asked| asked.id == **id);
    let missing: Vec<_> = unwritten.iter().filter(named).map(String::as_str).collect();
    if !missing.is_empty() {
        let message = format!("the process ended without writing output '{}'", missing.join("', '"));
        return Err(Error::process_failed(message));
    }
    if unwritten.len() == live.request.outputs.len() {
        return Err(Error::process_failed("the process ended without writing an output"));
    }
    Ok(())
}

async fn settle(engine: &Arc<Inner>, live: &Arc<Live>, ended: Ended) {
    let (result, description) = match ended {
        Ended::Gone => return,
        Ended::Detached => {
            live.wait_again();
            return;
        }
        Ended::NoProcess => {
            tokio::spawn(wait_for_process(Arc::clone(engine), Arc::clone(live)));
            return;
        }
        Ended::With(result, description) => (result, description),
    };
    let dismissing = live.is_dismissing();
    let result = match result {
        // Nobody dismissed it: either the server stops, or the process made it up.
        Err(Error::Dismissed) if !dismissing => Err(interrupted(engine)),
        result => result,
    };
    if let (Err(error), false) = (&result, dismissing)
        && let Some(again) = again(engine, live, &description, error)
    {
        repeat(engine, live, error, again).await;
        return;
    }
    if let Err(error) = &result
        && !dismissing
    {
        report(engine, live, error);
    }
    tracing::debug!(ok = result.is_ok(), attempt = live.attempt(), "ended");
    let ended = live.apply(JobEvent::Ended(result));
    if dismissing && ended == anabranch_model::Applied::Finished && !live.is_stream() {
        let (folders, job) = (engine.folders.clone(), live.id);
        // Lost work here is swept by the next start.
        let _ = blocking(move || folders.forget_results(job)).await;
    }
}

fn interrupted(engine: &Inner) -> Error {
    let reason = if engine.stop.is_cancelled() {
        "it was shut down before the run had ended"
    } else {
        "the process said that it had been dismissed, and nobody had asked for that"
    };
    Error::Interrupted { reason: reason.into() }
}

/// What becomes of a run that was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It is repeated after a pause.
    Soon,
    /// It is repeated by the next server.
    NextStart,
}

fn again(engine: &Inner, live: &Live, description: &ProcessDescription, error: &Error) -> Option<Again> {
    let idempotent = match error {
        // Of what was lost with its agent the service file may say more.
        Error::AgentLost { .. } => description.repeats_lost_runs(),
        _ => description.idempotent,
    };
    if engine.stop.is_cancelled() {
        // Nobody waits for the answer of a synchronous job once the server has gone.
        return (idempotent && !live.sync && error.is_transient()).then_some(Again::NextStart);
    }
    // Who is busy has not begun, so that nothing is repeated.
    let harmless = idempotent || matches!(error, Error::Busy { .. });
    (error.is_transient() && harmless && live.attempt() < engine.limits.attempts_max).then_some(Again::Soon)
}

async fn repeat(engine: &Arc<Inner>, live: &Arc<Live>, error: &Error, again: Again) {
    let reason = error.client_text();
    tracing::info!(job = %live.id, %error, "a run was lost; the job is queued again");
    engine.say(live, &format!("attempt {} was lost: {reason}; queued again", live.attempt()));
    if !live.continues() {
        let (folders, job) = (engine.folders.clone(), live.id);
        // Lost work here is overwritten by the next attempt.
        let _ = blocking(move || folders.forget_results(job)).await;
    }
    let pause = REPEAT_AFTER * live.attempt();
    let goes_on = live.requeue(reason);
    engine.account(live);
    if !goes_on || again == Again::NextStart {
        return;
    }
    let (engine, live) = (Arc::clone(engine), Arc::clone(live));
    tokio::spawn(async move {
        let place = engine.dispatcher.wait_outside(&live);
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => place.enqueue(Arc::clone(&live)),
            () = live.cancel.cancelled() => return,
            () = engine.stop.cancelled() => return,
        }
        engine.pump();
    });
}

/// A job whose turn has come while its process is not published waits for it outside the queue, so that others go on.
async fn wait_for_process(engine: Arc<Inner>, live: Arc<Live>) {
    let place = engine.dispatcher.wait_outside(&live);
    let id = &live.request.request.process;
    let mut changes = engine.registry.watch();
    let published = async {
        while engine.registry.get(id).is_err() {
            // The sender lives as long as the engine.
            let _ = changes.changed().await;
        }
    };
    // A run that lives on elsewhere can be ended only where it is.
    let dismissed = async {
        if live.resumes() {
            std::future::pending().await
        } else {
            live.cancel.cancelled().await;
        }
    };
    let ms_max = engine.limits.reattach_ms_max;
    tokio::select! {
        biased;
        () = published => {
            place.enqueue(Arc::clone(&live));
            engine.pump();
        }
        () = dismissed => {}
        () = engine.stop.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(ms_max)) => {
            let error = if live.resumes() {
                let reason = format!("process '{id}' was not published again within {ms_max} ms of the restart");
                Error::AgentLost { reason }
            } else {
                Error::NoSuchProcess(id.to_string())
            };
            report(&engine, &live, &error);
            live.apply(JobEvent::Ended(Err(error)));
        }
    }
}

/// Says once, where it is handled, why a job failed.
fn report(engine: &Inner, live: &Live, error: &Error) {
    match error {
        Error::Internal { .. } | Error::NotEnoughStorage { .. } => {
            tracing::error!(job = %live.id, process = %live.request.request.process, %error, "a job failed");
        }
        error => tracing::debug!(job = %live.id, %error, "a job failed"),
    }
    engine.say(live, &format!("failed: {}", error.client_text()));
}

/// The error of a run that panicked; the payload is for the log.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the process panicked: {}", text.unwrap_or("without a text")))
}

impl Inner {
    /// What is not kept of a job any more is not its owner's any more.
    pub(crate) fn account(&self, live: &Live) {
        self.dispatcher.shrink(&live.owner, live.process(), live.take_back());
    }

    /// A line of our own in a job's log.
    pub(crate) fn say(&self, live: &Live, text: &str) {
        self.logs.append(&live.log, &LogLine { source: LogSource::System, text: text.into() });
    }
}
