//! How busy a machine is, and whether it takes runs.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How busy a machine is, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Of all processors together, 0 to 100.
    pub cpu_percent: f32,
    /// Of the main memory, 0 to 100.
    pub memory_percent: f32,
    /// Of the last minute; 0 where the operating system knows none.
    pub load_average: f32,
}

/// Measures the machine. Called by the agent once each report and before each run, on its own task: it must not block.
pub trait LoadSource: Send + Sync {
    fn load(&self) -> Load;

    /// Why the machine takes no more runs by its owner's own rules (thresholds, programs that want it for themselves), for
    /// operators; `None` where it does.
    fn full(&self) -> Option<String> {
        None
    }
}

/// The switch for maintenance: while it is on, an agent takes no new runs and finishes those it has. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Drain(watch::Sender<bool>);

impl Drain {
    /// Turns it on or off.
    pub fn set(&self, on: bool) {
        self.0.send_if_modified(|was| std::mem::replace(was, on) != on);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
