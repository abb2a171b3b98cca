//! A client session: connects to an XMPP server and keeps connected.

mod error;

pub use error::ClientError;
