//! The server stops, dies and comes back, and runs go on.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::{Message, RunId};

use crate::cluster::{Cluster, Job, is_gone_for};
use crate::doubles::*;
use crate::faults::{clock, numbers};
use crate::session::{ServersSession, all};

/// As the engine does at a shutdown, after `detach_all`.
async fn interrupt(job: Job) {
    job.sink.cancel.cancel();
    let result = job.end().await;
    assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_while_the_server_is_restarted_and_nothing_comes_twice() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(60)]);
    let job = server.execute("default:Clock", vec![]).await;
    let (id, sink) = (job.id, Arc::clone(&job.sink));
    sink.until(|seen| seen.outputs.len() == 5).await;
    server.orchestrator.detach_all();
    interrupt(job).await;
    server.stop().await;
    assert!(cluster.web.released.lock().unwrap().is_empty(), "the agent may still fetch and upload");
    is_gone_for(Duration::from_secs(20)).await;

    let server = cluster.server();
    let next = Sink::new();
    let job = server.resume("default:Clock", id, Arc::clone(&next)).await;
    assert_eq!(job.end().await, Ok(()));
    let all: Vec<u32> = numbers(&sink).into_iter().chain(numbers(&next)).collect();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
    assert_eq!(next.seen().started[0], "a1@test/host");
    assert_eq!(server.orchestrator.counters().runs_reattached, 1);
    let again = server.execute("default:Clock", vec![]).await;
    again.sink.until(|seen| !seen.started.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_while_there_was_no_server_is_not_lost() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(100)]);
    let job = server.execute("default:Clock", vec![]).await;
    let (id, sink) = (job.id, Arc::clone(&job.sink));
    sink.until(|seen| !seen.outputs.is_empty()).await;
    server.orchestrator.detach_all();
    interrupt(job).await;
    server.stop().await;
    is_gone_for(Duration::from_secs(3600)).await;
    assert_eq!(agent.folders(), 1);

    let server = cluster.server();
    let next = Sink::new();
    let job = server.resume("default:Clock", id, Arc::clone(&next)).await;
    assert_eq!(job.end().await, Ok(()));
    let all: Vec<u32> = numbers(&sink).into_iter().chain(numbers(&next)).collect();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    agent.has_folders(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_is_the_same_as_one_that_stops() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(30)]);
    let job = server.execute("default:Clock", vec![]).await;
    let (id, sink) = (job.id, Arc::clone(&job.sink));
    sink.until(|seen| seen.outputs.len() == 5).await;
    cluster.room.cut("orchestrator");
    job.result.abort();
    drop(server);

    let server = cluster.server();
    let next = Sink::new();
    let job = server.resume("default:Clock", id, Arc::clone(&next)).await;
    assert_eq!(job.end().await, Ok(()));
    let all: Vec<u32> = numbers(&sink).into_iter().chain(numbers(&next)).collect();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_told_again_to_a_server_that_died_before_writing_it_down() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(1)]);
    let job = server.execute("default:Clock", vec![]).await;
    let id = job.id;
    assert_eq!(job.end().await, Ok(()));
    // Dies now: the job's end is not in the store.
    cluster.room.cut("orchestrator");
    drop(server);

    let server = cluster.server();
    let next = Sink::new();
    let job = server.resume("default:Clock", id, Arc::clone(&next)).await;
    assert_eq!(job.end().await, Ok(()));
    assert!(next.seen().outputs.is_empty(), "that was stored before");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_agent_does_not_come_back_is_lost_in_the_end() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _other = cluster.agent("a2", 1, vec![clock(1)]);
    let before = tokio::time::Instant::now();
    let run = RunId::whole(JobId::random(), 1);
    cluster.web.sent.lock().unwrap().push(run);
    let job = server.resume("default:Clock", run.job, Sink::new()).await;
    assert!(matches!(job.end().await, Err(Error::AgentLost { .. })));
    assert_eq!(before.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_asks_for_is_ended_and_its_slot_is_free_again() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(100_000)]);
    let job = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| !seen.outputs.is_empty()).await;
    server.orchestrator.detach_all();
    interrupt(job).await;
    server.stop().await;

    let server = cluster.server();
    let before = tokio::time::Instant::now();
    let next = server.execute("default:Clock", vec![]).await;
    next.sink.until(|seen| !seen.started.is_empty()).await;
    assert!(before.elapsed() >= Duration::from_secs(120), "{:?}", before.elapsed());
    assert!(before.elapsed() <= Duration::from_secs(125), "{:?}", before.elapsed());
    agent.has_folders(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_dropped_is_ended() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![clock(100_000)]);
    let job = server.execute("default:Clock", vec![]).await;
    job.sink.until(|seen| !seen.outputs.is_empty()).await;
    job.result.abort();
    agent.has_folders(0).await;
    assert_eq!(server.orchestrator.counters().runs_aborted, 1);
}

#[tokio::test(start_paused = true)]
async fn chunks_stored_by_a_server_that_died_before_it_said_so_are_not_stored_again() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(20)]);
    let job = server.execute("default:Clock", vec![]).await;
    let (id, sink) = (job.id, Arc::clone(&job.sink));
    sink.until(|seen| seen.outputs.len() == 5).await;
    cluster.room.swallow("orchestrator", "acknowledge");
    sink.until(|seen| seen.outputs.len() == 9).await;
    cluster.room.cut("orchestrator");
    job.result.abort();
    drop(server);
    cluster.room.stop_swallowing();
    let run = RunId::whole(id, 1);
    cluster.web.stored.lock().unwrap().insert(run, numbers(&sink).len() as u64);

    let server = cluster.server();
    let next = Sink::new();
    assert_eq!(server.resume("default:Clock", id, Arc::clone(&next)).await.end().await, Ok(()));
    let all: Vec<u32> = numbers(&sink).into_iter().chain(numbers(&next)).collect();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waited_for_an_agent_when_the_server_stopped_is_begun_by_the_next_one() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(3)]);
    let first = server.execute("default:Clock", vec![]).await;
    let second = server.execute("default:Clock", vec![]).await;
    second.sink.until(|seen| !seen.log.is_empty()).await;
    let (one, two) = (first.id, second.id);
    server.orchestrator.detach_all();
    first.result.abort();
    second.result.abort();
    tokio::task::yield_now().await;
    server.stop().await;

    let server = cluster.server();
    let (a, b) = (Sink::new(), Sink::new());
    let second = server.resume("default:Clock", two, Arc::clone(&b)).await;
    let first = server.resume("default:Clock", one, Arc::clone(&a)).await;
    assert_eq!((first.end().await, second.end().await), (Ok(()), Ok(())));
    assert_eq!(numbers(&a), [0, 1, 2]);
    assert_eq!(numbers(&b), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_run_begun_anew_that_an_agent_has_already_is_taken_over() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 2, vec![clock(10)]);
    let job = server.execute("default:Clock", vec![]).await;
    let id = job.id;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    server.orchestrator.detach_all();
    interrupt(job).await;
    server.stop().await;

    let server = cluster.server();
    let job = server.begin_again("default:Clock", id).await;
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(numbers(&sink), (0..10).collect::<Vec<_>>());
    assert_eq!(server.orchestrator.counters().runs_sent, 0);
}

#[tokio::test(start_paused = true)]
async fn runs_without_a_server_end_after_a_while() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent =
        cluster.agent_with("a1", vec![clock(1000)], |settings| settings.orphan = Duration::from_secs(300));
    let job = server.execute("default:Clock", vec![]).await;
    let id = job.id;
    job.sink.until(|seen| !seen.outputs.is_empty()).await;
    server.orchestrator.detach_all();
    interrupt(job).await;
    server.stop().await;
    is_gone_for(Duration::from_secs(400)).await;

    let server = cluster.server();
    let next = Sink::new();
    let result = server.resume("default:Clock", id, Arc::clone(&next)).await.end().await;
    assert!(matches!(result, Err(Error::AgentLost { reason }) if reason.contains("no server for too long")));
    assert!((290..310).contains(&numbers(&next).len()), "what was written until then is there");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_over_many_runs_asks_for_all_of_them_together() {
    let mut session = ServersSession::open(Arc::new(Web::default()), |settings| settings.shared = true).await;
    is_gone_for(Duration::from_secs(5)).await;
    let runs: Vec<_> = (0..100).map(|_| session.execute(true).1).collect();
    let mut asked = 0;
    for seconds in [1, 3, 5] {
        is_gone_for(Duration::from_secs(if seconds == 1 { 1 } else { 2 })).await;
        let said = all(&mut session.driver).await;
        let more = said.iter().filter(|envelope| envelope.message == Message::Invite).count();
        asked += more;
        assert!(more > 0 && asked <= 1 + seconds, "asked {asked} times within {seconds} s");
    }
    drop(runs);
}
