//! The dispatcher alone.

use anabranch_model::{JobId, ProcessId, UserName};
use anabranch_remote::dispatch::{AgentKey, Claim, Decision, Dispatcher, Rules, Service};
use anabranch_remote::{Load, RunId};

use crate::measure::{Times, rss_mib};
use crate::simulation::Random;

const SERVICES: u64 = 100;
const PROCESSES: u64 = 1_000;
const SLOTS: u32 = 4;
/// Decisions timed in each situation.
const TIMED: usize = 50_000;

struct Cluster {
    dispatch: Dispatcher,
    agents: Vec<AgentKey>,
    processes: Vec<ProcessId>,
    running: Vec<Decision>,
    tickets: u64,
    /// Whose jobs come.
    owners: Vec<UserName>,
    random: Random,
}

pub(crate) fn run(agents: u64) {
    let before = rss_mib();
    let mut cluster = Cluster::new(agents);
    println!(
        "{agents} agents of {SLOTS} slots with {SERVICES} services each, {PROCESSES} processes: {:.0} MiB",
        rss_mib() - before
    );
    cluster.half_busy();
    for (queued, owners) in
        [(1_000, 1), (10_000, 1), (100_000, 1), (100_000, 50), (100_000, 1_000), (100_000, 100_000)]
    {
        cluster.all_busy(queued, owners);
    }
}

impl Cluster {
    fn new(agents: u64) -> Self {
        let key =
            |n| AgentKey { account: format!("agent{n:05}@anabranch.local"), instance: format!("host{n:05}") };
        let agents: Vec<_> = (0..agents).map(key).collect();
        let process = |n| ProcessId::new(format!("default:Process{n:04}")).unwrap();
        let processes: Vec<_> = (0..PROCESSES).map(process).collect();
        let (dispatch, running, random) = (Dispatcher::new(Rules::default()), Vec::new(), Random::new(7));
        let mut cluster = Self { dispatch, agents, processes, running, tickets: 0, owners: users(1), random };
        for n in 0..cluster.agents.len() {
            cluster.join(n);
        }
        cluster
    }

    /// An agent comes, with services drawn at random.
    fn join(&mut self, n: usize) {
        let key = &self.agents[n];
        self.dispatch.change(key, |worker| (worker.here, worker.capacity) = (true, SLOTS));
        let (first, step) = (self.random.below(PROCESSES), 1 + 10 * self.random.below(PROCESSES / 10));
        for s in 0..SERVICES {
            let process = &self.processes[((first + s * step) % PROCESSES) as usize];
            let service = Service { revision: 1, runs_max: SLOTS, weight: 1, preferred: None };
            self.dispatch.offer(key, process, service);
        }
        self.report(n);
    }

    /// An agent tells its load.
    fn report(&mut self, n: usize) {
        let mut percent = || self.random.below(10_000) as f32 / 100.0;
        let load = Load { cpu_percent: percent(), memory_percent: percent(), load_average: 0.0 };
        self.dispatch.change(&self.agents[n], |worker| worker.load = Some(load));
        self.decide();
    }

    fn report_of_any(&mut self) {
        let n = self.random.below(self.agents.len() as u64) as usize;
        self.report(n);
    }

    fn decide(&mut self) -> usize {
        let before = self.running.len();
        while let Some(decision) = self.dispatch.decide() {
            self.running.push(decision);
        }
        self.running.len() - before
    }

    /// A job comes.
    fn submit(&mut self) -> usize {
        self.tickets += 1;
        let process = self.processes[self.random.below(PROCESSES) as usize].clone();
        let run = RunId { job: JobId::random(), attempt: 1, part: None };
        let owner = self.owners[self.random.below(self.owners.len() as u64) as usize].clone();
        let claim = Claim { owner: Some(owner), ..Claim::default() };
        self.dispatch.queue(&process, self.tickets, run, claim);
        self.decide()
    }

    /// A run ends; gives how many are sent for that.
    fn end(&mut self, nth: usize) -> usize {
        let ended = self.running.swap_remove(nth);
        self.dispatch.change(&ended.agent, |worker| worker.slots.remove(ended.run));
        self.decide()
    }

    fn any_running(&mut self) -> usize {
        self.random.below(self.running.len() as u64) as usize
    }

    /// Half of the slots are taken, nothing waits, and each agent reports between two decisions about it.
    fn half_busy(&mut self) {
        while self.running.len() < self.agents.len() * SLOTS as usize / 2 {
            self.submit();
        }
        let (mut decisions, mut ends, mut reports) = (Times::default(), Times::default(), Times::default());
        for _ in 0..TIMED {
            assert_eq!(decisions.take(|| self.submit()), 1);
            let nth = self.any_running();
            ends.take(|| self.end(nth));
            reports.take(|| self.report_of_any());
        }
        println!("{}", decisions.row("half of the slots taken: a job comes, an agent is chosen"));
        println!("{}", ends.row("    a run ends"));
        println!("{}", reports.row("    an agent tells its load"));
    }

    /// All slots are taken, and so many runs of so many owners wait.
    fn all_busy(&mut self, queued: usize, owners: usize) {
        if owners != self.owners.len() {
            self.owners = users(owners);
            for process in &self.processes {
                self.dispatch.unqueue_all(process);
            }
        }
        let before = (rss_mib(), self.dispatch.queued());
        while self.dispatch.queued() < queued {
            self.submit();
        }
        let memory = rss_mib() - before.0;
        println!(
            "{} slots taken, {queued} runs of {owners} owners wait: {memory:.0} MiB more for {}, {:.0} MiB in all",
            self.running.len(),
            queued - before.1,
            rss_mib()
        );
        let (mut decisions, mut submits, mut reports) =
            (Times::default(), Times::default(), Times::default());
        for _ in 0..TIMED {
            let nth = self.any_running();
            decisions.take(|| self.end(nth));
            while self.dispatch.queued() < queued {
                submits.take(|| self.submit());
            }
            reports.take(|| self.report_of_any());
        }
        println!("{}", decisions.row("    a run ends, and the next one is chosen for its agent"));
        println!("{}", submits.row("    a job comes, and waits"));
        println!("{}", reports.row("    an agent tells its load"));
    }
}

fn users(count: usize) -> Vec<UserName> {
    (0..count).map(|n| UserName::new(format!("user{n}")).unwrap()).collect()
}
