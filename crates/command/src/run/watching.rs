//! Waits for the end of a run's processes, and brings it about when it is time.

use super::grace;
use crate::feed::{Fed, Feeding};
use crate::os::{End, How, KILL_WAIT_MAX, Supervised, Told};
use crate::service::Service;
use anabranch_model::{Error, OutputSink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// What the supervisor may take beyond the grace and its own wait before it is thought to hang.
const SUPERVISOR_MARGIN: Duration = Duration::from_secs(5);

/// How long streams are read on after the end of all processes: what is in the pipes is there already.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How a run came to its end.
pub(super) struct Ending {
    pub(super) end: End,
    pub(super) cause: Cause,
}

/// Who ended it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Itself,
    Cancelled,
    TimedOut,
    Aborted,
}

/// Waits until all processes of the run have ended, and ends them when it is time.
pub(super) async fn watch(
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
                // What has been started for a job only waits for it: the job's begin is told by its driver.
                Told::Started if service.command.slurm.is_some() => {}
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
                let end = End::UNKNOWN;
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
pub(super) async fn fed_until_end(
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
pub(super) async fn both<W, R>(
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
