//! Numbers for operators.

use anabranch_model::{Outcome, ProcessId};
use std::collections::BTreeMap;

/// How many jobs there are, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for a slot.
    pub queued: usize,
    /// Runs under way.
    pub running: usize,
    /// Since the engine was opened, by process.
    pub processes: BTreeMap<ProcessId, ProcessCounts>,
}

/// What became of the jobs of a process since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounts {
    /// Accepted.
    pub accepted: u64,
    /// Ended with results.
    pub succeeded: u64,
    /// Ended without.
    pub failed: u64,
    /// Ended by request.
    pub dismissed: u64,
}

impl ProcessCounts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Dismissed(_) => self.dismissed += 1,
        }
    }
}
