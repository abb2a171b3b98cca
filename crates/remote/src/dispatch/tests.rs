//! The index beside a full scan, for random events; and what decisions cost, counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anabranch_model::{JobId, Priority, ProcessId, UserName};

use super::*;
use crate::load::Load;

/// A small generator, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

fn agent(n: u64) -> AgentKey {
    AgentKey { account: format!("a{n}@test"), instance: "host".into() }
}

fn process(n: u64) -> ProcessId {
    ProcessId::new(format!("default:P{n}")).unwrap()
}

/// The first is nobody.
fn user(n: u64) -> Claim {
    let owner = (n > 0).then(|| UserName::new(format!("user{n}")).unwrap());
    Claim { owner, ..Claim::default() }
}

fn run() -> RunId {
    RunId { job: JobId::random(), attempt: 1, part: None }
}

fn service(weight: u32, runs_max: u32) -> Service {
    Service { revision: 1, runs_max, weight, preferred: None }
}

/// The obvious way to do it: everything is looked at each time.
#[derive(Default)]
struct Scan {
    rules: Rules,
    agents: BTreeMap<AgentKey, Agent>,
    queue: BTreeMap<Ticket, (ProcessId, RunId, Claim)>,
    /// Of owners of whom something waits: when they were served last, or came.
    turns: BTreeMap<(Priority, Option<UserName>), usize>,
    clock: usize,
}

#[derive(Default)]
struct Agent {
    /// Of equal agents the lowest one is taken.
    number: usize,
    here: bool,
    draining: bool,
    full: bool,
    refusing: bool,
    capacity: u32,
    load: Option<Load>,
    labels: BTreeSet<String>,
    services: BTreeMap<ProcessId, Service>,
    runs: BTreeMap<RunId, (ProcessId, u32)>,
}

impl Agent {
    fn slots(&self) -> u64 {
        self.runs.values().map(|(_, weight)| u64::from(*weight)).sum()
    }

    /// What is in the way, with or without thresholds.
    fn obstacle(&self, process: &ProcessId, rules: &Rules, thresholds: bool) -> Option<&'static str> {
        let service = &self.services[process];
        let reaches = |percent: fn(&Load) -> f32, max: Option<f32>| {
            thresholds && self.load.is_some_and(|load| max.is_some_and(|max| percent(&load) >= max))
        };
        let running = self.runs.values().filter(|(of, _)| of == process).count();
        if !self.here {
            Some("out of reach")
        } else if self.draining {
            Some("draining")
        } else if self.full {
            Some("full by their own rules")
        } else if reaches(|load| load.memory_percent, rules.memory_percent_max) {
            Some("above 80 % memory")
        } else if reaches(|load| load.cpu_percent, rules.cpu_percent_max) {
            Some("above 70 % cpu")
        } else if self.slots() + u64::from(service.weight) > u64::from(self.capacity)
            || running >= service.runs_max as usize
        {
            Some("without free capacity")
        } else {
            self.refusing.then_some("refusing for the moment")
        }
    }

    fn rank(&self, process: &ProcessId, rules: &Rules) -> (std::cmp::Reverse<usize>, f64) {
        let service = &self.services[process];
        let by_rule = rules.preferred_labels.get(process).into_iter().flatten();
        let preferred: BTreeSet<_> =
            by_rule.chain(service.preferred.iter().flat_map(|all| all.iter())).collect();
        let matching = self.labels.iter().filter(|label| preferred.contains(label)).count();
        let load = self.load.unwrap_or_default();
        let scarcer = f64::from(load.cpu_percent.max(load.memory_percent)) / 100.0;
        let slots = self.slots() + u64::from(service.weight);
        (std::cmp::Reverse(matching), slots as f64 / f64::from(self.capacity.max(1)) + scarcer)
    }
}

impl Scan {
    fn offering<'a>(&'a self, process: &'a ProcessId) -> impl Iterator<Item = (&'a AgentKey, &'a Agent)> {
        self.agents.iter().filter(|(_, agent)| agent.services.contains_key(process))
    }

    /// The lowest that no agent has.
    fn unused_number(&self) -> usize {
        let used: BTreeSet<_> = self.agents.values().map(|agent| agent.number).collect();
        (0..).find(|number| !used.contains(number)).unwrap_or_default()
    }

    fn choose(&self, process: &ProcessId) -> Option<AgentKey> {
        let best = |thresholds| {
            let free = self.offering(process);
            let free = free.filter(|(_, agent)| agent.obstacle(process, &self.rules, thresholds).is_none());
            free.map(|(key, agent)| (agent.rank(process, &self.rules), agent.number, key))
                .min_by(|(a, number_a, _), (b, number_b, _)| {
                    a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(number_a.cmp(number_b))
                })
                .map(|(_, _, key)| key.clone())
        };
        best(true).or_else(|| best(false).filter(|_| self.rules.force))
    }

    fn queue(&mut self, process: ProcessId, ticket: Ticket, run: RunId, claim: Claim) {
        self.clock += 1;
        self.turns.entry((claim.priority, claim.owner.clone())).or_insert(self.clock);
        self.queue.insert(ticket, (process, run, claim));
    }

    fn unqueue(&mut self, ticket: Ticket) -> Option<(ProcessId, RunId)> {
        let (process, run, claim) = self.queue.remove(&ticket)?;
        if self.queue.values().all(|(_, _, other)| *other != claim) {
            self.turns.remove(&(claim.priority, claim.owner));
        }
        Some((process, run))
    }

    fn next(&mut self) -> Option<(RunId, AgentKey)> {
        let queue = self.queue.iter();
        let found = queue.filter_map(|(ticket, (process, _, claim))| {
            let turn = self.turns[&(claim.priority, claim.owner.clone())];
            Some((claim.priority, turn, *ticket, claim.owner.clone(), self.choose(process)?))
        });
        let (_, _, ticket, owner, agent) = found.min()?;
        self.clock += 1;
        let theirs = self.turns.iter_mut().filter(|((_, of), _)| *of == owner);
        theirs.for_each(|(_, turn)| *turn = self.clock);
        let (process, run) = self.unqueue(ticket)?;
        let taker = self.agents.get_mut(&agent)?;
        let weight = taker.services[&process].weight;
        taker.runs.insert(run, (process, weight));
        Some((run, agent))
    }

    fn reason(&self, process: &ProcessId) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, agent) in self.offering(process) {
            if let Some(obstacle) = agent.obstacle(process, &self.rules, !self.rules.force) {
                *counts.entry(obstacle).or_default() += 1;
            }
        }
        match counts.len() {
            0 => "none offers the process".into(),
            1 => format!("all {}", counts.keys().next().unwrap()),
            _ => counts.iter().map(|(text, n)| format!("{n} {text}")).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Both, told the same.
struct Both {
    scan: Scan,
    dispatch: Dispatcher,
    tickets: Ticket,
    now: Instant,
}

impl Both {
    fn new(rules: Rules) -> Self {
        let scan = Scan { rules: rules.clone(), ..Scan::default() };
        Self { scan, dispatch: Dispatcher::new(rules), tickets: 0, now: Instant::now() }
    }

    fn event(&mut self, random: &mut Random) {
        let key = agent(random.below(12));
        let process = process(random.below(6));
        let percent = |random: &mut Random| random.below(21) as f32 * 5.0;
        let known = self.scan.agents.contains_key(&key);
        match random.below(16) {
            0 => {
                let (here, capacity) = (true, random.below(6) as u32);
                let labels: BTreeSet<_> = ["gpu", "near", "big"]
                    .into_iter()
                    .filter(|_| random.chance(2))
                    .map(str::to_owned)
                    .collect();
                let number = self.scan.unused_number();
                let new = || Agent { number, ..Agent::default() };
                let at = self.scan.agents.entry(key.clone()).or_insert_with(new);
                (at.here, at.capacity, at.labels) = (here, capacity, labels.clone());
                self.dispatch.change(&key, |worker| (worker.here, worker.capacity) = (here, capacity));
                self.dispatch.label(&key, labels);
            }
            1 | 2 if known => {
                let mut service = service(1 + random.below(3) as u32, 1 + random.below(4) as u32);
                service.preferred = random.chance(3).then(|| Arc::from(["big".to_owned()]));
                let at = self.scan.agents.get_mut(&key).unwrap();
                at.services.insert(process.clone(), service.clone());
                self.dispatch.offer(&key, &process, service);
            }
            3 if known && random.chance(3) => {
                self.scan.agents.get_mut(&key).unwrap().services.remove(&process);
                self.dispatch.unoffer(&key, &process);
            }
            4 if known => {
                let here = !self.scan.agents[&key].here;
                self.scan.agents.get_mut(&key).unwrap().here = here;
                self.dispatch.change(&key, |worker| worker.here = here);
            }
            5 if known && random.chance(2) => {
                let on = random.chance(2);
                self.scan.agents.get_mut(&key).unwrap().draining = on;
                self.dispatch.change(&key, |worker| worker.drain_order = Some(on));
            }
            6 if known && random.chance(2) => {
                let on = random.chance(2);
                self.scan.agents.get_mut(&key).unwrap().full = on;
                self.dispatch.change(&key, |worker| worker.full = on.then(|| "programs".into()));
            }
            7 if known => {
                let (on, until) = (random.chance(2), self.now + Duration::from_secs(1));
                self.scan.agents.get_mut(&key).unwrap().refusing = on;
                self.dispatch.change(&key, |worker| worker.refuses_until = on.then_some(until));
            }
            8 | 9 if known => {
                let (cpu_percent, memory_percent) = (percent(random), percent(random));
                let load = Some(Load { cpu_percent, memory_percent, load_average: 0.0 });
                self.scan.agents.get_mut(&key).unwrap().load = load;
                self.dispatch.change(&key, |worker| worker.load = load);
            }
            10 if known && random.chance(8) => {
                self.scan.agents.remove(&key);
                self.dispatch.forget(&key);
            }
            11 if !self.scan.queue.is_empty() => {
                let nth = random.below(self.scan.queue.len() as u64) as usize;
                let ticket = *self.scan.queue.keys().nth(nth).unwrap();
                let (process, run) = self.scan.unqueue(ticket).unwrap();
                assert_eq!(self.dispatch.unqueue(&process, ticket), Some(run));
            }
            12 | 13 if known => {
                let at = self.scan.agents.get_mut(&key).unwrap();
                let Some(run) = at.runs.keys().next().copied() else { return };
                at.runs.remove(&run);
                self.dispatch.change(&key, |worker| worker.slots.remove(run));
            }
            14 if known => {
                let run = run();
                let at = self.scan.agents.get_mut(&key).unwrap();
                let weight = at.services.get(&process).map_or(1, |service| service.weight);
                at.runs.insert(run, (process.clone(), weight));
                self.dispatch.change(&key, |worker| worker.take_slot(run, &process));
            }
            _ => {
                let run = run();
                self.tickets += 1;
                let priority = Priority::ALL[random.below(3) as usize];
                let claim = Claim { priority, ..user(random.below(4)) };
                self.scan.queue(process.clone(), self.tickets, run, claim.clone());
                self.dispatch.queue(&process, self.tickets, run, claim);
            }
        }
    }

    fn agree(&mut self) {
        loop {
            let scanned = self.scan.next();
            let decided = self.dispatch.decide().map(|decision| (decision.run, (*decision.agent).clone()));
            assert_eq!(decided, scanned);
            if scanned.is_none() {
                break;
            }
        }
        assert_eq!(self.dispatch.queued(), self.scan.queue.len());
        for waiting in self.dispatch.waiting() {
            assert_eq!(waiting.reason, self.scan.reason(&waiting.process));
        }
        for n in 0..6 {
            let process = process(n);
            let all = self.scan.offering(&process).count();
            let here = self.scan.offering(&process).filter(|(_, agent)| agent.here).count();
            assert_eq!(self.dispatch.offering(&process), Offering { all, here });
        }
    }
}

fn random_rules(random: &mut Random) -> Rules {
    let preferred = |n| (process(n), BTreeSet::from(["near".to_owned(), "gpu".to_owned()]));
    Rules {
        cpu_percent_max: random.chance(2).then_some(70.0),
        memory_percent_max: random.chance(2).then_some(80.0),
        force: random.chance(2),
        preferred_labels: (0..random.below(4)).map(preferred).collect(),
    }
}

#[test]
fn the_index_chooses_as_a_full_scan_does() {
    for seed in 1..=50 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut both = Both::new(random_rules(&mut random));
        for event in 0..300 {
            both.event(&mut random);
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| both.agree()));
            assert!(told.is_ok(), "seed {seed}, event {event}");
        }
    }
}

/// So many agents with so many services each, one slot each, every process at every tenth agent.
fn cluster(agents: u64, services: u64) -> Dispatcher {
    let mut dispatch = Dispatcher::new(Rules::default());
    for a in 0..agents {
        dispatch.change(&agent(a), |worker| (worker.here, worker.capacity) = (true, 1));
        for s in 0..services {
            dispatch.offer(&agent(a), &process((a * 7 + s) % (10 * services)), service(1, 1));
        }
    }
    assert_eq!(dispatch.decide(), None);
    dispatch
}

#[test]
fn a_decision_looks_at_few_agents_and_none_of_those_that_wait() {
    let (agents, services) = (400, 10);
    for queued in [0, 1_000, 10_000] {
        let mut dispatch = cluster(agents, services);
        let mut sent = Vec::new();
        let mut tickets = 0;
        let mut submit = |dispatch: &mut Dispatcher| {
            tickets += 1;
            dispatch.queue(&process(tickets % 100), tickets, run(), Claim::default());
            dispatch.decide()
        };
        for _ in 0..agents * 4 {
            sent.extend(submit(&mut dispatch));
        }
        for _ in 0..queued {
            submit(&mut dispatch);
        }
        let (before, mut decisions) = (dispatch.looked_at(), 0);
        for ended in sent {
            dispatch.change(&ended.agent, |worker| worker.slots.remove(ended.run));
            decisions += u64::from(dispatch.decide().is_some());
            assert_eq!(dispatch.decide(), None, "it has one slot");
        }
        assert!(decisions > 0);
        let looked_at = (dispatch.looked_at() - before) / agents;
        assert!(looked_at <= services, "{looked_at} for each end, with {queued} that wait");
    }
}

#[test]
fn runs_are_told_in_turn_why_they_wait_and_all_of_them() {
    let mut dispatch = Dispatcher::new(Rules::default());
    let runs: Vec<_> = (0..10).map(|_| run()).collect();
    for (n, run) in (1..).zip(&runs) {
        dispatch.queue(&process(n % 2), n, *run, Claim::default());
    }
    assert_eq!(dispatch.decide(), None);
    assert_eq!(&*dispatch.reason(&process(0)), "none offers the process");
    let first = dispatch.next_news(2);
    assert_eq!(first, Some(News { reason: "none offers the process".into(), runs: vec![runs[1], runs[3]] }));
    // The reason changes half way: it goes on where it was, and comes round.
    dispatch.change(&agent(1), |worker| worker.here = true);
    dispatch.offer(&agent(1), &process(0), service(1, 1));
    assert_eq!(dispatch.decide(), None);
    let news: Vec<_> = std::iter::from_fn(|| dispatch.next_news(2)).collect();
    assert!(news.iter().all(|news| &*news.reason == "all without free capacity"));
    let told: Vec<_> = news.into_iter().flat_map(|news| news.runs).collect();
    assert_eq!(told, [runs[5], runs[7], runs[9], runs[1], runs[3]]);
    assert!(!dispatch.has_news());
}

/// An agent with one slot, and what it is given as soon as it has done the last.
struct OneSlot {
    dispatch: Dispatcher,
    tickets: Ticket,
    names: BTreeMap<RunId, String>,
}

impl OneSlot {
    fn new() -> Self {
        let mut dispatch = Dispatcher::new(Rules::default());
        dispatch.change(&agent(1), |worker| (worker.here, worker.capacity) = (false, 1));
        for n in 0..2 {
            dispatch.offer(&agent(1), &process(n), service(1, 1));
        }
        Self { dispatch, tickets: 0, names: BTreeMap::new() }
    }

    fn submit(&mut self, name: &str, process_number: u64, owner: u64) {
        self.submit_with(name, process_number, owner, Priority::Normal);
    }

    fn submit_with(&mut self, name: &str, process_number: u64, owner: u64, priority: Priority) {
        let run = run();
        self.tickets += 1;
        self.names.insert(run, name.to_owned());
        let claim = Claim { priority, ..user(owner) };
        self.dispatch.queue(&process(process_number), self.tickets, run, claim);
    }

    /// What was given next, after whatever it had has ended.
    fn next(&mut self) -> Option<&str> {
        self.dispatch.change(&agent(1), |worker| {
            worker.here = true;
            worker.slots.retain(|_| false);
        });
        let decision = self.dispatch.decide()?;
        assert_eq!(self.dispatch.decide(), None, "it has one slot");
        Some(&self.names[&decision.run])
    }

    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next().map(str::to_owned)).collect()
    }
}

#[test]
fn owners_take_turns_over_all_processes_of_an_agent() {
    let mut slot = OneSlot::new();
    for (name, process) in [("a1", 0), ("a2", 1), ("a3", 0), ("a4", 1)] {
        slot.submit(name, process, 1);
    }
    slot.submit("b1", 1, 2);
    slot.submit("b2", 0, 2);
    slot.submit("nobody's", 0, 0);
    assert_eq!(slot.rest(), ["a1", "b1", "nobody's", "a2", "b2", "a3", "a4"]);
}

#[test]
fn who_sends_one_run_after_another_does_not_hold_up_who_has_many() {
    let mut slot = OneSlot::new();
    for name in ["a1", "a2", "a3"] {
        slot.submit(name, 0, 1);
    }
    let mut given = Vec::new();
    for name in ["b1", "b2", "b3"] {
        slot.submit(name, 0, 2);
        given.extend(slot.next().map(str::to_owned));
        given.extend(slot.next().map(str::to_owned));
    }
    assert_eq!(given, ["a1", "b1", "a2", "b2", "a3", "b3"]);
}

#[test]
fn a_higher_priority_goes_first_over_all_owners_and_processes() {
    let mut slot = OneSlot::new();
    for (name, process, owner, priority) in [
        ("a-low", 0, 1, Priority::Low),
        ("a1", 0, 1, Priority::Normal),
        ("a2", 1, 1, Priority::Normal),
        ("b1", 1, 2, Priority::Normal),
        ("a-high1", 1, 1, Priority::High),
        ("a-high2", 0, 1, Priority::High),
        ("c-high", 0, 3, Priority::High),
    ] {
        slot.submit_with(name, process, owner, priority);
    }
    // Whoever was served by their priority has had their turn among the others too.
    assert_eq!(slot.rest(), ["a-high1", "c-high", "a-high2", "b1", "a1", "a2", "a-low"]);
}
