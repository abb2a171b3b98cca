//! Who runs next: a queue in order of acceptance, and a number of slots.
//!
//! One process never gets all slots: runs that wait for an agent hold theirs, and the others must not wait with them.

use crate::limits::Limits;
use crate::live::Live;
use anabranch_model::{Error, ProcessId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What a client refused for want of room is told, seconds: jobs mostly take less.
const RETRY_AFTER_S: u32 = 10;

/// The queue and the slots.
pub(crate) struct Dispatcher {
    state: Mutex<State>,
    /// Runs under way. Holds one value: nobody ever waits to send.
    running: watch::Sender<usize>,
    queued_max: usize,
    runs_max: usize,
    process_runs_max: usize,
}

#[derive(Default)]
struct State {
    /// By process, as only processes with jobs have a lane.
    lanes: BTreeMap<ProcessId, Lane>,
    /// Given to the next job that is queued: the lower one came first.
    ticket: u64,
    /// Jobs admitted whose run has not begun: in the queue, on their way to it, or waiting for their process.
    waiting: usize,
    running: usize,
    /// No runs are begun any more.
    held: bool,
}

/// The jobs of one process.
#[derive(Default)]
struct Lane {
    /// Who waits here, with tickets: jobs whose acceptance is written down, at most as many as admission lets in.
    queue: VecDeque<(u64, Arc<Live>)>,
    running: usize,
}

impl State {
    fn push(&mut self, live: Arc<Live>) {
        self.ticket += 1;
        let ticket = self.ticket;
        self.lane(&live.request.request.process).queue.push_back((ticket, live));
    }

    fn lane(&mut self, process: &ProcessId) -> &mut Lane {
        self.lanes.entry(process.clone()).or_default()
    }

    /// Takes out the job that came first among the processes that may begin one more.
    fn pop(&mut self, process_runs_max: usize) -> Option<Arc<Live>> {
        let free = self.lanes.values_mut().filter(|lane| lane.running < process_runs_max);
        let first = free.min_by_key(|lane| lane.queue.front().map_or(u64::MAX, |(ticket, _)| *ticket))?;
        let (_, live) = first.queue.pop_front()?;
        first.running += 1;
        Some(live)
    }
}

/// A place among the waiting, given back when dropped before the job has been queued.
pub(crate) struct Admitted<'a>(Option<&'a Dispatcher>);

impl Dispatcher {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::default(),
            running: watch::Sender::new(0),
            queued_max: limits.jobs_queued_max,
            runs_max: limits.parallel_runs_max.max(1),
            process_runs_max: limits.process_runs_max.max(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more job.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Error> {
        let mut state = self.state();
        if state.held {
            return Err(Error::Busy {
                limit: "the server is shutting down".into(),
                retry_after_s: RETRY_AFTER_S,
            });
        }
        // Free slots are taken at once, so those who will get one do not count as waiting.
        if state.waiting + state.running >= self.queued_max + self.runs_max {
            let limit = format!("{} jobs are waiting, the most that this server lets wait", self.queued_max);
            return Err(Error::Busy { limit, retry_after_s: RETRY_AFTER_S });
        }
        state.waiting += 1;
        Ok(Admitted(Some(self)))
    }

    /// Queues a job that was not admitted in the usual way: recovered, or to be repeated.
    pub(crate) fn enqueue_again(&self, live: Arc<Live>) {
        let mut state = self.state();
        state.waiting += 1;
        state.push(live);
    }

    /// Counts a job as waiting that is not in the queue.
    pub(crate) fn wait_outside(&self) -> Admitted<'_> {
        self.state().waiting += 1;
        Admitted(Some(self))
    }

    /// The next job, where a slot is free; it must be given back with [`Dispatcher::ended`].
    pub(crate) fn next(&self) -> Option<Arc<Live>> {
        let mut state = self.state();
        if state.held || state.running >= self.runs_max {
            return None;
        }
        let live = state.pop(self.process_runs_max)?;
        state.waiting -= 1;
        state.running += 1;
        self.running.send_replace(state.running);
        Some(live)
    }

    /// A run of a process has ended.
    pub(crate) fn ended(&self, process: &ProcessId) {
        let mut state = self.state();
        state.running -= 1;
        if let Some(lane) = state.lanes.get_mut(process) {
            lane.running -= 1;
            if lane.running == 0 && lane.queue.is_empty() {
                state.lanes.remove(process);
            }
        }
        self.running.send_replace(state.running);
    }

    /// Takes a dismissed job out of the queue, where it is in it.
    pub(crate) fn remove(&self, live: &Live) {
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&live.request.request.process) else { return };
        if let Some(place) = lane.queue.iter().position(|(_, queued)| queued.id == live.id) {
            lane.queue.remove(place);
            if lane.running == 0 && lane.queue.is_empty() {
                state.lanes.remove(&live.request.request.process);
            }
            state.waiting -= 1;
        }
    }

    /// Begins no more runs and admits no more jobs.
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until no run is under way.
    pub(crate) async fn idle(&self) {
        let mut running = self.running.subscribe();
        // The sender lives as long as `self`.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// Waiting, running.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting, state.running)
    }
}

impl Admitted<'_> {
    /// The job takes its place in the queue.
    pub(crate) fn enqueue(mut self, live: Arc<Live>) {
        if let Some(dispatcher) = self.0.take() {
            dispatcher.state().push(live);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(dispatcher) = self.0 {
            dispatcher.state().waiting -= 1;
        }
    }
}
