//! The engine: what can be asked of it.

use crate::board::Board;
use crate::callbacks::{CallbackSettings, Callbacks};
use crate::clock;
use crate::clocks;
use crate::counts::Counts;
use crate::cpu::CpuPool;
use crate::disk::{Disk, Reservation, Room};
use crate::dispatch::Dispatcher;
use crate::folders::{self, Folders, blocking};
use crate::ledger::Usage;
use crate::limits::Limits;
use crate::list::{JobFilter, JobPage};
use crate::log::{JobLog, LogPage, LogWriter, read_page};
use crate::nodes::{self, Nodes, PostgresStore};
use crate::own::OwnAddresses;
use crate::query::Found;
use crate::quota::{InForce, Quotas};
use crate::recover::remove_orphans;
use crate::registry::Registry;
use crate::retention;
use crate::store::Store;
use crate::store::database::Database;
use crate::store::sql::StoreError;
use crate::submit::Submitter;
use crate::view::{ChunkPage, JobHandle, JobView, LiveJob, OutputLog, Results, SharedOutputs, StoredRequest};
use anabranch_egress::Egress;
use anabranch_model::{BoundRequest, DismissedBy, Error, ExecuteRequest, JobId, LogLine, LogSource, Viewer};
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Folder of its own: database, inputs, results, logs. Made where it is missing.
    pub data: PathBuf,
    /// Its limits.
    pub limits: Limits,
    /// Those of users, roles and processes.
    pub quotas: Quotas,
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
    Database(String),
    /// The database was written by a newer version.
    #[error(
        "the job database has schema {found}, this version knows {known}: it was written by a newer version"
    )]
    TooNew {
        /// Schema of the file.
        found: usize,
        /// Schema known here.
        known: usize,
    },
    /// What is in the database.
    #[error("{0}")]
    Store(String),
    /// The threads for CPU work.
    #[error("the CPU threads can't be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Database(error.to_string())
    }
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
pub struct Engine(pub(crate) Arc<Inner>);

/// What the engine is made of. Runs and timers hold it while they go on.
pub(crate) struct Inner {
    pub(crate) limits: Limits,
    /// Of new jobs; [`Inner::quotas`] gives them.
    quotas: RwLock<Arc<InForce>>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) folders: Folders,
    pub(crate) registry: Registry,
    pub(crate) board: Arc<Board>,
    pub(crate) store: Store,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) logs: Arc<LogWriter>,
    pub(crate) egress: Egress,
    /// Set once, before the first job, by whoever renders their bodies.
    pub(crate) callbacks: OnceLock<Arc<Callbacks>>,
    /// Set once, before the first job, by whoever knows the URLs of results.
    pub(crate) own_addresses: OnceLock<Arc<dyn OwnAddresses>>,
    pub(crate) runtime: Handle,
    /// Ends runs that end with the server.
    pub(crate) stop: CancellationToken,
    /// Lets go of runs that outlive the server.
    pub(crate) detach: CancellationToken,
    pub(crate) shared_outputs: SharedOutputs,
    /// Row numbers for the next jobs.
    pub(crate) sequences: tokio::sync::Mutex<Range<i64>>,
    /// This server among others that have the same store.
    pub(crate) nodes: Option<Arc<Nodes>>,
    spool: PathBuf,
    /// Held for as long as the data folder is ours.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
        self.logs.close();
    }
}

impl Engine {
    /// Opens the data folder: lock, database, migrations. Unfinished jobs rest until [`Engine::recover`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: EngineConfig, egress: Egress) -> Result<Self, OpenError> {
        Self::open_on(config, None, None, egress).await
    }

    /// Opens an engine whose jobs are in a PostgreSQL database, which engines of other nodes may have open too.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_node(
        config: EngineConfig,
        store: PostgresStore,
        egress: Egress,
    ) -> Result<Self, OpenError> {
        let nodes = Arc::new(Nodes::enter(&store).await?);
        let engine = Self::open_on(config, store.folder, Some(Arc::clone(&nodes)), egress).await?;
        tokio::spawn(nodes::heartbeat::beat(nodes));
        Ok(engine)
    }

    async fn open_on(
        config: EngineConfig,
        folder: Option<PathBuf>,
        nodes: Option<Arc<Nodes>>,
        egress: Egress,
    ) -> Result<Self, OpenError> {
        let runtime = Handle::current();
        let data = config.data.clone();
        let open = move || Inner::open(config, folder, nodes, egress, runtime);
        let opened = blocking(open).await;
        let lost = |error| OpenError::Folder { path: data, source: std::io::Error::other(error) };
        let inner = Arc::new(opened.map_err(lost)??);
        let failed = |error: Error| OpenError::Store(error.to_string());
        let sequences = inner.store.readers.free_sequences().await.map_err(failed)?;
        let first = sequences.start;
        *inner.sequences.lock().await = sequences;
        remove_orphans(&inner).await.map_err(failed)?;
        tokio::spawn(retention::recall_and_sweep(Arc::downgrade(&inner), first));
        tokio::spawn(clocks::keep_ending_overdue(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Returns when the other nodes have taken this one for dead: nothing more is written or told here. Its process is to end at once,
    /// without asking anyone to end their work, and may start again. Never returns where there are no nodes.
    pub async fn lost(&self) {
        match &self.0.nodes {
            Some(nodes) => nodes.lost.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Offers callbacks. To be called once, before [`Engine::recover`]: until then requests with a subscriber are refused.
    pub fn offer_callbacks(&self, settings: CallbackSettings) {
        let callbacks = Callbacks::new(settings, self.0.limits.callbacks_parallel_max);
        if self.0.callbacks.set(callbacks).is_err() {
            tracing::error!("callbacks were offered twice; the first settings hold");
        }
    }

    /// Takes results of this server as inputs by reference. To be called once, before [`Engine::recover`]: until then the server's own
    /// addresses are judged as all others.
    pub fn know_own_addresses(&self, addresses: Arc<dyn OwnAddresses>) {
        if self.0.own_addresses.set(addresses).is_err() {
            tracing::error!("the server's own addresses were told twice; the first hold");
        }
    }

    /// Brings every job that the last server left unfinished to a true state. To be called once, when the built-in
    /// processes are published; those of agents may come later.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn recover(&self) -> Result<Recovered, Error> {
        self.0.recover().await
    }

    /// The processes.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A folder below the data folder for request bodies: input files below it become the job's own without a copy.
    #[must_use]
    pub fn spool(&self) -> &Path {
        &self.0.spool
    }

    /// Accepts a request, or says all that is wrong with it. When it returns, the job is written down: durably unless
    /// the mode is [`anabranch_model::ExecutionMode::Sync`], whose client learns of the job by its end.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`], [`Error::NoSuchMode`], [`Error::Invalid`], [`Error::DataNotAccessible`],
    /// [`Error::Busy`], [`Error::NotEnoughStorage`].
    pub async fn submit(&self, request: ExecuteRequest, submitter: &Submitter) -> Result<JobHandle, Error> {
        let submitted = self.0.submit(request, submitter).await;
        if let Err(error) = &submitted {
            self.0.board.metrics.refused(error);
        }
        submitted
    }

    /// Checks a request as [`Engine::submit`] does, and more thoroughly: all faults are told at once, those of references too.
    /// Nothing is stored, and no limit is looked at.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`], [`Error::NoSuchMode`], [`Error::Invalid`].
    pub fn validate(&self, request: &ExecuteRequest) -> Result<BoundRequest, Error> {
        self.0.validate(request)
    }

    /// A job as it is now. As everywhere here, a job that `viewer` may not see is one that is not there, and takes as long to be missed.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn job(&self, viewer: &Viewer, id: JobId) -> Result<Arc<JobView>, Error> {
        match self.0.find(viewer, id).await? {
            Found::Live(live) => Ok(live.view()),
            Found::Stored(stored) => Ok(Arc::new(stored.view)),
        }
    }

    /// Follows a job; a finished one gives a receiver that holds its last state and is closed.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn watch(&self, viewer: &Viewer, id: JobId) -> Result<watch::Receiver<Arc<JobView>>, Error> {
        self.0.watch(viewer, id).await
    }

    /// Lists jobs, newest first: operators all, users theirs, and anonymous viewers none, as what they submit is nobody's.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn jobs(&self, viewer: &Viewer, filter: JobFilter) -> Result<JobPage, Error> {
        self.0.jobs(viewer, filter).await
    }

    /// The results of a job that succeeded.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`], [`Error::ResultNotReady`], [`Error::Dismissed`], or the error the job failed with; [`Error::OutputGone`]
    /// where an output is kept less long than its job.
    pub async fn results(&self, viewer: &Viewer, id: JobId) -> Result<Arc<Results>, Error> {
        self.0.results(viewer, id, None).await
    }

    /// The same for who wants these outputs only: others may be gone, and be among the results or not.
    ///
    /// # Errors
    /// As [`Engine::results`].
    pub async fn results_of(
        &self,
        viewer: &Viewer,
        id: JobId,
        only: &[String],
    ) -> Result<Arc<Results>, Error> {
        self.0.results(viewer, id, Some(only)).await
    }

    /// One output of a job that succeeded.
    ///
    /// # Errors
    /// As [`Engine::results`], and [`Error::NoSuchOutput`].
    pub async fn output(&self, viewer: &Viewer, id: JobId, output: &str) -> Result<OutputLog, Error> {
        let results = self.results_of(viewer, id, &[output.to_owned()]).await?;
        let found = results.output(output).cloned();
        found.ok_or_else(|| Error::NoSuchOutput { job: id, output: output.to_owned() })
    }

    /// Chunks of an output from number `first` on, at most `chunks_max`, of a job in any state: what a playlist shows.
    /// To follow, [`Engine::watch`] until [`JobView::outputs`] counts more.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`], [`Error::NoSuchOutput`], [`Error::OutputGone`], [`Error::Dismissed`].
    pub async fn chunks(
        &self,
        viewer: &Viewer,
        id: JobId,
        output: &str,
        first: u64,
        chunks_max: usize,
    ) -> Result<ChunkPage, Error> {
        self.0.chunks(viewer, id, output, first, chunks_max).await
    }

    /// The request that a job came from.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn request(&self, viewer: &Viewer, id: JobId) -> Result<Arc<StoredRequest>, Error> {
        match self.0.find(viewer, id).await? {
            Found::Live(live) => Ok(Arc::clone(&live.request)),
            Found::Stored(stored) => self.0.store.readers.request(stored.sequence).await.map(Arc::new),
        }
    }

    /// Ends a job. One that waits is dismissed at once; one that runs is cancelled and shown as dismissing until its work
    /// has really ended, for which this waits up to `wait`; one that has finished is removed with its results.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn dismiss(
        &self,
        viewer: &Viewer,
        id: JobId,
        by: DismissedBy,
        wait: Duration,
    ) -> Result<Arc<JobView>, Error> {
        self.0.dismiss(viewer, id, by, wait).await
    }

    /// Lines of a job's log from number `from_line` on, at most `lines_max`.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn log(
        &self,
        viewer: &Viewer,
        id: JobId,
        from_line: u64,
        lines_max: usize,
    ) -> Result<LogPage, Error> {
        let log = match self.0.find(viewer, id).await? {
            Found::Live(live) => Some(Arc::clone(&live.log)),
            Found::Stored(_) => None,
        };
        let path = self.0.folders.log(id);
        blocking(move || {
            if let Some(log) = log {
                log.flush();
            }
            read_page(&path, from_line, lines_max)
        })
        .await?
    }

    /// Adds a line to a job's log, also when the job has finished: for what is done with its results.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn note(&self, id: JobId, text: &str) -> Result<(), Error> {
        match self.0.find(&Viewer::Operator, id).await? {
            Found::Live(live) => self.0.say(&live, text),
            Found::Stored(_) => {
                let (path, bytes_max) = (self.0.folders.log(id), self.0.limits.log_bytes_max);
                let line = LogLine { source: LogSource::System, text: text.to_owned() };
                blocking(move || JobLog::resume(path, bytes_max).append_now(&line)).await?;
            }
        }
        Ok(())
    }

    /// Follows the number of lines in a job's log; closed once the job has finished.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`].
    pub async fn watch_log(&self, viewer: &Viewer, id: JobId) -> Result<watch::Receiver<u64>, Error> {
        match self.0.find(viewer, id).await? {
            Found::Live(live) => Ok(live.log.watch(live.view().job.is_finished())),
            Found::Stored(stored) if self.0.nodes.is_some() && !stored.view.job.is_finished() => {
                self.0.watch_log_elsewhere(id).await
            }
            Found::Stored(_) => Ok(watch::channel(self.log(viewer, id, 0, 0).await?.total).1),
        }
    }

    /// Ends the engine: refuses new jobs, begins no more runs, waits up to `drain` for those under way, cancels the
    /// rest, writes everything down. Waiting jobs are run by the next server.
    pub async fn shutdown(&self, drain: Duration) {
        self.0.shutdown(drain).await;
    }

    /// Puts other limits of users, roles and processes in force, for jobs that are submitted from now on. Those of all jobs together
    /// ([`Quotas::server`]) stay as they are.
    pub fn replace_quotas(&self, quotas: Quotas) {
        let mut current = self.0.quotas.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(InForce::new(Quotas { server: current.quotas.server.clone(), ..quotas }));
    }

    /// Who has how many jobs and bytes, beside the limits that hold for them: the server, every user, every process.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.0.dispatcher.usage(clock::now())
    }

    /// Promises room on the disk to someone who is about to write into the [`Engine::spool`], until the reservation is dropped.
    ///
    /// # Errors
    /// [`Error::OverLimit`] where too little would stay free.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, Error> {
        self.0.disk.reserve(bytes, Instant::now())
    }

    /// The disk of the data folder; `None` where it can't be looked at.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        self.0.disk.now(Instant::now())
    }

    /// Lets in no more jobs while those that are here are run (`on`), for maintenance, or lets them in again.
    pub fn set_draining(&self, on: bool) {
        self.0.dispatcher.set_draining(on);
    }

    /// See [`Engine::set_draining`].
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.dispatcher.is_draining()
    }

    /// Registers what has been counted since the engine was opened, and what is so at this moment: for one reading.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.0.board.metrics.register(registry, &self.0.board);
    }

    /// Whether the job store took its last write. While it does not, jobs are refused.
    #[must_use]
    pub fn is_store_writable(&self) -> bool {
        !self.0.board.is_failing() && self.0.nodes.as_ref().is_none_or(|nodes| !nodes.lost.is_cancelled())
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The first so many jobs that wait or run, synchronous ones too, in order of acceptance; and how many there are.
    #[must_use]
    pub fn unfinished(&self, jobs_max: usize) -> (Vec<LiveJob>, usize) {
        let mut living = self.0.board.living();
        let count = living.len();
        living.sort_unstable_by_key(|live| live.sequence);
        let jobs = living.iter().take(jobs_max).map(|live| LiveJob { view: live.view(), sync: live.sync });
        (jobs.collect(), count)
    }

    /// Numbers for operators.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (queued, running) = self.0.dispatcher.counts();
        Counts { queued, running, processes: self.0.board.processes() }
    }
}

/// Where the jobs are, for who looks at the data folder from outside: a database of SQLite may be there from earlier times. Blocking.
fn mark(folders: &Folders, is_postgres: bool) -> std::io::Result<()> {
    let file = folders.elsewhere();
    if is_postgres {
        return std::fs::write(file, "The jobs of this server are in PostgreSQL.\n");
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Inner {
    /// The limits that hold for a job submitted now.
    pub(crate) fn quotas(&self) -> Arc<InForce> {
        Arc::clone(&self.quotas.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The row number of a new job.
    pub(crate) async fn next_sequence(&self) -> Result<i64, Error> {
        let mut sequences = self.sequences.lock().await;
        if sequences.is_empty() {
            *sequences = self.store.readers.free_sequences().await?;
        }
        sequences.next().ok_or_else(|| Error::internal("there are no row numbers left"))
    }

    /// Blocking.
    fn open(
        config: EngineConfig,
        folder: Option<PathBuf>,
        nodes: Option<Arc<Nodes>>,
        egress: Egress,
        runtime: Handle,
    ) -> Result<Self, OpenError> {
        let EngineConfig { data, mut limits, quotas } = config;
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        folders::make_synced(&data).map_err(at(&data))?;
        let data = std::fs::canonicalize(&data).map_err(at(&data))?;
        let lock_path = Folders::new(data.clone(), None).lock();
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(data)),
            Err(TryLockError::Error(source)) => return Err(at(&lock_path)(source)),
        }
        mark(&Folders::new(data.clone(), None), nodes.is_some()).map_err(at(&data))?;
        let node = nodes.as_ref().filter(|_| folder.is_some()).map(|nodes| nodes.node);
        let folder = folder.unwrap_or_else(|| data.clone());
        folders::make(&folder).map_err(at(&folder))?;
        let folder = std::fs::canonicalize(&folder).map_err(at(&folder))?;
        let folders = Folders::new(folder, node);
        let database = match &nodes {
            None => Database::Sqlite(folders.database()),
            Some(nodes) => Database::Postgres { nodes: Arc::clone(nodes), runtime: runtime.clone() },
        };
        if nodes.is_some() {
            // Another node may remove a finished job.
            limits.cache_bytes_max = 0;
        }
        let spool = folders.spool();
        folders::remove_folder(&spool);
        folders::make(&spool).map_err(at(&spool))?;
        let board = Arc::new(Board::new(limits.cache_bytes_max));
        let store = Store::open(database, &folders, Arc::clone(&board), limits.readers_max)?;
        let pool = CpuPool::new(limits.cpu_threads, limits.cpu_stack_bytes)?;
        let logs = LogWriter::start().map_err(at(&data))?;
        Ok(Self {
            registry: Registry::new(Arc::new(pool), limits.converted_bytes_max),
            dispatcher: Arc::new(Dispatcher::new(&limits, &quotas)),
            disk: Arc::new(Disk::new(data, &limits)),
            stop: CancellationToken::new(),
            detach: CancellationToken::new(),
            shared_outputs: SharedOutputs::default(),
            sequences: tokio::sync::Mutex::new(0..0),
            nodes,
            _lock: lock,
            limits,
            quotas: RwLock::new(Arc::new(InForce::new(quotas))),
            folders,
            board,
            store,
            logs,
            egress,
            callbacks: OnceLock::new(),
            own_addresses: OnceLock::new(),
            runtime,
            spool,
        })
    }
}
