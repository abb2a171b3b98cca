//! Wire forms: how a [`Message`] stands in a stanza. One file each.

mod native;
pub mod pickle;
pub mod wps_remote;

use anabranch_xmpp::Element;

use crate::message::{Message, NotUnderstood};
use crate::run_id::RunId;

pub(crate) use native::escaped_len;
#[doc(hidden)]
pub use native::fuzz_native;
pub use native::{NAMESPACE, NATIVE, decode, encode};

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

impl Envelope {
    /// A message that belongs to no run.
    #[must_use]
    pub fn session(message: Message) -> Self {
        Self { run: None, seq: 0, ack: 0, message }
    }
}

/// Why a message can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("a message of {bytes} bytes is larger than the {BODY_BYTES_MAX} allowed")]
    TooLarge { bytes: usize },
    #[error("a message can't be written: {0}")]
    Unwritable(String),
}

/// Why an element is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Of this protocol, in a version that is not spoken here.
    #[error("namespace '{namespace}' is not spoken here, only '{NAMESPACE}'")]
    Version { namespace: String },
    /// Perhaps of a newer program; answered, and otherwise ignored.
    #[error("type '{kind}' is not known")]
    UnknownType { kind: String },
    #[error("message of type '{kind}' is malformed: {reason}")]
    Malformed { kind: String, reason: String },
}

impl DecodeError {
    /// The answer to whoever sent it.
    #[must_use]
    pub fn answer(&self) -> Message {
        let what = match self {
            Self::Version { namespace } => namespace.clone(),
            Self::UnknownType { kind } | Self::Malformed { kind, .. } => kind.clone(),
        };
        Message::NotUnderstood(NotUnderstood { what, reason: self.to_string() })
    }
}

/// The message among the children of a stanza: `None` where there is none of this protocol.
///
/// # Errors
/// Where there is one that can't be read.
pub fn find(payloads: &[Element]) -> Option<Result<Envelope, DecodeError>> {
    payloads.iter().find_map(decode)
}
