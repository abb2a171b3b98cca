//! GetCapabilities requests: the version of their answer is negotiated, so both versions have one form (WPS 1.0.0 §8.2;
//! OWS Common 2.0, owsGetCapabilities.xsd).

use super::{language, unknown_language};
use crate::ows::ExceptionReport;
use crate::ows::kvp::Parameters;
use crate::service::ServiceInfo;
use crate::xml::{Element, Reader};
use anabranch_model::ProcessDescription;
use std::sync::Arc;

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetCapabilities {
    /// In the order of preference; empty where the client names none.
    pub accept_versions: Vec<String>,
    /// Sections wanted; read and not followed: neither version knows the parameter, and the documents are always whole.
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
    /// Everything published; the schemas demand at least one.
    pub processes: &'a [Arc<ProcessDescription>],
    /// Grows with every change.
    pub update_sequence: u64,
}

/// Reads the children of the root.
pub(crate) fn parse(
    root: &Element,
    reader: &mut Reader<'_>,
    service: &ServiceInfo,
) -> Result<GetCapabilities, ExceptionReport> {
    let mut request = GetCapabilities {
        update_sequence: root.attribute("updateSequence").map(str::to_owned),
        ..GetCapabilities::default()
    };
    let mut languages = Vec::new();
    while let Some(child) = reader.child()? {
        let list = match child.name.as_str() {
            "AcceptVersions" => &mut request.accept_versions,
            "AcceptLanguages" => &mut languages,
            "Sections" => &mut request.sections,
            _ => {
                reader.skip()?;
                continue;
            }
        };
        while reader.child()?.is_some() {
            list.push(reader.text()?.trim().to_owned());
        }
    }
    request.language = one_language(root.attribute("language"), &languages, service)?;
    Ok(request)
}

/// Reads the parameters.
pub(crate) fn parse_kvp(
    parameters: &Parameters<'_>,
    service: &ServiceInfo,
) -> Result<GetCapabilities, ExceptionReport> {
    let languages = parameters.list("acceptlanguages");
    Ok(GetCapabilities {
        accept_versions: parameters.list("acceptversions"),
        sections: parameters.list("sections"),
        language: one_language(parameters.value("language").as_deref(), &languages, service)?,
        update_sequence: parameters.value("updatesequence"),
    })
}

/// `language` of WPS 1.0.0, else the first of `AcceptLanguages` that is offered; `*` is any (OWS Common 2.0).
fn one_language(
    asked: Option<&str>,
    accepted: &[String],
    service: &ServiceInfo,
) -> Result<Option<String>, ExceptionReport> {
    if asked.is_some_and(|tag| !tag.is_empty()) || accepted.is_empty() {
        return language("language", asked, service);
    }
    for tag in accepted {
        if tag == "*" {
            return Ok(None);
        }
        if let Some(known) = service.find_language(tag).or_else(|| of_family(tag, service)) {
            return Ok(Some(known.to_owned()));
        }
    }
    Err(unknown_language("acceptLanguages", &accepted.join(","), service))
}

/// `en` is content with `en-US` (RFC 4647 §3.3.1).
fn of_family<'s>(tag: &str, service: &'s ServiceInfo) -> Option<&'s str> {
    let families = |known: &&String| known.split('-').next().is_some_and(|f| f.eq_ignore_ascii_case(tag));
    service.languages.iter().find(families).map(String::as_str)
}
