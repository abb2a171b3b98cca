//! The server's side: agents, the processes they offer, and who runs what.

mod agents;
mod at_agents;
pub(crate) mod command;
mod drain;
mod news;
mod noting;
mod owner;
mod runs;
mod session;
mod sweep;
mod timers;
mod unsent;
mod wps_remote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anabranch_model::{BoxFuture, Data, Error, Process, ProcessId};
use anabranch_xmpp::{Bus, RoomJoin};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::load::Load;
use crate::run_id::RunId;

/// Where processes that agents offer are made known; the server implements it over its registry. Called by the
/// orchestrator's own task: it must not block.
pub trait Publisher: Send + Sync {
    /// Makes a process known. Called again with a new one where its description has changed.
    fn publish(&self, process: Arc<dyn Process>);
    /// Whether agents of an account, named by its bare JID, may offer a process.
    fn may_offer(&self, account: &str, process: &ProcessId) -> bool {
        let _anybody = (account, process);
        true
    }
    /// No agent offers it any more.
    fn withdraw(&self, process: &ProcessId);
}

/// The data plane as the server sees it. URLs must stay good over a restart of the server, because runs do.
pub trait ServerData: Send + Sync {
    /// Offers the `index`th value (from 0) of an input for download; gives its URL.
    fn offer_input<'a>(
        &'a self,
        run: RunId,
        input: &'a str,
        index: usize,
        data: &'a Data,
    ) -> BoxFuture<'a, Result<String, Error>>;

    /// Where the run's agent may PUT chunks of an output: it appends `/<n>`, `n` from 0. `None` where the server takes no
    /// uploads.
    fn upload_url(&self, run: RunId, output: &str) -> Option<String>;

    /// The chunk uploaded as number `n`, whole. May be asked for a second time after a restart.
    fn take_upload<'a>(&'a self, run: RunId, output: &'a str, n: u64) -> BoxFuture<'a, Result<Data, Error>>;

    /// A file in the folder shared with agents. The path is the agent's word: it must be confined.
    fn take_shared<'a>(
        &'a self,
        _run: RunId,
        _output: &'a str,
        _path: &'a str,
    ) -> BoxFuture<'a, Result<Data, Error>> {
        Box::pin(async {
            Err(Error::process_failed("the agent left a result in a shared folder, and the server has none"))
        })
    }

    /// Chunks of an output that the store has, asked once for each output of a run found again after a restart: chunks
    /// stored by a server that died before it said so are told again, and must not be stored twice. `None` where that is
    /// not known.
    fn chunks_stored<'a>(&'a self, _run: RunId, _output: &'a str) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async { None })
    }

    /// These runs are about to be sent to agents. To be remembered over a restart: they are sent when this has ended. One call at a
    /// time. Not asked of parts of an attempt, which no restart survives.
    ///
    /// # Errors
    /// Where they can't be noted: then none of them is sent, and all fail with this.
    fn note_sent<'a>(&'a self, _runs: &'a [RunId]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// A run that was noted was not sent after all: the next server is to begin it, not to search for it.
    fn forget_sent(&self, _run: RunId) {}

    /// Whether [`ServerData::note_sent`] noted it. A run that never was sent is begun after a restart, instead of searched for;
    /// `true` where that is not known.
    fn was_sent(&self, _run: RunId) -> bool {
        true
    }

    /// Whether a job waits for the run: it has not ended, and the run is not of an attempt that has. Asked about runs that agents hold and
    /// nobody here has asked for: of a server before, or of another one where several share their agents.
    fn is_wanted(&self, _run: RunId) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }

    /// The run is over: what was offered for it need not be kept.
    fn release(&self, run: RunId);
}

/// How an [`Orchestrator`] behaves.
#[derive(Clone, Debug)]
pub struct OrchestratorSettings {
    /// Rooms to be in, where agents are met; may be empty where the session joins them itself.
    pub rooms: Vec<RoomJoin>,
    /// Version of the server program, told to agents.
    pub version: String,
    /// Root of the web service, told to agents of WPS Remote, which do nothing with it.
    pub base_url: String,
    /// See [`OrchestratorSettings::AGENT_LOST`].
    pub agent_lost: Duration,
    /// See [`OrchestratorSettings::AGENT_SILENT`].
    pub agent_silent: Duration,
    /// See [`OrchestratorSettings::WITHDRAW`].
    pub withdraw: Duration,
    /// See [`OrchestratorSettings::REATTACH`].
    pub reattach: Duration,
    /// See [`OrchestratorSettings::UNCLAIMED`].
    pub unclaimed: Duration,
    /// See [`OrchestratorSettings::QUEUE_RUNS_MAX`].
    pub queue_runs_max: usize,
    /// How often agents tell their load.
    pub load_interval: Duration,
    /// Agents at or above get no new runs; `None` for no threshold.
    pub cpu_percent_max: Option<f32>,
    /// Agents at or above get no new runs; `None` for no threshold.
    pub memory_percent_max: Option<f32>,
    /// Where all agents that could take a run are above a threshold, the least busy one gets it all the same.
    pub force: bool,
    /// Labels by process: agents that have them are preferred, e.g. because they hold the data.
    pub preferred_labels: BTreeMap<ProcessId, BTreeSet<String>>,
    /// Other servers have the same agents, and may have runs there that this one knows nothing of.
    pub shared: bool,
}

impl OrchestratorSettings {
    /// How long an agent that left the room may stay away before its runs are lost: a cut of 10 s is survived, and a
    /// killed agent is noticed within 15 s.
    pub const AGENT_LOST: Duration = Duration::from_secs(13);
    /// How long an agent may be in the room and say nothing (a cut cable, a stopped machine): four load reports, and
    /// longer than a cut of 10 s just before a report.
    pub const AGENT_SILENT: Duration = Duration::from_secs(20);
    /// How long a process stays published without an agent: a reconnect must not make it flap.
    pub const WITHDRAW: Duration = Duration::from_secs(15);
    /// How long a run from before a restart waits for its agent to come back.
    pub const REATTACH: Duration = Duration::from_secs(60);
    /// How long a run that an agent holds may be asked for by nobody, before the agent is told to end it: after a restart
    /// the server must have got round to all its jobs.
    pub const UNCLAIMED: Duration = Duration::from_secs(120);
    /// Runs of one process that wait for an agent: each may hold [`BODY_BYTES_MAX`](crate::wire::BODY_BYTES_MAX), 48 MiB
    /// together.
    pub const QUEUE_RUNS_MAX: usize = 256;
    /// How often agents tell their load.
    pub const LOAD_INTERVAL: Duration = Duration::from_secs(5);

    /// With the constants above and no thresholds.
    #[must_use]
    pub fn new(rooms: Vec<RoomJoin>, version: impl Into<String>) -> Self {
        Self {
            rooms,
            version: version.into(),
            base_url: String::new(),
            agent_lost: Self::AGENT_LOST,
            agent_silent: Self::AGENT_SILENT,
            withdraw: Self::WITHDRAW,
            reattach: Self::REATTACH,
            unclaimed: Self::UNCLAIMED,
            queue_runs_max: Self::QUEUE_RUNS_MAX,
            load_interval: Self::LOAD_INTERVAL,
            cpu_percent_max: None,
            memory_percent_max: None,
            force: false,
            preferred_labels: BTreeMap::new(),
            shared: false,
        }
    }
}

/// An agent as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentInfo {
    /// `account/instance`: the account as vouched for by the XMPP server, the instance as the agent says.
    pub name: String,
    /// Where messages reach it; that of its last session while it is away.
    pub address: String,
    /// What it runs, by identifier.
    pub services: Arc<[ProcessId]>,
    /// Slots for runs.
    pub capacity: u32,
    /// Runs the server has given it and not seen end.
    pub running: u32,
    /// Its last report.
    pub load: Option<Load>,
    /// Version of the agent program.
    pub version: String,
    /// When this incarnation introduced itself.
    pub since: Timestamp,
    /// When it last said anything.
    pub last_seen: Timestamp,
    /// In the room, and greeted.
    pub connected: bool,
    /// What its owner says of the machine.
    pub labels: Vec<String>,
    /// It takes no new runs, for maintenance. Drained when `running` is 0.
    pub draining: bool,
    /// Why it gets no runs at all at present, whatever they are; `None` where it may get some.
    pub obstacle: Option<String>,
}

/// Runs of one process that wait for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRuns {
    pub process: ProcessId,
    pub runs: usize,
    /// Why no agent takes them: `all draining`.
    pub reason: String,
}

/// Why an agent can't be told to drain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    #[error("there is no agent '{0}'")]
    NoSuchAgent(String),
    #[error("several agents are named '{name}': {}", agents.join(", "))]
    Several { name: String, agents: Vec<String> },
    #[error("the server stops")]
    Stopped,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The session with the XMPP server is up now.
    pub online: bool,
    pub runs_sent: u64,
    pub runs_completed: u64,
    pub runs_failed: u64,
    pub runs_aborted: u64,
    /// Agent gone.
    pub runs_lost: u64,
    /// Agent full, run queued again.
    pub runs_refused: u64,
    pub runs_reattached: u64,
    /// Runs waiting for an agent now.
    pub runs_waiting: u64,
    pub messages_received: u64,
    pub messages_resent: u64,
    /// Neither understood nor allowed.
    pub messages_rejected: u64,
}

/// The server's side of the agent protocol: a handle on the task that owns agents and runs.
#[derive(Clone)]
pub struct Orchestrator {
    agents: watch::Receiver<Vec<AgentInfo>>,
    waiting: watch::Receiver<Vec<WaitingRuns>>,
    commands: mpsc::Sender<command::PoolCommand>,
    counters: watch::Receiver<Counters>,
    detached: CancellationToken,
    stopped: CancellationToken,
}

impl Orchestrator {
    /// Starts the task; it ends when `shutdown` is cancelled or the session ends. Call [`Orchestrator::detach_all`] before
    /// jobs are cancelled for a shutdown. Must be called within a Tokio runtime.
    #[must_use]
    pub fn start(
        bus: Bus,
        settings: OrchestratorSettings,
        publisher: Arc<dyn Publisher>,
        data: Arc<dyn ServerData>,
        shutdown: CancellationToken,
    ) -> Self {
        let (agents_tx, agents) = watch::channel(Vec::new());
        let (waiting_tx, waiting) = watch::channel(Vec::new());
        let (counters_tx, counters) = watch::channel(Counters::default());
        let (detached, stopped) = (CancellationToken::new(), CancellationToken::new());
        let (commands_tx, commands) = mpsc::channel(command::COMMANDS_MAX);
        let handle = command::PoolHandle { commands: commands_tx.clone(), detached: detached.clone(), data };
        let (sender, receiver) = bus.split();
        let shown = owner::Shown { agents: agents_tx, waiting: waiting_tx, counters: counters_tx };
        let pool = owner::Pool::new(settings, publisher, handle, sender, shown);
        let guard = stopped.clone().drop_guard();
        tokio::spawn(async move {
            pool.serve(receiver, commands, shutdown).await;
            drop(guard);
        });
        Self { agents, waiting, commands: commands_tx, counters, detached, stopped }
    }

    /// From now on a cancelled run ends here with [`Error::Interrupted`] and goes on at its agent, which hands it over to
    /// the next server.
    pub fn detach_all(&self) {
        self.detached.cancel();
    }

    /// All agents, in order of their names.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentInfo> {
        self.agents.borrow().clone()
    }

    /// Changes whenever an agent does, at most a few times a second.
    #[must_use]
    pub fn watch_agents(&self) -> watch::Receiver<Vec<AgentInfo>> {
        self.agents.clone()
    }

    /// Runs that wait for an agent, and why; at most a few times a second new.
    #[must_use]
    pub fn waiting(&self) -> Vec<WaitingRuns> {
        self.waiting.borrow().clone()
    }

    /// Has an agent take no new runs and finish those it has (`on`), or take runs again. `agent` is its [`AgentInfo::name`], or
    /// its instance where that is unique. Counts at once; an agent that restarts takes runs again. Gives the whole name.
    ///
    /// # Errors
    /// Where there is no such agent, or more than one.
    pub async fn drain(&self, agent: &str, on: bool) -> Result<String, DrainError> {
        let (answer, answered) = oneshot::channel();
        let command = command::PoolCommand::Drain { agent: agent.to_owned(), on, answer };
        self.commands.send(command).await.map_err(|_stopped| DrainError::Stopped)?;
        answered.await.unwrap_or(Err(DrainError::Stopped))
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.counters.borrow()
    }

    /// Waits until the task has ended, after `shutdown` or because the session has.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}
