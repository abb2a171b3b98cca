//! Agents on machines that are ill: no space, a clock that is wrong, a program that floods its log.

#![allow(clippy::unwrap_used)]

use e2e::xmpp_servers::{Maker, XmppServer};
use e2e::{Agent, Circumstances, DEADLINE, Server, clock_off_by, eventually, post_as, script_service};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mounts a disk of 2 MB at its first argument and runs the rest; in a namespace of its own, so that nobody else sees it.
const SMALL_DISK: &str = "mkdir -p \"$0\" && mount -t tmpfs -o size=2m none \"$0\" && exec \"$@\"";

fn small_disk(at: &Path) -> Vec<String> {
    let words = ["unshare", "-r", "-m", "/bin/sh", "-c", SMALL_DISK];
    words.map(str::to_owned).into_iter().chain([at.display().to_string()]).collect()
}

#[tokio::test]
async fn a_full_disk_on_the_agent_fails_the_run_and_nothing_else() {
    let server = Server::start().await;
    let disk = tempfile::tempdir().unwrap();
    let big = script_service("Big", "head -c 10000000 /dev/zero > big && printf done", "");
    let small = script_service("Small", "printf done", "");
    let arguments = [
        "--data".into(),
        server.data_folder().display().to_string(),
        "--work".into(),
        disk.path().join("runs").display().to_string(),
    ];
    let agent = Agent::start_under(
        &small_disk(disk.path()),
        "a1",
        &[("big.toml", &big), ("small.toml", &small)],
        &arguments,
    );
    server.published("default:Big", true).await;
    for _ in 0..2 {
        let job = server.submit("default:Big", &json!({ "inputs": {} })).await;
        let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
        assert_eq!(status["status"], "failed", "{status} {}", agent.log());
        let log = server.get(&format!("/jobs/{job}/log")).await.text();
        assert!(log.contains("No space left on device"), "{log}");
        // What it has left is removed, so that the next one has the space.
        let said = server.execute("default:Small", &json!({ "inputs": {} })).await;
        assert_eq!((said.status, said.text().as_str()), (200, "done"), "{}", agent.log());
    }
}

#[tokio::test]
async fn a_full_disk_behind_the_shared_folder_is_named() {
    let xmpp = XmppServer::start(Maker::Anabranch).await;
    let server = Server::with_config(&xmpp.server_config()).await;
    let disk = tempfile::tempdir().unwrap();
    let folder = xmpp.folder.path();
    std::fs::write(folder.join("ann"), &xmpp.passwords["ann"]).unwrap();
    let XmppServer { domain, certificate, direct_tls_port, .. } = &xmpp;
    let config = format!(
        "wire = \"wps-remote\"\nhost = \"127.0.0.1\"\nport = {direct_tls_port}\ntls = \"direct\"\n\
         certificate = \"{certificate}\"\naccount = \"ann@{domain}\"\npassword_file = \"ann\"\n\
         rooms = [\"default@conference.{domain}\"]\nroom_password_file = \"xmpp/room-password\"\n\
         orchestrator = \"orchestrator@{domain}\"\nshared_folder = {:?}\n",
        disk.path()
    );
    std::fs::write(folder.join("agent.toml"), config).unwrap();
    let service = "namespace = \"default\"\nidentifier = \"Big\"\ntitle = \"Big\"\n[outputs.archive]\ntitle = \"Archive\"\n\
         type = \"complex\"\nformats = [\"application/zip\"]\nfile = \"out.zip\"\n[command]\nprogram = \"/bin/sh\"\n\
         arguments = [\"-c\", \"head -c 10000000 /dev/zero > out.zip\"]\ntime_limit = \"1 min\"\n";
    let arguments = ["--config".into(), folder.join("agent.toml").display().to_string()];
    let agent = Agent::start_under(&small_disk(disk.path()), "vm", &[("big.toml", service)], &arguments);
    server.published("default:Big", true).await;
    let job = server.submit("default:Big", &json!({ "inputs": {} })).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    let message = status["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("output 'archive' can't be put into the shared folder: No space left on device"),
        "{status} {}",
        agent.log()
    );
}

#[tokio::test]
async fn a_clock_that_is_an_hour_wrong_is_no_fault() {
    for offset in ["+1h", "-1h"] {
        let server = Server::start().await;
        // The result is too large for a message, so that it takes a signed URL.
        let service = script_service("Large", "head -c 300000 /dev/zero | tr '\\0' x", "");
        let wrong = clock_off_by(offset).into_iter().map(|(name, value)| format!("{name}={value}"));
        let faked: Vec<_> = ["env".to_owned()].into_iter().chain(wrong).collect();
        let arguments = ["--data".into(), server.data_folder().display().to_string()];
        let agent = Agent::start_under(&faked, "a1", &[("large.toml", &service)], &arguments);
        server.published("default:Large", true).await;
        let job = server.submit("default:Large", &json!({ "inputs": {} })).await;
        let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
        assert_eq!(status["status"], "successful", "{offset}: {status} {}", agent.log());
        assert_eq!(server.get(&format!("/jobs/{job}/results")).await.body.len(), 300_000, "{offset}");
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded_and_starves_nobody() {
    let server = Server::start().await;
    // Some hundred thousand lines a second, for as long as it is let.
    let flood = script_service("Flood", "exec yes 'a line of the log, as long as lines are' >&2", "");
    let quick = script_service("Quick", "printf done", "");
    let agent = Agent::start(&server, "a1", &[("flood.toml", &flood), ("quick.toml", &quick)]);
    server.published("default:Flood", true).await;
    server.published("default:Quick", true).await;
    let job = server.submit("default:Flood", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    let since = Instant::now();
    for _ in 0..10 {
        let said = server.execute("default:Quick", &json!({ "inputs": {} })).await;
        assert_eq!((said.status, said.text().as_str()), (200, "done"), "{}", agent.log());
    }
    assert!(since.elapsed() < Duration::from_secs(20), "ten runs took {:?}", since.elapsed());
    server.delete(&format!("/jobs/{job}")).await;
    server.job_in(&job, &["dismissed"], DEADLINE).await;
    let log = server.get(&format!("/jobs/{job}/log")).await;
    assert!(log.body.len() < 20 << 20, "{} bytes of log", log.body.len());
}

/// A disk that is full: new jobs are refused with that reason, what runs comes to a true end, and with space all is well again.
#[tokio::test]
async fn a_full_disk_under_the_server_refuses_jobs_until_there_is_space() {
    let services = tempfile::tempdir().unwrap();
    let late = script_service("Late", "sleep 2; printf late", "");
    std::fs::write(services.path().join("late.toml"), late).unwrap();
    // The disk is smaller than what a server keeps free by default.
    let limits = "[limits]\nfree_bytes_min = 0\nfree_bytes_stop = 0\n";
    let config = format!("{limits}[services]\nfolder = {:?}\n", services.path());
    let disk = |data: &Path| Circumstances { before: small_disk(data), ..Circumstances::default() };
    let server = Server::start_in(&config, disk).await;
    let late = server.submit("default:Late", &json!({ "inputs": {} })).await;
    // It is mounted for the server only.
    let root = format!("/proc/{}/root", server.pid().as_raw_nonzero());
    let filler = PathBuf::from(format!("{root}{}/filler", server.data_folder().display()));
    let submit = async || {
        let url = server.url("/processes/echo/execution");
        let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async")];
        post_as(&url, &headers, r#"{ "inputs": { "literalInput": "x" } }"#).await
    };
    fill(&filler);
    eventually("jobs are refused", DEADLINE, async || {
        let reply = submit().await;
        assert!(reply.status == 507 || reply.status == 201, "{} {}", reply.status, reply.text());
        (reply.status == 507).then_some(())
    })
    .await;
    assert_eq!(server.get("/processes").await.status, 200, "the rest goes on");
    std::fs::remove_file(&filler).unwrap();
    let job = server.job_in(&late, &["successful", "failed"], DEADLINE).await;
    let message = job["message"].as_str().unwrap_or_default();
    assert!(job["status"] == "successful" || message.contains("storage"), "{job}");
    eventually("jobs are taken again", DEADLINE, async || (submit().await.status == 201).then_some(())).await;
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
