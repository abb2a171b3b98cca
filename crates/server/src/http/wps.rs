//! WPS 1.0.0 by GET and POST.

use super::outputs::{OutputSet, parse_job};
use super::service::descriptions;
use super::waiting::until_finished;
use super::{answer, body};
use crate::app::App;
use anabranch_engine::JobView;
use anabranch_model::{Error, JobState, Outcome};
use anabranch_ogc::wps_1_0::{
    self, DescribeProcess, Execute, GetCapabilities, Request, capabilities, describe, response,
};
use anabranch_ogc::{ExceptionReport, WpsRequest, detect};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// `GET /wps?…`
pub(crate) async fn by_get(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let request = detect::query(query.as_deref().unwrap_or_default(), &app.service);
    answer_to(&app, request).await
}

/// `POST /wps`: the root element of the body says what is asked; the query string counts for nothing.
pub(crate) async fn by_post(State(app): State<App>, body: Body) -> Response {
    let request = match body::read(body, app.body_bytes_max).await {
        Ok(body) => detect::body(&body, &app.service),
        Err(error) => Err(wps_1_0::exception_report(&error)),
    };
    answer_to(&app, request).await
}

/// `GET /wps/status/{job}`: the stored ExecuteResponse, which is written anew from the job whenever it is asked for.
pub(crate) async fn status(State(app): State<App>, Path(job): Path<String>) -> Response {
    let view = match parse_job(&job) {
        Ok(id) => app.engine.job(id).await,
        Err(error) => Err(error),
    };
    let answered = match view {
        Ok(view) => execute_response(&app, &view, None, true).await.map_err(|error| reported(&error)),
        Err(error) => Err(reported(&error)),
    };
    answered.unwrap_or_else(|report| exception(&app, &report))
}

async fn answer_to(app: &App, request: Result<WpsRequest, ExceptionReport>) -> Response {
    let answered = match request {
        Ok(WpsRequest::V1_0(Request::GetCapabilities(request))) => get_capabilities(app, &request),
        Ok(WpsRequest::V1_0(Request::DescribeProcess(request))) => describe_process(app, &request),
        Ok(WpsRequest::V1_0(Request::Execute(request))) => execute(app, *request).await,
        Err(report) => Err(report),
    };
    answered.unwrap_or_else(|report| exception(app, &report))
}

fn xml(bytes: Vec<u8>) -> Response {
    answer::with_type(StatusCode::OK, wps_1_0::MEDIA_TYPE, bytes)
}

fn exception(app: &App, report: &ExceptionReport) -> Response {
    let status = StatusCode::from_u16(report.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer::with_type(status, wps_1_0::MEDIA_TYPE, report.to_xml(app.service.language()));
    if let Some(seconds) = report.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The report for an error, which is logged once if it is ours to mend.
fn reported(error: &Error) -> ExceptionReport {
    if matches!(error, Error::Internal { .. } | Error::NotEnoughStorage { .. }) {
        tracing::error!(%error, "WPS request failed");
    }
    wps_1_0::exception_report(error)
}

fn get_capabilities(app: &App, request: &GetCapabilities) -> Result<Response, ExceptionReport> {
    let (processes, url) = (descriptions(app), app.wps_url());
    let update_sequence = *app.engine.registry().watch().borrow();
    let offered = capabilities::Capabilities {
        service: &app.service,
        url: &url,
        processes: &processes,
        update_sequence,
    };
    capabilities::write(&offered, request).map(xml)
}

fn describe_process(app: &App, request: &DescribeProcess) -> Result<Response, ExceptionReport> {
    let picked = request.processes.pick(&descriptions(app))?;
    Ok(xml(describe::write(&picked, request.language.as_deref().unwrap_or_else(|| app.service.language()))))
}

/// Failures before acceptance are exception reports; later ones stand in the ExecuteResponse, but for raw answers.
async fn execute(app: &App, execute: Execute) -> Result<Response, ExceptionReport> {
    let options = execute.response;
    let language = execute.language.as_deref();
    let handle = app.engine.submit(execute.request).await.map_err(|error| reported(&error))?;
    let view = if options.store && options.status {
        handle.view()
    } else {
        until_finished(app, handle).await.map_err(|error| reported(&error))?
    };
    if options.raw {
        return raw(app, &view).await.map_err(|error| reported(&error));
    }
    execute_response(app, &view, language, options.store).await.map_err(|error| reported(&error))
}

async fn raw(app: &App, view: &JobView) -> Result<Response, Error> {
    let set = OutputSet::load(app, view.job.id).await?;
    match set.results.outputs.first() {
        Some(log) => set.raw(log).await,
        None => Err(Error::process_failed("the process wrote no output")),
    }
}

async fn execute_response(
    app: &App,
    view: &Arc<JobView>,
    language: Option<&str>,
    stored: bool,
) -> Result<Response, Error> {
    let job = view.job.id;
    let language = language.unwrap_or_else(|| app.service.language()).to_owned();
    let service_instance = format!("{}?service=WPS&version=1.0.0&request=GetCapabilities", app.wps_url());
    let status_location = stored.then(|| app.base.at(&format!("/wps/status/{job}")));
    let request = app.engine.request(job).await?;
    let process = app.engine.registry().get(&request.request.process)?.description();
    let set = match view.job.state {
        JobState::Finished(Outcome::Succeeded) => Some(OutputSet::load(app, job).await?),
        JobState::Accepted | JobState::Running { .. } | JobState::Finished(_) => None,
    };
    let view = Arc::clone(view);
    let write = move |outputs: &[anabranch_ogc::Output<'_>], out: &mut dyn std::io::Write| {
        let document = response::Response {
            job: &view.job,
            process: &process,
            service_instance: &service_instance,
            status_location: status_location.as_deref(),
            language: &language,
            request: &request.request,
            outputs,
        };
        response::write(&document, out)
    };
    match set {
        Some(set) => Ok(set.written(wps_1_0::MEDIA_TYPE, write)),
        None => {
            let mut bytes = Vec::new();
            write(&[], &mut bytes).map_err(Error::internal)?;
            Ok(xml(bytes))
        }
    }
}
