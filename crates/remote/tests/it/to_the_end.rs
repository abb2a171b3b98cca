//! Many agents with many processes each, and a long queue: every run ends once, and as its agent says.

use crate::simulation::{Plan, Simulation};

const RUNS: usize = 2_000;

#[tokio::test(start_paused = true)]
async fn every_run_ends_as_its_agent_says() {
    let plan = Plan { agents: 200, services: 10, processes: 50, slots: 4, killed: 20 };
    let mut simulation = Simulation::start(plan).await;
    simulation.submit(RUNS).await;
    let all = |sent, waiting| sent + waiting >= RUNS as u64;
    simulation
        .until(|counters, _| all(counters.runs_sent - counters.runs_refused, counters.runs_waiting))
        .await;
    assert!(simulation.orchestrator.counters().runs_waiting as usize >= RUNS - simulation.slots());
    let sampled = simulation.sample(10).await;
    assert!(
        !sampled.is_empty(),
        "when a run ends the next one is sent, unless its agent has just refused one"
    );
    simulation.go_on().await;
    simulation.until_all_have_ended().await;
    let (tally, counters) = (simulation.tally(), simulation.orchestrator.counters());
    assert_eq!(tally.faults, Vec::<String>::new());
    assert_eq!(tally.ended(), RUNS as u64);
    assert_eq!(
        (counters.runs_completed, counters.runs_failed, counters.runs_lost, counters.runs_refused),
        (tally.completed, tally.failed, tally.lost, tally.refused)
    );
    let of_dead = 1..=(plan.killed as u64 * u64::from(plan.slots) * 2);
    assert!(of_dead.contains(&tally.lost), "{tally:?}");
    assert!(tally.completed > 0 && tally.failed > 0 && tally.refused > 0, "{tally:?}");
    assert_eq!((counters.runs_waiting, simulation.orchestrator.waiting()), (0, Vec::new()));
}
