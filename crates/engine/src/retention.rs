//! Finished jobs go when their time is over.

use crate::clock;
use crate::engine::Inner;
use crate::folders::blocking;
use crate::store::inbox::Rows;
use anabranch_model::{Error, JobId};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Jobs removed in one transaction: a few milliseconds, so that other writes are not held up.
const JOBS_AT_ONCE: usize = 500;

/// Sweeps at the start and from then on, until the engine stops or is gone.
pub(crate) async fn keep_sweeping(engine: Weak<Inner>) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = engine.sweep().await {
            tracing::error!(%error, "expired jobs could not be removed");
        }
        let (stop, pause) = (engine.stop.clone(), Duration::from_secs(engine.limits.sweep_s.max(1)));
        drop(engine);
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Inner {
    /// Removes what has expired; tells how many jobs that were.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            let kept_max = self.limits.finished_jobs_max;
            let jobs = self.store.readers.removable(clock::now(), kept_max, JOBS_AT_ONCE).await?;
            if jobs.is_empty() {
                return Ok(removed);
            }
            removed += self.remove_jobs(&jobs).await?;
        }
    }

    /// Removes finished jobs: rows first, for a row without files would be a lie, and files without a row are found.
    pub(crate) async fn remove_jobs(&self, jobs: &[(i64, JobId)]) -> Result<usize, Error> {
        let count =
            self.store.remove(Rows::Jobs(jobs.iter().map(|(sequence, _)| *sequence).collect())).await?;
        let ids: Vec<JobId> = jobs.iter().map(|(_, id)| *id).collect();
        let logs: Vec<_> =
            ids.iter().filter_map(|id| self.board.find(*id)).map(|live| Arc::clone(&live.log)).collect();
        for id in &ids {
            self.board.remove(*id);
        }
        let (folders, writer) = (self.folders.clone(), Arc::clone(&self.logs));
        blocking(move || {
            logs.iter().for_each(|log| log.remove());
            let paths: Vec<_> = ids.iter().map(|id| folders.log(*id)).collect();
            writer.forget(&paths);
            ids.iter().for_each(|id| folders.remove_job(*id));
        })
        .await?;
        Ok(count)
    }
}
