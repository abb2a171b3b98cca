//! The list of jobs, their status, dismissal and log.

use super::acting;
use super::answer::{self, Asked};
use super::negotiate::Form;
use super::outputs::parse_job;
use super::pages::{JobPage, JobRow, JobsPage, OutputRow, PlainPage, gone_text, log_text};
use super::same_site::refuse_foreign;
use super::streams;
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_engine::{Cursor, JobFilter, JobView, OutputLog, StateName};
use anabranch_model::{Error, Fault, FaultKind, JobId, Subject, Timestamp};
use anabranch_ogc::ogcapi::job::{self, Beside, JobQuery, StatusCode as JobStatus};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How long a dismissal is waited for before the answer says that it is under way: most trees die at once, those that ignore
/// SIGTERM after their grace of 3 s.
pub(crate) const DISMISS_WAIT: Duration = Duration::from_secs(5);
/// Log lines on a job's page: the end of the log, as a terminal shows it.
const PAGE_LINES_MAX: usize = 200;
/// Log lines in one answer; `from` asks for more.
const LOG_LINES_MAX: usize = 10_000;

/// `GET /jobs`
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked =
        Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/jobs" };
    list_in(&asked).await.unwrap_or_else(|error| asked.query_error(&error))
}

async fn list_in(asked: &Asked<'_>) -> Result<Response, Error> {
    let app = asked.app;
    let form = Form::wanted(asked.query, asked.headers)?;
    let query = JobQuery::parse(asked.query.unwrap_or_default())?;
    let Some(filter) = filter(&query)? else {
        return Ok(listed(asked, form, &[], &job::list([], &query, &Beside::default(), &app.base)));
    };
    let page = app.engine.jobs(asked.viewer(), filter).await?;
    let text = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.to_string());
    let beside = Beside { next: text(page.next), previous: text(page.previous) };
    let list = job::list(page.jobs.iter().map(|view| &view.job), &query, &beside, &app.base);
    Ok(listed(asked, form, &page.jobs, &list))
}

fn listed(asked: &Asked<'_>, form: Form, views: &[Arc<JobView>], list: &job::JobList) -> Response {
    match form {
        Form::Html => {
            let href = |rel| {
                list.links.iter().find(|link| link.rel == rel).map(|link| format!("{}&f=html", link.href))
            };
            let page = JobsPage {
                page: asked.page().linked(&list.links),
                jobs: views.iter().map(|view| JobRow::new(asked.app, view)).collect(),
                next: href("next"),
                previous: href("prev"),
            };
            answer::html(StatusCode::OK, &page)
        }
        Form::Json => {
            let mut response = answer::json(StatusCode::OK, list);
            answer::add_links(&mut response, &list.links);
            response
        }
    }
}

/// The engine's filter; `None` where nothing can match.
fn filter(query: &JobQuery) -> Result<Option<JobFilter>, Error> {
    let page = match &query.page.cursor {
        None => None,
        Some(text) => Some(text.parse().map_err(|_no_cursor| {
            let fault = Fault::new(
                Subject::Parameter("cursor".into()),
                FaultKind::Malformed,
                "must come from a `next` or `prev` link",
            );
            Error::invalid(fault.with_value(text))
        })?),
    };
    // What is no identifier names no process: it narrows the list, but finds nothing.
    let processes: Vec<_> = query.process_ids.iter().filter_map(|id| id.parse().ok()).collect();
    if query.other_types_only || (processes.is_empty() && !query.process_ids.is_empty()) {
        return Ok(None);
    }
    let end = |bound: Option<Bound<_>>| match bound {
        Some(Bound::Included(time) | Bound::Excluded(time)) => Some(time),
        Some(Bound::Unbounded) | None => None,
    };
    Ok(Some(JobFilter {
        owner: None,
        processes,
        states: query.statuses.iter().map(|status| state(*status)).collect(),
        created_from: end(query.created.map(|(from, _)| from)),
        created_to: end(query.created.map(|(_, to)| to)),
        duration_min: query.duration_min_s.map(Duration::from_secs),
        duration_max: query.duration_max_s.map(Duration::from_secs),
        limit: query.page.limit,
        page,
    }))
}

fn state(status: JobStatus) -> StateName {
    match status {
        JobStatus::Accepted => StateName::Accepted,
        JobStatus::Running => StateName::Running,
        JobStatus::Successful => StateName::Succeeded,
        JobStatus::Failed => StateName::Failed,
        JobStatus::Dismissed => StateName::Dismissed,
    }
}

/// `GET /jobs/{job}`
pub(crate) async fn status(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    status_in(&asked, &job).await.unwrap_or_else(|error| asked.error(&error))
}

async fn status_in(asked: &Asked<'_>, id: &str) -> Result<Response, Error> {
    let id = parse_job(id)?;
    let form = Form::wanted(asked.query, asked.headers)?;
    let view = asked.app.engine.job(asked.viewer(), id).await?;
    let mut response = match form {
        Form::Html => page(asked, id, &view).await?,
        Form::Json => status_json(asked, &view).await?,
    };
    answer::announce_removal(&mut response, view.expires);
    Ok(response)
}

/// With the playlists of a job that can be followed already, and those that a job which failed has left.
async fn status_json(asked: &Asked<'_>, view: &JobView) -> Result<Response, Error> {
    let mut status = job::status_info(&view.job, &asked.app.base);
    status.message = status.message.or_else(|| gone_text(view));
    status.links.extend(streams::links(asked.app, asked.viewer(), view.job.id).await?);
    Ok(answered(&status))
}

fn answered(status: &job::StatusInfo) -> Response {
    let mut response = answer::json(StatusCode::OK, status);
    answer::add_links(&mut response, &status.links);
    response
}

async fn page(asked: &Asked<'_>, id: JobId, view: &JobView) -> Result<Response, Error> {
    let app = asked.app;
    let outputs = match app.engine.results_of(asked.viewer(), id, &[]).await {
        Ok(results) => {
            let is_there = |log: &&OutputLog| {
                view.check_outputs(Some(std::slice::from_ref(&log.id)), Timestamp::now()).is_ok()
            };
            let row = |log: &OutputLog| OutputRow::new(log, app.base.output(&id, &log.id));
            results.outputs.iter().filter(is_there).map(row).collect()
        }
        // Not finished, failed or dismissed: the page says so.
        Err(_no_results) => Vec::new(),
    };
    let log = app.engine.log(asked.viewer(), id, 0, LOG_LINES_MAX).await?;
    let skipped = log.lines.len().saturating_sub(PAGE_LINES_MAX);
    let page = JobPage {
        page: asked.page().linked(&job::status_info(&view.job, &app.base).links),
        job: JobRow::new(app, view),
        views: streams::views(app, asked.viewer(), view).await?,
        outputs,
        log: log.lines.iter().skip(skipped).map(log_text).collect(),
        next_line: log.next,
    };
    Ok(answer::html(StatusCode::OK, &page))
}

/// `DELETE /jobs/{job}`: `dismissed` once the work is known to have ended, else `running` with the message that it is being dismissed.
pub(crate) async fn dismiss(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: None, path: &path };
    let dismissed = match parse_job(&job) {
        Ok(id) => acting::dismiss(&app, asked.caller, id).await,
        Err(error) => Err(error),
    };
    match dismissed {
        // Its request is gone with it, where it had finished before.
        Ok(view) => answered(&job::status_info(&view.job, &app.base)),
        Err(error) => asked.error(&error),
    }
}

/// `POST /jobs/{job}/dismiss`: the button of a job's page, for browsers without scripts. It never removes a finished job: the page that
/// showed the button may be old.
pub(crate) async fn dismiss_by_form(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/dismiss");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: None, path: &path };
    if let Some(problem) = refuse_foreign(&headers, &app.base) {
        return asked.problem(problem);
    }
    dismiss_unfinished(&asked, &job).await.unwrap_or_else(|error| asked.error(&error))
}

async fn dismiss_unfinished(asked: &Asked<'_>, job: &str) -> Result<Response, Error> {
    let app = asked.app;
    let id = parse_job(job)?;
    if !app.engine.job(asked.viewer(), id).await?.job.is_finished() {
        acting::dismiss(app, asked.caller, id).await?;
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(&app.base.job(&id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /jobs/{job}/log`: lines from number `from`, counted from 0.
pub(crate) async fn log(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/log");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    log_in(&asked, &job).await.unwrap_or_else(|error| asked.error(&error))
}

async fn log_in(asked: &Asked<'_>, id: &str) -> Result<Response, Error> {
    let id = parse_job(id)?;
    let form = Form::wanted(asked.query, asked.headers)?;
    let from = asked.query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("from="));
    let from = match from.map(|text| (text, text.parse())) {
        None => 0,
        Some((_, Ok(number))) => number,
        Some((text, Err(_no_number))) => {
            let fault =
                Fault::new(Subject::Parameter("from".into()), FaultKind::Malformed, "must be a line number");
            return Err(Error::invalid(fault.with_value(text)));
        }
    };
    let log = asked.app.engine.log(asked.viewer(), id, from, LOG_LINES_MAX).await?;
    if form == Form::Html {
        let text = log.lines.iter().map(log_text).collect::<Vec<_>>().join("\n");
        let links = vec![(asked.app.base.job(&id), "The job".to_owned())];
        let page = PlainPage::text(asked.page(), "Log", links, text);
        return Ok(answer::html(StatusCode::OK, &page));
    }
    let lines: Vec<_> = log
        .lines
        .iter()
        .map(|line| json!({ "number": line.number, "time": line.at, "source": line.source, "text": line.text }))
        .collect();
    Ok(answer::json(StatusCode::OK, &json!({ "lines": lines, "next": log.next })))
}
