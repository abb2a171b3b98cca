//! Native service files (TOML): `reference-service.toml` beside this crate documents every key.
//!
//! Nothing is ignored: unknown keys are faults. Reading goes on after a fault, so that a file is mended in one go.

mod chunking;
mod command;
mod data;
mod group;
mod input;
mod output;
mod section;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use step::read_schema;

use crate::draft::Output;
use crate::report::Findings;
use crate::service::{
    Capacity, Labels, LineMeaning, LineRule, RUNS_DEFAULT, RUNS_UNBOUNDED, Service, Stream,
};
use crate::slurm;
use crate::template::Names;
use crate::usage;
use anabranch_model::id::{LABEL_CHARS_MAX, LABELS_MAX, check_identifier, is_label};
use anabranch_model::{Chunking, Metadata, OnAgentRestart, ProcessDescription, ProcessId};
use regex::Regex;
use section::{At, Section, scalar};
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Namespace of services whose file names none, as in WPS Remote.
const NAMESPACE_DEFAULT: &str = "default";

pub(crate) fn read(findings: &mut Findings, text: &str, folder: &Path) -> Option<Service> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        findings.fault(&error.span().unwrap_or(0..0), error.message());
    }
    // After a fault of syntax the rest of the table is often missing: complaints about that would only distract.
    if !errors.is_empty() {
        return None;
    }
    read_service(findings, Section::new("", document.span(), document.get_ref()), folder)
}

fn read_service(findings: &mut Findings, mut root: Section<'_>, folder: &Path) -> Option<Service> {
    let id = read_id(findings, &mut root);
    let active = root.boolean(findings, "active").is_none_or(|at| at.value);
    let inputs = input::read_all(findings, &mut root, folder);
    let outputs = output::read_all(findings, &mut root);
    let constants = read_constants(findings, &mut root);
    usage::check_names(findings, &inputs, &outputs, &constants);
    let constants: Vec<_> = constants.into_iter().map(|(name, value)| (name.value, value)).collect();
    let described_inputs: Vec<_> = inputs.iter().map(|input| input.description.clone()).collect();
    let described_outputs: Vec<_> = outputs.iter().map(|output| output.description.clone()).collect();
    let names = Names { inputs: &described_inputs, outputs: &described_outputs, constants: &constants };
    let steps = step::read_all(findings, &mut root, names, folder);
    let command = command::read(findings, &mut root, names, folder);
    let limits = command::read_limits(findings, &mut root, folder);
    let (lines, gdal_progress) = read_lines(findings, &mut root);
    let (capacity, labels) = read_capacity(findings, &mut root);
    let (chunking, stdin) =
        chunking::read(findings, &mut root, &described_inputs, &described_outputs).unzip();
    let description = describe(findings, &mut root, id, described_inputs, described_outputs, chunking);
    root.finish(findings);
    let mut command = command?;
    command.line.stdin = stdin.flatten();
    usage::check_usage(findings, &inputs, &outputs, &command, &steps, &lines, &gdal_progress);
    usage::check_closed(findings, &outputs, &command);
    let lines = command.line.slurm.iter().flat_map(|_| slurm::line_rules()).chain(lines).collect();
    Some(Service {
        description: Arc::new(description?),
        active,
        folder: folder.to_owned(),
        inputs: inputs.into_iter().map(|input| input.rule).collect(),
        outputs: outputs.into_iter().filter_map(Output::into_rule).collect(),
        constants,
        steps,
        command: command.line,
        limits,
        lines,
        gdal_progress,
        capacity,
        labels,
    })
}

fn read_id(findings: &mut Findings, root: &mut Section<'_>) -> Option<ProcessId> {
    let namespace = root.string(findings, "namespace").map_or(NAMESPACE_DEFAULT, |at| at.value);
    let Some(identifier) = root.string(findings, "identifier") else {
        root.fault(findings, &root.span, "identifier is missing: the name under which it is published");
        return None;
    };
    if identifier.value.is_empty() {
        root.fault(findings, &identifier.span, "identifier is empty");
        return None;
    }
    let whole = match namespace {
        "" => identifier.value.to_owned(),
        namespace => format!("{namespace}:{}", identifier.value),
    };
    match ProcessId::new(whole) {
        Ok(id) => Some(id),
        Err(error) => {
            root.fault(findings, &identifier.span, error.to_string());
            None
        }
    }
}

fn describe(
    findings: &mut Findings,
    root: &mut Section<'_>,
    id: Option<ProcessId>,
    inputs: Vec<anabranch_model::InputDescription>,
    outputs: Vec<anabranch_model::OutputDescription>,
    chunking: Option<Chunking>,
) -> Option<ProcessDescription> {
    let title = root.string(findings, "title").map(|at| at.value.to_owned());
    let description = root.string(findings, "abstract").map(|at| at.value.to_owned()).unwrap_or_default();
    let keywords = root.strings(findings, "keywords").into_iter().map(|at| at.value.to_owned()).collect();
    let version = root.string(findings, "version").map_or("1.0.0", |at| at.value).to_owned();
    let idempotent = root.boolean(findings, "idempotent").is_some_and(|at| at.value);
    let on_agent_restart = root.string(findings, "on_agent_restart").and_then(|at| match at.value {
        "fail" => Some(OnAgentRestart::Fail),
        "requeue" => Some(OnAgentRestart::Requeue),
        other => {
            root.fault(
                findings,
                &at.span,
                format!("on_agent_restart must be fail or requeue, not {other:?}"),
            );
            None
        }
    });
    let sync_execute = root.boolean(findings, "sync_execute").is_none_or(|at| at.value);
    let async_execute = root.boolean(findings, "async_execute");
    let metadata = read_metadata(findings, root);
    let groups = group::read_all(findings, root, &inputs, &outputs);
    if let Some(at) = async_execute.as_ref().filter(|at| !at.value && !sync_execute) {
        root.fault(findings, &at.span, "it can be executed neither synchronously nor asynchronously");
    }
    let id = id?;
    Some(ProcessDescription {
        title: title.unwrap_or_else(|| id.to_string()),
        id,
        description,
        keywords,
        metadata,
        version,
        inputs,
        outputs,
        groups,
        sync_execute,
        async_execute: async_execute.is_none_or(|at| at.value),
        idempotent,
        chunking,
        on_agent_restart,
    })
}

fn read_metadata(findings: &mut Findings, root: &mut Section<'_>) -> Vec<Metadata> {
    let mut metadata = Vec::new();
    for mut section in root.sections(findings, "metadata") {
        let text = |at: Option<At<&str>>| at.map(|at| at.value.to_owned());
        let title = text(section.string(findings, "title"));
        let href = text(section.string(findings, "href"));
        let role = text(section.string(findings, "role")).unwrap_or_default();
        match href {
            Some(href) => {
                metadata.push(Metadata { title: title.unwrap_or_else(|| href.clone()), href, role })
            }
            None => section.fault(findings, &section.span, "href is missing"),
        }
        section.finish(findings);
    }
    metadata
}

fn read_constants(findings: &mut Findings, root: &mut Section<'_>) -> Vec<(At<String>, String)> {
    let mut constants = Vec::new();
    for (name, found) in root.entries(findings, "constants") {
        if let Err(error) = check_identifier(name.value) {
            findings.fault(&name.span, format!("constant: {error}"));
        }
        match scalar(found.get_ref()) {
            Some(value) if !value.contains('\0') => {
                constants.push((At { value: name.value.to_owned(), span: name.span }, value));
            }
            _ => findings.fault(&found.span(), format!("constant '{}' must be a single value", name.value)),
        }
    }
    constants
}

fn read_lines(findings: &mut Findings, root: &mut Section<'_>) -> (Vec<LineRule>, Vec<Stream>) {
    let (mut rules, mut gdal) = (Vec::new(), Vec::new());
    for mut section in root.sections(findings, "progress") {
        let stream = data::stream(findings, &mut section);
        let is_gdal = section.boolean(findings, "gdal").is_some_and(|at| at.value);
        let pattern = data::pattern(findings, &mut section, "pattern", 1);
        match (is_gdal, pattern) {
            (true, None) => gdal.extend([stream.unwrap_or(Stream::Stdout)]),
            (true, Some(_)) => {
                section.fault(findings, &section.span, "gdal and pattern exclude each other");
            }
            (false, Some(pattern)) => {
                rules.push(LineRule { stream, pattern, meaning: LineMeaning::Progress });
            }
            (false, None) if section.has("pattern") => {}
            (false, None) => {
                section.fault(findings, &section.span, "needs a pattern, or gdal = true");
            }
        }
        section.finish(findings);
    }
    for mut section in root.sections(findings, "log") {
        let stream = data::stream(findings, &mut section);
        let meaning = log_meaning(findings, &mut section);
        let groups = usize::from(meaning == Some(LineMeaning::Progress));
        let pattern: Option<Regex> = data::pattern(findings, &mut section, "pattern", groups);
        match (pattern, meaning) {
            (Some(pattern), Some(meaning)) => rules.push(LineRule { stream, pattern, meaning }),
            _ if section.has("pattern") && section.has("action") => {}
            _ => section.fault(findings, &section.span, "needs a pattern and an action"),
        }
        section.finish(findings);
    }
    (rules, gdal)
}

fn log_meaning(findings: &mut Findings, section: &mut Section<'_>) -> Option<LineMeaning> {
    let action = section.string(findings, "action")?;
    match action.value {
        "keep" => Some(LineMeaning::Keep),
        "ignore" => Some(LineMeaning::Ignore),
        "message" => Some(LineMeaning::Message),
        "progress" => Some(LineMeaning::Progress),
        "failure" => Some(LineMeaning::Failure),
        "abort" => Some(LineMeaning::Abort),
        other => {
            let known = "\"keep\", \"ignore\", \"message\", \"progress\", \"failure\" or \"abort\"";
            let text = format!("action must be {known}, not {other:?}");
            section.fault(findings, &action.span, text);
            None
        }
    }
}

fn read_capacity(findings: &mut Findings, root: &mut Section<'_>) -> (Capacity, Labels) {
    let mut capacity = Capacity { runs: RUNS_DEFAULT, weight: 1.0 };
    let Some(mut section) = root.section(findings, "capacity") else { return (capacity, Labels::default()) };
    if let Some(at) = section.bound(findings, "runs") {
        capacity.runs = at.value.unwrap_or(RUNS_UNBOUNDED);
        if capacity.runs == 0 {
            section.fault(findings, &at.span, "runs must be at least 1");
        }
    }
    if let Some(at) = section.number(findings, "weight") {
        if at.value.is_finite() && at.value >= 0.0 {
            capacity.weight = at.value;
        } else {
            section.fault(findings, &at.span, "weight must be a finite number from 0");
        }
    }
    let required = read_labels(findings, &mut section, "required_labels");
    let preferred = read_labels(findings, &mut section, "preferred_labels");
    section.finish(findings);
    (capacity, Labels { required, preferred })
}

fn read_labels(findings: &mut Findings, section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    let labels = section.strings(findings, key);
    if let Some(at) = labels.get(LABELS_MAX) {
        section.fault(findings, &at.span, format!("{key} must not hold more than {LABELS_MAX}"));
    }
    for at in labels.iter().filter(|at| !is_label(at.value)) {
        let rule = format!(
            "{key} must hold 1 to {LABEL_CHARS_MAX} letters, digits and -_.:/ each, not {:?}",
            at.value
        );
        section.fault(findings, &at.span, rule);
    }
    labels.into_iter().map(|at| at.value.to_owned()).collect()
}
