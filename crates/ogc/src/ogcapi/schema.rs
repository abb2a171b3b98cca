//! What data may be, as an OpenAPI 3.0 schema (§8.2, `schema.yaml`).

use anabranch_model::{
    AllowedValue, BoundingBoxDomain, ComplexDomain, DataDescription, Format, LiteralDomain, LiteralType,
    RangeClosure,
};
use serde_json::{Map, Value, json};

/// The schema of one value.
pub(super) fn of(data: &DataDescription) -> Value {
    match data {
        DataDescription::Literal(domain) => literal(domain),
        DataDescription::BoundingBox(domain) => bounding_box(domain),
        DataDescription::Complex(domain) => complex(domain),
    }
}

/// A value of the right kind to begin with.
pub(super) fn example(data: &DataDescription) -> Value {
    match data {
        DataDescription::Literal(domain) => scalar(domain.data_type, &example_text(domain)),
        DataDescription::BoundingBox(domain) => json!({"bbox": [0, 0, 1, 1], "crs": domain.crs.first()}),
        DataDescription::Complex(domain) => match domain.formats.first() {
            Some(format) if format.is_binary() => json!({"value": "", "mediaType": format.media_type}),
            Some(format) if format.media_type == Format::GEOJSON => {
                json!({"value": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}})
            }
            Some(format) if format.is_json() => json!({"value": {}, "mediaType": format.media_type}),
            Some(format) if format.is_xml() => json!({"value": "<x/>", "mediaType": format.media_type}),
            Some(format) => json!({"value": "text", "mediaType": format.media_type}),
            None => json!({}),
        },
    }
}

fn example_text(domain: &LiteralDomain) -> String {
    let of_allowed = domain.allowed.first().and_then(|allowed| match allowed {
        AllowedValue::Value(value) => Some(value.clone()),
        AllowedValue::Range { minimum, maximum, closure: RangeClosure::Closed } => {
            minimum.clone().or_else(|| maximum.clone())
        }
        AllowedValue::Range { maximum, closure: RangeClosure::OpenClosed, .. } => maximum.clone(),
        AllowedValue::Range { minimum, closure: RangeClosure::ClosedOpen, .. } => minimum.clone(),
        AllowedValue::Range { .. } => None,
    });
    let of_type = || {
        let text = match domain.data_type {
            LiteralType::String => "text",
            LiteralType::Boolean => "true",
            LiteralType::Integer => "1",
            LiteralType::Double => "1.5",
            LiteralType::DateTime => "2000-01-01T00:00:00Z",
            LiteralType::Date => "2000-01-01",
            LiteralType::Time => "12:00:00",
            LiteralType::AnyUri => "https://example.org/",
        };
        text.to_owned()
    };
    domain.default.clone().or(of_allowed).unwrap_or_else(of_type)
}

fn literal(domain: &LiteralDomain) -> Value {
    let mut schema = match domain.allowed.as_slice() {
        [] => literal_type(domain.data_type),
        [AllowedValue::Range { minimum, maximum, closure }] => {
            range(domain.data_type, minimum.as_deref(), maximum.as_deref(), *closure)
        }
        allowed => alternatives(domain.data_type, allowed),
    };
    if let Some(default) = &domain.default {
        schema.insert("default".into(), scalar(domain.data_type, default));
    }
    Value::Object(schema)
}

fn literal_type(data_type: LiteralType) -> Map<String, Value> {
    let (name, format) = match data_type {
        LiteralType::String => ("string", None),
        LiteralType::Boolean => ("boolean", None),
        LiteralType::Integer => ("integer", None),
        LiteralType::Double => ("number", Some("double")),
        LiteralType::DateTime => ("string", Some("date-time")),
        LiteralType::Date => ("string", Some("date")),
        LiteralType::Time => ("string", Some("time")),
        LiteralType::AnyUri => ("string", Some("uri")),
    };
    let mut schema = Map::new();
    schema.insert("type".into(), name.into());
    if let Some(format) = format {
        schema.insert("format".into(), format.into());
    }
    schema
}

/// Several values, or values and ranges: `enum` holds values only, so ranges stand beside it in `anyOf`.
fn alternatives(data_type: LiteralType, allowed: &[AllowedValue]) -> Map<String, Value> {
    let mut values = Vec::new();
    let mut ranges = Vec::new();
    for allowed in allowed {
        match allowed {
            AllowedValue::Value(value) => values.push(scalar(data_type, value)),
            AllowedValue::Range { minimum, maximum, closure } => {
                ranges.push(Value::Object(range(
                    data_type,
                    minimum.as_deref(),
                    maximum.as_deref(),
                    *closure,
                )));
            }
        }
    }
    let mut schema = literal_type(data_type);
    if ranges.is_empty() {
        schema.insert("enum".into(), values.into());
        return schema;
    }
    if !values.is_empty() {
        ranges.push(json!({ "enum": values }));
    }
    schema.insert("anyOf".into(), ranges.into());
    schema
}

/// OpenAPI 3.0 knows bounds of numbers only; those of dates are said in words.
fn range(
    data_type: LiteralType,
    minimum: Option<&str>,
    maximum: Option<&str>,
    closure: RangeClosure,
) -> Map<String, Value> {
    let mut schema = literal_type(data_type);
    if !matches!(data_type, LiteralType::Integer | LiteralType::Double) {
        let text = format!("from {} to {}", minimum.unwrap_or("any"), maximum.unwrap_or("any"));
        schema.insert("description".into(), text.into());
        return schema;
    }
    let open_below = matches!(closure, RangeClosure::Open | RangeClosure::OpenClosed);
    let open_above = matches!(closure, RangeClosure::Open | RangeClosure::ClosedOpen);
    for (bound, name, exclusive, is_open) in [
        (minimum, "minimum", "exclusiveMinimum", open_below),
        (maximum, "maximum", "exclusiveMaximum", open_above),
    ] {
        let Some(bound) = bound.map(|text| scalar(data_type, text)).filter(Value::is_number) else {
            continue;
        };
        schema.insert(name.into(), bound);
        if is_open {
            schema.insert(exclusive.into(), true.into());
        }
    }
    schema
}

/// A literal with the type that it has in JSON.
fn scalar(data_type: LiteralType, text: &str) -> Value {
    let text = text.trim();
    let typed = match data_type {
        LiteralType::Integer => text.parse::<i64>().ok().map(Value::from),
        LiteralType::Double => text
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_fraction| text.parse::<f64>().map(Value::from))
            .ok(),
        LiteralType::Boolean => match text {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        LiteralType::String
        | LiteralType::DateTime
        | LiteralType::Date
        | LiteralType::Time
        | LiteralType::AnyUri => None,
    };
    typed.filter(|value| !value.is_null()).unwrap_or_else(|| text.into())
}

/// `bbox.yaml`, with the coordinate reference systems of the process.
fn bounding_box(domain: &BoundingBoxDomain) -> Value {
    let mut crs = json!({"type": "string", "format": "uri", "enum": domain.crs});
    if let (Some(first), Some(crs)) = (domain.crs.first(), crs.as_object_mut()) {
        crs.insert("default".into(), first.as_str().into());
    }
    json!({
        "type": "object",
        "format": "ogc-bbox",
        "required": ["bbox"],
        "properties": {
            "bbox": {
                "type": "array",
                "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
                "items": {"type": "number"}
            },
            "crs": crs
        }
    })
}

/// One format alone, several as `oneOf`, the default first (req/ogc-process-description/input-mixed-type).
fn complex(domain: &ComplexDomain) -> Value {
    match domain.formats.as_slice() {
        [format] => complex_format(format),
        formats => json!({ "oneOf": formats.iter().map(complex_format).collect::<Vec<_>>() }),
    }
}

fn complex_format(format: &Format) -> Value {
    let mut schema = Map::new();
    if format.is_binary() {
        schema.insert("type".into(), "string".into());
        schema.insert("format".into(), "byte".into());
        schema.insert("contentEncoding".into(), "base64".into());
    } else if format.is_json() {
        schema.insert("type".into(), "object".into());
    } else {
        schema.insert("type".into(), "string".into());
    }
    schema.insert("contentMediaType".into(), format.media_type.as_str().into());
    if let Some(url) = &format.schema {
        schema.insert("contentSchema".into(), url.as_str().into());
    }
    Value::Object(schema)
}
