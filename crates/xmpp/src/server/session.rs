//! A bound session over TCP: one task that reads, routes and writes.

use std::sync::Arc;

use minidom::Element;

use super::Context;
use super::negotiate::condition_of;
use super::ping;
use super::router::{Attached, Next, hold_over, tally};
use crate::wire::stanza::{ElementExt, is_stanza};
use crate::wire::stream::{Received, Stream, StreamFailure};

/// Stanzas written before the buffer is flushed: fewer system calls for a busy room, no noticeable delay for a quiet
/// one, because the batch ends when the queue is empty.
const BATCH_MAX: usize = 64;

/// How a session ended.
enum End {
    /// With a stream error of ours.
    Ours(Option<&'static str>),
    /// The connection is lost.
    Lost,
}

pub(super) async fn run(mut stream: Stream, mut attached: Attached, context: &Context) {
    tracing::info!(jid = attached.jid, "session begins");
    let end = serve(&mut stream, &mut attached, context).await;
    let jid = attached.jid.clone();
    // First the rooms, then the goodbye: that may take a while.
    drop(attached);
    match end {
        End::Ours(condition) => {
            tracing::info!(jid, condition, "session ends");
            stream.close(condition).await;
        }
        End::Lost => tracing::info!(jid, "session lost"),
    }
}

async fn serve(stream: &mut Stream, attached: &mut Attached, context: &Context) -> End {
    let mut hold = None;
    loop {
        // Without an order: neither a flood of stanzas to the peer nor one from it may hold up the other direction.
        let end = tokio::select! {
            next = attached.next() => match next {
                Next::Stanza(stanza) => write(stream, attached, stanza, context).await,
                Next::End(condition) => Some(End::Ours(Some(condition))),
            },
            () = hold_over(hold.as_ref()) => {
                hold = None;
                None
            }
            received = stream.next(), if hold.is_none() && !attached.is_being_told() => match received {
                Ok(Received::Element(element)) if is_stanza(&element) => {
                    hold = attached.route(element, stream.last_bytes);
                    None
                }
                Ok(received) => take(&received, stream, attached, context).await,
                Err(failure) => Some(failed(&failure, attached, context)),
            },
        };
        if let Some(end) = end {
            return end;
        }
    }
}

async fn take(
    received: &Received,
    stream: &mut Stream,
    attached: &mut Attached,
    context: &Context,
) -> Option<End> {
    match received {
        // RFC 6120 §4.9.3.24.
        Received::Element(_) => Some(End::Ours(Some("unsupported-stanza-type"))),
        Received::Silent => {
            let ping = ping::from_server(&context.domain, &attached.jid);
            write(stream, attached, Arc::new(ping), context).await
        }
        Received::Closed => Some(End::Ours(None)),
    }
}

fn failed(failure: &StreamFailure, attached: &Attached, context: &Context) -> End {
    tracing::info!(jid = attached.jid, error = %failure, "stream failed");
    match condition_of(failure) {
        Some(condition) => {
            tally(&context.router.tallies.bad_streams_ended);
            End::Ours(Some(condition))
        }
        None => End::Lost,
    }
}

/// Writes a stanza and some of those that wait, unless the peer takes nothing or the session is ended meanwhile.
async fn write(
    stream: &mut Stream,
    attached: &mut Attached,
    first: Arc<Element>,
    context: &Context,
) -> Option<End> {
    let mut batch = vec![first];
    while let Some(stanza) = if batch.len() < BATCH_MAX { attached.try_next() } else { None } {
        batch.push(stanza);
    }
    let jid = attached.jid.clone();
    let writing = async {
        for stanza in &batch {
            let fed = match stanza.attr("to") {
                Some(_) => stream.feed(stanza).await,
                // What goes to many gets its address here, one copy at a time.
                None => stream.feed(&Element::clone(stanza).with("to", &jid)).await,
            };
            match fed {
                // Cannot be written as XML; only a program within this process could have made it.
                Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
                    tracing::warn!(error = %e, "stanza dropped");
                }
                other => other?,
            }
        }
        stream.flush().await
    };
    tokio::select! {
        biased;
        condition = attached.ended() => Some(End::Ours(Some(condition))),
        written = tokio::time::timeout(context.limits.write_timeout, writing) => match written {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(End::Lost),
        },
    }
}

#[cfg(test)]
mod tests;
