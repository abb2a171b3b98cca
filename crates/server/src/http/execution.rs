//! `/processes/{process}/execution`: by POST, by GET, by the form of a page, and as a dry run.

use super::answer::{self, Asked};
use super::form::Encoding;
use super::negotiate::Form;
use super::same_site::refuse_unmeant;
use super::upload::{self, InputFiles, Upload, UploadFolder};
use super::waiting::until_finished;
use super::{acting, execute_form, outputs, processes, service};
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_login::Operation;
use anabranch_model::description::media_type_essence;
use anabranch_model::{Error, ExecutionMode, ProcessDescription};
use anabranch_ogc::ogcapi::execute::{self as document, Execute};
use anabranch_ogc::ogcapi::job::status_info;
use anabranch_ogc::ogcapi::validation::validation;
use anabranch_ogc::ogcapi::{Link, Prefer, Problem, kvp, query};
use axum::body::Body;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Executes a process: the results, or 201 with the job's status (OGC API - Processes §7.11).
pub(crate) async fn execute(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = format!("/processes/{id}/execution");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    if let Some(encoding) = Encoding::of(&headers) {
        return execute_form::submit(&asked, &id, &encoding, body).await;
    }
    if let Some(problem) = wrong_media_type(&headers) {
        return asked.problem(problem);
    }
    by_body(&asked, &id, body).await.unwrap_or_else(|error| asked.error(&error))
}

fn wrong_media_type(headers: &HeaderMap) -> Option<Problem> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("?");
    let essence = media_type_essence(given);
    if essence == "application/json" || essence.ends_with("+json") {
        return None;
    }
    let detail = format!("execute requests are application/json, not {given}");
    Some(Problem::http(415, "unsupported media type", detail))
}

async fn by_body(asked: &Asked<'_>, id: &str, body: Body) -> Result<Response, Error> {
    let process = processes::find(asked, Operation::Execute, id)?.description();
    let prefer = prefer(asked.headers);
    if prefer.handling_strict {
        query::refuse_others(asked.query.unwrap_or_default(), &["validate", "f"])?;
    }
    // Kept until the answer: by then its files have gone to a job, or are of no use.
    let folder = Arc::new(UploadFolder::new(&asked.app.engine));
    let execute = match upload::begin(asked.app, body).await? {
        Upload::Whole(body) => document::parse(&body, &process, &prefer)?,
        Upload::Begun(begun) => {
            let (process, mut files) = (Arc::clone(&process), InputFiles::new(asked.app, &folder));
            let parsed = begun
                .read(asked.app, move |input| document::stream(input, &process, &prefer, files.spooling()));
            parsed.await??
        }
    };
    checked_or_run(asked, &process, execute).await
}

/// Executes a process by a query (edition 2.0 of the standard, class KVP execute). Who follows the link `execute` without a query
/// is shown the form, or told what to send: crawlers must not start anything.
pub(crate) async fn by_get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/processes/{id}/execution");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    let mut response = if let Some(problem) = refuse_unmeant(&headers) {
        asked.problem(problem)
    } else if query.as_ref().is_some_and(|query| query.len() > kvp::QUERY_BYTES_MAX) {
        let detail =
            format!("a query must not be longer than {} bytes: POST the request", kvp::QUERY_BYTES_MAX);
        asked.problem(Problem::http(414, "address too long", detail))
    } else {
        by_query(&asked, &id).await.unwrap_or_else(|error| asked.error(&error))
    };
    // The same request again is another job.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn by_query(asked: &Asked<'_>, id: &str) -> Result<Response, Error> {
    let process = processes::find(asked, Operation::Execute, id)?.description();
    let query = asked.query.unwrap_or_default();
    let form = Form::wanted(asked.query, asked.headers)?;
    if query::says_only(query, "f") {
        if form == Form::Html {
            return Ok(to_form(asked.app, &process));
        }
        let detail =
            "name the inputs in the query, or POST an execute request; prefer=respond-async is a query too";
        return Ok(asked.problem(Problem::http(400, "no request", detail)));
    }
    let execute = kvp::parse(query, &process, prefer(asked.headers))?;
    checked_or_run(asked, &process, execute).await
}

fn to_form(app: &App, process: &ProcessDescription) -> Response {
    let page = format!("{}?f=html#execute", app.base.process(&process.id));
    match HeaderValue::from_str(&page) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_no_header) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Any other method; HEAD too, which would execute without showing the results.
pub(crate) async fn refuse(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Response {
    let mut refused = service::method_not_allowed(State(app), caller, method, uri, headers).await;
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    refused
}

fn prefer(headers: &HeaderMap) -> Prefer {
    Prefer::parse(headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()))
}

/// With `validate=true` only says what would happen; else executes.
async fn checked_or_run(
    asked: &Asked<'_>,
    process: &ProcessDescription,
    execute: Execute,
) -> Result<Response, Error> {
    let app = asked.app;
    let applied = execute.preference_applied.as_ref().and_then(|applied| HeaderValue::from_str(applied).ok());
    let mut response = if query::is_dry_run(asked.query.unwrap_or_default())? {
        let bound = app.engine.validate(&execute.request)?;
        answer::json(StatusCode::OK, &validation(process, &execute.request, &bound, &app.base))
    } else {
        run(asked, execute).await?
    };
    if let Some(applied) = applied {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

async fn run(asked: &Asked<'_>, execute: Execute) -> Result<Response, Error> {
    let app = asked.app;
    let is_async = execute.request.mode == ExecutionMode::Async;
    let handle = acting::submit(app, asked.caller, execute.request).await?;
    let job = handle.id();
    if is_async {
        let status = status_info(&handle.view().job, &app.base);
        let mut response = answer::json(StatusCode::CREATED, &status);
        if let Ok(location) = HeaderValue::from_str(&app.base.job(&job)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        return Ok(response);
    }
    until_finished(app, handle).await?;
    let mut response = outputs::of_job(app, asked.viewer(), job, None).await?;
    let monitor = Link::new("monitor", "application/json", app.base.job(&job));
    answer::add_links(&mut response, &[monitor]);
    Ok(response)
}
