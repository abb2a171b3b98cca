//! GetCapabilities (WPS 1.0.0 §8).

use crate::ows::ExceptionReport;
use crate::service::ServiceInfo;
use anabranch_model::ProcessDescription;
use std::sync::Arc;

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetCapabilities {
    /// In the order of preference; empty where the client names none.
    pub accept_versions: Vec<String>,
    /// Sections wanted; accepted and ignored, as WPS 1.0.0 has no such parameter.
    pub sections: Vec<String>,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
    /// The sequence the client knows.
    pub update_sequence: Option<String>,
}

/// What the document is made of.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities<'a> {
    /// Who runs the service.
    pub service: &'a ServiceInfo,
    /// URL of the WPS endpoint, for GET and POST.
    pub url: &'a str,
    /// Everything published.
    pub processes: &'a [Arc<ProcessDescription>],
    /// Grows with every change; decimal digits.
    pub update_sequence: u64,
}

/// Writes the document.
///
/// # Errors
/// InvalidUpdateSequence where the client knows a later sequence than there is.
pub fn write(
    _capabilities: &Capabilities<'_>,
    _request: &GetCapabilities,
) -> Result<Vec<u8>, ExceptionReport> {
    unimplemented!()
}
