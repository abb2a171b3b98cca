//! `[command]` and `[limits]`.

use super::section::{At, Section, scalar};
use crate::draft::{Command, check_working_folder};
use crate::isolation::BUBBLEWRAP;
use crate::program;
use crate::report::Findings;
use crate::service::{
    CommandLine, GRACE_DEFAULT, GRACE_MAX, Isolation, LOG_BYTES_MAX_DEFAULT, Limits, PASS_ALL, RUN_ID_TOKEN,
    RunLimits, Slurm,
};
use crate::slurm;
use crate::template::{Argument, Names, Template};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

/// Least address space in bytes: below, not even the supervisor can start the executable.
const MEMORY_BYTES_MIN: u64 = 256 << 20;

/// Least number of open files: standard streams, libraries and one input.
const OPEN_FILES_MIN: u64 = 16;

pub(super) fn read(
    findings: &mut Findings,
    root: &mut Section<'_>,
    names: Names<'_>,
    folder: &Path,
) -> Option<Command> {
    let Some(mut section) = root.section(findings, "command") else {
        root.fault(findings, &root.span, "[command] is missing: which program is to be run?");
        return None;
    };
    let program = read_program(findings, &mut section, folder);
    let working_folder = section.string(findings, "working_folder").map(|at| {
        let path = folder.join(at.value);
        check_working_folder(findings, &at.span, &path);
        path
    });
    let folder_link = read_folder_link(findings, &mut section, folder);
    let (arguments, argument_spans) = read_arguments(findings, &mut section, names);
    let (environment, environment_spans) = read_environment(findings, &mut section, names);
    let pass_environment = read_passed(findings, &mut section);
    let success = read_success(findings, &mut section);
    let slurm = read_slurm(findings, root);
    let time_limit = section.duration(findings, "time_limit");
    if let Some(at) = time_limit.as_ref().filter(|at| at.value.is_zero()) {
        section.fault(findings, &at.span, "time_limit must be more than nothing");
    }
    let grace = section.duration(findings, "grace");
    if let Some(at) = grace.as_ref().filter(|at| at.value > GRACE_MAX) {
        section.fault(findings, &at.span, format!("grace must be at most {} s", GRACE_MAX.as_secs()));
    }
    let log_bytes_max = section.bytes(findings, "log_size_max").unwrap_or(LOG_BYTES_MAX_DEFAULT);
    section.finish(findings);
    let line = CommandLine {
        program: program?,
        arguments,
        working_folder,
        folder_link,
        stdin: None,
        environment,
        pass_environment,
        slurm,
        success,
        time_limit: time_limit.map(|at| at.value),
        grace: grace.map_or(GRACE_DEFAULT, |at| at.value),
        log_bytes_max,
    };
    Some(Command { line, argument_spans, environment_spans })
}

fn read_program(findings: &mut Findings, section: &mut Section<'_>, folder: &Path) -> Option<String> {
    let Some(at) = section.string(findings, "program") else {
        section.fault(findings, &section.span, "program is missing");
        return None;
    };
    if at.value.is_empty() || at.value.contains('\0') {
        section.fault(findings, &at.span, format!("program {:?} is no name of a program", at.value));
        return None;
    }
    if program::find(at.value, folder).is_none() {
        let text = format!("executable '{}' does not exist on this machine", at.value);
        section.warn(findings, &at.span, text);
    }
    Some(at.value.to_owned())
}

fn read_folder_link(findings: &mut Findings, section: &mut Section<'_>, folder: &Path) -> Option<String> {
    let at = section.string(findings, "folder_link")?;
    if !at.value.contains(RUN_ID_TOKEN) {
        let text = format!("folder_link {:?} must hold {RUN_ID_TOKEN}: each run has its own", at.value);
        section.fault(findings, &at.span, text);
    }
    Some(folder.join(at.value).to_string_lossy().into_owned())
}

fn read_arguments(
    findings: &mut Findings,
    section: &mut Section<'_>,
    names: Names<'_>,
) -> (Vec<Argument>, Vec<Range<usize>>) {
    let items = section.array(findings, "arguments").map(|at| at.value).unwrap_or_default();
    let (mut arguments, mut spans) = (Vec::new(), Vec::new());
    for item in items {
        let argument = match item.get_ref() {
            DeValue::Array(group) => {
                let templates: Vec<_> =
                    group.iter().filter_map(|part| template(findings, section, names, part)).collect();
                if group.is_empty() {
                    section.fault(findings, &item.span(), "an empty group of arguments");
                }
                Some(Argument::Group(templates))
            }
            _ => template(findings, section, names, item).map(Argument::One),
        };
        if let Some(argument) = argument {
            arguments.push(argument);
            spans.push(item.span());
        }
    }
    (arguments, spans)
}

pub(super) fn template(
    findings: &mut Findings,
    section: &Section<'_>,
    names: Names<'_>,
    item: &Spanned<DeValue<'_>>,
) -> Option<Template> {
    let Some(text) = scalar(item.get_ref()) else {
        section.fault(findings, &item.span(), "must be text, with placeholders in braces");
        return None;
    };
    if text.contains('\0') {
        section.fault(findings, &item.span(), "no argument can hold a NUL character");
        return None;
    }
    match Template::parse(&text, names) {
        Ok(template) => Some(template),
        Err(faults) => {
            for fault in faults {
                section.fault(findings, &item.span(), fault);
            }
            None
        }
    }
}

fn read_environment(
    findings: &mut Findings,
    section: &mut Section<'_>,
    names: Names<'_>,
) -> (Vec<(String, Template)>, Vec<Range<usize>>) {
    let (mut environment, mut spans) = (Vec::new(), Vec::new());
    for (name, value) in section.entries(findings, "environment") {
        check_variable(findings, section, &name);
        if let Some(template) = template(findings, section, names, value) {
            environment.push((name.value.to_owned(), template));
            spans.push(value.span());
        }
    }
    (environment, spans)
}

fn read_passed(findings: &mut Findings, section: &mut Section<'_>) -> Vec<String> {
    let names = section.strings(findings, "pass_environment");
    for name in names.iter().filter(|name| name.value != PASS_ALL) {
        check_variable(findings, section, name);
    }
    names.into_iter().map(|at| at.value.to_owned()).collect()
}

fn check_variable(findings: &mut Findings, section: &Section<'_>, name: &At<&str>) {
    if name.value.is_empty() || name.value.contains(['=', '\0']) {
        section.fault(
            findings,
            &name.span,
            format!("{:?} is no name of an environment variable", name.value),
        );
    } else if name.value == crate::os::RUN_VARIABLE {
        section.fault(findings, &name.span, format!("{} is set by the supervisor", name.value));
    }
}

fn read_success(findings: &mut Findings, section: &mut Section<'_>) -> Vec<i32> {
    let Some(items) = section.array(findings, "success") else { return vec![0] };
    let mut codes = Vec::new();
    for item in &items.value {
        match scalar(item.get_ref()).and_then(|text| text.parse().ok()) {
            Some(code @ 0..=255) => codes.push(code),
            _ => section.fault(findings, &item.span(), "success must hold exit codes, 0 to 255"),
        }
    }
    if items.value.is_empty() {
        section.fault(findings, &items.span, "success is empty: no run could ever succeed");
    }
    codes
}

fn read_slurm(findings: &mut Findings, root: &mut Section<'_>) -> Option<Slurm> {
    let mut section = root.section(findings, "slurm")?;
    let span = section.span.clone();
    let slurm = Slurm {
        partition: section.string(findings, "partition").map(|at| at.value.to_owned()),
        cpus: section.count(findings, "cpus").map(|at| at.value),
        memory_bytes: section.bytes(findings, "memory"),
        options: read_slurm_options(findings, &mut section),
    };
    if slurm.cpus == Some(0) {
        section.fault(findings, &span, "cpus must be at least 1");
    }
    if program::find("sbatch", Path::new("/")).is_none() {
        section.warn(findings, &span, "sbatch is not installed on this machine");
    }
    section.finish(findings);
    Some(slurm)
}

fn read_slurm_options(findings: &mut Findings, section: &mut Section<'_>) -> Vec<String> {
    let options = section.strings(findings, "options");
    for at in &options {
        if let Err(rule) = slurm::check_option(at.value) {
            section.fault(findings, &at.span, rule);
        }
    }
    options.into_iter().map(|at| at.value.to_owned()).collect()
}

fn read_isolation(findings: &mut Findings, section: &mut Section<'_>, folder: &Path) -> Option<Isolation> {
    let how = section.string(findings, "isolation");
    let network = section.boolean(findings, "network");
    let visible = section.strings(findings, "visible");
    match how.as_ref().map(|at| at.value) {
        Some("bubblewrap") => {}
        None | Some("none") => {
            let spans = network.iter().map(|at| &at.span).chain(visible.iter().map(|at| &at.span));
            for span in spans {
                section.fault(findings, span, "network and visible need isolation = \"bubblewrap\"");
            }
            return None;
        }
        Some(other) => {
            let rule = format!("isolation must be \"none\" or \"bubblewrap\", not {other:?}");
            section.fault(findings, &how?.span, rule);
            return None;
        }
    }
    if program::find(BUBBLEWRAP, folder).is_none() {
        section.warn(findings, &how?.span, "bubblewrap is not installed on this machine");
    }
    for at in visible.iter().filter(|at| !Path::new(at.value).is_absolute()) {
        section.fault(findings, &at.span, format!("visible must hold absolute paths, not {:?}", at.value));
    }
    Some(Isolation {
        network: network.is_some_and(|at| at.value),
        visible: visible.into_iter().map(|at| PathBuf::from(at.value)).collect(),
    })
}

pub(super) fn read_limits(findings: &mut Findings, root: &mut Section<'_>, folder: &Path) -> Limits {
    let Some(mut section) = root.section(findings, "limits") else { return Limits::default() };
    let span = section.span.clone();
    let limits = Limits {
        memory_bytes: section.bytes(findings, "memory"),
        file_bytes: section.bytes(findings, "file_size"),
        open_files: section.count(findings, "open_files").map(|at| at.value),
        cpu_seconds: section.duration(findings, "cpu_time").map(|at| at.value.as_secs().max(1)),
        processes: section.count(findings, "processes").map(|at| at.value),
        run: RunLimits {
            memory_bytes: section.bytes(findings, "run_memory"),
            processes: section.count(findings, "run_processes").map(|at| at.value),
            cpu_millis: run_cpus(findings, &mut section),
        },
        new_privileges: section.boolean(findings, "new_privileges").is_some_and(|at| at.value),
        isolation: read_isolation(findings, &mut section, folder),
    };
    for (key, given) in [("memory", limits.memory_bytes), ("run_memory", limits.run.memory_bytes)] {
        if given.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN) {
            let text = format!("{key} must be at least 256 MiB: nothing starts with less");
            section.fault(findings, &span, text);
        }
    }
    if limits.run.processes == Some(0) {
        section.fault(findings, &span, "run_processes must be at least 1");
    }
    if limits.open_files.is_some_and(|files| files < OPEN_FILES_MIN) {
        section.fault(findings, &span, format!("open_files must be at least {OPEN_FILES_MIN}"));
    }
    if limits.processes == Some(0) {
        section.fault(findings, &span, "processes must be at least 1");
    }
    section.finish(findings);
    limits
}

/// Processors of a whole run, in thousandths.
fn run_cpus(findings: &mut Findings, section: &mut Section<'_>) -> Option<u64> {
    let at = section.number(findings, "run_cpus")?;
    if !(0.01..=100_000.0).contains(&at.value) {
        section.fault(
            findings,
            &at.span,
            format!("run_cpus must be between 0.01 and 100000, not {}", at.value),
        );
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range: checked above")]
    let millis = (at.value * 1000.0).round() as u64;
    Some(millis)
}
