//! Any service as a native service file of the same meaning.
//!
//! Paths come out absolute where they belong to the service's author, so that the file may lie anywhere. Comments, and which
//! dialect it was, are lost.

use crate::service::{
    Batch, CommandLine, Complete, Delivery, FRAMINGS, InputDefault, InputRule, Limits, LineMeaning, LineRule,
    OutputRule, OutputSource, RUNS_UNBOUNDED, Service, StdinRule, Stream,
};
use crate::step::{JsonPath, JsonPathPart, Place, Step, StepValue};
use crate::template::{Argument, Field, Owner, Part, Placeholder, Template};
use anabranch_model::{
    AllowedValue, Chunking, Cut, DataDescription, Format, InputDescription, LiteralDomain, OnAgentRestart,
    OutputDescription, Publication,
};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// The text of a native service file. What it is read as is equal to `service`, but for its folder.
#[must_use]
pub fn to_native(service: &Service) -> String {
    let mut file = File(String::new());
    describe(&mut file, service);
    for (input, rule) in service.description.inputs.iter().zip(&service.inputs) {
        write_input(&mut file, input, rule);
    }
    for group in &service.description.groups {
        file.header("groups", &group.id);
        file.text("title", &group.title);
        file.text_unless("abstract", &group.description, "");
        file.list("needs", &group.needs);
    }
    for (output, rule) in service.description.outputs.iter().zip(&service.outputs) {
        write_output(&mut file, output, rule);
    }
    if !service.constants.is_empty() {
        file.line("\n[constants]");
        for (name, value) in &service.constants {
            file.line(&format!("{} = {}", quoted(name), quoted(value)));
        }
    }
    for step in &service.steps {
        write_step(&mut file, step);
    }
    write_command(&mut file, &service.command, &service.folder);
    write_limits(&mut file, &service.limits);
    if let Some(slurm) = &service.command.slurm {
        file.line("\n[slurm]");
        slurm.partition.iter().for_each(|partition| file.text("partition", partition));
        slurm.cpus.iter().for_each(|cpus| file.value("cpus", cpus));
        slurm.memory_bytes.iter().for_each(|bytes| file.value("memory", bytes));
        file.list("options", &slurm.options);
    }
    write_lines(&mut file, service);
    file.line("\n[capacity]");
    match service.capacity.runs {
        RUNS_UNBOUNDED => file.text("runs", "unbounded"),
        runs => file.value("runs", runs),
    }
    file.value("weight", format_args!("{:?}", service.capacity.weight));
    file.list("required_labels", &service.labels.required);
    file.list("preferred_labels", &service.labels.preferred);
    file.0
}

/// A file that is being written.
struct File(String);

impl File {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn header(&mut self, table: &str, name: &str) {
        self.line(&format!("\n[{table}.{}]", quoted(name)));
    }

    fn value(&mut self, key: &str, value: impl std::fmt::Display) {
        let _never_fails = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.value(key, quoted(text));
    }

    fn text_unless(&mut self, key: &str, text: &str, default: &str) {
        if text != default {
            self.text(key, text);
        }
    }

    fn some(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    /// Nothing where the value is the default one.
    fn boolean(&mut self, key: &str, value: bool, default: bool) {
        if value != default {
            self.value(key, value);
        }
    }

    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.value(key, array(items.iter().map(|item| quoted(item))));
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn array(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => duration.as_secs().to_string(),
        _ => quoted(&format!("{} ms", duration.as_millis())),
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn describe(file: &mut File, service: &Service) {
    let description = &service.description;
    let id = description.id.as_str();
    let (namespace, identifier) = id.split_once(':').unwrap_or(("", id));
    file.text("namespace", namespace);
    file.text("identifier", identifier);
    file.text_unless("title", &description.title, id);
    file.text_unless("abstract", &description.description, "");
    file.list("keywords", &description.keywords);
    file.text_unless("version", &description.version, "1.0.0");
    file.boolean("idempotent", description.idempotent, false);
    file.some(
        "on_agent_restart",
        description.on_agent_restart.map(|wanted| match wanted {
            OnAgentRestart::Fail => "fail",
            OnAgentRestart::Requeue => "requeue",
        }),
    );
    file.boolean("sync_execute", description.sync_execute, true);
    file.boolean("async_execute", description.async_execute, true);
    file.boolean("active", service.active, true);
    for link in &description.metadata {
        file.line("\n[[metadata]]");
        file.text("title", &link.title);
        file.text("href", &link.href);
        file.text_unless("role", &link.role, "");
    }
    if let Some(Chunking { inputs, output, cut, overlap, is_fed: _ }) = &description.chunking {
        file.line("\n[chunking]");
        file.list("inputs", inputs);
        file.text("output", output);
        let cut = match cut {
            Cut::Features => "features",
            Cut::Tiles => "tiles",
        };
        file.text("cut", cut);
        if *overlap > 0 {
            file.value("overlap", overlap);
        }
        let framing = |rule: &StdinRule| FRAMINGS.iter().find(|(framing, _)| *framing == rule.framing);
        file.some("stdin", service.command.stdin.as_ref().and_then(framing).map(|(_, name)| *name));
    }
}

fn write_input(file: &mut File, input: &InputDescription, rule: &InputRule) {
    file.header("inputs", &input.id);
    file.text_unless("title", &input.title, &input.id);
    file.text_unless("abstract", &input.description, "");
    file.list("keywords", &input.keywords);
    match &input.data {
        DataDescription::Literal(domain) => write_literal(file, domain),
        DataDescription::BoundingBox(domain) => {
            file.text("type", "bounding_box");
            file.list("crs", &domain.crs);
        }
        DataDescription::Complex(domain) => {
            file.text("type", "complex");
            file.value("formats", array(domain.formats.iter().map(|of| format(of, None))));
            if let Some(bytes) = domain.bytes_max {
                file.value("size_max", bytes);
            }
        }
    }
    file.value("min_occurs", input.occurs.min);
    match input.occurs.max {
        Some(max) => file.value("max_occurs", max),
        None => file.text("max_occurs", "unbounded"),
    }
    file.some("file_name", rule.file_name.as_deref());
    match &rule.default {
        Some(InputDefault::File(default)) => file.text("default_file", &path(default)),
        Some(InputDefault::Text(text)) => file.text("default", text),
        None => {}
    }
    file.some("date_format", rule.date_format.as_deref());
    file.boolean("allow_leading_dash", rule.allow_leading_dash, false);
}

fn write_literal(file: &mut File, domain: &LiteralDomain) {
    file.text("type", domain.data_type.name());
    file.some("default", domain.default.as_deref());
    if !domain.allowed.is_empty() {
        file.value("allowed", array(domain.allowed.iter().map(allowed)));
    }
    file.list("uoms", &domain.uoms);
}

/// Ranges of service files are closed.
fn allowed(value: &AllowedValue) -> String {
    match value {
        AllowedValue::Value(value) => quoted(value),
        AllowedValue::Range { minimum, maximum, .. } => {
            let end =
                |key: &str, end: &Option<String>| end.as_ref().map(|end| format!("{key} = {}", quoted(end)));
            let ends: Vec<_> = end("minimum", minimum).into_iter().chain(end("maximum", maximum)).collect();
            format!("{{ {} }}", ends.join(", "))
        }
    }
}

fn format(format: &Format, name: Option<&str>) -> String {
    let mut members = vec![format!("media_type = {}", quoted(&format.media_type))];
    let mut member = |key: &str, value: Option<&str>| {
        members.extend(value.map(|value| format!("{key} = {}", quoted(value))));
    };
    member("encoding", format.encoding.as_deref());
    member("schema", format.schema.as_deref());
    member("name", name);
    format!("{{ {} }}", members.join(", "))
}

fn write_output(file: &mut File, output: &OutputDescription, rule: &OutputRule) {
    file.header("outputs", &output.id);
    file.text_unless("title", &output.title, &output.id);
    file.text_unless("abstract", &output.description, "");
    file.list("keywords", &output.keywords);
    match &output.data {
        DataDescription::Literal(domain) => {
            file.text("type", domain.data_type.name());
            file.some("uom", domain.uoms.first().map(String::as_str));
        }
        DataDescription::BoundingBox(domain) => {
            file.text("type", "bounding_box");
            file.list("crs", &domain.crs);
        }
        DataDescription::Complex(domain) => {
            file.text("type", "complex");
            let name = |of: &Format| {
                rule.format_names.iter().find(|(named, _)| named == of).map(|(_, name)| name.as_str())
            };
            file.value("formats", array(domain.formats.iter().map(|of| format(of, name(of)))));
        }
    }
    write_source(file, &rule.source);
    if let Some(publication) = &output.publication {
        write_publication(file, &output.id, publication);
    }
    if let Some(delivery) = &rule.delivery {
        write_delivery(file, &output.id, delivery);
    }
}

fn write_source(file: &mut File, source: &OutputSource) {
    match source {
        OutputSource::File(path) => file.text("file", path),
        OutputSource::Layers(outputs) => file.value("layers", array(outputs.iter().map(|id| quoted(id)))),
        OutputSource::Stdout => file.value("stdout", true),
        OutputSource::Records(batch) => {
            file.value("stdout", true);
            let Batch { records_max, wait_max } = batch;
            file.value("records", format!("{{ max = {records_max}, wait = {} }}", duration(*wait_max)));
        }
        OutputSource::Glob { pattern, announced, complete } => {
            if *complete != Complete::AtEnd {
                file.text("complete", complete.name());
            }
            file.text("glob", pattern);
            if let Some((stream, announced)) = announced {
                file.text("announced", announced.as_str());
                file.text("stream", stream_name(*stream));
            }
        }
        OutputSource::Line { stream, pattern } => {
            file.text("pattern", pattern.as_str());
            file.text("stream", stream_name(*stream));
        }
    }
}

fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

fn write_publication(file: &mut File, id: &str, publication: &Publication) {
    file.line(&format!("\n[outputs.{}.publish]", quoted(id)));
    file.boolean("as_layer", publication.as_layer, false);
    file.some("layer_name", publication.layer_name.as_deref());
    file.some("default_style", publication.default_style.as_deref());
    file.some("workspace", publication.workspace.as_deref());
}

fn write_delivery(file: &mut File, id: &str, delivery: &Delivery) {
    file.line(&format!("\n[outputs.{}.deliver]", quoted(id)));
    file.boolean("shared_folder", delivery.shared_folder, false);
    file.boolean("upload", delivery.upload, false);
    file.some("upload_folder", delivery.upload_folder.as_deref());
    file.some("metadata_file", delivery.metadata_file.as_deref());
}

fn write_step(file: &mut File, step: &Step) {
    file.line("\n[[prepare]]");
    let to = match step {
        Step::Copy { from, to } => {
            file.text("action", "copy");
            write_place(file, Some(from));
            to
        }
        Step::WriteJson { value, schema, name_from, to } => {
            file.text("action", "write_json");
            file.value("value", template(value));
            file.some("schema", schema.as_ref().map(|schema| path(&schema.path)).as_deref());
            if let Some(name_from) = name_from {
                file.value("name_from", json_path(name_from));
            }
            to
        }
        Step::SetJson { value, path, from, to } => {
            file.text("action", "set_json");
            match value {
                StepValue::Template(value) => file.value("value", template(value)),
                StepValue::Number(number) => file.value("value", number),
            }
            file.value("path", json_path(path));
            write_place(file, from.as_ref());
            to
        }
        Step::SetIni { value, list, section, option, from, to } => {
            file.text("action", "set_ini");
            file.value("value", template(value));
            file.boolean("list", *list, false);
            file.text("section", section);
            file.text("option", option);
            write_place(file, from.as_ref());
            to
        }
    };
    file.text("to", to);
}

fn write_place(file: &mut File, place: Option<&Place>) {
    match place {
        Some(Place::Host(from)) => file.text("from", &path(from)),
        Some(Place::Run(from)) => file.text("from", &format!("{{run.folder}}/{from}")),
        None => {}
    }
}

fn json_path(path: &JsonPath) -> String {
    array(path.0.iter().map(|part| match part {
        JsonPathPart::Key(key) => quoted(key),
        JsonPathPart::Index(index) => index.to_string(),
    }))
}

fn write_command(file: &mut File, command: &CommandLine, folder: &Path) {
    file.line("\n[command]");
    let is_relative = command.program.contains('/') && !command.program.starts_with('/');
    let program = if is_relative { path(&folder.join(&command.program)) } else { command.program.clone() };
    file.text("program", &program);
    let arguments = command.arguments.iter().map(|argument| match argument {
        Argument::One(one) => template(one),
        Argument::Group(group) => array(group.iter().map(template)),
    });
    file.value("arguments", array(arguments));
    file.some("working_folder", command.working_folder.as_deref().map(path).as_deref());
    file.some("folder_link", command.folder_link.as_deref());
    if !command.environment.is_empty() {
        let variables = command.environment.iter();
        let variables = variables.map(|(name, value)| format!("{} = {}", quoted(name), template(value)));
        file.value("environment", format_args!("{{ {} }}", variables.collect::<Vec<_>>().join(", ")));
    }
    file.list("pass_environment", &command.pass_environment);
    if command.success != [0] {
        file.value("success", array(command.success.iter().map(i32::to_string)));
    }
    if let Some(limit) = command.time_limit {
        file.value("time_limit", duration(limit));
    }
    file.value("grace", duration(command.grace));
    file.value("log_size_max", command.log_bytes_max);
}

fn write_limits(file: &mut File, limits: &Limits) {
    if *limits == Limits::default() {
        return;
    }
    file.line("\n[limits]");
    let mut number = |key: &str, value: Option<u64>| {
        if let Some(value) = value {
            file.value(key, value);
        }
    };
    number("memory", limits.memory_bytes);
    number("file_size", limits.file_bytes);
    number("open_files", limits.open_files);
    number("cpu_time", limits.cpu_seconds);
    number("processes", limits.processes);
    number("run_memory", limits.run.memory_bytes);
    number("run_processes", limits.run.processes);
    if let Some(millis) = limits.run.cpu_millis {
        file.line(&format!("run_cpus = {}.{:03}", millis / 1000, millis % 1000));
    }
    file.boolean("new_privileges", limits.new_privileges, false);
    if let Some(isolation) = &limits.isolation {
        file.text("isolation", "bubblewrap");
        file.boolean("network", isolation.network, false);
        let visible: Vec<_> = isolation.visible.iter().map(|path| path.display().to_string()).collect();
        file.list("visible", &visible);
    }
}

/// Rules of progress are read before all others: one that comes later stands among them.
fn write_lines(file: &mut File, service: &Service) {
    for stream in &service.gdal_progress {
        file.line("\n[[progress]]");
        file.value("gdal", true);
        file.text("stream", stream_name(*stream));
    }
    // The first rule of a job on a cluster comes with it.
    let lines = service.lines.iter().filter_map(|rule| Some((rule, action(rule.meaning)?)));
    let mut is_first = true;
    for (rule, action) in lines {
        is_first &= rule.meaning == LineMeaning::Progress;
        file.line(if is_first { "\n[[progress]]" } else { "\n[[log]]" });
        write_line(file, rule, (!is_first).then_some(action));
    }
}

/// As it is written; `None` for those that only drivers of Slurm jobs have, which stand in no file.
fn action(meaning: LineMeaning) -> Option<&'static str> {
    Some(match meaning {
        LineMeaning::Progress => "progress",
        LineMeaning::Keep => "keep",
        LineMeaning::Message => "message",
        LineMeaning::Ignore => "ignore",
        LineMeaning::Failure => "failure",
        LineMeaning::Abort => "abort",
        LineMeaning::Waiting | LineMeaning::Begun => return None,
    })
}

fn write_line(file: &mut File, rule: &LineRule, action: Option<&str>) {
    file.text("pattern", rule.pattern.as_str());
    if let Some(action) = action {
        file.text("action", action);
    }
    file.some("stream", rule.stream.map(stream_name));
}

/// The text between quotes that is read as this template.
fn template(template: &Template) -> String {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Text(plain) => text.push_str(&plain.replace('{', "{{").replace('}', "}}")),
            Part::Placeholder(placeholder) => {
                let _never_fails = write!(text, "{{{}}}", name(placeholder));
            }
        }
    }
    quoted(&text)
}

fn name(Placeholder { owner, field }: &Placeholder) -> String {
    let owner = match owner {
        Owner::Input(name) | Owner::Output(name) | Owner::Constant(name) => name,
        Owner::Run => "run",
    };
    let field = match field {
        Field::Value => return owner.to_owned(),
        Field::Uom => "uom",
        Field::Corner { upper, axis } => {
            let end = if *upper { "max" } else { "min" };
            let axis = ["x", "y", "z"].get(*axis).copied().unwrap_or_default();
            return format!("{owner}.{end}{axis}");
        }
        Field::Crs => "crs",
        Field::MediaType => "media_type",
        Field::Name => "name",
        Field::Format => "format",
        Field::Text => "text",
        Field::RunId => "id",
        Field::RunFolder => "folder",
    };
    format!("{owner}.{field}")
}
