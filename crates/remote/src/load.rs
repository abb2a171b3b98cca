//! How busy a machine is.

use serde::{Deserialize, Serialize};

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

/// Measures the machine. Called by the agent once each report, on its own task: it must not block.
pub trait LoadSource: Send + Sync {
    fn load(&self) -> Load;
}
