//! A session whose other end is in the hands of the test, and what is said there.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::message::{Hello, Register, Welcome};
use anabranch_remote::wire::{self, Envelope};
use anabranch_remote::*;
use anabranch_xmpp::{Bus, BusDriver, BusEvent, Command, Incoming, MessageKind, OccupantChange, Role};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::doubles::*;
use crate::room::ROOM;

/// The agent that is played.
pub(crate) const AGENT: &str = "a1";
/// Runs that it takes at once, and that may wait.
const RUNS_MAX: usize = 1_000;

/// The server's end of a session, in the hands of the test, with one agent that is played.
pub(crate) struct ServersSession {
    pub(crate) driver: BusDriver,
    pub(crate) orchestrator: Orchestrator,
    process: Arc<dyn Process>,
    _stop: DropGuard,
}

pub(crate) fn occupant(nick: &str, change: OccupantChange) -> BusEvent {
    let real_jid = Some(format!("{nick}@test/host"));
    BusEvent::Occupant { room: ROOM.into(), nick: nick.into(), real_jid, role: Role::Participant, change }
}

pub(crate) fn said(nick: &str, envelope: &Envelope) -> BusEvent {
    BusEvent::Message(Incoming {
        from: format!("{ROOM}/{nick}"),
        room: Some(ROOM.into()),
        nick: Some(nick.into()),
        real_jid: Some(format!("{nick}@test/host")),
        kind: MessageKind::Chat,
        id: None,
        body: None,
        payloads: vec![wire::encode(envelope).unwrap()],
    })
}

/// Takes a message off the session, where one is there or comes without time going by.
pub(crate) async fn message(driver: &mut BusDriver) -> Option<Envelope> {
    let start = Instant::now();
    loop {
        // Time goes on when nobody has anything to do.
        let next = tokio::select! {
            biased;
            command = driver.next_command() => command,
            () = tokio::time::sleep_until(start + Duration::from_millis(1)) => None,
        };
        match next? {
            Command::Send(sent) => return Some(wire::find(&sent.payloads).unwrap().unwrap()),
            _ => continue,
        }
    }
}

/// All that is said without time going by.
pub(crate) async fn all(driver: &mut BusDriver) -> Vec<Envelope> {
    let mut all = Vec::new();
    while let Some(envelope) = message(driver).await {
        all.push(envelope);
    }
    all
}

pub(crate) fn executed(envelopes: &[Envelope]) -> Vec<RunId> {
    let executes = envelopes.iter().filter(|envelope| matches!(envelope.message, Message::Execute(_)));
    executes.filter_map(|envelope| envelope.run).collect()
}

pub(crate) fn hello() -> Envelope {
    Envelope::session(Message::Hello(Hello {
        instance: "host".into(),
        incarnation: "1".into(),
        version: "test".into(),
        wires: vec![wire::NATIVE.into()],
        capacity: RUNS_MAX as u32,
        labels: Vec::new(),
        runs: Vec::new(),
    }))
}

fn registration() -> BusEvent {
    let register = Register {
        revision: 1,
        description: Arc::new(description("default:Echo")),
        runs_max: RUNS_MAX as u32,
        weight: 1,
        preferred_labels: Vec::new(),
    };
    said(AGENT, &Envelope::session(Message::Register(register)))
}

impl ServersSession {
    /// With an agent that has come and registered.
    pub(crate) async fn open(
        data: Arc<dyn ServerData>,
        change: impl FnOnce(&mut OrchestratorSettings),
    ) -> Self {
        let (bus, mut driver) = Bus::channel();
        let registry = Registry::new();
        let mut settings = OrchestratorSettings::new(Vec::new(), "test");
        settings.queue_runs_max = RUNS_MAX;
        change(&mut settings);
        let stop = CancellationToken::new();
        let orchestrator = Orchestrator::start(
            bus,
            settings,
            Arc::clone(&registry) as Arc<dyn Publisher>,
            data,
            stop.clone(),
        );
        driver.emit(BusEvent::Up { jid: "orchestrator@test/server".into() }).await;
        driver.emit(occupant(AGENT, OccupantChange::Joined)).await;
        driver.emit(said(AGENT, &hello())).await;
        driver.emit(registration()).await;
        let process = registry.published("default:Echo").await;
        let greetings = all(&mut driver).await;
        assert!(matches!(greetings[0].message, Message::Welcome(Welcome { .. })), "{greetings:?}");
        Self { driver, orchestrator, process, _stop: stop.drop_guard() }
    }

    /// The agent says again what it runs.
    pub(crate) async fn register(&mut self) {
        self.driver.emit(registration()).await;
    }

    /// Has a job begin, or go on from before a restart.
    pub(crate) fn execute(&self, resume: bool) -> (RunId, JoinHandle<Result<(), Error>>) {
        let execution = Execution {
            job: JobId::random(),
            attempt: 1,
            part: None,
            resume,
            written: 0,
            feed: None,
            arriving: None,
            inputs: Inputs::new(Vec::new()),
            outputs: Vec::new(),
            sink: Sink::new(),
        };
        (RunId::of(&execution), tokio::spawn(Arc::clone(&self.process).execute(execution)))
    }

    /// The agent takes runs.
    pub(crate) async fn accept(&mut self, runs: &[RunId]) {
        for run in runs {
            let envelope = Envelope { run: Some(*run), seq: 1, ack: 1, message: Message::Accepted };
            self.driver.emit(said(AGENT, &envelope)).await;
        }
    }
}
