//! DescribeProcess (WPS 2.0, wpsDescribeProcess.xsd) and the native process model (processDescription.xsd, dataTypes.xsd).

use super::{NAMESPACE, process_properties};
use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_2_0, Version, common};
use crate::wps::Processes;
use crate::xml::{Writer, XLINK, to_vec};
use anabranch_model::{
    BoundingBoxDomain, ComplexDomain, DataDescription, InputDescription, LiteralDomain, OutputDescription,
    ProcessDescription,
};
use std::io;
use std::sync::Arc;

/// `wps:LiteralValue` and `ows:BoundingBox`: what literals and boxes are where no other format is asked for.
pub(super) const XML_MEDIA_TYPE: &str = "text/xml";
/// A literal's bare characters.
pub(super) const TEXT_MEDIA_TYPE: &str = "text/plain";

/// Picks the descriptions, in the order asked for.
///
/// # Errors
/// NoSuchProcess, its locator all identifiers that are unknown (table 41).
pub fn pick(
    processes: &Processes,
    published: &[Arc<ProcessDescription>],
) -> Result<Vec<Arc<ProcessDescription>>, ExceptionReport> {
    processes.find(published).map_err(|unknown| {
        let unknown = unknown.join(",");
        let text = format!("there is no process {unknown}");
        ExceptionReport::from(Exception::new(ExceptionCode::NoSuchProcess, unknown, text))
            .in_version(Version::V2_0)
    })
}

/// Writes the document.
#[must_use]
pub fn write(processes: &[Arc<ProcessDescription>], language: &str) -> Vec<u8> {
    to_vec(|xml| {
        xml.start("wps:ProcessOfferings")?;
        xml.attribute("xmlns:wps", NAMESPACE)?;
        xml.attribute("xmlns:ows", NAMESPACE_2_0)?;
        xml.attribute("xmlns:xlink", XLINK)?;
        processes.iter().try_for_each(|process| offering(xml, process, language))
    })
}

fn offering(xml: &mut Writer<'_>, process: &ProcessDescription, language: &str) -> io::Result<()> {
    xml.start("wps:ProcessOffering")?;
    process_properties(xml, process)?;
    xml.start("wps:Process")?;
    xml.attribute("xml:lang", language)?;
    let id = process.id.as_str();
    common::description_2_0(xml, id, &process.title, &process.description, &process.keywords)?;
    common::metadata(xml, &process.metadata)?;
    process.inputs.iter().try_for_each(|description| input(xml, description))?;
    process.outputs.iter().try_for_each(|description| output(xml, description))?;
    xml.end()?;
    xml.end()
}

fn input(xml: &mut Writer<'_>, input: &InputDescription) -> io::Result<()> {
    xml.start("wps:Input")?;
    xml.attribute("minOccurs", &input.occurs.min.to_string())?;
    let max = input.occurs.max.map_or_else(|| "unbounded".to_owned(), |max| max.to_string());
    xml.attribute("maxOccurs", &max)?;
    common::description_2_0(xml, &input.id, &input.title, &input.description, &input.keywords)?;
    data(xml, &input.data, input_bytes_max(&input.data))?;
    xml.end()
}

fn output(xml: &mut Writer<'_>, output: &OutputDescription) -> io::Result<()> {
    xml.start("wps:Output")?;
    common::description_2_0(xml, &output.id, &output.title, &output.description, &output.keywords)?;
    data(xml, &output.data, None)?;
    xml.end()
}

/// The limit is one for inputs.
fn input_bytes_max(data: &DataDescription) -> Option<u64> {
    match data {
        DataDescription::Complex(domain) => domain.bytes_max,
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => None,
    }
}

fn data(xml: &mut Writer<'_>, data: &DataDescription, bytes_max: Option<u64>) -> io::Result<()> {
    match data {
        DataDescription::Literal(domain) => literal(xml, domain),
        DataDescription::BoundingBox(domain) => bounding_box(xml, domain),
        DataDescription::Complex(domain) => complex(xml, domain, bytes_max),
    }
}

/// A domain for each unit of measure; the first is the default (`LiteralDataType`). The schema has the element in no namespace.
fn literal(xml: &mut Writer<'_>, domain: &LiteralDomain) -> io::Result<()> {
    xml.start("wps:LiteralData")?;
    for (media_type, is_default) in [(XML_MEDIA_TYPE, true), (TEXT_MEDIA_TYPE, false)] {
        xml.start("wps:Format")?;
        xml.attribute("mimeType", media_type)?;
        default(xml, is_default)?;
        xml.end()?;
    }
    for (index, uom) in uoms(domain).into_iter().enumerate() {
        xml.start("LiteralDataDomain")?;
        default(xml, index == 0)?;
        common::allowed_values(xml, &domain.allowed)?;
        common::data_type(xml, domain.data_type)?;
        if let Some(uom) = uom {
            xml.leaf("ows:UOM", uom)?;
        }
        // The value is one of the first unit.
        if let Some(value) = domain.default.as_ref().filter(|_| index == 0) {
            xml.leaf("ows:DefaultValue", value)?;
        }
        xml.end()?;
    }
    xml.end()
}

/// At least one entry: a literal without units has one domain too.
fn uoms(domain: &LiteralDomain) -> Vec<Option<&str>> {
    if domain.uoms.is_empty() {
        return vec![None];
    }
    domain.uoms.iter().map(|uom| Some(uom.as_str())).collect()
}

/// `BoundingBoxData`.
fn bounding_box(xml: &mut Writer<'_>, domain: &BoundingBoxDomain) -> io::Result<()> {
    xml.start("wps:BoundingBoxData")?;
    xml.start("wps:Format")?;
    xml.attribute("mimeType", XML_MEDIA_TYPE)?;
    default(xml, true)?;
    xml.end()?;
    for (index, crs) in domain.crs.iter().enumerate() {
        xml.start("wps:SupportedCRS")?;
        default(xml, index == 0)?;
        xml.text(crs)?;
        xml.end()?;
    }
    xml.end()
}

/// `ComplexDataType`.
fn complex(xml: &mut Writer<'_>, domain: &ComplexDomain, bytes_max: Option<u64>) -> io::Result<()> {
    xml.start("wps:ComplexData")?;
    for (index, format) in domain.formats.iter().enumerate() {
        xml.start("wps:Format")?;
        xml.attribute("mimeType", &format.media_type)?;
        xml.attribute_if("encoding", format.encoding.as_deref())?;
        xml.attribute_if("schema", format.schema.as_deref())?;
        if let Some(bytes) = bytes_max {
            xml.attribute("maximumMegabytes", &bytes.div_ceil(1 << 20).max(1).to_string())?;
        }
        default(xml, index == 0)?;
        xml.end()?;
    }
    xml.end()
}

fn default(xml: &mut Writer<'_>, is_default: bool) -> io::Result<()> {
    if is_default { xml.attribute("default", "true") } else { Ok(()) }
}
