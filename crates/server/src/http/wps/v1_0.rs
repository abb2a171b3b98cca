//! WPS 1.0.0.

mod early;

use super::{exception, xml};
use crate::app::App;
use crate::http::acting;
use crate::http::answer;
use crate::http::caller::Caller;
use crate::http::outputs::{OutputSet, bare, parse_job};
use crate::http::rendered::Document;
use crate::http::service::{description, descriptions};
use crate::http::streams;
use crate::http::waiting::{until_finished, until_opened};
use anabranch_engine::{JobView, StoredRequest};
use anabranch_model::{Error, ExecutionMode, JobState, Outcome, Timestamp, Viewer};
use anabranch_ogc::ExceptionReport;
use anabranch_ogc::wps::Capabilities;
use anabranch_ogc::wps_1_0::{self, DescribeProcess, Execute, Request, capabilities, describe, response};
use axum::extract::{Path, State};
use axum::response::Response;
use std::sync::Arc;

/// `GET /wps/status/{job}`: the stored ExecuteResponse, which is written anew from the job whenever it is asked for.
pub(crate) async fn status(State(app): State<App>, caller: Caller, Path(job): Path<String>) -> Response {
    stored(&app, &caller.viewer, &job, None).await.unwrap_or_else(|error| exception(&app, &reported(&error)))
}

/// The same by `GetExecutionStatus`, which GeoServer's clients know.
async fn stored(app: &App, viewer: &Viewer, job: &str, language: Option<&str>) -> Result<Response, Error> {
    let view = app.engine.job(viewer, parse_job(job)?).await?;
    let mut response = execute_response(app, viewer, &view, language, true).await?;
    // The document itself has no place for it.
    answer::announce_removal(&mut response, view.outputs_expire(None, Timestamp::now()));
    Ok(response)
}

/// GeoServer's: ends a job or removes a finished one with its results. Afterwards there is no such job, as in WPS 2.0.
async fn dismiss(app: &App, caller: &Caller, job: &str, language: Option<&str>) -> Result<Response, Error> {
    let viewer = &caller.viewer;
    let id = parse_job(job)?;
    let before = app.engine.job(viewer, id).await?;
    if matches!(before.job.state, JobState::Finished(Outcome::Dismissed(_))) {
        return Err(Error::NoSuchJob(job.to_owned()));
    }
    // Read first: with a finished job its request is removed.
    let request = app.engine.request(viewer, id).await?;
    let view = acting::dismiss(app, caller, id).await?;
    written(app, viewer, &view, &request, language, !before.job.is_finished()).await
}

pub(super) async fn answer_to(
    app: &App,
    caller: &Caller,
    request: Request,
) -> Result<Response, ExceptionReport> {
    match request {
        Request::GetCapabilities(request) => {
            let write = |offered: &Capabilities<'_>| capabilities::write(offered, &request);
            if request.language.is_none() && request.update_sequence.is_none() {
                super::plain_capabilities(app, caller, Document::Capabilities1_0, write)
            } else {
                super::with_capabilities(app, caller, write).map(xml)
            }
        }
        Request::DescribeProcess(request) => describe_process(app, caller, &request),
        Request::Execute(request) => execute(app, caller, *request).await,
        Request::GetExecutionStatus(of) => stored(app, &caller.viewer, &of.job, of.language.as_deref())
            .await
            .map_err(|error| reported(&error)),
        Request::Dismiss(of) => {
            dismiss(app, caller, &of.job, of.language.as_deref()).await.map_err(|error| reported(&error))
        }
    }
}

/// The report, logged where it is ours to mend.
pub(crate) fn reported(error: &Error) -> ExceptionReport {
    super::log_ours(error);
    wps_1_0::exception_report(error)
}

fn describe_process(
    app: &App,
    caller: &Caller,
    request: &DescribeProcess,
) -> Result<Response, ExceptionReport> {
    super::check_described(app, caller, &request.processes).map_err(|error| reported(&error))?;
    let picked = describe::pick(&request.processes, &descriptions(app, caller))?;
    Ok(xml(describe::write(&picked, request.language.as_deref().unwrap_or_else(|| app.service.language()))))
}

/// Failures before acceptance are exception reports; later ones stand in the ExecuteResponse, but for raw answers.
async fn execute(app: &App, caller: &Caller, mut execute: Execute) -> Result<Response, ExceptionReport> {
    let (options, viewer) = (execute.response, &caller.viewer);
    let language = execute.language.as_deref();
    let is_early = early::is_early(app, &execute.request);
    if is_early {
        // The client goes as soon as the streams are open: the job has to outlive it, and this server.
        execute.request.mode = ExecutionMode::Async;
    }
    let handle = acting::submit(app, caller, execute.request).await.map_err(|error| reported(&error))?;
    let view = if options.store && options.status {
        handle.view()
    } else if is_early {
        let view = until_opened(app, &handle).await.map_err(|error| reported(&error))?;
        if let Some(error) = early::never_opened(&view) {
            return Err(reported(&error));
        }
        view
    } else {
        until_finished(app, handle).await.map_err(|error| reported(&error))?
    };
    if options.raw {
        return raw(app, viewer, &view).await.map_err(|error| reported(&error));
    }
    execute_response(app, viewer, &view, language, options.store).await.map_err(|error| reported(&error))
}

async fn raw(app: &App, viewer: &Viewer, view: &JobView) -> Result<Response, Error> {
    let job = view.job.id;
    let set = match early::opened(app, viewer, view).await? {
        Some(streams) => streams,
        None => OutputSet::load(app, viewer, job).await?,
    };
    match set.results.outputs.first() {
        Some(log) => bare(app, viewer, job, &set, log).await,
        None => Err(Error::process_failed("the process wrote no output")),
    }
}

async fn execute_response(
    app: &App,
    viewer: &Viewer,
    view: &Arc<JobView>,
    language: Option<&str>,
    stored: bool,
) -> Result<Response, Error> {
    let request = app.engine.request(viewer, view.job.id).await?;
    written(app, viewer, view, &request, language, stored).await
}

/// `stored` tells whether the document can be fetched again.
async fn written(
    app: &App,
    viewer: &Viewer,
    view: &Arc<JobView>,
    request: &Arc<StoredRequest>,
    language: Option<&str>,
    stored: bool,
) -> Result<Response, Error> {
    let job = view.job.id;
    let language = language.unwrap_or_else(|| app.service.language()).to_owned();
    let service_instance = format!("{}?service=WPS&version=1.0.0&request=GetCapabilities", app.wps_url());
    let status_location = stored.then(|| app.base.at(&format!("/wps/status/{job}")));
    let process = description(app, &request.request.process);
    let early = early::opened(app, viewer, view).await?;
    let mut shown = view.job.clone();
    if early.is_some() {
        shown.state = JobState::Finished(Outcome::Succeeded);
    }
    let set = match shown.state {
        JobState::Finished(Outcome::Succeeded) if early.is_none() => {
            Some(OutputSet::load(app, viewer, job).await?)
        }
        JobState::Accepted | JobState::Running { .. } | JobState::Finished(_) => early,
    };
    let set = set.map(|set| set.for_wps(&app.base, job));
    let links =
        if view.job.is_finished() { Vec::new() } else { streams::links_of_2012(app, viewer, job).await? };
    let request = Arc::clone(request);
    let write = move |outputs: &[anabranch_ogc::Output<'_>], out: &mut dyn std::io::Write| {
        let document = response::Response {
            job: &shown,
            process: &process,
            service_instance: &service_instance,
            status_location: status_location.as_deref(),
            language: &language,
            request: &request.request,
            outputs,
        };
        response::write(&document, out)
    };
    let mut response = match set {
        Some(set) => set.written(wps_1_0::MEDIA_TYPE, write),
        None => {
            let mut bytes = Vec::new();
            write(&[], &mut bytes).map_err(Error::internal)?;
            xml(bytes)
        }
    };
    answer::add_links(&mut response, &links);
    Ok(response)
}
