//! The service files that the introduction of WPS Remote's manual shows: an older form than `service.config`.
//!
//! ```text
//! [Description]  service, namespace, description, executable, active    (process_buffer, result_size: read, mean nothing)
//! [Options]      customargs    what comes first on the command line, cut at white space
//!                argformat     how inputs follow: --key=value, or --key value; key and value stand for name and value
//!                debug         read, means nothing: all that the executable says is in the log
//! [Input]        name = {"type": …, "title", "description", "enum": […], "default", "min", "max"}
//! [Output]       name = {"type": …, "title", "description"}
//! ```
//!
//! The manual does not say where outputs come from. Here a literal is the last line `name = value` or `name: value` on
//! standard output, and a media type is a file in the run's folder, named as the output with the ending of its type.
//! Values refer to nothing: percent signs are themselves.

use crate::draft::{At, Command, Input, Output, broken_rule, regex};
use crate::folders::extension;
use crate::ini::{self, Entry, Ini, Keys, Section};
use crate::program;
use crate::report::Findings;
use crate::service::{
    Capacity, CommandLine, GRACE_DEFAULT, InputDefault, InputRule, LOG_BYTES_MAX_DEFAULT, Labels, Limits,
    OutputSource, PASS_ALL, RUNS_UNBOUNDED, Service, Stream,
};
use crate::template::{Argument, Field, Owner, Template};
use crate::units;
use crate::usage;
use crate::wps_remote::{DataType, data_type};
use anabranch_model::id::check_identifier;
use anabranch_model::{
    AllowedValue, ComplexDomain, DataDescription, Format, InputDescription, LiteralDomain, LiteralType,
    Occurs, OutputDescription, ProcessDescription, ProcessId,
};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

const DESCRIPTION: &str = "Description";
const OPTIONS: &str = "Options";
const INPUT: &str = "Input";
const OUTPUT: &str = "Output";

/// It is a file of this form.
pub(crate) fn is_dialect(ini: &Ini) -> bool {
    ini.section(DESCRIPTION).is_some()
}

pub(crate) fn read(findings: &mut Findings, text: &str, folder: &Path) -> Option<Service> {
    let ini = ini::parse(findings, text, Keys::CaseSensitive);
    for section in &ini.sections {
        if ![DESCRIPTION, OPTIONS, INPUT, OUTPUT].contains(&section.name.as_str()) {
            findings.warn(&section.span, format!("section [{}] means nothing", section.name));
        }
    }
    let described = ini.section(DESCRIPTION)?;
    let known =
        ["service", "namespace", "description", "executable", "active", "process_buffer", "result_size"];
    warn_unknown(findings, described, &known);
    let id = id(findings, described);
    let program = program(findings, described, folder);
    let inputs = descriptors(findings, &ini, INPUT)
        .into_iter()
        .filter_map(|of| input(findings, &of))
        .collect::<Vec<_>>();
    let outputs = descriptors(findings, &ini, OUTPUT).into_iter().filter_map(|of| output(findings, &of));
    let outputs: Vec<Output> = outputs.collect();
    if outputs.is_empty() {
        findings.fault(
            &(0..0),
            format!("section [{OUTPUT}] declares nothing: a process has one output at least"),
        );
    }
    let arguments = arguments(findings, &ini, &inputs);
    let (id, title) = id?;
    let (arguments, argument_spans) = arguments?.into_iter().unzip();
    let line = CommandLine {
        program: program?,
        arguments,
        working_folder: None,
        folder_link: None,
        stdin: None,
        environment: Vec::new(),
        slurm: None,
        pass_environment: vec![PASS_ALL.into()],
        success: vec![0],
        time_limit: None,
        grace: GRACE_DEFAULT,
        log_bytes_max: LOG_BYTES_MAX_DEFAULT,
    };
    let command = Command { line, argument_spans, environment_spans: Vec::new() };
    usage::check_names(findings, &inputs, &outputs, &[]);
    usage::check_usage(findings, &inputs, &outputs, &command, &[], &[], &[]);
    let value = |key: &str| described.entry(key).map(|entry| entry.value.as_str());
    let description = ProcessDescription {
        title,
        description: value("description").unwrap_or_default().to_owned(),
        inputs: inputs.iter().map(|input| input.description.clone()).collect(),
        outputs: outputs.iter().map(|output| output.description.clone()).collect(),
        ..ProcessDescription::new(id)
    };
    Some(Service {
        description: Arc::new(description),
        active: value("active").is_none_or(|text| text.eq_ignore_ascii_case("true")),
        folder: folder.to_owned(),
        inputs: inputs.into_iter().map(|input| input.rule).collect(),
        outputs: outputs.into_iter().filter_map(Output::into_rule).collect(),
        constants: Vec::new(),
        steps: Vec::new(),
        command: command.line,
        limits: Limits::default(),
        lines: Vec::new(),
        gdal_progress: Vec::new(),
        capacity: Capacity { runs: RUNS_UNBOUNDED, weight: 1.0 },
        labels: Labels::default(),
    })
}

fn fault(findings: &mut Findings, section: &str, entry: &Entry, text: impl AsRef<str>) {
    findings.fault(&entry.span, format!("[{section}]: {} {}", entry.key, text.as_ref()));
}

fn warn_unknown(findings: &mut Findings, section: &Section, known: &[&str]) {
    for entry in section.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let hint = match units::nearest(&entry.key, known.iter().copied()) {
            Some(near) => format!(", did you mean {near}?"),
            None => String::new(),
        };
        findings.warn(&entry.span, format!("[{}]: {} means nothing here{hint}", section.name, entry.key));
    }
}

fn id(findings: &mut Findings, section: &Section) -> Option<(ProcessId, String)> {
    let Some(service) = section.entry("service").filter(|entry| !entry.value.is_empty()) else {
        findings.fault(&section.span, format!("[{DESCRIPTION}]: service is missing"));
        return None;
    };
    let namespace = section.entry("namespace").map_or("default", |entry| entry.value.as_str());
    match ProcessId::new(format!("{namespace}:{}", service.value)) {
        Ok(id) => Some((id, format!("{namespace}.{}", service.value))),
        Err(error) => {
            fault(findings, DESCRIPTION, service, error.to_string());
            None
        }
    }
}

/// Beside the service file, where there is such a file; else looked up in `PATH`.
fn program(findings: &mut Findings, section: &Section, folder: &Path) -> Option<String> {
    let Some(entry) = section.entry("executable").filter(|entry| !entry.value.is_empty()) else {
        findings.fault(&section.span, format!("[{DESCRIPTION}]: executable is missing"));
        return None;
    };
    let beside = folder.join(&entry.value);
    let is_path = beside.is_file() || entry.value.contains('/');
    let program = if is_path { beside.to_string_lossy().into_owned() } else { entry.value.clone() };
    if program::find(&program, folder).is_none() {
        let text = format!(
            "[{DESCRIPTION}]: executable '{program}' does not exist on this machine, or can't be executed"
        );
        findings.warn(&entry.span, text);
    }
    Some(program)
}

/// An entry of `[Input]` or `[Output]`.
struct Descriptor<'i> {
    section: &'static str,
    entry: &'i Entry,
    members: Map<String, Value>,
}

fn descriptors<'i>(findings: &mut Findings, ini: &'i Ini, name: &'static str) -> Vec<Descriptor<'i>> {
    let mut found = Vec::new();
    for entry in ini.section(name).map(|section| &section.entries).into_iter().flatten() {
        if let Err(error) = check_identifier(&entry.key) {
            fault(findings, name, entry, format!("is no name: {error}"));
            continue;
        }
        match serde_json::from_str(&entry.value) {
            Ok(Value::Object(members)) => found.push(Descriptor { section: name, entry, members }),
            Ok(_) => fault(findings, name, entry, "must be a JSON object such as {\"type\": \"string\"}"),
            Err(error) => fault(findings, name, entry, format!("is no JSON: {error}")),
        }
    }
    found
}

impl Descriptor<'_> {
    fn fault(&self, findings: &mut Findings, text: impl AsRef<str>) {
        fault(findings, self.section, self.entry, text);
    }

    fn warn_unknown(&self, findings: &mut Findings, known: &[&str]) {
        for key in self.members.keys().filter(|key| !known.contains(&key.as_str())) {
            let text = format!("[{}]: {}: {key:?} means nothing here", self.section, self.entry.key);
            findings.warn(&self.entry.span, text);
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.members.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    fn data_type(&self, findings: &mut Findings) -> Option<DataType> {
        let declared = self.text("type");
        let kind = declared.as_deref().and_then(|text| data_type(text).0);
        if kind.is_none() {
            let declared = declared.map_or_else(|| "nothing".into(), |text| format!("{text:?}"));
            self.fault(
                findings,
                format!("needs a \"type\": string, int, …, or a media type, not {declared}"),
            );
        }
        kind
    }

    fn count(&self, findings: &mut Findings, key: &str) -> Option<u32> {
        let value = self.members.get(key)?;
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        if count.is_none() {
            self.fault(findings, format!("has {key:?} {value}, which is no whole number from 0"));
        }
        count
    }
}

/// A single value as a client would send it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn input(findings: &mut Findings, of: &Descriptor<'_>) -> Option<Input> {
    of.warn_unknown(findings, &["type", "title", "description", "enum", "default", "min", "max"]);
    let kind = of.data_type(findings)?;
    let id = of.entry.key.clone();
    let default = of.members.get("default").and_then(scalar);
    let mut rule = InputRule {
        id: id.clone(),
        file_name: None,
        default: None,
        date_format: None,
        allow_leading_dash: false,
    };
    let occurs = occurs(findings, of, default.is_some());
    let data = match kind {
        DataType::Literal(data_type) => DataDescription::Literal(literal(findings, of, data_type, default)),
        DataType::Complex(media_type) => {
            rule.default = default.map(InputDefault::Text);
            DataDescription::Complex(ComplexDomain {
                formats: vec![Format::new(media_type)],
                bytes_max: None,
            })
        }
    };
    let title = of.text("title").unwrap_or_else(|| id.clone());
    let description = of.text("description").unwrap_or_default();
    let description = InputDescription { id, title, description, keywords: Vec::new(), occurs, data };
    Some(Input { span: of.entry.span.clone(), description, rule })
}

fn occurs(findings: &mut Findings, of: &Descriptor<'_>, has_default: bool) -> Occurs {
    let min = of.count(findings, "min").unwrap_or_else(|| u32::from(!has_default));
    let max = of.count(findings, "max").unwrap_or(1);
    if max == 0 || max < min {
        of.fault(findings, format!("has \"max\" {max}, which must be at least 1 and at least \"min\" {min}"));
    }
    Occurs { min, max: Some(max) }
}

fn literal(
    findings: &mut Findings,
    of: &Descriptor<'_>,
    data_type: LiteralType,
    default: Option<String>,
) -> LiteralDomain {
    let any = LiteralDomain::any(data_type);
    let mut domain = any.clone();
    match of.members.get("enum") {
        None => {}
        Some(Value::Array(values)) => {
            for value in values {
                match scalar(value) {
                    Some(value) => match broken_rule(&any, &value) {
                        Some(broken) => {
                            of.fault(findings, format!("has {value:?} in \"enum\", which {broken}"))
                        }
                        None => domain.allowed.push(AllowedValue::Value(value)),
                    },
                    None => of.fault(findings, format!("has {value} in \"enum\", which is no single value")),
                }
            }
        }
        Some(other) => of.fault(findings, format!("has an \"enum\" that is no array: {other}")),
    }
    if let Some(broken) = default.as_ref().and_then(|default| broken_rule(&domain, default)) {
        of.fault(
            findings,
            format!("has the \"default\" {:?}, which {broken}", default.as_deref().unwrap_or_default()),
        );
    }
    domain.default = default;
    domain
}

fn output(findings: &mut Findings, of: &Descriptor<'_>) -> Option<Output> {
    of.warn_unknown(findings, &["type", "title", "description"]);
    let id = of.entry.key.clone();
    let (data, source) = match of.data_type(findings)? {
        DataType::Literal(data_type) => {
            let pattern = regex(&format!(r"^\s*{}\s*[=:]\s*(.*?)\s*$", regex::escape(&id))).ok()?;
            let source = OutputSource::Line { stream: Stream::Stdout, pattern };
            (DataDescription::Literal(LiteralDomain::any(data_type)), source)
        }
        DataType::Complex(media_type) => {
            let source = OutputSource::File(format!("{id}{}", extension(&media_type)));
            let domain = ComplexDomain { formats: vec![Format::new(media_type)], bytes_max: None };
            (DataDescription::Complex(domain), source)
        }
    };
    let title = of.text("title").unwrap_or_else(|| id.clone());
    let description = of.text("description").unwrap_or_default();
    let span = of.entry.span.clone();
    let description =
        OutputDescription { id, title, description, keywords: Vec::new(), data, publication: None };
    Some(Output { span, description, source: Some(source), formats: Vec::new(), delivery: None })
}

type Arguments = Vec<(Argument, std::ops::Range<usize>)>;

/// `customargs`, then the inputs in their order.
fn arguments(findings: &mut Findings, ini: &Ini, inputs: &[Input]) -> Option<Arguments> {
    let options = ini.section(OPTIONS);
    if let Some(section) = options {
        warn_unknown(findings, section, &["customargs", "argformat", "debug"]);
    }
    let entry = |key| options.and_then(|section| section.entry(key));
    let mut arguments = Arguments::new();
    if let Some(entry) = entry("customargs") {
        let words = entry.value.split_whitespace();
        arguments.extend(words.map(|word| (Argument::One(Template::text(word)), entry.span.clone())));
    }
    let format = At {
        value: entry("argformat").map_or("--key=value", |entry| entry.value.as_str()),
        span: entry("argformat").map_or(0..0, |entry| entry.span.clone()),
    };
    let words: Vec<&str> = format.value.split_whitespace().collect();
    if !format.value.contains("value") || words.len() > 2 {
        let text =
            format!("[{OPTIONS}]: argformat must be --key=value or --key value, not {:?}", format.value);
        findings.fault(&format.span, text);
        return None;
    }
    for input in inputs {
        let templates: Vec<Template> = words.iter().map(|word| argument(word, input)).collect();
        let argument = match templates.as_slice() {
            [one] => Argument::One(one.clone()),
            _ => Argument::Group(templates),
        };
        arguments.push((argument, format.span.clone()));
    }
    Some(arguments)
}

fn argument(word: &str, input: &Input) -> Template {
    let (mut template, mut rest) = (Template::default(), word);
    while !rest.is_empty() {
        let next = [rest.find("key"), rest.find("value")].into_iter().flatten().min().unwrap_or(rest.len());
        template.push_text(&rest[..next]);
        rest = &rest[next..];
        if let Some(after) = rest.strip_prefix("key") {
            template.push_text(&input.description.id);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("value") {
            let field = match input.description.data {
                DataDescription::Complex(_) => Field::Text,
                DataDescription::Literal(_) | DataDescription::BoundingBox(_) => Field::Value,
            };
            template.push(Owner::Input(input.description.id.clone()), field);
            rest = after;
        }
    }
    template
}
