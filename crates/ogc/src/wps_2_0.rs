//! WPS 2.0 (OGC 14-065r2), process model *native*.

pub mod capabilities;
pub mod describe;
pub mod exception;
pub mod execute;
pub mod kvp;
mod nested;
pub mod response;
pub mod status;

use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_2_0};
use crate::service::ServiceInfo;
use crate::wps::{language, processes};
use crate::xml::{Element, Reader};
use anabranch_model::{ExecuteRequest, ProcessDescription};
use std::io;

pub use crate::wps::{DescribeProcess, GetCapabilities, MEDIA_TYPE};
pub use exception::exception_report;

/// The version this module speaks.
pub const VERSION: &str = "2.0.0";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "http://www.opengis.net/wps/2.0";
/// The namespace of `xml:lang`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// A request of one of the six operations. Jobs are named as the client wrote them.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// What the service is and offers.
    GetCapabilities(GetCapabilities),
    /// What processes take and give.
    DescribeProcess(DescribeProcess),
    /// Execution.
    Execute(Box<ExecuteRequest>),
    /// Where a job stands.
    GetStatus(String),
    /// What a job has put out.
    GetResult(String),
    /// The end of a job; an extension.
    Dismiss(String),
}

/// Parses the document whose root has been read; its namespace is ours, its service and version have been checked. GetCapabilities is
/// read before the version is known (see [`crate::detect`]).
pub(crate) fn parse(
    root: &Element,
    reader: &mut Reader<'_>,
    service: &ServiceInfo,
) -> Result<Request, ExceptionReport> {
    let request = match root.name.as_str() {
        "DescribeProcess" => {
            let language = language("lang", root.attribute_of(XML, "lang"), service)?;
            Request::DescribeProcess(processes::parse(reader, NAMESPACE_2_0, language)?)
        }
        "Execute" => Request::Execute(Box::new(execute::parse(root, reader)?)),
        "GetStatus" => Request::GetStatus(status::parse_job(reader)?),
        "GetResult" => Request::GetResult(status::parse_job(reader)?),
        "Dismiss" => Request::Dismiss(status::parse_job(reader)?),
        other => return Err(operation_not_supported(other).into()),
    };
    reader.finish()?;
    Ok(request)
}

pub(crate) fn operation_not_supported(name: &str) -> Exception {
    let text = format!(
        "operation {name:?} is not offered: GetCapabilities, DescribeProcess, GetStatus, GetResult and Dismiss are by GET and \
         POST, and Execute is by POST"
    );
    Exception::new(ExceptionCode::OperationNotSupported, name, text)
}

/// The properties of a process offering (`processPropertiesAttributes`), as attributes of the element begun last.
fn process_properties(xml: &mut crate::xml::Writer<'_>, process: &ProcessDescription) -> io::Result<()> {
    let modes =
        [("sync-execute", process.sync_execute), ("async-execute", process.async_execute), ("dismiss", true)];
    let modes: Vec<_> = modes.into_iter().filter(|(_, offered)| *offered).map(|(name, _)| name).collect();
    xml.attribute("jobControlOptions", &modes.join(" "))?;
    xml.attribute("outputTransmission", "value reference")?;
    xml.attribute("processVersion", &process.version)
}

#[cfg(test)]
mod tests;
