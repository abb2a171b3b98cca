//! WPS 1.0.0 (OGC 05-007r7).

pub mod capabilities;
pub mod describe;
pub mod exception;
pub mod execute;
pub mod kvp;
pub mod response;

use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_1_1};
use crate::service::ServiceInfo;
use crate::wps::{language, processes};
use crate::xml::{Element, Reader};

pub use crate::wps::{DescribeProcess, GetCapabilities, MEDIA_TYPE};
pub use exception::exception_report;
pub use execute::{Execute, ResponseOptions};

/// The version this module speaks.
pub const VERSION: &str = "1.0.0";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "http://www.opengis.net/wps/1.0.0";

/// A request of one of the three operations, or of the two by which GeoServer extends them. Jobs are named as the client wrote them.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// §8.
    GetCapabilities(GetCapabilities),
    /// §9.
    DescribeProcess(DescribeProcess),
    /// §10.
    Execute(Box<Execute>),
    /// By GET only, GeoServer's: where a job stands.
    GetExecutionStatus(ExecutionId),
    /// By GET only, GeoServer's: the end of a job.
    Dismiss(ExecutionId),
}

/// Names a job in the operations of GeoServer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionId {
    /// As the client wrote it.
    pub job: String,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
}

impl Request {
    /// The language the client asked for, as the service spells it.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        match self {
            Self::GetCapabilities(request) => request.language.as_deref(),
            Self::DescribeProcess(request) => request.language.as_deref(),
            Self::Execute(request) => request.language.as_deref(),
            Self::GetExecutionStatus(request) | Self::Dismiss(request) => request.language.as_deref(),
        }
    }
}

/// Parses the document whose root has been read; its namespace is ours, its service and version have been checked. GetCapabilities is
/// read before the version is known (see [`crate::detect`]).
pub(crate) fn parse(
    root: &Element,
    reader: &mut Reader<'_>,
    service: &ServiceInfo,
) -> Result<Request, ExceptionReport> {
    let language = language("language", root.attribute("language"), service)?;
    let request = match root.name.as_str() {
        "DescribeProcess" => Request::DescribeProcess(processes::parse(reader, NAMESPACE_1_1, language)?),
        "Execute" => Request::Execute(Box::new(execute::parse(reader, language)?)),
        other => return Err(operation_not_supported(other).into()),
    };
    reader.finish()?;
    Ok(request)
}

pub(crate) fn operation_not_supported(name: &str) -> Exception {
    let text = format!(
        "operation {name:?} is not offered: GetCapabilities, DescribeProcess and Execute are by GET and POST, and \
         GetExecutionStatus and Dismiss are by GET"
    );
    Exception::new(ExceptionCode::OperationNotSupported, name, text)
}

#[cfg(test)]
mod tests;
