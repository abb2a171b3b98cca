//! Whether the parts of a service file fit together.

use crate::draft::{At, Command, Input, Output};
use crate::report::Findings;
use crate::service::{Complete, LineMeaning, LineRule, OutputSource, Stream};
use crate::step::Step;
use crate::template::{Argument, Field, Owner, Template};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Every name once: placeholders could not tell them apart.
pub(crate) fn check_names(
    findings: &mut Findings,
    inputs: &[Input],
    outputs: &[Output],
    constants: &[(At<String>, String)],
) {
    let inputs = inputs.iter().map(|input| (input.description.id.as_str(), "input", &input.span));
    let outputs = outputs.iter().map(|output| (output.description.id.as_str(), "output", &output.span));
    let constants = constants.iter().map(|(name, _)| (name.value.as_str(), "constant", &name.span));
    let mut seen = HashMap::new();
    for (name, kind, span) in inputs.chain(outputs).chain(constants) {
        if let Some(first) = seen.insert(name, kind) {
            findings.fault(
                span,
                format!("{kind} '{name}' has the name of the {first}: placeholders need both to differ"),
            );
        }
    }
}

pub(crate) fn check_usage(
    findings: &mut Findings,
    inputs: &[Input],
    outputs: &[Output],
    command: &Command,
    steps: &[Step],
    lines: &[LineRule],
    gdal_progress: &[Stream],
) {
    check_files(findings, inputs, outputs);
    check_arguments(findings, inputs, command);
    check_environment(findings, inputs, command);
    check_output_placeholders(findings, outputs, command);
    check_stdin(findings, inputs, command, steps);
    // A placeholder that is misspelt is told already.
    if !findings.has_faults() {
        check_unused(findings, inputs, command, steps);
    }
    check_stdout(findings, outputs, lines, gdal_progress);
}

/// No two of them may be the same file.
fn check_files(findings: &mut Findings, inputs: &[Input], outputs: &[Output]) {
    let mut owners: HashMap<&str, String> = HashMap::new();
    let inputs = inputs.iter().filter_map(|input| {
        let name = input.rule.file_name.as_deref()?;
        Some((name, format!("input '{}'", input.description.id), &input.span))
    });
    let outputs = outputs.iter().filter_map(|output| match &output.source {
        Some(OutputSource::File(name)) => {
            Some((name.as_str(), format!("output '{}'", output.description.id), &output.span))
        }
        _ => None,
    });
    for (name, owner, span) in inputs.chain(outputs) {
        if let Some(first) = owners.get(name) {
            findings.fault(span, format!("{owner}: file {name:?} is that of {first} too"));
        } else {
            owners.insert(name, owner);
        }
    }
}

fn check_arguments(findings: &mut Findings, inputs: &[Input], command: &Command) {
    let arguments = &command.line.arguments;
    for (index, (argument, span)) in arguments.iter().zip(&command.argument_spans).enumerate() {
        let mut many: Vec<&str> = argument
            .templates()
            .iter()
            .flat_map(Template::inputs)
            .filter(|id| find(inputs, id).is_some_and(|input| input.description.occurs.is_many()))
            .collect();
        many.sort_unstable();
        many.dedup();
        if let [first, second, ..] = many.as_slice() {
            let text = format!(
                "command: '{first}' and '{second}' may both have several values: they can't share an argument"
            );
            findings.fault(span, text);
        }
        let before = index.checked_sub(1).and_then(|index| match &arguments[index] {
            Argument::One(template) => template.as_text(),
            Argument::Group(_) => None,
        });
        if let (Some(option), Argument::One(template)) = (before, argument)
            && option.starts_with('-')
            && option != "--"
            && template.as_text().is_none()
            && let Some(id) = template.inputs().find(|id| may_be_absent(inputs, id))
        {
            findings.warn(span, format!("command: without '{id}' only this argument is left out: put it and {option:?} in an array of their own"));
        }
    }
}

fn find<'a>(inputs: &'a [Input], id: &str) -> Option<&'a Input> {
    inputs.iter().find(|input| input.description.id == id)
}

fn may_be_absent(inputs: &[Input], id: &str) -> bool {
    find(inputs, id).is_some_and(|input| {
        let has_default = input.rule.default.is_some()
            || matches!(&input.description.data,
                anabranch_model::DataDescription::Literal(domain) if domain.default.is_some());
        input.description.occurs.min == 0 && !has_default
    })
}

fn check_environment(findings: &mut Findings, inputs: &[Input], command: &Command) {
    for ((name, template), span) in command.line.environment.iter().zip(&command.environment_spans) {
        let many = |id: &&str| find(inputs, id).is_some_and(|input| input.description.occurs.is_many());
        if let Some(id) = template.inputs().find(many) {
            findings.fault(
                span,
                format!("command: variable {name} can hold one value, and '{id}' may have several"),
            );
        }
    }
}

fn templates(command: &Command) -> impl Iterator<Item = (&Template, &Range<usize>)> {
    let arguments = command.line.arguments.iter().zip(&command.argument_spans);
    let arguments =
        arguments.flat_map(|(argument, span)| argument.templates().iter().map(move |t| (t, span)));
    let environment = command.line.environment.iter().zip(&command.environment_spans);
    arguments.chain(environment.map(|((_, template), span)| (template, span)))
}

fn check_output_placeholders(findings: &mut Findings, outputs: &[Output], command: &Command) {
    for (template, span) in templates(command) {
        for placeholder in template.placeholders() {
            let Owner::Output(id) = &placeholder.owner else { continue };
            let source =
                outputs.iter().find(|output| output.description.id == *id).map(|output| &output.source);
            let pathless = matches!(
                source,
                Some(Some(
                    OutputSource::Layers(_)
                        | OutputSource::Stdout
                        | OutputSource::Records(_)
                        | OutputSource::Line { .. }
                ))
            );
            if pathless && matches!(placeholder.field, Field::Value | Field::Name) {
                findings.fault(
                    span,
                    format!("command: {{{id}}} has no file: its source is a stream, or other outputs"),
                );
            }
        }
    }
}

fn check_unused(findings: &mut Findings, inputs: &[Input], command: &Command, steps: &[Step]) {
    for input in inputs {
        let id = input.description.id.as_str();
        let used =
            templates(command).map(|(template, _)| template).chain(steps.iter().filter_map(Step::template));
        let is_named = used.into_iter().any(|template| template.inputs().any(|used| used == id));
        let is_on_stdin = command.line.stdin.as_ref().is_some_and(|stdin| stdin.input == id);
        if !is_named && !is_on_stdin && input.rule.file_name.is_none() {
            findings.warn(&input.span, format!("input '{id}' is never used in the command"));
        }
    }
}

/// What comes on standard input has no file, on no machine.
fn check_stdin(findings: &mut Findings, inputs: &[Input], command: &Command, steps: &[Step]) {
    let Some(id) = command.line.stdin.as_ref().map(|stdin| stdin.input.as_str()) else { return };
    let Some(input) = find(inputs, id) else { return };
    let mut fault = |span: &Range<usize>, why: &str| {
        findings.fault(span, format!("input '{id}' comes on standard input: {why}"));
    };
    for (_, span) in templates(command).filter(|(template, _)| template.inputs().any(|used| used == id)) {
        fault(span, "the command can't name its file");
    }
    if steps.iter().filter_map(Step::template).any(|template| template.inputs().any(|used| used == id)) {
        fault(&input.span, "no step can be made of it");
    }
    if input.rule.file_name.is_some() || input.rule.default.is_some() {
        fault(&input.span, "it has neither file_name nor default");
    }
    if command.line.slurm.is_some() {
        fault(&input.span, "a job of a cluster has none ([slurm])");
    }
}

/// Standard output is data, or it is lines; not both.
fn check_stdout(findings: &mut Findings, outputs: &[Output], lines: &[LineRule], gdal_progress: &[Stream]) {
    let mut data = outputs
        .iter()
        .filter(|output| matches!(output.source, Some(OutputSource::Stdout | OutputSource::Records(_))));
    let Some(first) = data.next() else { return };
    let id = &first.description.id;
    for second in data {
        findings.fault(
            &second.span,
            format!("output '{}': standard output is output '{id}' already", second.description.id),
        );
    }
    let reads_stdout = gdal_progress.contains(&Stream::Stdout)
        || lines
            .iter()
            .any(|rule| rule.stream == Some(Stream::Stdout) && rule.meaning == LineMeaning::Progress);
    if reads_stdout {
        findings.fault(
            &first.span,
            format!("output '{id}': standard output is data, so progress can't be read from it"),
        );
    }
    for output in outputs {
        let reads = match &output.source {
            Some(
                OutputSource::Line { stream, .. } | OutputSource::Glob { announced: Some((stream, _)), .. },
            ) => *stream == Stream::Stdout,
            _ => false,
        };
        if reads {
            findings.fault(
                &output.span,
                format!(
                    "output '{}': standard output is data of output '{id}', so no line can be read from it",
                    output.description.id
                ),
            );
        }
    }
}

/// What the nodes of a cluster close, the system tells nobody here.
pub(crate) fn check_closed(findings: &mut Findings, outputs: &[Output], command: &Command) {
    let waits_for_close = |output: &&Output| {
        matches!(output.source, Some(OutputSource::Glob { complete: Complete::Closed, .. }))
    };
    for output in outputs.iter().filter(waits_for_close) {
        let id = &output.description.id;
        if let Some(OutputSource::Glob { pattern, .. }) = &output.source
            && Path::new(pattern)
                .parent()
                .is_some_and(|folder| folder.to_string_lossy().contains(['*', '?', '[']))
        {
            findings.fault(
                &output.span,
                format!(
                    "output '{id}': complete = \"closed\" needs a pattern without wildcards in its folder"
                ),
            );
        }
        if command.line.slurm.is_some() {
            findings.fault(
                &output.span,
                format!("output '{id}': complete = \"closed\" and [slurm] exclude each other: \"named\" or \"next\" go with it"),
            );
        }
    }
}
