//! The API definition as a page, made from the OpenAPI document alone: what the page says is what the document says. Where scripts run, each
//! operation can be tried on it.

use super::Page;
use askama::Template;
use serde_json::{Map, Value};

/// Schemas are described to this depth; what is deeper stands in the document.
const DEPTH_MAX: usize = 3;

#[derive(Template)]
#[template(path = "definition.html")]
pub(crate) struct DefinitionPage {
    page: Page,
    about: String,
    version: String,
    groups: Vec<Group>,
}

/// The operations of a tag.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    description: String,
    /// Where a GET without parameters in its path can be looked at.
    href: Option<String>,
    parameters: Vec<Member>,
    inputs: Vec<Member>,
    bodies: Vec<String>,
    responses: Vec<Answer>,
    curl: String,
    /// Unique on the page.
    anchor: String,
    /// A body to begin with, where it takes one.
    example: Option<String>,
}

/// A parameter, or an input of a process.
struct Member {
    name: String,
    place: String,
    required: bool,
    kind: String,
    about: String,
}

struct Answer {
    status: String,
    about: String,
    media_types: String,
}

impl DefinitionPage {
    pub(crate) fn new(page: Page, document: &Value, base: &str) -> Self {
        let mut groups: Vec<Group> = list(&document["tags"])
            .iter()
            .map(|tag| Group { name: text(&tag["name"]), operations: Vec::new() })
            .collect();
        for (path, item) in members(&document["paths"]) {
            for (method, operation) in members(item).into_iter().filter(|(name, _)| *name != "parameters") {
                let tag = text(&operation["tags"][0]);
                if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                    let reader = Reader { document, base };
                    group.operations.push(reader.operation(path, method, item, operation));
                }
            }
        }
        let info = &document["info"];
        Self { page, about: text(&info["description"]), version: text(&info["version"]), groups }
    }
}

struct Reader<'a> {
    document: &'a Value,
    base: &'a str,
}

impl<'a> Reader<'a> {
    fn operation(&self, path: &str, method: &str, item: &'a Value, operation: &'a Value) -> Operation {
        let parameters = list(&item["parameters"]).iter().chain(list(&operation["parameters"]));
        let content = &operation["requestBody"]["content"];
        let inputs = &content["application/json"]["schema"]["properties"]["inputs"];
        let required = list(&inputs["required"]);
        let inputs = members(&inputs["properties"]).into_iter().map(|(name, schema)| Member {
            name: name.to_owned(),
            place: String::new(),
            required: required.iter().any(|required| required == name),
            kind: self.kind(schema, 0),
            about: text(&schema["title"]),
        });
        let responses = members(&operation["responses"]).into_iter().map(|(status, response)| {
            let response = self.resolved(response);
            let media_types: Vec<_> =
                members(&response["content"]).into_iter().map(|(media_type, _)| media_type).collect();
            Answer {
                status: status.to_owned(),
                about: text(&response["description"]),
                media_types: media_types.join(", "),
            }
        });
        Operation {
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            href: (method == "get" && !path.contains('{')).then(|| format!("{}{path}", self.base)),
            parameters: parameters.map(|parameter| self.parameter(self.resolved(parameter))).collect(),
            inputs: inputs.collect(),
            bodies: members(content).into_iter().map(|(media_type, _)| media_type.to_owned()).collect(),
            responses: responses.collect(),
            curl: self.curl(path, method, content),
            anchor: format!("{method}{}", path.replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
            example: example(content),
        }
    }

    fn parameter(&self, parameter: &Value) -> Member {
        Member {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            required: parameter["required"] == true,
            kind: self.kind(&parameter["schema"], 0),
            about: text(&parameter["description"]),
        }
    }

    /// What a reference leads to.
    fn resolved(&self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }

    /// A schema in words.
    fn kind(&self, schema: &Value, depth: usize) -> String {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            return name.to_owned();
        }
        let one_of = ["anyOf", "oneOf"].into_iter().find_map(|key| schema[key].as_array());
        let mut text = match (one_of, schema["type"].as_str()) {
            (Some(alternatives), kind) if depth < DEPTH_MAX => {
                let bounds = alternatives.iter().all(|schema| schema.get("minItems").is_some());
                let mut kinds: Vec<_> = alternatives
                    .iter()
                    .filter(|_| !bounds)
                    .map(|schema| self.kind(schema, depth + 1))
                    .filter(|kind| !kind.is_empty())
                    .collect();
                kinds.dedup();
                if kinds.is_empty() { kind.unwrap_or_default().to_owned() } else { kinds.join(" or ") }
            }
            (_, Some("array")) if depth < DEPTH_MAX => {
                format!("array of {}", self.kind(&schema["items"], depth + 1))
            }
            (_, Some("object")) if !schema["properties"].is_null() => {
                let names: Vec<_> =
                    members(&schema["properties"]).into_iter().map(|(name, _)| name).collect();
                format!("object with {}", names.join(", "))
            }
            (_, kind) => kind.unwrap_or_default().to_owned(),
        };
        for (key, word) in [
            ("format", ""),
            ("x-contentMediaType", "of"),
            ("minimum", "from"),
            ("maximum", "to"),
            ("enum", "of"),
            ("default", "by default"),
        ] {
            let value = match &schema[key] {
                Value::Null => continue,
                Value::String(value) => value.clone(),
                Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
                value => value.to_string(),
            };
            let word = if word.is_empty() { String::new() } else { format!("{word} ") };
            text.push_str(&format!(" {word}{value}"));
        }
        text.trim().to_owned()
    }

    /// A command that can be pasted; what stands in braces is to be replaced.
    fn curl(&self, path: &str, method: &str, content: &Value) -> String {
        let method_option =
            if method == "get" { String::new() } else { format!("-X {} ", method.to_uppercase()) };
        let url = format!("'{}{path}'", self.base);
        match &content["application/json"]["example"] {
            Value::Null => format!("curl {method_option}{url}"),
            // A single quote would end the argument; as an escape it is the same JSON.
            example => {
                let example = example.to_string().replace('\'', "\\u0027");
                format!("curl {url} -H 'Content-Type: application/json' \\\n     -d '{example}'")
            }
        }
    }
}

/// The example of a JSON body, for people to change.
fn example(content: &Value) -> Option<String> {
    let example = content["application/json"].get("example")?;
    serde_json::to_string_pretty(example).ok()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn members(value: &Value) -> Vec<(&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value)).collect()
}
