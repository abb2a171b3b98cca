use std::time::Duration;

use anabranch_xmpp::client::{self, ClientConfig, Security, Timing};
use anabranch_xmpp::{BusEvent, MessageKind, Outgoing, SendError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::support::{ROOM, join, limits, start, start_on, until, until_joined, until_message, until_up};

async fn until_down(bus: &mut anabranch_xmpp::Bus) -> String {
    until(bus, "loss", |e| if let BusEvent::Down { reason } = e { Some(reason.clone()) } else { None }).await
}

#[tokio::test]
async fn a_client_survives_a_restart_of_the_server_and_enters_its_rooms_again() {
    let server = start(limits()).await;
    let rooms = vec![join("ann")];
    let config = ClientConfig { rooms, ..server.client_config("ann", Security::StartTls(server.trust())) };
    let mut ann = client::connect(config).unwrap();
    until_joined(&mut ann).await;
    server.stop().await;
    assert!(until_down(&mut ann).await.contains("system-shutdown"));
    assert_eq!(ann.send(Outgoing::text(ROOM, MessageKind::Groupchat, "lost")).await, Err(SendError::Down));

    let ports = [server.starttls.port(), server.direct_tls.port()];
    let server = start_on(limits(), server.identity.clone(), ports).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    until_up(&mut ann).await;
    // Sent before the room is entered: must wait for it.
    ann.send(Outgoing::text(ROOM, MessageKind::Groupchat, "here again")).await.unwrap();
    let got = until_message(&mut orch).await;
    assert_eq!((got.body.as_deref(), got.nick.as_deref()), (Some("here again"), Some("ann")));
    server.stop().await;
}

#[tokio::test]
async fn a_local_session_ends_with_its_server() {
    let server = start(limits()).await;
    let mut orch = server.local("orch");
    until_joined(&mut orch).await;
    server.stop().await;
    assert_eq!(orch.next().await, None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_for_ever() {
    let server = start(limits()).await;
    let config = server.client_config("ann", Security::Plaintext);
    server.stop().await;
    let mut ann = client::connect(ClientConfig { ..config.clone() }).unwrap();
    config.backoff.set_cap(Duration::from_millis(5));
    for _ in 0..5 {
        until_down(&mut ann).await;
    }
    ann.sender().close().await.unwrap();
    while ann.next().await.is_some() {}
}

/// Stands between client and server, and stops passing bytes on when told: a link that dies without a word.
#[tokio::test]
async fn a_link_that_dies_in_silence_is_noticed_by_a_ping() {
    let server = start(limits()).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let upstream = server.starttls;
    let relay = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut to_server = tokio::net::TcpStream::connect(upstream).await.unwrap();
        let passing = tokio::io::copy_bidirectional(&mut client, &mut to_server);
        let _ = tokio::time::timeout(Duration::from_millis(700), passing).await;
        // From now on bytes vanish.
        let mut sink = [0; 1024];
        while client.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    });
    let timing = Timing {
        ping_every: Some(Duration::from_millis(100)),
        ping_timeout: Duration::from_millis(300),
        ..Timing::default()
    };
    let mut ann =
        client::connect(ClientConfig { port, timing, ..server.client_config("ann", Security::Plaintext) })
            .unwrap();
    until_up(&mut ann).await;
    assert!(until_down(&mut ann).await.contains("ping"));
    relay.abort();
    server.stop().await;
}
