//! Execute requests (WPS 1.0.0 §10.1, §10.2).
//!
//! Ignored on purpose: titles and abstracts of inputs and outputs. Literals and payloads may be as long as the document; where a
//! server limits documents, it limits them.

use super::{NAMESPACE, unexpected};
use crate::ows::{Exception, ExceptionReport, NAMESPACE_1_1};
use crate::xml::{Content, Element, Reader, XLINK};
use anabranch_model::{
    BoundingBox, ExecuteRequest, ExecutionMode, FormatHint, HttpMethod, InputData, InputItem, OutputRequest,
    ProcessId, Reference, ReferenceBody, ResponseForm, TextForm, Transmission,
};

/// A request and how its answer is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// What is to be executed.
    pub request: ExecuteRequest,
    /// How the answer is wanted.
    pub response: ResponseOptions,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
}

/// The attributes of `ResponseDocument`, or `RawDataOutput` (§10.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseOptions {
    /// The one output itself is the answer.
    pub raw: bool,
    /// The answer is kept under `statusLocation`.
    pub store: bool,
    /// The client does not wait: the answer tells where the status can be followed.
    pub status: bool,
    /// Inputs and output definitions are repeated in the answer.
    pub lineage: bool,
}

/// How the answer is wanted, before it is checked.
#[derive(Default)]
pub(super) struct Form {
    pub(super) document: Option<Vec<OutputRequest>>,
    pub(super) raw: Option<Vec<OutputRequest>>,
    pub(super) store: bool,
    pub(super) status: bool,
    pub(super) lineage: bool,
}

/// Puts a request together, if there are no faults and its form is allowed.
pub(super) fn finish(
    identifier: Option<String>,
    inputs: Vec<InputItem>,
    form: Form,
    language: Option<String>,
    mut faults: Vec<Exception>,
) -> Result<Execute, ExceptionReport> {
    check_form(&form, &mut faults);
    let process = match identifier.map(ProcessId::new) {
        None => {
            faults.push(Exception::missing("Identifier"));
            None
        }
        Some(Ok(id)) => Some(id),
        // What breaks the rules of identifiers identifies nothing.
        Some(Err(error)) => {
            faults.push(Exception::invalid("Identifier", format!("no process {:?}", error.text)));
            None
        }
    };
    let Some(process) = process.filter(|_| faults.is_empty()) else {
        faults.truncate(anabranch_model::bind::FAULTS_MAX);
        return Err(ExceptionReport { status: 400, retry_after_s: None, exceptions: faults });
    };
    let response = ResponseOptions {
        raw: form.raw.is_some(),
        store: form.store,
        status: form.status,
        lineage: form.lineage,
    };
    let request = ExecuteRequest {
        process,
        inputs,
        outputs: form.raw.or(form.document).unwrap_or_default(),
        mode: if form.store && form.status { ExecutionMode::Async } else { ExecutionMode::Sync },
        response: if response.raw { ResponseForm::Raw } else { ResponseForm::Document },
        lineage: form.lineage,
    };
    Ok(Execute { request, response, language })
}

fn check_form(form: &Form, faults: &mut Vec<Exception>) {
    if let Some(raw) = &form.raw {
        if form.document.is_some() {
            let text = "parameter 'RawDataOutput' can't go with 'ResponseDocument'";
            faults.push(Exception::invalid("RawDataOutput", text));
        }
        if raw.len() != 1 {
            let text = format!("parameter 'RawDataOutput' takes one output, {} given", raw.len());
            faults.push(Exception::invalid("RawDataOutput", text));
        }
        for (is_set, name) in
            [(form.store, "storeExecuteResponse"), (form.status, "status"), (form.lineage, "lineage")]
        {
            if is_set {
                faults.push(Exception::invalid(
                    name,
                    format!("parameter '{name}' can't go with 'RawDataOutput'"),
                ));
            }
        }
    } else if form.status && !form.store {
        let text = "parameter 'status' can be true only where 'storeExecuteResponse' is true";
        faults.push(Exception::invalid("status", text));
    }
}

/// Reads the children of the root.
pub(super) fn parse(reader: &mut Reader<'_>, language: Option<String>) -> Result<Execute, ExceptionReport> {
    let (mut identifier, mut inputs, mut form, mut faults) = (None, Vec::new(), Form::default(), Vec::new());
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE_1_1, "Identifier") {
            identifier = Some(reader.text()?.trim().to_owned()).filter(|text| !text.is_empty());
        } else if child.is(NAMESPACE, "DataInputs") {
            while let Some(element) = reader.child()? {
                if !element.is(NAMESPACE, "Input") {
                    return Err(unexpected(&element, "DataInputs"));
                }
                inputs.extend(input(reader, &mut faults)?);
            }
        } else if child.is(NAMESPACE, "ResponseForm") {
            form = response_form(reader, &mut faults)?;
        } else {
            return Err(unexpected(&child, "Execute"));
        }
    }
    finish(identifier, inputs, form, language, faults)
}

/// One `Input`; `None` where it has a fault.
fn input(reader: &mut Reader<'_>, faults: &mut Vec<Exception>) -> Result<Option<InputItem>, ExceptionReport> {
    let (mut id, mut found) = (String::new(), Vec::new());
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE_1_1, "Identifier") {
            id = reader.text()?.trim().to_owned();
        } else if child.is(NAMESPACE, "Reference") {
            let format = format_hint(&child);
            let data = reference(&child, reader)?.map(InputData::Reference);
            found.push(data.map(|data| Given { data, format, data_type: None, uom: None }));
        } else if child.is(NAMESPACE, "Data") {
            while let Some(element) = reader.child()? {
                found.push(data(&element, reader)?);
            }
        } else if is_text_for_people(&child) {
            reader.skip()?;
        } else {
            return Err(unexpected(&child, "Input"));
        }
    }
    if id.is_empty() {
        faults.push(Exception::missing("Identifier"));
        return Ok(None);
    }
    let given = match (found.pop(), found.is_empty()) {
        (Some(given), true) => given,
        (None, _) => Err("has neither Data nor Reference".into()),
        (Some(_), false) => Err("has more than one value: give the Input again for each".into()),
    };
    match given {
        Ok(Given { data, format, data_type, uom }) => {
            Ok(Some(InputItem { id, data, format, data_type, uom }))
        }
        Err(rule) => {
            let text = format!("input '{id}' {rule}");
            faults.push(Exception::invalid(id, text));
            Ok(None)
        }
    }
}

/// What an input holds, or the rule it breaks.
struct Given {
    data: InputData,
    format: FormatHint,
    data_type: Option<String>,
    uom: Option<String>,
}

fn is_text_for_people(element: &Element) -> bool {
    element.namespace == NAMESPACE_1_1 && matches!(element.name.as_str(), "Title" | "Abstract" | "Metadata")
}

fn data(element: &Element, reader: &mut Reader<'_>) -> Result<Result<Given, String>, ExceptionReport> {
    let given = |data| Given { data, format: FormatHint::default(), data_type: None, uom: None };
    Ok(match element.name.as_str() {
        "LiteralData" => match reader.content()? {
            Content::Text(text) => Ok(Given {
                data_type: owned(element.attribute("dataType")),
                uom: owned(element.attribute("uom")),
                ..given(InputData::Text { text, form: TextForm::Untyped })
            }),
            Content::Xml(_) => Err("must be text where LiteralData is given".into()),
        },
        "ComplexData" => {
            let data = match reader.content()? {
                Content::Text(text) => InputData::Text { text, form: TextForm::Untyped },
                Content::Xml(text) => InputData::Text { text, form: TextForm::Xml },
            };
            Ok(Given { format: format_hint(element), ..given(data) })
        }
        "BoundingBoxData" => bounding_box(element, reader)?.map(|data| given(InputData::BoundingBox(data))),
        _ => return Err(unexpected(element, "Data")),
    })
}

fn owned(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn format_hint(element: &Element) -> FormatHint {
    FormatHint {
        media_type: owned(element.attribute("mimeType")),
        encoding: owned(element.attribute("encoding")),
        schema: owned(element.attribute("schema")),
    }
}

/// OWS Common 1.1 §10.2; how many numbers are allowed is checked by binding.
fn bounding_box(
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<BoundingBox, String>, ExceptionReport> {
    let (mut lower, mut upper, mut broken) = (None, None, None);
    while let Some(child) = reader.child()? {
        let text = reader.text()?;
        let corner = match child.name.as_str() {
            "LowerCorner" => &mut lower,
            "UpperCorner" => &mut upper,
            _ => return Err(unexpected(&child, "BoundingBoxData")),
        };
        match text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() {
            Ok(numbers) => *corner = Some(numbers),
            Err(_no_number) => broken = Some(format!("must have numbers in {}, not {text:?}", child.name)),
        }
    }
    Ok(match (lower, upper, broken) {
        (_, _, Some(rule)) => Err(rule),
        (Some(lower), Some(upper), None) => {
            Ok(BoundingBox { crs: owned(element.attribute("crs")), lower, upper })
        }
        _ => Err("must have a LowerCorner and an UpperCorner".into()),
    })
}

/// `InputReferenceType` (§10.1, table 52).
fn reference(
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<Reference, String>, ExceptionReport> {
    let (mut headers, mut body) = (Vec::new(), None);
    while let Some(child) = reader.child()? {
        match child.name.as_str() {
            "Header" => {
                let attribute = |name| child.attribute(name).unwrap_or_default().to_owned();
                headers.push((attribute("key"), attribute("value")));
                reader.skip()?;
            }
            "Body" => match reader.content()? {
                Content::Text(text) | Content::Xml(text) => body = Some(ReferenceBody::Inline(text)),
            },
            "BodyReference" => {
                body = child.attribute_of(XLINK, "href").map(|href| ReferenceBody::Href(href.to_owned()));
                reader.skip()?;
            }
            _ => return Err(unexpected(&child, "Reference")),
        }
    }
    // The schema of 1.0.0 qualifies the attribute; clients are known to leave the prefix out.
    let href = element.attribute_of(XLINK, "href").or_else(|| element.attribute("href"));
    let Some(href) = href.filter(|href| !href.is_empty()) else {
        return Ok(Err("must have xlink:href in its Reference".into()));
    };
    if headers.iter().any(|(key, _)| key.is_empty()) {
        return Ok(Err("must have a key in every Header of its Reference".into()));
    }
    Ok(method(element.attribute("method")).map(|method| Reference {
        href: href.to_owned(),
        method,
        headers,
        body,
    }))
}

/// GET where none is named; or the rule that is broken.
pub(super) fn method(text: Option<&str>) -> Result<HttpMethod, String> {
    match text.map(str::to_ascii_uppercase).as_deref() {
        None | Some("GET") => Ok(HttpMethod::Get),
        Some("POST") => Ok(HttpMethod::Post),
        Some(other) => Err(format!("must have the method GET or POST, not {other:?}")),
    }
}

fn response_form(reader: &mut Reader<'_>, faults: &mut Vec<Exception>) -> Result<Form, ExceptionReport> {
    let mut form = Form::default();
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE, "RawDataOutput") {
            form.raw.get_or_insert_default().extend(output(&child, reader, faults)?);
        } else if child.is(NAMESPACE, "ResponseDocument") {
            for (name, flag) in [
                ("storeExecuteResponse", &mut form.store),
                ("status", &mut form.status),
                ("lineage", &mut form.lineage),
            ] {
                *flag = boolean(name, child.attribute(name), faults);
            }
            let outputs = form.document.get_or_insert_default();
            while let Some(element) = reader.child()? {
                if !element.is(NAMESPACE, "Output") {
                    return Err(unexpected(&element, "ResponseDocument"));
                }
                outputs.extend(output(&element, reader, faults)?);
            }
        } else {
            return Err(unexpected(&child, "ResponseForm"));
        }
    }
    Ok(form)
}

/// `DocumentOutputDefinitionType` (§10.1, tables 47 and 48); `None` where it has a fault.
fn output(
    element: &Element,
    reader: &mut Reader<'_>,
    faults: &mut Vec<Exception>,
) -> Result<Option<OutputRequest>, ExceptionReport> {
    let mut id = String::new();
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE_1_1, "Identifier") {
            id = reader.text()?.trim().to_owned();
        } else if is_text_for_people(&child) {
            reader.skip()?;
        } else {
            return Err(unexpected(&child, "Output"));
        }
    }
    if id.is_empty() {
        faults.push(Exception::missing("Identifier"));
        return Ok(None);
    }
    match transmission(&id, element.attribute("asReference")) {
        Ok(transmission) => Ok(Some(OutputRequest {
            id,
            format: format_hint(element),
            transmission,
            uom: owned(element.attribute("uom")),
        })),
        Err(fault) => {
            faults.push(fault);
            Ok(None)
        }
    }
}

/// `asReference`.
pub(super) fn transmission(output: &str, text: Option<&str>) -> Result<Transmission, Exception> {
    match parse_boolean(text) {
        Some(true) => Ok(Transmission::Reference),
        Some(false) => Ok(Transmission::Value),
        None => Err(Exception::invalid(
            output,
            format!("output '{output}' must have true or false in asReference"),
        )),
    }
}

/// A boolean parameter; false where it is absent, and where it is a fault.
pub(super) fn boolean(name: &str, text: Option<&str>, faults: &mut Vec<Exception>) -> bool {
    parse_boolean(text).unwrap_or_else(|| {
        let text = format!("parameter '{name}' must be true or false, not {:?}", text.unwrap_or_default());
        faults.push(Exception::invalid(name, text));
        false
    })
}

fn parse_boolean(text: Option<&str>) -> Option<bool> {
    match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "false" | "0") => Some(false),
        Some("true" | "1") => Some(true),
        Some(_) => None,
    }
}
