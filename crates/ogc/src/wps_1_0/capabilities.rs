//! GetCapabilities (WPS 1.0.0 §8).

use super::{NAMESPACE, VERSION};
use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_1_1, common, common::Methods};
use crate::wps::{Capabilities, GetCapabilities};
use crate::wps_2_0;
use crate::xml::{Writer, XLINK, to_vec};
use anabranch_model::ProcessDescription;
use std::io;

/// Writes the document: in full, or in short where the client knows the present update sequence (OWS Common 1.1 §7.3.4).
///
/// # Errors
/// InvalidUpdateSequence where the client knows a later sequence than there is, or one that is none of ours.
pub fn write(capabilities: &Capabilities<'_>, request: &GetCapabilities) -> Result<Vec<u8>, ExceptionReport> {
    let is_short = match request.update_sequence.as_deref().filter(|known| !known.is_empty()) {
        None => false,
        Some(known) => match known.trim().parse::<u64>() {
            Ok(known) if known <= capabilities.update_sequence => known == capabilities.update_sequence,
            _ => {
                let text = format!(
                    "parameter 'updateSequence' must be at most {}, not {known:?}",
                    capabilities.update_sequence
                );
                let code = ExceptionCode::InvalidUpdateSequence;
                return Err(Exception { code, locator: None, text }.into());
            }
        },
    };
    let language = request.language.as_deref().unwrap_or_else(|| capabilities.service.language());
    Ok(to_vec(|xml| {
        xml.start("wps:Capabilities")?;
        xml.attribute("xmlns:wps", NAMESPACE)?;
        xml.attribute("xmlns:ows", NAMESPACE_1_1)?;
        xml.attribute("xmlns:xlink", XLINK)?;
        xml.attribute("service", "WPS")?;
        xml.attribute("version", VERSION)?;
        xml.attribute("xml:lang", language)?;
        xml.attribute("updateSequence", &capabilities.update_sequence.to_string())?;
        if is_short { Ok(()) } else { sections(xml, capabilities) }
    }))
}

fn sections(xml: &mut Writer<'_>, capabilities: &Capabilities<'_>) -> io::Result<()> {
    let service = capabilities.service;
    common::service_identification(xml, service, &[VERSION, wps_2_0::VERSION])?;
    common::service_provider(xml, service)?;
    xml.start("ows:OperationsMetadata")?;
    for (name, methods) in [
        ("GetCapabilities", Methods::GetAndPost),
        ("DescribeProcess", Methods::GetAndPost),
        ("Execute", Methods::GetAndPost),
        ("GetExecutionStatus", Methods::GetOnly),
        ("Dismiss", Methods::GetOnly),
    ] {
        common::operation(xml, name, capabilities.url, methods)?;
    }
    xml.end()?;
    xml.start("wps:ProcessOfferings")?;
    for process in capabilities.processes {
        xml.start("wps:Process")?;
        brief(xml, process)?;
        xml.end()?;
    }
    xml.end()?;
    xml.start("wps:Languages")?;
    xml.start("wps:Default")?;
    xml.leaf("ows:Language", service.language())?;
    xml.end()?;
    xml.start("wps:Supported")?;
    for language in &service.languages {
        xml.leaf("ows:Language", language)?;
    }
    xml.end()?;
    xml.end()
}

/// `ProcessBriefType`: attribute and elements; the element itself is the caller's.
pub(super) fn brief(xml: &mut Writer<'_>, process: &ProcessDescription) -> io::Result<()> {
    xml.attribute("wps:processVersion", &process.version)?;
    common::description(xml, process.id.as_str(), &process.title, &process.description)?;
    common::metadata(xml, &process.metadata)
}
