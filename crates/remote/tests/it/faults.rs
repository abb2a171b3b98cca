//! Cuts, deaths, dismissals, and messages that should not be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::message::*;
use anabranch_remote::wire::{Envelope, NATIVE, encode};
use anabranch_remote::{Message, RunId};
use tokio::time::Instant;

use crate::balance::slow;
use crate::cluster::{Cluster, entered, eventually, holds_for, is_gone_for};
use crate::doubles::*;

const NO_TIME: Duration = Duration::ZERO;

/// Writes a number each second, for so many seconds.
pub(crate) fn clock(seconds: u32) -> Arc<Script> {
    Script::new("default:Clock", move |execution: Execution| async move {
        execution.sink.started(None);
        for n in 0..seconds {
            execution.sink.sleep(Duration::from_secs(1)).await;
            if execution.sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
            execution.sink.write("out", text(n.to_string())).await?;
            execution.sink.log(LogLine { source: LogSource::Stdout, text: format!("tick {n}") });
        }
        Ok(())
    })
}

pub(crate) fn numbers(sink: &Sink) -> Vec<u32> {
    let chunks = sink.seen().outputs;
    chunks.iter().map(|(_, chunk)| std::str::from_utf8(chunk).unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn dismissed_means_that_the_work_is_dead() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", Duration::from_secs(7))]);
    let job = server.execute("default:Slow", vec![]).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    let before = Instant::now();
    job.sink.cancel.cancel();
    assert_eq!(job.end().await, Err(Error::Dismissed));
    assert_eq!(before.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_run_in_the_queue_is_dismissed_at_once() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", NO_TIME)]);
    let first = server.execute("default:Slow", vec![]).await;
    first.sink.until(|seen| !seen.started.is_empty()).await;
    let second = server.execute("default:Slow", vec![]).await;
    second.sink.until(|seen| !seen.log.is_empty()).await;
    second.sink.cancel.cancel();
    assert_eq!(second.end().await, Err(Error::Dismissed));
    assert!(!first.result.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_run_dismissed_at_an_agent_that_is_gone_ends_with_the_agent() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", NO_TIME)]);
    let mut job = server.execute("default:Slow", vec![]).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    cluster.room.cut("a1");
    job.sink.cancel.cancel();
    job.goes_on_for(Duration::from_secs(10), "nobody knows yet that it is dead").await;
    let log = job.sink.until(|seen| seen.log.iter().any(|line| line.contains("supervisor"))).await.log;
    assert!(log.last().unwrap().contains("a1@test/host"));
    assert_eq!(job.end().await, Err(Error::Dismissed));
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_ten_seconds_is_survived_and_the_process_does_not_flap() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(30)]);
    let job = server.execute("default:Clock", vec![]).await;
    let processes = server.registry.processes.subscribe();
    job.sink.until(|seen| seen.outputs.len() == 5).await;
    cluster.room.cut("a1");
    is_gone_for(Duration::from_secs(10)).await;
    assert!(!server.orchestrator.agents()[0].connected);
    cluster.room.restore("a1");
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(numbers(&sink), (0..30).collect::<Vec<_>>());
    let ticks = sink.seen().log.iter().filter(|line| line.starts_with("tick")).count();
    assert_eq!(ticks, 30, "nor is a log line lost");
    assert!(!processes.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_a_cut_swallowed_is_said_again_at_once() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(30)]);
    let job = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| seen.outputs.len() == 5).await;
    cluster.room.swallow("a1", "output");
    eventually("an output is swallowed", || cluster.room.messages_swallowed() > 0).await;
    cluster.room.cut("a1");
    cluster.room.stop_swallowing();
    cluster.room.restore("a1");
    let before = Instant::now();
    job.sink.until(|seen| seen.outputs.len() >= 6).await;
    assert_eq!(before.elapsed(), NO_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_killed_agent_is_noticed_within_15_seconds_and_its_process_withdrawn() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(300)]);
    let job = server.execute("default:Clock", vec![]).await;
    let waiting = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| !seen.outputs.is_empty()).await;
    let before = Instant::now();
    agent.task.abort();
    let lost = job.end().await;
    assert!(matches!(lost, Err(Error::AgentLost { reason }) if reason == "agent a1@test/host is gone"));
    assert!(before.elapsed() <= Duration::from_secs(15));
    server.registry.withdrawn("default:Clock").await;
    assert!(
        matches!(waiting.end().await, Err(Error::AgentLost { reason }) if reason.contains("no agent offers"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_any_more_is_lost_too_and_welcome_when_it_speaks_again() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", NO_TIME)]);
    let job = server.execute("default:Slow", vec![]).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    cluster.room.swallow("a1", "load");
    assert!(matches!(job.end().await, Err(Error::AgentLost { reason }) if reason.contains("says nothing")));
    cluster.room.stop_swallowing();
    let again = server.execute("default:Slow", vec![]).await;
    again.sink.until(|seen| !seen.started.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_has_lost_its_runs_at_once() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(300)]);
    let job = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| !seen.outputs.is_empty()).await;
    let before = Instant::now();
    agent.task.abort();
    let _again = cluster.agent("a1", 1, vec![clock(2)]);
    assert!(matches!(job.end().await, Err(Error::AgentLost { reason }) if reason.ends_with("was restarted")));
    assert_eq!(before.elapsed(), NO_TIME);
    assert_eq!(server.execute("default:Clock", vec![]).await.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_stopped_ends_its_runs_and_says_so() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![slow("default:Slow", Duration::from_secs(2))]);
    let job = server.execute("default:Slow", vec![]).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    let before = Instant::now();
    agent.shutdown.cancel();
    assert!(
        matches!(job.end().await, Err(Error::AgentLost { reason }) if reason.contains("the agent was stopped"))
    );
    agent.task.await.unwrap().unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(2));
    server.registry.withdrawn("default:Slow").await;
    assert_eq!(before.elapsed(), Duration::from_secs(2), "it said goodbye");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_cannot_be_stored_ends_the_run_with_that_reason() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let ended = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&ended);
    let script = Script::new("default:Big", move |execution: Execution| {
        let counter = Arc::clone(&counter);
        async move {
            execution.sink.write("out", text(vec![b'x'; 100_000])).await?;
            execution.sink.cancelled().await;
            counter.fetch_add(1, Ordering::SeqCst);
            Err(Error::Dismissed)
        }
    });
    let _agent = cluster.agent("a1", 1, vec![script]);
    // The upload gets lost on its way to the store.
    let sink = Sink::with_gate(0);
    let job = server.execute_into("default:Big", vec![], Arc::clone(&sink)).await;
    sink.gate.close();
    let result = job.end().await;
    assert!(matches!(result, Err(Error::NotEnoughStorage { .. })), "{result:?}");
    assert_eq!(ended.load(Ordering::SeqCst), 1, "and the work is dead");
}

fn about(run: RunId, seq: u64, message: Message) -> anabranch_xmpp::Element {
    encode(&Envelope { run: Some(run), seq, ack: 0, message }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn only_the_account_that_has_the_run_is_heard_about_it() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(5)]);
    let mut intruder = cluster.room.connect("intruder");
    let nick = "intruder".to_owned();
    let room = crate::room::ROOM.to_owned();
    intruder.sender().join(anabranch_xmpp::RoomJoin { room, nick, password: None }).await.unwrap();
    let job = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    let run = RunId::whole(job.id, 1);
    cluster.room.inject("intruder", "orchestrator", about(run, 3, Message::Completed));
    let mut hello = Hello {
        instance: "host".into(),
        incarnation: "x".into(),
        version: "1".into(),
        wires: vec![NATIVE.into()],
        capacity: 1,
        labels: vec![],
        runs: vec![],
    };
    let held = HeldRun {
        run,
        process: ProcessId::new("default:Clock").unwrap(),
        oldest: 1,
        next: 9,
        received: 0,
        ended: true,
    };
    // As an agent without the run, and as one that claims to have it.
    for runs in [vec![], vec![held]] {
        hello.runs = runs;
        let hello = encode(&Envelope::session(Message::Hello(hello.clone()))).unwrap();
        cluster.room.inject("intruder", "orchestrator", hello);
        for seq in 1..9 {
            cluster.room.inject("intruder", "orchestrator", about(run, seq, Message::Completed));
        }
        cluster.room.inject("intruder", "orchestrator", about(run, 0, Message::Forgotten));
    }
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(numbers(&sink), [0, 1, 2, 3, 4]);
    assert!(server.orchestrator.counters().messages_rejected > 0);
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), intruder.next()).await {
        if let anabranch_xmpp::BusEvent::Message(incoming) = event {
            told.extend(incoming.payloads[0].attr("type").map(str::to_owned));
        }
    }
    assert_eq!(told[..3], ["invite", "welcome", "welcome"]);
    assert!(told[3..].iter().all(|kind| kind == "finish"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_listens_to_the_account_of_the_server_only() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(5)]);
    server.registry.published("default:Clock").await;
    let mut intruder = cluster.room.connect("intruder");
    let room = crate::room::ROOM.to_owned();
    let join = anabranch_xmpp::RoomJoin { room, nick: "boss".into(), password: None };
    intruder.sender().join(join).await.unwrap();
    entered(&mut intruder).await;
    let run = RunId::whole(JobId::random(), 1);
    let process = ProcessId::new("default:Clock").unwrap();
    let execute = Message::Execute(Box::new(Execute {
        process,
        offer: 1,
        inputs: vec![],
        outputs: vec![],
        fed: None,
        cpu_s_max: None,
    }));
    cluster.room.inject("intruder", "a1", about(run, 1, execute));
    holds_for(Duration::from_secs(1), "the agent begins nothing", || agent.folders() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_answered_and_harms_nobody() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(1)]);
    let mut stranger = cluster.room.connect("stranger");
    let room = crate::room::ROOM.to_owned();
    let join = anabranch_xmpp::RoomJoin { room, nick: "stranger".into(), password: None };
    stranger.sender().join(join).await.unwrap();
    entered(&mut stranger).await;
    for payload in [
        "<anabranch xmlns='urn:anabranch:agent:1' type='dance'/>",
        "<anabranch xmlns='urn:anabranch:agent:9' type='hello'/>",
        "<anabranch xmlns='urn:anabranch:agent:1' type='hello'/>",
    ] {
        cluster.room.inject("stranger", "orchestrator", payload.parse().unwrap());
    }
    let mut hello = Hello {
        instance: String::new(),
        incarnation: "x".into(),
        version: "9".into(),
        wires: vec!["native-9".into()],
        capacity: 1,
        labels: vec![],
        runs: vec![],
    };
    hello.capacity = u32::MAX;
    let hello = encode(&Envelope::session(Message::Hello(hello))).unwrap();
    cluster.room.inject("stranger", "orchestrator", hello);
    let mut answers = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), stranger.next()).await {
        if let anabranch_xmpp::BusEvent::Message(incoming) = event {
            answers += u32::from(incoming.payloads[0].attr("type") == Some("not-understood"));
        }
    }
    assert_eq!(answers, 4);
    assert_eq!(server.orchestrator.counters().messages_rejected, 4);
    assert_eq!(server.orchestrator.agents().len(), 1);
    assert_eq!(server.execute("default:Clock", vec![]).await.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_process_without_namespace_or_output_is_not_published() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let plain = Script::new("echo", |_| async { Ok(()) });
    let mut empty = description("default:Empty");
    empty.outputs.clear();
    let empty = Script::described(empty, |_| async { Ok(()) });
    let _agent = cluster.agent("a1", 1, vec![plain, empty, clock(1)]);
    server.registry.published("default:Clock").await;
    let processes = &server.registry.processes;
    holds_for(Duration::from_secs(10), "one process", || processes.borrow().len() == 1).await;
}

/// Sent without a note, it would be begun again after a restart, beside the first.
#[tokio::test(start_paused = true)]
async fn a_run_that_can_not_be_noted_is_not_sent_and_takes_no_slot() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(1)]);
    server.registry.published("default:Clock").await;
    cluster.web.is_full.store(true, Ordering::Relaxed);
    let refused = server.execute("default:Clock", vec![]).await;
    assert!(matches!(refused.end().await, Err(Error::NotEnoughStorage { .. })));
    agent.has_folders(0).await;
    cluster.web.is_full.store(false, Ordering::Relaxed);
    assert_eq!(server.execute("default:Clock", vec![]).await.end().await, Ok(()));
}
