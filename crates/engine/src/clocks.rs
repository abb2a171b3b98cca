//! Two clocks of a job, which never run at the same time: how long it waits for its work to begin, and how long the work takes.

use crate::clock;
use crate::engine::Inner;
use crate::live::Live;
use anabranch_model::{Error, JobEvent, Limit, LimitKind};
use futures_util::FutureExt as _;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the queue is looked through for jobs that have waited too long: their limits are seconds.
const LOOK: Duration = Duration::from_millis(200);

/// Ends who has waited too long in the queue, until the engine stops or is gone.
pub(crate) async fn keep_ending_overdue(engine: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(engine) = engine.upgrade() else { return };
        if engine.stop.is_cancelled() {
            return;
        }
        for live in engine.dispatcher.overdue(clock::now()) {
            let limit = live.limit(LimitKind::QueueSeconds, engine.limits.queue_s_max);
            engine.say(&live, &format!("failed: it waited too long: {limit}"));
            live.apply(JobEvent::Ended(Err(Error::over(limit))));
        }
    }
}

/// What of the time since its acceptance a run has waited for its work.
#[derive(Clone, Copy)]
pub(crate) enum Waited {
    /// All but this, which its inputs took to be fetched.
    ButFor(Duration),
    /// None that counts: it had begun before the server was restarted.
    BeforeRestart,
}

/// Runs, and cancels what waits or works too long; its end is awaited all the same.
pub(crate) async fn within(
    engine: &Inner,
    live: &Arc<Live>,
    run: impl Future<Output = Result<(), Error>>,
    waited: Waited,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let mut run = std::pin::pin!(run);
    // Most runs are over at once: a timer for each would cost more than the run.
    if let Some(result) = run.as_mut().now_or_never() {
        return result;
    }
    tokio::select! {
        biased;
        result = &mut run => result,
        limit = too_long(engine, live, waited) => {
            cancel.cancel();
            match run.await {
                Ok(()) => Ok(()),
                Err(_ended) => Err(Error::over(limit)),
            }
        }
    }
}

/// Ends when the run has waited or worked too long.
async fn too_long(engine: &Inner, live: &Arc<Live>, waited: Waited) -> Limit {
    let mut shown = live.watch();
    let began = async move {
        let began = shown.wait_for(|view| view.job.started.is_some()).await.map(|view| view.job.started);
        match began {
            Ok(began) => began.unwrap_or_else(clock::now),
            // The engine is gone, and with it soon the run.
            Err(_closed) => std::future::pending().await,
        }
    };
    let queue = live.limit(LimitKind::QueueSeconds, engine.limits.queue_s_max);
    let overdue = async {
        match waited {
            Waited::BeforeRestart => std::future::pending().await,
            Waited::ButFor(fetched) => {
                let left = clock::until(live.queue_deadline(engine.limits.queue_s_max));
                tokio::time::sleep(left.saturating_add(fetched)).await;
            }
        }
    };
    let began = tokio::select! {
        biased;
        began = began => began,
        () = overdue => return queue,
    };
    let limit = live.limit(LimitKind::RunSeconds, engine.limits.run_s_max);
    tokio::time::sleep(clock::until(clock::seconds_after(began, limit.max))).await;
    limit
}
