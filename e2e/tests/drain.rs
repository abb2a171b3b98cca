//! Agents drained for maintenance, from either side.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, binary, command, eventually, script_service};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;

/// A service that ends when the file is there, and says where it ran.
fn gated(gate: &Path) -> String {
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; printf \"$TMPDIR\"", gate.display());
    script_service("Gated", &script, "")
}

async fn drain(server: &Server, arguments: &[&str]) -> String {
    let mut drain = command(binary());
    let output =
        drain.arg("drain").args(arguments).args(["--server", &server.url("/")]).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{} {stdout}{stderr}", output.status.code().unwrap())
}

async fn console(server: &Server) -> Value {
    server.get("/console?f=json").await.json()
}

async fn obstacle_of_first(server: &Server, wanted: Value) {
    eventually("the agent stands as wanted", DEADLINE, async || {
        (console(server).await["agents"][0]["obstacle"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drained_agent_finishes_its_run_and_the_next_one_goes_elsewhere() {
    let server = Server::start().await;
    let gate = server.data.path().join("gate");
    let service = gated(&gate);
    let first = Agent::start(&server, "a1", &[("gated.toml", &service)]);
    server.published("default:Gated", true).await;
    let begun = server.submit("default:Gated", &json!({ "inputs": {} })).await;
    server.job_in(&begun, &["running"], DEADLINE).await;
    let said = drain(&server, &["a1"]).await;
    assert!(said.starts_with("0 ") && said.contains("/a1 takes no new runs"), "{said}");
    obstacle_of_first(&server, json!("draining")).await;

    let next = server.submit("default:Gated", &json!({ "inputs": {} })).await;
    eventually("it says why it waits", DEADLINE, async || {
        let status = server.get(&format!("/jobs/{next}?f=json")).await.json();
        assert_eq!(status["status"], "accepted", "{status}");
        (status["message"] == "waiting for an agent: all draining").then_some(())
    })
    .await;
    let in_wps = server.get(&format!("/wps/status/{next}")).await.text();
    assert!(in_wps.contains("<wps:ProcessAccepted>waiting for an agent: all draining<"), "{in_wps}");
    eventually("operators see it", DEADLINE, async || {
        let one = json!([{ "process": "default:Gated", "runs": 1, "reason": "all draining" }]);
        (console(&server).await["waiting"] == one).then_some(())
    })
    .await;
    let page = server.get("/console?f=html").await.text();
    assert!(page.contains("Runs that wait for an agent") && page.contains("Take runs again"), "{page}");

    let second = Agent::start(&server, "a2", &[("gated.toml", &service)]);
    server.job_in(&next, &["running"], DEADLINE).await;
    std::fs::write(&gate, "").unwrap();
    for (job, agent) in [(&begun, &first), (&next, &second)] {
        server.job_in(job, &["successful"], DEADLINE).await;
        let place = server.get(&format!("/jobs/{job}/results")).await.text();
        let folder = std::fs::canonicalize(agent.folder.path()).unwrap();
        assert!(place.starts_with(folder.to_str().unwrap()), "{place} is not in {}", folder.display());
    }
    let said = drain(&server, &["a1", "--wait"]).await;
    assert!(said.contains("/a1 is drained: no run is left"), "{said}");
    eventually("the agent says so itself", DEADLINE, async || {
        first.log().contains("drained: no run is left").then_some(())
    })
    .await;
    let said = drain(&server, &["a3"]).await;
    assert!(said.starts_with("1 ") && said.contains("no agent 'a3'"), "{said}");
}

#[tokio::test]
async fn an_agent_is_drained_by_a_signal_and_a_restarted_server_knows() {
    let mut server = Server::start().await;
    let gate = server.data.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let agent = Agent::start(&server, "a1", &[("gated.toml", &gated(&gate))]);
    server.published("default:Gated", true).await;
    let pid = Pid::from_raw(i32::try_from(agent.child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    obstacle_of_first(&server, json!("drained")).await;
    server.kill().await;
    server.start_again().await;
    server.published("default:Gated", true).await;
    obstacle_of_first(&server, json!("drained")).await;
    let job = server.submit("default:Gated", &json!({ "inputs": {} })).await;
    eventually("it waits", DEADLINE, async || {
        let status = server.get(&format!("/jobs/{job}?f=json")).await.json();
        (status["message"] == "waiting for an agent: all draining").then_some(())
    })
    .await;
    kill_process(pid, Signal::USR2).unwrap();
    server.job_in(&job, &["successful"], DEADLINE).await;
}

#[tokio::test]
async fn an_agent_is_full_while_a_program_on_its_list_runs() {
    let server = Server::start().await;
    let mark = format!("e2e-listed-{}", std::process::id());
    let config = server.data.path().join("machine.toml");
    let rules = |line: &str| format!("labels = [\"gpu\"]\n[[load.blacklist]]\ncommand_line = \"{line}\"\n");
    std::fs::write(&config, rules(&mark)).unwrap();
    let arguments = ["--data", "DATA", "--config", "CONFIG"].map(|argument| match argument {
        "DATA" => server.data_folder().display().to_string(),
        "CONFIG" => config.display().to_string(),
        other => other.to_owned(),
    });
    let service = script_service("Quick", "printf done", "");
    let agent = Agent::start_with("a1", &[("quick.toml", &service)], &arguments);
    server.published("default:Quick", true).await;
    obstacle_of_first(&server, Value::Null).await;
    assert_eq!(console(&server).await["agents"][0]["labels"], json!(["gpu"]));
    let mut busy = command("/bin/sh").args(["-c", "while :; do :; done", &mark]).spawn().unwrap();
    obstacle_of_first(&server, json!("full: 'sh' runs, which is on its list")).await;
    let job = server.submit("default:Quick", &json!({ "inputs": {} })).await;
    eventually("it says why it waits", DEADLINE, async || {
        let status = server.get(&format!("/jobs/{job}?f=json")).await.json();
        (status["message"] == "waiting for an agent: all full by their own rules").then_some(())
    })
    .await;
    // The list is changed while the agent runs.
    std::fs::write(&config, rules("nothing-of-this-name")).unwrap();
    let status = server.job_in(&job, &["successful"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{}", agent.log());
    busy.kill().await.unwrap();
}
