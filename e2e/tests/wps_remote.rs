//! The wire form of GeoServer's WPS Remote over real XMPP servers: our server with our agent, and with a foreign
//! client that plays an agent of the original.

#![allow(clippy::unwrap_used)]

use e2e::xmpp_servers::{Maker, XmppServer};
use e2e::{Agent, DEADLINE, Server, binary, command, eventually, processes_with, script_service};
use serde_json::json;
use std::path::Path;

const ZIPPED: &str = r#"
namespace = "default"
identifier = "Zipped"
title = "Zipped"
[outputs.archive]
title = "Archive"
type = "complex"
formats = ["application/zip"]
file = "out.zip"
[command]
program = "/bin/sh"
arguments = ["-c", "head -c 300000 /dev/zero > out.zip"]
time_limit = "1 min"
"#;

/// Our agent, logged in as `ann`, as it would come to GeoServer.
fn agent(xmpp: &XmppServer, shared: &Path, services: &[(&str, &str)]) -> Agent {
    let folder = xmpp.folder.path();
    std::fs::write(folder.join("ann"), &xmpp.passwords["ann"]).unwrap();
    let room_password = match xmpp.maker {
        Maker::Anabranch => "room_password_file = \"xmpp/room-password\"\n",
        Maker::Prosody | Maker::Ejabberd => "",
    };
    let config = folder.join("geoserver-agent.toml");
    let XmppServer { domain, certificate, direct_tls_port, .. } = xmpp;
    let text = format!(
        "wire = \"wps-remote\"\nhost = \"127.0.0.1\"\nport = {direct_tls_port}\ntls = \"direct\"\n\
         certificate = \"{certificate}\"\naccount = \"ann@{domain}\"\npassword_file = \"ann\"\n\
         rooms = [\"default@conference.{domain}\"]\n{room_password}orchestrator = \"orchestrator@{domain}\"\n\
         shared_folder = \"{}\"\n",
        shared.display()
    );
    std::fs::write(&config, text).unwrap();
    Agent::start_with("vm", services, &["--config".into(), config.display().to_string()])
}

async fn works(maker: Maker) {
    let xmpp = XmppServer::start(maker).await;
    let shared = tempfile::tempdir().unwrap();
    let config = format!(
        "{}\n[wps_remote]\nshared_folders = [\"{}\"]\n",
        xmpp.server_config(),
        shared.path().display()
    );
    let server = Server::with_config(&config).await;
    let shout = script_service("Shout", "printf 'I am %s' \"$1\"", "");
    let slow = script_service("Slow", "sleep 1017", "");
    let services = [("shout.toml", shout.as_str()), ("slow.toml", slow.as_str()), ("zipped.toml", ZIPPED)];
    let mut agent = agent(&xmpp, shared.path(), &services);
    for process in ["default:Shout", "default:Slow", "default:Zipped"] {
        server.published(process, true).await;
    }
    let said = server.execute("default:Shout", &json!({ "inputs": { "text": "50% & = done" } })).await;
    assert_eq!((said.status, said.text().as_str()), (200, "I am 50% & = done"), "{}", agent.log());
    let archive = server.execute("default:Zipped", &json!({ "inputs": {} })).await;
    assert_eq!((archive.status, archive.body.len()), (200, 300_000), "{} {}", archive.text(), agent.log());
    assert_eq!(archive.content_type, "application/zip");

    let job = server.submit("default:Slow", &json!({ "inputs": {} })).await;
    eventually("it runs", DEADLINE, async || (!processes_with("sleep\x001017").is_empty()).then_some(()))
        .await;
    server.delete(&format!("/jobs/{job}")).await;
    server.job_in(&job, &["dismissed"], DEADLINE).await;
    assert_eq!(processes_with("sleep\x001017"), [0_i32; 0], "dismissed means dead");

    assert!(agent.stop().await.success(), "{}", agent.log());
    server.published("default:Shout", false).await;
}

#[tokio::test]
async fn our_agent_serves_an_orchestrator_at_our_xmpp_server() {
    works(Maker::Anabranch).await;
}

#[tokio::test]
async fn our_agent_serves_an_orchestrator_at_prosody() {
    works(Maker::Prosody).await;
}

#[tokio::test]
async fn our_agent_serves_an_orchestrator_at_ejabberd() {
    works(Maker::Ejabberd).await;
}

/// An account at the server's own XMPP server, with its password.
async fn invited(server: &Server, account: &str) -> String {
    let invite = command(binary())
        .args(["invite", account, "--host", "127.0.0.1", "--data"])
        .arg(server.data_folder())
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(invite.stdout).unwrap();
    let join = line.split('\'').nth(1).unwrap();
    let url = url::Url::parse(join).unwrap();
    // Letters, digits, and what is percent-encoded because it might be something else.
    let password = format!("p={}", url.password().unwrap());
    url::form_urlencoded::parse(password.as_bytes()).next().unwrap().1.into_owned()
}

#[tokio::test]
async fn a_foreign_client_that_plays_an_agent_of_the_original_runs_for_our_server() {
    let shared = tempfile::tempdir().unwrap();
    let server =
        Server::with_config(&format!("[wps_remote]\nshared_folders = [\"{}\"]\n", shared.path().display()))
            .await;
    let password = invited(&server, "default.dummy").await;
    let room_password = std::fs::read_to_string(server.data_folder().join("xmpp/room-password")).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Debian's Python, which has Debian's slixmpp.
    let mut agent = command("/usr/bin/python3")
        .arg(here.join("wps_remote_agent.py"))
        .arg(server.xmpp_tls.port().to_string())
        .arg(server.data_folder().join("xmpp/cert.pem"))
        .args(["anabranch.local", "default.dummy", &password])
        .arg(room_password.trim())
        .arg(here.join("../crates/remote/testdata/wps-remote/bodies"))
        .arg(shared.path())
        .spawn()
        .unwrap();
    server.published("default:Dummy", true).await;

    let inputs = json!({ "interval": 112, "label": ["abc", "d e & f"], "when": "2026-01-02T03:04:05Z" });
    let run = |output: &str| json!({ "inputs": inputs, "outputs": { output: {} }, "response": "raw" });
    let text = server.execute("default:Dummy", &run("result1")).await;
    let given: serde_json::Value = serde_json::from_str(&text.text()).unwrap();
    let wanted = json!({ "interval": 112, "label": ["abc", "d e & f"], "when": "2026-01-02 03:04:05" });
    assert_eq!(given, wanted, "as Python loads the pickle");
    let archive = server.execute("default:Dummy", &run("result2")).await;
    assert_eq!(
        (archive.status, archive.content_type.as_str()),
        (200, "application/zip"),
        "{}",
        archive.text()
    );
    assert_eq!(archive.body, b"PK");

    let job = server.submit("default:Dummy", &json!({ "inputs": { "interval": 60 } })).await;
    eventually("progress", DEADLINE, async || (server.job(&job).await["progress"] == 41).then_some(())).await;
    let log = server.get(&format!("/jobs/{job}/log")).await.text();
    assert!(log.contains("step a=1 & b=2, 50% done + more"), "{log}");
    server.delete(&format!("/jobs/{job}")).await;
    server.job_in(&job, &["dismissed"], DEADLINE).await;

    agent.kill().await.unwrap();
    server.published("default:Dummy", false).await;
}
