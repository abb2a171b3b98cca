//! Thousands of runs in the queue, processes that fail, agents that die: every run ends once, and as it truly was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_model::*;

use crate::cluster::{Cluster, Server, eventually};
use crate::doubles::*;

const RUNS: usize = 2_000;
const AGENTS: usize = 8;
const SLOTS: u32 = 10;
/// Agents that die while the queue is long.
const KILLED: usize = 2;

/// How often each run has begun, by its number.
type Begun = Arc<Mutex<HashMap<usize, u32>>>;

/// One in seven fails, the same ones each time.
fn fails(number: usize) -> bool {
    number * 31 % 7 == 3
}

/// Takes from 0.1 to 1 s, says its number, fails or not.
fn script(begun: &Begun, idempotent: bool) -> Arc<Script> {
    let begun = Arc::clone(begun);
    let description = ProcessDescription { idempotent, ..description("default:Storm") };
    Script::described(description, move |execution: Execution| {
        let begun = Arc::clone(&begun);
        async move {
            let number = bytes_of(&execution.inputs.all("text")[0]);
            let number: usize = std::str::from_utf8(&number).unwrap().parse().unwrap();
            *begun.lock().unwrap().entry(number).or_default() += 1;
            execution.sink.started(None);
            execution.sink.sleep(Duration::from_millis(100 + (number * 7919 % 10) as u64 * 100)).await;
            if fails(number) {
                return Err(Error::process_failed(format!("number {number} fails")));
            }
            execution.sink.write("out", text(number.to_string())).await
        }
    })
}

/// Submits all runs at once and kills agents when some have ended. Gives how each ended, with what it had put out.
async fn storm(idempotent: bool) -> (Vec<(Result<(), Error>, Seen)>, Begun, Server) {
    let begun = Begun::default();
    let cluster = Cluster::new();
    let server = cluster.server_with(|settings| settings.queue_runs_max = RUNS);
    let scripts = || vec![script(&begun, idempotent)];
    let agents: Vec<_> = (0..AGENTS).map(|n| cluster.agent(&format!("a{n}"), SLOTS, scripts())).collect();
    server.agents_when(|all| all.iter().filter(|agent| !agent.services.is_empty()).count() == AGENTS).await;
    let mut jobs = Vec::new();
    for number in 0..RUNS {
        jobs.push(server.execute("default:Storm", vec![text(number.to_string())]).await);
    }
    eventually("a tenth has begun", || begun.lock().unwrap().len() > RUNS / 10).await;
    for agent in &agents[..KILLED] {
        agent.task.abort();
    }
    let mut ends = Vec::new();
    for (number, mut job) in jobs.into_iter().enumerate() {
        loop {
            let sink = Arc::clone(&job.sink);
            match job.end().await {
                // As the engine does it.
                Err(Error::AgentLost { .. }) if idempotent => {
                    job = server.execute("default:Storm", vec![text(number.to_string())]).await;
                }
                end => break ends.push((end, sink.seen())),
            }
        }
    }
    (ends, begun, server)
}

#[tokio::test(start_paused = true)]
async fn no_run_is_run_twice_though_agents_die() {
    let (ends, begun, server) = storm(false).await;
    let begun = begun.lock().unwrap();
    let mut lost = 0;
    for (number, (end, seen)) in ends.iter().enumerate() {
        let times = begun.get(&number).copied().unwrap_or_default();
        assert!(times <= 1, "run {number} was run {times} times");
        match end {
            Ok(()) => assert!(times == 1 && !fails(number) && seen.outputs.len() == 1, "run {number}"),
            Err(Error::AgentLost { reason }) => {
                assert!(
                    reason == "agent a0@test/host is gone" || reason == "agent a1@test/host is gone",
                    "{reason}"
                );
                lost += 1;
            }
            Err(error) => {
                assert!(times == 1 && fails(number), "run {number}: {error}");
                assert!(error.to_string().contains(&format!("number {number} fails")), "{error}");
            }
        }
    }
    assert!(lost > 0 && lost <= KILLED * SLOTS as usize, "{lost} were lost with {KILLED} agents");
    assert_eq!(server.orchestrator.waiting(), []);
}

#[tokio::test(start_paused = true)]
async fn idempotent_runs_all_end_though_agents_die() {
    let (ends, begun, _server) = storm(true).await;
    let begun = begun.lock().unwrap();
    for (number, (end, seen)) in ends.iter().enumerate() {
        match end {
            Ok(()) => assert!(!fails(number) && seen.outputs.len() == 1, "run {number}"),
            Err(error) => assert!(fails(number) && matches!(error, Error::ProcessFailed { .. }), "{error}"),
        }
    }
    let again: u32 = begun.values().map(|times| times - 1).sum();
    assert!(begun.len() == RUNS && again <= (KILLED as u32) * SLOTS, "{again} were repeated");
}
