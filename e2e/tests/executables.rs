//! Executables that misbehave, run by an agent, seen through the public interface.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, eventually, processes_with, script_service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn with_services(services: &[(&str, &str)], published: &str) -> (Server, Agent) {
    let server = Server::start().await;
    let agent = Agent::start(&server, "a1", services);
    server.published(published, true).await;
    (server, agent)
}

fn text(value: &str) -> Value {
    json!({ "inputs": { "text": [value] }, "outputs": { "said": {} }, "response": "raw" })
}

#[tokio::test]
async fn a_file_with_faults_does_not_keep_the_others_from_being_published() {
    let good = script_service("Good", "printf good", "");
    let (server, agent) = with_services(
        &[("bad.toml", "identifier = 7\n[inputs.x]\ntype = \"colour\"\n"), ("good.toml", &good)],
        "default:Good",
    )
    .await;
    assert_eq!(server.execute("default:Good", &json!({ "inputs": {} })).await.text(), "good");
    let log = agent.log();
    assert!(log.contains("bad.toml:1") && log.contains("bad.toml:3"), "{log}");
}

#[tokio::test]
async fn values_reach_the_executable_as_they_are() {
    let service = script_service("Say", "for value in \"$@\"; do printf '%s' \"$value\"; done", "");
    let (server, _agent) = with_services(&[("say.toml", &service)], "default:Say").await;
    for value in [
        "two words",
        "\"quotes\" 'and' `more`",
        "line\nbreak",
        "-rf",
        "--help",
        "$(id) ; rm *",
        "Grüße 東京",
        "back\\slash",
    ] {
        let reply = server.execute("default:Say", &text(value)).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, value), "{value:?}");
    }
    let several = json!({ "inputs": { "text": ["a b", "c"] }, "outputs": { "said": {} }, "response": "raw" });
    assert_eq!(server.execute("default:Say", &several).await.text(), "a bc");
    let nul = server.execute("default:Say", &text("a\0b")).await;
    assert!(nul.status == 400 && nul.text().contains("'text'"), "{}", nul.text());
}

#[tokio::test]
async fn failures_say_what_happened() {
    let missing = script_service("Missing", "", "").replace("/bin/sh", "/no/such/program");
    let three = script_service("Three", "echo the disk is on fire >&2; exit 3", "");
    let nothing = script_service("Nothing", ":", "").replace("stdout = true", "file = \"result.txt\"");
    let slow = script_service("Slow", "sleep 600.125", "").replace("5 min", "1 s");
    let files = [("m.toml", missing.as_str()), ("t.toml", &three), ("n.toml", &nothing), ("s.toml", &slow)];
    let (server, _agent) = with_services(&files, "default:Slow").await;
    for (process, parts) in [
        ("default:Missing", &["program", "does not exist"][..]),
        ("default:Three", &["3", "the disk is on fire"]),
        ("default:Nothing", &["said", "result.txt"]),
        ("default:Slow", &["1 s"]),
    ] {
        let reply = server.execute(process, &json!({ "inputs": {} })).await;
        assert_eq!(reply.status, 500, "{process}: {}", reply.text());
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        for part in parts {
            assert!(detail.contains(part), "{process}: {part} in {detail}");
        }
    }
    eventually("the slow one is dead", DEADLINE, async || processes_with("600.125").is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_gigabyte_on_stdout_harms_nobody() {
    let service = script_service("Flood", "head -c 1000000000 /dev/zero; echo >&2 done", "")
        .replace("stdout = true", "file = \"said.txt\"");
    let service = service.replace("head -c", "printf x > said.txt; head -c");
    let (server, agent) = with_services(&[("flood.toml", &service)], "default:Flood").await;
    let reply = server.execute("default:Flood", &text("")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "x"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kb: u64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak_kb < 100_000, "the agent used {peak_kb} kB");
}

#[tokio::test]
async fn dismissing_kills_the_whole_tree_however_it_resists() {
    let stubborn =
        script_service("Stubborn", "trap '' TERM; sleep 700.25 & while :; do sleep 700.25; done", "");
    let runaway = script_service("Runaway", "setsid sh -c 'sleep 800.25 & sleep 800.25' & sleep 800.25", "");
    let (server, _agent) =
        with_services(&[("a.toml", &stubborn), ("b.toml", &runaway)], "default:Runaway").await;
    for (process, marker) in [("default:Stubborn", "700.25"), ("default:Runaway", "800.25")] {
        let job = server.submit(process, &json!({ "inputs": {} })).await;
        eventually("it runs", DEADLINE, async || (processes_with(marker).len() >= 2).then_some(())).await;
        server.delete(&format!("/jobs/{job}")).await;
        let status = server.job_in(&job, &["dismissed"], DEADLINE).await;
        // "dismissed" is a promise: nothing may be left at that moment.
        assert_eq!(processes_with(marker), Vec::<i32>::new(), "{status}");
    }
}

#[tokio::test]
async fn what_a_finished_run_left_behind_is_killed() {
    let service = script_service("Leaver", "setsid sleep 900.25 >/dev/null 2>&1 & printf left", "");
    let (server, _agent) = with_services(&[("leaver.toml", &service)], "default:Leaver").await;
    assert_eq!(server.execute("default:Leaver", &text("")).await.text(), "left");
    eventually("nothing is left", DEADLINE, async || processes_with("900.25").is_empty().then_some(())).await;
}

#[tokio::test]
async fn progress_and_log_arrive_while_it_runs() {
    let script =
        "for p in 10 20 30; do echo progress $p% >&2; echo step $p >&2; done; read -r wait < go; printf end";
    let more = "";
    let service = script_service("Steps", &script.replace("read -r wait < go", "sleep 1"), more)
        + "[[progress]]\nstream = \"stderr\"\npattern = 'progress (\\d+)%'\n";
    let (server, _agent) = with_services(&[("steps.toml", &service)], "default:Steps").await;
    let job = server.submit("default:Steps", &json!({ "inputs": {} })).await;
    let seen = eventually("30 %", DEADLINE, async || {
        let status = server.job(&job).await;
        (status["progress"] == 30 && status["status"] == "running").then_some(status)
    })
    .await;
    assert_eq!(seen["processID"], "default:Steps");
    server.job_in(&job, &["successful"], DEADLINE).await;
    let log = server.get(&format!("/jobs/{job}/log")).await.text();
    assert!(log.contains("step 20"), "{log}");
    let events = server.get(&format!("/jobs/{job}/events?from=2")).await.text();
    assert!(
        !events.contains("step 10") && events.contains("event: status"),
        "known lines are not told again: {events}"
    );
}

#[tokio::test]
async fn killing_the_agent_leaves_nothing_running() {
    let service = script_service("Long", "setsid sleep 910.25 & sleep 910.25", "");
    let (server, mut agent) = with_services(&[("long.toml", &service)], "default:Long").await;
    let job = server.submit("default:Long", &json!({ "inputs": {} })).await;
    eventually("it runs", DEADLINE, async || (processes_with("910.25").len() >= 2).then_some(())).await;
    let killed = Instant::now();
    agent.kill().await;
    eventually("nothing is left", Duration::from_secs(10), async || {
        processes_with("910.25").is_empty().then_some(())
    })
    .await;
    let status = server.job_in(&job, &["failed"], Duration::from_secs(20)).await;
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    assert!(status["message"].as_str().unwrap().contains("a1"), "the reason names the agent: {status}");
}
