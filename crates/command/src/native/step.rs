//! `[[prepare]]`: files that are made before the executable starts.

use super::command::template;
use super::section::{At, Section};
use crate::draft::{ini_name_fault, path_fault};
use crate::folder::read_small;
use crate::prepare::compile_schema;
use crate::report::Findings;
use crate::step::{JsonPath, JsonPathPart, JsonSchema, NAME_TOKEN, Place, Step, StepValue};
use crate::template::{Names, Template};
use std::path::Path;
use toml::de::DeValue;

/// How a file of the run's folder is named where a file is read.
const RUN_FOLDER: &str = "{run.folder}/";

pub(super) fn read_all(
    findings: &mut Findings,
    root: &mut Section<'_>,
    names: Names<'_>,
    folder: &Path,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for mut section in root.sections(findings, "prepare") {
        steps.extend(read(findings, &mut section, names, folder));
        section.finish(findings);
    }
    steps
}

fn read(findings: &mut Findings, section: &mut Section<'_>, names: Names<'_>, folder: &Path) -> Option<Step> {
    let Some(action) = section.string(findings, "action") else {
        section.fault(findings, &section.span, format!("action is missing: {ACTIONS}"));
        return None;
    };
    let to = target(findings, section);
    match action.value {
        "copy" => {
            let from = place(findings, section, folder);
            if from.is_none() {
                section.fault(findings, &section.span, "from is missing: what is copied?");
            }
            Some(Step::Copy { from: from?, to: to? })
        }
        "write_json" => {
            let value = value(findings, section, names);
            let schema = schema(findings, section, folder);
            let name_from = path(findings, section, "name_from");
            let to = to?;
            if to.contains(NAME_TOKEN) != name_from.is_some() {
                let text = format!("name_from and {NAME_TOKEN} in to go together");
                section.fault(findings, &section.span, text);
            }
            Some(Step::WriteJson { value: value?, schema, name_from, to })
        }
        "set_json" => {
            let value = json_value(findings, section, names);
            let path = path(findings, section, "path");
            if path.is_none() && !section.has("path") {
                section.fault(findings, &section.span, "path is missing: where is it set?");
            }
            let from = place(findings, section, folder);
            Some(Step::SetJson { value: value?, path: path?, from, to: to? })
        }
        "set_ini" => {
            let value = value(findings, section, names);
            let list = section.boolean(findings, "list").is_some_and(|at| at.value);
            let ini_section = word(findings, section, "section");
            let option = word(findings, section, "option");
            let from = place(findings, section, folder);
            Some(Step::SetIni { value: value?, list, section: ini_section?, option: option?, from, to: to? })
        }
        other => {
            section.fault(findings, &action.span, format!("action must be {ACTIONS}, not {other:?}"));
            None
        }
    }
}

const ACTIONS: &str = "\"copy\", \"write_json\", \"set_json\" or \"set_ini\"";

fn target(findings: &mut Findings, section: &mut Section<'_>) -> Option<String> {
    let Some(at) = section.string(findings, "to") else {
        section.fault(findings, &section.span, "to is missing: the file that is made");
        return None;
    };
    if let Some(fault) = path_fault(at.value) {
        section.fault(findings, &at.span, format!("to {:?} {fault}", at.value));
        return None;
    }
    Some(at.value.to_owned())
}

fn place(findings: &mut Findings, section: &mut Section<'_>, folder: &Path) -> Option<Place> {
    let at = section.string(findings, "from")?;
    let Some(own) = at.value.strip_prefix(RUN_FOLDER) else {
        let path = folder.join(at.value);
        if !path.is_file() {
            section.warn(findings, &at.span, format!("from {:?} does not exist on this machine", at.value));
        }
        return Some(Place::Host(path));
    };
    if let Some(fault) = path_fault(own) {
        section.fault(findings, &at.span, format!("from {own:?} {fault}"));
        return None;
    }
    Some(Place::Run(own.to_owned()))
}

fn value(findings: &mut Findings, section: &mut Section<'_>, names: Names<'_>) -> Option<Template> {
    let Some(item) = section.value("value") else {
        section.fault(findings, &section.span, "value is missing");
        return None;
    };
    template(findings, section, names, item)
}

fn json_value(findings: &mut Findings, section: &mut Section<'_>, names: Names<'_>) -> Option<StepValue> {
    if let Some(item) = section.value("value")
        && let DeValue::Integer(_) | DeValue::Float(_) = item.get_ref()
        && let Some(number) = super::section::scalar(item.get_ref()).and_then(|text| text.parse().ok())
    {
        return Some(StepValue::Number(number));
    }
    value(findings, section, names).map(StepValue::Template)
}

fn word(findings: &mut Findings, section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let Some(at) = section.string(findings, key) else {
        section.fault(findings, &section.span, format!("{key} is missing"));
        return None;
    };
    if let Some(fault) = ini_name_fault(at.value) {
        section.fault(findings, &at.span, format!("{key} {:?} {fault}", at.value));
        return None;
    }
    Some(at.value.to_owned())
}

/// Keys and indexes: `["Config", 0, "n"]`.
fn path(findings: &mut Findings, section: &mut Section<'_>, key: &'static str) -> Option<JsonPath> {
    let At { value: items, span } = section.array(findings, key)?;
    let part = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(JsonPathPart::Key(text.clone().into_owned())),
        DeValue::Integer(number) => number.as_str().parse().ok().map(JsonPathPart::Index),
        _ => None,
    };
    let path = items.into_iter().map(part).collect::<Option<Vec<_>>>().and_then(JsonPath::new);
    if path.is_none() {
        let text = format!("{key} must be a list of keys and indexes such as [\"Config\", 0]");
        section.fault(findings, &span, text);
    }
    path
}

fn schema(findings: &mut Findings, section: &mut Section<'_>, folder: &Path) -> Option<JsonSchema> {
    let at = section.string(findings, "schema")?;
    let path = folder.join(at.value);
    match read_schema(&path) {
        Ok(schema) => Some(schema),
        Err(fault) => {
            section.fault(findings, &at.span, format!("schema {:?} {fault}", at.value));
            None
        }
    }
}

/// Reads a JSON Schema, and sees whether it is one.
pub(crate) fn read_schema(path: &Path) -> Result<JsonSchema, String> {
    let text = read_small(path).map_err(|error| format!("can't be read: {error}"))?;
    let document = serde_json::from_str(&text).map_err(|error| format!("is no JSON: {error}"))?;
    compile_schema(&document).map_err(|error| format!("is no JSON Schema: {error}"))?;
    Ok(JsonSchema { path: path.to_owned(), document })
}
