//! Results: as asked for in the execute request, and one by one.

use super::answer::{self, Asked};
use super::body;
use super::conditional::Validators;
use super::file_body;
use super::negotiate::{Form, accepts_any};
use super::pages::{OutputRow, ResultsPage};
use super::range::{Part, Range};
use super::streams::{self, Addresses};
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_engine::{Engine, OutputLog, Results, StoredRequest};
use anabranch_model::{
    ComplexDomain, ComplexValue, Data, DataDescription, Error, Format, JobId, JobState, LiteralDomain,
    LiteralType, Outcome, OutputDescription, OutputRequest, ProcessId, ResponseForm, Timestamp, Transmission,
    Value, Viewer,
};
use anabranch_ogc::ogcapi::{BaseUrl, Link, Problem, query, results as document};
use anabranch_ogc::{Output, OutputValue};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::sync::Arc;

/// Answers up to this size are written in memory; larger ones as the client reads them.
const IN_MEMORY_BYTES_MAX: u64 = 256 * 1024;

/// `GET /jobs/{job}/results`
pub(crate) async fn results(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/results");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    results_in(&asked, &job).await.unwrap_or_else(|error| asked.error(&error))
}

async fn results_in(asked: &Asked<'_>, job: &str) -> Result<Response, Error> {
    let job = parse_job(job)?;
    if Form::wanted(asked.query, asked.headers)? == Form::Html {
        return page(asked, job).await;
    }
    let only = query::names(asked.query.unwrap_or_default(), "outputs");
    let parts = only.as_ref().map_or_else(String::new, |only| format!("?{}", only.join(",")));
    let only = only.as_deref();
    validated(asked, job, only, &parts, of_job(asked.app, asked.viewer(), job, only)).await
}

/// 304 where the client has these results; else they, with their validators.
async fn validated(
    asked: &Asked<'_>,
    job: JobId,
    only: Option<&[String]>,
    parts: &str,
    results: impl Future<Output = Result<Response, Error>>,
) -> Result<Response, Error> {
    let view = asked.app.engine.job(asked.viewer(), job).await?;
    view.check_outputs(only, Timestamp::now())?;
    let is_fixed = matches!(view.job.state, JobState::Finished(Outcome::Succeeded));
    let validators = Validators::of_results(job, parts, view.job.finished).filter(|_| is_fixed);
    if let Some(not_modified) = validators.as_ref().and_then(|known| known.not_modified(asked.headers)) {
        return Ok(not_modified);
    }
    let mut results = results.await?;
    answer::announce_removal(&mut results, view.outputs_expire(only, Timestamp::now()));
    Ok(match validators {
        Some(validators) => validators.mark(results),
        None => results,
    })
}

async fn page(asked: &Asked<'_>, job: JobId) -> Result<Response, Error> {
    let base = &asked.app.base;
    let set = OutputSet::load(asked.app, asked.viewer(), job).await?;
    let rows = set.results.outputs.iter().zip(&set.hrefs);
    let page = ResultsPage {
        page: asked.page(),
        job: job.to_string(),
        process: set.process.to_string(),
        process_href: base.process(&set.process),
        outputs: rows.map(|(log, href)| OutputRow::new(log, href.clone())).collect(),
    };
    Ok(answer::html(StatusCode::OK, &page))
}

/// `GET /jobs/{job}/results/{output}`: the bare output.
pub(crate) async fn output(
    State(app): State<App>,
    caller: Caller,
    Path((job, output)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/results/{output}");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    output_in(&asked, &method, &job, &output).await.unwrap_or_else(|error| asked.error(&error))
}

async fn output_in(asked: &Asked<'_>, method: &Method, job: &str, id: &str) -> Result<Response, Error> {
    let job = parse_job(job)?;
    let request = asked.app.engine.request(asked.viewer(), job).await?;
    // A stream has something to show at any time.
    if request.outputs.iter().any(|output| output.id == id && output.is_stream()) {
        return streams::of_output(asked, job, id).await;
    }
    let only = [id.to_owned()];
    let set = OutputSet::load_only(asked.app, asked.viewer(), job, &only).await?;
    let results = Arc::clone(&set.results);
    let log = results.output(id).ok_or_else(|| Error::NoSuchOutput { job, output: id.to_owned() })?;
    let has = log.chunks.first().map_or("*/*", media_type_of);
    // JSON is what clients ask for by habit, of everything.
    if !accepts_any(asked.headers, &[has, "application/json"]) {
        let detail = format!("output '{id}' is there as {has} only");
        return Ok(asked.problem(Problem::http(406, "not acceptable", detail)));
    }
    validated(asked, job, Some(&only), &format!("/{id}"), one(asked, method, id, &set, log)).await
}

async fn one(
    asked: &Asked<'_>,
    method: &Method,
    id: &str,
    set: &OutputSet,
    log: &OutputLog,
) -> Result<Response, Error> {
    let [Value::Complex(complex)] = log.chunks.as_slice() else { return set.raw(log).await };
    ranged(asked, method, &format!("output '{id}'"), complex).await
}

/// One piece of complex data, or the range of it that is asked for.
pub(crate) async fn ranged(
    asked: &Asked<'_>,
    method: &Method,
    what: &str,
    complex: &ComplexValue,
) -> Result<Response, Error> {
    let length = complex.data.len();
    let (mut response, content_range) = match Range::asked(method, asked.headers, length) {
        Range::Whole => (stored(complex, None).await?, None),
        Range::Part(part) => (stored(complex, Some(part)).await?, part.content_range(length)),
        Range::Outside => {
            let detail = format!("{what} has {length} bytes, and the range is not among them");
            let problem = Problem::http(416, "range not satisfiable", detail);
            (asked.problem(problem), HeaderValue::from_str(&format!("bytes */{length}")).ok())
        }
    };
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(content_range) = content_range {
        response.headers_mut().insert(header::CONTENT_RANGE, content_range);
    }
    Ok(response)
}

/// A job by the text of its identifier; what is no identifier is no job.
pub(crate) fn parse_job(text: &str) -> Result<JobId, Error> {
    text.parse().map_err(|_no_uuid| Error::NoSuchJob(text.to_owned()))
}

/// The results of a finished job, in the form its request asked for (§7.11.4, table 11).
/// `only` these outputs, where it names any; none at all where it is empty (edition 2.0, `outputs`).
pub(crate) async fn of_job(
    app: &App,
    viewer: &Viewer,
    job: JobId,
    only: Option<&[String]>,
) -> Result<Response, Error> {
    let set = match only {
        Some(only) => OutputSet::load_only(app, viewer, job, only).await?,
        None => OutputSet::load(app, viewer, job).await?,
    };
    if only.is_some_and(<[String]>::is_empty) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if set.response == ResponseForm::Document {
        return Ok(set.written("application/json", |outputs, out| document::write_document(outputs, out)));
    }
    match set.results.outputs.as_slice() {
        [] => Ok(StatusCode::NO_CONTENT.into_response()),
        [log] if log.request.transmission == Transmission::Value => bare(app, viewer, job, &set, log).await,
        logs if logs.iter().all(|log| log.request.transmission == Transmission::Reference) => Ok(set.links()),
        _ => {
            let boundary = format!("anabranch-{}", JobId::random());
            let media_type = document::multipart_media_type(&boundary);
            Ok(set
                .written(&media_type, move |outputs, out| document::write_multipart(outputs, &boundary, out)))
        }
    }
}

/// One output as it is; of a stream that is its playlist.
pub(crate) async fn bare(
    app: &App,
    viewer: &Viewer,
    job: JobId,
    set: &OutputSet,
    log: &OutputLog,
) -> Result<Response, Error> {
    if log.request.is_stream() {
        return streams::body_of(app, viewer, job, &log.id).await;
    }
    set.raw(log).await
}

/// Those that are kept.
fn only<T>(kept: &[bool], all: Vec<T>) -> Vec<T> {
    all.into_iter().zip(kept).filter_map(|(one, kept)| kept.then_some(one)).collect()
}

/// The format of an output that was asked for as a playlist.
fn playlist_format(request: &OutputRequest) -> Option<Format> {
    let asked = request.is_stream().then_some(&request.format)?;
    Some(Format {
        media_type: asked.media_type.clone()?,
        encoding: asked.encoding.clone(),
        schema: asked.schema.clone(),
    })
}

/// The results of a job with all that is needed to write them.
#[derive(Clone)]
pub(crate) struct OutputSet {
    pub(crate) results: Arc<Results>,
    pub(crate) response: ResponseForm,
    pub(crate) process: ProcessId,
    descriptions: Vec<OutputDescription>,
    hrefs: Vec<String>,
    /// The formats of playlists; `None` for outputs that are none.
    playlists: Vec<Option<Format>>,
    /// The addresses of playlists as values, where the protocol wants them in the place of a value.
    addresses: Vec<Option<Value>>,
}

impl OutputSet {
    /// Loads them.
    ///
    /// # Errors
    /// Those of [`Engine::results`].
    pub(crate) async fn load(app: &App, viewer: &Viewer, job: JobId) -> Result<Self, Error> {
        Self::of(&app.engine, &app.base, viewer, job, None).await
    }

    /// Loads these.
    ///
    /// # Errors
    /// Those of [`Engine::results`], and [`Error::NoSuchOutput`] for a name that is none of them.
    pub(crate) async fn load_only(
        app: &App,
        viewer: &Viewer,
        job: JobId,
        only: &[String],
    ) -> Result<Self, Error> {
        Self::of(&app.engine, &app.base, viewer, job, Some(only)).await?.only(job, only)
    }

    /// Loads them, also where no request is being answered.
    ///
    /// # Errors
    /// Those of [`Engine::results`].
    pub(crate) async fn of(
        engine: &Engine,
        base: &BaseUrl,
        viewer: &Viewer,
        job: JobId,
        only: Option<&[String]>,
    ) -> Result<Self, Error> {
        let results = match only {
            Some(only) => engine.results_of(viewer, job, only).await?,
            None => engine.results(viewer, job).await?,
        };
        let request = engine.request(viewer, job).await?;
        Ok(Self::new(engine, base, job, results, &request))
    }

    /// The streams of a job that has not ended yet, or not well. Their chunks are in their playlists.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub(crate) async fn of_streams(app: &App, viewer: &Viewer, job: JobId) -> Result<Self, Error> {
        let request = app.engine.request(viewer, job).await?;
        let streams = request.outputs.iter().filter(|output| output.is_stream());
        let log = |output: &OutputRequest| OutputLog {
            id: output.id.clone(),
            request: output.clone(),
            chunks: Vec::new(),
        };
        let results = Arc::new(Results { outputs: streams.map(log).collect() });
        Ok(Self::new(&app.engine, &app.base, job, results, &request))
    }

    fn new(
        engine: &Engine,
        base: &BaseUrl,
        job: JobId,
        results: Arc<Results>,
        request: &StoredRequest,
    ) -> Self {
        let logs = || results.outputs.iter();
        let href = |log: &OutputLog| match log.request.is_stream() {
            true => Addresses::Resources.playlist(base, &job, &log.id),
            false => base.output(&job, &log.id),
        };
        let process = request.request.process.clone();
        Self {
            response: request.request.response,
            descriptions: logs().map(|log| description(engine, &process, log)).collect(),
            hrefs: logs().map(href).collect(),
            playlists: logs().map(|log| playlist_format(&log.request)).collect(),
            addresses: vec![None; results.outputs.len()],
            process,
            results,
        }
    }

    /// As WPS has it: a playlist that was asked for as a value is its address (Streaming based WPS, 2012). The first one is at the address
    /// that clients of 2012 know.
    pub(crate) fn for_wps(mut self, base: &BaseUrl, job: JobId) -> Self {
        if let Some(first) = self.playlists.iter().position(Option::is_some) {
            self.hrefs[first] = Addresses::Servlet.playlist(base, &job, &self.results.outputs[first].id);
        }
        for (index, log) in self.results.outputs.iter().enumerate() {
            if let (Some(format), Transmission::Value) = (&self.playlists[index], log.request.transmission) {
                let data = Data::Bytes(self.hrefs[index].clone().into());
                self.addresses[index] = Some(Value::Complex(ComplexValue::new(data, format.clone())));
            }
        }
        self
    }

    /// The outputs of these names, in the order of the results.
    ///
    /// # Errors
    /// [`Error::NoSuchOutput`] for a name that is none of them.
    fn only(self, job: JobId, names: &[String]) -> Result<Self, Error> {
        if let Some(other) = names.iter().find(|name| self.results.output(name).is_none()) {
            return Err(Error::NoSuchOutput { job, output: other.clone() });
        }
        let kept: Vec<bool> = self.results.outputs.iter().map(|log| names.contains(&log.id)).collect();
        Ok(Self {
            results: Arc::new(Results { outputs: only(&kept, self.results.outputs.clone()) }),
            descriptions: only(&kept, self.descriptions),
            hrefs: only(&kept, self.hrefs),
            playlists: only(&kept, self.playlists),
            addresses: only(&kept, self.addresses),
            ..self
        })
    }

    /// As the writers of documents take them. A log of several chunks is shown as a link to all of them.
    pub(crate) fn outputs(&self) -> Vec<Output<'_>> {
        let logs = self.results.outputs.iter().enumerate().zip(&self.descriptions);
        logs.map(|((index, log), description)| Output {
            description,
            request: &log.request,
            value: self.value(index, log),
        })
        .collect()
    }

    fn value<'a>(&'a self, index: usize, log: &'a OutputLog) -> OutputValue<'a> {
        let href = &self.hrefs[index];
        match (&self.addresses[index], &self.playlists[index]) {
            (Some(address), _) => OutputValue::Inline(address),
            (None, Some(format)) => OutputValue::Reference { href, format: Some(format) },
            (None, None) => match log.chunks.as_slice() {
                [value] if log.request.transmission == Transmission::Value => OutputValue::Inline(value),
                chunks => OutputValue::Reference { href, format: chunks.first().and_then(format_of) },
            },
        }
    }

    /// The same with values of at most `bytes_max` together; those beyond are links.
    pub(crate) fn outputs_within(&self, bytes_max: u64) -> Vec<Output<'_>> {
        let mut outputs = self.outputs();
        let mut room = bytes_max;
        for (output, href) in outputs.iter_mut().zip(&self.hrefs) {
            let OutputValue::Inline(value) = output.value else { continue };
            match room.checked_sub(bytes_of(value)) {
                Some(left) => room = left,
                None => output.value = OutputValue::Reference { href, format: format_of(value) },
            }
        }
        outputs
    }

    /// The sum of what stands in the answer.
    pub(crate) fn inline_bytes(&self) -> u64 {
        let is_inline =
            |log: &&OutputLog| log.request.transmission == Transmission::Value && !log.request.is_stream();
        let inline = self.results.outputs.iter().filter(is_inline);
        inline.flat_map(|log| &log.chunks).map(bytes_of).sum()
    }

    /// A document of all outputs: in memory where it is small.
    pub(crate) fn written(
        self,
        media_type: &str,
        write: impl FnOnce(&[Output<'_>], &mut dyn io::Write) -> io::Result<()> + Send + 'static,
    ) -> Response {
        if self.inline_bytes() <= IN_MEMORY_BYTES_MAX {
            let mut bytes = Vec::new();
            if let Err(error) = write(&self.outputs(), &mut bytes) {
                tracing::error!(%error, "results can't be written");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            return answer::with_type(StatusCode::OK, media_type, bytes);
        }
        answer::with_type(StatusCode::OK, media_type, body::written(move |out| write(&self.outputs(), out)))
    }

    /// One output as it is, chunk after chunk.
    async fn raw(&self, log: &OutputLog) -> Result<Response, Error> {
        let media_type = match log.chunks.as_slice() {
            [] => return Ok(StatusCode::NO_CONTENT.into_response()),
            [Value::Complex(complex)] => return stored(complex, None).await,
            [first, ..] => media_type_of(first),
        };
        let mut response = self.written_raw(log, media_type)?;
        guard_stored(&mut response, media_type);
        Ok(response)
    }

    /// Everything that is not one piece of complex data: chunk after chunk.
    fn written_raw(&self, log: &OutputLog, media_type: &str) -> Result<Response, Error> {
        let index = self.results.outputs.iter().position(|other| other.id == log.id).unwrap_or(0);
        let (log, description) = (log.clone(), self.descriptions[index].clone());
        let small = log.chunks.iter().map(bytes_of).sum::<u64>() <= IN_MEMORY_BYTES_MAX;
        let write = move |out: &mut dyn io::Write| {
            log.chunks.iter().try_for_each(|value| {
                let output = Output {
                    description: &description,
                    request: &log.request,
                    value: OutputValue::Inline(value),
                };
                document::write_raw(&output, out)
            })
        };
        if small {
            let mut bytes = Vec::new();
            write(&mut bytes).map_err(Error::internal)?;
            return Ok(answer::with_type(StatusCode::OK, media_type, bytes));
        }
        Ok(answer::with_type(StatusCode::OK, media_type, body::written(write)))
    }

    /// Nothing but a link for each output (req/core/process-execute-sync-raw-ref).
    fn links(&self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        for ((log, href), playlist) in self.results.outputs.iter().zip(&self.hrefs).zip(&self.playlists) {
            let format = playlist.as_ref().or_else(|| log.chunks.first().and_then(format_of));
            let media_type = format.map_or("text/plain", |format| &format.media_type);
            answer::add_links(&mut response, &[Link::new(log.id.clone(), media_type, href.clone())]);
        }
        response
    }
}

/// Stored outputs are foreign content: a browser may show them, never run them.
pub(crate) fn guard_stored(response: &mut Response, media_type: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if media_type.contains("html") || media_type.contains("svg") {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
}

/// One piece of complex data as it is, or a part of it.
pub(crate) async fn stored(value: &ComplexValue, part: Option<Part>) -> Result<Response, Error> {
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let length = part.map_or(value.data.len(), Part::bytes);
    let first = part.map_or(0, |part| part.first);
    let body = match &value.data {
        Data::Bytes(bytes) => {
            let at = |position| usize::try_from(position).unwrap_or(bytes.len()).min(bytes.len());
            Body::from(bytes.slice(at(first)..at(first + length)))
        }
        Data::File(file) => file_body::part(&file.path, first, length)
            .await
            .map_err(|error| Error::internal(format!("a stored result can't be read: {error}")))?,
    };
    let media_type = &value.format.media_type;
    let mut response = answer::with_type(status, media_type, body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    guard_stored(&mut response, media_type);
    Ok(response)
}

/// Of an output as it is.
pub(crate) fn media_type_of(value: &Value) -> &str {
    match value {
        Value::Complex(complex) => &complex.format.media_type,
        Value::Literal(_) => "text/plain; charset=utf-8",
        Value::BoundingBox(_) => "application/json",
    }
}

fn format_of(value: &Value) -> Option<&Format> {
    match value {
        Value::Complex(complex) => Some(&complex.format),
        Value::Literal(_) | Value::BoundingBox(_) => None,
    }
}

fn bytes_of(value: &Value) -> u64 {
    match value {
        Value::Complex(complex) => complex.data.len(),
        Value::Literal(literal) => literal.text.len() as u64,
        Value::BoundingBox(_) => 0,
    }
}

/// The output's description; made up from its value where the process is not published any more.
fn description(engine: &Engine, process: &ProcessId, log: &OutputLog) -> OutputDescription {
    let published = engine.registry().get(process).ok();
    let described = published.and_then(|process| process.description().output(&log.id).cloned());
    described.unwrap_or_else(|| made_up(&log.id, log.chunks.first()))
}

/// The description that an output of this value has.
pub(crate) fn made_up(id: &str, value: Option<&Value>) -> OutputDescription {
    let data = match value {
        Some(Value::Complex(complex)) => {
            DataDescription::Complex(ComplexDomain { formats: vec![complex.format.clone()], bytes_max: None })
        }
        Some(Value::Literal(literal)) => DataDescription::Literal(LiteralDomain::any(literal.data_type)),
        Some(Value::BoundingBox(_)) | None => {
            DataDescription::Literal(LiteralDomain::any(LiteralType::String))
        }
    };
    OutputDescription::new(id, data)
}
