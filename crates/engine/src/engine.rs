//! The engine: what can be asked of it.

use crate::counts::Counts;
use crate::cpu::CpuPool;
use crate::limits::Limits;
use crate::list::{JobFilter, JobPage};
use crate::log::LogPage;
use crate::registry::Registry;
use crate::view::{ChunkPage, JobHandle, JobView, OutputLog, Results, StoredRequest};
use anabranch_egress::Egress;
use anabranch_model::{DismissedBy, Error, ExecuteRequest, JobId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Folder of its own: database, inputs, results, logs. Made where it is missing.
    pub data: PathBuf,
    /// Its limits.
    pub limits: Limits,
}

/// Why an engine can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder or file.
    #[error("the data folder '{}' can't be used: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another engine has it open.
    #[error("the data folder '{}' is in use by another server", .0.display())]
    InUse(PathBuf),
    /// The database.
    #[error("the job database can't be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database was written by a newer version.
    #[error(
        "the job database has schema {found}, this version knows {known}: it was written by a newer version"
    )]
    TooNew {
        /// Schema of the file.
        found: i64,
        /// Schema known here.
        known: i64,
    },
    /// The threads for CPU work.
    #[error("the CPU threads can't be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What recovery did with the jobs it found unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Queued again: not begun, or to be repeated.
    pub queued: usize,
    /// Runs that live on elsewhere, to be found again when their process is back.
    pub reattached: usize,
    /// Waiting for their process to be published.
    pub waiting: usize,
    /// Failed or dismissed, because their run ended with the server.
    pub ended: usize,
}

/// Takes requests, runs them, keeps what they put out. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    registry: Registry,
}

impl Engine {
    /// Opens the data folder: lock, database, migrations. Unfinished jobs rest until [`Engine::recover`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: EngineConfig, egress: Egress) -> Result<Self, OpenError> {
        let _ = egress;
        let pool = CpuPool::new(config.limits.cpu_threads, config.limits.cpu_stack_bytes)?;
        Ok(Self(Arc::new(Inner { registry: Registry::new(Arc::new(pool)) })))
    }

    /// Brings every job that the last server left unfinished to a true state. To be called once, when the built-in
    /// processes are published; those of agents may come later.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn recover(&self) -> Result<Recovered, Error> {
        Err(soon())
    }

    /// The processes.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A folder below the data folder for request bodies: input files below it become the job's own without a copy.
    #[must_use]
    pub fn spool(&self) -> &Path {
        Path::new("")
    }

    /// Accepts a request, or says all that is wrong with it. When it returns, the job is written down: durably unless
    /// the mode is [`anabranch_model::ExecutionMode::Sync`], whose client learns of the job by its end.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`], [`Error::NoSuchMode`], [`Error::Invalid`], [`Error::DataNotAccessible`],
    /// [`Error::Busy`], [`Error::NotEnoughStorage`].
    pub async fn submit(&self, request: ExecuteRequest) -> Result<JobHandle, Error> {
        let _ = request;
        Err(soon())
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn job(&self, id: JobId) -> Result<Arc<JobView>, Error> {
        let _ = id;
        Err(soon())
    }

    /// Follows a job; a finished one gives a receiver that holds its last state and is closed.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn watch(&self, id: JobId) -> Result<watch::Receiver<Arc<JobView>>, Error> {
        let _ = id;
        Err(soon())
    }

    /// Lists jobs, newest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn jobs(&self, filter: JobFilter) -> Result<JobPage, Error> {
        let _ = filter;
        Err(soon())
    }

    /// The results of a job that succeeded.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`], [`Error::ResultNotReady`], [`Error::Dismissed`], or the error the job failed with.
    pub async fn results(&self, id: JobId) -> Result<Arc<Results>, Error> {
        let _ = id;
        Err(soon())
    }

    /// One output of a job that succeeded.
    ///
    /// # Errors
    /// As [`Engine::results`], and [`Error::NoSuchOutput`].
    pub async fn output(&self, id: JobId, output: &str) -> Result<OutputLog, Error> {
        let _ = (id, output);
        Err(soon())
    }

    /// Chunks of an output from number `first` on, at most `chunks_max`, of a job in any state: what a playlist shows.
    /// To follow, [`Engine::watch`] until [`JobView::outputs`] counts more.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`], [`Error::NoSuchOutput`], [`Error::Dismissed`].
    pub async fn chunks(
        &self,
        id: JobId,
        output: &str,
        first: u64,
        chunks_max: usize,
    ) -> Result<ChunkPage, Error> {
        let _ = (id, output, first, chunks_max);
        Err(soon())
    }

    /// The request that a job came from.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn request(&self, id: JobId) -> Result<Arc<StoredRequest>, Error> {
        let _ = id;
        Err(soon())
    }

    /// Ends a job. One that waits is dismissed at once; one that runs is cancelled and shown as dismissing until its work
    /// has really ended, for which this waits up to `wait`; one that has finished is removed with its results.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn dismiss(&self, id: JobId, by: DismissedBy, wait: Duration) -> Result<Arc<JobView>, Error> {
        let _ = (id, by, wait);
        Err(soon())
    }

    /// Lines of a job's log from number `from_line` on, at most `lines_max`.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn log(&self, id: JobId, from_line: u64, lines_max: usize) -> Result<LogPage, Error> {
        let _ = (id, from_line, lines_max);
        Err(soon())
    }

    /// Follows the number of lines in a job's log; closed once the job has finished.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn watch_log(&self, id: JobId) -> Result<watch::Receiver<u64>, Error> {
        let _ = id;
        Err(soon())
    }

    /// Ends the engine: refuses new jobs, begins no more runs, waits up to `drain` for those under way, cancels the
    /// rest, writes everything down. Waiting jobs are run by the next server.
    pub async fn shutdown(&self, drain: Duration) {
        let _ = drain;
    }

    /// Numbers for operators.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}

fn soon() -> Error {
    Error::internal("the engine is being built")
}
