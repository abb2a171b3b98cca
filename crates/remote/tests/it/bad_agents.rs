//! Agents that are ill-made, slow or mute: none of them harms the others.

use std::time::Duration;

use anabranch_model::*;

use crate::balance::slow;
use crate::cluster::{Cluster, eventually, holds_for};
use crate::doubles::*;
use crate::faults::clock;
use crate::stock::{ACCOUNT, MASTER, Occupant};

/// More than any process has, and than a message may hold.
const INPUTS: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn a_registration_of_10_000_inputs_is_refused_and_the_others_are_published() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let mut huge = description("default:Huge");
    let input = InputDescription {
        title: "One of many".into(),
        ..InputDescription::new(
            "",
            Occurs::ONE,
            DataDescription::Literal(LiteralDomain::any(LiteralType::String)),
        )
    };
    huge.inputs =
        (0..INPUTS).map(|n| InputDescription { id: format!("input-{n}"), ..input.clone() }).collect();
    let huge = Script::described(huge, |_| async { Ok(()) });
    let _agent = cluster.agent("a1", 1, vec![huge, clock(1)]);
    server.registry.published("default:Clock").await;
    let processes = &server.registry.processes;
    holds_for(Duration::from_secs(10), "one process", || processes.borrow().len() == 1).await;
    assert_eq!(server.execute("default:Clock", vec![]).await.end().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_registration_of_10_000_inputs_by_an_agent_of_wps_remote_is_refused_too() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let huge = Occupant::enter(&cluster.room, "mallory", "Huge@geoserver.org/master@vm2").await;
    let input =
        r#"["n","{\"type\": \"string\", \"title\": \"t\", \"description\": \"d\", \"min\": 1, \"max\": 1}"]"#;
    let inputs: Vec<String> = (0..INPUTS).map(|n| input.replacen("\"n\"", &format!("\"n{n}\""), 1)).collect();
    let register = format!(
        r#"{{"title": "default.Huge", "description": "d", "namespace": "default", "input": [{}], "output": [["result1", "{{\"type\": \"string\"}}"]]}}"#,
        inputs.join(",")
    );
    let encoded: String =
        register
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
    huge.say(&format!("topic=register&service=default.Huge&message={encoded}")).await;
    let _good = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    server.registry.published("default:Dummy").await;
    assert!(!server.registry.processes.borrow().contains_key("default:Huge"));
}

#[tokio::test(start_paused = true)]
async fn a_run_at_an_agent_that_registers_and_never_answers_is_lost_and_not_waited_for() {
    let cluster = Cluster::new();
    let server = cluster.server();
    // It registers and tells its load, and no run of it ever comes into the room.
    let master = Occupant::master(&cluster.room, ACCOUNT, MASTER).await;
    let job = server.execute_with("default:Dummy", Inputs::new(vec![])).await;
    master.request(1).await;
    let id = job.id;
    let ended = tokio::time::timeout(Duration::from_secs(600), job.end()).await;
    let error = ended.unwrap_or_else(|_| panic!("{id} is waited for")).unwrap_err();
    assert!(matches!(&error, Error::AgentLost { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_native_agent_that_never_answers_an_execute_is_lost_too() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![slow("default:Slow", Duration::from_secs(1))]);
    server.registry.published("default:Slow").await;
    // Its load reports still come: the connection is fine.
    for kind in ["acknowledge", "accepted", "started", "output", "completed", "failed", "progress", "log"] {
        cluster.room.swallow("a1", kind);
    }
    let job = server.execute("default:Slow", vec![]).await;
    let ended = tokio::time::timeout(Duration::from_secs(600), job.end()).await;
    let error = ended.expect("it is waited for").unwrap_err();
    assert!(matches!(&error, Error::AgentLost { .. }), "{error:?}");
    cluster.room.stop_swallowing();
    eventually("the agent can be used again", || !server.orchestrator.agents().is_empty()).await;
}
