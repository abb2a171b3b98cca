//! Key-value pairs (WPS 1.0.0 §8.2, §9.2, §10.2.2), and those of GeoServer's `GetExecutionStatus` and `Dismiss`, which name a job
//! in `executionId`.
//!
//! Lists of inputs and outputs follow the grammar
//!
//! ```text
//! list  = ["["] entry *(";" entry) ["]"]
//! entry = id ["=" value] *("@" attribute "=" value)
//! ```
//!
//! and are split before their pieces are percent-decoded, so that a value may hold any character. Accepted on purpose: square
//! brackets around a list, as the examples of the standard have them; a list that was percent-encoded as a whole, as HTTP libraries
//! do; an `@` in a value, as long as no `=` follows; media types that were percent-encoded twice.

use super::execute::{self, Execute, Form};
use super::{DescribeProcess, ExecutionId, Request, operation_not_supported};
use crate::ows::kvp::{Parameters, decode};
use crate::ows::{Exception, ExceptionReport};
use crate::service::ServiceInfo;
use crate::wps::{Processes, input as parts, language};
use anabranch_model::{
    FormatHint, HttpMethod, InputData, InputItem, OutputRequest, Reference, TextForm, Transmission,
};
use percent_encoding::percent_decode_str;

/// Parses the parameters of a request whose service and version have been checked; GetCapabilities has been read before.
pub(crate) fn parse(
    operation: &str,
    parameters: &Parameters<'_>,
    service: &ServiceInfo,
) -> Result<Request, ExceptionReport> {
    let language = language("language", parameters.value("language").as_deref(), service)?;
    let execution = |language| match parameters.value("executionid") {
        Some(job) => Ok(ExecutionId { job, language }),
        None => Err(Exception::missing("executionId")),
    };
    Ok(match operation.to_ascii_lowercase().as_str() {
        "describeprocess" => Request::DescribeProcess(DescribeProcess {
            processes: Processes::new(parameters.list("identifier"))?,
            language,
        }),
        "execute" => Request::Execute(Box::new(parse_execute(parameters, language)?)),
        "getexecutionstatus" => Request::GetExecutionStatus(execution(language)?),
        "dismiss" => Request::Dismiss(execution(language)?),
        _ => return Err(operation_not_supported(operation).into()),
    })
}

fn parse_execute(parameters: &Parameters<'_>, language: Option<String>) -> Result<Execute, ExceptionReport> {
    let mut faults = Vec::new();
    let inputs = entries(parameters.raw("datainputs"))
        .iter()
        .filter_map(|entry| fault_or(input(entry), &mut faults))
        .collect();
    let mut outputs = |name| -> Option<Vec<OutputRequest>> {
        let raw = parameters.raw(name)?;
        Some(entries(Some(raw)).iter().filter_map(|entry| fault_or(output(entry), &mut faults)).collect())
    };
    let document = outputs("responsedocument");
    let raw = outputs("rawdataoutput").filter(|outputs| !outputs.is_empty());
    let mut flag = |name: &str| {
        let value = parameters.value(&name.to_ascii_lowercase());
        execute::boolean(name, value.as_deref(), &mut faults)
    };
    let form = Form {
        store: flag("storeExecuteResponse"),
        status: flag("status"),
        lineage: flag("lineage"),
        document,
        raw,
    };
    execute::finish(parameters.value("identifier"), inputs, form, language, faults)
}

fn fault_or<T>(result: Result<T, Exception>, faults: &mut Vec<Exception>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

/// An entry of a list, decoded.
struct Entry {
    id: String,
    value: Option<String>,
    attributes: Vec<(String, String)>,
}

fn entries(raw: Option<&str>) -> Vec<Entry> {
    let raw = raw.unwrap_or_default();
    // Encoded as a whole, the list has not one character of its grammar left.
    let whole = if raw.contains(['=', ';', '@']) { raw.replace('+', " ") } else { decode(raw) };
    let whole = unbracket(&whole);
    whole.split(';').filter(|entry| !entry.trim().is_empty()).map(entry).collect()
}

/// Brackets may be encoded where the rest is not.
fn unbracket(text: &str) -> &str {
    let text = text.trim();
    for (open, close) in [("[", "]"), ("%5B", "%5D"), ("%5b", "%5d")] {
        if let Some(inside) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            return inside;
        }
    }
    text
}

fn entry(text: &str) -> Entry {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut pieces = text.split('@');
    let head = pieces.next().unwrap_or_default();
    let (id, value) = match head.split_once('=') {
        Some((id, value)) => (id, Some(decode(value))),
        None => (head, None),
    };
    let mut entry = Entry { id: decode(id.trim()), value, attributes: Vec::new() };
    for piece in pieces {
        match piece.split_once('=') {
            Some((name, value)) => entry.attributes.push((decode(name.trim()), decode(value))),
            None => {
                let last = entry.attributes.last_mut().map(|(_, value)| value);
                if let Some(value) = last.or(entry.value.as_mut()) {
                    value.push('@');
                    value.push_str(&decode(piece));
                }
            }
        }
    }
    entry
}

/// Decoded once more where it still is encoded: servers of 2012 decoded twice, and their clients encoded the `+` of playlists so.
fn media_type(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn unknown_attribute(id: &str, name: &str) -> Exception {
    Exception::invalid(id, format!("'{id}' has the attribute '{name}', which is unknown"))
}

fn input(entry: &Entry) -> Result<InputItem, Exception> {
    let id = &entry.id;
    let mut item = InputItem {
        id: id.clone(),
        data: InputData::Text { text: entry.value.clone().unwrap_or_default(), form: TextForm::Untyped },
        format: FormatHint::default(),
        data_type: None,
        uom: None,
    };
    let (mut href, mut method) = (None, HttpMethod::Get);
    for (name, value) in &entry.attributes {
        let value = value.clone();
        match name.to_ascii_lowercase().as_str() {
            "mimetype" | "format" => item.format.media_type = Some(media_type(&value)),
            "encoding" => item.format.encoding = Some(value),
            "schema" => item.format.schema = Some(value),
            "datatype" => item.data_type = Some(value),
            "uom" => item.uom = Some(value),
            "href" | "xlink:href" => href = Some(value),
            "method" => {
                method = parts::method(Some(&value))
                    .map_err(|rule| Exception::invalid(id.as_str(), format!("input '{id}' {rule}")))?;
            }
            // Defined for outputs, and harmless here: clients use one function to write both.
            "asreference" => {}
            _ => return Err(unknown_attribute(id, name)),
        }
    }
    if let Some(href) = href {
        item.data = InputData::Reference(Reference { method, ..Reference::get(href) });
    }
    Ok(item)
}

fn output(entry: &Entry) -> Result<OutputRequest, Exception> {
    let id = &entry.id;
    let mut request = OutputRequest {
        id: id.clone(),
        format: FormatHint::default(),
        transmission: Transmission::Value,
        uom: None,
    };
    for (name, value) in &entry.attributes {
        let value = value.clone();
        match name.to_ascii_lowercase().as_str() {
            "mimetype" | "format" => request.format.media_type = Some(media_type(&value)),
            "encoding" => request.format.encoding = Some(value),
            "schema" => request.format.schema = Some(value),
            "uom" => request.uom = Some(value),
            "asreference" => request.transmission = execute::transmission(id, Some(&value))?,
            _ => return Err(unknown_attribute(id, name)),
        }
    }
    Ok(request)
}
