//! After a start: every job that the last server left unfinished reaches a true state.

use crate::engine::{Inner, Recovered};
use crate::folders::{self, blocking, entries};
use crate::live::{Live, LiveParts, file_of};
use crate::log::JobLog;
use crate::nodes;
use crate::results::PARTIAL;
use crate::store::row::StoredJob;
use crate::view::{OutputSummary, StoredRequest};
use anabranch_model::{Error, Job, JobEvent, JobId, JobState, OnRestart, Value};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Folder names checked against the store at once.
const NAMES_AT_ONCE: usize = 1000;

/// Age from which on a folder without a row is an orphan where there are other nodes, which may be about to accept its job.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// What is to be done with an unfinished job.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// It had not begun.
    Queue,
    /// It had begun and may be repeated.
    Repeat,
    /// It had begun, and goes on after the chunks that are there.
    Continue,
    /// Its run lives on elsewhere.
    Reattach,
    /// Its run ended with the server.
    End(Error),
}

fn plan(job: &Job, on_restart: Option<OnRestart>, sync: bool, attempts_max: u32) -> Plan {
    let interrupted = |reason: &str| Plan::End(Error::Interrupted { reason: reason.into() });
    let dismissing = matches!(job.state, JobState::Running { dismissing: Some(_), .. });
    match on_restart {
        Some(OnRestart::Reattach) => Plan::Reattach,
        _ if sync => interrupted("the client that waited for the answer could not be answered any more"),
        None => Plan::Queue,
        _ if dismissing => interrupted("it was being dismissed"),
        Some(OnRestart::Fail) => {
            interrupted("the run ended with the server, and the process may not be repeated")
        }
        Some(OnRestart::Requeue | OnRestart::Continue) if job.attempt >= attempts_max => {
            interrupted("the run ended with the server, as often as it may be repeated")
        }
        Some(OnRestart::Requeue) => Plan::Repeat,
        Some(OnRestart::Continue) => Plan::Continue,
    }
}

impl Inner {
    /// See [`crate::Engine::recover`].
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<Recovered, Error> {
        if let Some(nodes) = &self.nodes {
            let recovered = self.take_over(nodes, &mut nodes.session()).await?;
            tokio::spawn(nodes::keep(Arc::downgrade(self), Arc::clone(nodes)));
            tokio::spawn(nodes::share(Arc::downgrade(self), Arc::clone(nodes)));
            return Ok(recovered);
        }
        let mut recovered = Recovered::default();
        for (sequence, id) in self.store.readers.unfinished().await? {
            // Those in memory are of this server; one that has just left it is read as finished.
            if self.board.find(id).is_none() {
                self.take_up(sequence, &mut recovered).await?;
            }
        }
        self.pump();
        for (sequence, id) in self.store.readers.with_callbacks().await? {
            self.take_up_callbacks(id, sequence).await?;
        }
        tracing::info!(?recovered, "unfinished jobs of the last server were recovered");
        Ok(recovered)
    }

    /// Brings a job to a true state that an earlier owner has left. It must not be in memory. Gives its identifier; `None` where it has
    /// been removed.
    pub(crate) async fn take_up(
        self: &Arc<Self>,
        sequence: i64,
        recovered: &mut Recovered,
    ) -> Result<Option<JobId>, Error> {
        let Some((stored, request, chunks)) = self.store.readers.whole(sequence).await? else {
            return Ok(None);
        };
        let (id, finished) = (stored.view.job.id, stored.view.job.is_finished());
        if !finished {
            self.take_up_run(stored, request, chunks, recovered).await?;
        }
        Ok(Some(id))
    }

    async fn take_up_run(
        self: &Arc<Self>,
        stored: StoredJob,
        request: StoredRequest,
        chunks: Vec<Vec<Value>>,
        recovered: &mut Recovered,
    ) -> Result<(), Error> {
        let plan = plan(&stored.view.job, stored.on_restart, stored.sync, self.limits.attempts_max);
        let live = self.revive(stored, request, chunks, &plan).await?;
        self.board.insert(Arc::clone(&live));
        self.dispatcher.adopt(&live);
        let published = self.registry.get(&live.request.request.process).is_ok();
        match plan {
            Plan::End(error) => {
                recovered.ended += 1;
                live.apply(JobEvent::Ended(Err(error)));
                return Ok(());
            }
            Plan::Reattach => {
                live.set_resume();
                recovered.reattached += 1;
            }
            Plan::Queue => recovered.queued += 1,
            Plan::Repeat | Plan::Continue => {
                recovered.queued += 1;
                live.requeue("the server was restarted while the job ran".into());
            }
        }
        recovered.waiting += usize::from(!published);
        self.dispatcher.enqueue_again(live);
        Ok(())
    }

    async fn revive(
        self: &Arc<Self>,
        stored: StoredJob,
        mut request: StoredRequest,
        chunks: Vec<Vec<Value>>,
        plan: &Plan,
    ) -> Result<Arc<Live>, Error> {
        let engine = Arc::clone(self);
        request.outputs = self.shared_outputs.of(&stored.view.job.process, request.outputs);
        let (repeat, goes_on) = (*plan == Plan::Repeat, matches!(plan, Plan::Reattach | Plan::Continue));
        blocking(move || {
            let id = stored.view.job.id;
            let (folders, limits) = (&engine.folders, &engine.limits);
            folders::remove_folder(&folders.scratch(id));
            folders::remove_folder(&folders.fetched(id));
            if repeat {
                folders::remove_folder(&folders.job_results(id));
            }
            let (mut chunks, mut shown) = (chunks, stored.view.outputs.to_vec());
            chunks.iter_mut().zip(&mut shown).for_each(|(log, output)| skip_removed(log, output));
            let (chunks, damaged) = if repeat { (chunks, false) } else { whole(chunks) };
            tidy(&folders.job_results(id), &chunks);
            let live = Live::new(
                LiveParts {
                    shown,
                    job: stored.view.job,
                    sequence: stored.sequence,
                    sync: stored.sync,
                    keep_s: request.terms.results_keep_s.unwrap_or(limits.results_keep_s),
                    request: Arc::new(request),
                    request_json: None,
                    bound: None,
                    on_restart: stored.on_restart.filter(|_| goes_on),
                    chunks,
                    log: Arc::new(JobLog::resume(folders.log(id), limits.log_bytes_max)),
                    progress_write_ms_min: limits.progress_write_ms_min,
                },
                Arc::clone(&engine.store.inbox),
            );
            if damaged {
                live.rewrite_chunks();
            }
            live
        })
        .await
    }
}

/// After a power failure the files of an output that slides may be gone, and their entries not yet. Blocking.
fn skip_removed(log: &mut Vec<Value>, output: &mut OutputSummary) {
    let gone = log.iter().take_while(|value| !is_whole(value)).count();
    if output.kept_max.is_some() && gone < log.len() {
        log.drain(..gone);
        output.removed += gone as u64;
    }
}

/// The chunks up to the first one whose file is missing or short; true where there is one. Blocking.
fn whole(chunks: Vec<Vec<Value>>) -> (Vec<Vec<Value>>, bool) {
    let mut damaged = false;
    let logs = chunks.into_iter().map(|mut log| {
        let good = log.iter().take_while(|value| is_whole(value)).count();
        damaged |= good < log.len();
        log.truncate(good);
        log
    });
    (logs.collect(), damaged)
}

fn is_whole(value: &Value) -> bool {
    match file_of(value) {
        Some(file) => fs::metadata(&file.path).is_ok_and(|found| found.len() == file.bytes),
        None => true,
    }
}

/// Removes files that no entry speaks of: half-written ones, and those whose entry was not written any more. Blocking.
fn tidy(results: &Path, chunks: &[Vec<Value>]) {
    let known: std::collections::HashSet<&Path> =
        chunks.iter().flatten().filter_map(file_of).map(|file| file.path.as_path()).collect();
    for output in entries(results) {
        for file in entries(&output) {
            let partial = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL));
            if partial || !known.contains(file.as_path()) {
                // What can't be removed now goes with the job.
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Removes what dead nodes were receiving of requests.
async fn remove_spools(engine: &Inner, nodes: &nodes::Nodes) -> Result<(), Error> {
    let living = nodes.living().await?;
    let folders = engine.folders.clone();
    blocking(move || {
        for (node, path) in folders.spools() {
            if !living.contains(&node) {
                folders::remove_folder(&path);
            }
        }
    })
    .await
}

/// How long ago a folder was last changed; nothing where that is not known, or in the future.
fn age(path: &Path) -> Duration {
    let changed = fs::metadata(path).and_then(|found| found.modified());
    changed.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Removes folders of jobs that have no row: their requests were never accepted, or they were being removed.
pub(crate) async fn remove_orphans(engine: &Inner) -> Result<(), Error> {
    if let Some(nodes) = &engine.nodes {
        remove_spools(engine, nodes).await?;
    }
    for parent in [engine.folders.jobs(), engine.folders.results()] {
        let age_min = engine.nodes.as_ref().map(|_| ORPHAN_AGE);
        let found = blocking(move || entries(&parent)).await?;
        let found = found.into_iter().filter(|path| age_min.is_none_or(|min| age(path) >= min));
        let named = found.filter_map(|path| {
            let id: JobId = path.file_name()?.to_str()?.parse().ok()?;
            Some((id, path))
        });
        let named: Vec<_> = named.collect();
        for some in named.chunks(NAMES_AT_ONCE) {
            let known = engine.store.readers.known(some.iter().map(|(id, _)| *id).collect()).await?;
            let orphans: Vec<_> = some
                .iter()
                .zip(known)
                .filter(|(_, known)| !known)
                .map(|((_, path), _)| path.clone())
                .collect();
            blocking(move || orphans.iter().for_each(|path| folders::remove_folder(path))).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::{DismissedBy, ProcessId, Timestamp};

    #[test]
    fn every_unfinished_job_has_a_plan() {
        let mut job = Job::new(JobId::random(), ProcessId::new("echo").unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(plan(&job, None, false, 3), Plan::Queue);
        assert!(matches!(plan(&job, None, true, 3), Plan::End(_)));
        assert_eq!(plan(&job, Some(OnRestart::Requeue), false, 3), Plan::Repeat);
        assert_eq!(plan(&job, Some(OnRestart::Continue), false, 3), Plan::Continue);
        assert_eq!(plan(&job, Some(OnRestart::Reattach), true, 3), Plan::Reattach);
        assert!(matches!(plan(&job, Some(OnRestart::Fail), false, 3), Plan::End(_)));
        assert!(matches!(plan(&job, Some(OnRestart::Requeue), false, 1), Plan::End(_)));
        job.apply(JobEvent::DismissRequested(DismissedBy::Client), Timestamp::UNIX_EPOCH);
        assert!(matches!(plan(&job, Some(OnRestart::Requeue), false, 3), Plan::End(_)));
        assert_eq!(plan(&job, Some(OnRestart::Reattach), false, 3), Plan::Reattach);
    }
}
