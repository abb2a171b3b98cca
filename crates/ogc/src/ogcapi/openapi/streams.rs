//! The paths of streams.

use super::{content, failed, parameter};
use serde_json::{Map, Value, json};

/// `/playlist` and `/chunks/{n}` below a result.
pub(super) fn add(paths: &mut Map<String, Value>) {
    paths.insert("/jobs/{jobId}/results/{outputId}/playlist".into(), playlist());
    paths.insert("/jobs/{jobId}/results/{outputId}/chunks/{n}".into(), chunk());
}

fn playlist() -> Value {
    let query = |name: &str, text: &str, schema: Value| json!({"name": name, "in": "query", "description": text, "schema": schema});
    let forms = ["json", "html", "playlist", "m3u8", "sse", "geojsonseq", "ndjson"];
    let mut forms_of_it = content("playlist");
    for media_type in [
        "text/html",
        "application/x-ogc-playlist",
        "application/vnd.apple.mpegurl",
        "text/event-stream",
        "application/geo+json-seq",
        "application/x-ndjson",
    ] {
        forms_of_it[media_type] = json!({"schema": {"type": "string"}});
    }
    json!({
        "parameters": [parameter("jobId"), parameter("outputId")],
        "get": {
            "operationId": "playlist", "tags": ["Jobs"],
            "summary": "The chunks of an output, while they come; or their features, as one response",
            "parameters": [
                query("f", "Without it, the header Accept decides", json!({"type": "string", "enum": forms})),
                query("after", "List chunks behind this one", json!({"type": "integer", "minimum": 0, "default": 0})),
                query("wait", "Wait so many seconds for chunks behind `after`", json!({"type": "integer", "minimum": 0, "maximum": 50})),
                {"name": "Last-Event-ID", "in": "header", "description": "Go on behind this event", "schema": {"type": "integer", "minimum": 0}}
            ],
            "responses": {
                "200": {"description": "As asked", "content": forms_of_it},
                "204": {"description": "The client has had the last event"},
                "304": {"description": "The client has it, and nothing has come"},
                "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"),
                "500": failed("ServerError"), "503": failed("Busy")
            }
        }
    })
}

fn chunk() -> Value {
    let forms = json!({"type": "string", "enum": ["geojson", "png"]});
    let binary = json!({"*/*": {"schema": {"type": "string", "format": "binary"}}});
    json!({
        "parameters": [
            parameter("jobId"), parameter("outputId"),
            {"name": "n", "in": "path", "required": true, "description": "Counted from 1", "schema": {"type": "integer", "minimum": 1}}
        ],
        "get": {
            "operationId": "chunk", "tags": ["Jobs"], "summary": "One chunk of an output",
            "parameters": [{"name": "f", "in": "query", "schema": forms,
                "description": "For a map: `geojson` has the features, or the outline of a raster, `png` its picture"}],
            "responses": {
                "200": {"description": "The chunk", "content": binary},
                "206": {"description": "The bytes that the header Range asks for", "content": binary},
                "304": {"description": "The client has it: it never changes"},
                "400": failed("BadRequest"), "404": failed("NotFound"), "410": failed("Gone"), "413": failed("TooLarge"),
                "416": failed("RangeNotSatisfiable"), "500": failed("ServerError")
            }
        }
    })
}

/// The schema of a playlist as JSON.
pub(super) fn schema() -> Value {
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer", "minimum": 0}));
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties});
    let chunk = object(
        &["seq", "href"],
        json!({
            "seq": number, "href": text, "type": text, "count": number, "bytes": number,
            "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
        }),
    );
    object(
        &["type", "job", "status", "mediaSequence", "chunks", "end", "links"],
        json!({
            "type": {"type": "string", "enum": ["geo-playlist"]}, "job": text, "status": text, "mediaType": text,
            "mediaSequence": number, "expected": number, "chunks": {"type": "array", "items": chunk},
            "end": {"type": "boolean"}, "exception": object(&["detail", "href"], json!({"detail": text, "href": text})),
            "links": {"type": "array", "items": {"$ref": "#/components/schemas/link"}}
        }),
    )
}
