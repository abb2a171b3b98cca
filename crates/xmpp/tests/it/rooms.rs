use anabranch_xmpp::client::{self, ClientConfig, Security, Timing};
use anabranch_xmpp::{
    Bus, BusEvent, ClientError, Element, MessageKind, OccupantChange, Outgoing, Role, RoomJoin, SendError,
};
use std::time::Duration;

use crate::support::{
    ROOM, Raw, TestServer, join, limits, start, until, until_joined, until_message, until_up,
};

async fn occupant(bus: &mut Bus, nick: &str, change: OccupantChange) -> (Option<String>, Role) {
    until(bus, &format!("{change:?} of {nick}"), |event| match event {
        BusEvent::Occupant { nick: n, real_jid, role, change: c, .. } if n == nick && *c == change => {
            Some((real_jid.clone(), *role))
        }
        _ => None,
    })
    .await
}

/// The orchestrator in-process and an agent over TCP, both in the room.
async fn two(server: &TestServer) -> (Bus, Bus) {
    let mut orch = server.local("orch");
    assert_eq!(until_joined(&mut orch).await, "orch");
    let mut ann = server.client_in_room("ann");
    assert_eq!(until_joined(&mut ann).await, "ann");
    (orch, ann)
}

#[tokio::test]
async fn occupants_see_who_is_there_with_roles_and_real_jids() {
    let server = start(limits()).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    let mut ann = server.client_in_room("ann");
    let seen = occupant(&mut ann, "orch", OccupantChange::Joined).await;
    assert_eq!(seen, (Some("orch@localhost/local".into()), Role::Moderator));
    until_joined(&mut ann).await;
    let seen = occupant(&mut orch, "ann", OccupantChange::Joined).await;
    assert_eq!(seen, (Some("ann@localhost/test".into()), Role::Participant));
    ann.sender().leave(ROOM).await.unwrap();
    occupant(&mut orch, "ann", OccupantChange::Left).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_said_while_a_room_tells_who_is_there_is_heard_afterwards() {
    let server = start(limits()).await;
    let (_orch, _ann) = two(&server).await;
    let mut raw = Raw::logged_in(&server, "bob", "raw").await;
    let enter = |room: &str| {
        format!(
            "<presence to='{room}/bob'><x xmlns='http://jabber.org/protocol/muc'><password>room-password</password></x></presence>"
        )
    };
    let ping = "<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
    raw.say(&format!("{}{}{ping}", enter(ROOM), enter("open@conference.localhost"))).await;
    let heard = raw.hear("id='p'").await;
    let at = |text: &str| heard.find(text).unwrap_or_else(|| panic!("no {text} in {heard}"));
    let own = at(&format!("from='{ROOM}/bob'"));
    assert!(at(&format!("from='{ROOM}/ann'")) < own && at(&format!("from='{ROOM}/orch'")) < own, "{heard}");
    assert!(own < at("from='open@conference.localhost/bob'"), "{heard}");
    // Each stanza is addressed to its receiver, although it is the same for all.
    assert_eq!(heard.matches("<presence").count(), heard.matches("to='bob@localhost/raw'").count() - 2);
    server.stop().await;
}

#[tokio::test]
async fn messages_to_all_and_in_private_carry_bodies_and_payloads() {
    let server = start(limits()).await;
    let (mut orch, mut ann) = two(&server).await;
    let payload: Element = "<run xmlns='urn:x' id='1'><part>a &amp; b</part></run>".parse().unwrap();
    let message = Outgoing {
        to: format!("{ROOM}/orch"),
        kind: MessageKind::Chat,
        id: Some("m1".into()),
        body: Some("progress".into()),
        payloads: vec![payload.clone()],
    };
    for kind in [MessageKind::Chat, MessageKind::Normal] {
        ann.send(Outgoing { kind, ..message.clone() }).await.unwrap();
        let got = until_message(&mut orch).await;
        assert_eq!((got.kind, got.nick.as_deref(), got.room.as_deref()), (kind, Some("ann"), Some(ROOM)));
        assert_eq!(got.real_jid.as_deref(), Some("ann@localhost/test"));
        assert_eq!((got.id.as_deref(), got.body.as_deref()), (Some("m1"), Some("progress")));
        assert!(got.payloads.contains(&payload));
        orch.send(Outgoing { to: got.from, kind, ..message.clone() }).await.unwrap();
        let got = until_message(&mut ann).await;
        assert_eq!(
            (got.from, got.real_jid.as_deref()),
            (format!("{ROOM}/orch"), Some("orch@localhost/local"))
        );
    }
    orch.send(Outgoing::text(ROOM, MessageKind::Groupchat, "to all")).await.unwrap();
    let got = until_message(&mut ann).await;
    assert_eq!(
        (got.kind, got.nick.as_deref(), got.body.as_deref()),
        (MessageKind::Groupchat, Some("orch"), Some("to all"))
    );
    orch.send(Outgoing::text(&format!("{ROOM}/nobody"), MessageKind::Chat, "x")).await.unwrap();
    assert_eq!(until_message(&mut orch).await.error_condition(), Some("item-not-found"));
    server.stop().await;
}

#[tokio::test]
async fn long_messages_pass_up_to_the_limit() {
    let server = start(limits()).await;
    let (mut orch, ann) = two(&server).await;
    let body = "0123456789".repeat(90_000);
    ann.send(Outgoing::text(&format!("{ROOM}/orch"), MessageKind::Chat, &body)).await.unwrap();
    assert_eq!(until_message(&mut orch).await.body, Some(body));
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_room_password_is_fatal() {
    let server = start(limits()).await;
    for password in [None, Some("wrong".to_owned())] {
        let rooms = vec![RoomJoin { password, ..join("ann") }];
        let config = ClientConfig { rooms, ..server.client_config("ann", Security::Plaintext) };
        let mut bus = client::connect(config).unwrap();
        let error =
            until(&mut bus, "refusal", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None })
                .await;
        assert_eq!(error, ClientError::RoomPassword { room: ROOM.into() });
        assert_eq!(bus.next().await, None);
        assert_eq!(bus.send(Outgoing::text(ROOM, MessageKind::Chat, "x")).await, Err(SendError::Closed));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_taken_nickname_gets_a_suffix() {
    let server = start(limits()).await;
    let (_orch, _ann) = two(&server).await;
    let timing = Timing { nick_retry_after: Duration::from_millis(20), ..Timing::default() };
    let config =
        ClientConfig { rooms: vec![join("ann")], timing, ..server.client_config("bob", Security::Plaintext) };
    let mut bob = client::connect(config).unwrap();
    assert_eq!(until_joined(&mut bob).await, "ann-2");
    server.stop().await;
}

#[tokio::test]
async fn a_hard_drop_is_announced_at_once() {
    let server = start(limits()).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    let mut raw = Raw::logged_in(&server, "ann", "raw").await;
    raw.say(&format!(
        "<presence to='{ROOM}/ann'><x xmlns='http://jabber.org/protocol/muc'><password>room-password</password></x></presence>"
    ))
    .await;
    occupant(&mut orch, "ann", OccupantChange::Joined).await;
    drop(raw);
    occupant(&mut orch, "ann", OccupantChange::Left).await;
    server.stop().await;
}

#[tokio::test]
async fn a_moderator_kicks_and_a_participant_does_not() {
    let server = start(limits()).await;
    let (mut orch, mut ann) = two(&server).await;
    occupant(&mut orch, "ann", OccupantChange::Joined).await;
    ann.sender().kick(ROOM, "orch", "mutiny").await.unwrap();
    orch.sender().kick(ROOM, "ann", "order").await.unwrap();
    occupant(&mut orch, "ann", OccupantChange::Left).await;
    occupant(&mut ann, "orch", OccupantChange::Left).await;
    server.stop().await;
}

#[tokio::test]
async fn rooms_are_entered_and_left_while_the_session_lives() {
    let server = start(limits()).await;
    let mut ann = client::connect(server.client_config("ann", Security::Plaintext)).unwrap();
    until_up(&mut ann).await;
    let open = "open@conference.localhost".to_owned();
    ann.sender().join(RoomJoin { room: open, nick: "ann@x/1".into(), password: None }).await.unwrap();
    assert_eq!(until_joined(&mut ann).await, "ann@x/1");
    ann.sender().join(RoomJoin { room: "no room".into(), nick: "ann".into(), password: None }).await.unwrap();
    until(&mut ann, "refusal", |e| matches!(e, BusEvent::Dropped { .. }).then_some(())).await;
    server.stop().await;
}
