//! GetCapabilities (WPS 2.0, wpsGetCapabilities.xsd).

use super::{NAMESPACE, VERSION, process_properties};
use crate::ows::{NAMESPACE_2_0, common, common::Methods};
use crate::wps::Capabilities;
use crate::wps_1_0;
use crate::xml::{Writer, XLINK, to_vec};
use std::io;

/// Writes the document. It is always whole and has no update sequence: the schema of WPS 2.0 leaves both
/// parameters out (`Capabilities`).
#[must_use]
pub fn write(capabilities: &Capabilities<'_>) -> Vec<u8> {
    to_vec(|xml| {
        xml.start("wps:Capabilities")?;
        xml.attribute("xmlns:wps", NAMESPACE)?;
        xml.attribute("xmlns:ows", NAMESPACE_2_0)?;
        xml.attribute("xmlns:xlink", XLINK)?;
        xml.attribute("service", "WPS")?;
        xml.attribute("version", VERSION)?;
        sections(xml, capabilities)
    })
}

fn sections(xml: &mut Writer<'_>, capabilities: &Capabilities<'_>) -> io::Result<()> {
    let service = capabilities.service;
    common::service_identification(xml, service, &[VERSION, wps_1_0::VERSION])?;
    common::service_provider(xml, service)?;
    xml.start("ows:OperationsMetadata")?;
    for (name, methods) in [
        ("GetCapabilities", Methods::GetAndPost),
        ("DescribeProcess", Methods::GetAndPost),
        ("Execute", Methods::PostOnly),
        ("GetStatus", Methods::GetAndPost),
        ("GetResult", Methods::GetAndPost),
        ("Dismiss", Methods::GetAndPost),
    ] {
        common::operation(xml, name, capabilities.url, methods)?;
    }
    xml.end()?;
    xml.start("ows:Languages")?;
    for language in &service.languages {
        xml.leaf("ows:Language", language)?;
    }
    xml.end()?;
    xml.start("wps:Contents")?;
    for process in capabilities.processes {
        xml.start("wps:ProcessSummary")?;
        process_properties(xml, process)?;
        let id = process.id.as_str();
        common::description_2_0(xml, id, &process.title, &process.description, &process.keywords)?;
        common::metadata(xml, &process.metadata)?;
        xml.end()?;
    }
    xml.end()
}
