//! The agent protocol: agents on any machine announce processes over XMPP and run them for the server.
//!
//! Both ends are here. The server starts an [`Orchestrator`], which turns what agents announce into
//! [`RemoteProcess`]es and hands them to a [`Publisher`]; a machine that works runs an [`Agent`]. Between them goes one
//! closed [`Message`] enum, in a wire form of [`wire`], over the [`Bus`](anabranch_xmpp::Bus) of an XMPP session.
//!
//! What this crate is *not*: it neither runs executables, nor speaks HTTP, nor knows jobs or protocols of clients. Bytes
//! too large for a stanza go over the data plane, which the program lends as [`ServerData`] and [`AgentData`].
//!
//! The same [`Message`]s in the form of GeoServer's WPS Remote ([`wire::wps_remote`]) make its agents work for an [`Orchestrator`],
//! and a [`WpsRemoteAgent`] work for its server.
//!
//! Read first: [`Message`] (all that is ever said), [`link`] (how it arrives, once and in order, over a transport that
//! loses and repeats), `pool/owner.rs` and `agent/owner.rs` (the two tasks that own everything else).
//!
//! Invariants: nothing received names a path of ours; a run's folder is named by its parsed [`RunId`]; only the account to
//! which a run was sent is heard about it; a message is acknowledged after its effect, never before; every queue is bounded.

pub mod agent;
pub mod dispatch;
pub mod link;
pub mod load;
pub mod message;
pub mod pool;
pub mod proxy;
pub mod run_id;
pub mod wire;

mod carry;
mod feed;
mod post;
mod recent;

pub use agent::wps_remote::{Sessions, WpsRemoteAgent, WpsRemoteError, WpsRemoteSettings};
pub use agent::{Agent, AgentData, AgentError, AgentService, AgentSettings, DataError, Profile};
pub use load::{Drain, Load, LoadSource};
pub use message::Message;
pub use pool::{
    AgentInfo, Counters, DrainError, Orchestrator, OrchestratorSettings, Publisher, ServerData, WaitingRuns,
};
pub use proxy::RemoteProcess;
pub use run_id::RunId;
