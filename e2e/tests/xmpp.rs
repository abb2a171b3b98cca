//! The XMPP port under attack, wrong passwords, and agents that join by invitation.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, binary, command, eventually, script_service};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='anabranch.local' version='1.0'>";

async fn works(server: &Server, name: &str) {
    let service = script_service("Hello", "printf hello", "");
    let _agent = Agent::start(server, name, &[("hello.toml", &service)]);
    server.published("default:Hello", true).await;
    let reply = server.execute("default:Hello", &json!({ "inputs": {} })).await;
    assert_eq!(reply.text(), "hello");
}

#[tokio::test]
async fn a_depth_bomb_before_login_harms_nobody() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.xmpp).await.unwrap();
    let bomb = format!("{HEADER}{}", "<a>".repeat(100_000));
    // The server may hang up before it has read all of it.
    let _hung_up = stream.write_all(bomb.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server must hang up");
    works(&server, "a1").await;
    assert!(!server.log().contains("overflow"), "{}", server.log());
}

#[tokio::test]
async fn two_hundred_half_open_connections_do_not_keep_an_agent_out() {
    let server = Server::start().await;
    let mut half_open = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.xmpp).await.unwrap();
        let _may_be_refused = stream.write_all(b"<?xml version='1.0'?><stream:str").await;
        half_open.push(stream);
    }
    works(&server, "a1").await;
    // And they are closed: nobody holds a place for ever.
    let closed = tokio::time::timeout(DEADLINE, async {
        for mut stream in half_open {
            let mut rest = Vec::new();
            let _reset = stream.read_to_end(&mut rest).await;
        }
    });
    assert!(closed.await.is_ok());
}

#[tokio::test]
async fn a_wrong_password_or_certificate_stops_the_agent_at_once() {
    let server = Server::start().await;
    let line = std::fs::read_to_string(server.data_folder().join("local.join")).unwrap();
    let secret = line.split(':').nth(2).unwrap().split('@').next().unwrap();
    let (pin_at, service) = (line.find("pin=").unwrap() + 4, script_service("Hello", "printf hello", ""));
    let mut other_pin = line.clone();
    other_pin.replace_range(pin_at..pin_at + 2, if &line[pin_at..pin_at + 2] == "00" { "11" } else { "00" });
    for (what, line) in [("password", line.replace(secret, "wrong")), ("certificate", other_pin)] {
        let arguments = ["--join".into(), line];
        for start in [Agent::start_with, Agent::start_alone] {
            let started = Instant::now();
            let mut agent = start("a1", &[("hello.toml", &service)], &arguments);
            let status = agent.ended(Duration::from_secs(10)).await;
            assert_eq!(status.code(), Some(4), "{what}: {}", agent.log());
            assert!(started.elapsed() < Duration::from_secs(10));
            assert!(agent.log().contains("refused"), "{what}: {}", agent.log());
        }
    }
}

#[tokio::test]
async fn an_invited_agent_joins_with_the_line_it_was_given() {
    let server = Server::start().await;
    let invited = command(binary())
        .args(["invite", "field-1", "--host", "127.0.0.1", "--data"])
        .arg(server.data_folder())
        .output()
        .await
        .unwrap();
    assert!(invited.status.success());
    let line = String::from_utf8(invited.stdout).unwrap();
    let join =
        line.trim().strip_prefix("anabranch agent --join '").unwrap().strip_suffix('\'').unwrap().to_owned();
    let service = script_service("Field", "printf field", "");
    let _agent = Agent::start_with("f1", &[("field.toml", &service)], &["--join".into(), join]);
    server.published("default:Field", true).await;
    let agents = server.get("/console?f=json").await.json();
    assert!(agents["agents"][0]["name"].as_str().unwrap().contains("field-1"), "{agents}");
}

#[tokio::test]
async fn secrets_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await;
    let data = server.data_folder();
    for file in [
        "local.join",
        "agent-data.key",
        "xmpp/key.pem",
        "xmpp/cert.pem",
        "xmpp/accounts",
        "xmpp/room-password",
    ] {
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let line = std::fs::read_to_string(data.join("local.join")).unwrap();
    let secret = line.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    works(&server, "a1").await;
    assert!(!server.log().contains(&secret));
}

#[tokio::test]
async fn the_port_offers_no_plain_login() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.xmpp).await.unwrap();
    stream.write_all(HEADER.as_bytes()).await.unwrap();
    let mut features = String::new();
    eventually("features", DEADLINE, async || {
        let mut block = [0; 4096];
        let n = stream.read(&mut block).await.ok()?;
        features.push_str(&String::from_utf8_lossy(&block[..n]));
        features.contains("</stream:features>").then_some(())
    })
    .await;
    assert!(features.contains("starttls") && !features.contains("<mechanism>"), "{features}");
}
