//! DescribeProcess (WPS 2.0, wpsDescribeProcess.xsd) and the native process model (processDescription.xsd, dataTypes.xsd).

use super::nested::{Nested, nest};
use super::{NAMESPACE, process_properties};
use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_2_0, Version, common};
use crate::wps::Processes;
use crate::xml::{Writer, XLINK, to_vec};
use anabranch_model::{
    BoundingBoxDomain, ComplexDomain, DataDescription, GroupDescription, InputDescription, LiteralDomain,
    OutputDescription, ProcessDescription,
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
    inputs(xml, None, &nest(&process.groups, &process.inputs, |input| &input.id))?;
    outputs(xml, &nest(&process.groups, &process.outputs, |output| &output.id))?;
    xml.end()?;
    xml.end()
}

/// Inputs, or the members of a group of them.
fn inputs(
    xml: &mut Writer<'_>,
    inside: Option<&GroupDescription>,
    nodes: &[Nested<'_, InputDescription>],
) -> io::Result<()> {
    for node in nodes {
        xml.start("wps:Input")?;
        match node {
            Nested::One { name, item } => input(xml, inside, name, item)?,
            Nested::Group { name, group, members } => {
                xml.attribute("minOccurs", if is_required(members) { "1" } else { "0" })?;
                xml.attribute("maxOccurs", "1")?;
                common::description_2_0(xml, name, &group.title, &group.description, &[])?;
                inputs(xml, Some(group), members)?;
            }
        }
        xml.end()?;
    }
    Ok(())
}

/// Something in a group is required, even where nothing else of the group is given.
fn is_required(members: &[Nested<'_, InputDescription>]) -> bool {
    members.iter().any(|member| match member {
        Nested::One { item, .. } => item.occurs.min > 0,
        Nested::Group { members, .. } => is_required(members),
    })
}

fn input(
    xml: &mut Writer<'_>,
    inside: Option<&GroupDescription>,
    name: &str,
    input: &InputDescription,
) -> io::Result<()> {
    let is_needed = inside.is_some_and(|group| group.needs.contains(&input.id));
    xml.attribute("minOccurs", &input.occurs.min.max(u32::from(is_needed)).to_string())?;
    let max = input.occurs.max.map_or_else(|| "unbounded".to_owned(), |max| max.to_string());
    xml.attribute("maxOccurs", &max)?;
    common::description_2_0(xml, name, &input.title, &input.description, &input.keywords)?;
    data(xml, &input.data, input_bytes_max(&input.data))
}

fn outputs(xml: &mut Writer<'_>, nodes: &[Nested<'_, OutputDescription>]) -> io::Result<()> {
    for node in nodes {
        xml.start("wps:Output")?;
        match node {
            Nested::One { name, item } => {
                common::description_2_0(xml, name, &item.title, &item.description, &item.keywords)?;
                data(xml, &item.data, None)?;
            }
            Nested::Group { name, group, members } => {
                common::description_2_0(xml, name, &group.title, &group.description, &[])?;
                outputs(xml, members)?;
            }
        }
        xml.end()?;
    }
    Ok(())
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
