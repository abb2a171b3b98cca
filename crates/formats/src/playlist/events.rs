//! Playlists as server-sent events (WHATWG HTML §9.2): the id of an event is the number of its chunk, so that who reconnects with
//! `Last-Event-ID` misses none.

use super::Chunk;
use super::document::Exception;
use serde::Serialize;
use std::io::{self, Write};

/// The media type.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// What keeps the connection from being taken for dead.
pub const KEEP_ALIVE: &str = ":\n\n";

/// Tells the client to come back after a second, where the connection breaks.
pub const HEAD: &str = "retry: 1000\n\n";

/// Writes the event of a chunk.
///
/// # Errors
/// Where `out` can't be written.
pub fn chunk(chunk: &Chunk, out: &mut dyn Write) -> io::Result<()> {
    event(chunk.seq, "chunk", chunk, out)
}

/// Writes the end of a log of so many chunks; with the reason, where it did not end well. Its id is that of no chunk: who has it has all.
///
/// # Errors
/// Where `out` can't be written.
pub fn end(chunks: u64, exception: Option<&Exception>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct End<'a> {
        chunks: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        exception: Option<&'a Exception>,
    }
    event(chunks + 1, "end", &End { chunks, exception }, out)
}

fn event(id: u64, name: &str, data: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    // JSON has no line ends of its own, so that one `data` line holds it.
    let data = serde_json::to_string(data)?;
    write!(out, "id: {id}\nevent: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_agreed() {
        let mut out = HEAD.as_bytes().to_vec();
        for (seq, count) in [(1, 2), (2, 3)] {
            let href = format!("http://wps.example/jobs/3f/chunks/{seq}.gml");
            chunk(&Chunk { seq, href, count: Some(count), ..Chunk::default() }, &mut out).unwrap();
        }
        end(2, None, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), include_str!("../../testdata/playlist/stream.sse"));
        let mut out = Vec::new();
        let exception = Exception { detail: "no\nluck".into(), href: "http://x/e".into() };
        end(0, Some(&exception), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "id: 1\nevent: end\ndata: {\"chunks\":0,\"exception\":{\"detail\":\"no\\nluck\",\"href\":\"http://x/e\"}}\n\n"
        );
    }
}
