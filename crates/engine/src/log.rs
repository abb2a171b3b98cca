//! The log of a job: numbered lines in one file.

use anabranch_model::{LogSource, Timestamp};

/// One line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// From 0, without gaps.
    pub number: u64,
    /// When the engine got it.
    pub at: Timestamp,
    /// Who said it.
    pub source: LogSource,
    /// What was said, without line end.
    pub text: String,
}

/// Some lines of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// In order.
    pub lines: Vec<LogEntry>,
    /// Number of the line after the last one here: where to go on.
    pub next: u64,
    /// Lines written so far.
    pub total: u64,
}
