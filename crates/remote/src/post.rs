//! Handing messages to a session: what both ends do alike.

use std::time::{Duration, Instant};

use anabranch_xmpp::{BusReceiver, BusSender, MessageKind, Outgoing, SendError};

use crate::link::Segment;
use crate::message::Message;
use crate::run_id::RunId;
use crate::wire::{self, Envelope};

/// The clock of both ends: Tokio's, so that tests may hold it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long a session may take to log out, before whoever comes in its place comes.
const LEAVES: Duration = Duration::from_secs(5);

/// Logs out when all that was handed over before has left: a session whose receiver is dropped ends at once.
pub(crate) async fn log_out(sender: &BusSender, session: &mut BusReceiver) {
    // It may be gone already, which is as good.
    let _gone = sender.close().await;
    let ended = async { while session.next().await.is_some() {} };
    let _it_does_not_end = tokio::time::timeout(LEAVES, ended).await;
}

/// A JID without its resource.
pub(crate) fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

/// A segment of a run's link as an envelope.
pub(crate) fn envelope(run: RunId, segment: Segment<Message>) -> Envelope {
    let (seq, message) = segment.message.unwrap_or((0, Message::Acknowledge));
    Envelope { run: Some(run), seq, ack: segment.ack, message }
}

/// Hands a text to the session without waiting.
pub(crate) fn post_body(
    sender: &BusSender,
    address: &str,
    text: String,
    id: Option<String>,
) -> Result<(), SendError> {
    let (to, kind) = (address.to_owned(), MessageKind::Chat);
    sender.try_send(Outgoing { to, kind, id, body: Some(text), payloads: Vec::new() })
}

/// Hands a message to the session without waiting.
pub(crate) fn post(sender: &BusSender, address: &str, envelope: &Envelope) -> Result<(), SendError> {
    match wire::encode(envelope) {
        Ok(element) => sender.try_send(Outgoing {
            to: address.to_owned(),
            kind: MessageKind::Chat,
            id: None,
            body: None,
            payloads: vec![element],
        }),
        Err(error) => {
            // Sizes are checked where messages are made; what is left is a fault of ours, and must not block a link.
            tracing::error!(%error, run = envelope.run.map(tracing::field::display), "a message can't be sent");
            Ok(())
        }
    }
}
