//! Descriptions of processes as an agent registers them: a JSON object whose parameters are JSON objects within strings.

use std::sync::Arc;

use anabranch_model::bind::bind_fetched;
use anabranch_model::{
    Data, DataDescription, FormatHint, InputDescription, Occurs, OutputDescription, ProcessDescription,
    ProcessId, Publication,
};
use serde_json::{Map, Value, json};

use super::types;

/// What is said of one parameter.
type Descriptor = Map<String, Value>;

/// Reads the description in a `register`: `service` is `namespace.name`.
///
/// Parameters may be objects, objects within strings, or those in one more pair of quotes. The original's server cuts names
/// at their dots; here the first dot ends the namespace, and the rest is the name.
pub(super) fn read(service: &str, text: &str) -> Result<Arc<ProcessDescription>, String> {
    let Some((namespace, name)) = service.split_once('.') else {
        return Err(format!("a service is named namespace.name, not '{service}'"));
    };
    let id = ProcessId::new(format!("{namespace}:{name}")).map_err(|error| error.to_string())?;
    let json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let inputs = parameters(&json, "input")?.into_iter().map(|(name, descriptor)| input(name, &descriptor));
    let outputs =
        parameters(&json, "output")?.into_iter().map(|(name, descriptor)| output(name, &descriptor));
    Ok(Arc::new(ProcessDescription {
        title: text_of(&json, "title").unwrap_or_else(|| service.to_owned()),
        description: text_of(&json, "description").unwrap_or_default(),
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
        ..ProcessDescription::new(id)
    }))
}

/// Writes a description; gives the service and the JSON. Outputs are named as [`wire_name`](super::outputs::wire_name) does.
pub(super) fn write(description: &ProcessDescription) -> (String, String) {
    let id = description.id.as_str();
    let (namespace, name) = id.split_once(':').unwrap_or(("default", id));
    let service = format!("{namespace}.{name}");
    let input = |input: &InputDescription| {
        let default = match &input.data {
            DataDescription::Literal(domain) => domain.default.clone(),
            DataDescription::BoundingBox(_) | DataDescription::Complex(_) => None,
        };
        let mut descriptor = json!({
            "type": types::declared(&input.data), "title": input.title, "description": input.description,
            "default": default, "min": input.occurs.min, "input_mime_type": media_type(&input.data),
        });
        if let Some(max) = input.occurs.max {
            descriptor["max"] = max.into();
        }
        json!([input.id, descriptor.to_string()])
    };
    let output = |output: &OutputDescription| {
        let mut descriptor = json!({
            "type": types::declared(&output.data), "title": output.title, "description": output.description,
            "output_mime_type": media_type(&output.data), "publish_as_layer": null,
        });
        if let Some(publication) = &output.publication {
            descriptor["publish_as_layer"] = publication.as_layer.to_string().into();
            descriptor["publish_layer_name"] = json!(publication.layer_name);
            descriptor["publish_default_style"] = json!(publication.default_style);
            descriptor["publish_target_workspace"] = json!(publication.workspace);
        }
        json!([super::outputs::wire_name(&output.id), descriptor.to_string()])
    };
    let json = json!({
        "title": service, "namespace": namespace, "description": description.description,
        "process_buffer": 0, "result_size": 0,
        "input": description.inputs.iter().map(input).collect::<Value>(),
        "output": description.outputs.iter().map(output).collect::<Value>(),
    });
    (service, json.to_string())
}

fn media_type(data: &DataDescription) -> Option<&str> {
    match data {
        DataDescription::Complex(domain) => domain.formats.first().map(|format| format.media_type.as_str()),
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => None,
    }
}

fn parameters(json: &Value, key: &str) -> Result<Vec<(String, Descriptor)>, String> {
    let list = match json.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("its '{key}' is no list")),
    };
    list.iter()
        .map(|parameter| match parameter.as_array().map(Vec::as_slice) {
            Some([Value::String(name), descriptor]) => match object(descriptor) {
                Some(object) => Ok((name.clone(), object)),
                None => Err(format!("the descriptor of {key} '{name}' is no JSON object")),
            },
            _ => Err(format!("each {key} must be a list of a name and a descriptor")),
        })
        .collect()
}

fn object(descriptor: &Value) -> Option<Descriptor> {
    match descriptor {
        Value::Object(object) => Some(object.clone()),
        Value::String(text) => {
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            [Some(text.as_str()), inner]
                .into_iter()
                .flatten()
                .find_map(|text| serde_json::from_str(text).ok())
        }
        _ => None,
    }
}

fn input(name: String, descriptor: &Descriptor) -> Result<InputDescription, String> {
    let declared = declared_type("input", &name, descriptor)?;
    let data = types::data_with_media_type(&declared, string(descriptor, "input_mime_type").as_deref());
    let data = data.ok_or_else(|| unknown_type("input", &name, &declared))?;
    let occurs = Occurs {
        min: count(descriptor, "min").unwrap_or(1),
        max: count(descriptor, "max").filter(|_| !declared.trim_end().ends_with("[]")),
    };
    let mut input = InputDescription {
        title: string(descriptor, "title").unwrap_or_else(|| name.clone()),
        description: string(descriptor, "description").unwrap_or_default(),
        ..InputDescription::new(name, occurs, data)
    };
    set_default(&mut input, string(descriptor, "default"));
    Ok(input)
}

/// A default that is no value of its type is left out, for an agent that never applies it may advertise anything.
fn set_default(input: &mut InputDescription, default: Option<String>) {
    let Some(default) = default else { return };
    let is_valid = bind_fetched(input, Data::Bytes(default.clone().into()), &FormatHint::default()).is_ok();
    if let DataDescription::Literal(domain) = &mut input.data
        && is_valid
    {
        domain.default = Some(default);
    }
}

fn output(name: String, descriptor: &Descriptor) -> Result<OutputDescription, String> {
    let declared = declared_type("output", &name, descriptor)?;
    let data = types::data_with_media_type(&declared, string(descriptor, "output_mime_type").as_deref());
    let data = data.ok_or_else(|| unknown_type("output", &name, &declared))?;
    Ok(OutputDescription {
        title: string(descriptor, "title").unwrap_or_else(|| name.clone()),
        description: string(descriptor, "description").unwrap_or_default(),
        publication: publication(descriptor),
        ..OutputDescription::new(name, data)
    })
}

/// How the original's server is to publish it; nothing where the descriptor says nothing of it.
fn publication(descriptor: &Descriptor) -> Option<Publication> {
    let publication = Publication {
        as_layer: string(descriptor, "publish_as_layer")
            .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        layer_name: string(descriptor, "publish_layer_name"),
        default_style: string(descriptor, "publish_default_style"),
        workspace: string(descriptor, "publish_target_workspace"),
        context_of: Vec::new(),
    };
    (publication != Publication::default()).then_some(publication)
}

fn declared_type(what: &str, name: &str, descriptor: &Descriptor) -> Result<String, String> {
    string(descriptor, "type").ok_or_else(|| format!("{what} '{name}' has no type"))
}

fn unknown_type(what: &str, name: &str, declared: &str) -> String {
    format!("{what} '{name}' has a type that is not known: '{declared}'")
}

fn text_of(json: &Value, key: &str) -> Option<String> {
    json.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn string(descriptor: &Descriptor, key: &str) -> Option<String> {
    match descriptor.get(key)? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A count as number or text; `None` where there is none, or no count (a maximum of -1).
fn count(descriptor: &Descriptor, key: &str) -> Option<u32> {
    string(descriptor, key)?.trim().parse().ok()
}
