//! `GET /jobs/{job}/results/{output}/playlist`: which chunks there are, in every form.

use super::form::Form;
use super::log::Log;
use super::{Addresses, events, features};
use crate::app::App;
use crate::http::answer::{self, Asked};
use crate::http::caller::Caller;
use crate::http::conditional::Validators;
use crate::http::outputs::parse_job;
use anabranch_engine::ChunkPage;
use anabranch_formats::playlist::document::{Document, Link};
use anabranch_formats::playlist::{End, writer};
use anabranch_model::{Error, Fault, FaultKind, Format, JobId, Subject, Timestamp, Value, Viewer};
use anabranch_ogc::ogcapi::job::StatusCode as JobStatus;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::io;
use std::time::Duration;

/// Chunks in one JSON playlist, and read from the log at once; `next` links to those behind them.
const PAGE_CHUNKS_MAX: usize = 1_000;
/// Longest blocking reload, in seconds: proxies give up after a minute of silence.
const WAIT_S_MAX: u64 = 50;

/// What lies in a log for good may be kept for good: a job's identifier is never given again.
pub(super) const IMMUTABLE: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");
/// What may grow has to be asked for again.
pub(super) const OPEN: HeaderValue = HeaderValue::from_static("no-cache");

/// `?after=` and `?wait=`: blocking reload. A form that lists pages lists the chunks behind `after`; the others are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reload {
    after: u64,
    wait: Option<Duration>,
}

impl Reload {
    fn parse(query: Option<&str>) -> Result<Self, Error> {
        let number = |name: &str, max: u64| {
            let mut pairs = query.unwrap_or_default().split('&');
            let Some(text) = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')) else {
                return Ok(None);
            };
            text.parse().ok().filter(|number| *number <= max).map(Some).ok_or_else(|| {
                let rule = match max {
                    u64::MAX => "must be a number of chunks".to_owned(),
                    max => format!("must be a number of seconds, at most {max}"),
                };
                let fault = Fault::new(Subject::Parameter(name.into()), FaultKind::Malformed, rule);
                Error::invalid(fault.with_value(text))
            })
        };
        let after = number("after", u64::MAX)?.unwrap_or(0);
        Ok(Self { after, wait: number("wait", WAIT_S_MAX)?.map(Duration::from_secs) })
    }
}

/// The handler.
pub(crate) async fn playlist(
    State(app): State<App>,
    caller: Caller,
    Path((job, output)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/results/{output}/playlist");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    playlist_in(&asked, &job, &output, Form::Json).await.unwrap_or_else(|error| asked.error(&error))
}

/// The bare output, where it was asked for as a playlist.
pub(crate) async fn of_output(asked: &Asked<'_>, job: JobId, output: &str) -> Result<Response, Error> {
    playlist_in(asked, &job.to_string(), output, Form::Text(writer::Form::Plain)).await
}

async fn playlist_in(asked: &Asked<'_>, job: &str, output: &str, default: Form) -> Result<Response, Error> {
    let form = Form::wanted(asked.query, asked.headers, default)?;
    let reload = Reload::parse(asked.query)?;
    let log = Log::new(asked.app, asked.viewer(), parse_job(job)?, output, Addresses::Resources);
    let log_output = output.to_owned();
    // Before anything is waited for: whether there is such a log at all.
    let view = log.page(0, 0).await?.view;
    if let Some(wait) = reload.wait {
        let _place = asked.app.followers.admit()?;
        log.beyond(reload.after, wait).await?;
    }
    let mut response = match form {
        Form::Text(form) => text(&log, form, asked.headers).await?,
        Form::Json => json(&log, reload.after, asked.headers).await?,
        Form::Html => super::page::page(asked, &log).await?,
        Form::Events => events::follow(log, asked.headers, reload.after).await?,
        Form::Features(framing) => features::follow(log, framing, reload.after).await?,
    };
    // The same address has many forms, and some are kept for good.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    let expires = view.outputs_expire(Some(&[log_output]), Timestamp::now());
    answer::announce_removal(&mut response, expires);
    Ok(response)
}

/// What a playlist says depends on this and nothing else.
fn validators(log: &Log, form: Form, page: &ChunkPage, end: &End) -> Option<Validators> {
    let end = match end {
        End::Open => "open",
        End::Complete => "complete",
        End::Failed { .. } => "failed",
    };
    let addresses = if log.addresses == Addresses::Servlet { "servlet" } else { form.name() };
    let of = format!("{}/{addresses}/{}/{}/{end}", log.output, page.first, page.total);
    Validators::exact(log.job, &of)
}

/// With its validators and the rule for caches; 304 where the client has it.
fn cached(
    response: impl FnOnce() -> Response,
    validators: Option<&Validators>,
    is_open: bool,
    headers: &HeaderMap,
) -> Response {
    let known = validators.and_then(|validators| validators.not_modified(headers));
    let mut response = known.unwrap_or_else(|| match validators {
        Some(validators) => validators.mark(response()),
        None => response(),
    });
    response.headers_mut().insert(header::CACHE_CONTROL, if is_open { OPEN } else { IMMUTABLE });
    response
}

/// A playlist as text, with as many chunks as there are at this moment; written as the client reads it.
pub(crate) async fn text(log: &Log, form: writer::Form, headers: &HeaderMap) -> Result<Response, Error> {
    let mut page = log.page(0, PAGE_CHUNKS_MAX).await?;
    // The first line that a client reads says already that it slides.
    page.slides |= page.total == 0 && log.is_to_slide().await?;
    let end = log.end(&page.view);
    let validators = validators(log, Form::Text(form), &page, &end);
    let is_open = end == End::Open;
    let media_type = Form::Text(form).media_type();
    let body = || {
        let body = Body::from_stream(blocks(log.clone(), form, page, end));
        answer::with_type(StatusCode::OK, media_type, body)
    };
    Ok(cached(body, validators.as_ref(), is_open, headers))
}

/// The playlist of 2012 as a raw output.
pub(crate) async fn body_of(app: &App, viewer: &Viewer, job: JobId, output: &str) -> Result<Response, Error> {
    let log = Log::new(app, viewer, job, output, Addresses::Resources);
    text(&log, writer::Form::Plain, &HeaderMap::new()).await
}

/// The text page by page, no further than the first page knew: what comes meanwhile would stand before the wrong end.
fn blocks(
    log: Log,
    form: writer::Form,
    first: ChunkPage,
    end: End,
) -> impl stream::Stream<Item = io::Result<Bytes>> {
    enum Step {
        /// What stands before the chunks that are there; those before this one are gone.
        Head(ChunkPage),
        /// Addresses of chunks that are gone, from this one on; then the page.
        Gone(u64, ChunkPage),
        Read(u64),
        Done,
    }
    let (total, slides) = (first.total, first.slides);
    stream::try_unfold(Step::Head(first), move |step| {
        let (log, end) = (log.clone(), end.clone());
        async move {
            let mut block = Vec::new();
            let page = match step {
                Step::Head(page) if form == writer::Form::M3u8 && slides => {
                    writer::window_head(page.first, &mut block)?;
                    page
                }
                Step::Head(page) => {
                    writer::head(form, &mut block)?;
                    if page.first > 0 {
                        return Ok(Some((Bytes::from(block), Step::Gone(1, page))));
                    }
                    page
                }
                // Playlists of 2012 only grow.
                Step::Gone(seq, page) if seq <= page.first => {
                    let next = page.first.min(seq - 1 + PAGE_CHUNKS_MAX as u64) + 1;
                    (seq..next).try_for_each(|seq| writer::entry(form, &log.bare(seq), &mut block))?;
                    return Ok(Some((Bytes::from(block), Step::Gone(next, page))));
                }
                Step::Gone(_, page) => page,
                Step::Read(from) => log.page(from, PAGE_CHUNKS_MAX).await.map_err(io::Error::other)?,
                Step::Done => return Ok(None),
            };
            let left = usize::try_from(total.saturating_sub(page.first)).unwrap_or(usize::MAX);
            log.entries(&page).take(left).try_for_each(|entry| writer::entry(form, &entry, &mut block))?;
            let next = page.first + page.chunks.len() as u64;
            // A log that has become shorter is that of another attempt: what is left has no end.
            let is_last = next >= total || page.chunks.is_empty();
            if is_last {
                writer::end(form, &end, &mut block)?;
            }
            let step = if is_last { Step::Done } else { Step::Read(next) };
            Ok(Some((Bytes::from(block), step)))
        }
    })
}

async fn json(log: &Log, after: u64, headers: &HeaderMap) -> Result<Response, Error> {
    let page = log.page(after, PAGE_CHUNKS_MAX).await?;
    let end = log.end(&page.view);
    let validators = validators(log, Form::Json, &page, &end);
    let document = document(log, &page, &end);
    let is_open = end == End::Open;
    Ok(cached(|| answer::json(StatusCode::OK, &document), validators.as_ref(), is_open, headers))
}

/// This playlist in every form but HTML.
pub(super) fn others(log: &Log) -> impl Iterator<Item = anabranch_ogc::ogcapi::Link> {
    let playlist = format!("{}/playlist", log.app.base.output(&log.job, &log.output));
    Form::Html.others().map(move |form| {
        let href = format!("{playlist}?f={}", form.name());
        anabranch_ogc::ogcapi::Link::new("alternate", form.media_type(), href).titled(form.title())
    })
}

fn document(log: &Log, page: &ChunkPage, end: &End) -> Document {
    let chunks: Vec<_> = log.entries(page).collect();
    let next = page.first + chunks.len() as u64;
    let is_last = next >= page.total;
    let base = &log.app.base;
    let playlist = format!("{}/playlist", base.output(&log.job, &log.output));
    let link = |rel: &str, media_type: &str, href: String| Link {
        rel: rel.into(),
        media_type: Some(media_type.into()),
        href,
    };
    let mut links = vec![link("self", "application/json", format!("{playlist}?f=json&after={}", page.first))];
    let others = Form::Json.others();
    links.extend(
        others.map(|form| link("alternate", form.media_type(), format!("{playlist}?f={}", form.name()))),
    );
    links.push(link("up", "application/json", base.job(&log.job)));
    if !is_last || *end == End::Open {
        links.push(link("next", "application/json", format!("{playlist}?f=json&after={next}")));
    }
    let status = serde_json::to_value(JobStatus::of(&page.view.job)).ok();
    Document {
        kind: Document::KIND,
        job: log.job.to_string(),
        status: status.and_then(|status| status.as_str().map(str::to_owned)).unwrap_or_default(),
        media_type: chunk_type(page),
        media_sequence: page.first + 1,
        removed: removed(log, page),
        expected: (*end == End::Complete).then_some(page.total),
        chunks,
        end: is_last && *end != End::Open,
        exception: log.exception(&page.view).filter(|_| is_last),
        links,
    }
}

/// How many chunks are gone: what slides has shown them, and has them no more.
fn removed(log: &Log, page: &ChunkPage) -> Option<u64> {
    let summary = page.view.outputs.iter().find(|summary| summary.id == log.output);
    page.slides.then(|| summary.map_or(0, |summary| summary.removed))
}

/// What the chunks are written in: as the first says, or as it was asked for.
pub(super) fn chunk_type(page: &ChunkPage) -> Option<String> {
    if let Some(Value::Complex(complex)) = page.chunks.first() {
        return Some(complex.format.media_type.clone());
    }
    let asked = Format::new(page.request.format.media_type.clone()?);
    if asked.is_playlist() {
        asked.of_chunks().map(|format| format.media_type)
    } else {
        Some(asked.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_reload_is_limited() {
        let parsed = Reload::parse(Some("f=json&after=3&wait=20")).unwrap();
        assert_eq!(parsed, Reload { after: 3, wait: Some(Duration::from_secs(20)) });
        assert_eq!(Reload::parse(None), Ok(Reload::default()));
        for refused in ["after=-1", "after=x", "wait=51", "wait=", "wait=1.5"] {
            assert!(Reload::parse(Some(refused)).is_err(), "{refused}");
        }
    }
}
