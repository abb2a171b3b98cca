//! WPS by GET and POST: the version and the operation are found in the request, the rest is done by its version.

mod v1_0;
mod v2_0;

use super::answer;
use super::rendered::Document;
use super::service::descriptions;
use super::upload::{self, Begun, InputFiles, Upload, UploadFolder};
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_login::Operation;
use anabranch_model::Error;
use anabranch_ogc::wps::{Capabilities, MEDIA_TYPE, Processes};
use anabranch_ogc::{ExceptionReport, WpsRequest, detect, wps_1_0};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

pub(crate) use v1_0::{reported, status};

/// `GET /wps?…`
pub(crate) async fn by_get(State(app): State<App>, caller: Caller, RawQuery(query): RawQuery) -> Response {
    let request = detect::query(query.as_deref().unwrap_or_default(), &app.service);
    answer_to(&app, &caller, request).await
}

/// `POST /wps`: the root element of the body says what is asked; the query string counts for nothing.
pub(crate) async fn by_post(State(app): State<App>, caller: Caller, body: Body) -> Response {
    // Kept until the answer: by then its files have gone to a job, or are of no use.
    let folder = Arc::new(UploadFolder::new(&app.engine));
    let request = match upload::begin(&app, body).await {
        Ok(Upload::Whole(body)) => detect::body(&body, &app.service),
        Ok(Upload::Begun(begun)) => match caller.check_any(Operation::Execute) {
            Ok(()) => streamed(&app, &folder, begun).await,
            Err(error) => Err(of_nobody_knows_which(&error)),
        },
        Err(error) => Err(of_nobody_knows_which(&error)),
    };
    answer_to(&app, &caller, request).await
}

/// Parses a large body while it arrives.
async fn streamed(
    app: &App,
    folder: &Arc<UploadFolder>,
    begun: Begun,
) -> Result<WpsRequest, ExceptionReport> {
    let (known, mut files) = (Arc::clone(app), InputFiles::new(app, folder));
    let parsed = begun.read(app, move |input| detect::stream(input, &known.service, files.spooling()));
    parsed.await.unwrap_or_else(|error| Err(of_nobody_knows_which(&error)))
}

/// The report for an error of a request whose version nobody has read.
fn of_nobody_knows_which(error: &Error) -> ExceptionReport {
    log_ours(error);
    wps_1_0::exception_report(error)
}

async fn answer_to(app: &App, caller: &Caller, request: Result<WpsRequest, ExceptionReport>) -> Response {
    let answered = match request {
        Ok(WpsRequest::V1_0(request)) => v1_0::answer_to(app, caller, request).await,
        Ok(WpsRequest::V2_0(request)) => v2_0::answer_to(app, caller, request).await,
        Err(report) => Err(report),
    };
    answered.unwrap_or_else(|report| exception(app, &report))
}

fn xml(bytes: Vec<u8>) -> Response {
    answer::with_type(StatusCode::OK, MEDIA_TYPE, bytes)
}

pub(crate) fn exception(app: &App, report: &ExceptionReport) -> Response {
    let status = StatusCode::from_u16(report.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer::with_type(status, MEDIA_TYPE, report.to_xml(app.service.language()));
    if let Some(seconds) = report.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Errors that are ours to mend are logged once.
fn log_ours(error: &Error) {
    if matches!(error, Error::Internal { .. } | Error::NotEnoughStorage { .. }) {
        tracing::error!(%error, "WPS request failed");
    }
}

/// Gives a writer what capabilities documents are made of.
fn with_capabilities<T>(app: &App, caller: &Caller, write: impl FnOnce(&Capabilities<'_>) -> T) -> T {
    // First, so that no document claims to be newer than it is.
    let update_sequence = app.engine.registry().changes();
    let (processes, url) = (descriptions(app, caller), app.wps_url());
    write(&Capabilities { service: &app.service, url: &url, processes: &processes, update_sequence })
}

/// Whether the caller may see all processes that are asked for by name; those that they are not to know of are unknown by themselves, as
/// they stand in none of the caller's lists.
fn check_described(app: &App, caller: &Caller, asked: &Processes) -> Result<(), Error> {
    let Processes::Named(names) = asked else { return Ok(()) };
    let known = names.iter().filter_map(|name| name.parse().ok());
    for process in known.filter(|process| app.engine.registry().get(process).is_ok()) {
        match caller.check(Operation::See, &process) {
            Ok(()) | Err(Error::NoSuchProcess(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The capabilities that clients get who name no choices.
fn plain_capabilities<E>(
    app: &App,
    caller: &Caller,
    document: Document,
    write: impl FnOnce(&Capabilities<'_>) -> Result<Vec<u8>, E>,
) -> Result<Response, E> {
    app.rendered.answer(document, &caller.list_key(), app.engine.registry(), || {
        let bytes = with_capabilities(app, caller, write)?;
        Ok(answer::typed(StatusCode::OK, MEDIA_TYPE, bytes.into()))
    })
}
