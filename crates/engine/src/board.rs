//! Jobs in memory: those that live, and some that have just finished.

use crate::counts::ProcessCounts;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::sql::StoreError;
use anabranch_model::{Job, JobId, JobState, ProcessId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Jobs in memory by identifier. Whoever reads looks here first and into the store after that.
pub(crate) struct Board {
    live: Mutex<HashMap<JobId, Arc<Live>>>,
    cache: Mutex<Cache>,
    cache_bytes_max: u64,
    processes: Mutex<BTreeMap<ProcessId, ProcessCounts>>,
    pub(crate) metrics: Metrics,
    /// The last write to the store failed.
    failing: AtomicBool,
    /// Writes that fail on purpose.
    #[cfg(test)]
    pub(crate) faults: std::sync::atomic::AtomicU32,
}

/// Finished jobs, first in first out.
#[derive(Default)]
struct Cache {
    jobs: HashMap<JobId, (Arc<Live>, u64)>,
    order: VecDeque<JobId>,
    bytes: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(crate) fn new(cache_bytes_max: u64) -> Self {
        Self {
            live: Mutex::default(),
            cache: Mutex::default(),
            cache_bytes_max,
            processes: Mutex::default(),
            metrics: Metrics::default(),
            failing: AtomicBool::new(false),
            #[cfg(test)]
            faults: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// A job that lives, or has just finished.
    pub(crate) fn find(&self, id: JobId) -> Option<Arc<Live>> {
        let live = lock(&self.live).get(&id).cloned();
        // One that finishes right now is put into the cache before it is taken from the living.
        live.or_else(|| lock(&self.cache).jobs.get(&id).map(|(live, _)| Arc::clone(live)))
    }

    /// Every job that lives, in order of acceptance.
    pub(crate) fn living(&self) -> Vec<Arc<Live>> {
        let mut living: Vec<_> = lock(&self.live).values().cloned().collect();
        living.sort_by_key(|live| live.sequence);
        living
    }

    pub(crate) fn insert(&self, live: Arc<Live>) {
        let process = &live.request.request.process;
        self.count(process, |counts| counts.accepted += 1);
        self.metrics.accepted(process);
        lock(&self.live).insert(live.id, live);
    }

    /// Forgets a job, whether it lives or not.
    pub(crate) fn remove(&self, id: JobId) {
        lock(&self.live).remove(&id);
        let mut cache = lock(&self.cache);
        if let Some((_, bytes)) = cache.jobs.remove(&id) {
            cache.bytes -= bytes;
        }
    }

    /// A job's end is committed and will be shown now.
    pub(crate) fn finishes(&self, job: &Job) {
        if let JobState::Finished(outcome) = &job.state {
            self.count(&job.process, |counts| counts.count(outcome));
            self.metrics.finished(job);
        }
    }

    /// A job's end is shown.
    pub(crate) fn finished(&self, live: &Arc<Live>) {
        live.log.finish();
        lock(&self.cache).insert(live, self.cache_bytes_max);
        lock(&self.live).remove(&live.id);
    }

    fn count(&self, process: &ProcessId, change: impl FnOnce(&mut ProcessCounts)) {
        let mut processes = lock(&self.processes);
        match processes.get_mut(process) {
            Some(counts) => change(counts),
            None => change(processes.entry(process.clone()).or_default()),
        }
    }

    pub(crate) fn processes(&self) -> BTreeMap<ProcessId, ProcessCounts> {
        lock(&self.processes).clone()
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// The store can't be written at present.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// A failure on purpose, in tests.
    #[cfg(not(test))]
    #[allow(clippy::unused_self)] // its other half, for tests, needs it
    pub(crate) fn fault(&self) -> Result<(), StoreError> {
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn fault(&self) -> Result<(), StoreError> {
        let left = self.faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        if left.is_ok() { Err(rusqlite::Error::SqliteFailure(full, None).into()) } else { Ok(()) }
    }
}

impl Cache {
    fn insert(&mut self, live: &Arc<Live>, bytes_max: u64) {
        let bytes = live.weight();
        self.bytes += bytes;
        self.order.push_back(live.id);
        self.jobs.insert(live.id, (Arc::clone(live), bytes));
        while self.bytes > bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some((_, bytes)) = self.jobs.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}
