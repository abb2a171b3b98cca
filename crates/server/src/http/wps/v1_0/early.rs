//! Early success, as in 2012: for some processes "succeeded" means that their streams are open. Their clients wait for the answer to a
//! synchronous request and would else wait for the end of the stream; that it has ended, and how, is said in the playlist.

use crate::app::App;
use crate::http::outputs::OutputSet;
use anabranch_engine::JobView;
use anabranch_model::{Error, ExecuteRequest, JobState, Outcome, Viewer};

/// The process is one of those, and nothing is asked of it but streams.
pub(super) fn is_early(app: &App, request: &ExecuteRequest) -> bool {
    if !app.early_success.contains(&request.process) {
        return false;
    }
    let bound = app.engine.validate(request);
    bound.is_ok_and(|bound| bound.outputs.iter().all(anabranch_model::OutputRequest::is_stream))
}

/// The streams of a job that is to be shown as succeeded because they are open, or have been. `None` for all other jobs.
pub(super) async fn opened(app: &App, viewer: &Viewer, view: &JobView) -> Result<Option<OutputSet>, Error> {
    let job = &view.job;
    if !app.early_success.contains(&job.process) {
        return Ok(None);
    }
    let was_opened = match &job.state {
        JobState::Accepted => false,
        JobState::Running { .. } => true,
        JobState::Finished(_) => never_opened(view).is_none(),
    };
    if !was_opened {
        return Ok(None);
    }
    let request = app.engine.request(viewer, job.id).await?;
    if !request.outputs.iter().all(anabranch_model::OutputRequest::is_stream) {
        return Ok(None);
    }
    OutputSet::of_streams(app, viewer, job.id).await.map(Some)
}

/// Why a job ended before its streams were open: it then began and ended in one moment.
pub(super) fn never_opened(view: &JobView) -> Option<Error> {
    let job = &view.job;
    match &job.state {
        JobState::Finished(_) if job.started < job.finished => None,
        JobState::Finished(Outcome::Failed(error)) => Some(error.clone()),
        JobState::Finished(Outcome::Dismissed(_)) => Some(Error::Dismissed),
        JobState::Accepted | JobState::Running { .. } | JobState::Finished(Outcome::Succeeded) => None,
    }
}
