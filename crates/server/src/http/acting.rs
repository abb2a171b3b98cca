//! What changes something in a caller's name: jobs are submitted and dismissed here, and nowhere else, so that rights are checked and the
//! audit log is written whichever interface was used.

use super::caller::Caller;
use super::jobs::DISMISS_WAIT;
use crate::app::App;
use crate::audit::Event;
use anabranch_engine::{JobHandle, JobView};
use anabranch_login::Operation;
use anabranch_model::{DismissedBy, Error, ExecuteRequest, JobId, Viewer};
use std::sync::Arc;

/// Submits a request.
///
/// # Errors
/// Those of [`anabranch_engine::Engine::submit`], and of [`Caller::check`].
pub(crate) async fn submit(app: &App, caller: &Caller, request: ExecuteRequest) -> Result<JobHandle, Error> {
    let process = request.process.clone();
    let submitted = match caller.submitter(&process) {
        Ok(submitter) => app.engine.submit(request, &submitter).await,
        Err(error) => Err(error),
    };
    let outcome = submitted.as_ref().map_or_else(Error::client_text, |_job| "accepted".into());
    let job = submitted.as_ref().ok().map(JobHandle::id);
    app.audit.record(caller, Event::Submitted { process: &process, job, outcome: &outcome });
    submitted
}

/// Ends a job, or removes a finished one.
///
/// # Errors
/// Those of [`anabranch_engine::Engine::dismiss`], and of [`Caller::check`].
pub(crate) async fn dismiss(app: &App, caller: &Caller, id: JobId) -> Result<Arc<JobView>, Error> {
    let dismissed = dismiss_if_allowed(app, caller, id).await;
    let outcome = dismissed.as_ref().map_or_else(Error::client_text, |_view| "taken".into());
    app.audit.record(caller, Event::Dismissed { job: id, outcome: &outcome });
    dismissed
}

async fn dismiss_if_allowed(app: &App, caller: &Caller, id: JobId) -> Result<Arc<JobView>, Error> {
    let job = app.engine.job(&caller.viewer, id).await?;
    match caller.check(Operation::Dismiss, &job.job.process) {
        // It is theirs: they know its process, whatever the lists show.
        Err(Error::NoSuchProcess(_)) => return Err(Error::NotAllowed),
        checked => checked?,
    }
    let is_own = job.job.owner == caller.user;
    let by = if caller.viewer == Viewer::Operator && !is_own {
        DismissedBy::Operator
    } else {
        DismissedBy::Client
    };
    app.engine.dismiss(&caller.viewer, id, by, DISMISS_WAIT).await
}
