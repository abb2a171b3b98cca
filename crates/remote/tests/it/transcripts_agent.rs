//! The other side of the transcripts: what the orchestrator was caught saying, played to our agent, which has to answer it as
//! agents should.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::Message;
use anabranch_remote::wire::wps_remote::{Body, decode};
use tokio::time::Instant;

use crate::cluster::{Cluster, eventually};
use crate::doubles::Script;
use crate::stock::testdata;
use crate::stock_server::{StockAgent, StockServer};
use crate::transcripts::{Line, lines, process};

/// How long each run works: longer than until the first `abort` in a transcript.
const WORK: Duration = Duration::from_secs(8);

/// A service described as it was caught being registered; it writes every output.
fn service(name: &str) -> Arc<Script> {
    let body = testdata(&format!("bodies/02-register-{name}.txt"));
    let Message::Register(register) = decode(&body, None).unwrap().unwrap().messages.remove(0) else {
        panic!("{body}")
    };
    let description = register.description;
    let described = Arc::clone(&description);
    Script::described(ProcessDescription::clone(&description), move |execution: Execution| {
        let described = Arc::clone(&described);
        async move {
            execution.sink.sleep(WORK).await;
            if execution.sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
            for output in &described.outputs {
                let value = match &output.data {
                    DataDescription::Complex(domain) => Value::Complex(ComplexValue::new(
                        Data::Bytes("data".into()),
                        domain.formats[0].clone(),
                    )),
                    _ => Value::Literal(LiteralValue::new(LiteralType::String, "text")),
                };
                execution.sink.write(&output.id, value).await?;
            }
            Ok(())
        }
    })
}

/// What our agent did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Did {
    registered: usize,
    told_its_load: usize,
    refused: usize,
    began: usize,
    completed: usize,
    failed: usize,
}

async fn play(name: &str) -> Did {
    let cluster = Cluster::new();
    let services = ["dummy", "files", "gdalcontour"].map(service).to_vec();
    let _agent = StockAgent::start(&cluster.room, 2, services);
    let server = StockServer::enter(&cluster.room).await;
    for service in ["Dummy", "Dummy2", "GdalContour"] {
        server.sees_come(&format!("{service}@geoserver.org/master@vm")).await;
    }
    let mut did = Did::default();
    let mut bots = Vec::new();
    let begun = Instant::now();
    for (at, line) in lines(name) {
        let Line::Heard { nick, body } = line else { continue };
        tokio::time::sleep_until(begun + at).await;
        let was_there = server.sees(&nick);
        server.say(&nick, &body).await;
        let Some(Ok(Body { execution, messages, .. })) = decode(&body, Some(&process(&nick))) else {
            continue;
        };
        match (&messages[0], execution) {
            (Message::Invite, _) => {
                did.registered += 1;
                let register = server.hears(&nick, "register", 1).await;
                assert!(register.contains(&format!("service=default.{}&", nick.split('@').next().unwrap())));
            }
            (Message::LoadQuery, _) => {
                did.told_its_load += 1;
                server.hears(&nick, "loadavg", 1).await;
            }
            (Message::Execute(_), Some(execution)) => {
                let bot = nick.replace("/master@", &format!("/{execution}@"));
                let refused = format!("exec_id={execution}");
                let is_refused =
                    || server.heard(&nick, "cantexec").iter().any(|body| body.ends_with(&refused));
                eventually("the run begins or is refused", || server.sees(&bot) || is_refused()).await;
                if is_refused() {
                    did.refused += 1;
                } else {
                    did.began += 1;
                    bots.push(bot);
                }
            }
            // To a master, on purpose: nothing happens.
            (Message::Finish | Message::Abort, _) if nick.contains("/master@") => assert!(server.sees(&nick)),
            (Message::Finish | Message::Abort, _) if was_there => server.sees_go(&nick).await,
            _ => {}
        }
    }
    for bot in bots {
        let ended = || !server.sees(&bot) || !server.heard(&bot, "completed").is_empty();
        eventually("every run ends", ended).await;
        did.completed += usize::from(!server.heard(&bot, "completed").is_empty());
        did.failed += server.heard(&bot, "error").len();
    }
    did
}

#[tokio::test(start_paused = true)]
async fn invitations_and_queries_are_answered() {
    for (name, registered, told_its_load) in
        [("joins", 2, 2), ("back", 1, 0), ("vanish", 1, 1), ("gdal", 1, 1)]
    {
        let did = play(name).await;
        assert_eq!((did.registered, did.told_its_load), (registered, told_its_load), "{name}");
    }
    assert_eq!(play("direct").await, Did::default(), "what does not come through the room is not heard");
}

#[tokio::test(start_paused = true)]
async fn runs_are_begun_told_of_and_finished() {
    for (name, completed) in
        [("happy", 1), ("s1-happy", 1), ("gdal", 1), ("upload", 1), ("vanish", 1), ("files2", 2)]
    {
        let did = play(name).await;
        assert_eq!((did.began, did.completed, did.failed), (completed, completed, 0), "{name}: {did:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn strings_with_blanks_are_no_fault_here() {
    let did = play("errors").await;
    assert_eq!((did.began, did.completed, did.failed), (4, 4, 0), "{did:?}");
}

#[tokio::test(start_paused = true)]
async fn aborted_runs_end_without_a_word() {
    let did = play("abort").await;
    assert_eq!((did.began, did.completed, did.failed), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn runs_beyond_the_capacity_are_refused() {
    let did = play("capacity").await;
    assert_eq!((did.began, did.refused, did.completed), (2, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_wrongly_on_purpose_harms_nothing() {
    let did = play("odd").await;
    assert_eq!((did.registered, did.began, did.failed), (1, 1, 0), "{did:?}");
    let did = play("edge").await;
    assert!(did.began >= 3 && did.failed == 0, "{did:?}");
    let did = play("files").await;
    assert!(did.began >= 2, "{did:?}");
}
