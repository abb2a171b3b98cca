//! WPS 1.0.0 (OGC 05-007r7).

pub mod capabilities;
pub mod describe;
pub mod exception;
pub mod execute;
pub mod kvp;
pub mod response;

use crate::ows::{Exception, ExceptionCode, ExceptionReport};
use crate::service::ServiceInfo;
use crate::xml::{Element, Reader};

pub use capabilities::GetCapabilities;
pub use describe::{DescribeProcess, Processes};
pub use exception::exception_report;
pub use execute::{Execute, ResponseOptions};

/// The version this module speaks.
pub const VERSION: &str = "1.0.0";
/// The media type of all its documents.
pub const MEDIA_TYPE: &str = "text/xml; charset=utf-8";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "http://www.opengis.net/wps/1.0.0";

/// A request of one of the three operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// §8.
    GetCapabilities(GetCapabilities),
    /// §9.
    DescribeProcess(DescribeProcess),
    /// §10.
    Execute(Box<Execute>),
}

impl Request {
    /// The language the client asked for, as the service spells it.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        match self {
            Self::GetCapabilities(request) => request.language.as_deref(),
            Self::DescribeProcess(request) => request.language.as_deref(),
            Self::Execute(request) => request.language.as_deref(),
        }
    }
}

/// Parses the document whose root has been read; its namespace is ours, its service and version have been checked.
pub(crate) fn parse(
    root: &Element,
    reader: &mut Reader<'_>,
    service: &ServiceInfo,
) -> Result<Request, ExceptionReport> {
    let language = language(root.attribute("language"), service)?;
    let request = match root.name.as_str() {
        "GetCapabilities" => {
            let request = capabilities::parse(root, reader, language)?;
            crate::detect::check_accepted(&request.accept_versions)?;
            Request::GetCapabilities(request)
        }
        "DescribeProcess" => Request::DescribeProcess(describe::parse(reader, language)?),
        "Execute" => Request::Execute(Box::new(execute::parse(reader, language)?)),
        other => return Err(operation_not_supported(other).into()),
    };
    reader.finish()?;
    Ok(request)
}

/// The language as the service spells it.
pub(crate) fn language(
    asked: Option<&str>,
    service: &ServiceInfo,
) -> Result<Option<String>, ExceptionReport> {
    let Some(tag) = asked.filter(|tag| !tag.is_empty()) else { return Ok(None) };
    match service.find_language(tag) {
        Some(known) => Ok(Some(known.to_owned())),
        None => {
            let text =
                format!("parameter 'language' must be {}, not {tag:?}", service.languages.join(" or "));
            Err(Exception::invalid("language", text).into())
        }
    }
}

pub(crate) fn operation_not_supported(name: &str) -> Exception {
    let text = format!("operation {name:?} is not offered: GetCapabilities, DescribeProcess and Execute are");
    Exception::new(ExceptionCode::OperationNotSupported, name, text)
}

/// An element that may not stand where it does.
fn unexpected(element: &Element, place: &str) -> ExceptionReport {
    let text = format!("element '{}' does not belong into {place}", element.name);
    Exception::invalid(element.name.clone(), text).into()
}

#[cfg(test)]
mod tests;
