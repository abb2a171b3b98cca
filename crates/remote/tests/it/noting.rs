//! Runs are noted before they are sent, by a store that may be slow, or full.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::wire::Envelope;
use anabranch_remote::{Message, RunId};

use crate::cluster::{Cluster, eventually, holds_for};
use crate::doubles::*;
use crate::faults::clock;
use crate::session::{AGENT, ServersSession, all, executed, hello, said};

#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_up_the_runs_that_wait_for_it_and_nothing_else() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 3, vec![clock(20)]);
    let before = server.execute("default:Clock", vec![]).await;
    before.sink.until(|seen| seen.outputs.len() == 2).await;
    cluster.web.is_slow.send_replace(true);
    let mut waits = server.execute("default:Clock", vec![]).await;
    // One more, which comes while the first one is being noted.
    let also = server.execute("default:Clock", vec![]).await;
    assert_eq!(before.end().await, Ok(()), "what the other agent says goes on");
    assert_eq!(server.orchestrator.counters().runs_sent, 1);
    waits.goes_on_for(Duration::from_secs(300), "its note is not written").await;
    assert_eq!(waits.sink.seen().started, Vec::<String>::new());
    cluster.web.is_slow.send_replace(false);
    assert_eq!((waits.end().await, also.end().await), (Ok(()), Ok(())));
    assert_eq!(cluster.web.sent.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn runs_that_cannot_be_noted_fail_together_and_none_is_sent() {
    let web = Arc::new(Web::default());
    let mut session = ServersSession::open(Arc::clone(&web) as Arc<_>, |_| {}).await;
    web.is_slow.send_replace(true);
    web.is_full.store(true, Ordering::Relaxed);
    let (_, first) = session.execute(false);
    let (_, second) = session.execute(false);
    assert_eq!(executed(&all(&mut session.driver).await), []);
    web.is_slow.send_replace(false);
    for end in [first, second] {
        assert!(matches!(end.await.unwrap(), Err(Error::NotEnoughStorage { .. })));
    }
    assert_eq!(executed(&all(&mut session.driver).await), []);
    web.is_full.store(false, Ordering::Relaxed);
    let (run, _) = session.execute(false);
    assert_eq!(executed(&all(&mut session.driver).await), [run]);
}

#[tokio::test(start_paused = true)]
async fn runs_leave_in_their_order_after_they_are_noted() {
    let web = Arc::new(Web::default());
    let mut session = ServersSession::open(Arc::clone(&web) as Arc<_>, |_| {}).await;
    web.is_slow.send_replace(true);
    let runs: Vec<RunId> = (0..600).map(|_| session.execute(false).0).collect();
    assert_eq!(executed(&all(&mut session.driver).await), [], "none before its note");
    web.is_slow.send_replace(false);
    let left = executed(&all(&mut session.driver).await);
    assert!(left == runs, "{} of {} left, or in another order", left.len(), runs.len());
    assert!(*web.sent.lock().unwrap() == runs, "they are noted in this order too");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_agent_goes_while_it_is_noted_waits_for_another_one() {
    let web = Arc::new(Web::default());
    let mut session = ServersSession::open(Arc::clone(&web) as Arc<_>, |_| {}).await;
    web.is_slow.send_replace(true);
    let (run, _end) = session.execute(false);
    assert_eq!(executed(&all(&mut session.driver).await), []);
    let goodbye = Envelope::session(Message::Goodbye);
    session.driver.emit(said(AGENT, &goodbye)).await;
    let orchestrator = session.orchestrator.clone();
    eventually("it is gone", || orchestrator.agents().iter().all(|agent| !agent.connected)).await;
    web.is_slow.send_replace(false);
    // Nobody offers the process any more, which is withdrawn after a while.
    holds_for(Duration::from_secs(1), "not sent", || orchestrator.counters().runs_sent == 0).await;
    session.driver.emit(said(AGENT, &hello())).await;
    session.register().await;
    assert_eq!(executed(&all(&mut session.driver).await), [run]);
    assert_eq!(orchestrator.counters().runs_lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_left_to_the_next_server_while_it_is_noted_is_begun_there() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![clock(5)]);
    server.registry.published("default:Clock").await;
    cluster.web.is_slow.send_replace(true);
    let job = server.execute("default:Clock", vec![]).await;
    let (id, sink) = (job.id, Arc::clone(&job.sink));
    holds_for(Duration::from_secs(1), "not sent", || server.orchestrator.counters().runs_sent == 0).await;
    server.orchestrator.detach_all();
    sink.cancel.cancel();
    assert!(matches!(job.end().await, Err(Error::Interrupted { .. })));
    cluster.web.is_slow.send_replace(false);
    server.stop().await;
    eventually("the note is taken back", || cluster.web.sent.lock().unwrap().is_empty()).await;
    let server = cluster.server();
    assert_eq!(server.resume("default:Clock", id, Sink::new()).await.end().await, Ok(()));
}
