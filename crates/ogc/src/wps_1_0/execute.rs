//! Execute requests (WPS 1.0.0 §10.1, §10.2).
//!
//! Ignored on purpose: titles and abstracts of inputs and outputs. Literals may be as long as the document; where a server limits
//! documents, it limits them.

use super::NAMESPACE;
use crate::ows::{Exception, ExceptionReport, NAMESPACE_1_1};
use crate::wps::input::{Place, bounding_box, format_hint, input_data, owned, payload, reference};
use crate::wps::unexpected;
use crate::xml::{Content, Element, Reader};
use anabranch_model::{
    ExecuteRequest, ExecutionMode, FormatHint, InputData, InputItem, OutputRequest, ProcessId, ResponseForm,
    TextForm, Transmission,
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
        return Err(ExceptionReport::of(400, faults));
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
        subscriber: None,
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
                inputs.extend(input(identifier.as_deref(), reader, &mut faults)?);
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
fn input(
    process: Option<&str>,
    reader: &mut Reader<'_>,
    faults: &mut Vec<Exception>,
) -> Result<Option<InputItem>, ExceptionReport> {
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
                found.push(data(Place { process, input: &id }, &element, reader)?);
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

fn data(
    place: Place<'_>,
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<Given, String>, ExceptionReport> {
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
            let format = format_hint(element);
            let payload = payload(place, &format, &[], reader)?;
            input_data(payload).map(|data| Given { format, ..given(data) })
        }
        "BoundingBoxData" => bounding_box(element, reader)?.map(|data| given(InputData::BoundingBox(data))),
        _ => return Err(unexpected(element, "Data")),
    })
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
