//! OWS Common: what all OGC web services of the XML generation share.

pub(crate) mod common;
pub mod exception;
pub(crate) mod kvp;

pub use exception::{Exception, ExceptionCode, ExceptionReport};

/// The namespace of OWS Common 1.1, which WPS 1.0.0 uses.
pub(crate) const NAMESPACE_1_1: &str = "http://www.opengis.net/ows/1.1";
