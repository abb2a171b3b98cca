//! Who gets which run.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::AgentInfo;

use crate::cluster::{Cluster, Job, Server};
use crate::doubles::*;

/// Runs until it is cancelled, and ends so long after.
pub(crate) fn slow(id: &str, dies_after: Duration) -> Arc<Script> {
    Script::new(id, move |execution: Execution| async move {
        execution.sink.started(None);
        execution.sink.cancelled().await;
        tokio::time::sleep(dies_after).await;
        Err(Error::Dismissed)
    })
}

/// Runs for a second.
pub(crate) fn second() -> Arc<Script> {
    Script::new("default:Second", |execution: Execution| async move {
        execution.sink.started(None);
        execution.sink.sleep(Duration::from_secs(1)).await;
        Ok(())
    })
}

pub(crate) async fn begin(server: &Server, count: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(server.execute("default:Second", vec![]).await);
    }
    jobs
}

pub(crate) async fn connected(server: &Server, count: usize) {
    let is_ready = |agent: &AgentInfo| agent.connected && !agent.services.is_empty();
    server.agents_when(|all| all.iter().filter(|agent| is_ready(agent)).count() == count).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_spreads_over_agents_by_their_capacity() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _small = cluster.agent("small", 2, vec![second()]);
    let _large = cluster.agent("large", 4, vec![second()]);
    connected(&server, 2).await;
    let before = tokio::time::Instant::now();
    let mut on = Vec::new();
    for job in begin(&server, 6).await {
        let seen = job.sink.until(|seen| !seen.started.is_empty()).await;
        on.push(seen.started[0].clone());
        assert_eq!(job.end().await, Ok(()));
    }
    assert_eq!(on.iter().filter(|name| *name == "small@test/host").count(), 2);
    assert_eq!(before.elapsed(), Duration::from_secs(1), "all at the same time");
}

#[tokio::test(start_paused = true)]
async fn runs_wait_for_a_slot_in_order_and_start_as_soon_as_there_is_one() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![second()]);
    let before = tokio::time::Instant::now();
    let jobs = begin(&server, 4).await;
    jobs[3]
        .sink
        .until(|seen| seen.log.contains(&"waiting for an agent: all without free capacity".to_owned()))
        .await;
    for (n, job) in (1..).zip(jobs) {
        assert_eq!(job.end().await, Ok(()));
        assert_eq!(before.elapsed(), Duration::from_secs(n));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_higher_priority_goes_before_those_that_wait() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![second()]);
    let before = tokio::time::Instant::now();
    let mut jobs = begin(&server, 1).await;
    jobs[0].sink.until(|seen| !seen.started.is_empty()).await;
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        jobs.push(server.execute_into("default:Second", vec![], Sink::with_priority(priority)).await);
        jobs.last().unwrap().sink.until(|seen| !seen.waiting.is_empty()).await;
    }
    jobs[1..].reverse();
    for (n, job) in (1..).zip(jobs) {
        assert_eq!(job.end().await, Ok(()));
        assert_eq!(before.elapsed().as_secs(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_said_to_be_full() {
    let cluster = Cluster::new();
    let server = cluster.server_with(|settings| settings.queue_runs_max = 2);
    let _agent = cluster.agent("a1", 1, vec![second()]);
    let mut jobs = begin(&server, 4).await;
    let refused = jobs.pop().unwrap().end().await;
    assert!(matches!(refused, Err(Error::Busy { limit, .. }) if limit.contains('2')));
    for job in jobs {
        assert_eq!(job.end().await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_full_after_all_gives_the_run_back() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", Duration::from_secs(8)), second()]);
    let lost = server.execute("default:Slow", vec![]).await;
    lost.sink.until(|seen| !seen.started.is_empty()).await;
    cluster.room.cut("a1");
    assert!(matches!(lost.end().await, Err(Error::AgentLost { .. })));
    cluster.room.restore("a1");
    // The server does not count the lost run any more; the agent does, until its process is dead.
    let job = begin(&server, 1).await.pop().unwrap();
    assert_eq!(job.end().await, Ok(()));
    let counters = server.orchestrator.counters();
    assert!(counters.runs_refused > 0);
    assert_eq!(counters.runs_completed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_the_agent_has_just_dropped_is_not_waited_for() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![second()]);
    server.registry.published("default:Second").await;
    cluster.room.swallow("a1", "unregister");
    agent.services.send_replace(vec![]);
    tokio::task::yield_now().await;
    let job = begin(&server, 1).await.pop().unwrap();
    assert!(
        matches!(job.end().await, Err(Error::AgentLost { reason }) if reason.contains("no agent offers"))
    );
    server.registry.withdrawn("default:Second").await;
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_agent_gets_nothing() {
    let cluster = Cluster::new();
    let server = cluster.server_with(|settings| settings.memory_percent_max = Some(1.5));
    let _agent = cluster.agent("a1", 1, vec![second()]);
    server.agents_when(|all| all.iter().any(|agent| agent.load.is_some())).await;
    let mut job = begin(&server, 1).await.pop().unwrap();
    job.goes_on_for(Duration::from_secs(100), "its memory is at 2 %").await;
    job.sink.cancel.cancel();
    assert_eq!(job.end().await, Err(Error::Dismissed));
}
