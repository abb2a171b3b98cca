//! The same work over every XMPP server: ours in a process of its own, Prosody and ejabberd.

#![allow(clippy::unwrap_used)]

use anabranch_xmpp::client::{self, Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::{
    AcceptAnyCertificateForTests, Bus, BusEvent, ClientError, Incoming, MessageKind, OccupantChange,
    Outgoing, RoomJoin, Trust,
};
use e2e::xmpp_servers::{Maker, XmppServer};
use e2e::{Agent, DEADLINE, Server, script_service};
use serde_json::json;
use std::time::Duration;

fn config(server: &XmppServer, user: &str, direct_tls: bool) -> ClientConfig {
    let trust = Trust::AcceptAny(AcceptAnyCertificateForTests);
    ClientConfig {
        host: "127.0.0.1".into(),
        port: if direct_tls { server.direct_tls_port } else { server.port },
        domain: server.domain.into(),
        user: user.into(),
        password: server.passwords[user].clone(),
        resource: "test".into(),
        security: if direct_tls { Security::DirectTls(trust) } else { Security::StartTls(trust) },
        rooms: vec![RoomJoin {
            room: room(server),
            nick: user.into(),
            password: Some("room-password".into()),
        }],
        timing: Timing { nick_retry_after: Duration::from_millis(50), ..Timing::default() },
        limits: ClientLimits::default(),
        backoff: Backoff::new(Duration::from_millis(500)),
    }
}

fn room(server: &XmppServer) -> String {
    format!("conformance@conference.{}", server.domain)
}

/// The first event that `pick` wants; the others are skipped.
async fn until<T>(bus: &mut Bus, what: &str, mut pick: impl FnMut(&BusEvent) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = bus.next().await.unwrap_or_else(|| panic!("no {what}: the session has ended"));
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

async fn joined(bus: &mut Bus) -> String {
    let nick =
        |event: &BusEvent| if let BusEvent::Joined { nick, .. } = event { Some(nick.clone()) } else { None };
    until(bus, "entry", nick).await
}

async fn message(bus: &mut Bus) -> Incoming {
    let message =
        |event: &BusEvent| if let BusEvent::Message(found) = event { Some(found.clone()) } else { None };
    until(bus, "message", message).await
}

async fn refusal(bus: &mut Bus) -> ClientError {
    let error =
        |event: &BusEvent| if let BusEvent::Fatal(error) = event { Some(error.clone()) } else { None };
    until(bus, "refusal", error).await
}

/// What agents and servers say to each other needs this of a server, whoever made it.
async fn conversation(server: &XmppServer) {
    let (room, domain) = (room(server), server.domain);
    let mut orchestrator = client::connect(config(server, "orchestrator", false)).unwrap();
    assert_eq!(joined(&mut orchestrator).await, "orchestrator");
    let mut ann = client::connect(config(server, "ann", true)).unwrap();
    assert_eq!(joined(&mut ann).await, "ann");

    let wrong = ClientConfig { password: "wrong".into(), ..config(server, "bob", false) };
    let error = refusal(&mut client::connect(wrong).unwrap()).await;
    assert!(matches!(error, ClientError::WrongPassword { .. }), "{error}");

    // The room has the password that its maker brought.
    for password in [None, Some("wrong".to_owned())] {
        let mut stranger = config(server, "bob", false);
        stranger.rooms[0].password = password;
        let error = refusal(&mut client::connect(stranger).unwrap()).await;
        assert_eq!(error, ClientError::RoomPassword { room: room.clone() });
    }

    for kind in [MessageKind::Chat, MessageKind::Normal] {
        ann.send(Outgoing::text(&format!("{room}/orchestrator"), kind, "progress")).await.unwrap();
        let got = message(&mut orchestrator).await;
        let said = (got.kind, got.nick.as_deref(), got.body.as_deref());
        assert_eq!(said, (kind, Some("ann"), Some("progress")));
        assert_eq!(got.real_jid, Some(format!("ann@{domain}/test")));
        orchestrator.send(Outgoing::text(&format!("ann@{domain}/test"), kind, "direct")).await.unwrap();
        assert_eq!(message(&mut ann).await.real_jid, Some(format!("orchestrator@{domain}/test")));
    }
    orchestrator.send(Outgoing::text(&room, MessageKind::Groupchat, "to all")).await.unwrap();
    assert_eq!(message(&mut ann).await.body.as_deref(), Some("to all"));

    let mut taken = config(server, "bob", false);
    taken.rooms[0].nick = "ann".into();
    let mut bob = client::connect(taken).unwrap();
    assert_eq!(joined(&mut bob).await, "ann-2");
    bob.sender().close().await.unwrap();
    until(&mut orchestrator, "end of bob", |event| match event {
        BusEvent::Occupant { nick, change: OccupantChange::Left, .. } if nick == "ann-2" => Some(()),
        _ => None,
    })
    .await;

    let mut newer = client::connect(config(server, "ann", false)).unwrap();
    joined(&mut newer).await;
    assert_eq!(refusal(&mut ann).await, ClientError::Conflict { jid: format!("ann@{domain}/test") });
}

/// Server and agent meet, lose the XMPP server in the middle of a run, and meet again.
async fn work(xmpp: &mut XmppServer) {
    let server = Server::with_config(&xmpp.server_config()).await;
    let there = script_service("There", "head -c 200000 /dev/zero | tr '\\0' x", "");
    let gate = xmpp.folder.path().join("gate");
    let script = format!("until [ -e {} ]; do sleep 0.1; done; printf through", gate.display());
    let waits = script_service("Waits", &script, "");
    let services = [("there.toml", there.as_str()), ("waits.toml", waits.as_str())];
    let agent = Agent::start_with("p1", &services, &xmpp.agent_arguments());
    server.published("default:There", true).await;
    server.published("default:Waits", true).await;
    let body = json!({ "inputs": {}, "outputs": { "said": {} }, "response": "raw" });
    let reply = server.execute("default:There", &body).await;
    assert_eq!((reply.status, reply.body.len()), (200, 200_000), "{} {}", reply.text(), agent.log());

    let job = server.submit("default:Waits", &body).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    xmpp.kill().await;
    xmpp.start_again().await;
    std::fs::write(&gate, "").unwrap();
    server.job_in(&job, &["successful"], 2 * DEADLINE).await;
    assert_eq!(server.get(&format!("/jobs/{job}/results/said")).await.text(), "through", "{}", agent.log());
    server.published("default:There", true).await;
    assert_eq!(server.execute("default:There", &body).await.body.len(), 200_000, "{}", agent.log());
}

#[tokio::test]
async fn the_embedded_server_in_a_process_of_its_own() {
    let mut server = XmppServer::start(Maker::Anabranch).await;
    conversation(&server).await;
    work(&mut server).await;
}

#[tokio::test]
async fn prosody() {
    let mut server = XmppServer::start(Maker::Prosody).await;
    conversation(&server).await;
    work(&mut server).await;
}

#[tokio::test]
async fn ejabberd() {
    let mut server = XmppServer::start(Maker::Ejabberd).await;
    conversation(&server).await;
    work(&mut server).await;
}
