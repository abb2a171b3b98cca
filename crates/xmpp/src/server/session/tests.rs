//! Sessions over pipes that hold little.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{Limits, Listeners, MemoryAccounts, RoomConfig, Server, ServerConfig, ServerHandle};
use crate::wire::ns;
use crate::wire::stream::Features;

const DEADLINE: Duration = Duration::from_secs(20);
/// Far less than what a room with [`OCCUPANTS`] tells.
const PIPE_BYTES: usize = 16 * 1024;
const OCCUPANTS: usize = 200;
const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='x' version='1.0'>";
const ENTER: &str =
    "<presence to='jobs@conference.x/n'><x xmlns='http://jabber.org/protocol/muc'/></presence>";

/// A server with so many in its room, who must be kept.
fn crowded(limits: Limits) -> (ServerHandle, Vec<Attached>) {
    let config = ServerConfig {
        domain: "x".into(),
        rooms: vec![RoomConfig::new("jobs", None)],
        create_rooms: false,
        owners: Vec::new(),
        accounts: Arc::new(MemoryAccounts::default()),
        identity: None,
        plaintext_login: true,
        software_name: "test".into(),
        software_version: "1".into(),
        limits,
    };
    let server = Server::start(config, Listeners::default(), CancellationToken::new()).unwrap();
    let enter = |n: usize| {
        let occupant = server.context.router.attach(&format!("a{n:04}"), "1", None).unwrap();
        let presence =
            Element::bare("presence", ns::CLIENT).with("to", &format!("jobs@conference.x/a{n:04}"));
        occupant.route(presence.with_child(Element::bare("x", ns::MUC)), 100);
        occupant
    };
    let occupants = (0..OCCUPANTS).map(enter).collect();
    (server, occupants)
}

/// The client's end of a bound session, and the task that serves it.
async fn session(server: &ServerHandle) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (mut client, io) = tokio::io::duplex(PIPE_BYTES);
    client.write_all(HEADER.as_bytes()).await.unwrap();
    let context = Arc::clone(&server.context);
    let limits = &context.limits;
    let accepted = Stream::accept(Box::new(io), limits.stanza_bytes_max, context.silence()).await.unwrap();
    let stream = accepted.offer("x", &Features::default()).await.unwrap();
    let attached = context.router.attach("n", "1", None).unwrap();
    let serving = tokio::spawn(async move { run(stream, attached, &context).await });
    (client, serving)
}

#[tokio::test]
async fn who_takes_nothing_is_given_up_while_it_is_being_told_who_is_there() {
    let write_timeout = Duration::from_millis(200);
    let (server, occupants) = crowded(Limits { write_timeout, ..Limits::default() });
    let (mut client, serving) = session(&server).await;
    client.write_all(ENTER.as_bytes()).await.unwrap();
    tokio::time::timeout(DEADLINE, serving).await.expect("a reader that takes nothing is kept").unwrap();
    assert_eq!(server.sessions().len(), occupants.len());
}

#[tokio::test]
async fn a_client_that_enters_again_and_again_makes_one_room_wait_and_no_more() {
    let (server, _occupants) = crowded(Limits::default());
    let (client, _serving) = session(&server).await;
    let (mut reading, mut writing) = tokio::io::split(client);
    const TIMES: usize = 5;
    let before = server.counters().stanzas_received;
    writing.write_all(ENTER.repeat(TIMES).as_bytes()).await.unwrap();
    let mut heard = String::new();
    let all = async {
        let mut told = 0;
        while told < TIMES {
            let mut buffer = [0; 4096];
            let n = reading.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
            told = heard.matches("<subject").count();
            // One that it is being told of, and one of which the end is in the pipe.
            let entered = server.counters().stanzas_received - before;
            assert!(entered <= told as u64 + 2, "{entered} entered, {told} told");
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("a client that reads is told");
    assert_eq!(heard.matches("<presence").count(), TIMES * (OCCUPANTS + 1));
    assert_eq!(server.counters().slow_readers_ended, 0);
}
