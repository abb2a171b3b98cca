//! Native service files (TOML).

use crate::report::{Findings, Report};
use std::path::Path;

/// Reads a service file and reports every fault at once.
#[must_use]
pub fn check(path: &Path, text: &str) -> Report {
    let mut findings = Findings::default();
    findings.fault(&(0..0), "not read yet");
    let (faults, warnings) = findings.locate(path, text);
    Report { path: path.to_owned(), faults, warnings, service: None }
}
