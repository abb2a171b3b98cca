//! One dialogue on the embedded server and, if one is named, on another: `XMPP_SERVER=host:port:direct_tls_port`, with
//! domain `localhost`, accounts `orch`, `ann` and `bob` (password: the name and `-password`) and a room service at
//! `conference.localhost` where rooms may be made. It last passed on Prosody 0.12.3.

use std::time::Duration;

use crate::support::{limits, start, until, until_joined, until_message};
use anabranch_xmpp::client::{self, Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::{
    AcceptAnyCertificateForTests, BusEvent, ClientError, MessageKind, OccupantChange, Outgoing, RoomJoin,
    Trust,
};

const ROOM: &str = "conformance@conference.localhost";

fn config(server: &str, user: &str, direct_tls: bool) -> ClientConfig {
    let parts: Vec<&str> = server.split(':').collect();
    let port = parts[if direct_tls { 2 } else { 1 }].parse().unwrap();
    let trust = Trust::AcceptAny(AcceptAnyCertificateForTests);
    ClientConfig {
        host: parts[0].into(),
        port,
        domain: "localhost".into(),
        user: user.into(),
        password: format!("{user}-password"),
        resource: "test".into(),
        security: if direct_tls { Security::DirectTls(trust) } else { Security::StartTls(trust) },
        rooms: vec![RoomJoin {
            room: ROOM.into(),
            nick: user.into(),
            password: Some("room-password".into()),
        }],
        timing: Timing { nick_retry_after: Duration::from_millis(50), ..Timing::default() },
        limits: ClientLimits::default(),
        backoff: Backoff::new(Duration::from_millis(500)),
    }
}

#[tokio::test]
async fn the_bus_works_the_same_on_every_server() {
    let embedded = start(limits()).await;
    dialogue(&format!("127.0.0.1:{}:{}", embedded.starttls.port(), embedded.direct_tls.port())).await;
    embedded.stop().await;
    if let Ok(external) = std::env::var("XMPP_SERVER") {
        dialogue(&external).await;
    }
}

async fn dialogue(server: &str) {
    let mut orch = client::connect(config(server, "orch", false)).unwrap();
    assert_eq!(until_joined(&mut orch).await, "orch");
    let mut ann = client::connect(config(server, "ann", true)).unwrap();
    assert_eq!(until_joined(&mut ann).await, "ann");

    let wrong = ClientConfig { password: "wrong".into(), ..config(server, "bob", false) };
    let mut bus = client::connect(wrong).unwrap();
    let error =
        until(&mut bus, "refusal", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None }).await;
    assert!(matches!(error, ClientError::WrongPassword { .. }), "{error}");

    // The room has the password that its maker brought.
    let mut stranger = config(server, "bob", false);
    stranger.rooms[0].password = None;
    let mut bus = client::connect(stranger).unwrap();
    let error =
        until(&mut bus, "refusal", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None }).await;
    assert_eq!(error, ClientError::RoomPassword { room: ROOM.into() });

    for kind in [MessageKind::Chat, MessageKind::Normal] {
        ann.send(Outgoing::text(&format!("{ROOM}/orch"), kind, "progress")).await.unwrap();
        let got = until_message(&mut orch).await;
        assert_eq!(
            (got.kind, got.nick.as_deref(), got.body.as_deref()),
            (kind, Some("ann"), Some("progress"))
        );
        assert_eq!(got.real_jid.as_deref(), Some("ann@localhost/test"));
        orch.send(Outgoing::text("ann@localhost/test", kind, "direct")).await.unwrap();
        assert_eq!(until_message(&mut ann).await.real_jid.as_deref(), Some("orch@localhost/test"));
    }
    orch.send(Outgoing::text(ROOM, MessageKind::Groupchat, "to all")).await.unwrap();
    assert_eq!(until_message(&mut ann).await.body.as_deref(), Some("to all"));

    let mut taken = config(server, "bob", false);
    taken.rooms[0].nick = "ann".into();
    let mut bob = client::connect(taken).unwrap();
    assert_eq!(until_joined(&mut bob).await, "ann-2");
    bob.sender().close().await.unwrap();
    until(&mut orch, "end of bob", |event| match event {
        BusEvent::Occupant { nick, change: OccupantChange::Left, .. } if nick == "ann-2" => Some(()),
        _ => None,
    })
    .await;

    let mut newer = client::connect(config(server, "ann", false)).unwrap();
    until_joined(&mut newer).await;
    let error =
        until(&mut ann, "conflict", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None })
            .await;
    assert_eq!(error, ClientError::Conflict { jid: "ann@localhost/test".into() });
}
