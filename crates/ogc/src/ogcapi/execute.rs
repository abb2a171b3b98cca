//! Execute requests (§7.11, `execute.yaml`).
//!
//! Accepted on purpose: unknown members; one value without an array where several are allowed; an object for complex JSON
//! data that is not wrapped in `{"value": …}`, as long as it has no member `href` or `value`.
//! Refused on purpose: a member that comes twice; a body with no member that execute requests have.

use super::json::{self, DEPTH_MAX, Kind, Members};
use super::large::{self, Smaller};
use super::prefer::{Prefer, Return};
use crate::spool::Spooling;
use anabranch_model::bind::FAULTS_MAX;
use anabranch_model::{
    BoundingBox, DataDescription, Error, ExecuteRequest, ExecutionMode, Fault, FaultKind, FormatHint,
    InputData, InputDescription, InputItem, OutputRequest, ProcessDescription, Reference, ResponseForm,
    Subject, Subscriber, TextForm, Transmission,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::BufRead;

/// A request and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// What is to be executed; its mode fits the process.
    pub request: ExecuteRequest,
    /// How long the client waits before it takes a job for an answer, in seconds (`Prefer: respond-async, wait=N`).
    pub wait_s: Option<u32>,
    /// The value of the `Preference-Applied` header, where a preference was followed.
    pub preference_applied: Option<String>,
}

/// The members that an execute request may have; every one may be absent.
const MEMBERS: [&str; 4] = ["inputs", "outputs", "response", "subscriber"];

/// Parses the body of an execute request. The description tells values that are arrays from arrays of values
/// (req/core/process-execute-input-array).
///
/// # Errors
/// [`Error::Invalid`] with every fault found, each with the input, output or member it is about.
pub fn parse(body: &[u8], process: &ProcessDescription, prefer: &Prefer) -> Result<Execute, Error> {
    let members = read(body).map_err(Error::invalid)?;
    let mut faults = Vec::new();
    check_members(&members, "the request", Subject::Parameter, &mut faults);
    if !members.is_empty() && !MEMBERS.iter().any(|name| members.get(name).is_some()) {
        let rule = "is required: the body has no member that execute requests have";
        faults.push(Fault::new(Subject::Parameter("inputs".into()), FaultKind::Missing, rule));
    }
    let inputs = members.get("inputs").map(|raw| inputs(raw, process, &mut faults)).unwrap_or_default();
    let response = response(members.get("response"), &mut faults);
    let by_default = |id: &str| default_transmission(process, id, prefer, response);
    let outputs = members.get("outputs").map(|raw| outputs(raw, by_default, &mut faults)).unwrap_or_default();
    let subscriber = members.get("subscriber").and_then(|raw| subscriber(raw, &mut faults));
    if !faults.is_empty() {
        faults.truncate(FAULTS_MAX);
        return Err(Error::Invalid(faults));
    }
    Ok(whole(process, prefer, Parts { inputs, outputs, response, subscriber }))
}

/// What a request says, in a body or in a query.
pub(super) struct Parts {
    pub(super) inputs: Vec<InputItem>,
    pub(super) outputs: Vec<OutputRequest>,
    pub(super) response: Option<ResponseForm>,
    pub(super) subscriber: Option<Subscriber>,
}

/// The request that its parts and the client's preferences make.
pub(super) fn whole(process: &ProcessDescription, prefer: &Prefer, parts: Parts) -> Execute {
    let Parts { inputs, outputs, response, subscriber } = parts;
    let (mode, mode_applied) = mode(process, prefer);
    let outputs_asked = if outputs.is_empty() { process.outputs.len() } else { outputs.len() };
    let (response, form_applied) = form(response, prefer, outputs_asked);
    let strict_applied = prefer.handling_strict.then(|| "handling=strict".to_owned());
    let applied: Vec<_> = [mode_applied, form_applied, strict_applied].into_iter().flatten().collect();
    let process = process.id.clone();
    Execute {
        request: ExecuteRequest { process, inputs, outputs, mode, response, lineage: false, subscriber },
        wait_s: if mode == ExecutionMode::Async { prefer.wait_s } else { None },
        preference_applied: (!applied.is_empty()).then(|| applied.join(", ")),
    }
}

/// The member `response` of 1.0 decides where it is given. Else `Prefer: return=…` of edition 2.0 does: `minimal` is a document
/// with links to complex data, `representation` one output as it is and several as a document of values. Else it is `raw`.
fn form(response: Option<ResponseForm>, prefer: &Prefer, outputs: usize) -> (ResponseForm, Option<String>) {
    match (response, prefer.returns) {
        (Some(response), _) => (response, None),
        (None, None) => (ResponseForm::Raw, None),
        (None, Some(Return::Minimal)) => (ResponseForm::Document, Some("return=minimal".into())),
        (None, Some(Return::Representation)) => {
            let response = if outputs == 1 { ResponseForm::Raw } else { ResponseForm::Document };
            (response, Some("return=representation".into()))
        }
    }
}

/// How a named output is handed over where the request does not say: by value, or as a link if it is complex and as little as
/// possible is preferred.
pub(super) fn default_transmission(
    process: &ProcessDescription,
    output: &str,
    prefer: &Prefer,
    response: Option<ResponseForm>,
) -> Transmission {
    let is_complex =
        process.output(output).is_some_and(|output| matches!(output.data, DataDescription::Complex(_)));
    if is_complex && response.is_none() && prefer.returns == Some(Return::Minimal) {
        Transmission::Reference
    } else {
        Transmission::Value
    }
}

/// Parses such a body while it arrives: large values of complex inputs are spooled, and become files of the request. Objects and arrays are
/// where they stand in a member `value`.
///
/// # Errors
/// As [`parse`]; [`Error::TooLarge`] where more would have to be held than allowed; what an [`std::io::Error`] of the input holds; and
/// those of the spool. Lines and columns are counted without what has been spooled.
pub fn stream(
    input: &mut dyn BufRead,
    process: &ProcessDescription,
    prefer: &Prefer,
    mut spooling: Spooling<'_>,
) -> Result<Execute, Error> {
    let Smaller { document, values } = large::take_out(input, process, &mut spooling)?;
    let mut execute = parse(&document, process, prefer)?;
    let mut faults = Vec::new();
    for item in &mut execute.request.inputs {
        let InputData::Text { text, form: TextForm::JsonString } = &item.data else { continue };
        let Some(value) = values.find(text) else { continue };
        let characters = spooling.to.characters(process.id.as_str(), &item.id, &item.format);
        match value.data(&item.id, &item.format, characters, spooling.to) {
            Ok(data) => item.data = InputData::Bytes(data),
            Err(Error::Invalid(more)) => faults.extend(more),
            Err(error) => return Err(error),
        }
    }
    if faults.is_empty() { Ok(execute) } else { Err(Error::Invalid(faults)) }
}

/// The body as an object.
fn read(body: &[u8]) -> Result<Members<'_>, Fault> {
    let malformed = |rule: String| Fault::new(Subject::Parameter("body".into()), FaultKind::Malformed, rule);
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_not_text| malformed("must be UTF-8".into()))?;
    if !json::depth_is_allowed(text) {
        return Err(malformed(format!("must not be nested deeper than {DEPTH_MAX}")));
    }
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            return malformed("must be a JSON object".into());
        }
        malformed(format!("must be JSON: line {}, column {}", error.line(), error.column()))
    })
}

fn check_members(
    members: &Members<'_>,
    of: &str,
    subject: impl Fn(String) -> Subject,
    faults: &mut Vec<Fault>,
) {
    if let Some(name) = members.duplicate() {
        let rule = format!("is given twice in {of}: a member may come once");
        faults.push(Fault::new(subject(name.to_owned()), FaultKind::TooMany, rule));
    }
}

/// Without `Prefer: respond-async`: synchronously where the process can be executed so, else asynchronously; with it: the other way
/// round (req/core/process-execute-default-execution-mode, …-auto-execution-mode).
fn mode(process: &ProcessDescription, prefer: &Prefer) -> (ExecutionMode, Option<String>) {
    if process.async_execute && (prefer.respond_async || !process.sync_execute) {
        let applied = prefer.respond_async.then(|| match prefer.wait_s {
            Some(wait_s) => format!("respond-async, wait={wait_s}"),
            None => "respond-async".to_owned(),
        });
        return (ExecutionMode::Async, applied);
    }
    (ExecutionMode::Sync, None)
}

fn inputs(raw: &RawValue, process: &ProcessDescription, faults: &mut Vec<Fault>) -> Vec<InputItem> {
    let Some(members) = Members::of(raw) else {
        faults.push(not_an_object("inputs"));
        return Vec::new();
    };
    check_members(&members, "inputs", Subject::Input, faults);
    let mut items = Vec::with_capacity(members.iter().count());
    for (id, raw) in members.iter() {
        let description = process.input(id);
        let many = description.is_some_and(|input| input.occurs.is_many());
        let values = if many { json::array(raw) } else { None };
        for raw in values.unwrap_or_else(|| vec![raw]) {
            match item(id, raw, description) {
                Ok(item) => items.push(item),
                Err(fault) => faults.push(fault),
            }
        }
    }
    items
}

fn not_an_object(member: &str) -> Fault {
    Fault::new(Subject::Parameter(member.into()), FaultKind::Malformed, "must be an object")
}

/// One value of an input (`inlineOrRefData.yaml`).
pub(super) fn item(
    id: &str,
    raw: &RawValue,
    description: Option<&InputDescription>,
) -> Result<InputItem, Fault> {
    let is_box = description.is_some_and(|input| matches!(input.data, DataDescription::BoundingBox(_)));
    let bare = |data| InputItem {
        id: id.to_owned(),
        data,
        format: FormatHint::default(),
        data_type: None,
        uom: None,
    };
    let Some(members) = Members::of(raw) else {
        return Ok(bare(value(id, raw, is_box)?));
    };
    if is_box && members.get("bbox").is_some() {
        return Ok(bare(bounding_box(id, raw)?));
    }
    if let Some(href) = members.get("href") {
        only_once(id, &members)?;
        texts_only(Subject::Input(id.into()), &members, &["href", "type"])?;
        let href = json::string(href).unwrap_or_default();
        let media_type = members.string("type");
        let format = FormatHint { media_type, ..format_hint(&members) };
        return Ok(InputItem { format, ..bare(InputData::Reference(Reference::get(href))) });
    }
    // `measurement` is the word of the standard's own examples for a number with a unit.
    if let Some(inner) = members.get("value").or_else(|| members.get("measurement")) {
        only_once(id, &members)?;
        format_is_text(Subject::Input(id.into()), &members)?;
        let data = value(id, inner, is_box)?;
        return Ok(InputItem { format: format_hint(&members), uom: members.string("uom"), ..bare(data) });
    }
    Ok(bare(value(id, raw, is_box)?))
}

/// What [`format_hint`] reads is made of strings.
fn format_is_text(subject: Subject, members: &Members<'_>) -> Result<(), Fault> {
    const TEXTS: [&str; 3] = ["mediaType", "encoding", "uom"];
    if let Some(raw) = members.get("format") {
        let Some(format) = Members::of(raw) else {
            let fault = Fault::new(subject, FaultKind::Malformed, "must have an object in 'format'");
            return Err(fault.with_value(raw.get()));
        };
        texts_only(subject.clone(), &format, &TEXTS)?;
    }
    texts_only(subject, members, &TEXTS)
}

/// Members that are there are strings.
fn texts_only(subject: Subject, members: &Members<'_>, names: &[&str]) -> Result<(), Fault> {
    let of = |name: &&str| members.get(name).filter(|raw| json::string(raw).is_none());
    match names.iter().find_map(|name| Some((name, of(name)?))) {
        None => Ok(()),
        Some((name, raw)) => {
            let rule = format!("must have a string in '{name}'");
            Err(Fault::new(subject, FaultKind::Malformed, rule).with_value(raw.get()))
        }
    }
}

fn only_once(id: &str, members: &Members<'_>) -> Result<(), Fault> {
    match members.duplicate() {
        None => Ok(()),
        Some(name) => {
            let rule = format!("has the member '{name}' twice");
            Err(Fault::new(Subject::Input(id.into()), FaultKind::TooMany, rule))
        }
    }
}

/// A value without its format (`inputValue.yaml`).
fn value(id: &str, raw: &RawValue, is_box: bool) -> Result<InputData, Fault> {
    let as_written = |form| InputData::Text { text: raw.get().to_owned(), form };
    Ok(match json::kind(raw) {
        Kind::Null => {
            let fault = Fault::new(Subject::Input(id.into()), FaultKind::Malformed, "must have a value");
            return Err(fault.with_value("null"));
        }
        Kind::String => match json::string(raw) {
            Some(text) => InputData::Text { text, form: TextForm::JsonString },
            // Half of a surrogate pair is JSON by grammar and no text.
            None => {
                let rule = "must be a string of Unicode characters";
                return Err(
                    Fault::new(Subject::Input(id.into()), FaultKind::Malformed, rule).with_value(raw.get())
                );
            }
        },
        Kind::Number => as_written(TextForm::JsonNumber),
        Kind::Boolean => as_written(TextForm::JsonBoolean),
        Kind::Object if is_box => bounding_box(id, raw)?,
        Kind::Object | Kind::Array => as_written(TextForm::Json),
    })
}

/// `bbox.yaml`: the lower corner, then the upper one.
fn bounding_box(id: &str, raw: &RawValue) -> Result<InputData, Fault> {
    #[derive(Deserialize)]
    struct Document {
        bbox: Vec<f64>,
        crs: Option<String>,
    }
    let parsed = serde_json::from_str::<Document>(raw.get()).ok();
    let crs = Members::of(raw).and_then(|members| members.get("crs"));
    let parsed = parsed.filter(|_| crs.is_none_or(|crs| json::kind(crs) != Kind::Null));
    match parsed.filter(|document| matches!(document.bbox.len(), 4 | 6)) {
        Some(Document { bbox, crs }) => {
            let (lower, upper) = bbox.split_at(bbox.len() / 2);
            let (lower, upper) = (lower.to_vec(), upper.to_vec());
            Ok(InputData::BoundingBox(BoundingBox { crs, lower, upper }))
        }
        None => {
            let rule =
                "must be a bounding box: an object with 4 or 6 numbers in 'bbox' and a string in 'crs'";
            Err(Fault::new(Subject::Input(id.into()), FaultKind::Malformed, rule).with_value(raw.get()))
        }
    }
}

/// `format.yaml`: beside the value, or in a member `format`. A schema that is an object has no URL to compare and is left out.
fn format_hint(members: &Members<'_>) -> FormatHint {
    let nested = members.get("format").and_then(Members::of).unwrap_or_default();
    let find = |name| members.string(name).or_else(|| nested.string(name));
    FormatHint { media_type: find("mediaType"), encoding: find("encoding"), schema: find("schema") }
}

fn outputs(
    raw: &RawValue,
    by_default: impl Fn(&str) -> Transmission,
    faults: &mut Vec<Fault>,
) -> Vec<OutputRequest> {
    let Some(members) = Members::of(raw) else {
        faults.push(not_an_object("outputs"));
        return Vec::new();
    };
    check_members(&members, "outputs", Subject::Output, faults);
    let mut requests = Vec::with_capacity(members.iter().count());
    for (id, raw) in members.iter() {
        match output(id, raw, &by_default) {
            Ok(request) => requests.push(request),
            Err(fault) => faults.push(fault),
        }
    }
    requests
}

/// `output.yaml`.
fn output(
    id: &str,
    raw: &RawValue,
    by_default: impl Fn(&str) -> Transmission,
) -> Result<OutputRequest, Fault> {
    let fault = |kind, rule| Fault::new(Subject::Output(id.into()), kind, rule);
    let Some(members) = Members::of(raw) else {
        return Err(fault(FaultKind::Malformed, "must be an object").with_value(raw.get()));
    };
    format_is_text(Subject::Output(id.into()), &members)?;
    let transmission = match members.get("transmissionMode") {
        None => by_default(id),
        Some(raw) => match json::string(raw).as_deref() {
            Some("value") => Transmission::Value,
            Some("reference") => Transmission::Reference,
            _ => {
                let rule = "must have the transmissionMode value or reference";
                return Err(fault(FaultKind::NotAllowed, rule).with_value(raw.get()));
            }
        },
    };
    Ok(OutputRequest {
        id: id.to_owned(),
        format: format_hint(&members),
        transmission,
        uom: members.string("uom"),
    })
}

/// `execute.yaml`; what the client does not name, [`form`] decides.
fn response(raw: Option<&RawValue>, faults: &mut Vec<Fault>) -> Option<ResponseForm> {
    let raw = raw?;
    match json::string(raw).as_deref() {
        Some("raw") => Some(ResponseForm::Raw),
        Some("document") => Some(ResponseForm::Document),
        _ => {
            let subject = Subject::Parameter("response".into());
            let fault = Fault::new(subject, FaultKind::NotAllowed, "must be raw or document");
            faults.push(fault.with_value(raw.get()));
            None
        }
    }
}

/// `subscriber.yaml` defines `successUri` and requires `successUrl`: either is taken, none is required.
fn subscriber(raw: &RawValue, faults: &mut Vec<Fault>) -> Option<Subscriber> {
    let Some(members) = Members::of(raw) else {
        faults.push(not_an_object("subscriber"));
        return None;
    };
    check_members(&members, "subscriber", |name| Subject::Parameter(format!("subscriber.{name}")), faults);
    let mut address = |name: &str| {
        let raw = members.get(name)?;
        let address = json::string(raw);
        if address.is_none() {
            let subject = Subject::Parameter(format!("subscriber.{name}"));
            faults.push(
                Fault::new(subject, FaultKind::Malformed, "must be a string: an absolute URL")
                    .with_value(raw.get()),
            );
        }
        address
    };
    let (succeeded, misspelt) = (address("successUri"), address("successUrl"));
    Some(Subscriber {
        succeeded: succeeded.or(misspelt),
        in_progress: address("inProgressUri"),
        failed: address("failedUri"),
    })
}

#[doc(hidden)]
pub use fuzz::fuzz_execute;

mod fuzz;
#[cfg(test)]
mod tests;
