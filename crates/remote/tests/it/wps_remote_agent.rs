//! Our agent at an orchestrator of WPS Remote: it says what the original's agents were caught saying, and does what they
//! should have done.

use std::sync::Arc;
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::{WpsRemoteError, WpsRemoteSettings};
use tokio::time::Instant;

use crate::cluster::{Cluster, eventually, holds_for, is_gone_for, services};
use crate::doubles::*;
use crate::room::{ROOM, Room};
use crate::stock::testdata;
use crate::stock_server::{StockAgent, StockServer, outputs};

const MASTER: &str = "Dummy@geoserver.org/master@vm";

fn bot(execution: &str) -> String {
    format!("Dummy@geoserver.org/{execution}@vm")
}

/// Named and described as the service of the transcripts.
fn described() -> ProcessDescription {
    let literal = |data_type| DataDescription::Literal(LiteralDomain::any(data_type));
    let input = |id: &str, occurs, data| InputDescription::new(id, occurs, data);
    let output = |id: &str, data| OutputDescription::new(id, data);
    let zip = ComplexDomain { formats: vec![Format::base64("application/zip")], bytes_max: None };
    ProcessDescription {
        inputs: vec![
            input("interval", Occurs { min: 0, max: Some(1) }, literal(LiteralType::Integer)),
            input("label", Occurs { min: 0, max: Some(3) }, literal(LiteralType::String)),
            input("when", Occurs::OPTIONAL, literal(LiteralType::DateTime)),
        ],
        outputs: vec![
            output("result1", literal(LiteralType::String)),
            OutputDescription {
                publication: Some(Publication {
                    as_layer: true,
                    layer_name: Some("contour".into()),
                    ..Publication::default()
                }),
                ..output("archive", DataDescription::Complex(zip))
            },
        ],
        ..description("default:Dummy")
    }
}

/// Works for so many seconds, and says what it was given.
fn dummy(seconds: u32) -> Arc<Script> {
    Script::described(described(), move |execution: Execution| async move {
        let sink = execution.sink;
        for second in 1..=seconds {
            sink.sleep(Duration::from_secs(1)).await;
            if sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
            #[allow(clippy::cast_precision_loss)]
            sink.progress(second as f32 * 100.0 / seconds as f32, None);
        }
        sink.log(LogLine { source: LogSource::Stdout, text: "step a=1 & b=2, 50% done + more".into() });
        let given: Vec<String> = execution
            .inputs
            .iter()
            .map(|(id, values)| {
                let texts: Vec<_> =
                    values.iter().map(|value| String::from_utf8(bytes_of(value).to_vec()).unwrap()).collect();
                format!("{id}={}", texts.join(","))
            })
            .collect();
        let text = LiteralValue::new(LiteralType::String, given.join(" & "));
        sink.write("result1", Value::Literal(text)).await?;
        let zip = ComplexValue::new(Data::Bytes("PK".into()), Format::base64("application/zip"));
        sink.write("archive", Value::Complex(zip)).await
    })
}

fn request(execution: &str) -> String {
    format!("topic=request&id={execution}&baseURL=http://h/&message=%80%02%7Dq%00%28u.")
}

async fn met(room: &Room) -> StockServer {
    let server = StockServer::enter(room).await;
    server.sees_come(MASTER).await;
    server
}

#[tokio::test(start_paused = true)]
async fn a_run_from_the_invitation_to_finish() {
    let cluster = Cluster::new();
    let agent = StockAgent::start(&cluster.room, 1, vec![dummy(12)]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &testdata("bodies/01-invite.txt")).await;
    let register = server.hears(MASTER, "register", 1).await;
    assert!(register.starts_with("topic=register&service=default.Dummy&message=%7B"));
    server.say(MASTER, &testdata("bodies/03-getloadavg.txt")).await;
    let load = server.hears(MASTER, "loadavg", 1).await;
    assert!(
        load.starts_with("topic=loadavg&id=master&message=loadavg&result_vmem=")
            && load.contains("%3A%202.0%2C")
    );

    server.say(MASTER, &testdata("bodies/05-request-list-and-date.txt")).await;
    let (id, bot) = ("b00000000000001", bot("b00000000000001"));
    server.sees_come(&bot).await;
    let first = server.hears(&bot, "progress", 1).await;
    assert!(first.starts_with(&format!("topic=progress&id={id}&message=8.333")), "{first}");
    let completed = server.hears(&bot, "completed", 1).await;
    assert_eq!(server.heard(&bot, "progress").len(), 12);
    let line = "step%20a%3D1%20%26%20b%3D2%2C%2050%25%20done%20%2B%20more";
    assert_eq!(server.heard(&bot, "log"), [format!("topic=log&id={id}&level=INFO&message={line}")]);
    let begins = format!(
        "topic=completed&id={id}&baseURL=http://localhost:8080/geoserver/&message=completed&result1="
    );
    assert!(completed.starts_with(&begins), "{completed}");
    let outputs = outputs(&completed);
    let value =
        |name: &str, member: &str| outputs[name][format!("{name}_{member}")].as_str().unwrap().to_owned();
    assert_eq!(value("result1", "type"), "textual");
    assert_eq!(value("result1", "value"), "interval=112 & label=abc,d-e & when=2026-01-02T03:04:05");
    assert_eq!(value("result_archive", "type"), "application/zip");
    assert_eq!(
        (value("result_archive", "layer_name"), value("result_archive", "title")),
        ("contour".into(), "archive".into())
    );
    assert_eq!(
        (&outputs["result_archive"]["result_archive_pub"], &outputs["result1"]["result1_pub"]),
        (&true.into(), &false.into())
    );
    let path = value("result_archive", "value");
    assert!(path.starts_with(agent.shared.path().to_str().unwrap()) && path.ends_with("/archive.zip"));
    assert_eq!(std::fs::read(path).unwrap(), b"PK");

    let before = Instant::now();
    server.hears(&bot, "completed", 2).await;
    assert_eq!(before.elapsed().as_secs(), 10, "said again until it is acknowledged");
    server.say(&bot, &testdata("bodies/09-finish.txt")).await;
    server.sees_go(&bot).await;
    agent.has_folders(0).await;
    assert!(server.sees(MASTER));
}

#[tokio::test(start_paused = true)]
async fn an_abort_kills_the_work_before_the_occupant_leaves() {
    let cluster = Cluster::new();
    // Dies when the test lets it.
    let (let_die, dies) = tokio::sync::watch::channel(false);
    let slow = Script::described(described(), move |execution: Execution| {
        let mut dies = dies.clone();
        async move {
            execution.sink.cancelled().await;
            dies.wait_for(|dies| *dies).await.map_err(Error::internal)?;
            Err(Error::Dismissed)
        }
    });
    let agent = StockAgent::start(&cluster.room, 1, vec![slow]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &request("c1")).await;
    server.sees_come(&bot("c1")).await;
    server.say(&bot("c1"), &testdata("bodies/12-abort.txt")).await;
    holds_for(Duration::from_secs(7), "the occupant stays while its process lives", || {
        server.sees(&bot("c1"))
    })
    .await;
    let_die.send_replace(true);
    server.sees_go(&bot("c1")).await;
    for topic in ["completed", "error"] {
        assert_eq!(server.heard(&bot("c1"), topic), [""; 0], "{topic}");
    }
    agent.has_folders(0).await;
}

#[tokio::test(start_paused = true)]
async fn one_error_is_said_and_the_occupant_leaves() {
    let cluster = Cluster::new();
    let fail = Script::described(described(), |_| async {
        Err(Error::process_failed("something = bad & 100% odd; cafe"))
    });
    let _agent = StockAgent::start(&cluster.room, 1, vec![fail]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &request("e00000000000013")).await;
    let said = server.hears(&bot("e00000000000013"), "error", 1).await;
    assert_eq!(said, testdata("bodies/10-error-from-abort-line.txt"), "as it was caught");
    server.sees_go(&bot("e00000000000013")).await;
    holds_for(Duration::from_secs(60), "one error", || {
        server.heard(&bot("e00000000000013"), "error").len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_faults_of_the_inputs_are_said_at_once_and_what_is_not_known_is_left_out() {
    let cluster = Cluster::new();
    let _agent = StockAgent::start(&cluster.room, 1, vec![dummy(0)]);
    let server = met(&cluster.room).await;
    // {'interval': 'many', 'when': 'soon', 'x': 1}
    let pickle = "%80%02%7D%28X%08%00%00%00intervalX%04%00%00%00manyX%04%00%00%00whenX%04%00%00%00soonX%01%00%00%00xK%01u.";
    server.say(MASTER, &format!("topic=request&id=f1&baseURL=http://h/&message={pickle}")).await;
    let said = server.hears(&bot("f1"), "error", 1).await;
    assert!(
        said.contains("%27interval%27") && said.contains("%27when%27") && !said.contains("%27x%27"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn runs_beyond_the_capacity_are_refused_as_the_original_does() {
    let cluster = Cluster::new();
    let _agent = StockAgent::start(&cluster.room, 2, vec![dummy(30)]);
    let server = met(&cluster.room).await;
    for id in ["d00000000000000", "d00000000000001", "d00000000000002", "d00000000000001"] {
        server.say(MASTER, &request(id)).await;
    }
    let refused = server.hears(MASTER, "cantexec", 1).await;
    assert_eq!(refused, testdata("bodies/11-cantexec-capacity.txt"));
    server.hears(&bot("d00000000000000"), "completed", 1).await;
    server.say(&bot("d00000000000000"), "topic=finish").await;
    server.sees_go(&bot("d00000000000000")).await;
    // GeoServer offers it again under the same name.
    server.say(MASTER, &request("d00000000000002")).await;
    server.hears(&bot("d00000000000002"), "completed", 1).await;
    assert_eq!(server.heard(MASTER, "cantexec").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_but_the_orchestrator_is_heard() {
    let cluster = Cluster::new();
    let _agent = StockAgent::start(&cluster.room, 1, vec![dummy(5)]);
    let server = met(&cluster.room).await;
    let stranger = StockServer::enter_as(&cluster.room, "mallory", "orchestrator@geoserver.org").await;
    for body in ["topic=invite", "topic=getloadavg", &request("m1")] {
        stranger.say(MASTER, body).await;
    }
    server.say(MASTER, &request("a1")).await;
    server.sees_come(&bot("a1")).await;
    for body in ["topic=abort", "topic=finish"] {
        stranger.say(&bot("a1"), body).await;
    }
    server.hears(&bot("a1"), "completed", 1).await;
    assert!(!server.sees(&bot("m1")));
    assert_eq!(stranger.heard(MASTER, "register"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_left_without_an_answer_and_harms_nobody() {
    let cluster = Cluster::new();
    let _agent = StockAgent::start(&cluster.room, 1, vec![dummy(1)]);
    let server = met(&cluster.room).await;
    let bomb = "topic=request&id=x1&baseURL=http://h/&message=cos%0Asystem%0A%28S%27id%27%0AtR.";
    for body in [
        "topic=nonsense",
        "hello",
        "topic=finish",
        "topic=request&id=../../etc&baseURL=x&message=%80%02%7D.",
        bomb,
    ] {
        server.say(MASTER, body).await;
    }
    server.say(MASTER, &request("a1")).await;
    server.hears(&bot("a1"), "completed", 1).await;
    assert!(!server.sees(&bot("x1")));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_a_cut_swallowed_is_said_when_the_session_is_back() {
    let cluster = Cluster::new();
    let _agent = StockAgent::start(&cluster.room, 1, vec![dummy(20)]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &request("a1")).await;
    server.hears(&bot("a1"), "progress", 3).await;
    cluster.room.cut("default.dummy");
    is_gone_for(Duration::from_secs(60)).await;
    cluster.room.restore("default.dummy");
    server.hears(&bot("a1"), "completed", 1).await;
    server.sees_come(MASTER).await;
    server.say(&bot("a1"), "topic=finish").await;
    server.sees_go(&bot("a1")).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_stopped_ends_its_runs_says_so_and_leaves() {
    let cluster = Cluster::new();
    let agent = StockAgent::start(&cluster.room, 1, vec![dummy(1000)]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &request("a1")).await;
    server.hears(&bot("a1"), "progress", 3).await;
    agent.shutdown.cancel();
    let said = server.hears(&bot("a1"), "error", 1).await;
    assert!(said.ends_with("%22the%20agent%20was%20stopped%22"), "{said}");
    server.sees_go(MASTER).await;
    server.sees_go(&bot("a1")).await;
    eventually("the agent ends", || agent.task.is_finished()).await;
    agent.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn services_come_change_and_go_while_runs_go_on() {
    let cluster = Cluster::new();
    let agent = StockAgent::start(&cluster.room, 2, vec![dummy(60)]);
    let server = met(&cluster.room).await;
    server.say(MASTER, &request("a1")).await;
    server.hears(&bot("a1"), "progress", 1).await;
    let mut renamed = described();
    renamed.title = "Better".into();
    agent.services.send_replace(services(vec![Script::described(renamed, |_| async { Ok(()) })]));
    // GeoServer takes a new description of a service that has left and comes again.
    server.has_seen(MASTER, 2).await;
    server.say(MASTER, "topic=invite").await;
    let register = server.hears(MASTER, "register", 1).await;
    assert!(register.contains("%22default.Dummy%22"), "{register}");
    agent.services.send_replace(vec![]);
    server.sees_go(MASTER).await;
    server.hears(&bot("a1"), "completed", 1).await;
}

#[tokio::test(start_paused = true)]
async fn our_server_and_our_agent_understand_each_other_over_this_wire_too() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = StockAgent::start_for(&cluster.room, "orchestrator@test", 1, vec![dummy(3)]);
    let interval = Value::Literal(LiteralValue::new(LiteralType::Integer, "7"));
    let job =
        server.execute_with("default:Dummy", Inputs::new(vec![("interval".into(), vec![interval])])).await;
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Ok(()));
    let seen = sink.seen();
    assert_eq!((seen.progress.last(), seen.log.len()), (Some(&100.0), 1));
    assert_eq!(seen.outputs[0], ("result1".to_owned(), "interval=7".into()));
    assert_eq!(seen.outputs[1].0, "result_archive");
    let dismissed = server.execute_with("default:Dummy", Inputs::new(vec![])).await;
    dismissed.sink.until(|seen| !seen.started.is_empty()).await;
    dismissed.sink.cancel.cancel();
    assert_eq!(dismissed.end().await, Err(Error::Dismissed));
}

#[test]
fn services_that_geoserver_could_not_use_are_named() {
    let settings = WpsRemoteSettings {
        rooms: vec![ROOM.into()],
        room_password: None,
        domain: "geoserver.org".into(),
        host: "vm".into(),
        orchestrator: "admin@test".into(),
        capacity: 1,
        folder: "/".into(),
        shared_folder: None,
        shared_keep: None,
        shutdown: Duration::ZERO,
    };
    let named = |id: &str| ProcessDescription { id: ProcessId::new(id).unwrap(), ..described() };
    let archive =
        WpsRemoteError::NoSharedFolder { service: "default:Dummy".into(), output: "archive".into() };
    assert_eq!(settings.check(&named("default:Dummy"), &[]), Err(archive));
    let room = WpsRemoteError::NoRoom { service: "gs:Dummy".into(), namespace: "gs".into() };
    assert_eq!(settings.check(&named("gs:Dummy"), &[]), Err(room));
    assert_eq!(
        settings.check(&named("default:a.b"), &[]),
        Err(WpsRemoteError::Dot { service: "default:a.b".into() })
    );
    let text = ProcessDescription { outputs: described().outputs[..1].to_vec(), ..described() };
    assert_eq!(settings.check(&text, &[]), Ok(()));
}
