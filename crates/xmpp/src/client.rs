//! A client session: connects to an XMPP server and keeps connected.
//!
//! `login.rs` goes from a host name to a bound session, `conversation.rs` is what is said then (a state machine without
//! IO, shared with local sessions of the server), `session.rs` joins both and reconnects. What may heal is retried for
//! ever, with pauses that grow; what cannot heal stops the session with a [`ClientError`].

mod config;
pub(crate) mod conversation;
mod error;
mod login;
mod session;

pub use config::{Backoff, ClientConfig, ClientLimits, Security};
pub use conversation::Timing;
pub use error::ClientError;

use self::conversation::Conversation;
use self::session::Session;
use crate::bus::Bus;
use crate::wire::tls::client_config;

/// Starts a session and returns at once; [`BusEvent::Up`](crate::BusEvent::Up) tells when it is connected. Must be
/// called within a Tokio runtime. Fails only for a configuration that makes no sense.
pub fn connect(mut config: ClientConfig) -> Result<Bus, ClientError> {
    let tls = match &config.security {
        Security::StartTls(trust) | Security::DirectTls(trust) => {
            Some(client_config(trust).map_err(|e| ClientError::Config {
                what: "trust",
                value: format!("of {}", config.host),
                reason: e.to_string(),
            })?)
        }
        Security::Plaintext => None,
    };
    let rooms = std::mem::take(&mut config.rooms);
    let conversation = Conversation::new(config.timing.clone(), config.limits.stanza_bytes_max, rooms)?;
    let (bus, driver) = Bus::channel();
    tokio::spawn(Session { config, tls, conversation, driver }.run());
    Ok(bus)
}
