//! Errors as OWS 1.1 exception reports (WPS 1.0.0 §8.4, §9.4, §10.4).

use crate::ows::ExceptionReport;
use anabranch_model::Error;

/// The report for an error: the one mapping of WPS 1.0.0.
#[must_use]
pub fn exception_report(_error: &Error) -> ExceptionReport {
    unimplemented!()
}
