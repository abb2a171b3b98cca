//! A process description (§7.10 and the *OGC process description* of §8).

use super::link::BaseUrl;
use super::processes::{ProcessSummary, summary};
use anabranch_model::ProcessDescription;
use serde::Serialize;
use serde_json::{Map, Value};

/// A description (`process.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct Process<'a> {
    /// What lists say too.
    #[serde(flatten)]
    pub summary: ProcessSummary<'a>,
    /// By identifier.
    pub inputs: Map<String, Value>,
    /// By identifier.
    pub outputs: Map<String, Value>,
}

/// Describes a process.
#[must_use]
pub fn describe<'a>(process: &'a ProcessDescription, base: &BaseUrl) -> Process<'a> {
    Process { summary: summary(process, base), inputs: Map::new(), outputs: Map::new() }
}
