//! Execute requests (WPS 2.0, wpsExecute.xsd).
//!
//! Ignored on purpose: `Extension` elements. Accepted on purpose: a literal with or without `wps:LiteralValue`. Literals may be
//! as long as the document; where a server limits documents, it limits them.

use super::NAMESPACE;
use super::describe::{TEXT_MEDIA_TYPE, XML_MEDIA_TYPE};
use crate::ows::{Exception, ExceptionCode as Code, ExceptionReport, NAMESPACE_2_0};
use crate::wps::input::{Place, bounding_box, format_hint, input_data, owned, payload, reference};
use crate::wps::unexpected;
use crate::xml::{Content, Element, Payload, Reader};
use anabranch_model::description::media_type_essence;
use anabranch_model::{
    DataDescription, ExecuteRequest, ExecutionMode, Fault, FaultKind, FormatHint, HttpMethod, InputData,
    InputItem, OutputRequest, ProcessDescription, ProcessId, Reference, ResponseForm, Subject, TextForm,
    Transmission,
};

/// Formats asked for that literals and boxes don't have; those of complex data are known to their domains, and binding checks them.
#[must_use]
pub fn unsupported_formats(process: &ProcessDescription, request: &ExecuteRequest) -> Vec<Fault> {
    let faults = request.outputs.iter().filter_map(|asked| {
        let media_type = asked.format.media_type.as_deref()?;
        let known: &[&str] = match &process.output(&asked.id)?.data {
            DataDescription::Literal(_) => &[XML_MEDIA_TYPE, TEXT_MEDIA_TYPE],
            DataDescription::BoundingBox(_) => &[XML_MEDIA_TYPE],
            DataDescription::Complex(_) => return None,
        };
        if known.contains(&media_type_essence(media_type).as_str()) {
            return None;
        }
        let rule = format!("has the format {}", known.join(" or "));
        let fault = Fault::new(Subject::Output(asked.id.clone()), FaultKind::Unsupported, rule);
        Some(fault.with_value(media_type))
    });
    faults.collect()
}

/// Reads the root's attributes and children.
pub(super) fn parse(root: &Element, reader: &mut Reader<'_>) -> Result<ExecuteRequest, ExceptionReport> {
    let (mut process, mut inputs, mut outputs, mut faults) = (None, Vec::new(), Vec::new(), Vec::new());
    let mode = one_of(
        "mode",
        root.attribute("mode"),
        &[("sync", ExecutionMode::Sync), ("async", ExecutionMode::Async), ("auto", ExecutionMode::Auto)],
        &mut faults,
    );
    let response = one_of(
        "response",
        root.attribute("response"),
        &[("document", ResponseForm::Document), ("raw", ResponseForm::Raw)],
        &mut faults,
    );
    let mut outputs_named = 0_usize;
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE_2_0, "Identifier") {
            process = owned(Some(reader.text()?.trim()));
        } else if child.is(NAMESPACE, "Input") {
            inputs.extend(input(process.as_deref(), &child, reader, &mut faults)?);
        } else if child.is(NAMESPACE, "Output") {
            outputs_named += 1;
            outputs.extend(output(&child, reader, &mut faults)?);
        } else if child.is(NAMESPACE, "Extension") {
            reader.skip()?;
        } else {
            return Err(unexpected(&child, "Execute"));
        }
    }
    if outputs_named == 0 {
        let text = "parameter 'Output' is required: at least one";
        faults.push(Exception::new(Code::MissingParameterValue, "Output", text));
    } else if outputs_named > 1 && response == Some(ResponseForm::Raw) {
        let text =
            format!("parameter 'response' can be raw for one output only, {outputs_named} are asked for");
        faults.push(Exception::new(Code::TooManyOutputs, "response", text));
    }
    let process = process_id(process, &mut faults);
    match (process, mode, response) {
        (Some(process), Some(mode), Some(response)) if faults.is_empty() => {
            Ok(ExecuteRequest { process, inputs, outputs, mode, response, lineage: false })
        }
        _ => {
            faults.truncate(anabranch_model::bind::FAULTS_MAX);
            Err(ExceptionReport::of(400, faults))
        }
    }
}

fn process_id(identifier: Option<String>, faults: &mut Vec<Exception>) -> Option<ProcessId> {
    match identifier.map(ProcessId::new) {
        None => {
            faults.push(Exception::missing("Identifier"));
            None
        }
        Some(Ok(id)) => Some(id),
        // What breaks the rules of identifiers identifies nothing.
        Some(Err(error)) => {
            let text = format!("no process {:?}", error.text);
            faults.push(Exception::new(Code::NoSuchProcess, error.text, text));
            None
        }
    }
}

/// The meaning of a word; `None` where it is a fault.
fn one_of<T: Copy>(
    name: &str,
    word: Option<&str>,
    words: &[(&str, T)],
    faults: &mut Vec<Exception>,
) -> Option<T> {
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        faults.push(Exception::missing(name));
        return None;
    };
    let known = words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
    if known.is_none() {
        let names: Vec<_> = words.iter().map(|(known, _)| *known).collect();
        let text = format!("parameter '{name}' must be {}, not {word:?}", names.join(" or "));
        faults.push(Exception::invalid(name, text));
    }
    known
}

/// Elements in `Data` that are no complex data.
const OF_PROTOCOL: [(&str, &str); 2] = [(NAMESPACE, "LiteralValue"), (NAMESPACE_2_0, "BoundingBox")];

/// What an input holds, or the rule it breaks.
struct Given {
    data: InputData,
    format: FormatHint,
    data_type: Option<String>,
    uom: Option<String>,
}

impl Given {
    fn new(data: InputData, format: FormatHint) -> Self {
        Self { data, format, data_type: None, uom: None }
    }
}

/// One `Input` (`DataInputType`); `None` where it has a fault.
fn input(
    process: Option<&str>,
    element: &Element,
    reader: &mut Reader<'_>,
    faults: &mut Vec<Exception>,
) -> Result<Option<InputItem>, ExceptionReport> {
    let place = Place { process, input: element.attribute("id").unwrap_or_default() };
    let mut found = Vec::new();
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE, "Data") {
            found.push(data(place, &child, reader)?);
        } else if child.is(NAMESPACE, "Reference") {
            let read = reference(&child, reader)?;
            found.push(read.map(|read| Given::new(InputData::Reference(posted(read)), format_hint(&child))));
        } else if child.is(NAMESPACE, "Input") {
            reader.skip()?;
            found.push(Err("holds other inputs, and the process has no nested inputs".into()));
        } else {
            return Err(unexpected(&child, "Input"));
        }
    }
    let Some(id) = owned(element.attribute("id")) else {
        faults.push(Exception::missing("id"));
        return Ok(None);
    };
    let given = match (found.pop(), found.is_empty()) {
        (None, _) => Err("has neither Data nor Reference".into()),
        (Some(given), true) => given,
        (Some(Err(rule)), false) => Err(rule),
        (Some(Ok(_)), false) => Err("has more than one value: give the Input again for each".into()),
    };
    match given {
        Ok(Given { data, format, data_type, uom }) => {
            Ok(Some(InputItem { id, data, format, data_type, uom }))
        }
        Err(rule) => {
            let text = format!("input '{id}' {rule}");
            faults.push(Exception::new(Code::WrongInputData, id, text));
            Ok(None)
        }
    }
}

/// There is no attribute for the method: what has a body is posted (`ReferenceType`).
fn posted(reference: Reference) -> Reference {
    let method = if reference.body.is_some() { HttpMethod::Post } else { reference.method };
    Reference { method, ..reference }
}

/// `Data` holds anything: what it is, its only element says.
fn data(
    place: Place<'_>,
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<Given, String>, ExceptionReport> {
    let format = format_hint(element);
    Ok(match payload(place, &format, &OF_PROTOCOL, reader)? {
        Payload::Held(Content::Xml(text)) => of_elements(text, format),
        payload => input_data(payload).map(|data| Given::new(data, format)),
    })
}

fn of_elements(text: String, format: FormatHint) -> Result<Given, String> {
    let mut reader = Reader::new(&text);
    let root = reader.root().map_err(|error| error.rule)?;
    let given = if root.is(NAMESPACE, "LiteralValue") {
        let Content::Text(text) = reader.content().map_err(|error| error.rule)? else {
            return Err("must be text where LiteralValue is given".into());
        };
        Given {
            data_type: owned(root.attribute("dataType")),
            uom: owned(root.attribute("uom")),
            ..Given::new(InputData::Text { text, form: TextForm::Untyped }, format)
        }
    } else if root.is(NAMESPACE_2_0, "BoundingBox") {
        let read = bounding_box(&root, &mut reader).map_err(|report| report.to_string())??;
        Given::new(InputData::BoundingBox(read), format)
    } else {
        drop(reader);
        return Ok(Given::new(InputData::Text { text, form: TextForm::Xml }, format));
    };
    reader.finish().map_err(|_more| format!("must have one {} only", root.name))?;
    Ok(given)
}

/// `OutputDefinitionType`; `None` where it has a fault.
fn output(
    element: &Element,
    reader: &mut Reader<'_>,
    faults: &mut Vec<Exception>,
) -> Result<Option<OutputRequest>, ExceptionReport> {
    let mut is_nested = false;
    while let Some(child) = reader.child()? {
        if !child.is(NAMESPACE, "Output") {
            return Err(unexpected(&child, "Output"));
        }
        is_nested = true;
        reader.skip()?;
    }
    let Some(id) = owned(element.attribute("id")) else {
        faults.push(Exception::missing("id"));
        return Ok(None);
    };
    if is_nested {
        let text = format!("output '{id}' holds another output, and the process has no nested outputs");
        faults.push(Exception::new(Code::NoSuchOutput, id, text));
        return Ok(None);
    }
    let transmission = match element.attribute("transmission") {
        None | Some("value") => Transmission::Value,
        Some("reference") => Transmission::Reference,
        Some(other) => {
            let text = format!("output '{id}' must have the transmission value or reference, not {other:?}");
            faults.push(Exception::invalid(id, text));
            return Ok(None);
        }
    };
    Ok(Some(OutputRequest { id, format: format_hint(element), transmission, uom: None }))
}
