//! Admission and dispatch: who is let in, who waits, who runs.

use crate::fair::{Elsewhere, FairQueue, Place, Slots, Told};
use crate::ledger::{Asked, Held, Ledger, Owner, Recalled, Running, Usage, UsageOf, at_most};
use crate::limits::Limits;
use crate::live::Live;
use crate::quota::{Quotas, find};
use anabranch_model::{Error, Limit, LimitKind, LimitOf, ProcessId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What a client is told who comes while the server shuts down, seconds: its successor is there soon.
const RETRY_AFTER_S: u32 = 10;

/// What a client refused by a draining server is told, seconds: maintenance takes minutes, and another server may be found by then.
const DRAINING_RETRY_AFTER_S: u32 = 60;

/// The queue, the slots, and the accounts of those who use them.
pub(crate) struct Dispatcher {
    state: Mutex<State>,
    /// Runs under way. Holds one value: nobody ever waits to send.
    running: watch::Sender<usize>,
    queue_s_max: u64,
}

struct State {
    /// Jobs whose acceptance is written down, at most as many as admission lets in.
    queue: FairQueue<Owner, ProcessId, Arc<Live>>,
    ledger: Ledger,
    /// When those in the queue will have waited too long, with their sequence numbers.
    deadlines: BTreeMap<(Timestamp, i64), Arc<Live>>,
    /// No runs are begun any more.
    held: bool,
    /// No new jobs are let in; those that are here are run.
    draining: bool,
}

/// A place among the waiting, given back when dropped before the job has been queued.
pub(crate) struct Admitted {
    dispatcher: Arc<Dispatcher>,
    owner: Owner,
    process: ProcessId,
    /// Charged for a job that is not there yet.
    stored_bytes: u64,
    queued: bool,
}

impl State {
    fn running_of(queue: &FairQueue<Owner, ProcessId, Arc<Live>>, of: &UsageOf) -> usize {
        match of {
            UsageOf::Server => queue.running(),
            UsageOf::User(owner) => queue.running_of(owner),
            UsageOf::Process(process) => queue.running_process(process),
        }
    }

    /// What the queue has of each, for other nodes.
    fn told(queue: &FairQueue<Owner, ProcessId, Arc<Live>>, of: &UsageOf) -> Told {
        match of {
            UsageOf::Server => Told::default(),
            UsageOf::User(owner) => queue.told_of_owner(owner),
            UsageOf::Process(process) => queue.told_of_process(process),
        }
    }

    fn running(&self, owner: &Owner, process: &ProcessId) -> Running {
        Running {
            server: self.queue.running(),
            owner: self.queue.running_of(owner),
            process: self.queue.running_process(process),
        }
    }

    fn push(&mut self, live: Arc<Live>, queue_s_max: u64) {
        let terms = &live.request.terms;
        let parallel = |limits| find(limits, LimitKind::ParallelJobs).map(|limit| at_most(limit.max));
        let slots = Slots {
            owner: parallel(&terms.owner).unwrap_or(usize::MAX),
            process: parallel(&terms.process).unwrap_or(usize::MAX),
        };
        // Work that goes on elsewhere does not wait.
        if !live.resumes() {
            let deadline = live.queue_deadline(queue_s_max);
            self.deadlines.insert((deadline, live.sequence), Arc::clone(&live));
        }
        self.queue.push(place(&live), slots, live);
    }

    /// It is in the queue no more.
    fn left(&mut self, live: &Live, queue_s_max: u64) {
        self.deadlines.remove(&(live.queue_deadline(queue_s_max), live.sequence));
        self.ledger.wait_no_more(&live.owner, live.process());
    }
}

fn place(live: &Live) -> Place<Owner, ProcessId> {
    Place {
        owner: live.owner.clone(),
        process: live.process().clone(),
        priority: live.request.terms.priority,
        sequence: live.sequence,
    }
}

impl Dispatcher {
    pub(crate) fn new(limits: &Limits, quotas: &Quotas) -> Self {
        let mut of_server = quotas.of_server();
        for (kind, max) in [
            (LimitKind::ParallelJobs, limits.parallel_runs_max.max(1)),
            (LimitKind::QueuedJobs, limits.jobs_queued_max),
        ] {
            of_server.push(Limit { kind, max: max as u64, of: LimitOf::Server });
        }
        let state = State {
            queue: FairQueue::new(limits.parallel_runs_max.max(1))
                .with_process_runs_max(limits.process_runs_max.max(1)),
            ledger: Ledger::new(of_server),
            deadlines: BTreeMap::new(),
            held: false,
            draining: false,
        };
        Self { state: Mutex::new(state), running: watch::Sender::new(0), queue_s_max: limits.queue_s_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more job.
    pub(crate) fn admit(self: &Arc<Self>, asked: &Asked<'_>, now: Timestamp) -> Result<Admitted, Error> {
        let mut state = self.state();
        if state.held {
            let limit = "the server is shutting down".into();
            return Err(Error::Busy { limit, retry_after_s: RETRY_AFTER_S });
        }
        if state.draining {
            let limit = "the server is drained for maintenance and takes no new jobs".into();
            return Err(Error::Busy { limit, retry_after_s: DRAINING_RETRY_AFTER_S });
        }
        let running = state.running(asked.owner, asked.process);
        state.ledger.admit(asked, running, now)?;
        Ok(self.admitted(asked.owner, asked.process, asked.input_bytes))
    }

    fn admitted(self: &Arc<Self>, owner: &Owner, process: &ProcessId, stored_bytes: u64) -> Admitted {
        Admitted {
            dispatcher: Arc::clone(self),
            owner: owner.clone(),
            process: process.clone(),
            stored_bytes,
            queued: false,
        }
    }

    /// Queues a job that was not admitted in the usual way: recovered, or to be repeated.
    pub(crate) fn enqueue_again(&self, live: Arc<Live>) {
        let mut state = self.state();
        state.ledger.wait(&live.owner, live.process());
        state.push(live, self.queue_s_max);
    }

    /// Counts a job as waiting that is not in the queue.
    pub(crate) fn wait_outside(self: &Arc<Self>, live: &Live) -> Admitted {
        self.state().ledger.wait(&live.owner, live.process());
        self.admitted(&live.owner, live.process(), 0)
    }

    /// The next job, where a slot is free; it must be given back with [`Dispatcher::ended`].
    pub(crate) fn next(&self) -> Option<Arc<Live>> {
        let mut state = self.state();
        if state.held {
            return None;
        }
        let live = state.queue.pop()?;
        state.left(&live, self.queue_s_max);
        self.running.send_replace(state.queue.running());
        Some(live)
    }

    /// A run has ended that took so long.
    pub(crate) fn ended(&self, live: &Live, took: Duration) {
        let mut state = self.state();
        state.queue.ended(&live.owner, live.process());
        state.ledger.ended(&live.owner, live.process(), took);
        self.running.send_replace(state.queue.running());
    }

    /// Takes a dismissed job out of the queue, where it is in it.
    pub(crate) fn remove(&self, live: &Live) {
        let mut state = self.state();
        if state.queue.remove(&place(live)).is_some() {
            state.left(live, self.queue_s_max);
        }
    }

    /// Takes out of the queue who has waited too long.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<Arc<Live>> {
        let mut state = self.state();
        let mut overdue = Vec::new();
        while let Some(first) = state.deadlines.first_entry().filter(|first| first.key().0 <= now) {
            let live = first.remove();
            state.queue.remove(&place(&live));
            state.ledger.wait_no_more(&live.owner, live.process());
            overdue.push(live);
        }
        overdue
    }

    /// More bytes are kept of a job.
    ///
    /// # Errors
    /// [`Error::OverLimit`] where that is more than its owner, its process or the server may keep.
    pub(crate) fn grow(&self, live: &Live, bytes: u64) -> Result<(), Error> {
        self.state().ledger.grow(&live.owner, live.process(), bytes)?;
        live.charged(bytes);
        Ok(())
    }

    /// Bytes of a job are kept no more.
    pub(crate) fn shrink(&self, owner: &Owner, process: &ProcessId, bytes: u64) {
        if bytes > 0 {
            self.state().ledger.shrink(owner, process, bytes);
        }
    }

    /// What is kept of a recovered job counts, whether it may or not.
    pub(crate) fn adopt(&self, live: &Live) {
        let bytes = live.stored_bytes();
        self.state().ledger.keep(&live.owner, live.process(), bytes);
        live.charged(bytes);
    }

    /// What an earlier server left.
    pub(crate) fn recall(&self, recalled: Recalled) {
        self.state().ledger.recall(recalled);
    }

    /// Admits no more jobs, or admits them again; those that are here are run.
    pub(crate) fn set_draining(&self, on: bool) {
        self.state().draining = on;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state().draining
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
        (state.ledger.waiting(), state.queue.running())
    }

    /// See [`crate::Engine::usage`].
    pub(crate) fn usage(&self, now: Timestamp) -> Vec<Usage> {
        let state = &mut *self.state();
        state.ledger.usage(now, |of| State::running_of(&state.queue, of))
    }

    /// What users and processes have here, for the other nodes.
    pub(crate) fn held(&self, now: Timestamp) -> Vec<(UsageOf, Held)> {
        let state = &mut *self.state();
        state.ledger.held(now, |of| {
            let told = State::told(&state.queue, of);
            // What is not begun because this node ends is none that others should wait for.
            Told { first: told.first.filter(|_| !state.held), ..told }
        })
    }

    /// What they have at other nodes, told by one after the other: who may begin a run now may have changed.
    pub(crate) fn set_elsewhere(&self, held: Vec<(UsageOf, Held)>) {
        let mut state = self.state();
        state.ledger.set_elsewhere(&held);
        let mut elsewhere = Elsewhere::default();
        for (of, held) in held {
            let told = held.told();
            match of {
                UsageOf::Server => {}
                UsageOf::User(owner) => elsewhere.owners.entry(owner).or_default().add(told),
                UsageOf::Process(process) => elsewhere.processes.entry(process).or_default().add(told),
            }
        }
        state.queue.set_elsewhere(elsewhere);
    }

    /// Whether nodes wait for each other's runs to end.
    pub(crate) fn is_contended(&self) -> bool {
        self.state().queue.is_contended()
    }

    /// What is kept, counted anew.
    pub(crate) fn recount(&self, stored: impl IntoIterator<Item = (Owner, ProcessId, u64)>) {
        self.state().ledger.recount(stored);
    }
}

impl Admitted {
    /// The job is there, and answers itself for what is kept of it.
    pub(crate) fn charge(&mut self, live: &Live) {
        live.charged(std::mem::take(&mut self.stored_bytes));
    }

    /// The job takes its place in the queue.
    pub(crate) fn enqueue(mut self, live: Arc<Live>) {
        self.queued = true;
        let dispatcher = &self.dispatcher;
        dispatcher.state().push(live, dispatcher.queue_s_max);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.queued {
            let mut state = self.dispatcher.state();
            state.ledger.wait_no_more(&self.owner, &self.process);
            state.ledger.shrink(&self.owner, &self.process, self.stored_bytes);
        }
    }
}
