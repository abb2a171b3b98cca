//! A whole orchestrator, and agents that are simulated: every message is written and read as on the wire, in virtual time. The agents
//! settle what becomes of each run; how it ends for its job is compared with that.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::message::{CannotExecute, Hello, LoadReport, Message, Register};
use anabranch_remote::wire::{self, Envelope};
use anabranch_remote::{AgentInfo, Counters, Load, Orchestrator, OrchestratorSettings};
use anabranch_remote::{Publisher, RunId, ServerData};
use anabranch_xmpp::{
    Bus, BusDriver, BusEvent, Command, Incoming, MessageKind, OccupantChange, Outgoing, Role,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ROOM: &str = "default@rooms.test";
/// How often agents tell their load, as a server asks them to.
const REPORTS: Duration = Duration::from_secs(5);
/// Shortest time that a run takes, and how much longer it may take.
const RUN_MS: (u64, u64) = (10_000, 20_000);
/// Within which agents die, once runs go on.
const DEATHS_MS: u64 = 40_000;
/// Of so many runs one fails.
const ONE_FAILS: u64 = 20;
/// Of so many runs that are sent one is refused.
const ONE_IS_REFUSED: u64 = 50;
/// Users whose jobs they are.
const OWNERS: usize = 50;
/// Times that all other tasks have their turn before it is taken for granted that none has anything to do: from a message to an answer it takes
/// three.
const TURNS: usize = 20;
/// Faults that are kept.
const FAULTS_MAX: usize = 10;

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) agents: usize,
    /// Of each agent.
    pub(crate) services: u64,
    pub(crate) processes: u64,
    pub(crate) slots: u32,
    /// Agents that die once the runs go on: by turns they leave the room and fall silent in it.
    pub(crate) killed: usize,
}

/// What became of the runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    /// Times that an agent refused one.
    pub(crate) refused: u64,
    /// The first ends that are not what the agents say, and runs that were begun twice.
    pub(crate) faults: Vec<String>,
    /// Processor time of the simulated agents, ns.
    pub(crate) agents_ns: u64,
}

impl Tally {
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed + self.lost
    }
}

pub(crate) struct Simulation {
    plan: Plan,
    pub(crate) orchestrator: Orchestrator,
    processes: Vec<Arc<dyn Process>>,
    owners: Vec<UserName>,
    random: Random,
    world: Arc<World>,
    orders: mpsc::Sender<Order>,
}

impl Simulation {
    /// All agents have come and registered. Runs at them go on when [`go_on`](Self::go_on) says so. To be called in paused time.
    pub(crate) async fn start(plan: Plan) -> Self {
        let (bus, driver) = Bus::channel();
        let registry = Arc::new(Registry::default());
        let mut settings = OrchestratorSettings::new(Vec::new(), "simulation");
        settings.queue_runs_max = 1_000_000;
        settings.load_interval = REPORTS;
        let publisher = Arc::clone(&registry) as Arc<dyn Publisher>;
        let orchestrator =
            Orchestrator::start(bus, settings, publisher, Arc::new(NoData), CancellationToken::new());
        let world = Arc::new(World { plan, state: Mutex::new(State::new(plan)) });
        let (orders, orders_rx) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&world).serve(driver, orders_rx));
        let mut shown = orchestrator.watch_agents();
        let is_ready = |agent: &AgentInfo| agent.services.len() as u64 == plan.services;
        let all = shown.wait_for(|all| all.len() == plan.agents && all.iter().all(is_ready)).await;
        drop(all.unwrap());
        let processes = registry.0.lock().unwrap().values().cloned().collect();
        let owners = (0..OWNERS).map(|n| UserName::new(format!("user{n}")).unwrap()).collect();
        Self { plan, orchestrator, processes, owners, random: Random::new(11), world, orders }
    }

    /// So many jobs more, of all processes and owners alike.
    pub(crate) async fn submit(&mut self, runs: usize) {
        self.world.state().tally.submitted += runs as u64;
        for n in 0..runs {
            let process = &self.processes[self.random.below(self.processes.len() as u64) as usize];
            let owner = self.owners[self.random.below(OWNERS as u64) as usize].clone();
            let execution = execution(owner);
            let (run, world) = (RunId::of(&execution), Arc::clone(&self.world));
            let end = Arc::clone(process).execute(execution);
            tokio::spawn(async move { world.ended(run, &end.await) });
            if n % 500 == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// From now on runs end, and agents die.
    pub(crate) async fn go_on(&self) {
        self.orders.send(Order::GoOn).await.unwrap();
    }

    /// Ends so many runs one by one, and gives the processor time, in ns, from each end to the next run on its way: all that the
    /// orchestrator and the two jobs do for it. Time stands still meanwhile.
    pub(crate) async fn sample(&self, count: usize) -> Vec<u64> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Sample { count, answer }).await.unwrap();
        answered.await.unwrap()
    }

    pub(crate) async fn until(&self, done: impl Fn(&Counters, &Tally) -> bool) {
        while !done(&self.orchestrator.counters(), &self.world.state().tally) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_all_have_ended(&self) {
        self.until(|_, tally| tally.ended() == tally.submitted).await;
        // The list of agents is made every few seconds.
        let mut agents = self.orchestrator.watch_agents();
        drop(agents.wait_for(|all| all.iter().all(|agent| agent.running == 0)).await.unwrap());
    }

    pub(crate) fn tally(&self) -> Tally {
        self.world.state().tally.clone()
    }

    pub(crate) fn slots(&self) -> usize {
        self.plan.agents * self.plan.slots as usize
    }
}

enum Order {
    GoOn,
    Sample { count: usize, answer: oneshot::Sender<Vec<u64>> },
}

/// All agents.
struct World {
    plan: Plan,
    state: Mutex<State>,
}

struct State {
    random: Random,
    is_alive: Vec<bool>,
    /// Runs that agents have taken.
    taken: HashMap<RunId, Taken>,
    /// Runs sent to agents that are dead.
    vain: HashSet<RunId>,
    /// Runs taken, of which some have ended.
    running: Vec<RunId>,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    goes_on: bool,
    tally: Tally,
}

/// A run at an agent.
struct Taken {
    agent: usize,
    fails: bool,
    /// The agent has said how it ended.
    has_ended: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    End(RunId),
    Report(usize),
    Death(usize),
}

impl State {
    fn new(plan: Plan) -> Self {
        Self {
            random: Random::new(7),
            is_alive: vec![true; plan.agents],
            taken: HashMap::new(),
            vain: HashSet::new(),
            running: Vec::new(),
            due: BinaryHeap::new(),
            goes_on: false,
            tally: Tally::default(),
        }
    }

    fn fault(&mut self, text: String) {
        if self.tally.faults.len() < FAULTS_MAX {
            self.tally.faults.push(text);
        }
    }

    fn end_later(&mut self, run: RunId) {
        let after = Duration::from_millis(RUN_MS.0 + self.random.below(RUN_MS.1));
        self.due.push(Reverse((Instant::now() + after, Due::End(run))));
    }

    /// Has an agent say how a run has ended; `None` where it has said so, or is dead.
    fn end(&mut self, run: RunId) -> Option<BusEvent> {
        let taken =
            self.taken.get_mut(&run).filter(|taken| !taken.has_ended && self.is_alive[taken.agent])?;
        taken.has_ended = true;
        let message = match taken.fails {
            true => Message::Failed(Error::process_failed("exit code 1")),
            false => Message::Completed,
        };
        Some(from(taken.agent, &Envelope { run: Some(run), seq: 3, ack: 1, message }))
    }

    fn end_any(&mut self) -> Option<BusEvent> {
        while !self.running.is_empty() {
            let nth = self.random.below(self.running.len() as u64) as usize;
            let run = self.running.swap_remove(nth);
            if let Some(event) = self.end(run) {
                return Some(event);
            }
        }
        None
    }

    fn happen(&mut self, due: &Due, now: Instant) -> Option<BusEvent> {
        match *due {
            Due::End(run) => self.end(run),
            Due::Report(agent) if self.is_alive[agent] => {
                self.due.push(Reverse((now + REPORTS, Due::Report(agent))));
                let percent = self.random.below(90) as f32;
                Some(from(agent, &Envelope::session(load(percent))))
            }
            Due::Report(_) => None,
            Due::Death(agent) => {
                self.is_alive[agent] = false;
                // Every second one goes on being in the room, and says nothing.
                (agent % 2 == 0).then(|| BusEvent::Occupant {
                    room: ROOM.into(),
                    nick: format!("agent{agent}"),
                    real_jid: None,
                    role: Role::None,
                    change: OccupantChange::Left,
                })
            }
        }
    }

    /// What an agent answers to an offer of a run.
    fn offered(&mut self, agent: usize, run: RunId, offer: u32) -> Vec<BusEvent> {
        if !self.is_alive[agent] {
            self.vain.insert(run);
            return Vec::new();
        }
        if let Some(before) = self.taken.get(&run) {
            self.fault(format!("{run} was begun by agent {} and offered to {agent}", before.agent));
            return Vec::new();
        }
        if self.random.below(ONE_IS_REFUSED) == 0 {
            self.tally.refused += 1;
            let message =
                Message::CannotExecute(CannotExecute { offer, reason: "not now".into(), never: false });
            return vec![from(agent, &Envelope { run: Some(run), seq: 0, ack: 0, message })];
        }
        let fails = self.random.below(ONE_FAILS) == 0;
        self.taken.insert(run, Taken { agent, fails, has_ended: false });
        self.running.push(run);
        if self.goes_on {
            self.end_later(run);
        }
        let said = [(1, Message::Accepted), (2, Message::Started)];
        let say = |(seq, message)| from(agent, &Envelope { run: Some(run), seq, ack: 1, message });
        said.into_iter().map(say).collect()
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How a run ended for its job.
    fn ended(&self, run: RunId, end: &Result<(), Error>) {
        let mut state = self.state();
        let taken = state.taken.get(&run);
        let said = taken.filter(|taken| taken.has_ended);
        let is_dead = taken.map_or_else(|| state.vain.contains(&run), |taken| !state.is_alive[taken.agent]);
        let is_true = match end {
            Ok(()) => said.is_some_and(|taken| !taken.fails),
            Err(Error::ProcessFailed { message, .. }) => {
                message == "exit code 1" && said.is_some_and(|taken| taken.fails)
            }
            Err(Error::AgentLost { .. }) => said.is_none() && is_dead,
            Err(_) => false,
        };
        if !is_true {
            state.fault(format!("{run} ended with {end:?}"));
        }
        match end {
            Ok(()) => state.tally.completed += 1,
            Err(Error::AgentLost { .. }) => state.tally.lost += 1,
            Err(_) => state.tally.failed += 1,
        }
    }

    /// The agents' side of the session.
    async fn serve(self: Arc<Self>, mut driver: BusDriver, mut orders: mpsc::Receiver<Order>) {
        driver.emit(BusEvent::Up { jid: "orchestrator@test/simulation".into() }).await;
        for agent in 0..self.plan.agents {
            self.say(&mut driver, |_| vec![from(agent, &Envelope::session(hello(agent, self.plan)))]).await;
            let services = |_: &mut State| {
                let all = services(agent, self.plan);
                all.into_iter().map(|message| from(agent, &Envelope::session(message))).collect()
            };
            self.say(&mut driver, services).await;
            // Answers, of which these agents make nothing.
            while driver.try_next_command().is_some() {}
        }
        let start = Instant::now();
        for agent in 0..self.plan.agents {
            let after = REPORTS * agent as u32 / self.plan.agents as u32;
            self.state().due.push(Reverse((start + after, Due::Report(agent))));
        }
        loop {
            let wake = self.state().due.peek().map_or(start + REPORTS, |Reverse((at, _))| *at);
            tokio::select! {
                biased;
                command = driver.next_command() => match command {
                    Some(command) => self.take(command, &mut driver).await,
                    None => break,
                },
                order = orders.recv() => match order {
                    Some(Order::GoOn) => self.begin_to_end(),
                    Some(Order::Sample { count, answer }) => {
                        drop(answer.send(self.sample(count, &mut driver).await));
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(wake) => self.say(&mut driver, |state| {
                    let now = Instant::now();
                    let mut events = Vec::new();
                    while state.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                        let Some(Reverse((_, due))) = state.due.pop() else { break };
                        events.extend(state.happen(&due, now));
                    }
                    events
                }).await,
            }
        }
    }

    fn begin_to_end(&self) {
        let mut state = self.state();
        state.goes_on = true;
        for run in state.running.clone() {
            state.end_later(run);
        }
        for nth in 0..self.plan.killed {
            let agent = nth * self.plan.agents / self.plan.killed + nth % 2;
            let at = Instant::now() + Duration::from_millis(state.random.below(DEATHS_MS));
            state.due.push(Reverse((at, Due::Death(agent))));
        }
    }

    /// Has agents say something, and counts the time that making it takes.
    async fn say(&self, driver: &mut BusDriver, what: impl FnOnce(&mut State) -> Vec<BusEvent>) {
        let before = thread_ns();
        let events = {
            let mut state = self.state();
            let events = what(&mut state);
            state.tally.agents_ns += thread_ns() - before;
            events
        };
        for event in events {
            driver.emit(event).await;
        }
    }

    async fn take(&self, command: Command, driver: &mut BusDriver) {
        if let Command::Send(message) = command {
            self.say(driver, |state| hear(state, &message)).await;
        }
    }

    async fn sample(&self, count: usize, driver: &mut BusDriver) -> Vec<u64> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            while let Some(command) = said_now(driver).await {
                self.take(command, driver).await;
            }
            let Some(event) = self.state().end_any() else { break };
            let (before, mut said) = (thread_ns(), Vec::new());
            driver.emit(event).await;
            while let Some(command) = said_now(driver).await {
                let is_next = is_execute(&command);
                said.push(command);
                if is_next {
                    times.push(thread_ns() - before);
                    break;
                }
            }
            for command in said {
                self.take(command, driver).await;
            }
        }
        times
    }
}

/// What the orchestrator says now; `None` when it has nothing left to do until time goes on.
async fn said_now(driver: &mut BusDriver) -> Option<Command> {
    for _ in 0..TURNS {
        if let Some(command) = driver.try_next_command() {
            return Some(command);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// What an agent answers.
fn hear(state: &mut State, message: &Outgoing) -> Vec<BusEvent> {
    let agent = message.to.rsplit("agent").next().and_then(|number| number.parse::<usize>().ok());
    let envelope = wire::find(&over_the_wire(&message.payloads)).map(|read| read.unwrap());
    let (Some(agent), Some(envelope)) = (agent, envelope) else { return Vec::new() };
    match (envelope.run, envelope.message) {
        (Some(run), Message::Execute(execute)) => state.offered(agent, run, execute.offer),
        (Some(run), Message::Finish) if state.is_alive[agent] => {
            let message = Message::Acknowledge;
            vec![from(agent, &Envelope { run: Some(run), seq: 0, ack: envelope.seq, message })]
        }
        _ => Vec::new(),
    }
}

fn is_execute(command: &Command) -> bool {
    let Command::Send(message) = command else { return false };
    message.payloads.iter().any(|payload| payload.attr("type") == Some("execute"))
}

fn execution(owner: UserName) -> Execution {
    Execution {
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
        sink: Arc::new(NoSink(owner)),
    }
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

fn hello(agent: usize, plan: Plan) -> Message {
    Message::Hello(Hello {
        instance: format!("host{agent}"),
        incarnation: "1".into(),
        version: "simulation".into(),
        wires: vec![wire::NATIVE.into()],
        capacity: plan.slots,
        labels: Vec::new(),
        runs: Vec::new(),
    })
}

/// What an agent registers, drawn at random, and its load.
fn services(agent: usize, plan: Plan) -> Vec<Message> {
    let mut random = Random::new(agent as u64 + 1);
    // A step that has no factor in common with the number of processes meets each of them once.
    let (first, step) = (random.below(plan.processes), 1 + 10 * random.below(plan.processes.div_ceil(10)));
    let register = |n: u64| {
        let process = (first + n * step) % plan.processes;
        let description = Arc::new(description(&format!("default:Process{process:04}")));
        Message::Register(Register {
            revision: n + 1,
            description,
            runs_max: plan.slots,
            weight: 1,
            preferred_labels: Vec::new(),
        })
    };
    let load = load(random.below(100) as f32);
    (0..plan.services).map(register).chain([load]).collect()
}

fn load(cpu_percent: f32) -> Message {
    let load = Load { cpu_percent, memory_percent: 20.0, load_average: 0.0 };
    Message::Load(LoadReport { load, running: 0, slots: 0, draining: false, full: None })
}

fn description(id: &str) -> ProcessDescription {
    let any = || {
        DataDescription::Complex(ComplexDomain { formats: vec![Format::new("text/plain")], bytes_max: None })
    };
    ProcessDescription {
        title: id.into(),
        description: "One of many.".into(),
        inputs: vec![InputDescription::new("text", Occurs { min: 0, max: None }, any())],
        outputs: vec![OutputDescription::new("out", any())],
        ..ProcessDescription::new(ProcessId::new(id).unwrap())
    }
}

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

/// Of a job of which nobody asks for anything but how it ends.
struct NoSink(UserName);

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
    fn owner(&self) -> Option<&UserName> {
        Some(&self.0)
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Processor time of this thread so far.
pub(crate) fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

/// A small generator: xorshift64* (Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}
