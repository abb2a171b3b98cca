//! What a stranger can reach, as functions of bytes, for fuzzing. Not part of the public interface.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Timing;
use crate::client::conversation::Conversation;
use crate::server::{Domain, DomainConfig};
use crate::wire::scram::{ClientFirst, ClientScram, Hash, ScramKeys};
use crate::wire::stanza::is_stanza;
use crate::wire::stream::{Features, Received, Silence, Stream};

/// Pushes bytes through the guarded stream as a server reads it, and what comes out through the router and through a
/// client's conversation. Panics if a guard has let something through.
pub fn fuzz_parse_stream(data: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(parse(data.to_vec()));
}

async fn parse(data: Vec<u8>) {
    const BYTES_MAX: usize = 10_000;
    let silence = Silence { ask_after: Duration::from_secs(60), answer_within: Duration::from_secs(60) };
    let Ok(accepted) = Stream::accept(Box::new(Bytes { data, at: 0 }), BYTES_MAX, silence).await else {
        return;
    };
    let Ok(mut stream) = accepted.offer("x", &Features::default()).await else { return };
    let Some(mut domain) = domain() else { return };
    let mut effects = Vec::new();
    let Ok((session, _)) = domain.bind("a", "1", &mut effects) else { return };
    let Ok(mut conversation) = Conversation::new(Timing::default(), BYTES_MAX, Vec::new()) else { return };
    while let Ok(Received::Element(element)) = stream.next().await {
        assert!(crate::wire::stanza::unwritable(&element, 1).is_none(), "unwritable: {element:?}");
        assert!(stream.last_bytes <= 2 * BYTES_MAX);
        let _ = Features::from_element(&element);
        if is_stanza(&element) {
            conversation.handle(&element, std::time::Instant::now());
            domain.handle(session, element, &mut effects);
            effects.clear();
        }
    }
}

fn domain() -> Option<Domain> {
    let config = DomainConfig {
        domain: "x".to_owned(),
        rooms_domain: "conference.x".to_owned(),
        rooms: Vec::new(),
        create_rooms: true,
        owners: Vec::new(),
        software_name: String::new(),
        software_version: String::new(),
        rooms_max: 4,
        rooms_per_session_max: 4,
        sessions_per_account_max: 4,
    };
    Domain::new(config).ok()
}

/// Takes bytes for every message of a SCRAM login, on both sides, and for stored keys.
pub fn fuzz_scram(data: &[u8]) {
    // One round: the arithmetic is not what is looked at.
    let keys = ScramKeys::derive_with("p", b"s", 1);
    let (first, last) = data.split_at(data.len() / 2);
    for hash in [Hash::Sha1, Hash::Sha256] {
        if let Ok(first) = ClientFirst::parse(first) {
            let (server, _) = first.challenge(hash, &keys, "n");
            // Finding the proof by chance would be news.
            assert!(server.finish(last).is_err());
        }
        let mut client = ClientScram::new(hash, "u", "p", "n");
        // Rounds that the bytes ask for would make the fuzzer count, not look.
        if !data.windows(4).any(|w| w[0] == b'i' && w[1] == b'=' && w[2..].iter().all(u8::is_ascii_digit)) {
            assert!(client.respond(first).is_err() || client.verify(last).is_err());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<ScramKeys>();
    }
}

/// Bytes to read, and a place for what is written.
struct Bytes {
    data: Vec<u8>,
    at: usize,
}

impl AsyncRead for Bytes {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let end = this.data.len().min(this.at + buf.remaining());
        buf.put_slice(&this.data[this.at..end]);
        this.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

    #[test]
    fn the_entry_points_take_good_and_bad_bytes() {
        for text in [
            "",
            "<a/>",
            HEADER,
            &format!("{HEADER}<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq></stream:stream>"),
            &format!(
                "{HEADER}<message to='r@conference.x' type='groupchat'><body>x &amp; \u{1f30d}</body></message>"
            ),
            &format!("{HEADER}{}", "<a>".repeat(100_000)),
            &format!("{HEADER}<iq><!DOCTYPE x></iq>"),
            &format!(
                "{HEADER}<presence to='r@conference.x/n'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            ),
        ] {
            fuzz_parse_stream(text.as_bytes());
        }
        fuzz_parse_stream(&[0xff, 0xfe, 0]);
        for text in ["", "n,,n=user,r=abcc=biws,r=abcn,p=AAAA", "r=nx,s=AAAA,i=x", "scram:1:::::::"] {
            fuzz_scram(text.as_bytes());
        }
    }
}
