//! `NAME=VALUE` and `NAME=@FILE` as execute inputs, by what the process description says of them.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// Builds the `inputs` of an execute body (OGC API - Processes §7.11.2.3) for a process description.
///
/// # Errors
/// Names the input and what is wrong with it; files are read here.
pub(crate) fn inputs(
    description: &Value,
    given: &[String],
    by_reference: &[String],
) -> anyhow::Result<Map<String, Value>> {
    let known = description
        .get("inputs")
        .and_then(Value::as_object)
        .context("the process description has no inputs")?;
    let mut inputs: Map<String, Value> = Map::new();
    for text in given {
        let (name, value) =
            text.split_once('=').with_context(|| format!("-i takes NAME=VALUE, not {text:?}"))?;
        let Some(input) = known.get(name) else {
            let names: Vec<_> = known.keys().map(String::as_str).collect();
            bail!("the process has no input '{name}'; it has {}", names.join(", "));
        };
        let value = if by_reference.iter().any(|n| n == name) {
            json!({ "href": value })
        } else {
            one(input, name, value)?
        };
        let many = input.get("maxOccurs").is_some_and(|max| max.as_u64() != Some(1));
        match inputs.get_mut(name) {
            Some(Value::Array(values)) if many => values.push(value),
            Some(_) => bail!("input '{name}' takes one value"),
            None => {
                inputs.insert(name.to_owned(), if many { json!([value]) } else { value });
            }
        }
    }
    for name in by_reference {
        ensure!(inputs.contains_key(name), "--by-reference {name}: no -i {name}=URL is given");
    }
    Ok(inputs)
}

fn one(input: &Value, name: &str, text: &str) -> anyhow::Result<Value> {
    let schemas = input.get("schema").map(alternatives).unwrap_or_default();
    let content = match text.strip_prefix('@') {
        Some(file) => std::fs::read(file).with_context(|| format!("input '{name}': can't read {file}"))?,
        None => text.as_bytes().to_vec(),
    };
    let kind =
        |kind: &str| schemas.iter().any(|schema| schema.get("type").and_then(Value::as_str) == Some(kind));
    let media_types: Vec<_> =
        schemas.iter().filter_map(|schema| schema.get("contentMediaType").and_then(Value::as_str)).collect();
    let travels_as_base64 = |schema: &Value| schema.get("contentEncoding").is_some();
    if media_types.len() > 1 {
        return Ok(of_any_format(content, schemas.first().is_some_and(|first| travels_as_base64(first))));
    }
    let media_type = media_types.first();
    let binary = schemas.iter().any(|schema| travels_as_base64(schema) || is(schema, "format", "byte"));
    if binary || std::str::from_utf8(&content).is_err() {
        let base64 = base64::engine::general_purpose::STANDARD.encode(&content);
        return Ok(match media_type {
            Some(media_type) => json!({ "value": base64, "mediaType": media_type, "encoding": "base64" }),
            None => Value::String(base64),
        });
    }
    let text = String::from_utf8(content)?;
    if kind("object") || media_type.is_some_and(|m| m.contains("json")) {
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("input '{name}' must be JSON"))?;
        return Ok(json!({ "value": value }));
    }
    if kind("number") || kind("integer") || kind("boolean") {
        return Ok(serde_json::from_str(text.trim()).unwrap_or(Value::String(text)));
    }
    Ok(Value::String(text))
}

/// Data for an input that takes several formats: which one it is in the server tells by the content. Where the first of them is binary,
/// it would take the characters of a large text without a format for base64.
fn of_any_format(content: Vec<u8>, first_is_binary: bool) -> Value {
    let content = match String::from_utf8(content) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(document @ (Value::Object(_) | Value::Array(_))) => return json!({ "value": document }),
            _ if !first_is_binary => return json!({ "value": text }),
            _ => text.into_bytes(),
        },
        Err(binary) => binary.into_bytes(),
    };
    json!({ "value": base64::engine::general_purpose::STANDARD.encode(content), "encoding": "base64" })
}

fn is(schema: &Value, member: &str, wanted: &str) -> bool {
    schema.get(member).and_then(Value::as_str) == Some(wanted)
}

fn alternatives(schema: &Value) -> Vec<&Value> {
    match schema.get("oneOf").and_then(Value::as_array) {
        Some(several) => several.iter().collect(),
        None => vec![schema],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Value {
        json!({ "inputs": {
            "interval": { "schema": { "type": "number" }, "maxOccurs": 1 },
            "name": { "schema": { "type": "string" } },
            "names": { "schema": { "type": "string" }, "maxOccurs": "unbounded" },
            "data": { "schema": { "type": "object", "contentMediaType": "application/geo+json" } },
            "features": { "schema": { "oneOf": [
                { "type": "object", "contentMediaType": "application/geo+json" },
                { "type": "string", "contentMediaType": "application/wkt" },
                { "type": "string", "contentEncoding": "base64", "contentMediaType": "application/flatgeobuf" },
            ] } },
            "grid": { "schema": { "oneOf": [
                { "type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff" },
                { "type": "string", "contentMediaType": "application/arcgrid" },
            ] } },
            "dem": { "schema": { "type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff" } },
        }})
    }

    fn built(given: &[&str]) -> anyhow::Result<Value> {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        inputs(&description(), &given, &[]).map(Value::Object)
    }

    #[test]
    fn values_take_the_type_of_their_input() {
        let built =
            built(&["interval=5.5", "name=007", "data={\"type\":\"Point\"}", "dem=ab", "names=a", "names=b"])
                .unwrap();
        assert_eq!(built["interval"], json!(5.5));
        assert_eq!(built["name"], json!("007"), "a string that looks like a number stays one");
        assert_eq!(built["data"], json!({ "value": { "type": "Point" } }));
        assert_eq!(built["dem"]["value"], json!("YWI="));
        assert_eq!(built["names"], json!(["a", "b"]));
    }

    #[test]
    fn of_several_formats_the_server_tells_which_it_is() {
        assert_eq!(built(&["features={\"a\":1}"]).unwrap()["features"], json!({ "value": { "a": 1 } }));
        let wkt = built(&["features=POINT (1 2)"]).unwrap();
        assert_eq!(wkt["features"], json!({ "value": "POINT (1 2)" }));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"fgb\x03\xff").unwrap();
        let binary = built(&[&format!("features=@{}", file.path().display())]).unwrap();
        assert_eq!(binary["features"], json!({ "value": "ZmdiA/8=", "encoding": "base64" }));
        assert_eq!(
            built(&["grid=ncols"]).unwrap()["grid"],
            json!({ "value": "bmNvbHM=", "encoding": "base64" })
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (given, text) in [
            ("intervall=1", "has no input 'intervall'"),
            ("interval", "NAME=VALUE"),
            ("data=x", "'data' must be JSON"),
            ("dem=@/no/such", "can't read /no/such"),
        ] {
            let error = format!("{:#}", built(&[given]).unwrap_err());
            assert!(error.contains(text), "{error}");
        }
        assert!(built(&["name=a", "name=b"]).unwrap_err().to_string().contains("takes one value"));
    }
}
