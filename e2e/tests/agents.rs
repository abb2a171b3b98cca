//! Agents that come and go, servers that die, links that break.

#![allow(clippy::unwrap_used)]

use e2e::link::Link;
use e2e::{
    Agent, DEADLINE, Server, agent_binary, binary, command, eventually, processes_with, script_service,
};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

fn empty() -> Value {
    json!({ "inputs": {} })
}

#[tokio::test]
async fn a_killed_server_finds_its_runs_again() {
    let service =
        script_service("Long", "sleep 4; head -c 300000 /dev/zero | tr '\\0' x > big; printf survived", "");
    let mut server = Server::start().await;
    let agent = Agent::start(&server, "a1", &[("long.toml", &service)]);
    server.published("default:Long", true).await;
    let job = server.submit("default:Long", &empty()).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    server.kill().await;
    server.start_again().await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status} {}", agent.log());
    assert_eq!(server.get(&format!("/jobs/{job}/results")).await.text(), "survived");
}

#[tokio::test]
async fn jobs_that_wait_for_an_agent_survive_a_killed_server() {
    let service = script_service("One", "sleep 1; printf done", "").replace("runs = 4", "runs = 1");
    let mut server = Server::start().await;
    let _agent = Agent::start(&server, "a1", &[("one.toml", &service)]);
    server.published("default:One", true).await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(server.submit("default:One", &empty()).await);
    }
    server.job_in(&jobs[0], &["running"], DEADLINE).await;
    server.kill().await;
    server.start_again().await;
    for job in &jobs {
        let status = server.job_in(job, &["successful", "failed"], DEADLINE).await;
        assert_eq!(status["status"], "successful", "{status}");
    }
}

#[tokio::test]
async fn a_server_stopped_in_order_leaves_remote_runs_alone() {
    let service = script_service("Long", "sleep 3; printf survived", "");
    let mut server = Server::start().await;
    let _agent = Agent::start(&server, "a1", &[("long.toml", &service)]);
    server.published("default:Long", true).await;
    let job = server.submit("default:Long", &empty()).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    assert!(server.stop().await.success(), "{}", server.log());
    server.start_again().await;
    server.job_in(&job, &["successful"], DEADLINE).await;
}

#[tokio::test]
async fn a_lost_run_of_an_idempotent_process_is_repeated_elsewhere() {
    let service = script_service("Once", "sleep 1.5; printf done", "idempotent = true");
    let server = Server::start().await;
    let mut first = Agent::start(&server, "a1", &[("once.toml", &service)]);
    server.published("default:Once", true).await;
    let job = server.submit("default:Once", &empty()).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    first.kill().await;
    let _second = Agent::start(&server, "a2", &[("once.toml", &service)]);
    let status = server.job_in(&job, &["successful", "failed"], Duration::from_secs(40)).await;
    assert_eq!(status["status"], "successful", "{status}");
}

#[tokio::test]
async fn a_service_file_says_what_becomes_of_runs_that_die_with_their_agent() {
    let server = Server::start().await;
    let again = script_service("Again", "sleep 1.5; printf done", "on_agent_restart = \"requeue\"");
    let never =
        script_service("Never", "sleep 1.5; printf done", "idempotent = true\non_agent_restart = \"fail\"");
    let services = [("again.toml", again.as_str()), ("never.toml", never.as_str())];
    let mut agent = Agent::start(&server, "a1", &services);
    let mut jobs = Vec::new();
    for process in ["default:Again", "default:Never"] {
        server.published(process, true).await;
        let job = server.submit(process, &empty()).await;
        server.job_in(&job, &["running"], DEADLINE).await;
        jobs.push(job);
    }
    agent.kill().await;
    agent.start_again(&server, "a1");
    let again = server.job_in(&jobs[0], &["successful", "failed"], DEADLINE).await;
    assert_eq!(again["status"], "successful", "{again}");
    let never = server.job_in(&jobs[1], &["successful", "failed"], DEADLINE).await;
    assert_eq!(never["status"], "failed");
    assert!(never["message"].as_str().unwrap().contains("a1"), "it says who was lost: {never}");
}

#[tokio::test]
async fn links_that_a_killed_agent_left_are_removed_when_it_starts_again() {
    let links = tempfile::tempdir().unwrap();
    let service = script_service("Linked", "sleep 1019", "");
    let link = format!("[command]\nfolder_link = \"{}/{{run.id}}\"", links.path().display());
    let service = service.replace("[command]", &link);
    let server = Server::start().await;
    let mut agent = Agent::start(&server, "a1", &[("linked.toml", &service)]);
    server.published("default:Linked", true).await;
    let job = server.submit("default:Linked", &empty()).await;
    let link = links.path().join(&job);
    eventually("the link", DEADLINE, async || link.symlink_metadata().is_ok().then_some(())).await;
    agent.kill().await;
    assert!(link.symlink_metadata().is_ok(), "nobody could remove it");
    agent.start_again(&server, "a1");
    eventually("no link", DEADLINE, async || link.symlink_metadata().is_err().then_some(())).await;
}

#[tokio::test]
async fn runs_spread_over_agents_and_all_of_them_can_be_lost() {
    let service = script_service("Spread", "sleep 1; printf \"$TMPDIR\"", "");
    let server = Server::start().await;
    let mut agents: Vec<Agent> =
        ["a1", "a2"].iter().map(|name| Agent::start(&server, name, &[("spread.toml", &service)])).collect();
    eventually("two agents", DEADLINE, async || {
        let agents = server.get("/console?f=json").await.json();
        let ready = agents["agents"]
            .as_array()?
            .iter()
            .filter(|a| a["connected"] == true && a["services"] != json!([]));
        (ready.count() == 2).then_some(())
    })
    .await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(server.submit("default:Spread", &empty()).await);
    }
    let mut places = HashSet::new();
    for job in &jobs {
        server.job_in(job, &["successful"], DEADLINE).await;
        let folder = server.get(&format!("/jobs/{job}/results")).await.text();
        places.insert(folder.split("/runs/").next().unwrap().to_owned());
    }
    assert_eq!(places.len(), 2, "runs went to {places:?}");
    for agent in &mut agents {
        agent.kill().await;
    }
    server.published("default:Spread", false).await;
    assert_eq!(server.execute("default:Spread", &empty()).await.status, 404);
}

#[tokio::test]
async fn a_link_cut_for_ten_seconds_costs_nothing() {
    let service = script_service(
        "Through",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i >&2; sleep 1; done; printf through",
        "",
    );
    let server = Server::start().await;
    let link = Link::to(server.xmpp).await;
    let line = std::fs::read_to_string(server.data_folder().join("local.join")).unwrap();
    let line = line.replace(&format!(":{}?", server.xmpp.port()), &format!(":{}?", link.address.port()));
    let _agent = Agent::start_with("a1", &[("through.toml", &service)], &["--join".into(), line]);
    server.published("default:Through", true).await;
    let job = server.submit("default:Through", &empty()).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    link.cut_for(Duration::from_secs(10)).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let log = server.get(&format!("/jobs/{job}/log")).await.json();
    let lines: Vec<&str> = log["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["source"] == "stderr")
        .map(|l| l["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"],
        "each line once and in order"
    );
}

#[tokio::test]
async fn large_values_travel_both_ways() {
    let service = "namespace = \"default\"\nidentifier = \"Copy\"\ntitle = \"Copy\"\n\
        [inputs.data]\ntitle = \"Data\"\ntype = \"complex\"\nformats = [\"image/tiff; application=geotiff\"]\nfile_name = \"in.tif\"\n\
        [outputs.copy]\ntitle = \"Copy\"\ntype = \"complex\"\nformats = [\"image/tiff; application=geotiff\"]\nfile = \"out.tif\"\n\
        [command]\nprogram = \"/bin/cp\"\narguments = [\"{data}\", \"{copy}\"]\n";
    let server = Server::start().await;
    let agent = Agent::start(&server, "a1", &[("copy.toml", service)]);
    server.published("default:Copy", true).await;
    let file = server.data.path().join("in.tif");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let out = server.data.path().join("out.tif");
    let ran = command(binary())
        .args(["run", "default:Copy", "--server", &server.url("/")])
        .args(["-i", &format!("data=@{}", file.display()), "-o", &format!("copy={}", out.display())])
        .output()
        .await
        .unwrap();
    assert!(ran.status.success(), "{} {}", String::from_utf8_lossy(&ran.stderr), agent.log());
    assert!(std::fs::read(out).unwrap() == bytes, "the copy differs");
}

#[tokio::test]
async fn an_agent_stopped_in_order_takes_its_runs_with_it() {
    let service = script_service("Long", "sleep 920.25", "");
    let server = Server::start().await;
    let mut agent = Agent::start(&server, "a1", &[("long.toml", &service)]);
    server.published("default:Long", true).await;
    let job = server.submit("default:Long", &empty()).await;
    eventually("it runs", DEADLINE, async || (!processes_with("920.25").is_empty()).then_some(())).await;
    assert!(agent.stop().await.success(), "{}", agent.log());
    assert!(processes_with("920.25").is_empty());
    server.job_in(&job, &["failed"], DEADLINE).await;
}

#[tokio::test]
async fn lists_of_processes_are_never_old() {
    let server = Server::start().await;
    let mut agents = Vec::new();
    let lists = [
        "/processes?f=json",
        "/wps?service=WPS&request=GetCapabilities",
        "/wps?service=WPS&version=2.0.0&request=GetCapabilities",
    ];
    let names = async |process: &str| {
        let mut names = Vec::new();
        for list in lists {
            // Twice: the second answer is one that the server has kept.
            for _ in 0..2 {
                names.push(server.get(list).await.text().contains(process));
            }
        }
        names
    };
    for (name, process) in [("a1", "default:First"), ("a2", "default:Second")] {
        assert_eq!(names(process).await, [false; 6], "{process}");
        let service = script_service(process.trim_start_matches("default:"), "printf done", "");
        agents.push(Agent::start(&server, name, &[("service.toml", &service)]));
        server.published(process, true).await;
        assert_eq!(names(process).await, [true; 6], "{process}");
    }
    agents[0].stop().await;
    server.published("default:First", false).await;
    assert_eq!(names("default:First").await, [false; 6]);
    assert_eq!(names("default:Second").await, [true; 6]);
}

#[tokio::test]
async fn the_agent_alone_runs_dismisses_and_dies_as_the_agent_does() {
    let marker = format!("sleep 1{:09}", std::process::id());
    let big = script_service("Big", "printf %s \"$1\" | tr x y", "");
    let long = script_service("Long", &format!("{marker} & {marker}"), "");
    let server = Server::start().await;
    let arguments = ["--data".into(), server.data_folder().display().to_string()];
    let services = [("big.toml", big.as_str()), ("long.toml", long.as_str())];
    let mut agent = Agent::start_alone("alone", &services, &arguments);
    for process in ["default:Big", "default:Long"] {
        server.published(process, true).await;
    }

    // Too large for messages: input and output go by HTTP.
    let text = "x".repeat(100_000);
    let job = server.submit("default:Big", &json!({ "inputs": { "text": [text] } })).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status} {}", agent.log());
    let said = server.get(&format!("/jobs/{job}/results")).await.text();
    assert_eq!((said.len(), said.trim_start_matches('y')), (100_000, ""));

    let job = server.submit("default:Long", &empty()).await;
    eventually("it runs", DEADLINE, async || (processes_with(&marker).len() >= 2).then_some(())).await;
    server.delete(&format!("/jobs/{job}")).await;
    server.job_in(&job, &["dismissed"], DEADLINE).await;
    assert_eq!(processes_with(&marker), Vec::<i32>::new());

    assert!(agent.stop().await.success(), "{}", agent.log());
    server.published("default:Long", false).await;
    let mut agent = Agent::start_alone("alone", &services, &arguments);
    server.published("default:Long", true).await;
    server.submit("default:Long", &empty()).await;
    eventually("it runs", DEADLINE, async || (processes_with(&marker).len() >= 2).then_some(())).await;
    agent.kill().await;
    eventually("nothing is left", DEADLINE, async || processes_with(&marker).is_empty().then_some(())).await;
}

/// What a page, the job store and SQLite are known by. Each is in the whole program, so that a text that has changed is seen.
#[tokio::test]
async fn the_agent_alone_holds_nothing_of_the_server() {
    for text in ["<!doctype html>", "CREATE TABLE jobs", "database disk image is malformed"] {
        let holds = async |program: PathBuf| {
            let looked = command("grep").args(["-qaF", text]).arg(program).status().await.unwrap();
            looked.code().filter(|code| *code < 2).expect("grep can read it") == 0
        };
        assert!(holds(binary()).await, "{text:?} is in no program any more: take another one");
        assert!(!holds(agent_binary()).await, "{text:?} is in anabranch-agent");
    }
}
