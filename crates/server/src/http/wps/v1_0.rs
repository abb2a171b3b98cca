//! WPS 1.0.0.

use super::{exception, xml};
use crate::app::App;
use crate::http::outputs::{OutputSet, parse_job};
use crate::http::service::descriptions;
use crate::http::waiting::until_finished;
use anabranch_engine::JobView;
use anabranch_model::{Error, JobState, Outcome};
use anabranch_ogc::ExceptionReport;
use anabranch_ogc::wps_1_0::{self, DescribeProcess, Execute, Request, capabilities, describe, response};
use axum::extract::{Path, State};
use axum::response::Response;
use std::sync::Arc;

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

pub(super) async fn answer_to(app: &App, request: Request) -> Result<Response, ExceptionReport> {
    match request {
        Request::GetCapabilities(request) => {
            super::with_capabilities(app, |offered| capabilities::write(offered, &request)).map(xml)
        }
        Request::DescribeProcess(request) => describe_process(app, &request),
        Request::Execute(request) => execute(app, *request).await,
    }
}

fn reported(error: &Error) -> ExceptionReport {
    super::log_ours(error);
    wps_1_0::exception_report(error)
}

fn describe_process(app: &App, request: &DescribeProcess) -> Result<Response, ExceptionReport> {
    let picked = describe::pick(&request.processes, &descriptions(app))?;
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
