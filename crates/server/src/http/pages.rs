//! The HTML pages, as data for their templates. Templates escape everything.

pub(crate) mod console;
pub(crate) mod definition;
pub(crate) mod process;

use super::caller::Caller;
use crate::app::App;
use anabranch_engine::{JobView, LogEntry, OutputLog};
use anabranch_formats::playlist::Chunk;
use anabranch_model::{AllowedValue, Data, DataDescription, JobId, Timestamp, Value};
use anabranch_ogc::ogcapi::job::status_info;
use anabranch_ogc::ogcapi::processes::{MetadataLink, ProcessSummary};
use anabranch_ogc::ogcapi::{BaseUrl, Link, Problem};
use askama::Template;

/// Bytes of a value that are shown on a page of results: a screenful; the link leads to all of it.
const PREVIEW_BYTES_MAX: u64 = 2_048;
/// Chunks of an output that are shown: enough to know it by.
const PREVIEW_CHUNKS_MAX: usize = 20;

/// What every page shows.
pub(crate) struct Page {
    pub(crate) service: String,
    pub(crate) base: String,
    /// The same resource as JSON.
    pub(crate) json: String,
    pub(crate) version: &'static str,
    /// Who reads it, where they have logged in.
    pub(crate) user: Option<String>,
    /// Who reads it could log in.
    pub(crate) could_log_in: bool,
    /// Those of the same resource as JSON.
    pub(crate) links: Vec<Link>,
}

impl Page {
    pub(crate) fn new(app: &App, caller: &Caller, path: &str, query: Option<&str>) -> Self {
        let base = app.base.at("");
        let kept =
            query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("f="));
        let query: String = kept.map(|pair| format!("{pair}&")).collect();
        Self {
            service: app.service.title.clone(),
            json: format!("{base}{path}?{query}f=json"),
            base,
            user: caller.user.as_ref().map(ToString::to_string),
            could_log_in: caller.could_log_in(),
            version: env!("CARGO_PKG_VERSION"),
            links: Vec::new(),
        }
    }

    /// With the links of the JSON document.
    pub(crate) fn linked(mut self, links: &[Link]) -> Self {
        self.links = links.to_vec();
        self
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
    pub(crate) processes: Vec<ProcessRow>,
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

/// A process in the list.
pub(crate) struct ProcessRow {
    id: String,
    href: String,
    execute: String,
    metadata: Vec<Link>,
    title: String,
    description: String,
    version: String,
}

impl ProcessRow {
    pub(crate) fn new(process: &ProcessSummary<'_>) -> Self {
        let href = |rel: &str| {
            let link = process.links.iter().find(|link| link.rel.ends_with(rel));
            link.map(|link| link.href.clone()).unwrap_or_default()
        };
        Self {
            id: process.id.to_owned(),
            href: href("self"),
            execute: href("execute"),
            metadata: process.metadata.iter().filter_map(metadata_link).collect(),
            title: process.title.to_owned(),
            description: process.description.to_owned(),
            version: process.version.to_owned(),
        }
    }
}

/// What an input or output holds, in words.
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

/// A link to more about a process; only to what a browser opens and never runs.
fn metadata_link(metadata: &MetadataLink<'_>) -> Option<Link> {
    let opens = ["http://", "https://"].iter().any(|scheme| metadata.href.starts_with(scheme));
    opens.then(|| Link::new("related", "text/html", metadata.href).titled(metadata.title))
}

/// A job in a list or on its own page.
pub(crate) struct JobRow {
    id: String,
    process: String,
    process_href: String,
    /// The results, once there are any.
    results: Option<String>,
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
            process_href: app.base.process(&job.process),
            results: (status == "successful").then(|| app.base.results(&job.id)),
            percent: info.progress.unwrap_or(0),
            message: message.or_else(|| gone_text(view)).unwrap_or_default(),
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

/// Which outputs were removed before their job; `None` where none was.
pub(crate) fn gone_text(view: &JobView) -> Option<String> {
    let gone = view.outputs.iter().filter(|output| output.is_gone(Timestamp::now()));
    let gone: Vec<_> = gone.map(|output| format!("'{}'", output.id)).collect();
    (!gone.is_empty())
        .then(|| format!("outputs that are kept less long than their job were removed: {}", gone.join(", ")))
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
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
pub(crate) struct JobPage {
    pub(crate) page: Page,
    pub(crate) job: JobRow,
    pub(crate) outputs: Vec<OutputRow>,
    /// What a map can show of it.
    pub(crate) views: Vec<StreamView>,
    pub(crate) log: Vec<String>,
    /// Number of the first line that is not on the page.
    pub(crate) next_line: u64,
}

#[derive(Template)]
#[template(path = "results.html")]
pub(crate) struct ResultsPage {
    pub(crate) page: Page,
    pub(crate) job: String,
    pub(crate) process: String,
    pub(crate) process_href: String,
    pub(crate) outputs: Vec<OutputRow>,
}

/// What a page needs to show a stream on a map.
pub(crate) struct StreamView {
    pub(crate) output: String,
    /// Its playlist, as a page.
    pub(crate) href: String,
    /// Its chunks as they come.
    pub(crate) events: String,
    /// Where chunks of other servers can be looked at: their address, percent-encoded, and the form follow. `None` for our own, which are
    /// looked at where they are.
    pub(crate) chunk: Option<String>,
}

impl StreamView {
    pub(crate) fn new(base: &BaseUrl, job: &JobId, output: &str) -> Self {
        let playlist = format!("{}/playlist", base.output(job, output));
        Self {
            output: output.to_owned(),
            href: format!("{playlist}?f=html"),
            events: format!("{playlist}?f=sse"),
            chunk: None,
        }
    }
}

#[derive(Template)]
#[template(path = "stream.html")]
pub(crate) struct StreamPage {
    pub(crate) page: Page,
    pub(crate) job: String,
    pub(crate) output: String,
    pub(crate) status: String,
    pub(crate) is_open: bool,
    pub(crate) error: Option<String>,
    pub(crate) media_type: String,
    pub(crate) total: u64,
    /// The first ones.
    pub(crate) chunks: Vec<ChunkRow>,
    pub(crate) view: StreamView,
}

/// A playlist of anyone.
#[derive(Template)]
#[template(path = "watch.html")]
pub(crate) struct WatchPage {
    pub(crate) page: Page,
    /// What was asked for; empty where nothing was.
    pub(crate) url: String,
    pub(crate) view: Option<StreamView>,
}

/// A chunk in a list.
pub(crate) struct ChunkRow {
    seq: u64,
    href: String,
    media_type: String,
    count: String,
    bytes: String,
    stored: String,
}

impl From<Chunk> for ChunkRow {
    fn from(chunk: Chunk) -> Self {
        Self {
            seq: chunk.seq,
            href: chunk.href,
            media_type: chunk.media_type.unwrap_or_default(),
            count: chunk.count.map(|count| count.to_string()).unwrap_or_default(),
            bytes: chunk.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            stored: chunk.stored.map(|stored| format!("{stored:.0}")).unwrap_or_default(),
        }
    }
}

/// A result on a job's page.
pub(crate) struct OutputRow {
    id: String,
    href: String,
    format: String,
    bytes: String,
    preview: String,
}

impl OutputRow {
    /// What an output's chunks are together.
    pub(crate) fn new(log: &OutputLog, href: String) -> Self {
        let (id, chunks) = (&log.id, &log.chunks);
        let (mut format, mut bytes) = (String::new(), 0);
        let preview =
            chunks.iter().filter_map(preview).take(PREVIEW_CHUNKS_MAX).collect::<Vec<_>>().join("\n");
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
        let bytes = if bytes == 0 { String::new() } else { bytes.to_string() };
        if let Some(playlist) = log.request.format.media_type.as_ref().filter(|_| log.request.is_stream()) {
            format.clone_from(playlist);
        }
        Self { id: id.clone(), href, format, bytes, preview }
    }
}

/// A value that is short and text, as text.
fn preview(value: &Value) -> Option<String> {
    match value {
        Value::Literal(literal) if literal.text.len() as u64 <= PREVIEW_BYTES_MAX => {
            let uom = literal.uom.as_ref().map(|uom| format!(" {uom}")).unwrap_or_default();
            Some(format!("{}{uom}", literal.text))
        }
        Value::BoundingBox(bounding_box) => {
            let numbers = |corner: &[f64]| corner.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
            let crs = bounding_box.crs.as_ref().map(|crs| format!(" in {crs}")).unwrap_or_default();
            Some(format!("{} to {}{crs}", numbers(&bounding_box.lower), numbers(&bounding_box.upper)))
        }
        Value::Complex(complex) if !complex.format.is_binary() => match &complex.data {
            Data::Bytes(bytes) if bytes.len() as u64 <= PREVIEW_BYTES_MAX => {
                String::from_utf8(bytes.to_vec()).ok()
            }
            Data::Bytes(_) | Data::File(_) => None,
        },
        Value::Literal(_) | Value::Complex(_) => None,
    }
}

/// A log line as text.
pub(crate) fn log_text(line: &LogEntry) -> String {
    line.text.clone()
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

    /// A list of links, and a sentence about them.
    pub(crate) fn links(page: Page, heading: &str, about: &str, links: Vec<(String, String)>) -> Self {
        Self { page, heading: heading.into(), paragraphs: vec![about.into()], links, preformatted: None }
    }

    /// A text as it is.
    pub(crate) fn text(page: Page, heading: &str, links: Vec<(String, String)>, text: String) -> Self {
        Self { page, heading: heading.into(), paragraphs: Vec::new(), links, preformatted: Some(text) }
    }
}
