//! Which protocol, version and operation a WPS request means: by its query string or by the root element of its body.

use crate::ows::ExceptionReport;
use crate::service::ServiceInfo;
use crate::wps_1_0;

/// A WPS request, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum WpsRequest {
    /// WPS 1.0.0.
    V1_0(wps_1_0::Request),
}

/// Parses the query string of a GET request (without `?`).
///
/// # Errors
/// The report to answer with.
pub fn query(_query: &str, _service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    unimplemented!()
}

/// Parses the body of a POST request.
///
/// # Errors
/// The report to answer with.
pub fn body(_body: &[u8], _service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    unimplemented!()
}
