//! What is to happen every day.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anabranch_model::*;
use bytes::Bytes;

use crate::cluster::{Cluster, eventually, holds_for, services};
use crate::doubles::*;
use crate::room::Weather;

/// Writes its first input in upper case, as one chunk for each line.
fn upper() -> std::sync::Arc<Script> {
    Script::new("default:Upper", |execution: Execution| async move {
        let sink = execution.sink;
        sink.started(None);
        let all = bytes_of(execution.inputs.first("text").unwrap());
        sink.log(LogLine { source: LogSource::Stdout, text: "begun".into() });
        for line in std::str::from_utf8(&all).unwrap().lines() {
            sink.write("out", text(line.to_uppercase())).await?;
        }
        sink.progress(100.0, Some("done"));
        Ok(())
    })
}

fn chunks(sink: &Sink) -> Vec<String> {
    sink.seen().outputs.iter().map(|(_, chunk)| String::from_utf8(chunk.to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_to_the_agent_and_back_without_waiting_for_any_timer() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![upper()]);
    server.registry.published("default:Upper").await;
    let before = tokio::time::Instant::now();
    let job = server.execute("default:Upper", vec![text("one\ntwo")]).await;
    let sink = std::sync::Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(before.elapsed(), Duration::ZERO);
    let seen = sink.seen();
    assert_eq!(chunks(&sink), ["ONE", "TWO"]);
    assert_eq!((seen.started, seen.progress), (vec!["a1@test/host".to_owned()], vec![100.0]));
    assert!(seen.log.contains(&"begun".to_owned()));
    // The run's folder is removed when the server is done with it.
    agent.has_folders(0).await;
    let counters = server.orchestrator.counters();
    assert_eq!((counters.runs_completed, counters.messages_resent), (1, 0));
    assert_eq!(cluster.web.released.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_at_its_agent_has_not_begun() {
    let cluster = Cluster::new();
    let server = cluster.server();
    // Each time that it is told the server has seen what was said before.
    let moved_up = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let told = std::sync::Arc::clone(&moved_up);
    let queued = Script::new("default:Queued", move |execution: Execution| {
        let (sink, told) = (execution.sink, std::sync::Arc::clone(&told));
        async move {
            sink.waiting("job 7 is queued, position 2");
            told.acquire().await.unwrap().forget();
            sink.waiting("job 7 is queued, position 1");
            told.acquire().await.unwrap().forget();
            sink.started(None);
            sink.progress(0.0, Some("job 7 runs on n1"));
            sink.write("out", text("done")).await
        }
    });
    let _agent = cluster.agent("a1", 1, vec![queued]);
    let job = server.execute("default:Queued", vec![]).await;
    job.sink.until(|seen| seen.waiting.len() == 1).await;
    moved_up.add_permits(1);
    let seen = job.sink.until(|seen| seen.waiting.len() == 2).await;
    assert_eq!(seen.waiting, ["job 7 is queued, position 2", "job 7 is queued, position 1"]);
    assert_eq!((seen.started, seen.progress), (Vec::<String>::new(), vec![]));
    moved_up.add_permits(1);
    let sink = std::sync::Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!((sink.seen().started, sink.seen().progress), (vec!["a1@test/host".to_owned()], vec![0.0]));
}

#[tokio::test(start_paused = true)]
async fn agents_are_told_of() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 3, vec![upper()]);
    server.registry.published("default:Upper").await;
    let mut agents = server.orchestrator.watch_agents();
    let seen = agents.wait_for(|all| all.first().is_some_and(|a| a.load.is_some() && !a.services.is_empty()));
    let agent = seen.await.unwrap()[0].clone();
    assert_eq!((agent.name.as_str(), agent.capacity, agent.running), ("a1@test/host", 3, 0));
    assert_eq!(*agent.services, [ProcessId::new("default:Upper").unwrap()]);
    assert!(agent.connected);
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_over_a_bad_network() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 4, vec![upper()]);
    server.registry.published("default:Upper").await;
    cluster.room.set_weather(Weather { delay: Duration::from_millis(80), lose_every: 5, repeat_every: 3 });
    let lines: Vec<String> = (0..200).map(|n| format!("line {n}")).collect();
    let job = server.execute("default:Upper", vec![text(lines.join("\n"))]).await;
    let sink = std::sync::Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    let wanted: Vec<String> = lines.iter().map(|line| line.to_uppercase()).collect();
    assert_eq!(chunks(&sink), wanted);
    assert!(server.orchestrator.counters().messages_received > 200);
}

#[tokio::test(start_paused = true)]
async fn large_values_go_over_the_data_plane_and_transfers_are_repeated() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![upper()]);
    cluster.web.failing.store(3, Ordering::SeqCst);
    let large = Bytes::from(vec![b'x'; 1_000_000]);
    let job = server.execute("default:Upper", vec![text(large.clone())]).await;
    let sink = std::sync::Arc::clone(&job.sink);
    let run = anabranch_remote::RunId::whole(job.id, 1);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(sink.seen().outputs, [("out".to_owned(), large.to_ascii_uppercase().into())]);
    let pages: Vec<String> = cluster.web.pages.lock().unwrap().keys().cloned().collect();
    assert_eq!(pages, [format!("mem:/{run}/in/text/0"), format!("mem:/{run}/out/out/0")]);
}

#[tokio::test(start_paused = true)]
async fn many_small_values_fit_too() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let count = Script::new("default:Count", |execution: Execution| async move {
        let all: usize = execution.inputs.all("text").iter().map(|value| bytes_of(value).len()).sum();
        execution.sink.write("out", text(all.to_string())).await
    });
    let _agent = cluster.agent("a1", 1, vec![count]);
    let values = (0..6).map(|_| text(vec![b'<'; 60_000])).collect();
    let job = server.execute("default:Count", values).await;
    let sink = std::sync::Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(chunks(&sink), ["360000"]);
}

#[tokio::test(start_paused = true)]
async fn failures_come_with_their_reason() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let fail = Script::new("default:Fail", |_| async { Err(Error::process_failed("exit code is 3")) });
    let panic = Script::new("default:Panic", |_| async { panic!("oh") });
    let _agent = cluster.agent("a1", 1, vec![fail, panic]);
    let failed = server.execute("default:Fail", vec![]).await.end().await;
    assert_eq!(failed, Err(Error::process_failed("exit code is 3")));
    let panicked = server.execute("default:Panic", vec![]).await.end().await;
    assert!(matches!(panicked, Err(Error::Internal { detail }) if detail.contains("agent a1@test/host")));
}

#[tokio::test(start_paused = true)]
async fn services_come_and_go_without_a_restart() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![]);
    server.agents_when(|all| all.iter().any(|agent| agent.connected)).await;
    agent.services.send_replace(services(vec![upper()]));
    let first = server.registry.published("default:Upper").await;
    let mut renamed = description("default:Upper");
    renamed.title = "Better".into();
    agent.services.send_replace(services(vec![Script::described(renamed, |_| async { Ok(()) })]));
    let mut processes = server.registry.processes.subscribe();
    let renamed = processes.wait_for(|all| all["default:Upper"].description().title == "Better");
    renamed.await.unwrap();
    assert_eq!(first.description().title, "default:Upper", "who holds the old one keeps it");
    let before = tokio::time::Instant::now();
    agent.services.send_replace(vec![]);
    server.registry.withdrawn("default:Upper").await;
    assert_eq!(before.elapsed(), Duration::ZERO, "said, not supposed: no grace");
}

#[tokio::test(start_paused = true)]
async fn the_store_holds_back_the_process() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let wrote = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&wrote);
    let eager = Script::new("default:Eager", move |execution: Execution| {
        let counted = std::sync::Arc::clone(&counted);
        async move {
            for n in 0..150 {
                execution.sink.write("out", text(format!("{n:>50000}"))).await?;
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }
    });
    let _agent = cluster.agent("a1", 1, vec![eager]);
    let job = server.execute_into("default:Eager", vec![], Sink::with_gate(10)).await;
    eventually("10 chunks are written", || wrote.load(Ordering::SeqCst) >= 10).await;
    let ahead = || wrote.load(Ordering::SeqCst) <= 100;
    holds_for(Duration::from_secs(60), "at most 100 chunks are written while 10 are stored", ahead).await;
    let sink = std::sync::Arc::clone(&job.sink);
    sink.gate.add_permits(1000);
    assert_eq!(job.end().await, Ok(()));
    let wanted: Vec<String> = (0..150).map(|n| format!("{n:>50000}")).collect();
    assert_eq!(chunks(&sink), wanted);
}
