//! An XMPP server to embed and a client session, joined by one type: the [`Bus`].
//!
//! XMPP is used here as a message bus between programs: accounts, rooms with a password, private messages, presence
//! in rooms. A program either embeds the [`server`] and attaches to it in-process (a *local session*: no socket, no
//! password), or connects to any XMPP server with a [`client`] session. Both give the same [`Bus`], so that whatever
//! is built on it neither knows nor cares where the server runs.
//!
//! What this crate is *not*: a chat server (no subscriptions, no offline storage, no federation, no archive), a general
//! XMPP library, or anything that knows what its messages mean.
//!
//! ```
//! # use std::sync::Arc;
//! # use anabranch_xmpp::client::{self, Backoff, ClientConfig, ClientLimits, Security, Timing};
//! # use anabranch_xmpp::server::*;
//! # use anabranch_xmpp::*;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The server: two accounts, one room, TLS on two ports.
//! let identity = Identity::generate(&["localhost".to_owned()])?; // or load_or_create(folder, names)
//! let pin = identity.fingerprint()?;
//! let listeners = Listeners {
//!     starttls: vec![tokio::net::TcpListener::bind("127.0.0.1:0").await?],
//!     direct_tls: vec![tokio::net::TcpListener::bind("127.0.0.1:0").await?],
//! };
//! let port = listeners.direct_tls[0].local_addr()?.port();
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! let config = ServerConfig {
//!     domain: "localhost".into(),
//!     rooms: vec![RoomConfig::new("jobs", Some("room secret"))],
//!     create_rooms: false,
//!     owners: vec!["orchestrator".into()],
//!     accounts: Arc::new(MemoryAccounts::with_passwords([("agent", "secret")])),
//!     identity: Some(identity),
//!     plaintext_login: false,
//!     software_name: "example".into(),
//!     software_version: "1".into(),
//!     limits: Limits::default(),
//! };
//! let server = Server::start(config, listeners, shutdown.clone())?;
//!
//! // A session within the process, which needs no account.
//! let room = |nick: &str| RoomJoin {
//!     room: "jobs@conference.localhost".into(),
//!     nick: nick.into(),
//!     password: Some("room secret".into()),
//! };
//! let mut orchestrator = server.local_session(LocalSession {
//!     user: "orchestrator".into(),
//!     resource: "main".into(),
//!     rooms: vec![room("orchestrator")],
//! })?;
//!
//! // A session over TCP, to this server or any other.
//! let agent = client::connect(ClientConfig {
//!     host: "127.0.0.1".into(),
//!     port,
//!     domain: "localhost".into(),
//!     user: "agent".into(),
//!     password: "secret".into(),
//!     resource: "host-1".into(),
//!     security: Security::DirectTls(Trust::Fingerprint(pin)),
//!     rooms: vec![room("agent")],
//!     timing: Timing::default(),
//!     limits: ClientLimits::default(),
//!     backoff: Backoff::default(),
//! })?;
//!
//! while let Some(event) = orchestrator.next().await {
//!     match event {
//!         BusEvent::Occupant { nick, change: OccupantChange::Joined, room, .. } if nick == "agent" => {
//!             agent.sender().ready().await?;
//!             agent.send(Outgoing::text(&format!("{room}/orchestrator"), MessageKind::Chat, "hello")).await?;
//!         }
//!         BusEvent::Message(message) => {
//!             assert_eq!(message.real_jid.as_deref(), Some("agent@localhost/host-1"));
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! shutdown.cancel();
//! assert!(server.stopped().await);
//! # Ok(())
//! # }
//! ```
//!
//! Read first: [`Bus`] (what both ends see), [`server::Domain`] (the whole server as a state machine without IO),
//! and `wire/guard.rs` (what protects the process from hostile XML).
//!
//! Invariants: no stanza nests deeper than [`DEPTH_MAX`] levels; every queue is bounded; no type of
//! the XMPP libraries below is public except [`Element`]; nothing here reads the process-wide TLS provider.

pub mod bus;
pub mod client;
mod fuzz;
pub mod server;
mod wire;

#[doc(hidden)]
pub use fuzz::{fuzz_parse_stream, fuzz_scram};

pub use bus::{
    Bus, BusDriver, BusEvent, BusReceiver, BusSender, Command, Incoming, MessageKind, OccupantChange,
    Outgoing, Role, RoomJoin, SendError,
};
pub use client::ClientError;
/// An XML element: the only foreign type in the public surface besides Tokio's.
pub use minidom::Element;
pub use wire::guard::DEPTH_MAX;
pub use wire::scram::{ScramError, ScramKeys};
pub use wire::tls::{AcceptAnyCertificateForTests, Fingerprint, Identity, TlsError, Trust};
