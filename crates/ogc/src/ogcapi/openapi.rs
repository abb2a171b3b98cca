//! The API definition (§10, OpenAPI 3.0.3): what is served now, each process with its own execution.

mod execution;
mod streams;

use super::exception::PROBLEM_MEDIA_TYPE;
use super::job::PROCESSES_MAX;
use super::landing::OPENAPI_MEDIA_TYPE;
use super::link::{BaseUrl, segment};
use super::query::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::service::ServiceInfo;
use anabranch_model::ProcessDescription;
use serde_json::{Map, Value, json};
use std::sync::Arc;

macro_rules! time {
    () => {
        "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
    };
}

/// A time (RFC 3339), or two with a slash between them, either of which may be open.
const DATETIME: &str = concat!("^((", time!(), ")|(", time!(), "|\\.\\.)/(", time!(), "|\\.\\.))$");

/// Describes what is served now.
#[must_use]
pub fn document(processes: &[Arc<ProcessDescription>], service: &ServiceInfo, base: &BaseUrl) -> Value {
    let mut paths = fixed_paths();
    for process in processes {
        let path = format!("/processes/{}/execution", segment(process.id.as_str()));
        paths.insert(path, execution::path(process));
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
    streams::add(&mut paths);
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
        "parameters": [parameter("limit"), parameter("place"), parameter("f")],
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
                "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
                "500": failed("ServerError")
            }
        },
        "delete": {
            "operationId": "dismiss", "tags": ["Jobs"], "summary": "Dismisses a job",
            "responses": {
                "200": dismissed, "404": failed("NotFound"), "410": failed("Gone"), "500": failed("ServerError")
            }
        }
    })
}

fn results_path() -> Value {
    json!({
        "parameters": [parameter("jobId")],
        "get": {
            "operationId": "results", "tags": ["Jobs"], "summary": "The results of a job",
            "parameters": [parameter("outputs"), parameter("f")],
            "responses": {
                "200": results(),
                "204": {"description": "All results are links in the header Link, or none is asked for"},
                "304": {"description": "The client has them: they never change"},
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
                "304": {"description": "The client has it: it never changes"},
                "400": failed("BadRequest"), "404": failed("NotFound"), "406": failed("NotAcceptable"),
                "410": failed("Gone"), "413": failed("TooLarge"), "416": failed("RangeNotSatisfiable"),
                "500": failed("ServerError"), "507": failed("NotEnoughStorage")
            }
        }
    })
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
    let said = |text: &str, mut parameter: Value| {
        parameter["description"] = text.into();
        parameter
    };
    let mut processes = list(json!({"type": "string"}));
    processes["schema"]["maxItems"] = PROCESSES_MAX.into();
    let seconds = json!({"type": "integer", "minimum": 0});
    let statuses = ["accepted", "running", "successful", "failed", "dismissed"];
    json!({
        "limit": said("Entries of a page; more are taken as the maximum", query("limit", json!({
            "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT
        }))),
        "cursor": said("From a link `next` or `prev`", query("cursor", json!({
            "type": "string", "pattern": "^-?[0-9a-f]{1,16}\\.[0-9a-f]{1,16}$"
        }))),
        "place": said("From a link `next` or `prev`", query("cursor", json!({"type": "integer", "minimum": 0}))),
        "type": said("All jobs are of the type `process`", named("type", list(json!({"type": "string"})))),
        "processIDs": said("Jobs of one of these processes", named("processID", processes)),
        "status": said("Jobs with one of these statuses", named("status", list(json!({"type": "string", "enum": statuses})))),
        "datetime": said(
            "When they were accepted: a time, `from/to`, `from/..` or `../to`",
            query("datetime", json!({"type": "string", "pattern": DATETIME, "example": "2026-01-31T00:00:00Z/.."})),
        ),
        "minDuration": said("Jobs that took, or have been running for, at least so many seconds", query("minDuration", seconds.clone())),
        "maxDuration": said("Jobs that took, or have been running for, at most so many seconds", query("maxDuration", seconds)),
        "outputs": said("Only these outputs; none at all where it is empty", named("outputs", list(json!({"type": "string"})))),
        "f": query("f", json!({"type": "string", "enum": ["json", "html"]})),
        "prefer": {"name": "Prefer", "in": "header", "schema": {"type": "string"},
            "description": "`respond-async`: as a job. `return=minimal`: a document, with links to complex outputs that are named; \
                `return=representation`: one output as it is, several as a document of values; both where no `response` is given. \
                `handling=strict`: parameters that are not known are refused. What was followed stands in `Preference-Applied`"},
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
        "NotMeant": failure("Fetched in advance, or shown in a page of another site: nothing is executed"),
        "NotAcceptable": failure("The output is not there in a media type that the client accepts"),
        "TooLong": failure("The query is too long: POST the request"),
        "Gone": failure("The job was dismissed, or has been removed"),
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
        // Without the member that `subscriber.yaml` requires and does not define.
        "subscriber": {"type": "object", "properties": {
            "successUri": {"type": "string", "format": "uri"},
            "inProgressUri": {"type": "string", "format": "uri"},
            "failedUri": {"type": "string", "format": "uri"}
        }},
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
        "playlist": streams::schema(),
        "format": {"type": "object", "properties": {"mediaType": text(), "encoding": text(), "schema": {}}},
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
