//! Results: documents and raw data (WPS 2.0, `Result` of wpsCommon.xsd).

use super::describe::{TEXT_MEDIA_TYPE, XML_MEDIA_TYPE};
use super::nested::path;
use super::{MEDIA_TYPE, NAMESPACE};
use crate::output::{Output, OutputValue};
use crate::ows::{NAMESPACE_2_0, common};
use crate::payload;
use crate::xml::{Writer, XLINK};
use anabranch_model::description::media_type_essence;
use anabranch_model::{BoundingBox, GroupDescription, JobId, LiteralValue, Timestamp, Value};
use std::io::{self, Write};

/// What a result document is made of.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The job.
    pub job: &'a JobId,
    /// In which of them outputs lie.
    pub groups: &'a [GroupDescription],
    /// When it will be removed with its results, if that is known.
    pub expires: Option<Timestamp>,
    /// Not empty, as the schema wants it; a process that put nothing out has none to show.
    pub outputs: &'a [Output<'a>],
}

/// Writes a result document; reads files in blocks.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write(response: &Response<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut xml = Writer::document(out)?;
    xml.start("wps:Result")?;
    xml.attribute("xmlns:wps", NAMESPACE)?;
    xml.attribute("xmlns:ows", NAMESPACE_2_0)?;
    xml.attribute("xmlns:xlink", XLINK)?;
    xml.leaf("wps:JobID", &response.job.to_string())?;
    if let Some(expires) = response.expires {
        xml.leaf("wps:ExpirationDate", &expires.to_string())?;
    }
    response.outputs.iter().try_for_each(|one| output(&mut xml, response.groups, one))?;
    xml.finish()
}

/// `DataOutputType`. It nests one output in another, never two: members of a group come one by one, each in its group.
fn output(xml: &mut Writer<'_>, groups: &[GroupDescription], output: &Output<'_>) -> io::Result<()> {
    let path = path(groups, &output.description.id);
    for name in &path {
        xml.start("wps:Output")?;
        xml.attribute("id", name)?;
    }
    match output.value {
        OutputValue::Reference { href, format } => {
            xml.start("wps:Reference")?;
            xml.attribute("xlink:href", href)?;
            if let Some(format) = format {
                xml.attribute("mimeType", &format.media_type)?;
                xml.attribute_if("schema", format.schema.as_deref())?;
            }
        }
        OutputValue::Inline(value) => {
            xml.start("wps:Data")?;
            data(xml, output, value)?;
        }
    }
    xml.end()?;
    path.iter().try_for_each(|_name| xml.end())
}

/// Attributes and content of `Data`.
fn data(xml: &mut Writer<'_>, output: &Output<'_>, value: &Value) -> io::Result<()> {
    match value {
        Value::Literal(literal) if is_text(output) => {
            xml.attribute("mimeType", TEXT_MEDIA_TYPE)?;
            xml.text(&literal.text)
        }
        Value::Literal(literal) => {
            xml.attribute("mimeType", XML_MEDIA_TYPE)?;
            literal_value(xml, literal, None)
        }
        Value::BoundingBox(value) => {
            xml.attribute("mimeType", XML_MEDIA_TYPE)?;
            bounding_box(xml, value, None)
        }
        Value::Complex(complex) => {
            let base64 = payload::is_base64(output.request, complex);
            xml.attribute("mimeType", &complex.format.media_type)?;
            if base64 {
                xml.attribute("encoding", "base64")?;
            }
            xml.attribute_if("schema", complex.format.schema.as_deref())?;
            payload::embed(complex, base64, xml.content()?)
        }
    }
}

/// The client asked for the bare characters of a literal.
fn is_text(output: &Output<'_>) -> bool {
    let asked = output.request.format.media_type.as_deref();
    asked.is_some_and(|asked| media_type_essence(asked) == TEXT_MEDIA_TYPE)
}

/// The namespace is for those that are roots.
fn literal_value(xml: &mut Writer<'_>, value: &LiteralValue, namespace: Option<&str>) -> io::Result<()> {
    xml.start("wps:LiteralValue")?;
    xml.attribute_if("xmlns:wps", namespace)?;
    xml.attribute("dataType", &common::data_type_uri(value.data_type))?;
    xml.attribute_if("uom", value.uom.as_deref())?;
    xml.text(&value.text)?;
    xml.end()
}

/// The namespace is for those that are roots.
fn bounding_box(xml: &mut Writer<'_>, value: &BoundingBox, namespace: Option<&str>) -> io::Result<()> {
    xml.start("ows:BoundingBox")?;
    xml.attribute_if("xmlns:ows", namespace)?;
    common::corners(xml, value)?;
    xml.end()
}

/// The media type of a raw answer.
#[must_use]
pub fn raw_media_type(output: &Output<'_>) -> String {
    match output.value {
        OutputValue::Inline(Value::Literal(_)) if !is_text(output) => MEDIA_TYPE.into(),
        OutputValue::Inline(Value::BoundingBox(_)) => MEDIA_TYPE.into(),
        OutputValue::Inline(_) | OutputValue::Reference { .. } => output.media_type(),
    }
}

/// Writes one output as it is (`response="raw"`); literals and boxes in the XML form of WPS unless text was asked for.
///
/// # Errors
/// Where `out` can't be written, the value's file can't be read, or the value is a reference: raw outputs are data.
pub fn write_raw(output: &Output<'_>, out: &mut dyn Write) -> io::Result<()> {
    let value = match output.value {
        OutputValue::Reference { .. } => return Err(io::Error::other("a raw output can't be a reference")),
        OutputValue::Inline(value) => value,
    };
    match value {
        Value::Literal(literal) if is_text(output) => out.write_all(literal.text.as_bytes()),
        Value::Literal(literal) => {
            let mut xml = Writer::document(out)?;
            literal_value(&mut xml, literal, Some(NAMESPACE))?;
            xml.finish()
        }
        Value::BoundingBox(value) => {
            let mut xml = Writer::document(out)?;
            bounding_box(&mut xml, value, Some(NAMESPACE_2_0))?;
            xml.finish()
        }
        Value::Complex(complex) => payload::copy(&complex.data, out),
    }
}
