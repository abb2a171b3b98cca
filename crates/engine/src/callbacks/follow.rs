//! The callbacks of one job: a task that waits for its states and delivers them in order.

use super::pause::{Failed, pause};
use super::post::{Posted, post};
use super::{Callbacks, Place};
use crate::clock;
use crate::engine::Inner;
use crate::store::inbox::Rows;
use crate::view::{JobView, StoredRequest};
use anabranch_model::{CallbackEvent, JobId, Subscriber};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The engine goes; what is due stays written down.
struct Stopped;

/// A job that is followed.
struct Followed {
    engine: Weak<Inner>,
    callbacks: Arc<Callbacks>,
    stop: CancellationToken,
    job: JobId,
    sequence: i64,
    subscriber: Subscriber,
    due: Vec<CallbackEvent>,
    view: watch::Receiver<Arc<JobView>>,
    _place: Place,
}

impl Inner {
    /// Delivers what is due of a job that is written down.
    pub(super) fn follow(
        self: &Arc<Self>,
        place: Place,
        due: Vec<CallbackEvent>,
        sequence: i64,
        request: &StoredRequest,
        view: watch::Receiver<Arc<JobView>>,
    ) {
        let followed = Followed {
            engine: Arc::downgrade(self),
            callbacks: Arc::clone(&place.callbacks),
            stop: self.stop.clone(),
            job: place.job,
            sequence,
            subscriber: request.request.subscriber.clone().unwrap_or_default(),
            due,
            view,
            _place: place,
        };
        self.runtime.spawn(async move {
            // What is due then is taken up by the next server.
            let _stopped = followed.run().await;
        });
    }
}

impl Followed {
    async fn run(mut self) -> Result<(), Stopped> {
        if self.due.contains(&CallbackEvent::InProgress) {
            let view = self.when(|event| event.is_some()).await?;
            if CallbackEvent::of(&view.job.state) == Some(CallbackEvent::InProgress) {
                self.deliver(CallbackEvent::InProgress, &view).await?;
            }
        }
        let view = self.when(|event| event.is_some_and(|event| event != CallbackEvent::InProgress)).await?;
        match CallbackEvent::of(&view.job.state).filter(|event| self.due.contains(event)) {
            Some(event) => self.deliver(event, &view).await,
            None => self.settle(None).await,
        }
    }

    /// The job once what it is called back for is as wanted.
    async fn when(
        &mut self,
        wanted: impl Fn(Option<CallbackEvent>) -> bool,
    ) -> Result<Arc<JobView>, Stopped> {
        let reached = self.view.wait_for(|view| wanted(CallbackEvent::of(&view.job.state)));
        tokio::select! {
            biased;
            reached = reached => reached.map(|view| Arc::clone(&view)).map_err(|_gone| Stopped),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    /// Tries until it is delivered, given up or overtaken. `view` is the job in the state that is told.
    async fn deliver(&mut self, event: CallbackEvent, view: &JobView) -> Result<(), Stopped> {
        let since = view.job.finished.or(view.job.started).unwrap_or(view.job.updated);
        for attempts in 1.. {
            let Continue((reason, retry_after)) = self.attempt(event).await? else { return Ok(()) };
            let engine = self.engine.upgrade().ok_or(Stopped)?;
            let failed = Failed {
                attempts,
                age: clock::now().duration_since(since).unsigned_abs(),
                retry_after,
                // The last bytes of an identifier are random.
                spread: self.job.as_bytes()[12 + attempts as usize % 4],
            };
            let Some(pause) = pause(failed, &engine.limits) else {
                self.give_up(
                    &engine,
                    event,
                    &reason,
                    "not within the attempts and the time that it is tried",
                );
                return self.settle(Some(event)).await;
            };
            tracing::info!(job = %self.job, ?event, attempts, reason, ?pause, "a callback is tried again");
            drop(engine);
            if self.overtaken(event, pause).await? {
                return self.settle(Some(event)).await;
            }
        }
        Ok(())
    }

    /// One attempt; goes on where it has to be repeated. What the receiver has is written down before the slot is free.
    async fn attempt(
        &self,
        event: CallbackEvent,
    ) -> Result<ControlFlow<(), (String, Option<Duration>)>, Stopped> {
        let _slot = tokio::select! {
            biased;
            slot = self.callbacks.slots.acquire() => slot.map_err(|_closed| Stopped)?,
            () = self.stop.cancelled() => return Err(Stopped),
        };
        let engine = self.engine.upgrade().ok_or(Stopped)?;
        match post(&engine, &self.callbacks, self.job, &self.subscriber, event).await {
            Posted::Later { reason, retry_after } => return Ok(Continue((reason, retry_after))),
            Posted::Never { reason, client_text } => self.give_up(&engine, event, &reason, &client_text),
            Posted::Delivered => tracing::debug!(job = %self.job, ?event, "a callback was delivered"),
            Posted::Gone => {}
        }
        self.settle(Some(event)).await?;
        Ok(Break(()))
    }

    /// Rests. True where the job has ended meanwhile, so that `event` is no news any more.
    async fn overtaken(&mut self, event: CallbackEvent, pause: Duration) -> Result<bool, Stopped> {
        let ended = async {
            if event == CallbackEvent::InProgress {
                // Where the engine goes, `stop` tells.
                let _ = self.view.wait_for(|view| view.job.is_finished()).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => Ok(false),
            () = ended => Ok(true),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    fn give_up(&self, engine: &Arc<Inner>, event: CallbackEvent, reason: &str, client_text: &str) {
        tracing::warn!(job = %self.job, ?event, reason, "a callback is given up");
        if let Some(live) = engine.board.find(self.job) {
            engine.say(&live, &format!("the callback {} was given up: {client_text}", event.member()));
        }
    }

    /// An event is due no more; none of the job is where it was its end.
    async fn settle(&self, event: Option<CallbackEvent>) -> Result<(), Stopped> {
        let engine = self.engine.upgrade().ok_or(Stopped)?;
        let event = event.filter(|event| *event == CallbackEvent::InProgress);
        let removed = engine.store.remove(Rows::Callbacks { sequence: self.sequence, event }).await;
        if let Err(error) = removed {
            tracing::error!(job = %self.job, %error, "a callback is done, and that could not be written down");
        }
        Ok(())
    }
}
