//! Execute requests (WPS 2.0, wpsExecute.xsd).
//!
//! Nested inputs and outputs are read as what they hold, named by their whole identifiers (`outer.inner`); whether there is such a
//! group, binding finds out. Ignored on purpose: `Extension` elements. Accepted on purpose: a literal with or without
//! `wps:LiteralValue`; several outputs in one. Literals may be as long as the document; where a server limits documents, it limits
//! them.

use super::NAMESPACE;
use super::describe::{TEXT_MEDIA_TYPE, XML_MEDIA_TYPE};
use crate::ows::{Exception, ExceptionCode as Code, ExceptionReport, NAMESPACE_2_0};
use crate::wps::input::{Place, bounding_box, format_hint, input_data, owned, payload, reference};
use crate::wps::unexpected;
use crate::xml::{Content, Element, Payload, Reader};
use anabranch_model::description::media_type_essence;
use anabranch_model::group::{GROUP_DEPTH_MAX, GROUP_SEPARATOR};
use anabranch_model::{
    DataDescription, ExecuteRequest, ExecutionMode, Fault, FaultKind, FormatHint, HttpMethod, InputData,
    InputItem, OutputRequest, ProcessDescription, ProcessId, Reference, ResponseForm, Subject, TextForm,
    Transmission,
};

/// What this version can't answer: a group as raw data, and formats that literals and boxes don't have; those of complex data are
/// known to their domains, and binding checks them.
#[must_use]
pub fn unanswerable(process: &ProcessDescription, request: &ExecuteRequest) -> Vec<Fault> {
    let faults = request.outputs.iter().filter_map(|asked| {
        if request.response == ResponseForm::Raw && process.group(&asked.id).is_some() {
            let subject = Subject::Output(asked.id.clone());
            return Some(Fault::new(subject, FaultKind::TooMany, "is a group: raw data is one output"));
        }
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
            let around = Around::of(process.as_deref());
            input(&child, reader, &around, &mut inputs, &mut faults)?;
        } else if child.is(NAMESPACE, "Output") {
            outputs_named += 1;
            let around = Around::of(process.as_deref());
            output(&child, reader, &around, &mut outputs, &mut faults)?;
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
            Ok(ExecuteRequest { process, inputs, outputs, mode, response, lineage: false, subscriber: None })
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

/// The process and the groups around an element.
struct Around<'p> {
    process: Option<&'p str>,
    /// What they add to identifiers: `outer.inner.`.
    prefix: String,
    depth: usize,
}

impl<'p> Around<'p> {
    fn of(process: Option<&'p str>) -> Self {
        Self { process, prefix: String::new(), depth: 0 }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Those around what the element of that whole identifier holds; or the rule that is broken.
    fn inside(&self, id: &str) -> Result<Self, String> {
        if self.depth == GROUP_DEPTH_MAX {
            return Err(format!("must not lie in more than {GROUP_DEPTH_MAX} groups"));
        }
        Ok(Self { prefix: format!("{id}{GROUP_SEPARATOR}"), depth: self.depth + 1, ..*self })
    }
}

/// One `Input` (`DataInputType`), or those that it holds.
fn input(
    element: &Element,
    reader: &mut Reader<'_>,
    around: &Around<'_>,
    inputs: &mut Vec<InputItem>,
    faults: &mut Vec<Exception>,
) -> Result<(), ExceptionReport> {
    let id = owned(element.attribute("id")).map(|name| around.full(&name));
    let place = Place { process: around.process, input: id.as_deref().unwrap_or_default() };
    let (mut found, mut is_group) = (Vec::new(), false);
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE, "Data") {
            found.push(data(place, &child, reader)?);
        } else if child.is(NAMESPACE, "Reference") {
            let read = reference(&child, reader)?;
            found.push(read.map(|read| Given::new(InputData::Reference(posted(read)), format_hint(&child))));
        } else if child.is(NAMESPACE, "Input") {
            is_group = true;
            match around.inside(id.as_deref().unwrap_or_default()) {
                Ok(inside) => input(&child, reader, &inside, inputs, faults)?,
                Err(rule) => {
                    reader.skip()?;
                    found.push(Err(rule));
                }
            }
        } else {
            return Err(unexpected(&child, "Input"));
        }
    }
    let Some(id) = id else {
        faults.push(Exception::missing("id"));
        return Ok(());
    };
    let given = match (found.pop(), is_group) {
        (None, true) => return Ok(()),
        (None, false) => Err("has neither Data nor Reference".into()),
        (Some(Err(rule)), _) => Err(rule),
        (Some(Ok(_)), true) => Err("has a value beside the inputs that it holds".into()),
        (Some(Ok(given)), false) if found.is_empty() => Ok(given),
        (Some(Ok(_)), false) => Err("has more than one value: give the Input again for each".into()),
    };
    match given {
        Ok(Given { data, format, data_type, uom }) => {
            inputs.push(InputItem { id, data, format, data_type, uom });
        }
        Err(rule) => {
            let text = format!("input '{id}' {rule}");
            faults.push(Exception::new(Code::WrongInputData, id, text));
        }
    }
    Ok(())
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

/// `OutputDefinitionType`, or the output that it holds.
fn output(
    element: &Element,
    reader: &mut Reader<'_>,
    around: &Around<'_>,
    outputs: &mut Vec<OutputRequest>,
    faults: &mut Vec<Exception>,
) -> Result<(), ExceptionReport> {
    let id = owned(element.attribute("id")).map(|name| around.full(&name));
    let mut is_group = false;
    while let Some(child) = reader.child()? {
        if !child.is(NAMESPACE, "Output") {
            return Err(unexpected(&child, "Output"));
        }
        is_group = true;
        match around.inside(id.as_deref().unwrap_or_default()) {
            Ok(inside) => output(&child, reader, &inside, outputs, faults)?,
            Err(rule) => {
                reader.skip()?;
                let id = id.as_deref().unwrap_or_default();
                faults.push(Exception::new(Code::NoSuchOutput, id, format!("output '{id}' {rule}")));
            }
        }
    }
    let Some(id) = id else {
        faults.push(Exception::missing("id"));
        return Ok(());
    };
    if is_group {
        return Ok(());
    }
    match element.attribute("transmission") {
        None | Some("value") => outputs.push(output_request(id, element, Transmission::Value)),
        Some("reference") => outputs.push(output_request(id, element, Transmission::Reference)),
        Some(other) => {
            let text = format!("output '{id}' must have the transmission value or reference, not {other:?}");
            faults.push(Exception::invalid(id, text));
        }
    }
    Ok(())
}

fn output_request(id: String, element: &Element, transmission: Transmission) -> OutputRequest {
    OutputRequest { id, format: format_hint(element), transmission, uom: None }
}
