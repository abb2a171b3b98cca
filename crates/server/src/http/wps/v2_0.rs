//! WPS 2.0.

use super::xml;
use crate::app::App;
use crate::http::acting;
use crate::http::answer;
use crate::http::caller::Caller;
use crate::http::outputs::{OutputSet, bare, parse_job};
use crate::http::rendered::Document;
use crate::http::service::{description, descriptions};
use crate::http::streams;
use crate::http::waiting::{until_finished, within};
use anabranch_engine::{JobHandle, JobView};
use anabranch_login::Operation;
use anabranch_model::bind::FAULTS_MAX;
use anabranch_model::{
    Error, ExecuteRequest, ExecutionMode, JobId, JobState, Outcome, ProcessDescription, ResponseForm,
    Timestamp, Value, Viewer, bind,
};
use anabranch_ogc::wps_2_0::execute::unanswerable;
use anabranch_ogc::wps_2_0::{self, DescribeProcess, Request, capabilities, describe, response, status};
use anabranch_ogc::{ExceptionReport, Output, OutputValue};
use axum::http::StatusCode;
use axum::response::Response;

pub(super) async fn answer_to(
    app: &App,
    caller: &Caller,
    request: Request,
) -> Result<Response, ExceptionReport> {
    let answered = match request {
        Request::GetCapabilities(_) => {
            super::plain_capabilities(app, caller, Document::Capabilities2_0, |offered| {
                Ok(capabilities::write(offered))
            })
        }
        Request::DescribeProcess(request) => return describe_process(app, caller, &request),
        Request::Execute(request) => execute(app, caller, *request).await,
        Request::GetStatus(job) => get_status(app, &caller.viewer, &job).await,
        Request::GetResult(job) => get_result(app, &caller.viewer, &job).await,
        Request::Dismiss(job) => dismiss(app, caller, &job).await,
    };
    answered.map_err(|error| {
        super::log_ours(&error);
        wps_2_0::exception_report(&error)
    })
}

fn describe_process(
    app: &App,
    caller: &Caller,
    request: &DescribeProcess,
) -> Result<Response, ExceptionReport> {
    super::check_described(app, caller, &request.processes)
        .map_err(|error| wps_2_0::exception_report(&error))?;
    let picked = describe::pick(&request.processes, &descriptions(app, caller))?;
    Ok(xml(describe::write(&picked, request.language.as_deref().unwrap_or_else(|| app.service.language()))))
}

/// A synchronous answer holds the results, an asynchronous one the status; where the server may choose, jobs that end within the grace
/// are answered with their results. Failures of jobs that are waited for are exception reports.
async fn execute(app: &App, caller: &Caller, mut request: ExecuteRequest) -> Result<Response, Error> {
    let viewer = &caller.viewer;
    let process = app.engine.registry().get(&request.process)?.description();
    caller.check(Operation::Execute, &request.process)?;
    check_answerable(&process, &request)?;
    request.mode = chosen(request.mode, &process);
    let mode = request.mode;
    let mut handle = acting::submit(app, caller, request).await?;
    let job = handle.id();
    match mode {
        ExecutionMode::Sync => {
            until_finished(app, handle).await?;
            results(app, viewer, job).await
        }
        ExecutionMode::Async => {
            let view = within(app.async_grace, &mut handle).await;
            status_info(app, viewer, &view).await
        }
        ExecutionMode::Auto => results_or_status(app, viewer, handle).await,
    }
}

/// What binding does not look at, in one answer with all that it finds.
fn check_answerable(process: &ProcessDescription, request: &ExecuteRequest) -> Result<(), Error> {
    let mut faults = unanswerable(process, request);
    if faults.is_empty() {
        return Ok(());
    }
    if let Err(Error::Invalid(others)) = bind(process, request) {
        faults.splice(0..0, others);
    }
    faults.truncate(FAULTS_MAX);
    Err(Error::Invalid(faults))
}

/// A choice is left only where the process can be executed both ways.
fn chosen(mode: ExecutionMode, process: &ProcessDescription) -> ExecutionMode {
    match mode {
        ExecutionMode::Auto if !process.async_execute => ExecutionMode::Sync,
        ExecutionMode::Auto if !process.sync_execute => ExecutionMode::Async,
        mode => mode,
    }
}

async fn results_or_status(app: &App, viewer: &Viewer, mut handle: JobHandle) -> Result<Response, Error> {
    let view = within(app.async_grace, &mut handle).await;
    if view.job.is_finished() {
        results(app, viewer, view.job.id).await
    } else {
        status_info(app, viewer, &view).await
    }
}

/// With links to the playlists of a job that goes on.
async fn status_info(app: &App, viewer: &Viewer, view: &JobView) -> Result<Response, Error> {
    let now = Timestamp::now();
    let status = status::StatusInfo { job: &view.job, expires: view.outputs_expire(None, now), now };
    let mut response = xml(status::write(&status));
    if !view.job.is_finished() {
        answer::add_links(&mut response, &streams::links_of_2012(app, viewer, view.job.id).await?);
    }
    Ok(response)
}

async fn get_status(app: &App, viewer: &Viewer, job: &str) -> Result<Response, Error> {
    status_info(app, viewer, &*app.engine.job(viewer, parse_job(job)?).await?).await
}

async fn get_result(app: &App, viewer: &Viewer, job: &str) -> Result<Response, Error> {
    results(app, viewer, parse_job(job)?).await
}

/// As the Execute request wanted them, whichever interface it came by. A raw answer holds one output: where there are more, they
/// come as a document.
async fn results(app: &App, viewer: &Viewer, job: JobId) -> Result<Response, Error> {
    let set = OutputSet::load(app, viewer, job).await?;
    if set.response == ResponseForm::Raw && set.results.outputs.len() == 1 {
        return raw(app, viewer, job, &set).await;
    }
    if set.results.outputs.is_empty() {
        return Err(Error::process_failed("the process wrote no output"));
    }
    let expires = app.engine.job(viewer, job).await?.outputs_expire(None, Timestamp::now());
    let process = description(app, &set.process);
    let set = set.for_wps(&app.base, job);
    Ok(set.written(wps_2_0::MEDIA_TYPE, move |outputs, out| {
        let groups = &process.groups;
        response::write(&response::Response { job: &job, groups, expires, outputs }, out)
    }))
}

/// The only output as it is; also where a link was asked for, as raw data has no place for one.
async fn raw(app: &App, viewer: &Viewer, job: JobId, set: &OutputSet) -> Result<Response, Error> {
    let (Some(log), Some(output)) = (set.results.outputs.first(), set.outputs().first().copied()) else {
        return Err(Error::process_failed("the process wrote no output"));
    };
    match log.chunks.as_slice() {
        [value @ (Value::Literal(_) | Value::BoundingBox(_))] => {
            let output = Output { value: OutputValue::Inline(value), ..output };
            let mut bytes = Vec::new();
            response::write_raw(&output, &mut bytes).map_err(Error::internal)?;
            Ok(answer::with_type(StatusCode::OK, &response::raw_media_type(&output), bytes))
        }
        _ => bare(app, viewer, job, set, log).await,
    }
}

/// Ends a job or removes a finished one with its results; what has been dismissed is no job any more.
async fn dismiss(app: &App, caller: &Caller, job: &str) -> Result<Response, Error> {
    let viewer = &caller.viewer;
    let id = parse_job(job)?;
    let before = app.engine.job(viewer, id).await?;
    if matches!(before.job.state, JobState::Finished(Outcome::Dismissed(_))) {
        return Err(Error::NoSuchJob(job.to_owned()));
    }
    let view = acting::dismiss(app, caller, id).await?;
    // What is gone does not expire.
    let expires = view.expires.filter(|_| !before.job.is_finished());
    Ok(xml(status::write(&status::StatusInfo { job: &view.job, expires, now: Timestamp::now() })))
}
