//! Which protocol, version and operation a WPS request means: by its query string or by the root element of its body.
//!
//! Accepted on purpose: the values of `service` and `request` in any case; a version on GetCapabilities. Ignored on purpose:
//! parameters that are unknown, and `xsi:schemaLocation`.

use crate::ows::kvp::Parameters;
use crate::ows::{self, Exception, ExceptionCode, ExceptionReport};
use crate::service::ServiceInfo;
use crate::spool::Spooling;
use crate::wps::{GetCapabilities, capabilities};
use crate::xml::{Element, Reader};
use crate::{wps_1_0, wps_2_0};
use anabranch_model::Error;
use std::io::BufRead;

/// A WPS request, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum WpsRequest {
    /// WPS 1.0.0.
    V1_0(wps_1_0::Request),
    /// WPS 2.0.
    V2_0(wps_2_0::Request),
}

/// The versions that are spoken, the one for clients that name none first. Many clients of 1.0.0 name none; those of 2.0 know that there
/// are two versions.
const VERSIONS: [Version; 2] = [Version::V1_0, Version::V2_0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1_0,
    V2_0,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V1_0 => wps_1_0::VERSION,
            Self::V2_0 => wps_2_0::VERSION,
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::V1_0 => wps_1_0::NAMESPACE,
            Self::V2_0 => wps_2_0::NAMESPACE,
        }
    }

    /// In whose form its errors are reported.
    fn ows(self) -> ows::Version {
        match self {
            Self::V1_0 => ows::Version::V1_1,
            Self::V2_0 => ows::Version::V2_0,
        }
    }

    fn exception_report(self, error: &Error) -> ExceptionReport {
        match self {
            Self::V1_0 => wps_1_0::exception_report(error),
            Self::V2_0 => wps_2_0::exception_report(error),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.name() == name.trim())
    }

    fn get_capabilities(self, request: GetCapabilities) -> WpsRequest {
        match self {
            Self::V1_0 => WpsRequest::V1_0(wps_1_0::Request::GetCapabilities(request)),
            Self::V2_0 => WpsRequest::V2_0(wps_2_0::Request::GetCapabilities(request)),
        }
    }
}

/// Parses the query string of a GET request, with or without `?`.
///
/// # Errors
/// The report to answer with, in the form of the version that the client names.
pub fn query(query: &str, service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    let parameters = Parameters::parse(query);
    let named = parameters.value("version").or_else(|| parameters.list("acceptversions").into_iter().next());
    let named = named.and_then(|name| Version::from_name(&name)).unwrap_or(VERSIONS[0]);
    of_parameters(&parameters, service).map_err(|report| report.in_version(named.ows()))
}

fn of_parameters(parameters: &Parameters<'_>, service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    check_service(parameters.value("service").as_deref())?;
    let Some(operation) = parameters.value("request") else {
        return Err(Exception::missing("request").into());
    };
    let version = parameters.value("version");
    if operation.eq_ignore_ascii_case("GetCapabilities") {
        let request = capabilities::parse_kvp(parameters, service)?;
        let version = negotiate(&request.accept_versions, version.as_deref(), VERSIONS[0])?;
        return Ok(version.get_capabilities(request));
    }
    match check_version(version.as_deref(), &VERSIONS)? {
        Version::V1_0 => wps_1_0::kvp::parse(&operation, parameters, service).map(WpsRequest::V1_0),
        Version::V2_0 => wps_2_0::kvp::parse(&operation, parameters, service).map(WpsRequest::V2_0),
    }
}

/// Parses the body of a POST request. Its namespace says the version, but for the answer to GetCapabilities, which is negotiated.
///
/// # Errors
/// The report to answer with, in the form of the version that the namespace says.
pub fn body(body: &[u8], service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    of_document(&mut Reader::new(body), service)
}

/// Parses such a body while it arrives: large payloads are spooled, and become files of the request.
///
/// # Errors
/// As [`body`]; and reports of what went wrong with reading and spooling: an [`std::io::Error`] that holds an [`Error`] is reported as
/// that one.
pub fn stream<'a>(
    input: &'a mut dyn BufRead,
    service: &ServiceInfo,
    spooling: Spooling<'a>,
) -> Result<WpsRequest, ExceptionReport> {
    of_document(&mut Reader::spooling(input, spooling), service)
}

fn of_document(reader: &mut Reader<'_>, service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    // Until the root element has been read, nobody knows which version was meant.
    let mut version = VERSIONS[0];
    let read = reader.root().map_err(ExceptionReport::from).and_then(|root| {
        version = root_version(&root)?;
        of_root(version, &root, reader, service)
    });
    read.map_err(|report| match reader.failure() {
        Some(failure) => version.exception_report(&failure),
        None => report.in_version(version.ows()),
    })
}

fn of_root(
    version: Version,
    root: &Element,
    reader: &mut Reader<'_>,
    service: &ServiceInfo,
) -> Result<WpsRequest, ExceptionReport> {
    check_service(root.attribute("service"))?;
    if root.name == "GetCapabilities" {
        let request = capabilities::parse(root, reader, service)?;
        reader.finish()?;
        let version = negotiate(&request.accept_versions, root.attribute("version"), version)?;
        return Ok(version.get_capabilities(request));
    }
    let is_known = match (version, root.name.as_str()) {
        (_, "DescribeProcess" | "Execute") => true,
        (version, name) => version == Version::V2_0 && matches!(name, "GetStatus" | "GetResult" | "Dismiss"),
    };
    if is_known {
        check_version(root.attribute("version"), &[version])?;
    }
    match version {
        Version::V1_0 => wps_1_0::parse(root, reader, service).map(WpsRequest::V1_0),
        Version::V2_0 => wps_2_0::parse(root, reader, service).map(WpsRequest::V2_0),
    }
}

fn root_version(root: &Element) -> Result<Version, ExceptionReport> {
    if let Some(version) = VERSIONS.into_iter().find(|version| version.namespace() == root.namespace) {
        return Ok(version);
    }
    // SOAP is not offered (WPS 1.0.0 §11 makes it optional).
    if root.name == "Envelope" {
        return Err(wps_1_0::operation_not_supported("Envelope").into());
    }
    let text = format!(
        "element '{}' is no request of WPS {}: its namespace is '{}'",
        root.name,
        version_names(&VERSIONS),
        root.namespace
    );
    Err(Exception::invalid("service", text).into())
}

fn check_service(service: Option<&str>) -> Result<(), ExceptionReport> {
    match service {
        None | Some("") => Err(Exception::missing("service").into()),
        Some(service) if service.eq_ignore_ascii_case("WPS") => Ok(()),
        Some(other) => {
            Err(Exception::invalid("service", format!("parameter 'service' must be WPS, not {other:?}"))
                .into())
        }
    }
}

fn check_version(version: Option<&str>, allowed: &[Version]) -> Result<Version, ExceptionReport> {
    let Some(version) = version.filter(|version| !version.is_empty()) else {
        return Err(Exception::missing("version").into());
    };
    Version::from_name(version).filter(|version| allowed.contains(version)).ok_or_else(|| {
        let text = format!("parameter 'version' must be {}, not {version:?}", version_names(allowed));
        Exception::invalid("version", text).into()
    })
}

/// The first version that both know (OWS Common 1.1 §7.3.2, and the same in 2.0). `version` has no place in GetCapabilities; where it is given all
/// the same it is taken at its word.
fn negotiate(
    accepted: &[String],
    version: Option<&str>,
    otherwise: Version,
) -> Result<Version, ExceptionReport> {
    if accepted.is_empty() {
        return match version {
            None | Some("") => Ok(otherwise),
            version => check_version(version, &VERSIONS),
        };
    }
    accepted.iter().find_map(|name| Version::from_name(name)).ok_or_else(|| {
        let text = format!(
            "none of the versions {} is offered: {} is",
            accepted.join(", "),
            version_names(&VERSIONS)
        );
        // This code has no locator (OWS Common 1.1 table 27).
        Exception { code: ExceptionCode::VersionNegotiationFailed, locator: None, text }.into()
    })
}

fn version_names(versions: &[Version]) -> String {
    versions.iter().map(|version| version.name()).collect::<Vec<_>>().join(" or ")
}

#[doc(hidden)]
pub use fuzz::{fuzz_body, fuzz_query};

mod fuzz;
#[cfg(test)]
mod tests;
