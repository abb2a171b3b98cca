//! What agents offer, published in the engine's registry.

use anabranch_engine::Engine;
use anabranch_model::{Process, ProcessId};
use anabranch_remote::Publisher;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Publishes and withdraws remote processes; built-in ones keep their names.
pub(crate) struct RegistryPublisher {
    engine: Engine,
    /// What agents have published: nothing else may be replaced or withdrawn by them.
    remote: Mutex<HashSet<ProcessId>>,
}

impl RegistryPublisher {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, remote: Mutex::default() }
    }
}

impl Publisher for RegistryPublisher {
    fn publish(&self, process: Arc<dyn Process>) {
        let id = process.description().id.clone();
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if !remote.contains(&id) && self.engine.registry().get(&id).is_ok() {
            tracing::warn!(process.id = %id, "an agent offers a process that this server runs itself: it is left out");
            return;
        }
        remote.insert(id);
        self.engine.registry().publish(process);
    }

    fn withdraw(&self, process: &ProcessId) {
        if self.remote.lock().unwrap_or_else(PoisonError::into_inner).remove(process) {
            self.engine.registry().withdraw(process);
        }
    }
}
