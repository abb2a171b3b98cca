//! Wire forms: how a [`Message`] stands in a stanza.

use crate::message::Message;
use crate::run_id::RunId;

/// Largest value carried inside a message; larger ones go over the data plane. 64 KiB in base64 are 88 KiB: with
/// everything around them well below [`BODY_BYTES_MAX`].
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Largest body of a message as it stands in the XML, in bytes. Prosody and ejabberd refuse stanzas above 256 KiB by
/// default; the rest is for addresses and what rooms add.
pub const BODY_BYTES_MAX: usize = 192 * 1024;

/// A message with what its delivery needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub run: Option<RunId>,
    /// Place among the sender's messages of that run, from 1; 0 where it has none.
    pub seq: u64,
    /// All messages of the run up to this number have taken effect at the sender of this one.
    pub ack: u64,
    pub message: Message,
}
