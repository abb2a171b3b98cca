//! Service files of WPS Remote: `service.config`, an INI file (see [`crate::ini`]).
//!
//! Sections are known by parts of their names, in any case: `input` or `const` for parameters, `output`, `action`. They count in
//! the order of their names, numbers as numbers: `Action2` before `Action10`.
//!
//! What an action is given is here what it was meant to be given: values are arguments of their own whatever they hold, several
//! values repeat their option, options of inputs without a value are left out. Nothing in such a file is executed: subscripts of
//! JSON documents are read as keys and indexes.
//!
//! `%(unique_exe_id)s` is the run's identifier. The run's folder takes the place of `workdir`, which is a link to it while the run
//! lasts, so that executables find it that know its name only.

mod action;
mod defaults;
mod input;
mod lines;
mod output;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use input::{DataType, data_type};

use crate::draft::Output;
use crate::ini::{self, DEFAULT, Ini, Keys, Section};
use crate::report::Findings;
use crate::service::{Labels, Limits, Service};
use crate::usage;
use input::Parameter;
use std::path::Path;
use std::sync::Arc;
use table::Context;

/// What a section declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Parameter,
    Output,
    Action,
}

/// It is a file of this dialect.
pub(crate) fn is_dialect(ini: &Ini) -> bool {
    let has = |key: &str| ini.section(DEFAULT).is_some_and(|section| section.has(key));
    has("service") || has("executable_cmd") || has("executable_path")
}

/// It is the configuration of an agent, `remote.config`.
pub(crate) fn is_agent_configuration(ini: &Ini) -> bool {
    let has = |key: &str| {
        ini.section(DEFAULT)
            .is_some_and(|section| section.entries.iter().any(|entry| entry.key.eq_ignore_ascii_case(key)))
    };
    has("bus_class_name") || has("mucService") || has("resource_file_dir")
}

pub(crate) fn read(findings: &mut Findings, text: &str, folder: &Path) -> Option<Service> {
    let ini = ini::parse(findings, text, Keys::CaseSensitive);
    let context = Context::new(&ini, folder);
    let defaults = defaults::read(findings, &context);
    let parameters: Vec<Parameter> = sections(&ini, Kind::Parameter)
        .into_iter()
        .filter_map(|section| input::read(findings, &context, section))
        .collect();
    let outputs: Vec<Output> = sections(&ini, Kind::Output)
        .into_iter()
        .filter_map(|section| output::read(findings, &context, section))
        .collect();
    if outputs.is_empty() {
        findings.fault(&(0..0), "there is no section [Output…]: a process has one output at least");
    }
    output::check_layers(findings, &outputs);
    let mut actions = action::Actions::default();
    for section in sections(&ini, Kind::Action) {
        action::read(findings, &context, section, &parameters, &mut actions);
    }
    let lines = lines::read(findings, &context);
    report_unknown(findings, &ini);
    let defaults = defaults?;
    let command = defaults.command(actions.arguments);
    let inputs: Vec<_> = parameters.into_iter().filter_map(Parameter::into_input).collect();
    usage::check_names(findings, &inputs, &outputs, &[]);
    usage::check_usage(findings, &inputs, &outputs, &command, &actions.steps, &lines, &[]);
    let description = defaults.describe(&inputs, &outputs);
    Some(Service {
        description: Arc::new(description),
        active: defaults.active,
        folder: folder.to_owned(),
        inputs: inputs.into_iter().map(|input| input.rule).collect(),
        outputs: outputs.into_iter().filter_map(Output::into_rule).collect(),
        constants: Vec::new(),
        steps: actions.steps,
        command: command.line,
        limits: Limits::default(),
        lines,
        gdal_progress: Vec::new(),
        capacity: defaults.capacity,
        labels: Labels::default(),
    })
}

fn kind(name: &str) -> Option<Kind> {
    let name = name.to_lowercase();
    if name.contains("input") || name.contains("const") {
        Some(Kind::Parameter)
    } else if name.contains("output") {
        Some(Kind::Output)
    } else if name.contains("action") {
        Some(Kind::Action)
    } else {
        None
    }
}

/// The sections of a kind in the order in which they count.
fn sections(ini: &Ini, wanted: Kind) -> Vec<&Section> {
    let mut sections: Vec<&Section> =
        ini.sections.iter().filter(|section| kind(&section.name) == Some(wanted)).collect();
    sections.sort_by_key(|section| numbered(&section.name));
    sections
}

/// A name as texts and numbers, so that 2 comes before 10.
fn numbered(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - text);
        let number = rest[text..text + digits].parse().unwrap_or(u64::MAX);
        parts.push((rest[..text].to_owned(), if digits == 0 { 0 } else { number }));
        rest = &rest[text + digits..];
    }
    parts
}

fn report_unknown(findings: &mut Findings, ini: &Ini) {
    for section in &ini.sections {
        let known =
            section.name == DEFAULT || section.name == lines::SECTION || kind(&section.name).is_some();
        if !known {
            let text = format!(
                "section [{}] means nothing: names hold input, const, output or action, or are [{DEFAULT}] or [{}]",
                section.name,
                lines::SECTION
            );
            findings.warn(&section.span, text);
        }
    }
}
