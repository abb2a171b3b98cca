//! `[DEFAULT]`: the service, its executable, its limits.

use super::table::{Context, Table, push};
use crate::draft::{At, Command, Input, Output, check_working_folder};
use crate::ini::DEFAULT;
use crate::program;
use crate::report::Findings;
use crate::service::{Capacity, CommandLine, GRACE_DEFAULT, LOG_BYTES_MAX_DEFAULT, PASS_ALL, RUNS_UNBOUNDED};
use crate::template::{Argument, Part, Template};
use anabranch_model::{OnAgentRestart, ProcessDescription, ProcessId};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the section says.
pub(super) struct Defaults {
    id: ProcessId,
    title: String,
    description: String,
    pub(super) active: bool,
    program: String,
    arguments: Vec<Template>,
    command_span: Range<usize>,
    working_folder: Option<PathBuf>,
    folder_link: Option<String>,
    time_limit: Option<Duration>,
    pub(super) capacity: Capacity,
    on_agent_restart: Option<OnAgentRestart>,
}

pub(super) fn read(findings: &mut Findings, context: &Context<'_>) -> Option<Defaults> {
    let Some(section) = context.ini.section(DEFAULT) else {
        findings.fault(&(0..0), format!("section [{DEFAULT}] is missing: the service and its executable"));
        return None;
    };
    let mut table = Table::new(context, section);
    let id = id(findings, &mut table);
    let description = table.text(findings, "description").map(|at| at.value).unwrap_or_default();
    let active = table.boolean(findings, "active").unwrap_or(true);
    let working_folder = working_folder(findings, &mut table, context);
    let command = command(findings, &mut table, context, working_folder.as_ref());
    check_workdir(findings, &mut table);
    let time_limit = table.number(findings, "max_running_time_seconds");
    match &time_limit {
        Some(at) if at.value == 0 => {
            table.fault(findings, &at.span, "max_running_time_seconds must be at least 1");
        }
        Some(_) => {}
        None => {
            table.warn(findings, table.span(), "max_running_time_seconds is missing: runs may take for ever")
        }
    }
    // Ours: the original forgets its runs when it starts again.
    let on_agent_restart = table.text(findings, "on_agent_restart").and_then(|at| match at.value.as_str() {
        "fail" => Some(OnAgentRestart::Fail),
        "requeue" => Some(OnAgentRestart::Requeue),
        other => {
            table.fault(
                findings,
                &at.span,
                format!("on_agent_restart must be fail or requeue, not {other:?}"),
            );
            None
        }
    });
    let capacity = Capacity { runs: RUNS_UNBOUNDED, weight: weight(findings, &mut table) };
    for key in ["process_blacklist", "load_average_scan_minutes", "load_threshold", "capacity"] {
        if let Some(entry) = section.entry(key) {
            table.warn(findings, &entry.span, format!("{key} belongs into the agent's configuration"));
        }
    }
    let (id, title) = id?;
    let (program, arguments, command_span) = command?;
    Some(Defaults {
        id,
        title,
        description,
        active,
        program,
        arguments,
        command_span,
        working_folder: working_folder.map(|(_, path)| path),
        folder_link: context.folder_link(),
        time_limit: time_limit.map(|at| Duration::from_secs(at.value.into())),
        capacity,
        on_agent_restart,
    })
}

fn id(findings: &mut Findings, table: &mut Table<'_>) -> Option<(ProcessId, String)> {
    let namespace = table.required(findings, "namespace");
    let service = table.required(findings, "service")?;
    let namespace = namespace?.value;
    match ProcessId::new(format!("{namespace}:{}", service.value)) {
        Ok(id) => Some((id, format!("{namespace}.{}", service.value))),
        Err(error) => {
            table.fault(findings, &service.span, format!("service: {error}"));
            None
        }
    }
}

/// As written, and absolute.
fn working_folder(
    findings: &mut Findings,
    table: &mut Table<'_>,
    context: &Context<'_>,
) -> Option<(String, PathBuf)> {
    let at = table.plain(findings, "executable_path")?;
    let path = plain(&context.folder.join(&at.value));
    check_working_folder(findings, &at.span, &path);
    Some((at.value, path))
}

fn command(
    findings: &mut Findings,
    table: &mut Table<'_>,
    context: &Context<'_>,
    working_folder: Option<&(String, PathBuf)>,
) -> Option<(String, Vec<Template>, Range<usize>)> {
    let At { value, span } = table.required(findings, "executable_cmd")?;
    let mut whole = Template::default();
    push(&mut whole, &value);
    let absolute = |word| with_absolute_path(word, working_folder);
    let mut words = words(&whole).into_iter().map(absolute);
    let program = words.next().and_then(|word| word.as_text().map(str::to_owned));
    let Some(program) = program else {
        table.fault(findings, &span, "executable_cmd must begin with a program");
        return None;
    };
    let folder = working_folder.map_or(context.folder, |(_, path)| path.as_path());
    let program =
        if program.contains('/') { folder.join(program).to_string_lossy().into_owned() } else { program };
    if program::find(&program, context.folder).is_none() {
        table.warn(findings, &span, format!("executable '{program}' does not exist on this machine"));
    }
    if value.contains(['"', '\'']) {
        table.warn(
            findings,
            &span,
            "executable_cmd has quotes, which mean nothing: words end at white space",
        );
    }
    Some((program, words.collect(), span))
}

/// A path without `.` in its middle.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// A word that begins with the working folder as written begins with the folder that is meant: a relative one is meant from the
/// same place wherever it stands.
fn with_absolute_path(mut word: Template, working_folder: Option<&(String, PathBuf)>) -> Template {
    if let Some((written, path)) = working_folder
        && let Some(Part::Text(text)) = word.parts.first_mut()
        && let Some(rest) = text.strip_prefix(written.trim_end_matches('/'))
        && (rest.is_empty() || rest.starts_with('/'))
    {
        *text = format!("{}{rest}", path.display());
    }
    word
}

fn check_workdir(findings: &mut Findings, table: &mut Table<'_>) {
    let Some(at) = table.required(findings, "workdir") else { return };
    if table.folder_is_shared() {
        table.warn(
            findings,
            &at.span,
            "workdir is the same for all runs: each gets a folder of its own all the same (%(unique_exe_id)s tells them apart)",
        );
    }
}

/// `{"weight": "10", "coefficient": "1.5"}`: the product counts.
fn weight(findings: &mut Findings, table: &mut Table<'_>) -> f64 {
    let Some(at) = table.plain(findings, "process_weight") else { return 0.0 };
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&at.value) else {
        let text = format!(
            "process_weight {:?} is not {{\"weight\": …, \"coefficient\": …}}: classes are not run, and a run weighs nothing",
            at.value
        );
        table.warn(findings, &at.span, text);
        return 0.0;
    };
    let mut product = 1.0;
    for (key, missing) in [("weight", 0.0), ("coefficient", 1.0)] {
        let number = match object.get(key) {
            None => Some(missing),
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            Some(other) => other.as_f64(),
        };
        match number.filter(|number: &f64| number.is_finite() && *number >= 0.0) {
            Some(number) => product *= number,
            None => table.fault(findings, &at.span, format!("process_weight: {key} must be a number from 0")),
        }
    }
    product
}

/// A command line cut at white space, as the original does: what comes out of placeholders is not cut.
pub(super) fn words(whole: &Template) -> Vec<Template> {
    let (mut words, mut word) = (Vec::new(), Template::default());
    for part in &whole.parts {
        match part {
            Part::Placeholder(placeholder) => word.parts.push(Part::Placeholder(placeholder.clone())),
            Part::Text(text) => {
                for (index, piece) in text.split_whitespace().enumerate() {
                    if index > 0 || text.starts_with(char::is_whitespace) {
                        words.push(std::mem::take(&mut word));
                    }
                    word.push_text(piece);
                }
                if text.ends_with(char::is_whitespace) {
                    words.push(std::mem::take(&mut word));
                }
            }
        }
    }
    words.push(word);
    words.retain(|word| !word.parts.is_empty());
    words
}

impl Defaults {
    pub(super) fn command(&self, actions: Vec<(Argument, Range<usize>)>) -> Command {
        let own = self.arguments.iter().map(|word| (Argument::One(word.clone()), self.command_span.clone()));
        let (arguments, argument_spans) = own.chain(actions).unzip();
        let line = CommandLine {
            program: self.program.clone(),
            arguments,
            working_folder: self.working_folder.clone(),
            folder_link: self.folder_link.clone(),
            stdin: None,
            environment: Vec::new(),
            // The original's executables see the agent's whole environment.
            slurm: None,
            pass_environment: vec![PASS_ALL.into()],
            success: vec![0],
            time_limit: self.time_limit,
            grace: GRACE_DEFAULT,
            log_bytes_max: LOG_BYTES_MAX_DEFAULT,
        };
        Command { line, argument_spans, environment_spans: Vec::new() }
    }

    pub(super) fn describe(&self, inputs: &[Input], outputs: &[Output]) -> ProcessDescription {
        ProcessDescription {
            title: self.title.clone(),
            description: self.description.clone(),
            inputs: inputs.iter().map(|input| input.description.clone()).collect(),
            outputs: outputs.iter().map(|output| output.description.clone()).collect(),
            on_agent_restart: self.on_agent_restart,
            ..ProcessDescription::new(self.id.clone())
        }
    }
}
