//! What the requests of WPS 1.0.0 and WPS 2.0 have in common.

pub(crate) mod capabilities;
pub(crate) mod input;
pub(crate) mod processes;

pub use capabilities::{Capabilities, GetCapabilities};
pub use processes::{DescribeProcess, Processes};

use crate::ows::{Exception, ExceptionReport};
use crate::service::ServiceInfo;
use crate::xml::Element;

/// The media type of all documents of WPS.
pub const MEDIA_TYPE: &str = "text/xml; charset=utf-8";

/// The language as the service spells it; `parameter` is how the operation calls it.
pub(crate) fn language(
    parameter: &str,
    asked: Option<&str>,
    service: &ServiceInfo,
) -> Result<Option<String>, ExceptionReport> {
    let Some(tag) = asked.filter(|tag| !tag.is_empty()) else { return Ok(None) };
    match service.find_language(tag) {
        Some(known) => Ok(Some(known.to_owned())),
        None => Err(unknown_language(parameter, tag, service)),
    }
}

pub(crate) fn unknown_language(parameter: &str, tag: &str, service: &ServiceInfo) -> ExceptionReport {
    let text = format!("parameter '{parameter}' must be {}, not {tag:?}", service.languages.join(" or "));
    Exception::invalid(parameter, text).into()
}

/// An element that may not stand where it does.
pub(crate) fn unexpected(element: &Element, place: &str) -> ExceptionReport {
    let text = format!("element '{}' does not belong into {place}", element.name);
    Exception::invalid(element.name.clone(), text).into()
}
