//! Waiting for a job on behalf of a client.

use crate::app::App;
use crate::config::OnDisconnect;
use anabranch_engine::{JobHandle, JobView};
use anabranch_model::{DismissedBy, Error, JobId, JobState, Viewer};
use std::sync::Arc;
use std::time::Duration;

/// Dismisses the job when its client goes away, where that is the server's policy: the handler is dropped while this is alive.
struct DismissOnDrop {
    app: App,
    job: Option<JobId>,
    /// Its time is over, whoever still waits for it.
    timed_out: bool,
}

impl DismissOnDrop {
    fn new(app: &App, job: JobId) -> Self {
        Self { app: Arc::clone(app), job: Some(job), timed_out: false }
    }
}

impl Drop for DismissOnDrop {
    fn drop(&mut self) {
        let Some(job) = self.job else { return };
        if self.app.on_disconnect == OnDisconnect::Keep && !self.timed_out {
            tracing::info!(job.id = %job, "the client of a synchronous request went away; the job goes on");
            return;
        }
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            tracing::info!(job.id = %job, "the client of a synchronous request went away");
            let _ended_meanwhile =
                app.engine.dismiss(&Viewer::Operator, job, DismissedBy::Disconnect, Duration::ZERO).await;
        });
    }
}

/// Waits for the end of a job that a client waits for.
///
/// # Errors
/// [`Error::TimedOut`] after the longest synchronous execution; the job is dismissed then.
pub(crate) async fn until_finished(app: &App, mut handle: JobHandle) -> Result<Arc<JobView>, Error> {
    let mut guard = DismissOnDrop::new(app, handle.id());
    let waited = tokio::time::timeout(app.sync_max, handle.finished()).await;
    match waited {
        Ok(view) => {
            guard.job = None;
            Ok(view)
        }
        Err(_elapsed) => {
            guard.timed_out = true;
            Err(Error::TimedOut { seconds_max: app.sync_max.as_secs() })
        }
    }
}

/// Waits until a job's work has begun, and with it its streams are open; or until it has ended. From then on it goes on without its client.
///
/// # Errors
/// [`Error::TimedOut`] after the longest synchronous execution; the job is dismissed then.
pub(crate) async fn until_opened(app: &App, handle: &JobHandle) -> Result<Arc<JobView>, Error> {
    let mut guard = DismissOnDrop::new(app, handle.id());
    let mut watched = handle.watch();
    let opened = watched.wait_for(|view| !matches!(view.job.state, JobState::Accepted));
    let Ok(opened) = tokio::time::timeout(app.sync_max, opened).await else {
        guard.timed_out = true;
        return Err(Error::TimedOut { seconds_max: app.sync_max.as_secs() });
    };
    guard.job = None;
    Ok(opened.map_or_else(|_engine_gone| handle.view(), |view| Arc::clone(&view)))
}

/// Waits for the end of a job for a while, and gives it as it is then. Clients of jobs that end at once are spared a poll.
pub(crate) async fn within(grace: Duration, handle: &mut JobHandle) -> Arc<JobView> {
    match tokio::time::timeout(grace, handle.finished()).await {
        Ok(view) => view,
        Err(_elapsed) => handle.view(),
    }
}
