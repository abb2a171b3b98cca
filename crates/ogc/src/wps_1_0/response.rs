//! Execute responses (WPS 1.0.0 §10.3).

use super::{NAMESPACE, VERSION, capabilities, exception_report};
use crate::output::{Output, OutputValue, dismissed_text};
use crate::ows::{Exception, ExceptionCode, ExceptionReport, NAMESPACE_1_1, common};
use crate::payload;
use crate::xml::{Writer, XLINK};
use anabranch_model::{
    ComplexValue, DataDescription, ExecuteRequest, Format, FormatHint, HttpMethod, InputData, InputItem, Job,
    JobState, Outcome, OutputRequest, ProcessDescription, Reference, ReferenceBody, TextForm, Transmission,
    Value,
};
use std::io::{self, Write};

/// What an ExecuteResponse is made of.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The job, at one moment.
    pub job: &'a Job,
    /// What it executes.
    pub process: &'a ProcessDescription,
    /// The GetCapabilities URL, unescaped: `serviceInstance`.
    pub service_instance: &'a str,
    /// Where this document is kept up to date, unescaped; `None` where it is not stored.
    pub status_location: Option<&'a str>,
    /// `xml:lang`.
    pub language: &'a str,
    /// The request; repeated in the answer where its `lineage` is set.
    pub request: &'a ExecuteRequest,
    /// The outputs; written only when the job has succeeded.
    pub outputs: &'a [Output<'a>],
}

/// Writes an ExecuteResponse; reads files in blocks.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write(response: &Response<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut xml = Writer::document(out)?;
    xml.start("wps:ExecuteResponse")?;
    xml.attribute("xmlns:wps", NAMESPACE)?;
    xml.attribute("xmlns:ows", NAMESPACE_1_1)?;
    xml.attribute("xmlns:xlink", XLINK)?;
    xml.attribute("service", "WPS")?;
    xml.attribute("version", VERSION)?;
    xml.attribute("xml:lang", response.language)?;
    xml.attribute("serviceInstance", response.service_instance)?;
    xml.attribute_if("statusLocation", response.status_location)?;
    xml.start("wps:Process")?;
    capabilities::brief(&mut xml, response.process)?;
    xml.end()?;
    status(&mut xml, response.job)?;
    if response.request.lineage {
        lineage(&mut xml, response)?;
    }
    let succeeded = matches!(response.job.state, JobState::Finished(Outcome::Succeeded));
    if succeeded && !response.outputs.is_empty() {
        xml.start("wps:ProcessOutputs")?;
        response.outputs.iter().try_for_each(|one| output(&mut xml, one))?;
        xml.end()?;
    }
    xml.finish()
}

/// §10.3.1, table 57. Only a started process has a percentage, and it ends at 99.
fn status(xml: &mut Writer<'_>, job: &Job) -> io::Result<()> {
    xml.start("wps:Status")?;
    xml.attribute("creationTime", &job.updated.to_string())?;
    match &job.state {
        JobState::Accepted => {
            let message = job.waiting.as_deref().unwrap_or("the job has been accepted");
            xml.leaf("wps:ProcessAccepted", message)?;
        }
        JobState::Running { progress, message, dismissing } => {
            xml.start("wps:ProcessStarted")?;
            xml.attribute("percentCompleted", &format!("{:.0}", progress.floor().clamp(0.0, 99.0)))?;
            let message = match dismissing {
                Some(_) => "the job is being dismissed",
                None => message.as_deref().unwrap_or("the job is running"),
            };
            xml.text(message)?;
            xml.end()?;
        }
        JobState::Finished(Outcome::Succeeded) => {
            xml.leaf("wps:ProcessSucceeded", "the job has succeeded")?;
        }
        JobState::Finished(Outcome::Failed(error)) => failed(xml, &exception_report(error))?,
        // WPS 1.0.0 has no word for it.
        JobState::Finished(Outcome::Dismissed(by)) => {
            let text = dismissed_text(*by).to_owned();
            failed(xml, &Exception { code: ExceptionCode::NoApplicableCode, locator: None, text }.into())?;
        }
    }
    xml.end()
}

fn failed(xml: &mut Writer<'_>, report: &ExceptionReport) -> io::Result<()> {
    xml.start("wps:ProcessFailed")?;
    report.write(xml, None)?;
    xml.end()
}

/// Inputs and output definitions as they were given (§10.3.1, table 54).
fn lineage(xml: &mut Writer<'_>, response: &Response<'_>) -> io::Result<()> {
    let request = response.request;
    if !request.inputs.is_empty() {
        xml.start("wps:DataInputs")?;
        request.inputs.iter().try_for_each(|item| lineage_input(xml, item, response.process))?;
        xml.end()?;
    }
    xml.start("wps:OutputDefinitions")?;
    if request.outputs.is_empty() {
        for described in &response.process.outputs {
            xml.start("wps:Output")?;
            xml.leaf("ows:Identifier", &described.id)?;
            xml.end()?;
        }
    }
    request.outputs.iter().try_for_each(|asked| lineage_output(xml, asked))?;
    xml.end()
}

fn lineage_output(xml: &mut Writer<'_>, asked: &OutputRequest) -> io::Result<()> {
    xml.start("wps:Output")?;
    if asked.transmission == Transmission::Reference {
        xml.attribute("asReference", "true")?;
    }
    xml.attribute_if("uom", asked.uom.as_deref())?;
    format_attributes(xml, &asked.format)?;
    xml.leaf("ows:Identifier", &asked.id)?;
    xml.end()
}

fn lineage_input(xml: &mut Writer<'_>, item: &InputItem, process: &ProcessDescription) -> io::Result<()> {
    xml.start("wps:Input")?;
    xml.leaf("ows:Identifier", &item.id)?;
    if let InputData::Reference(reference) = &item.data {
        lineage_reference(xml, reference, &item.format)?;
        return xml.end();
    }
    let is_complex =
        process.input(&item.id).is_some_and(|input| matches!(input.data, DataDescription::Complex(_)));
    xml.start("wps:Data")?;
    match &item.data {
        InputData::BoundingBox(value) => {
            xml.start("wps:BoundingBoxData")?;
            common::corners(xml, value)?;
        }
        InputData::Text { text, form } if is_complex => {
            xml.start("wps:ComplexData")?;
            format_attributes(xml, &item.format)?;
            match form {
                TextForm::Xml => xml.content()?.write_all(text.as_bytes())?,
                _ => xml.text(text)?,
            }
        }
        InputData::Text { text, .. } => {
            xml.start("wps:LiteralData")?;
            xml.attribute_if("dataType", item.data_type.as_deref())?;
            xml.attribute_if("uom", item.uom.as_deref())?;
            xml.text(text)?;
        }
        InputData::Bytes(data) => {
            xml.start("wps:ComplexData")?;
            let format = FormatHint { encoding: Some("base64".into()), ..item.format.clone() };
            format_attributes(xml, &format)?;
            payload::copy_base64(data, xml.content()?)?;
        }
        InputData::Reference(_) => {}
    }
    xml.end()?;
    xml.end()?;
    xml.end()
}

/// Without headers and body: they may hold credentials.
fn lineage_reference(xml: &mut Writer<'_>, reference: &Reference, format: &FormatHint) -> io::Result<()> {
    xml.start("wps:Reference")?;
    xml.attribute("xlink:href", &reference.href)?;
    if reference.method == HttpMethod::Post {
        xml.attribute("method", "POST")?;
    }
    format_attributes(xml, format)?;
    if let Some(ReferenceBody::Href(href)) = &reference.body {
        xml.start("wps:BodyReference")?;
        xml.attribute("xlink:href", href)?;
        xml.end()?;
    }
    xml.end()
}

fn format_attributes(xml: &mut Writer<'_>, format: &FormatHint) -> io::Result<()> {
    xml.attribute_if("mimeType", format.media_type.as_deref())?;
    xml.attribute_if("encoding", format.encoding.as_deref())?;
    xml.attribute_if("schema", format.schema.as_deref())
}

/// §10.3.1, table 59.
fn output(xml: &mut Writer<'_>, output: &Output<'_>) -> io::Result<()> {
    xml.start("wps:Output")?;
    let described = output.description;
    common::description(xml, &described.id, &described.title, &described.description)?;
    let value = match output.value {
        OutputValue::Reference { href, format } => {
            xml.start("wps:Reference")?;
            xml.attribute("href", href)?;
            if let Some(format) = format {
                xml.attribute("mimeType", &format.media_type)?;
                xml.attribute_if("encoding", of_chunks(format))?;
                xml.attribute_if("schema", format.schema.as_deref())?;
            }
            xml.end()?;
            return xml.end();
        }
        OutputValue::Inline(value) => value,
    };
    xml.start("wps:Data")?;
    match value {
        Value::Literal(literal) => {
            xml.start("wps:LiteralData")?;
            xml.attribute("dataType", &common::data_type_uri(literal.data_type))?;
            xml.attribute_if("uom", literal.uom.as_deref())?;
            xml.text(&literal.text)?;
        }
        Value::BoundingBox(bounding_box) => {
            xml.start("wps:BoundingBoxData")?;
            common::corners(xml, bounding_box)?;
        }
        Value::Complex(complex) => complex_data(xml, output.request, complex)?,
    }
    xml.end()?;
    xml.end()?;
    xml.end()
}

/// Begins the element and leaves it open.
fn complex_data(xml: &mut Writer<'_>, request: &OutputRequest, value: &ComplexValue) -> io::Result<()> {
    let binary = payload::is_base64(request, value);
    xml.start("wps:ComplexData")?;
    xml.attribute("mimeType", &value.format.media_type)?;
    let encoding = if binary { Some("base64") } else { of_chunks(&value.format) };
    xml.attribute_if("encoding", encoding)?;
    xml.attribute_if("schema", value.format.schema.as_deref())?;
    payload::embed(value, binary, xml.content()?)
}

/// Clients of playlists read here how the chunks are encoded; the playlist itself never is.
fn of_chunks(format: &Format) -> Option<&str> {
    format.encoding.as_deref().filter(|_| format.is_playlist())
}

/// The media type of a raw answer.
#[must_use]
pub fn raw_media_type(output: &Output<'_>) -> String {
    match output.value {
        OutputValue::Inline(Value::BoundingBox(_)) => super::MEDIA_TYPE.into(),
        OutputValue::Inline(_) | OutputValue::Reference { .. } => output.media_type(),
    }
}

/// Writes one output as it is: `RawDataOutput` (§10.3.2).
///
/// # Errors
/// Where `out` can't be written, the value's file can't be read, or the value is a reference: raw outputs are data.
pub fn write_raw(output: &Output<'_>, out: &mut dyn Write) -> io::Result<()> {
    match output.value {
        OutputValue::Reference { .. } => Err(io::Error::other("a raw output can't be a reference")),
        OutputValue::Inline(Value::Literal(literal)) => out.write_all(literal.text.as_bytes()),
        OutputValue::Inline(Value::Complex(complex)) => payload::copy(&complex.data, out),
        OutputValue::Inline(Value::BoundingBox(bounding_box)) => {
            let mut xml = Writer::document(out)?;
            xml.start("ows:BoundingBox")?;
            xml.attribute("xmlns:ows", NAMESPACE_1_1)?;
            common::corners(&mut xml, bounding_box)?;
            xml.finish()
        }
    }
}
