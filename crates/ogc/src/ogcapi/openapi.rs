//! The API definition (§10, OpenAPI 3.0.3): what is served now, each process with its own execution.

use super::exception::PROBLEM_MEDIA_TYPE;
use super::landing::OPENAPI_MEDIA_TYPE;
use super::link::{BaseUrl, segment};
use super::query::{LIMIT_DEFAULT, LIMIT_MAX};
use super::schema;
use crate::service::ServiceInfo;
use anabranch_model::{InputDescription, ProcessDescription};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Describes what is served now.
#[must_use]
pub fn document(processes: &[Arc<ProcessDescription>], service: &ServiceInfo, base: &BaseUrl) -> Value {
    let mut paths = fixed_paths();
    for process in processes {
        let path = format!("/processes/{}/execution", segment(process.id.as_str()));
        paths.insert(path, json!({ "post": execution(process) }));
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": service.title,
            "description": service.description,
            "version": env!("CARGO_PKG_VERSION")
        },
        "servers": [{ "url": base.at("") }],
        "tags": [
            {"name": "Capabilities"}, {"name": "Processes"}, {"name": "Execution"}, {"name": "Jobs"}
        ],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "parameters": parameters(),
            "responses": responses()
        }
    })
}

fn fixed_paths() -> Map<String, Value> {
    let get = |id: &str, tag: &str, summary: &str, schema: &str| {
        json!({"get": {
            "operationId": id,
            "tags": [tag],
            "summary": summary,
            "parameters": [parameter("f")],
            "responses": {"200": ok(schema), "400": failed("BadRequest"), "500": failed("ServerError")}
        }})
    };
    let mut paths = Map::new();
    paths.insert("/".into(), get("landingPage", "Capabilities", "The landing page", "landingPage"));
    paths.insert("/api".into(), definition_path());
    paths.insert(
        "/conformance".into(),
        get("conformance", "Capabilities", "What the server conforms to", "confClasses"),
    );
    paths.insert("/processes".into(), processes_path());
    paths.insert("/processes/{processID}".into(), process_path());
    paths.insert("/jobs".into(), jobs_path());
    paths.insert("/jobs/{jobId}".into(), job_path());
    paths.insert("/jobs/{jobId}/results".into(), results_path());
    paths.insert("/jobs/{jobId}/results/{outputId}".into(), result_path());
    paths
}

fn definition_path() -> Value {
    json!({"get": {
        "operationId": "api", "tags": ["Capabilities"], "summary": "This document",
        "parameters": [parameter("f")],
        "responses": {
            "200": {"description": "As asked", "content": {
                OPENAPI_MEDIA_TYPE: {"schema": {"type": "object"}},
                "text/html": {"schema": {"type": "string"}}
            }},
            "400": failed("BadRequest"), "500": failed("ServerError")
        }
    }})
}

fn processes_path() -> Value {
    json!({"get": {
        "operationId": "processes", "tags": ["Processes"], "summary": "The processes",
        "parameters": [parameter("limit"), parameter("cursor"), parameter("f")],
        "responses": {"200": ok("processList"), "400": failed("BadRequest"), "500": failed("ServerError")}
    }})
}

fn process_path() -> Value {
    json!({
        "parameters": [parameter("processID")],
        "get": {
            "operationId": "process", "tags": ["Processes"], "summary": "A process",
            "parameters": [parameter("f")],
            "responses": {"200": ok("process"), "400": failed("BadRequest"), "404": failed("NotFound"), "500": failed("ServerError")}
        }
    })
}

fn jobs_path() -> Value {
    let names =
        ["limit", "cursor", "type", "processIDs", "status", "datetime", "minDuration", "maxDuration", "f"];
    json!({"get": {
        "operationId": "jobs", "tags": ["Jobs"], "summary": "The jobs",
        "parameters": names.map(parameter),
        "responses": {"200": ok("jobList"), "400": failed("BadRequest"), "500": failed("ServerError")}
    }})
}

fn job_path() -> Value {
    let dismissed = json!({"description": "The job as it is now", "content": content("statusInfo")});
    json!({
        "parameters": [parameter("jobId")],
        "get": {
            "operationId": "job", "tags": ["Jobs"], "summary": "The status of a job",
            "parameters": [parameter("f")],
            "responses": {
                "200": ok("statusInfo"),
                "400": failed("BadRequest"), "404": failed("NotFound"), "500": failed("ServerError")
            }
        },
        "delete": {
            "operationId": "dismiss", "tags": ["Jobs"], "summary": "Dismisses a job",
            "responses": {"200": dismissed, "404": failed("NotFound"), "500": failed("ServerError")}
        }
    })
}

fn results_path() -> Value {
    json!({
        "parameters": [parameter("jobId")],
        "get": {
            "operationId": "results", "tags": ["Jobs"], "summary": "The results of a job",
            "parameters": [parameter("f")],
            "responses": {
                "200": results(),
                "204": {"description": "All results are links in the header Link"},
                "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
                "413": failed("TooLarge"), "500": failed("ServerError"), "507": failed("NotEnoughStorage")
            }
        }
    })
}

fn result_path() -> Value {
    json!({
        "parameters": [parameter("jobId"), parameter("outputId")],
        "get": {
            "operationId": "result", "tags": ["Jobs"], "summary": "One result of a job",
            "responses": {
                "200": results(),
                "204": {"description": "The output has no values"},
                "206": {
                    "description": "The bytes that the header Range asks for",
                    "headers": {"Content-Range": {"description": "Which they are", "schema": {"type": "string"}}},
                    "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}
                },
                "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
                "413": failed("TooLarge"), "416": failed("RangeNotSatisfiable"),
                "500": failed("ServerError"), "507": failed("NotEnoughStorage")
            }
        }
    })
}

fn execution(process: &ProcessDescription) -> Value {
    json!({
        "operationId": format!("execute {}", process.id),
        "tags": ["Execution"],
        "summary": process.title,
        "description": process.description,
        "parameters": [parameter("prefer")],
        "requestBody": {"required": true, "content": {"application/json": {
            "schema": request(process), "example": example(process)
        }}},
        "responses": {
            "200": results(),
            "201": {
                "description": "The job that was created",
                "headers": {"Location": {"description": "The job", "schema": {"type": "string"}}},
                "content": content("statusInfo")
            },
            "204": {"description": "All results are links in the header Link"},
            "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
            "413": failed("TooLarge"), "415": failed("UnsupportedMediaType"),
            "500": failed("ServerError"), "503": failed("Busy"), "507": failed("NotEnoughStorage")
        }
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
    let output = json!({"$ref": "#/components/schemas/output"});
    let outputs: Map<String, Value> =
        process.outputs.iter().map(|described| (described.id.clone(), output.clone())).collect();
    let required: Vec<&str> =
        process.inputs.iter().filter(|input| input.occurs.min > 0).map(|input| input.id.as_str()).collect();
    let mut inputs = json!({"type": "object", "properties": inputs});
    let mut all = json!({
        "type": "object",
        "properties": {
            "inputs": null,
            "outputs": {"type": "object", "properties": outputs},
            "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"}
        }
    });
    // OpenAPI 3.0 allows no empty `required`.
    if !required.is_empty() {
        inputs["required"] = required.into();
        all["required"] = json!(["inputs"]);
    }
    all["properties"]["inputs"] = inputs;
    all
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
    let mut schema = if input.occurs.is_many() {
        let mut many = json!({"type": "array", "items": one, "minItems": input.occurs.min});
        if let Some(max) = input.occurs.max {
            many["maxItems"] = max.into();
        }
        many
    } else {
        one
    };
    schema["title"] = input.title.as_str().into();
    schema
}

/// The schemas of descriptions have keywords that OpenAPI 3.0 does not know (`contentMediaType` and its like); here they are extensions.
fn extend_keywords(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, mut value) in std::mem::take(members) {
                extend_keywords(&mut value);
                let name = if name.starts_with("content") { format!("x-{name}") } else { name };
                members.insert(name, value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(extend_keywords),
        _ => {}
    }
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn content(schema: &str) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

/// A resource that is there as JSON and as a page.
fn ok(schema: &str) -> Value {
    let mut content = content(schema);
    content["text/html"] = json!({"schema": {"type": "string"}});
    json!({"description": "As asked", "content": content})
}

fn failed(response: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{response}") })
}

fn results() -> Value {
    json!({
        "description": "The results: a document, or the outputs themselves",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/results"}},
            "multipart/related": {"schema": {"type": "object"}},
            "text/html": {"schema": {"type": "string"}},
            "*/*": {"schema": {"type": "string", "format": "binary"}}
        }
    })
}

fn parameters() -> Value {
    let query = |name: &str, schema: Value| json!({"name": name, "in": "query", "schema": schema});
    let path =
        |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let list = |items: Value| {
        json!({"name": "", "in": "query", "style": "form", "explode": false,
        "schema": {"type": "array", "items": items}})
    };
    let named = |name: &str, mut parameter: Value| {
        parameter["name"] = name.into();
        parameter
    };
    let seconds = json!({"type": "integer", "minimum": 0});
    let statuses = ["accepted", "running", "successful", "failed", "dismissed"];
    json!({
        "limit": query("limit", json!({
            "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT
        })),
        "cursor": query("cursor", json!({"type": "string"})),
        "type": named("type", list(json!({"type": "string", "enum": ["process"]}))),
        "processIDs": named("processID", list(json!({"type": "string"}))),
        "status": named("status", list(json!({"type": "string", "enum": statuses}))),
        "datetime": query("datetime", json!({"type": "string"})),
        "minDuration": query("minDuration", seconds.clone()),
        "maxDuration": query("maxDuration", seconds),
        "f": query("f", json!({"type": "string", "enum": ["json", "html"]})),
        "prefer": {"name": "Prefer", "in": "header", "schema": {"type": "string"},
            "description": "respond-async, wait=N"},
        "processID": path("processID"),
        "jobId": path("jobId"),
        "outputId": path("outputId")
    })
}

fn responses() -> Value {
    let failure = |text: &str| {
        let mut content = content("exception");
        content[PROBLEM_MEDIA_TYPE] = content["application/json"].clone();
        content["text/html"] = json!({"schema": {"type": "string"}});
        json!({"description": text, "content": content})
    };
    json!({
        "BadRequest": failure("The request is invalid: every fault is named"),
        "NotFound": failure("There is no such thing, or it is not ready yet"),
        "Gone": failure("The job was dismissed"),
        "TooLarge": failure("The request is too large"),
        "RangeNotSatisfiable": failure("The bytes that the header Range asks for are not there"),
        "UnsupportedMediaType": failure("The request is no JSON"),
        "ServerError": failure("The process or the server failed"),
        "Busy": failure("The server is at a limit: try again later"),
        "NotEnoughStorage": failure("The results don't fit into the storage")
    })
}

/// The schemas of the standard, as far as answers need them.
fn schemas() -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list_of = |name: &str| json!({"type": "array", "items": reference(name)});
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let described =
        || json!({"title": text(), "description": text(), "keywords": {"type": "array", "items": text()}});
    let mut summary = described();
    summary["id"] = text();
    summary["version"] = text();
    summary["jobControlOptions"] = json!({"type": "array", "items": text()});
    summary["outputTransmission"] = json!({"type": "array", "items": text()});
    summary["links"] = list_of("link");
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties});
    let map = |of: &str| json!({"type": "object", "additionalProperties": reference(of)});
    let mut item = described();
    item["schema"] = json!({"type": "object"});
    json!({
        "link": object(&["href"], json!({"href": text(), "rel": text(), "type": text(), "title": text()})),
        "exception": object(&["type"], json!({
            "type": text(), "title": text(), "status": {"type": "integer"}, "detail": text(), "instance": text()
        })),
        "landingPage": object(&["links"], json!({"title": text(), "description": text(), "links": list_of("link")})),
        "confClasses": object(&["conformsTo"], json!({"conformsTo": {"type": "array", "items": text()}})),
        "processSummary": object(&["id", "version"], summary),
        "processList": object(&["processes", "links"], json!({
            "processes": list_of("processSummary"), "links": list_of("link")
        })),
        "description": object(&["schema"], item),
        "process": {"allOf": [reference("processSummary"), {
            "type": "object",
            "properties": {"inputs": map("description"), "outputs": map("description")}
        }]},
        "format": {"type": "object", "properties": {"mediaType": text(), "encoding": text(), "schema": {}}},
        "output": {"type": "object", "properties": {
            "format": reference("format"),
            "transmissionMode": {"type": "string", "enum": ["value", "reference"], "default": "value"}
        }},
        "statusInfo": object(&["jobID", "status", "type"], json!({
            "jobID": text(), "processID": text(),
            "type": {"type": "string", "enum": ["process"]},
            "status": {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]},
            "message": text(), "created": time(), "started": time(), "finished": time(), "updated": time(),
            "progress": {"type": "integer", "minimum": 0, "maximum": 100},
            "links": list_of("link")
        })),
        "jobList": object(&["jobs", "links"], json!({"jobs": list_of("statusInfo"), "links": list_of("link")})),
        "results": {"type": "object", "additionalProperties": {}}
    })
}

#[cfg(test)]
mod tests;
