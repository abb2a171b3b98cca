//! Load for an XMPP server, whoever made it: agents and one orchestrator, as `benches/xmpp.py` wants them. Prints JSON.
//!
//!     load PORT DOMAIN talk AGENTS ROOMS     messages/s: each agent says something to the orchestrator, by a private message through
//!                                            its room, and is answered; agents are spread over the rooms
//!     load PORT DOMAIN idle AGENTS           enters one room with so many, says so, and stays until standard input ends
//!
//! PORT speaks direct TLS. Accounts `orch` and `ann`, each with its name and `-password`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a terminal")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anabranch_xmpp::client::{self, Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::{AcceptAnyCertificateForTests, Bus, BusEvent, MessageKind, Outgoing, RoomJoin, Trust};
use tokio::sync::mpsc;

/// Messages that an agent has under way.
const WINDOW: usize = 16;
/// What a message carries: as much as the progress of a run.
const BODY_BYTES: usize = 300;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(6);

struct Server {
    port: u16,
    domain: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().unwrap();
    let server = Server { port: arguments[0].parse().unwrap(), domain: arguments[1].clone() };
    match arguments[2].as_str() {
        "talk" => talk(&server, number(3), number(4)).await,
        "idle" => idle(&server, number(3)).await,
        other => panic!("talk or idle, not {other}"),
    }
}

async fn talk(server: &Server, agents: usize, rooms: usize) {
    let mut orchestrator = server.enter("orch", "orch", 0..rooms);
    joined(&mut orchestrator, rooms).await;
    let mut talking = Vec::new();
    for n in 0..agents {
        let room = n % rooms;
        let mut agent = server.enter("ann", &format!("agent{n}"), room..room + 1);
        joined(&mut agent, 1).await;
        talking.push((agent, format!("{}/orch", server.room(room))));
    }
    let answered = Arc::new(AtomicU64::new(0));
    tokio::spawn(answer_all(orchestrator, agents * WINDOW));
    for (agent, to) in talking {
        tokio::spawn(keep_talking(agent, to, Arc::clone(&answered)));
    }
    tokio::time::sleep(WARM_UP).await;
    println!("begun");
    let (before, started) = (answered.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(MEASURED).await;
    // What is said and its answer are two.
    let messages = 2 * (answered.load(Ordering::Relaxed) - before);
    println!("{{\"messages\": {messages}, \"seconds\": {:.3}}}", started.elapsed().as_secs_f64());
}

async fn idle(server: &Server, agents: usize) {
    let mut orchestrator = server.enter("orch", "orch", 0..1);
    joined(&mut orchestrator, 1).await;
    tokio::spawn(listen(orchestrator));
    for n in 0..agents {
        let mut agent = server.enter("ann", &format!("agent{n}"), 0..1);
        joined(&mut agent, 1).await;
        tokio::spawn(listen(agent));
    }
    println!("begun");
    let ended = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    drop(ended.await);
}

async fn listen(mut bus: Bus) {
    while bus.next().await.is_some() {}
}

impl Server {
    fn room(&self, n: usize) -> String {
        format!("bench{n}@conference.{}", self.domain)
    }

    fn enter(&self, user: &str, name: &str, rooms: std::ops::Range<usize>) -> Bus {
        let join = |n| RoomJoin { room: self.room(n), nick: name.to_owned(), password: None };
        let config = ClientConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            domain: self.domain.clone(),
            user: user.into(),
            password: format!("{user}-password"),
            resource: name.into(),
            security: Security::DirectTls(Trust::AcceptAny(AcceptAnyCertificateForTests)),
            rooms: rooms.map(join).collect(),
            timing: Timing::default(),
            limits: ClientLimits::default(),
            backoff: Backoff::new(Duration::from_millis(500)),
        };
        client::connect(config).unwrap()
    }
}

async fn joined(bus: &mut Bus, rooms: usize) {
    let mut left = rooms;
    while left > 0 {
        match bus.next().await.expect("the session goes on") {
            BusEvent::Joined { .. } => left -= 1,
            BusEvent::Fatal(error) => panic!("{error}"),
            _ => {}
        }
    }
}

/// The orchestrator's part.
async fn answer_all(bus: Bus, under_way: usize) {
    let (sender, mut receiver) = bus.split();
    let (answers, mut due) = mpsc::channel(under_way);
    tokio::spawn(async move {
        while let Some(message) = due.recv().await {
            sender.send(message).await.unwrap();
        }
    });
    while let Some(event) = receiver.next().await {
        if let BusEvent::Message(message) = event {
            answers.send(text(message.from)).await.unwrap();
        }
    }
}

/// An agent's part.
async fn keep_talking(mut bus: Bus, to: String, answered: Arc<AtomicU64>) {
    for _ in 0..WINDOW {
        bus.send(text(to.clone())).await.unwrap();
    }
    while let Some(event) = bus.next().await {
        if let BusEvent::Message(message) = event {
            assert_eq!(message.kind, MessageKind::Chat, "{message:?}");
            answered.fetch_add(1, Ordering::Relaxed);
            // When all is over, sessions end in any order.
            if bus.send(text(to.clone())).await.is_err() {
                return;
            }
        }
    }
}

fn text(to: String) -> Outgoing {
    let body = Some("x".repeat(BODY_BYTES));
    Outgoing { to, kind: MessageKind::Chat, id: None, body, payloads: Vec::new() }
}
