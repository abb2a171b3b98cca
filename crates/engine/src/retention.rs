//! Finished jobs go when their time is over.

use crate::clock;
use crate::engine::Inner;
use crate::folders::blocking;
use crate::store::inbox::Rows;
use crate::store::reader::Removable;
use anabranch_model::{Error, JobId, Removal};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Jobs removed in one transaction: a few milliseconds, so that other writes are not held up.
const JOBS_AT_ONCE: usize = 500;

/// Counts what an earlier server left, which are the jobs before `first`; then sweeps, until the engine stops or is gone. A million
/// jobs take a second to be counted, in which nobody has to wait: limits that have to do with them hold a moment later.
pub(crate) async fn recall_and_sweep(engine: Weak<Inner>, first: i64) {
    if let Some(engine) = engine.upgrade() {
        let hour_ago = clock::seconds_before(clock::now(), 3600);
        match engine.store.readers.recalled(first, hour_ago).await {
            Ok(recalled) => engine.dispatcher.recall(recalled),
            Err(error) => tracing::error!(%error, "what is stored could not be counted"),
        }
    }
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
            let (why, jobs) = self.store.readers.removable(clock::now(), kept_max, JOBS_AT_ONCE).await?;
            if jobs.is_empty() {
                break;
            }
            removed += self.remove_jobs(&jobs, why).await?;
        }
        let before = clock::seconds_before(clock::now(), self.limits.tombstones_keep_s);
        let kept_max = self.limits.tombstones_max;
        self.store.remove(Rows::Tombstones { before, kept_max }).await?;
        Ok(removed)
    }

    /// Removes finished jobs: rows first, for a row without files would be a lie, and files without a row are found.
    pub(crate) async fn remove_jobs(&self, jobs: &[Removable], why: Removal) -> Result<usize, Error> {
        let sequences = jobs.iter().map(|job| job.sequence).collect();
        let count = self.store.remove(Rows::Jobs { sequences, why, at: clock::now() }).await?;
        if count == jobs.len() {
            jobs.iter().for_each(|job| self.dispatcher.shrink(&job.owner, &job.process, job.stored_bytes));
        }
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
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
