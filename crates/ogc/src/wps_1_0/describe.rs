//! DescribeProcess (WPS 1.0.0 §9).

use crate::ows::ExceptionReport;
use anabranch_model::ProcessDescription;
use std::sync::Arc;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeProcess {
    /// Which processes.
    pub processes: Processes,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
}

/// Which processes are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processes {
    /// Every one.
    All,
    /// These; not empty; as written, perhaps unknown.
    Named(Vec<String>),
}

impl Processes {
    /// Picks the descriptions, in the order asked for.
    ///
    /// # Errors
    /// InvalidParameterValue, locator `identifier`, one exception for each identifier that is unknown.
    pub fn pick(
        &self,
        _published: &[Arc<ProcessDescription>],
    ) -> Result<Vec<Arc<ProcessDescription>>, ExceptionReport> {
        unimplemented!()
    }
}

/// Writes the document.
#[must_use]
pub fn write(_processes: &[Arc<ProcessDescription>], _language: &str) -> Vec<u8> {
    unimplemented!()
}
