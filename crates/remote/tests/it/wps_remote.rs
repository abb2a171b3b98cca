//! Agents of WPS Remote at our server, beyond what was caught: deaths, restarts, dismissals, and strangers.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::RunId;

use crate::cluster::{Cluster, Job, Server, is_gone_for};
use crate::doubles::*;
use crate::stock::{ACCOUNT, MASTER, Occupant};

/// A server, its agent, and a run that the agent has begun.
async fn begun(cluster: &Cluster) -> (Server, Occupant, Job, Occupant) {
    let server = cluster.server();
    let master = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    let job = server.execute_with("default:Dummy", Inputs::new(vec![])).await;
    master.request(1).await;
    let bot = enters(cluster, &job).await;
    (server, master, job, bot)
}

fn run(job: &Job) -> RunId {
    RunId::whole(job.id, 1)
}

/// The occupant of a run comes.
async fn enters(cluster: &Cluster, job: &Job) -> Occupant {
    Occupant::enter(&cluster.room, ACCOUNT, &format!("Dummy@geoserver.org/{}@vm", run(job))).await
}

fn completed(job: &Job, value: &str, declared: &str) -> String {
    format!(
        "topic=completed&id={}&baseURL=x&message=completed&result1=%7B%22result1_value%22%3A%22{value}%22%2C%22result1_type%22%3A%22{declared}%22%7D",
        run(job)
    )
}

fn progress(job: &Job, percent: u32) -> String {
    format!("topic=progress&id={}&message={percent}", run(job))
}

#[tokio::test(start_paused = true)]
async fn only_the_agent_that_has_a_run_is_heard_about_it() {
    let cluster = Cluster::new();
    let (server, master, job, bot) = begun(&cluster).await;
    let other = Occupant::enter(&cluster.room, "mallory", "Dummy@geoserver.org/master@vm2").await;
    let named_alike = format!("Dummy@geoserver.org/{}@evil", run(&job));
    let alike = Occupant::enter(&cluster.room, "mallory", &named_alike).await;
    for stranger in [&other, &alike] {
        stranger.say(&completed(&job, "forged", "textual")).await;
        stranger.say(&format!("topic=error&id={}&message=forged", run(&job))).await;
    }
    bot.say(&progress(&job, 50)).await;
    job.sink.until(|seen| seen.progress == [50.0]).await;
    assert!(!job.result.is_finished());
    assert!(server.orchestrator.counters().messages_rejected >= 4);
    // The agent itself may report, as it does for a run that died.
    master.say(&format!("topic=error&id={}&message=%22dead%22", run(&job))).await;
    assert_eq!(job.end().await, Err(Error::process_failed("dead")));
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_names_outside_the_shared_folder_is_not_taken() {
    for path in ["/etc/passwd", "../x", "a/../../b"] {
        let cluster = Cluster::new();
        let (_server, _master, job, bot) = begun(&cluster).await;
        bot.say(&completed(&job, path, "application/zip").replace("result1", "result2")).await;
        bot.hears("finish", 1).await;
        let failed = job.end().await;
        assert!(
            matches!(&failed, Err(Error::ProcessFailed { message, .. }) if message.contains("shared folder")),
            "{failed:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_acknowledged_after_it_is_written_down_and_again_when_it_is_repeated() {
    let cluster = Cluster::new();
    let (_server, _master, job, bot) = begun(&cluster).await;
    let said = completed(&job, "done", "textual");
    bot.say(&said).await;
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    assert_eq!(sink.seen().outputs, [("result1".to_owned(), "done".into())]);
    assert!(bot.heard("finish").is_empty(), "not yet");
    bot.hears("finish", 1).await;
    bot.say(&said).await;
    bot.hears("finish", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_dismissed_before_its_occupant_came_is_aborted_when_it_comes() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let master = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    let mut job = server.execute_with("default:Dummy", Inputs::new(vec![])).await;
    master.request(1).await;
    job.sink.cancel.cancel();
    job.goes_on_for(Duration::from_secs(5), "the agent has begun it, and has not ended it").await;
    let bot = enters(&cluster, &job).await;
    bot.hears("abort", 1).await;
    job.goes_on_for(Duration::from_secs(5), "its occupant is still there").await;
    bot.hears("abort", 2).await;
    drop(bot);
    assert_eq!(job.end().await, Err(Error::Dismissed));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_wants_any_more_is_aborted() {
    let cluster = Cluster::new();
    let (_server, _master, job, bot) = begun(&cluster).await;
    job.sink.until(|seen| !seen.started.is_empty()).await;
    job.result.abort();
    bot.hears("abort", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_occupant_dies_is_lost_and_one_that_is_cut_off_is_not() {
    let cluster = Cluster::new();
    let (_server, _master, mut job, bot) = begun(&cluster).await;
    drop(bot);
    job.goes_on_for(Duration::from_secs(10), "it may come back").await;
    let bot = enters(&cluster, &job).await;
    job.goes_on_for(Duration::from_secs(60), "it is there again").await;
    drop(bot);
    let lost = job.end().await;
    assert!(
        matches!(&lost, Err(Error::AgentLost { reason }) if reason.contains("lost its process")),
        "{lost:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_its_agent_dies_and_the_process_is_withdrawn() {
    let cluster = Cluster::new();
    let (server, master, job, bot) = begun(&cluster).await;
    drop(master);
    server.registry.withdrawn("default:Dummy").await;
    bot.say(&completed(&job, "late", "textual")).await;
    assert_eq!(job.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_an_agent_never_began_is_lost_with_the_agent() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let master = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    let job = server.execute_with("default:Dummy", Inputs::new(vec![])).await;
    master.request(1).await;
    drop(master);
    let lost = job.end().await;
    assert!(matches!(&lost, Err(Error::AgentLost { reason }) if reason.contains("is gone")), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn runs_are_found_again_by_the_next_server() {
    for speaks in [true, false] {
        let cluster = Cluster::new();
        let (server, _master, job, bot) = begun(&cluster).await;
        job.sink.until(|seen| !seen.started.is_empty()).await;
        let (id, said) = (job.id, completed(&job, "kept", "textual"));
        server.orchestrator.detach_all();
        job.sink.cancel.cancel();
        assert!(matches!(job.end().await, Err(Error::Interrupted { .. })));
        server.stop().await;
        if speaks {
            // Nobody is there to hear it; the agent says it again.
            bot.say(&said).await;
        }

        let server = cluster.server();
        let sink = Sink::new();
        let again = server.resume("default:Dummy", id, Arc::clone(&sink)).await;
        sink.until(|seen| seen.log.iter().any(|line| line.contains("found again"))).await;
        bot.say(&said).await;
        assert_eq!(again.end().await, Ok(()));
        assert_eq!(sink.seen().outputs, [("result1".to_owned(), "kept".into())]);
        bot.hears("finish", 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_from_before_a_restart_is_left_alone_until_every_job_could_have_asked_for_it() {
    let cluster = Cluster::new();
    let (server, _master, job, bot) = begun(&cluster).await;
    let said = completed(&job, "old", "textual");
    server.orchestrator.detach_all();
    job.sink.cancel.cancel();
    let _ = job.end().await;
    server.stop().await;
    let _server = cluster.server();
    bot.say(&said).await;
    bot.hears_no("finish", Duration::from_secs(30)).await;
    is_gone_for(Duration::from_secs(120)).await;
    bot.say(&said).await;
    bot.hears("finish", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_our_own_session_loses_no_run() {
    let cluster = Cluster::new();
    let (_server, _master, mut job, bot) = begun(&cluster).await;
    cluster.room.cut("orchestrator");
    job.goes_on_for(Duration::from_secs(300), "nothing is known while we are away").await;
    cluster.room.restore("orchestrator");
    job.goes_on_for(Duration::from_secs(100), "its occupant is there").await;
    bot.say(&completed(&job, "x", "textual")).await;
    assert_eq!(job.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn inputs_that_the_wire_cannot_carry_are_refused_by_name() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _master = Occupant::master(&cluster.room, ACCOUNT, "Dummy2@geoserver.org/master@vm").await;
    let asset = |bytes: Vec<u8>| Inputs::new(vec![("asset".into(), vec![text(bytes)])]);
    let binary = server.execute_with("default:Dummy2", asset(vec![0xFF, 0])).await.end().await;
    assert!(binary.unwrap_err().client_text().contains("input 'asset' is no UTF-8"));
    let large = server.execute_with("default:Dummy2", asset(vec![b'a'; 70_000])).await.end().await;
    assert!(large.unwrap_err().client_text().contains("input 'asset' is too large"));
}

#[tokio::test(start_paused = true)]
async fn native_agents_and_those_of_wps_remote_share_the_work() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let master = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    server.registry.published("default:Dummy").await;
    let native = Script::new("default:Dummy", |_| async { Ok(()) });
    let _agent = cluster.agent("a1", 200, vec![native]);
    server.agents_when(|all| all.iter().filter(|agent| !agent.services.is_empty()).count() == 2).await;
    for _ in 0..3 {
        let job = server.execute("default:Dummy", vec![]).await;
        let sink = Arc::clone(&job.sink);
        if job.result.is_finished()
            || tokio::time::timeout(Duration::from_secs(1), sink.until(|seen| !seen.started.is_empty()))
                .await
                .is_ok()
        {
            assert_eq!(job.end().await, Ok(()));
        }
    }
    let names: Vec<String> = server.orchestrator.agents().into_iter().map(|agent| agent.name).collect();
    assert_eq!(names, ["a1@test/host", "default.dummy@test/Dummy@vm"]);
    drop(master);
}
