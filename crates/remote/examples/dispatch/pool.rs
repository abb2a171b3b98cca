//! A whole orchestrator, with simulated agents: every message is written and read as on the wire.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anabranch_model::*;
use anabranch_remote::message::{Hello, LoadReport, Message, Register};
use anabranch_remote::wire::{self, Envelope};
use anabranch_remote::{AgentInfo, Load, Orchestrator, OrchestratorSettings, Publisher, RunId, ServerData};
use anabranch_xmpp::{Bus, BusDriver, BusEvent, Command, Incoming, MessageKind, Outgoing};
use tokio_util::sync::CancellationToken;

use crate::measure::{Random, cpu, rss_mib};

const SERVICES: u64 = 100;
const PROCESSES: u64 = 1_000;
const SLOTS: u32 = 4;
const ROOM: &str = "default@rooms.test";
/// Runs that end in each measurement.
const RUNS: usize = 20_000;

/// The registry of a server.
#[derive(Default)]
struct Registry(Mutex<BTreeMap<ProcessId, Arc<dyn Process>>>);

impl Publisher for Registry {
    fn publish(&self, process: Arc<dyn Process>) {
        self.0.lock().unwrap().insert(process.description().id.clone(), process);
    }

    fn withdraw(&self, process: &ProcessId) {
        self.0.lock().unwrap().remove(process);
    }
}

struct NoData;

impl ServerData for NoData {
    fn offer_input<'a>(
        &'a self,
        _: RunId,
        _: &'a str,
        _: usize,
        _: &'a Data,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(async { Err(Error::internal("no data plane")) })
    }

    fn upload_url(&self, _: RunId, _: &str) -> Option<String> {
        None
    }

    fn take_upload<'a>(&'a self, _: RunId, _: &'a str, _: u64) -> BoxFuture<'a, Result<Data, Error>> {
        Box::pin(async { Err(Error::internal("no data plane")) })
    }

    fn release(&self, _: RunId) {}
}

struct NoSink;

impl OutputSink for NoSink {
    fn started(&self, _: Option<&str>) {}
    fn write(&self, _: &str, _: Value) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
    fn progress(&self, _: f32, _: Option<&str>) {}
    fn log(&self, _: LogLine) {}
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    fn is_cancelled(&self) -> bool {
        false
    }
    fn scratch(&self) -> &Path {
        Path::new("/nonexistent")
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(crate) fn run(agents: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(simulate(agents));
}

async fn simulate(agents: u64) {
    let before = rss_mib();
    let (bus, driver) = Bus::channel();
    let registry = Arc::new(Registry::default());
    let mut settings = OrchestratorSettings::new(Vec::new(), "bench");
    settings.queue_runs_max = 1_000_000;
    // The simulated agents tell theirs once a run of theirs has ended, not by the clock.
    settings.agent_silent = Duration::from_secs(3600);
    let publisher = Arc::clone(&registry) as Arc<dyn Publisher>;
    let orchestrator =
        Orchestrator::start(bus, settings, publisher, Arc::new(NoData), CancellationToken::new());
    let world = Arc::new(World::default());
    tokio::spawn(Arc::clone(&world).serve(driver, agents));
    let ready = Instant::now();
    let mut shown = orchestrator.watch_agents();
    let is_ready = |agent: &AgentInfo| agent.services.len() as u64 == SERVICES;
    let all = shown.wait_for(|all| all.len() as u64 == agents && all.iter().all(is_ready)).await;
    drop(all.unwrap());
    println!(
        "pool: {agents} agents have come and registered {} services within {:.1} s: {:.0} MiB",
        agents * SERVICES,
        ready.elapsed().as_secs_f64(),
        rss_mib() - before
    );
    let processes: Vec<_> = registry.0.lock().unwrap().values().cloned().collect();
    for queued in [1_000, 10_000, 100_000] {
        let slots = agents as usize * SLOTS as usize;
        world.measure(&orchestrator, &processes, slots, queued).await;
    }
}

/// All agents.
#[derive(Default)]
struct World {
    state: Mutex<State>,
    ended: tokio::sync::Notify,
}

#[derive(Default)]
struct State {
    /// Runs that agents have, oldest first.
    running: VecDeque<(usize, RunId)>,
    said: Vec<BusEvent>,
}

impl World {
    /// So many runs wait beside those that take all slots; some end, and as many come.
    async fn measure(
        self: &Arc<Self>,
        orchestrator: &Orchestrator,
        processes: &[Arc<dyn Process>],
        slots: usize,
        queued: usize,
    ) {
        let mut random = Random::new(11);
        let memory = rss_mib();
        let counters = || orchestrator.counters();
        let under_way =
            |c: anabranch_remote::Counters| (c.runs_sent - c.runs_completed + c.runs_waiting) as usize;
        let (before, missing) = (Instant::now(), (slots + queued).saturating_sub(under_way(counters())));
        for n in 0..missing {
            submit(&processes[random.below(processes.len() as u64) as usize]);
            if n % 500 == 0 {
                tokio::task::yield_now().await;
            }
        }
        until(|| counters().runs_waiting as usize >= queued && self.running() >= slots).await;
        let submitted = before.elapsed();
        let memory_runs = rss_mib() - memory;
        println!(
            "pool: {} more runs, {queued} wait: {:.1} us each to submit, {memory_runs:.0} MiB, {:.0} MiB in all",
            missing,
            submitted.as_secs_f64() * 1e6 / missing as f64,
            rss_mib()
        );
        let (cpu_before, before, ended) = (cpu(), Instant::now(), counters().runs_completed as usize);
        for n in 0..RUNS {
            submit(&processes[random.below(processes.len() as u64) as usize]);
            self.end_oldest().await;
            if n % 100 == 99 {
                until(|| counters().runs_completed as usize >= ended + n - 2_000.min(n)).await;
            }
        }
        until(|| counters().runs_completed as usize >= ended + RUNS).await;
        let (wall, cpu) = (before.elapsed(), cpu() - cpu_before);
        println!(
            "pool: {RUNS} runs end, the next ones are sent: {:.1} us of processor a run, {:.0} runs/s on two threads (agents included)",
            cpu.as_secs_f64() * 1e6 / RUNS as f64,
            RUNS as f64 / wall.as_secs_f64()
        );
    }

    fn running(&self) -> usize {
        self.state.lock().unwrap().running.len()
    }

    /// Has a run end, when there is one.
    async fn end_oldest(&self) {
        until(|| self.running() > 0).await;
        let mut state = self.state.lock().unwrap();
        let Some((agent, run)) = state.running.pop_front() else { return };
        let completed = Envelope { run: Some(run), seq: 2, ack: 1, message: Message::Completed };
        state.said.push(from(agent, &completed));
        drop(state);
        self.ended.notify_one();
    }

    /// The agents' side of the session.
    async fn serve(self: Arc<Self>, mut driver: BusDriver, agents: u64) {
        driver.emit(BusEvent::Up { jid: "orchestrator@test/bench".into() }).await;
        for agent in 0..agents as usize {
            driver.emit(from(agent, &Envelope::session(hello(agent)))).await;
            for message in services(agent) {
                driver.emit(from(agent, &Envelope::session(message))).await;
                // Answers, of which these agents make nothing.
                while take_command(&mut driver).await.is_some() {}
            }
        }
        loop {
            let said = std::mem::take(&mut self.state.lock().unwrap().said);
            for event in said {
                driver.emit(event).await;
            }
            tokio::select! {
                command = driver.next_command() => match command {
                    Some(Command::Send(message)) => {
                        if let Some(answer) = self.hear(&message) {
                            driver.emit(answer).await;
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
                () = self.ended.notified() => {}
            }
        }
    }

    /// What an agent answers.
    fn hear(&self, message: &Outgoing) -> Option<BusEvent> {
        let agent: usize = message.to.rsplit("agent").next()?.parse().ok()?;
        let envelope = wire::find(&over_the_wire(&message.payloads))?.unwrap();
        let run = envelope.run?;
        let answer = match envelope.message {
            Message::Execute(_) => {
                self.state.lock().unwrap().running.push_back((agent, run));
                Envelope { run: Some(run), seq: 1, ack: 1, message: Message::Accepted }
            }
            Message::Finish => {
                Envelope { run: Some(run), seq: 0, ack: envelope.seq, message: Message::Acknowledge }
            }
            _ => return None,
        };
        Some(from(agent, &answer))
    }
}

/// A command that is there already.
async fn take_command(driver: &mut BusDriver) -> Option<Command> {
    tokio::select! {
        biased;
        command = driver.next_command() => command,
        () = std::future::ready(()) => None,
    }
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn submit(process: &Arc<dyn Process>) {
    let execution = Execution {
        job: JobId::random(),
        attempt: 1,
        part: None,
        resume: false,
        feed: None,
        arriving: None,
        written: 0,
        inputs: Inputs::new(vec![(
            "text".into(),
            vec![Value::Literal(LiteralValue::new(LiteralType::String, "a value of some bytes"))],
        )]),
        outputs: Vec::new(),
        sink: Arc::new(NoSink),
    };
    tokio::spawn(Arc::clone(process).execute(execution));
}

fn from(agent: usize, envelope: &Envelope) -> BusEvent {
    let payloads = over_the_wire(&[wire::encode(envelope).unwrap()]);
    BusEvent::Message(Incoming {
        from: format!("{ROOM}/agent{agent}"),
        room: Some(ROOM.into()),
        nick: Some(format!("agent{agent}")),
        real_jid: Some(format!("agent{agent}@test/host")),
        kind: MessageKind::Chat,
        id: None,
        body: None,
        payloads,
    })
}

/// As text and back.
fn over_the_wire(payloads: &[anabranch_xmpp::Element]) -> Vec<anabranch_xmpp::Element> {
    payloads.iter().map(|payload| String::from(payload).parse().unwrap()).collect()
}

fn hello(agent: usize) -> Message {
    Message::Hello(Hello {
        instance: format!("host{agent}"),
        incarnation: "1".into(),
        version: "bench".into(),
        wires: vec![wire::NATIVE.into()],
        capacity: SLOTS,
        labels: Vec::new(),
        runs: Vec::new(),
    })
}

/// What an agent registers, and its load.
fn services(agent: usize) -> Vec<Message> {
    let mut random = Random::new(agent as u64 + 1);
    let (first, step) = (random.below(PROCESSES), 1 + 10 * random.below(PROCESSES / 10));
    let register = |n: u64| {
        let process = (first + n * step) % PROCESSES;
        let description = Arc::new(description(&format!("default:Process{process:04}")));
        Message::Register(Register {
            revision: n + 1,
            description,
            runs_max: SLOTS,
            weight: 1,
            preferred_labels: Vec::new(),
        })
    };
    let cpu_percent = random.below(100) as f32;
    let load = Load { cpu_percent, memory_percent: 20.0, load_average: 0.0 };
    let report = LoadReport { load, running: 0, slots: 0, draining: false, full: None };
    (0..SERVICES).map(register).chain([Message::Load(report)]).collect()
}

fn description(id: &str) -> ProcessDescription {
    let any = || {
        DataDescription::Complex(ComplexDomain { formats: vec![Format::new("text/plain")], bytes_max: None })
    };
    ProcessDescription {
        title: id.into(),
        description: "One of a thousand.".into(),
        inputs: vec![InputDescription::new("text", Occurs { min: 0, max: None }, any())],
        outputs: vec![OutputDescription::new("out", any())],
        ..ProcessDescription::new(ProcessId::new(id).unwrap())
    }
}
