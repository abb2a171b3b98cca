//! The execution of one process: its inputs in a body, and in a query.

use super::{content, failed, parameter, results};
use crate::ogcapi::{kvp, schema};
use anabranch_model::{DataDescription, InputDescription, Occurs, OutputDescription, ProcessDescription};
use serde_json::{Map, Value, json};

/// Its path.
pub(super) fn path(process: &ProcessDescription) -> Value {
    json!({ "get": by_query(process), "post": by_body(process) })
}

fn by_body(process: &ProcessDescription) -> Value {
    let mut responses = responses();
    responses["415"] = failed("UnsupportedMediaType");
    json!({
        "operationId": format!("execute {}", process.id),
        "tags": ["Execution"],
        "summary": process.title,
        "description": process.description,
        "parameters": [validate(), parameter("prefer")],
        "requestBody": {"required": true, "content": {"application/json": {
            "schema": request(process), "example": example(process)
        }}},
        "responses": responses,
        "callbacks": callbacks()
    })
}

/// What a subscriber is told (req/callback/job-callback), with the headers that all callbacks have.
fn callbacks() -> Value {
    let header = |name: &str, required: bool, text: &str| json!({"name": name, "in": "header", "required": required, "description": text, "schema": {"type": "string"}});
    let delivery = "The same for every attempt to deliver this state of this job, and for no other";
    let signature = "Where the server has a secret: `t=SECONDS,v1=HEX` with the time of the attempt (seconds since 1970) and the \
                     HMAC-SHA256 of `SECONDS.BODY` in hexadecimal. Without a secret callbacks are not signed.";
    let callback = |member: &str, summary: &str, schema: &str| {
        json!({(format!("{{$request.body#/subscriber/{member}}}")): {"post": {
            "summary": summary,
            "parameters": [
                header("Anabranch-Delivery", true, delivery), header("Anabranch-Signature", false, signature)
            ],
            "requestBody": {"required": true, "content": content(schema)},
            "responses": {
                "2XX": {"description": "Taken: it is not sent again"},
                "4XX": {"description": "Refused: it is not sent again, except after 408 and 429"},
                "5XX": {"description": "It is sent again later, not before the time in Retry-After"}
            }
        }}})
    };
    json!({
        "jobSucceeded": callback("successUri", "The results; large ones are links", "results"),
        "jobInProgress": callback("inProgressUri", "The job runs", "statusInfo"),
        "jobFailed": callback("failedUri", "The job has failed, or was dismissed", "statusInfo")
    })
}

/// An input has its name as in a body; what is none of `kvp`'s parameters then.
fn by_query(process: &ProcessDescription) -> Value {
    let mut parameters: Vec<Value> = process.inputs.iter().map(query_input).collect();
    let outputs: Vec<&str> = process.outputs.iter().map(|output| output.id.as_str()).collect();
    let own = [
        json!({
            "name": "outputs", "in": "query", "style": "form", "explode": false,
            "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": outputs}}
        }),
        json!({"name": "response", "in": "query", "schema": {"type": "string", "enum": ["raw", "document"]}}),
        json!({
            "name": "prefer", "in": "query", "schema": {"type": "string"},
            "description": "As the header `Prefer`, which browsers can't set"
        }),
        validate(),
        parameter("f"),
    ];
    let is_free = |parameter: &Value| {
        process.inputs.iter().all(|input| parameter["name"].as_str() != Some(input.id.as_str()))
    };
    parameters.extend(own.into_iter().filter(is_free));
    parameters.push(parameter("prefer"));
    let mut responses = responses();
    responses["303"] = json!({"description": "To the form, for browsers that name no input"});
    responses["403"] = failed("NotMeant");
    responses["414"] = failed("TooLong");
    json!({
        "operationId": format!("executeByGet {}", process.id),
        "tags": ["Execution"],
        "summary": format!("{} (by a query)", process.title),
        "description": format!(
            "At least one input or parameter has to be given. Several values have commas between them, or the name is repeated; \
             a comma within a value is `%2C`. Objects are JSON text. Beside `input=value` there are `input[href]`, `[type]`, \
             `[mediaType]`, `[encoding]`, `[schema]`, `[uom]` and `[crs]`; and for outputs `output[include]=true`, `[mediaType]`, \
             `[encoding]`, `[schema]` and `[transmissionMode]`. Each request is a job of its own. At most {} bytes.",
            kvp::QUERY_BYTES_MAX
        ),
        "parameters": parameters,
        "responses": responses
    })
}

fn query_input(input: &InputDescription) -> Value {
    let mut one = match &input.data {
        DataDescription::Literal(_) => schema::of(&input.data),
        DataDescription::BoundingBox(_) => {
            json!({"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6})
        }
        DataDescription::Complex(_) => json!({"type": "string"}),
    };
    extend_keywords(&mut one);
    // An array of arrays has no form in a query.
    let schema = if one["type"] == "array" { one } else { as_often(input.occurs, one) };
    json!({
        "name": input.id, "in": "query", "style": "form", "explode": false,
        "description": input.title, "required": input.occurs.min > 0, "schema": schema
    })
}

fn validate() -> Value {
    json!({
        "name": "validate", "in": "query", "schema": {"type": "boolean", "default": false},
        "description": "A dry run: all faults, or how the request would be executed; nothing is executed or stored"
    })
}

fn responses() -> Value {
    json!({
        "200": results(),
        "201": {
            "description": "The job that was created",
            "headers": {"Location": {"description": "The job", "schema": {"type": "string"}}},
            "content": content("statusInfo")
        },
        "204": {"description": "All results are links in the header Link"},
        "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
        "413": failed("TooLarge"),
        "500": failed("ServerError"), "503": failed("Busy"), "507": failed("NotEnoughStorage")
    })
}

/// A request to begin with: what has to be given; where nothing has to be, the first input.
fn example(process: &ProcessDescription) -> Value {
    let required = process.inputs.iter().filter(|input| input.occurs.min > 0);
    let first =
        process.inputs.iter().take(usize::from(process.inputs.iter().all(|input| input.occurs.min == 0)));
    let inputs: Map<String, Value> = required
        .chain(first)
        .map(|input| {
            let value = schema::example(&input.data);
            let value = if input.occurs.is_many() { json!([value]) } else { value };
            (input.id.clone(), value)
        })
        .collect();
    json!({ "inputs": inputs })
}

/// `execute.yaml` with the inputs and outputs of one process.
fn request(process: &ProcessDescription) -> Value {
    let inputs: Map<String, Value> =
        process.inputs.iter().map(|input| (input.id.clone(), input_schema(input))).collect();
    let outputs: Map<String, Value> =
        process.outputs.iter().map(|output| (output.id.clone(), output_schema(output))).collect();
    let required: Vec<&str> =
        process.inputs.iter().filter(|input| input.occurs.min > 0).map(|input| input.id.as_str()).collect();
    let mut inputs = json!({"type": "object", "properties": inputs, "additionalProperties": false});
    let mut all = json!({
        "type": "object",
        "properties": {
            "inputs": null,
            "outputs": {"type": "object", "properties": outputs, "additionalProperties": false},
            "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"},
            "subscriber": {"$ref": "#/components/schemas/subscriber"}
        },
        // Other members are ignored, but one that is known has to be there.
        "anyOf": [
            {"required": ["inputs"]}, {"required": ["outputs"]}, {"required": ["response"]}, {"maxProperties": 0}
        ]
    });
    // OpenAPI 3.0 allows no empty `required`.
    if !required.is_empty() {
        inputs["required"] = required.into();
        all["required"] = json!(["inputs"]);
    }
    all["properties"]["inputs"] = inputs;
    all
}

/// `output.yaml` with the formats that the output can have.
fn output_schema(output: &OutputDescription) -> Value {
    let mut format = json!({"type": "object", "properties": {
        "mediaType": {"type": "string"}, "encoding": {"type": "string"}, "schema": {}
    }});
    if let DataDescription::Complex(domain) = &output.data {
        let media_types: Vec<&str> = domain.formats.iter().map(|format| format.media_type.as_str()).collect();
        format["properties"] = json!({"mediaType": {"type": "string", "enum": media_types}});
    }
    json!({"title": output.title, "type": "object", "properties": {
        "format": format,
        "transmissionMode": {"type": "string", "enum": ["value", "reference"], "default": "value"}
    }})
}

/// The value, the value with its format, or a link; an array of them where several values are allowed.
fn input_schema(input: &InputDescription) -> Value {
    let mut value = schema::of(&input.data);
    extend_keywords(&mut value);
    let one = json!({"anyOf": [
        value,
        {
            "allOf": [{"$ref": "#/components/schemas/format"}],
            "type": "object", "required": ["value"], "properties": {"value": value}
        },
        {"$ref": "#/components/schemas/link"}
    ]});
    let mut schema = as_often(input.occurs, one);
    schema["title"] = input.title.as_str().into();
    schema
}

/// The schema of one value, or of an array of them where several are allowed.
fn as_often(occurs: Occurs, one: Value) -> Value {
    if !occurs.is_many() {
        return one;
    }
    let mut many = json!({"type": "array", "items": one, "minItems": occurs.min});
    if let Some(max) = occurs.max {
        many["maxItems"] = max.into();
    }
    many
}

/// The schemas of descriptions have keywords that OpenAPI 3.0 does not know (`contentMediaType` and its like); here they are extensions.
/// Without them several formats may be one schema, so that a value fits more than one.
fn extend_keywords(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_json = members.get("type").is_some_and(|name| name == "object")
                && members.contains_key("contentMediaType");
            for (name, mut value) in std::mem::take(members) {
                extend_keywords(&mut value);
                // JSON of a format may be of any type.
                if name == "type" && is_json {
                    continue;
                }
                let name = match name.as_str() {
                    "oneOf" => "anyOf".to_owned(),
                    content if content.starts_with("content") => format!("x-{content}"),
                    _ => name,
                };
                members.insert(name, value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(extend_keywords),
        _ => {}
    }
}
