//! The commands of people: run, jobs, agents, kill, log, check.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, binary, command, eventually, processes_with, script_service};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::process::Output;

async fn anabranch(server: &Server, arguments: &[&str]) -> Output {
    command(binary()).args(arguments).args(["--server", &server.url("/")]).output().await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn run_prints_small_results_and_saves_what_it_is_told_to() {
    let server = Server::start().await;
    let said = anabranch(&server, &["run", "echo", "-i", "literalInput=hello world"]).await;
    assert!(said.status.success(), "{}", err(&said));
    assert!(out(&said).contains("literalOutput: hello world"), "{}", out(&said));
    let file = server.data.path().join("out.geojson");
    let lines = server.data.path().join("lines.geojson");
    std::fs::write(&lines, r#"{"type":"LineString","coordinates":[[0,0],[1,0.001],[2,0]]}"#).unwrap();
    let arguments = [
        "run",
        "simplify_douglas_peucker",
        "-i",
        &format!("data=@{}", lines.display()),
        "-i",
        "tolerance=0.1",
        "-o",
        &format!("result={}", file.display()),
    ];
    let saved = anabranch(&server, &arguments).await;
    assert!(saved.status.success(), "{}", err(&saved));
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        r#"{"type":"LineString","coordinates":[[0,0],[2,0]]}"#
    );
    let wrong = anabranch(&server, &["run", "echo", "-i", "nothing=1"]).await;
    assert!(wrong.status.code() == Some(1) && err(&wrong).contains("no input 'nothing'"), "{}", err(&wrong));
    let nobody = command(binary()).args(["jobs", "--server", "http://127.0.0.1:9"]).output().await.unwrap();
    assert_eq!(nobody.status.code(), Some(3), "{}", err(&nobody));
}

#[tokio::test]
async fn ctrl_c_dismisses_and_kills() {
    let service = script_service("Long", "echo begun >&2; sleep 930.25", "");
    let server = Server::start().await;
    let _agent = Agent::start(&server, "a1", &[("long.toml", &service)]);
    server.published("default:Long", true).await;
    let child = command(binary())
        .args(["run", "default:Long", "--server", &server.url("/")])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it runs", DEADLINE, async || (!processes_with("930.25").is_empty()).then_some(())).await;
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", err(&output));
    assert!(err(&output).contains("dismissed"), "{}", err(&output));
    assert!(processes_with("930.25").is_empty());
}

#[tokio::test]
async fn jobs_agents_log_and_kill() {
    let service = script_service("Talk", "echo one >&2; echo two >&2; sleep 940.25", "");
    let server = Server::start().await;
    let _agent = Agent::start(&server, "talker", &[("talk.toml", &service)]);
    server.published("default:Talk", true).await;
    let job = server.submit("default:Talk", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    assert!(out(&anabranch(&server, &["agents"]).await).contains("talker"));
    assert!(out(&anabranch(&server, &["jobs", "--status", "running"]).await).contains(&job));
    eventually("the log", DEADLINE, async || {
        out(&anabranch(&server, &["log", &job]).await).contains("two").then_some(())
    })
    .await;
    let following = command(binary())
        .args(["log", &job, "--follow", "--server", &server.url("/")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let killed = anabranch(&server, &["kill", &job]).await;
    assert!(out(&killed).contains("dismissed"), "{} {}", out(&killed), err(&killed));
    let followed = tokio::time::timeout(DEADLINE, following.wait_with_output()).await.unwrap().unwrap();
    assert!(out(&followed).contains("one\ntwo"), "{}", out(&followed));
    assert!(processes_with("940.25").is_empty());
}

#[tokio::test]
async fn check_lists_every_fault_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(
        &bad,
        "identifier = \"A b\"\ntitel = \"x\"\n[inputs.n]\ntype = \"integer\"\ndefault = \"many\"\n",
    )
    .unwrap();
    let good = folder.path().join("good.toml");
    std::fs::write(&good, script_service("Good", "true", "")).unwrap();
    let output = command(binary()).arg("check").args([&bad, &good]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    for place in ["bad.toml:1:", "bad.toml:2:", "bad.toml:5:", "good, publishes default:Good"] {
        assert!(text.contains(place), "{place} in {text}");
    }
    assert!(text.contains("titel") && text.contains("title"), "a misspelt key is explained: {text}");
}
