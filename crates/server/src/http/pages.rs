//! The HTML pages, as data for their templates. Templates escape everything.

use crate::app::App;
use anabranch_engine::{JobView, LogEntry};
use anabranch_model::{
    AllowedValue, DataDescription, InputDescription, Occurs, OutputDescription, ProcessDescription,
    Timestamp, Value,
};
use anabranch_ogc::ogcapi::Problem;
use anabranch_ogc::ogcapi::job::status_info;
use anabranch_remote::AgentInfo;
use askama::Template;
use std::sync::Arc;

/// What every page shows.
pub(crate) struct Page {
    pub(crate) service: String,
    pub(crate) base: String,
    /// The same resource as JSON.
    pub(crate) json: String,
    pub(crate) version: &'static str,
}

impl Page {
    pub(crate) fn new(app: &App, path: &str) -> Self {
        let base = app.base.at("");
        Self {
            service: app.service.title.clone(),
            json: format!("{base}{path}?f=json"),
            base,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[derive(Template)]
#[template(path = "landing.html")]
pub(crate) struct LandingPage {
    pub(crate) page: Page,
    pub(crate) about: String,
    pub(crate) processes: usize,
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) agents: usize,
}

#[derive(Template)]
#[template(path = "processes.html")]
pub(crate) struct ProcessesPage {
    pub(crate) page: Page,
    pub(crate) processes: Vec<Arc<ProcessDescription>>,
}

#[derive(Template)]
#[template(path = "process.html")]
pub(crate) struct ProcessPage {
    pub(crate) page: Page,
    pub(crate) process: Arc<ProcessDescription>,
    pub(crate) inputs: Vec<Row>,
    pub(crate) outputs: Vec<Row>,
    pub(crate) example: String,
}

/// An input or output in a table.
pub(crate) struct Row {
    id: String,
    title: String,
    about: String,
    kind: String,
    occurs: String,
}

impl ProcessPage {
    pub(crate) fn new(page: Page, process: Arc<ProcessDescription>) -> Self {
        let required = process.inputs.iter().filter(|input| input.occurs.min > 0);
        let example = required.map(|input| format!(" -i {}=…", input.id)).collect();
        Self {
            page,
            inputs: process.inputs.iter().map(input_row).collect(),
            outputs: process.outputs.iter().map(output_row).collect(),
            example,
            process,
        }
    }
}

fn input_row(input: &InputDescription) -> Row {
    Row {
        id: input.id.clone(),
        title: input.title.clone(),
        about: input.description.clone(),
        kind: kind(&input.data),
        occurs: match input.occurs {
            Occurs { min: 1, max: Some(1) } => "once".into(),
            Occurs { min: 0, max: Some(1) } => "optional".into(),
            Occurs { min, max: Some(max) } => format!("{min} to {max}"),
            Occurs { min, max: None } => format!("{min} or more"),
        },
    }
}

fn output_row(output: &OutputDescription) -> Row {
    Row {
        id: output.id.clone(),
        title: output.title.clone(),
        about: output.description.clone(),
        kind: kind(&output.data),
        occurs: String::new(),
    }
}

fn kind(data: &DataDescription) -> String {
    match data {
        DataDescription::Literal(domain) => {
            let mut text = domain.data_type.name().to_owned();
            if let Some(uom) = domain.uoms.first() {
                text.push_str(&format!(" in {uom}"));
            }
            for allowed in &domain.allowed {
                match allowed {
                    AllowedValue::Value(value) => text.push_str(&format!(", {value}")),
                    AllowedValue::Range { minimum, maximum, .. } => {
                        let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "∞".into());
                        text.push_str(&format!(", {} to {}", end(minimum), end(maximum)));
                    }
                }
            }
            if let Some(default) = &domain.default {
                text.push_str(&format!("; default {default}"));
            }
            text
        }
        DataDescription::BoundingBox(domain) => format!("bounding box in {}", domain.crs.join(", ")),
        DataDescription::Complex(domain) => {
            domain.formats.iter().map(|format| format.media_type.as_str()).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A job in a list or on its own page.
pub(crate) struct JobRow {
    id: String,
    process: String,
    status: String,
    percent: u8,
    message: String,
    error: Option<String>,
    created: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    agent: String,
    attempt: u32,
    requeued: Option<String>,
    expires: Option<String>,
}

impl JobRow {
    pub(crate) fn new(app: &App, view: &JobView) -> Self {
        let job = &view.job;
        let info = status_info(job, &app.base);
        let status = serde_json::to_value(info.status).ok();
        let status = status.as_ref().and_then(|status| status.as_str()).unwrap_or_default().to_owned();
        let (message, error) = if status == "failed" { (None, info.message) } else { (info.message, None) };
        Self {
            id: job.id.to_string(),
            process: job.process.to_string(),
            percent: info.progress.unwrap_or(0),
            message: message.unwrap_or_default(),
            error,
            created: shown(job.created),
            started_at: job.started.map(shown),
            finished_at: job.finished.map(shown),
            agent: job.agent.clone().unwrap_or_default(),
            attempt: job.attempt,
            requeued: job.requeued.clone(),
            expires: view.expires.map(shown),
            status,
        }
    }
}

/// A time for people: to the second, in UTC.
fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[derive(Template)]
#[template(path = "jobs.html")]
pub(crate) struct JobsPage {
    pub(crate) page: Page,
    pub(crate) jobs: Vec<JobRow>,
    pub(crate) next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
pub(crate) struct JobPage {
    pub(crate) page: Page,
    pub(crate) job: JobRow,
    pub(crate) outputs: Vec<OutputRow>,
    pub(crate) log: Vec<String>,
    /// Number of the first line that is not on the page.
    pub(crate) next_line: u64,
}

/// A result on a job's page.
pub(crate) struct OutputRow {
    id: String,
    format: String,
    bytes: String,
}

impl OutputRow {
    /// What an output's chunks are together.
    pub(crate) fn new(id: &str, chunks: &[Value]) -> Self {
        let (mut format, mut bytes) = (String::new(), 0);
        for chunk in chunks {
            let length = match chunk {
                Value::Literal(literal) => {
                    literal.data_type.name().clone_into(&mut format);
                    literal.text.len() as u64
                }
                Value::BoundingBox(_) => {
                    "bounding box".clone_into(&mut format);
                    0
                }
                Value::Complex(complex) => {
                    format.clone_from(&complex.format.media_type);
                    complex.data.len()
                }
            };
            bytes += length;
        }
        Self { id: id.to_owned(), format, bytes: if bytes == 0 { String::new() } else { bytes.to_string() } }
    }
}

/// A log line as text.
pub(crate) fn log_text(line: &LogEntry) -> String {
    line.text.clone()
}

#[derive(Template)]
#[template(path = "agents.html")]
pub(crate) struct AgentsPage {
    pub(crate) page: Page,
    pub(crate) agents: Vec<AgentRow>,
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) finished: u64,
}

/// An agent in the table.
pub(crate) struct AgentRow {
    name: String,
    connected: bool,
    services: Vec<String>,
    running: u32,
    capacity: u32,
    cpu: String,
    memory: String,
    load_average: String,
    last_seen: String,
}

impl From<&AgentInfo> for AgentRow {
    fn from(agent: &AgentInfo) -> Self {
        let of_load =
            |read: fn(&anabranch_remote::Load) -> String| agent.load.as_ref().map(read).unwrap_or_default();
        Self {
            name: agent.name.clone(),
            connected: agent.connected,
            services: agent.services.iter().map(ToString::to_string).collect(),
            running: agent.running,
            capacity: agent.capacity,
            cpu: of_load(|load| format!("{:.0} %", load.cpu_percent)),
            memory: of_load(|load| format!("{:.0} %", load.memory_percent)),
            load_average: of_load(|load| format!("{:.2}", load.load_average)),
            last_seen: shown(agent.last_seen),
        }
    }
}

#[derive(Template)]
#[template(path = "plain.html")]
pub(crate) struct PlainPage {
    page: Page,
    heading: String,
    paragraphs: Vec<String>,
    links: Vec<(String, String)>,
    preformatted: Option<String>,
}

impl PlainPage {
    /// An error.
    pub(crate) fn problem(page: Page, problem: &Problem) -> Self {
        let faults: Vec<String> = problem.faults.iter().map(|fault| fault.detail.clone()).collect();
        let paragraphs = if faults.is_empty() { vec![problem.detail.clone()] } else { faults };
        let heading = format!("{}: {}", problem.status, problem.title);
        Self { page, heading, paragraphs, links: Vec::new(), preformatted: None }
    }

    /// A list of links.
    pub(crate) fn links(page: Page, heading: &str, about: &str, links: Vec<(String, String)>) -> Self {
        Self { page, heading: heading.into(), paragraphs: vec![about.into()], links, preformatted: None }
    }

    /// A text as it is.
    pub(crate) fn text(page: Page, heading: &str, links: Vec<(String, String)>, text: String) -> Self {
        Self { page, heading: heading.into(), paragraphs: Vec::new(), links, preformatted: Some(text) }
    }
}
