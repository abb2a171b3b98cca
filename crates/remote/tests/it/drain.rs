//! Who gets no runs, and what those that wait are told.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::DrainError;

use crate::balance::{begin, connected, second, slow};
use crate::cluster::{Cluster, Job, Server};
use crate::doubles::*;

async fn waits_for(job: &Job, reason: &str) {
    let text = format!("waiting for an agent: {reason}");
    job.sink.until(|seen| seen.waiting.last() == Some(&text)).await;
}

async fn starts_on(job: &Job, agent: &str) {
    let seen = job.sink.until(|seen| !seen.started.is_empty()).await;
    assert_eq!(seen.started, [format!("{agent}@test/host")]);
}

async fn one(server: &Server) -> Job {
    begin(server, 1).await.pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_drained_agent_finishes_what_it_has_and_takes_nothing_new() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 4, vec![second()]);
    let first = one(&server).await;
    starts_on(&first, "a1").await;
    assert_eq!(server.orchestrator.drain("a1@test/host", true).await, Ok("a1@test/host".into()));
    let mut next = one(&server).await;
    waits_for(&next, "all draining").await;
    server.agents_when(|all| all[0].obstacle.as_deref() == Some("draining") && all[0].running == 1).await;
    assert_eq!(first.end().await, Ok(()));
    server.agents_when(|all| all[0].obstacle.as_deref() == Some("drained")).await;
    let waiting = server.orchestrator.waiting();
    assert_eq!((waiting[0].runs, waiting[0].reason.as_str()), (1, "all draining"));
    assert!(agent.drain.is_on(), "the agent was told");
    next.goes_on_for(Duration::from_secs(600), "its agent is drained").await;
    server.orchestrator.drain("host", false).await.unwrap();
    assert_eq!(next.end().await, Ok(()));
    assert!(!agent.drain.is_on());
    assert!(server.orchestrator.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_drained_agent_does_not_take_goes_to_another_one() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _first = cluster.agent("a1", 4, vec![second()]);
    server.registry.published("default:Second").await;
    server.orchestrator.drain("host", true).await.unwrap();
    let job = one(&server).await;
    waits_for(&job, "all draining").await;
    let _second = cluster.agent("a2", 4, vec![second()]);
    starts_on(&job, "a2").await;
    assert_eq!(job.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_drained_on_its_own_side_tells_the_server_and_every_next_one() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 4, vec![second()]);
    connected(&server, 1).await;
    agent.drain.set(true);
    server.agents_when(|all| all[0].draining).await;
    server.stop().await;
    let server = cluster.server();
    let job = one(&server).await;
    waits_for(&job, "all draining").await;
    // What the server's operator says last counts, and is no order for ever.
    server.orchestrator.drain("host", false).await.unwrap();
    assert_eq!(job.end().await, Ok(()));
    agent.drain.set(true);
    server.agents_when(|all| all[0].draining).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_lost_on_the_way_counts_and_is_repeated() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 4, vec![second()]);
    connected(&server, 1).await;
    cluster.room.swallow("orchestrator", "drain");
    server.orchestrator.drain("host", true).await.unwrap();
    let job = one(&server).await;
    waits_for(&job, "all draining").await;
    assert!(cluster.room.messages_swallowed() > 0 && !agent.drain.is_on());
    cluster.room.stop_swallowing();
    crate::cluster::eventually("the agent hears of it", || agent.drain.is_on()).await;
}

#[tokio::test(start_paused = true)]
async fn agents_are_named_without_doubt() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agents = ["a1", "a2"].map(|account| cluster.agent(account, 1, vec![second()]));
    connected(&server, 2).await;
    let unknown = server.orchestrator.drain("a3@test/host", true).await;
    assert_eq!(unknown, Err(DrainError::NoSuchAgent("a3@test/host".into())));
    let several = server.orchestrator.drain("host", true).await.unwrap_err();
    assert_eq!(several.to_string(), "several agents are named 'host': a1@test/host, a2@test/host");
}

#[tokio::test(start_paused = true)]
async fn an_agent_refuses_by_its_own_rules_until_they_allow_it() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let machine = Machine::busy(10.0, 10.0);
    let _agent = cluster.agent_on("a1", vec![second()], Arc::<Machine>::clone(&machine), |_| {});
    connected(&server, 1).await;
    // Between two reports: the server does not know, the agent does.
    *machine.full.lock().unwrap() = Some("'matlab' runs".into());
    let job = one(&server).await;
    waits_for(&job, "all full by their own rules").await;
    server.agents_when(|all| all[0].obstacle.as_deref() == Some("'matlab' runs")).await;
    let refused = server.orchestrator.counters().runs_refused;
    assert!((1..=2).contains(&refused), "refused {refused} times");
    *machine.full.lock().unwrap() = None;
    assert_eq!(job.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_told_what_is_in_the_way_of_each_agent() {
    let cluster = Cluster::new();
    let server = cluster.server_with(|settings| settings.memory_percent_max = Some(82.0));
    let busy = Machine::busy(10.0, 91.0);
    let _above = cluster.agent_on("a1", vec![second()], Arc::<Machine>::clone(&busy), |_| {});
    server.agents_when(|all| all.iter().any(|agent| agent.load.is_some())).await;
    let job = one(&server).await;
    waits_for(&job, "all above 82 % memory").await;
    let taken = slow("default:Slow", Duration::from_secs(1));
    let _taken = cluster.agent("a2", 1, vec![taken]);
    let slow_job = server.execute("default:Slow", vec![]).await;
    starts_on(&slow_job, "a2").await;
    let other = cluster.agent("a3", 1, vec![second()]);
    starts_on(&job, "a3").await;
    let behind = one(&server).await;
    waits_for(&behind, "1 above 82 % memory, 1 without free capacity").await;
    other.drain.set(true);
    waits_for(&behind, "1 above 82 % memory, 1 draining").await;
    *busy.load.lock().unwrap() = anabranch_remote::Load { memory_percent: 50.0, ..Default::default() };
    starts_on(&behind, "a1").await;
    slow_job.sink.cancel.cancel();
    assert_eq!(slow_job.end().await, Err(Error::Dismissed));
}

#[tokio::test(start_paused = true)]
async fn the_less_busy_machine_is_taken_until_its_runs_weigh_more() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let four = |settings: &mut anabranch_remote::AgentSettings| {
        settings.profile.send_modify(|profile| profile.capacity = 4)
    };
    let _busy = cluster.agent_on("busy", vec![second()], Machine::busy(60.0, 30.0), four);
    let _idle = cluster.agent_on("idle", vec![second()], Machine::busy(2.0, 20.0), four);
    server.agents_when(|all| all.iter().filter(|agent| agent.load.is_some()).count() == 2).await;
    connected(&server, 2).await;
    let mut on = Vec::new();
    for job in begin(&server, 4).await {
        let seen = job.sink.until(|seen| !seen.started.is_empty()).await;
        on.push(seen.started[0].clone());
    }
    assert_eq!(on, ["idle@test/host", "idle@test/host", "busy@test/host", "idle@test/host"]);
}

#[tokio::test(start_paused = true)]
async fn forced_runs_go_to_the_least_busy_of_those_above_a_threshold_and_to_none_that_is_closed() {
    let cluster = Cluster::new();
    let server = cluster.server_with(|settings| {
        settings.cpu_percent_max = Some(50.0);
        settings.force = true;
    });
    let drained = cluster.agent_on("a1", vec![second()], Machine::busy(55.0, 10.0), |_| {});
    drained.drain.set(true);
    let _busy = cluster.agent_on("a2", vec![second()], Machine::busy(99.0, 10.0), |_| {});
    let _less = cluster.agent_on("a3", vec![second()], Machine::busy(80.0, 10.0), |_| {});
    server.agents_when(|all| all.iter().filter(|agent| agent.load.is_some()).count() == 3).await;
    connected(&server, 3).await;
    let jobs = begin(&server, 3).await;
    starts_on(&jobs[0], "a3").await;
    starts_on(&jobs[1], "a2").await;
    waits_for(&jobs[2], "1 draining, 2 without free capacity").await;
    let told = jobs[2].sink.seen().log;
    let times = told.iter().filter(|line| line.contains("1 draining, 2 without")).count();
    assert_eq!(times, 1, "said once: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn agents_that_hold_the_data_are_preferred_and_others_help_out() {
    let cluster = Cluster::new();
    let process = ProcessId::new("default:Second").unwrap();
    let server = cluster.server_with(|settings| {
        settings.preferred_labels.insert(process, ["data:landsat".to_owned()].into());
    });
    let _near = cluster.agent_on("near", vec![second()], Machine::busy(70.0, 10.0), |settings| {
        settings.profile.send_modify(|profile| profile.labels = vec!["gpu".into(), "data:landsat".into()]);
    });
    let _far = cluster.agent_on("far", vec![second()], Machine::busy(1.0, 10.0), |settings| {
        settings.profile.send_modify(|profile| profile.labels = vec!["gpu".into()]);
    });
    server.agents_when(|all| all.iter().filter(|agent| agent.load.is_some()).count() == 2).await;
    connected(&server, 2).await;
    let jobs = begin(&server, 2).await;
    starts_on(&jobs[0], "near").await;
    starts_on(&jobs[1], "far").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_may_prefer_agents_itself() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let prefers = |agent: &crate::cluster::RunningAgent| {
        agent.services.send_modify(|services| services[0].preferred_labels = vec!["gpu".into()]);
    };
    let _plain = cluster.agent_on("a1", vec![second()], Machine::busy(1.0, 10.0), |_| {});
    let near = cluster.agent_on("a2", vec![second()], Machine::busy(70.0, 10.0), |settings| {
        settings.profile.send_modify(|profile| profile.labels = vec!["gpu".into()]);
    });
    prefers(&near);
    server.agents_when(|all| all.iter().filter(|agent| agent.load.is_some()).count() == 2).await;
    connected(&server, 2).await;
    let jobs = begin(&server, 2).await;
    starts_on(&jobs[0], "a2").await;
    starts_on(&jobs[1], "a1").await;
}

#[tokio::test(start_paused = true)]
async fn capacity_and_labels_change_while_an_agent_runs() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![second()]);
    connected(&server, 1).await;
    let jobs = begin(&server, 4).await;
    starts_on(&jobs[0], "a1").await;
    waits_for(&jobs[3], "all without free capacity").await;
    let before = tokio::time::Instant::now();
    agent.profile.send_replace(anabranch_remote::Profile { capacity: 3, labels: vec!["gpu".into()] });
    server.agents_when(|all| all[0].capacity == 3 && all[0].labels == ["gpu"] && all[0].running == 3).await;
    for job in jobs {
        assert_eq!(job.end().await, Ok(()));
    }
    assert!(before.elapsed() < Duration::from_secs(3), "three at once");
    agent.profile.send_modify(|profile| profile.capacity = 1);
    server.agents_when(|all| all[0].capacity == 1).await;
    let jobs = begin(&server, 2).await;
    waits_for(&jobs[1], "all without free capacity").await;
    for job in jobs {
        assert_eq!(job.end().await, Ok(()));
    }
}
