use std::time::{Duration, Instant};

use anabranch_xmpp::client::{self, ClientConfig, Security};
use anabranch_xmpp::server::Limits;
use anabranch_xmpp::{BusEvent, ClientError, MessageKind, OccupantChange, Outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{
    DEADLINE, ROOM, Raw, header, limits, start, until, until_joined, until_message, until_up,
};

/// Writes for as long as the other side takes it.
async fn pour(raw: &mut Raw, data: &[u8]) {
    let pouring = raw.socket.write_all(data);
    // A reset connection is what we are after.
    let _ = tokio::time::timeout(DEADLINE, pouring).await.expect("the server neither reads nor closes");
}

#[tokio::test]
async fn a_depth_bomb_ends_its_own_stream_only() {
    let server = start(limits()).await;
    let (mut ann, mut bob) = (server.client_in_room("ann"), server.client_in_room("bob"));
    until_joined(&mut ann).await;
    until_joined(&mut bob).await;
    let bomb = "<a>".repeat(100_000);

    let mut stranger = Raw::connect(&server).await;
    stranger.say(&header()).await;
    pour(&mut stranger, bomb.as_bytes()).await;
    stranger.hear_all().await;

    let mut first = Raw::connect(&server).await;
    pour(&mut first, bomb.as_bytes()).await;
    first.hear_all().await;

    let mut member = Raw::logged_in(&server, "cat", "raw").await;
    member.say(&format!("<message to='{ROOM}'>")).await;
    pour(&mut member, bomb.as_bytes()).await;
    member.hear_all().await;

    ann.send(Outgoing::text(&format!("{ROOM}/bob"), MessageKind::Chat, "still here")).await.unwrap();
    assert_eq!(until_message(&mut bob).await.body.as_deref(), Some("still here"));
    assert!(server.handle.counters().bad_streams_ended >= 2);
    server.stop().await;
}

#[tokio::test]
async fn sixty_levels_pass_and_seventy_do_not() {
    let server = start(limits()).await;
    let mut bob = client::connect(server.client_config("bob", Security::Plaintext)).unwrap();
    until_up(&mut bob).await;
    let mut raw = Raw::logged_in(&server, "ann", "raw").await;
    let nested = |levels: usize| "<a xmlns='u'>".repeat(levels) + &"</a>".repeat(levels);
    raw.say(&format!("<message to='bob@localhost'><body>deep</body>{}</message>", nested(60))).await;
    assert_eq!(until_message(&mut bob).await.payloads.len(), 1);
    raw.say(&format!("<message to='bob@localhost'><body>deeper</body>{}</message>", nested(70))).await;
    assert!(raw.hear_all().await.contains("policy-violation"));
    server.stop().await;
}

#[tokio::test]
async fn stanzas_are_limited_before_and_after_login() {
    let server = start(Limits { stanza_bytes_max: 50_000, ..limits() }).await;
    let mut stranger = Raw::connect(&server).await;
    stranger.say(&header()).await;
    stranger.hear("</stream:features>").await;
    let long = "A".repeat(20_000);
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{long}");
    pour(&mut stranger, auth.as_bytes()).await;
    stranger.hear_all().await;

    let mut bob = client::connect(server.client_config("bob", Security::Plaintext)).unwrap();
    until_up(&mut bob).await;
    let mut member = Raw::logged_in(&server, "ann", "raw").await;
    for _ in 0..5 {
        // Each within the limit, together beyond it.
        member.say(&format!("<message to='bob@localhost'><body>{long}</body></message>")).await;
        until_message(&mut bob).await;
    }
    pour(&mut member, format!("<message to='bob@localhost'><body>{}", long.repeat(3)).as_bytes()).await;
    member.hear_all().await;
    assert_eq!(server.handle.counters().bad_streams_ended, 2);
    server.stop().await;
}

#[tokio::test]
async fn half_open_connections_neither_block_a_login_nor_stay() {
    let server = start(Limits { negotiation_timeout: Duration::from_secs(4), ..limits() }).await;
    let mut idle = Vec::new();
    for i in 0..200 {
        let mut raw = Raw::connect(&server).await;
        if i % 2 == 0 {
            raw.say(&header()).await;
        }
        idle.push(raw);
    }
    let mut ann = client::connect(server.client_config("ann", Security::DirectTls(server.trust()))).unwrap();
    until_up(&mut ann).await;
    let start = Instant::now();
    for raw in &mut idle {
        raw.hear_all().await;
    }
    assert!(start.elapsed() < DEADLINE);
    assert_eq!(server.handle.counters().negotiations_failed, 200);
    assert!(ann.sender().is_up());
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let server = start(Limits { connections_per_address_max: 2, ..limits() }).await;
    let mut first = Raw::connect(&server).await;
    let mut second = Raw::connect(&server).await;
    for raw in [&mut first, &mut second] {
        raw.say(&header()).await;
        raw.hear("</stream:features>").await;
    }
    let mut third = Raw::connect(&server).await;
    assert_eq!(third.hear_all().await, "");
    drop(first);
    // The place is free as soon as the server has seen the end of the first.
    let mut ann = client::connect(server.client_config("ann", Security::Plaintext)).unwrap();
    until_up(&mut ann).await;
    assert!(server.handle.counters().connections_refused >= 1);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_put_out_and_the_others_go_on() {
    let server = start(Limits { queue_stanzas_max: 16, queue_bytes_max: 1_000_000, ..limits() }).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    let mut slow = Raw::logged_in(&server, "cat", "slow").await;
    slow.say(&format!(
        "<presence to='{ROOM}/cat'><x xmlns='http://jabber.org/protocol/muc'><password>room-password</password></x></presence>"
    ))
    .await;
    slow.hear("<subject").await;
    let ann = server.client_in_room("ann");
    let sender = ann.sender();
    let mut ann = ann;
    until_joined(&mut ann).await;
    let flood = tokio::spawn(async move {
        let body = "x".repeat(100_000);
        loop {
            if sender.send(Outgoing::text(&format!("{ROOM}/cat"), MessageKind::Chat, &body)).await.is_err() {
                return;
            }
        }
    });
    until(&mut orch, "end of the slow reader", |event| match event {
        BusEvent::Occupant { nick, change: OccupantChange::Left, .. } if nick == "cat" => Some(()),
        _ => None,
    })
    .await;
    flood.abort();
    assert_eq!(server.handle.counters().slow_readers_ended, 1);
    orch.send(Outgoing::text(&format!("{ROOM}/ann"), MessageKind::Chat, "go on")).await.unwrap();
    until(&mut ann, "message", |event| match event {
        BusEvent::Message(m) if m.body.as_deref() == Some("go on") => Some(()),
        _ => None,
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_given_up() {
    let timing = (Duration::from_millis(100), Duration::from_millis(400));
    let server = start(Limits { idle_ping_after: timing.0, idle_ping_timeout: timing.1, ..limits() }).await;
    let mut raw = Raw::logged_in(&server, "ann", "raw").await;
    assert!(raw.hear("<ping").await.contains("<iq"));
    raw.hear_all().await;
    assert_eq!(server.handle.sessions(), []);
    // A client that answers stays.
    let mut bob = client::connect(server.client_config("bob", Security::Plaintext)).unwrap();
    until_up(&mut bob).await;
    let quiet = tokio::time::timeout(Duration::from_millis(1500), bob.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    server.stop().await;
}

/// A server that answers a client's header with its own and then with `text`.
async fn fake_server(text: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = format!("{}{text}", header().replace("to=", "from="));
            let mut sink = [0; 4096];
            // Reads the client's header, so that closing does not reset the connection.
            if socket.read(&mut sink).await.is_ok() && socket.write_all(answer.as_bytes()).await.is_ok() {
                while socket.read(&mut sink).await.is_ok_and(|n| n > 0) {}
            }
        }
    });
    port
}

#[tokio::test]
async fn a_client_is_guarded_against_its_server_too() {
    let server = start(limits()).await;
    for (text, reason) in [
        (format!("<stream:features>{}", "<a>".repeat(10_000)), "nested deeper"),
        (format!("<stream:features><a>{}", "x".repeat(200_000)), "too long"),
        ("<stream:features><!DOCTYPE x></stream:features>".to_owned(), ""),
        (
            "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
                .to_owned(),
            "host-unknown",
        ),
        ("<message/>".to_owned(), "out of turn"),
    ] {
        let port = fake_server(text).await;
        let config = ClientConfig { port, ..server.client_config("ann", Security::Plaintext) };
        let mut bus = client::connect(config).unwrap();
        let down = until(&mut bus, "loss", |e| {
            if let BusEvent::Down { reason } = e { Some(reason.clone()) } else { None }
        });
        let given = down.await;
        assert!(given.contains(reason), "{given}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_sends_no_password_where_it_is_not_safe() {
    let server = start(limits()).await;
    let mechanisms = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                      <mechanism>PLAIN</mechanism></mechanisms></stream:features>";
    let port = fake_server(mechanisms.to_owned()).await;
    for security in [Security::Plaintext, Security::StartTls(server.trust())] {
        let config = ClientConfig { port, ..server.client_config("ann", security.clone()) };
        let mut bus = client::connect(config).unwrap();
        let fatal =
            until(&mut bus, "refusal", |e| if let BusEvent::Fatal(e) = e { Some(e.clone()) } else { None })
                .await;
        match security {
            Security::Plaintext => assert!(matches!(fatal, ClientError::NoMechanism { .. }), "{fatal}"),
            _ => assert!(matches!(fatal, ClientError::TlsNotOffered { .. }), "{fatal}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_read_its_events_stops_only_itself() {
    let server = start(Limits { queue_stanzas_max: 8, ..limits() }).await;
    let mut deaf = server.local("orch");
    let mut ann = server.client_in_room("ann");
    until_joined(&mut ann).await;
    let mut bob = server.client_in_room("bob");
    until_joined(&mut bob).await;
    while server.handle.counters().slow_readers_ended == 0 {
        ann.send(Outgoing::text(&format!("{ROOM}/orch"), MessageKind::Chat, "x")).await.unwrap();
        // Room for the errors that come once nobody is there.
        while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, ann.next()).await {}
    }
    ann.send(Outgoing::text(&format!("{ROOM}/bob"), MessageKind::Chat, "go on")).await.unwrap();
    assert_eq!(until_message(&mut bob).await.body.as_deref(), Some("go on"));
    // Once it listens again, it comes back.
    until(&mut deaf, "loss", |e| matches!(e, BusEvent::Down { .. }).then_some(())).await;
    assert_eq!(until_joined(&mut deaf).await, "orch");
    server.stop().await;
}

#[tokio::test]
async fn many_fast_senders_do_not_cost_a_busy_receiver_its_session() {
    const EACH: usize = 150;
    let congestion_pause_max = Duration::from_secs(10);
    let server = start(Limits { queue_stanzas_max: 32, congestion_pause_max, ..limits() }).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    for user in ["ann", "bob", "cat"] {
        let mut bus = server.client_in_room(user);
        until_joined(&mut bus).await;
        tokio::spawn(async move {
            let sender = bus.sender();
            // The events of the others must be taken, or they would hold up this session.
            tokio::spawn(async move { while bus.next().await.is_some() {} });
            for i in 0..EACH {
                let message = Outgoing::text(&format!("{ROOM}/orch"), MessageKind::Chat, &i.to_string());
                sender.send(message).await.unwrap();
            }
            sender.close().await.unwrap();
        });
    }
    let mut next = std::collections::HashMap::new();
    for _ in 0..3 * EACH {
        let message = until_message(&mut orch).await;
        let expected = next.entry(message.nick).or_insert(0);
        assert_eq!(message.body, Some(expected.to_string()));
        *expected += 1;
    }
    assert_eq!(server.handle.counters().slow_readers_ended, 0);
    server.stop().await;
}
