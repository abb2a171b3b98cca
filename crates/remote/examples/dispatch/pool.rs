//! A whole orchestrator, and what it costs to bring all its runs to their ends.

use crate::measure::{Times, peak_mib, rss_mib};
use crate::simulation::{Plan, Simulation, thread_ns};

/// Runs that wait when all slots are taken.
const QUEUED: usize = 100_000;
/// Ends timed at each length of the queue.
const TIMED: usize = 5_000;
/// Lengths of the queue at which they are.
const LENGTHS: [u64; 4] = [QUEUED as u64, 50_000, 10_000, 1_000];
/// Of so many agents one dies.
const ONE_DIES: usize = 100;

pub(crate) fn run(agents: usize) {
    // One thread, so that its processor time is all there is, and a clock that goes on when nothing is left to be done.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(measure(agents));
}

async fn measure(agents: usize) {
    let plan = Plan { agents, services: 100, processes: 1_000, slots: 4, killed: agents / ONE_DIES };
    let offers = agents as u64 * plan.services;
    let (memory, before) = (rss_mib(), thread_ns());
    let mut simulation = Simulation::start(plan).await;
    let taken = rss_mib() - memory;
    println!(
        "pool: {agents} agents have come with {} services each: {:.1} us an offer, {taken:.0} MiB, {:.0} bytes an offer, {:.1} KiB an agent",
        plan.services,
        own_us(before, 0, simulation.tally().agents_ns) / offers as f64,
        taken * MIB / offers as f64,
        taken * 1024.0 / agents as f64,
    );
    let slots = simulation.slots();
    for (what, more) in [("take all slots", slots), ("wait", QUEUED)] {
        let (memory, before, agents_ns) = (rss_mib(), thread_ns(), simulation.tally().agents_ns);
        simulation.submit(more).await;
        let (running, waiting) = if more == slots { (slots, 0) } else { (slots, QUEUED) };
        simulation
            .until(|counters, _| {
                // Some wait though slots are free: for agents that offer their processes.
                let sent = counters.runs_sent - counters.runs_refused;
                sent + counters.runs_waiting >= (running + waiting) as u64
            })
            .await;
        let taken = rss_mib() - memory;
        println!(
            "pool: {more} runs come and {what}: {:.1} us each, {taken:.0} MiB, {:.1} KiB each with the job behind it",
            own_us(before, agents_ns, simulation.tally().agents_ns) / more as f64,
            taken * 1024.0 / more as f64
        );
    }
    for (nth, length) in LENGTHS.into_iter().enumerate() {
        let mut times = Times::of(simulation.sample(TIMED.min(length as usize / 2)).await);
        println!("{}", times.row(&format!("pool: {length} wait: from an end to the next run on its way")));
        if nth == 0 {
            simulation.go_on().await;
        }
        let next = LENGTHS.get(nth + 1).copied();
        let (before, tally) = (thread_ns(), simulation.tally());
        match next {
            Some(next) => simulation.until(|counters, _| counters.runs_waiting <= next).await,
            None => simulation.until_all_have_ended().await,
        }
        let now = simulation.tally();
        let ends = now.ended() - tally.ended();
        println!(
            "pool: until {} wait, {ends} runs end: {:.1} us of processor a run, messages, reports of load and the list of agents included",
            next.unwrap_or_default(),
            own_us(before, tally.agents_ns, now.agents_ns) / ends as f64
        );
    }
    let (tally, counters) = (simulation.tally(), simulation.orchestrator.counters());
    println!(
        "pool: {} runs have ended as the agents say: {} completed, {} failed, {} lost with {} agents that died; {} were refused once and sent again; peak {:.0} MiB",
        tally.submitted,
        tally.completed,
        tally.failed,
        tally.lost,
        plan.killed,
        tally.refused,
        peak_mib()
    );
    assert_eq!(tally.faults, Vec::<String>::new());
    assert_eq!(counters.runs_completed + counters.runs_failed + counters.runs_lost, tally.submitted);
}

const MIB: f64 = (1 << 20) as f64;

/// Processor time since `before` without that of the simulated agents, in microseconds.
fn own_us(before: u64, agents_before: u64, agents_now: u64) -> f64 {
    (thread_ns() - before - (agents_now - agents_before)) as f64 / 1000.0
}
