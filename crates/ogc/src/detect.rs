//! Which protocol, version and operation a WPS request means: by its query string or by the root element of its body.
//!
//! Accepted on purpose: the values of `service` and `request` in any case; a version on GetCapabilities. Ignored on purpose:
//! parameters that are unknown, and `xsi:schemaLocation`.

use crate::ows::kvp::Parameters;
use crate::ows::{Exception, ExceptionCode, ExceptionReport};
use crate::service::ServiceInfo;
use crate::wps_1_0;
use crate::xml::{Element, Reader, decode};

/// A WPS request, parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum WpsRequest {
    /// WPS 1.0.0.
    V1_0(wps_1_0::Request),
}

/// The versions that are spoken, the one for clients that name none first. Many clients of 1.0.0 name none.
const VERSIONS: [Version; 1] = [Version::V1_0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1_0,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V1_0 => wps_1_0::VERSION,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.name() == name.trim())
    }
}

/// Parses the query string of a GET request, with or without `?`.
///
/// # Errors
/// The report to answer with.
pub fn query(query: &str, service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    let parameters = Parameters::parse(query);
    check_service(parameters.value("service").as_deref())?;
    let Some(operation) = parameters.value("request") else {
        return Err(Exception::missing("request").into());
    };
    let version = parameters.value("version");
    let version = if operation.eq_ignore_ascii_case("GetCapabilities") {
        negotiate(&parameters.list("acceptversions"), version.as_deref())?
    } else {
        check_version(version.as_deref())?
    };
    match version {
        Version::V1_0 => wps_1_0::kvp::parse(&operation, &parameters, service).map(WpsRequest::V1_0),
    }
}

/// Parses the body of a POST request.
///
/// # Errors
/// The report to answer with.
pub fn body(body: &[u8], service: &ServiceInfo) -> Result<WpsRequest, ExceptionReport> {
    let source = decode(body)?;
    let mut reader = Reader::new(&source);
    let root = reader.root()?;
    match root_version(&root)? {
        Version::V1_0 => wps_1_0::parse(&root, &mut reader, service).map(WpsRequest::V1_0),
    }
}

fn root_version(root: &Element) -> Result<Version, ExceptionReport> {
    if root.namespace != wps_1_0::NAMESPACE {
        // SOAP is not offered (WPS 1.0.0 §11 makes it optional).
        if root.name == "Envelope" {
            return Err(wps_1_0::operation_not_supported("Envelope").into());
        }
        let text = format!(
            "element '{}' is no request of WPS {}: its namespace is '{}'",
            root.name,
            version_names(),
            root.namespace
        );
        return Err(Exception::invalid("service", text).into());
    }
    check_service(root.attribute("service"))?;
    match root.name.as_str() {
        "GetCapabilities" => negotiate(&[], root.attribute("version")),
        "DescribeProcess" | "Execute" => check_version(root.attribute("version")),
        other => Err(wps_1_0::operation_not_supported(other).into()),
    }
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

fn check_version(version: Option<&str>) -> Result<Version, ExceptionReport> {
    let Some(version) = version.filter(|version| !version.is_empty()) else {
        return Err(Exception::missing("version").into());
    };
    Version::from_name(version).ok_or_else(|| {
        let text = format!("parameter 'version' must be {}, not {version:?}", version_names());
        Exception::invalid("version", text).into()
    })
}

/// The first version that both know (OWS Common 1.1 §7.3.2). `version` has no place in GetCapabilities; where it is given all the
/// same it is taken at its word.
fn negotiate(accepted: &[String], version: Option<&str>) -> Result<Version, ExceptionReport> {
    if accepted.is_empty() {
        return match version {
            None | Some("") => Ok(VERSIONS[0]),
            version => check_version(version),
        };
    }
    accepted.iter().find_map(|name| Version::from_name(name)).ok_or_else(|| {
        let text = format!("none of the versions {} is offered: {} is", accepted.join(", "), version_names());
        // This code has no locator (OWS Common 1.1 table 27).
        Exception { code: ExceptionCode::VersionNegotiationFailed, locator: None, text }.into()
    })
}

/// The versions that a body accepts are known only when it has been read; its namespace has chosen one before.
pub(crate) fn check_accepted(accepted: &[String]) -> Result<(), ExceptionReport> {
    negotiate(accepted, None).map(|_version| ())
}

fn version_names() -> String {
    VERSIONS.map(Version::name).join(" or ")
}

/// For fuzzing: any query may be refused, none may panic.
#[doc(hidden)]
pub fn fuzz_query(text: &str) {
    let _refused = query(text, &ServiceInfo::default());
}

/// For fuzzing: any body may be refused, none may panic.
#[doc(hidden)]
pub fn fuzz_body(bytes: &[u8]) {
    let _refused = body(bytes, &ServiceInfo::default());
}

#[cfg(test)]
mod tests;
