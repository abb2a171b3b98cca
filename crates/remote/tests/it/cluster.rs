//! A server and its agents, joined by one room.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::*;
use anabranch_xmpp::{Bus, BusEvent, RoomJoin};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::doubles::{Idle, Registry, Script, Sink, Web};
use crate::room::{ROOM, Room};

pub(crate) struct Server {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) registry: Arc<Registry>,
    pub(crate) shutdown: CancellationToken,
}

pub(crate) struct RunningAgent {
    pub(crate) task: JoinHandle<Result<(), AgentError>>,
    pub(crate) services: watch::Sender<Vec<AgentService>>,
    pub(crate) drain: Drain,
    pub(crate) profile: watch::Sender<Profile>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) struct Cluster {
    pub(crate) room: Room,
    pub(crate) web: Arc<Web>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { room: Room::default(), web: Arc::new(Web::default()) }
    }

    pub(crate) fn server(&self) -> Server {
        self.server_with(|_| {})
    }

    pub(crate) fn server_with(&self, change: impl FnOnce(&mut OrchestratorSettings)) -> Server {
        let bus = self.room.connect("orchestrator");
        let mut settings = OrchestratorSettings::new(vec![join("orchestrator")], "test");
        change(&mut settings);
        let (registry, shutdown) = (Registry::new(), CancellationToken::new());
        let orchestrator = Orchestrator::start(
            bus,
            settings,
            Arc::clone(&registry) as Arc<dyn Publisher>,
            Arc::clone(&self.web) as Arc<dyn ServerData>,
            shutdown.clone(),
        );
        Server { orchestrator, registry, shutdown }
    }

    pub(crate) fn agent(&self, account: &str, capacity: u32, scripts: Vec<Arc<Script>>) -> RunningAgent {
        self.agent_with(account, scripts, |settings| {
            settings.profile.send_modify(|profile| profile.capacity = capacity)
        })
    }

    pub(crate) fn agent_with(
        &self,
        account: &str,
        scripts: Vec<Arc<Script>>,
        change: impl FnOnce(&mut AgentSettings),
    ) -> RunningAgent {
        self.agent_on(account, scripts, Arc::new(Idle), change)
    }

    pub(crate) fn agent_on(
        &self,
        account: &str,
        scripts: Vec<Arc<Script>>,
        machine: Arc<dyn LoadSource>,
        change: impl FnOnce(&mut AgentSettings),
    ) -> RunningAgent {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = AgentSettings::new(vec![join(account)], "host", folder.path());
        settings.orchestrator_account = Some("orchestrator@test".into());
        change(&mut settings);
        let (drain, profile) = (settings.drain.clone(), settings.profile.clone());
        let (services, services_rx) = watch::channel(services(scripts));
        let shutdown = CancellationToken::new();
        let run = Agent::run(
            self.room.connect(account),
            services_rx,
            settings,
            Arc::clone(&self.web) as Arc<dyn AgentData>,
            machine,
            shutdown.clone(),
        );
        RunningAgent { task: tokio::spawn(run), services, drain, profile, shutdown, folder }
    }
}

pub(crate) fn services(scripts: Vec<Arc<Script>>) -> Vec<AgentService> {
    let service = |process: Arc<Script>| AgentService {
        process,
        runs_max: 100,
        weight: 1,
        preferred_labels: Vec::new(),
        uploaded: Vec::new(),
    };
    scripts.into_iter().map(service).collect()
}

fn join(nick: &str) -> RoomJoin {
    RoomJoin { room: ROOM.into(), nick: nick.into(), password: None }
}

/// Longest wait for anything, in virtual time: far beyond every timer of server and agent.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits for what sends no event, like a folder that goes. Time is virtual: looking once a millisecond costs nothing.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: never"));
}

/// What must not happen does not, for so long: looks at each tenth of a second.
pub(crate) async fn holds_for(time: Duration, what: &str, holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(holds(), "{what}: not for {time:?}");
    }
}

/// Lets virtual time go by where how long something is gone is what the test is about. Nothing is waited for with it.
pub(crate) async fn is_gone_for(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until a session is in the room.
pub(crate) async fn entered(bus: &mut Bus) {
    let joined =
        async { while !matches!(bus.next().await.expect("the session goes on"), BusEvent::Joined { .. }) {} };
    tokio::time::timeout(PATIENCE, joined).await.expect("in the room in time");
}

/// A run under way.
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) sink: Arc<Sink>,
    pub(crate) result: JoinHandle<Result<(), Error>>,
}

impl Job {
    /// It does not end within this time.
    pub(crate) async fn goes_on_for(&mut self, time: Duration, because: &str) {
        assert!(tokio::time::timeout(time, &mut self.result).await.is_err(), "it ended, though {because}");
    }

    /// How it ended.
    pub(crate) async fn end(self) -> Result<(), Error> {
        tokio::time::timeout(Duration::from_secs(3600), self.result).await.expect("ended in time").unwrap()
    }
}

impl RunningAgent {
    /// Waits until so many runs have a folder.
    pub(crate) async fn has_folders(&self, count: usize) {
        eventually(&format!("{count} folders of runs"), || self.folders() == count).await;
    }

    pub(crate) fn folders(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

impl Server {
    /// Waits until the agents are as wanted.
    pub(crate) async fn agents_when(&self, wanted: impl Fn(&[AgentInfo]) -> bool) {
        let mut agents = self.orchestrator.watch_agents();
        let waited = tokio::time::timeout(PATIENCE, agents.wait_for(|all| wanted(all))).await;
        waited.expect("agents as wanted in time").unwrap();
    }

    /// Executes a process when it is published.
    pub(crate) async fn execute(&self, process: &str, inputs: Vec<Value>) -> Job {
        self.execute_into(process, inputs, Sink::new()).await
    }

    pub(crate) async fn execute_into(&self, process: &str, inputs: Vec<Value>, sink: Arc<Sink>) -> Job {
        let process = self.registry.published(process).await;
        begin(process, JobId::random(), inputs, sink, false)
    }

    /// Executes a process when it is published, with inputs of all names.
    pub(crate) async fn execute_with(&self, process: &str, inputs: Inputs) -> Job {
        let process = self.registry.published(process).await;
        begin_with(process, JobId::random(), inputs, Sink::new(), false)
    }

    /// Executes a process when it is published, and feeds it its input `text`.
    pub(crate) async fn execute_fed(&self, process: &str, pieces: impl ChunkReader + 'static) -> Job {
        let process = self.registry.published(process).await;
        let feed = Feed::new("text", Box::new(pieces));
        begin_fed(process, JobId::random(), Inputs::new(vec![]), Some(feed), Sink::new(), false)
    }

    /// Goes on with a job from before a restart, when its process is published again.
    pub(crate) async fn resume(&self, process: &str, id: JobId, sink: Arc<Sink>) -> Job {
        let process = self.registry.published(process).await;
        begin(process, id, vec![], sink, true)
    }

    /// Goes on with a job that the store takes for one that never began.
    pub(crate) async fn begin_again(&self, process: &str, id: JobId) -> Job {
        let process = self.registry.published(process).await;
        begin(process, id, vec![], Sink::new(), false)
    }

    /// As a server does that is told to stop.
    pub(crate) async fn stop(&self) {
        self.shutdown.cancel();
        self.orchestrator.stopped().await;
    }
}

fn begin(process: Arc<dyn Process>, id: JobId, inputs: Vec<Value>, sink: Arc<Sink>, resume: bool) -> Job {
    begin_with(process, id, Inputs::new(vec![("text".into(), inputs)]), sink, resume)
}

fn begin_with(process: Arc<dyn Process>, id: JobId, inputs: Inputs, sink: Arc<Sink>, resume: bool) -> Job {
    begin_fed(process, id, inputs, None, sink, resume)
}

/// All outputs are asked for.
fn begin_fed(
    process: Arc<dyn Process>,
    id: JobId,
    inputs: Inputs,
    feed: Option<Feed>,
    sink: Arc<Sink>,
    resume: bool,
) -> Job {
    let output = |output: &OutputDescription| OutputRequest {
        id: output.id.clone(),
        format: FormatHint::default(),
        transmission: Transmission::Value,
        uom: None,
    };
    let execution = Execution {
        job: id,
        attempt: 1,
        // As the engine does it.
        part: None,
        resume: resume && process.may_live_on(id, 1),
        written: 0,
        feed,
        arriving: None,
        inputs,
        outputs: process.description().outputs.iter().map(output).collect(),
        sink: Arc::clone(&sink) as Arc<dyn OutputSink>,
    };
    Job { id, sink, result: tokio::spawn(process.execute(execution)) }
}
