//! `POST /processes/{process}/execution`

use super::answer::{self, Asked};
use super::form::Encoding;
use super::negotiate::Form;
use super::waiting::until_finished;
use super::{body, execute_form, outputs, processes, service};
use crate::app::App;
use anabranch_model::description::media_type_essence;
use anabranch_model::{Error, ExecutionMode};
use anabranch_ogc::ogcapi::job::status_info;
use anabranch_ogc::ogcapi::{Link, Prefer, Problem, execute as document};
use axum::body::Body;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Executes a process: the results, or 201 with the job's status (OGC API - Processes §7.11).
pub(crate) async fn execute(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let path = format!("/processes/{id}/execution");
    let asked = Asked { app: &app, headers: &headers, query: None, path: &path };
    if let Some(encoding) = Encoding::of(&headers) {
        return execute_form::submit(&asked, &id, &encoding, body).await;
    }
    if let Some(problem) = wrong_media_type(&headers) {
        return asked.problem(problem);
    }
    match execute_in(&asked, &id, body).await {
        Ok(response) => response,
        Err(error) => asked.error(&error),
    }
}

/// Anything but POST: people who follow the link `execute` come to the form, programs are told to POST.
pub(crate) async fn form(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Response {
    if method == Method::GET
        && Form::wanted(query.as_deref(), &headers) == Ok(Form::Html)
        && let Ok(process) = processes::find(&app, &id)
    {
        let page = format!("{}?f=html#execute", app.base.process(&process.description().id));
        if let Ok(location) = HeaderValue::from_str(&page) {
            return (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
        }
    }
    let mut refused = service::method_not_allowed(State(app), method, uri, headers).await;
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    refused
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

async fn execute_in(asked: &Asked<'_>, id: &str, body: Body) -> Result<Response, Error> {
    let app = asked.app;
    let process = processes::find(app, id)?;
    let body = body::read(body, app.body_bytes_max).await?;
    let prefer =
        Prefer::parse(asked.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()));
    let execute = document::parse(&body, &process.description(), &prefer)?;
    let is_async = execute.request.mode == ExecutionMode::Async;
    let handle = app.engine.submit(execute.request).await?;
    let job = handle.id();
    let mut response = if is_async {
        let status = status_info(&handle.view().job, &app.base);
        let mut response = answer::json(StatusCode::CREATED, &status);
        if let Ok(location) = HeaderValue::from_str(&app.base.job(&job)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    } else {
        until_finished(app, handle).await?;
        let mut response = outputs::of_job(app, job).await?;
        let monitor = Link::new("monitor", "application/json", app.base.job(&job));
        answer::add_links(&mut response, &[monitor]);
        response
    };
    if let Some(value) = execute.preference_applied.and_then(|applied| HeaderValue::from_str(&applied).ok()) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    Ok(response)
}
