//! Outputs in a `completed`: a JSON object each, whose members begin with the output's name.

use anabranch_model::{LiteralType, OutputDescription};
use serde_json::{Value, json};

use super::grammar::{Fields, percent, unpercent};
use super::types::{self, TEXTUAL};
use crate::message::{CarriedValue, Output, Payload};

/// GeoServer reads only outputs whose names begin so, and leaves out all others without a word.
const PREFIX: &str = "result";

/// The name under which GeoServer reads an output.
#[must_use]
pub fn wire_name(id: &str) -> String {
    if id.starts_with(PREFIX) { id.to_owned() } else { format!("{PREFIX}_{id}") }
}

/// Fields that are no outputs.
const FIELDS: [&str; 4] = ["topic", "id", "baseURL", "message"];

/// Reads all outputs, in the order in which they stand.
pub(super) fn read(fields: &Fields<'_>) -> Result<Vec<Output>, String> {
    let outputs = fields.iter().filter(|(name, value)| !FIELDS.contains(name) && !value.is_empty());
    outputs.map(|(name, value)| read_one(&unpercent(name)?, &unpercent(value)?)).collect()
}

fn read_one(id: &str, text: &str) -> Result<Output, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("output '{id}': {error}"))?;
    let member = |name: &str| json.get(format!("{id}_{name}")).and_then(Value::as_str);
    let value = member("value").ok_or_else(|| format!("output '{id}' has no value"))?;
    let declared = member("type").unwrap_or(TEXTUAL);
    let value = match types::data(declared) {
        Some(anabranch_model::DataDescription::Complex(domain)) => CarriedValue::Complex {
            data: Payload::Shared(value.to_owned()),
            format: domain.formats.into_iter().next().unwrap_or_else(|| types::format(declared)),
        },
        _ => CarriedValue::Literal {
            text: Payload::Inline(value.to_owned().into()),
            data_type: LiteralType::String,
            uom: None,
        },
    };
    Ok(Output { id: id.to_owned(), n: 0, value })
}

/// Writes an output as a field; it is named by [`wire_name`].
pub(super) fn write(output: &Output, described: Option<&OutputDescription>) -> Result<String, String> {
    let name = wire_name(&output.id);
    let (declared, value) = match &output.value {
        CarriedValue::Literal { text: Payload::Inline(bytes), .. } => {
            (TEXTUAL, String::from_utf8_lossy(bytes).into_owned())
        }
        CarriedValue::Complex { data: Payload::Shared(path), format } => {
            (types::declared_format(format), path.clone())
        }
        CarriedValue::BoundingBox { lower, upper, .. } => {
            let numbers: Vec<String> = lower.iter().chain(upper).map(ToString::to_string).collect();
            (TEXTUAL, numbers.join(","))
        }
        CarriedValue::Literal { .. } | CarriedValue::Complex { .. } => {
            return Err(format!(
                "output '{}' is neither a short text nor a file in a shared folder",
                output.id
            ));
        }
    };
    let member = |suffix: &str| format!("{name}_{suffix}");
    let publication = described.and_then(|output| output.publication.clone()).unwrap_or_default();
    let json = json!({
        member("value"): value, member("type"): declared, member("pub"): publication.as_layer,
        member("description"): described.map(|output| &output.description),
        member("title"): described.map(|output| &output.title),
        member("layer_name"): publication.layer_name, member("style"): publication.default_style,
        member("workspace"): publication.workspace,
        // As the original's agents say that there is none.
        member("metadata"): " ",
    });
    Ok(format!("{name}={}", percent(&json.to_string())))
}
