//! What is counted where it happens, for operators; and what is so at this moment, asked when it is read.
//!
//! Names follow Prometheus: units in the name, counters end in `_total`.

use crate::board::Board;
use anabranch_model::{Error, Job, JobState, Outcome, ProcessId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most processes that are told apart; what comes later is `other`. 64: with the 16 buckets of two histograms each, some
/// 2,000 lines, which a monitor takes without thinking.
const PROCESSES_MAX: usize = 64;

/// The label of processes beyond [`PROCESSES_MAX`].
const OTHER: &str = "other";

/// Upper bounds of times of jobs, seconds: from a built-in process to a day on a cluster.
const JOB_SECONDS: [f64; 15] =
    [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0, 86_400.0];

/// Upper bounds of times of the store, seconds: from a commit in memory to a disk that is dying.
const STORE_SECONDS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

type Label = (&'static str, Cow<'static, str>);
type Times<const N: usize> = Family<[Label; N], Histogram, fn() -> Histogram>;

/// What has been counted since the engine was opened.
pub(crate) struct Metrics {
    accepted: Family<[Label; 1], Counter>,
    finished: Family<[Label; 2], Counter>,
    queue_time: Times<1>,
    run_time: Times<1>,
    chunks: Counter,
    chunk_bytes: Counter,
    pub(crate) refused: Family<[Label; 1], Counter>,
    commit_time: Times<1>,
    sync_time: Histogram,
    commit_failures: Counter,
    /// Processes with a label of their own.
    known: Mutex<BTreeSet<ProcessId>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: Family::default(),
            finished: Family::default(),
            queue_time: Family::new_with_constructor(|| Histogram::new(JOB_SECONDS)),
            run_time: Family::new_with_constructor(|| Histogram::new(JOB_SECONDS)),
            chunks: Counter::default(),
            chunk_bytes: Counter::default(),
            refused: Family::default(),
            commit_time: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
            sync_time: Histogram::new(STORE_SECONDS),
            commit_failures: Counter::default(),
            known: Mutex::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn accepted(&self, process: &ProcessId) {
        self.accepted.get_or_create(&[self.process(process)]).inc();
    }

    /// A job's end is committed.
    pub(crate) fn finished(&self, job: &Job) {
        let JobState::Finished(outcome) = &job.state else { return };
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::Dismissed(_) => "dismissed",
        };
        let process = [self.process(&job.process)];
        self.finished.get_or_create(&[process[0].clone(), ("outcome", outcome.into())]).inc();
        let Some(end) = job.finished else { return };
        let begin = job.started.unwrap_or(end);
        self.queue_time.get_or_create(&process).observe(seconds(job.created, begin));
        if job.started.is_some() {
            self.run_time.get_or_create(&process).observe(seconds(begin, end));
        }
    }

    /// Chunks of outputs are committed.
    pub(crate) fn stored(&self, chunks: u64, bytes: u64) {
        self.chunks.inc_by(chunks);
        self.chunk_bytes.inc_by(bytes);
    }

    /// A request was refused, where that was for a limit.
    pub(crate) fn refused(&self, error: &Error) {
        if let Some(limit) = limit_name(error) {
            self.refused.get_or_create(&[("limit", limit.into())]).inc();
        }
    }

    /// The store took this long for a commit; `durable` with the sync in it.
    pub(crate) fn committed(&self, took: Duration, durable: bool) {
        let durable = if durable { "true" } else { "false" };
        self.commit_time.get_or_create(&[("durable", durable.into())]).observe(took.as_secs_f64());
    }

    pub(crate) fn commit_failed(&self) {
        self.commit_failures.inc();
    }

    /// The histogram of syncs that nobody waits for. Shared with the thread that does them.
    pub(crate) fn sync_time(&self) -> Histogram {
        self.sync_time.clone()
    }

    fn process(&self, process: &ProcessId) -> Label {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(process) {
            if known.len() >= PROCESSES_MAX {
                return ("process", OTHER.into());
            }
            known.insert(process.clone());
        }
        ("process", process.as_str().to_owned().into())
    }

    /// Registers all of it, and how many jobs there are now.
    pub(crate) fn register(&self, registry: &mut Registry, board: &Board) {
        registry.register("jobs", "Jobs that wait or run, by state and process", self.living(board));
        registry.register("jobs_accepted", "Jobs accepted since the start", self.accepted.clone());
        registry.register("jobs_finished", "Jobs ended since the start, by outcome", self.finished.clone());
        let mut seconds = |name: &str, help: &str, times: &Times<1>| {
            registry.register_with_unit(name, help, Unit::Seconds, times.clone());
        };
        seconds("job_queue", "Time from acceptance to the run", &self.queue_time);
        seconds("job_run", "Time from the begin of the run to the end of the job", &self.run_time);
        seconds("store_commit", "Time of one commit of the job store", &self.commit_time);
        let sync = self.sync_time.clone();
        registry.register_with_unit("store_sync", "Time of one sync of its log", Unit::Seconds, sync);
        registry.register("store_commit_failures", "Commits that failed", self.commit_failures.clone());
        registry.register("output_chunks", "Chunks of outputs stored", self.chunks.clone());
        let bytes = self.chunk_bytes.clone();
        registry.register_with_unit("output", "Bytes of outputs stored", Unit::Bytes, bytes);
        registry.register("jobs_refused", "Requests refused, by limit", self.refused.clone());
    }

    fn living(&self, board: &Board) -> Family<[Label; 2], Gauge> {
        let mut counts = BTreeMap::<_, i64>::new();
        for live in board.living() {
            let view = live.view();
            let state = match &view.job.state {
                JobState::Accepted => "queued",
                JobState::Running { .. } => "running",
                JobState::Finished(_) => continue,
            };
            *counts.entry((self.process(&view.job.process).1, state)).or_default() += 1;
        }
        let family = Family::<[Label; 2], Gauge>::default();
        for ((process, state), count) in counts {
            family.get_or_create(&[("process", process), ("state", state.into())]).set(count);
        }
        family
    }
}

/// The name of the limit for which a request was refused; `None` where it was refused for what it is.
fn limit_name(error: &Error) -> Option<&'static str> {
    match error {
        Error::OverLimit { limit, .. } => Some(limit.kind.key()),
        Error::Busy { .. } => Some("busy"),
        Error::NotEnoughStorage { .. } => Some("storage"),
        Error::TooLarge { .. } => Some("size"),
        _ => None,
    }
}

fn seconds(from: anabranch_model::Timestamp, to: anabranch_model::Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_beyond_the_limit_share_one_label() {
        let metrics = Metrics::default();
        for n in 0..PROCESSES_MAX + 10 {
            metrics.accepted(&format!("p{n}").parse().unwrap());
        }
        metrics.accepted(&"p1".parse().unwrap());
        let last = format!("p{PROCESSES_MAX}");
        assert!(metrics.accepted.get(&[("process", last.into())]).is_none());
        assert_eq!(metrics.accepted.get_or_create(&[("process", OTHER.into())]).get(), 10);
        assert_eq!(metrics.accepted.get_or_create(&[("process", "p1".into())]).get(), 2);
    }
}
