//! The processes that can be executed at this moment.

use crate::convert::{Conversions, converting};
use crate::cpu::{CpuPool, CpuProcess};
use anabranch_model::{Algorithm, Error, Process, ProcessId};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// Published processes by identifier. Cheap to read; changes are rare and can be watched.
pub struct Registry {
    processes: RwLock<BTreeMap<ProcessId, Arc<dyn Process>>>,
    /// Counts changes. A watch channel holds one value: nobody ever waits to send.
    changed: watch::Sender<u64>,
    pool: Arc<CpuPool>,
    conversions: Arc<Conversions>,
}

impl Registry {
    pub(crate) fn new(pool: Arc<CpuPool>, converted_bytes_max: u64) -> Self {
        let conversions = Arc::new(Conversions::new(pool.threads(), converted_bytes_max));
        Self { processes: RwLock::default(), changed: watch::Sender::new(0), pool, conversions }
    }

    /// Publishes a process, or puts it in the place of the one of the same identifier; runs under way keep theirs. It takes and
    /// gives more formats from then on: those that its own can be converted from and to.
    pub fn publish(&self, process: Arc<dyn Process>) {
        let process = converting(process, &self.conversions);
        let id = process.description().id.clone();
        self.processes.write().unwrap_or_else(PoisonError::into_inner).insert(id, process);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Publishes an algorithm, to be run on the CPU pool.
    pub fn publish_algorithm(&self, algorithm: Arc<dyn Algorithm>) {
        self.publish(Arc::new(CpuProcess::new(algorithm, Arc::clone(&self.pool))));
    }

    /// Takes a process out of sight; runs under way go on, and jobs that wait for it fail when their turn comes.
    /// False where there was none.
    pub fn withdraw(&self, id: &ProcessId) -> bool {
        let gone = self.processes.write().unwrap_or_else(PoisonError::into_inner).remove(id).is_some();
        if gone {
            self.changed.send_modify(|changes| *changes += 1);
        }
        gone
    }

    /// A process.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] where it is not published.
    pub fn get(&self, id: &ProcessId) -> Result<Arc<dyn Process>, Error> {
        let processes = self.processes.read().unwrap_or_else(PoisonError::into_inner);
        processes.get(id).cloned().ok_or_else(|| Error::NoSuchProcess(id.to_string()))
    }

    /// All of them by identifier, but `echo` first: conformance suites try the first one.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<dyn Process>> {
        let processes = self.processes.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = processes.iter().collect();
        list.sort_by_key(|(id, _)| id.as_str() != "echo");
        list.into_iter().map(|(_, process)| Arc::clone(process)).collect()
    }

    /// How often something was published or withdrawn. What is read from the registry afterwards is at least as new.
    #[must_use]
    pub fn changes(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Changes whenever something is published or withdrawn.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
