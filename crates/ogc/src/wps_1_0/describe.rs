//! DescribeProcess (WPS 1.0.0 §9).

use super::{NAMESPACE, VERSION, capabilities};
use crate::ows::{Exception, ExceptionReport, NAMESPACE_1_1, common};
use crate::wps::Processes;
use crate::xml::{Writer, XLINK, to_vec};
use anabranch_model::{
    BoundingBoxDomain, ComplexDomain, DataDescription, Format, InputDescription, LiteralDomain,
    OutputDescription, ProcessDescription,
};
use std::io;
use std::sync::Arc;

/// What stands for "any number": WPS 1.0.0 has no word for it. The largest `xs:int`, which clients can hold.
const MAX_OCCURS_UNBOUNDED: u32 = 2_147_483_647;

/// Picks the descriptions, in the order asked for.
///
/// # Errors
/// InvalidParameterValue, locator `identifier`, one exception for each identifier that is unknown.
pub fn pick(
    processes: &Processes,
    published: &[Arc<ProcessDescription>],
) -> Result<Vec<Arc<ProcessDescription>>, ExceptionReport> {
    processes.find(published).map_err(|unknown| {
        let exception = |id: &&str| Exception::invalid("identifier", format!("no process {id:?}"));
        ExceptionReport::of(400, unknown.iter().map(exception).collect())
    })
}

/// Writes the document. Elements inside a process description are in no namespace, but for those of OWS (§9.3.1).
#[must_use]
pub fn write(processes: &[Arc<ProcessDescription>], language: &str) -> Vec<u8> {
    to_vec(|xml| {
        xml.start("wps:ProcessDescriptions")?;
        xml.attribute("xmlns:wps", NAMESPACE)?;
        xml.attribute("xmlns:ows", NAMESPACE_1_1)?;
        xml.attribute("xmlns:xlink", XLINK)?;
        xml.attribute("service", "WPS")?;
        xml.attribute("version", VERSION)?;
        xml.attribute("xml:lang", language)?;
        processes.iter().try_for_each(|process| process_description(xml, process))
    })
}

fn process_description(xml: &mut Writer<'_>, process: &ProcessDescription) -> io::Result<()> {
    xml.start("ProcessDescription")?;
    // Every answer can be stored; whether its status can be followed depends on the process.
    xml.attribute("storeSupported", "true")?;
    xml.attribute("statusSupported", if process.async_execute { "true" } else { "false" })?;
    capabilities::brief(xml, process)?;
    if !process.inputs.is_empty() {
        xml.start("DataInputs")?;
        process.inputs.iter().try_for_each(|description| input(xml, description))?;
        xml.end()?;
    }
    xml.start("ProcessOutputs")?;
    process.outputs.iter().try_for_each(|description| output(xml, description))?;
    xml.end()?;
    xml.end()
}

fn input(xml: &mut Writer<'_>, input: &InputDescription) -> io::Result<()> {
    xml.start("Input")?;
    xml.attribute("minOccurs", &input.occurs.min.to_string())?;
    xml.attribute("maxOccurs", &input.occurs.max.unwrap_or(MAX_OCCURS_UNBOUNDED).to_string())?;
    common::description(xml, &input.id, &input.title, &input.description)?;
    match &input.data {
        DataDescription::Literal(domain) => {
            xml.start("LiteralData")?;
            literal(xml, domain)?;
            common::allowed_values(xml, &domain.allowed)?;
            if let Some(default) = &domain.default {
                xml.leaf("DefaultValue", default)?;
            }
        }
        DataDescription::BoundingBox(domain) => {
            xml.start("BoundingBoxData")?;
            bounding_box(xml, domain)?;
        }
        DataDescription::Complex(domain) => {
            xml.start("ComplexData")?;
            if let Some(bytes) = domain.bytes_max {
                xml.attribute("maximumMegabytes", &bytes.div_ceil(1 << 20).to_string())?;
            }
            complex(xml, domain)?;
        }
    }
    xml.end()?;
    xml.end()
}

fn output(xml: &mut Writer<'_>, output: &OutputDescription) -> io::Result<()> {
    xml.start("Output")?;
    common::description(xml, &output.id, &output.title, &output.description)?;
    match &output.data {
        DataDescription::Literal(domain) => {
            xml.start("LiteralOutput")?;
            literal(xml, domain)?;
        }
        DataDescription::BoundingBox(domain) => {
            xml.start("BoundingBoxOutput")?;
            bounding_box(xml, domain)?;
        }
        DataDescription::Complex(domain) => {
            xml.start("ComplexOutput")?;
            complex(xml, domain)?;
        }
    }
    xml.end()?;
    xml.end()
}

/// Type and units.
fn literal(xml: &mut Writer<'_>, domain: &LiteralDomain) -> io::Result<()> {
    common::data_type(xml, domain.data_type)?;
    default_and_supported(xml, Some("UOMs"), &domain.uoms, |xml, uom| xml.leaf("ows:UOM", uom))
}

fn bounding_box(xml: &mut Writer<'_>, domain: &BoundingBoxDomain) -> io::Result<()> {
    default_and_supported(xml, None, &domain.crs, |xml, crs| xml.leaf("CRS", crs))
}

fn complex(xml: &mut Writer<'_>, domain: &ComplexDomain) -> io::Result<()> {
    default_and_supported(xml, None, &domain.formats, format)
}

fn format(xml: &mut Writer<'_>, format: &Format) -> io::Result<()> {
    xml.start("Format")?;
    xml.leaf("MimeType", &format.media_type)?;
    if let Some(encoding) = &format.encoding {
        xml.leaf("Encoding", encoding)?;
    }
    if let Some(schema) = &format.schema {
        xml.leaf("Schema", schema)?;
    }
    xml.end()
}

/// The first is the default, and stands among those supported again (§9.3.1, tables 24 and 30).
fn default_and_supported<T>(
    xml: &mut Writer<'_>,
    around: Option<&'static str>,
    all: &[T],
    write: impl Fn(&mut Writer<'_>, &T) -> io::Result<()>,
) -> io::Result<()> {
    let Some(default) = all.first() else { return Ok(()) };
    if let Some(name) = around {
        xml.start(name)?;
    }
    xml.start("Default")?;
    write(xml, default)?;
    xml.end()?;
    xml.start("Supported")?;
    all.iter().try_for_each(|one| write(xml, one))?;
    xml.end()?;
    if around.is_some() { xml.end() } else { Ok(()) }
}
