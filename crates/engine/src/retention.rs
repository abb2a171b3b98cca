//! Finished jobs go when their time is over.

use crate::clock;
use crate::engine::Inner;
use crate::folders::{self, blocking};
use crate::store::inbox::Rows;
use crate::store::reader::Removable;
use crate::store::row::{from_json, to_json};
use crate::view::OutputSummary;
use anabranch_model::{Error, JobId, Removal, Timestamp};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Jobs removed in one transaction: a few milliseconds, so that other writes are not held up.
const JOBS_AT_ONCE: usize = 500;

/// Outputs of a finished job that go before it.
pub(crate) struct ExpiredOutputs {
    pub(crate) job: Removable,
    /// All of its outputs, as they are in the store.
    pub(crate) outputs: String,
    /// The same with these gone.
    pub(crate) outputs_left: String,
    pub(crate) stored_bytes_left: u64,
    /// The places of those whose time is over.
    pub(crate) expired: Vec<usize>,
    /// The same with their names, and with those that went before.
    removed: Vec<(usize, String)>,
    /// When the next one goes.
    pub(crate) next: Option<Timestamp>,
}

impl ExpiredOutputs {
    fn new(job: Removable, outputs: String, now: Timestamp) -> Result<Self, Error> {
        let mut all: Vec<OutputSummary> = from_json(0, &outputs)?;
        let mut left = Self {
            stored_bytes_left: job.stored_bytes,
            job,
            outputs,
            outputs_left: String::new(),
            expired: Vec::new(),
            removed: Vec::new(),
            next: None,
        };
        for (place, output) in all.iter_mut().enumerate().filter(|(_, output)| output.expires.is_some()) {
            if !output.is_gone(now) {
                left.next = left.next.into_iter().chain(output.expires).min();
                continue;
            }
            if !output.is_removed() {
                left.stored_bytes_left = left.stored_bytes_left.saturating_sub(output.bytes);
                (output.removed, output.bytes) = (output.chunks, 0);
                left.expired.push(place);
            }
            left.removed.push((place, output.id.clone()));
        }
        left.outputs_left = to_json(&all)?;
        Ok(left)
    }
}

/// Counts what an earlier server left, which are the jobs before `first`; then sweeps, until the engine stops or is gone. A million
/// jobs take a second to be counted, in which nobody has to wait: limits that have to do with them hold a moment later.
pub(crate) async fn recall_and_sweep(engine: Weak<Inner>, first: i64) {
    if let Some(engine) = engine.upgrade()
        && let Err(error) = engine.recall(first).await
    {
        tracing::error!(%error, "what is stored could not be counted");
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
    async fn recall(&self, first: i64) -> Result<(), Error> {
        let hour_ago = clock::seconds_before(clock::now(), 3600);
        let mut recalled = self.store.readers.recalled(first, hour_ago).await?;
        if let Some(nodes) = &self.nodes {
            // What all nodes keep is counted as it will be again and again.
            self.recount(nodes.node).await?;
            recalled.stored.clear();
        }
        self.dispatcher.recall(recalled);
        Ok(())
    }

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
        self.sweep_outputs().await?;
        let before = clock::seconds_before(clock::now(), self.limits.tombstones_keep_s);
        let kept_max = self.limits.tombstones_max;
        self.store.remove(Rows::Tombstones { before, kept_max }).await?;
        Ok(removed)
    }

    /// Removes outputs that are kept less long than their job. Rows first, then files, and then it is written down that the files are
    /// gone: whoever is killed in between leaves the job due, and the next sweep begins with it.
    async fn sweep_outputs(&self) -> Result<(), Error> {
        loop {
            let jobs = self.expire_outputs().await?;
            if jobs.is_empty() {
                return Ok(());
            }
            let (folders, removed) = (self.folders.clone(), Arc::clone(&jobs));
            blocking(move || {
                for ExpiredOutputs { job, removed, .. } in removed.iter() {
                    for (place, output) in removed {
                        folders::remove_folder(&folders.output(job.id, output, *place));
                    }
                }
            })
            .await?;
            self.store.remove(Rows::OutputFiles(jobs)).await?;
        }
    }

    /// Removes the rows of such outputs; tells whose files are to follow.
    pub(crate) async fn expire_outputs(&self) -> Result<Arc<Vec<ExpiredOutputs>>, Error> {
        let now = clock::now();
        let due = self.store.readers.outputs_due(now, JOBS_AT_ONCE).await?.into_iter();
        let jobs = due.map(|(job, outputs)| ExpiredOutputs::new(job, outputs, now));
        let jobs = Arc::new(jobs.collect::<Result<Vec<_>, Error>>()?);
        if jobs.is_empty() {
            return Ok(jobs);
        }
        let count = self.store.remove(Rows::Outputs(Arc::clone(&jobs))).await?;
        for ExpiredOutputs { job, stored_bytes_left, .. } in jobs.iter() {
            if count == jobs.len() {
                let less = job.stored_bytes.saturating_sub(*stored_bytes_left);
                self.dispatcher.shrink(&job.owner, &job.process, less);
            }
            // It is read from the store from now on.
            self.board.remove(job.id);
        }
        Ok(jobs)
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
