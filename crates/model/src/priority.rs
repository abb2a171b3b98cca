//! What goes before what.

use serde::{Deserialize, Serialize};

/// What goes before what. Strict: a lower one gets what the higher ones leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// As everyone.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// The highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}
