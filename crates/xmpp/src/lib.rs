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
