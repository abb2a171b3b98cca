//! What waits for the store's writer: jobs that have changed, each at most once.

use super::{LAZY, SYNC_AFTER};
use crate::live::Live;
use crate::retention::ExpiredOutputs;
use anabranch_model::{CallbackEvent, Error, Timestamp};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How soon a change is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Within [`LAZY`].
    Lazy,
    /// Now.
    Prompt,
    /// Now, and synced to the disk.
    Durable,
}

/// Rows to be removed.
pub(crate) enum Rows {
    /// Finished jobs with all that belongs to them; why and when is remembered.
    Jobs { sequences: Vec<i64>, why: anabranch_model::Removal, at: Timestamp },
    /// Outputs that go before their job.
    Outputs(Arc<Vec<ExpiredOutputs>>),
    /// Those whose files are gone too: the job is looked at again when its next output's time is over.
    OutputFiles(Arc<Vec<ExpiredOutputs>>),
    /// What is remembered of jobs that were removed before then, and the oldest above so many.
    Tombstones { before: Timestamp, kept_max: u64 },
    /// Callbacks of a job that are due no more; `None` for all of them.
    Callbacks { sequence: i64, event: Option<CallbackEvent> },
}

/// Rows to be removed, and who wants to know how many jobs or callbacks that were.
pub(crate) struct Removal {
    pub(crate) rows: Rows,
    pub(crate) done: oneshot::Sender<Result<usize, Error>>,
}

/// The inbox. Bounded without a bound of its own: it holds each live job once, and admission bounds those; removals are
/// awaited by whoever asks, one at a time each. So nobody ever waits to put something in.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    changed: Vec<Arc<Live>>,
    removals: Vec<Removal>,
    urgency: Option<Urgency>,
    /// When the oldest lazy change came.
    since: Option<Instant>,
    /// The writer sleeps without regard to lazy changes.
    asleep: bool,
    closed: bool,
}

/// What the writer has to do next.
pub(crate) enum Work {
    Write { changed: Vec<Arc<Live>>, removals: Vec<Removal>, durable: bool },
    Sync,
    End,
}

impl Inbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job has changed. False where the store is closed.
    pub(crate) fn push(&self, live: Arc<Live>, urgency: Urgency) -> bool {
        let mut queue = self.queue();
        if queue.closed {
            return false;
        }
        queue.changed.push(live);
        self.wake(&mut queue, urgency);
        true
    }

    /// A job that is in here already has become more urgent.
    pub(crate) fn raise(&self, urgency: Urgency) {
        if urgency > Urgency::Lazy {
            self.wake(&mut self.queue(), urgency);
        }
    }

    /// Rows are to be removed.
    pub(crate) fn remove(&self, rows: Rows, done: oneshot::Sender<Result<usize, Error>>) {
        let mut queue = self.queue();
        if !queue.closed {
            queue.removals.push(Removal { rows, done });
            // What is gone must not come back, and what was delivered must not be sent again.
            self.wake(&mut queue, Urgency::Durable);
        }
    }

    fn wake(&self, queue: &mut Queue, urgency: Urgency) {
        let before = queue.urgency;
        queue.urgency = before.max(Some(urgency));
        if urgency == Urgency::Lazy {
            queue.since.get_or_insert_with(Instant::now);
        }
        // Waking costs more than the write itself: once for each batch.
        if (urgency > Urgency::Lazy && before <= Some(Urgency::Lazy)) || queue.asleep {
            queue.asleep = false;
            self.wake.notify_one();
        }
    }

    /// Nothing more is taken; what is in here is still written.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.asleep = false;
        self.wake.notify_one();
    }

    /// For the writer: waits for work. `unsynced` is when the oldest commit was made that is not synced yet.
    pub(crate) fn next(&self, unsynced: Option<Instant>) -> Work {
        let linger = Instant::now() + LAZY;
        let mut queue = self.queue();
        loop {
            let lazy = queue.since.map(|since| since + LAZY);
            let now = Instant::now();
            let due = queue.urgency > Some(Urgency::Lazy) || lazy.is_some_and(|due| due <= now);
            if queue.has_work() && (due || queue.closed) {
                return queue.take();
            }
            let sync = unsynced.map(|at| at + SYNC_AFTER);
            if sync.is_some_and(|due| due <= now) || (queue.closed && unsynced.is_some()) {
                return Work::Sync;
            }
            if queue.closed {
                return Work::End;
            }
            // While there is traffic the writer looks by itself every few milliseconds; only then it goes to sleep.
            let awake = lazy.or_else(|| (now < linger).then_some(linger));
            queue.asleep = awake.is_none();
            queue = self.wait(queue, awake.into_iter().chain(sync).min().map(|due| due - now));
            queue.asleep = false;
        }
    }

    /// What waits, at once.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Option<Work> {
        let mut queue = self.queue();
        queue.has_work().then(|| queue.take())
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, time: Option<Duration>) -> MutexGuard<'a, Queue> {
        match time {
            None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.wake.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// For the writer after a failure: rests, but not while the store is being closed. True where it is.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut queue = self.queue();
        while !queue.closed {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            queue = self.wait(queue, Some(left));
        }
        true
    }
}

impl Queue {
    fn has_work(&self) -> bool {
        !self.changed.is_empty() || !self.removals.is_empty()
    }

    fn take(&mut self) -> Work {
        let durable = self.urgency == Some(Urgency::Durable);
        (self.urgency, self.since) = (None, None);
        let (changed, removals) = (std::mem::take(&mut self.changed), std::mem::take(&mut self.removals));
        Work::Write { changed, removals, durable }
    }
}
