//! JSON documents: read, checked, changed at one place.

use super::unfit;
use crate::arguments::Values;
use crate::step::{JsonPath, JsonPathPart, JsonSchema, StepValue};
use crate::template::Template;
use anabranch_model::{DataDescription, Error, LiteralType};
use serde_json::Value;

/// Longest part of a file's name taken from a document, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// A document of a client.
pub(super) fn parse(template: &Template, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|error| unfit(template, format!("must be JSON: {error}"), shortened(text)))
}

/// A document of the service.
pub(super) fn parse_own(to: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::process_failed(format!("{to} is no JSON: {error}")))
}

/// Indented by four, as the original writes it.
pub(super) fn text(document: &Value) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(document, &mut serializer).map_err(Error::internal)?;
    String::from_utf8(bytes).map_err(Error::internal)
}

pub(super) fn fulfils(template: &Template, document: &Value, schema: &JsonSchema) -> Result<(), Error> {
    let validator = compile(&schema.document).map_err(Error::internal)?;
    validator.validate(document).map_err(|error| {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { String::new() } else { format!(" (at {place})") };
        unfit(
            template,
            format!("must fulfil the service's JSON Schema: {error}{place}"),
            shortened(&document.to_string()),
        )
    })
}

/// A schema ready for use. It can refer to nothing outside itself.
pub(crate) fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

/// The part of a file's name that stands in a document: nothing that could lead to another folder.
pub(super) fn name_at(template: &Template, document: &Value, path: &JsonPath) -> Result<String, Error> {
    let found = path.0.iter().try_fold(document, |value, part| match part {
        JsonPathPart::Key(key) => value.get(key),
        JsonPathPart::Index(index) => value.get(index),
    });
    let name = match found {
        Some(Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let is_word = |name: &String| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(good)
    };
    name.filter(is_word).ok_or_else(|| {
        let rule = format!("must have a whole number, or a word of letters, digits, - and _, at {path}");
        unfit(template, rule, shortened(&document.to_string()))
    })
}

/// What a step sets; `None` where its input has no value.
pub(super) fn value(values: &Values<'_>, value: &StepValue) -> Result<Option<Value>, Error> {
    let template = match value {
        StepValue::Number(number) => return Ok(Some(Value::Number(number.clone()))),
        StepValue::Template(template) => template,
    };
    let description = template.as_input().and_then(|id| values.service.description.input(id));
    let data_type = description.and_then(|input| match &input.data {
        DataDescription::Literal(domain) => Some(domain.data_type),
        DataDescription::BoundingBox(_) | DataDescription::Complex(_) => None,
    });
    let mut set: Vec<Value> =
        values.texts(template)?.into_iter().map(|text| typed(data_type, text)).collect();
    if description.is_some_and(|input| input.occurs.is_many()) && !set.is_empty() {
        return Ok(Some(Value::Array(set)));
    }
    Ok(set.pop())
}

fn typed(data_type: Option<LiteralType>, text: String) -> Value {
    let parsed = match data_type {
        Some(LiteralType::Integer) => text.trim().parse::<i64>().ok().map(Value::from),
        Some(LiteralType::Double) => {
            text.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
        }
        Some(LiteralType::Boolean) => Some(Value::Bool(matches!(text.trim(), "true" | "1"))),
        _ => None,
    };
    parsed.unwrap_or(Value::String(text))
}

/// Sets a value. What is around it must be there; the last key of an object may be new.
pub(super) fn set(to: &str, document: &mut Value, path: &JsonPath, value: Value) -> Result<(), Error> {
    let missing = || Error::process_failed(format!("{to} has no place {path}"));
    let (last, around) = path.0.split_last().ok_or_else(missing)?;
    let mut place = document;
    for part in around {
        place = match part {
            JsonPathPart::Key(key) => place.get_mut(key),
            JsonPathPart::Index(index) => place.get_mut(index),
        }
        .ok_or_else(missing)?;
    }
    match (place, last) {
        (Value::Object(object), JsonPathPart::Key(key)) => {
            object.insert(key.clone(), value);
        }
        (Value::Array(items), JsonPathPart::Index(index)) => {
            *items.get_mut(*index).ok_or_else(missing)? = value
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(200).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_at_their_place_only() {
        let mut document = serde_json::json!({"Config": {"n": 1, "items": [1, 2]}});
        let mut set =
            |path: &str, value: i32| set("f.json", &mut document, &path.parse().unwrap(), value.into());
        set("['Config']['n']", 8).unwrap();
        set("['Config']['new']", 9).unwrap();
        set("['Config']['items'][1]", 7).unwrap();
        let gone = set("['Other']['n']", 1).unwrap_err();
        assert_eq!(gone.to_string(), "f.json has no place Other.n");
        assert!(set("['Config']['items'][2]", 1).is_err());
        assert!(set("['Config']['n']['x']", 1).is_err());
        assert_eq!(document, serde_json::json!({"Config": {"n": 8, "items": [1, 7], "new": 9}}));
        assert!(text(&document).unwrap().starts_with("{\n    \"Config\": {\n        \"n\": 8,"));
    }

    #[test]
    fn names_lead_to_no_other_folder() {
        let template = Template::text("x");
        let name = |id: Value| name_at(&template, &serde_json::json!({"id": id}), &"['id']".parse().unwrap());
        assert_eq!(name(3.into()).unwrap(), "3");
        assert_eq!(name("a-1".into()).unwrap(), "a-1");
        for bad in
            [Value::from("../x"), 1.5.into(), "".into(), Value::Null, "a/b".into(), "x".repeat(101).into()]
        {
            assert!(name(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schema_says_what_is_wrong_and_where() {
        let document = serde_json::json!({"type": "object", "properties": {"id": {"type": "integer"}}});
        let schema = JsonSchema { path: "s.json".into(), document };
        let check = |document: Value| fulfils(&Template::text("x"), &document, &schema);
        assert!(check(serde_json::json!({"id": 1})).is_ok());
        let fault = check(serde_json::json!({"id": "a"})).unwrap_err().to_string();
        assert!(fault.contains("\"a\" is not of type \"integer\" (at /id)"), "{fault}");
        assert!(compile(&serde_json::json!({"$ref": "http://example.org/other.json"})).is_err());
    }
}
