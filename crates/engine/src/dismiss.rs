//! Ending jobs by request.

use crate::engine::Inner;
use crate::live::{DismissStep, Live};
use crate::query::Found;
use crate::store::reader::Removable;
use crate::view::JobView;
use anabranch_model::{DismissedBy, Error, JobId, JobState, Outcome, Removal, Viewer};
use std::sync::Arc;
use std::time::Duration;

impl Inner {
    /// See [`crate::Engine::dismiss`].
    pub(crate) async fn dismiss(
        self: &Arc<Self>,
        viewer: &Viewer,
        id: JobId,
        by: DismissedBy,
        wait: Duration,
    ) -> Result<Arc<JobView>, Error> {
        let live = match self.find(viewer, id).await? {
            Found::Live(live) => live,
            Found::Stored(stored) if stored.view.job.is_finished() => {
                return self.remove_finished(stored.removable(), stored.view, by).await;
            }
            Found::Stored(stored) if self.nodes.is_some() => {
                return self.dismiss_elsewhere(id, stored.sequence, by, wait).await;
            }
            Found::Stored(_) => {
                let limit = "the jobs of the last server have not been recovered yet".into();
                return Err(Error::Busy { limit, retry_after_s: 1 });
            }
        };
        let wait = match self.dismiss_live(&live, by) {
            DismissStep::TooLate => {
                // Its end may not be committed yet.
                let view = self.await_end(&live, Duration::from_millis(self.limits.dismiss_ms_max)).await;
                return self.remove_finished(live.removable(&view), (*view).clone(), by).await;
            }
            // No work has to end; only the store has to be written.
            DismissStep::Ended => Duration::from_millis(self.limits.dismiss_ms_max),
            DismissStep::Cancelled { .. } => wait,
        };
        Ok(self.await_end(&live, wait).await)
    }

    /// Ends a job in memory, or begins to.
    pub(crate) fn dismiss_live(self: &Arc<Self>, live: &Arc<Live>, by: DismissedBy) -> DismissStep {
        let step = live.dismiss(by);
        match step {
            DismissStep::TooLate | DismissStep::Cancelled { first: false } => {}
            DismissStep::Ended => self.dispatcher.remove(live),
            DismissStep::Cancelled { first: true } => self.watch_end(live),
        }
        step
    }

    /// Asks the job's owner, and waits up to `wait` for the end.
    async fn dismiss_elsewhere(
        self: &Arc<Self>,
        id: JobId,
        sequence: i64,
        by: DismissedBy,
        wait: Duration,
    ) -> Result<Arc<JobView>, Error> {
        if let Some(nodes) = &self.nodes {
            nodes.ask_dismissal(sequence, by).await?;
        }
        let mut views = self.watch(&Viewer::Operator, id).await?;
        let ended = views.wait_for(|view| view.job.is_finished());
        // When time is up, or the job is removed, it is shown as it is.
        let _ = tokio::time::timeout(wait, ended).await;
        let view = Arc::clone(&views.borrow());
        Ok(view)
    }

    async fn await_end(&self, live: &Live, wait: Duration) -> Arc<JobView> {
        let mut receiver = live.watch();
        let ended = receiver.wait_for(|view| view.job.is_finished());
        // When time is up the job is shown as it is: still being dismissed.
        let _ = tokio::time::timeout(wait, ended).await;
        live.view()
    }

    /// Says in the log when a cancelled run does not end; it is never claimed to have ended.
    fn watch_end(self: &Arc<Self>, live: &Arc<Live>) {
        let (engine, live) = (Arc::clone(self), Arc::clone(live));
        tokio::spawn(async move {
            let wait = Duration::from_millis(engine.limits.dismiss_ms_max);
            let view = engine.await_end(&live, wait).await;
            if !view.job.is_finished() {
                tracing::warn!(job = %live.id, process = %view.job.process, ?wait, "a dismissed run does not end");
                let text = format!("dismissed, and the work has not ended after {} ms", wait.as_millis());
                engine.say(&live, &text);
            }
        });
    }

    async fn remove_finished(
        &self,
        job: Removable,
        mut view: JobView,
        by: DismissedBy,
    ) -> Result<Arc<JobView>, Error> {
        let (id, why) = (job.id, why(by));
        if self.remove_jobs(&[job], why).await? == 0 {
            return Err(Error::NoSuchJob(id.to_string()));
        }
        view.job.state = JobState::Finished(Outcome::Dismissed(by));
        Ok(Arc::new(view))
    }
}

fn why(by: DismissedBy) -> Removal {
    match by {
        DismissedBy::Client | DismissedBy::Disconnect => Removal::Dismissed,
        DismissedBy::Operator => Removal::Operator,
    }
}
