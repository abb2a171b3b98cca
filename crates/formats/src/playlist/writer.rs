//! Playlists as text: the one of 2012, and m3u8 (RFC 8216) that is a playlist of 2012 too.
//!
//! ```text
//! playlist  = head *entry [ exception ] end     ; exception and end are missing while it is open
//! head      = "#SPATIAL-DATA-PLAYLIST" LF
//! entry     = absolute-URL LF
//! exception = "#EXCEPTION:" absolute-URL LF
//! end       = "#PLAYLIST-END" LF
//! ```
//!
//! Readers of 2012 stop at a blank line and take a `#` anywhere for a comment: neither is ever written where it is not meant. In m3u8 the
//! tags of both stand side by side, for each kind of reader passes over those of the other.

use super::{Chunk, END, EXCEPTION, End, HEADER};
use std::io::{self, Write};
use std::time::Duration;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 52°North's of 2012.
    Plain,
    /// RFC 8216, of the type EVENT: it only grows.
    M3u8,
}

/// What stands before the first chunk. Chunks of geodata have no duration: the longest is told to be 1 s, which is how often players look.
const M3U8_HEAD: &str = "#EXTM3U\n#SPATIAL-DATA-PLAYLIST\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:EVENT\n";

/// The same of a playlist that shows the last chunks only, and so is no EVENT.
const M3U8_WINDOW_HEAD: &str =
    "#EXTM3U\n#SPATIAL-DATA-PLAYLIST\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:";

/// Writes what stands before the first chunk of an m3u8 playlist that slides: `left_out` chunks are not shown any more. Those of 2012 can't
/// slide, for their readers know the new ones by a text that has become longer.
///
/// # Errors
/// Where `out` can't be written.
pub fn window_head(left_out: u64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{M3U8_WINDOW_HEAD}{left_out}")
}

/// Writes what stands before the first chunk.
///
/// # Errors
/// Where `out` can't be written.
pub fn head(form: Form, out: &mut dyn Write) -> io::Result<()> {
    match form {
        Form::Plain => writeln!(out, "{HEADER}"),
        Form::M3u8 => out.write_all(M3U8_HEAD.as_bytes()),
    }
}

/// Writes one chunk.
///
/// # Errors
/// Where `out` can't be written.
pub fn entry(form: Form, chunk: &Chunk, out: &mut dyn Write) -> io::Result<()> {
    if form == Form::M3u8 {
        let seq = chunk.seq;
        match chunk.run_ms {
            // No duration may be longer than the target (section 4.3.3.1); the whole time is told below.
            Some(ms) => {
                writeln!(out, "#EXTINF:{:.2},chunk {seq}", Duration::from_millis(ms.min(1000)).as_secs_f64())?
            }
            None => writeln!(out, "#EXTINF:0,chunk {seq}")?,
        }
        if let Some(stored) = chunk.stored {
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{stored:.3}")?;
        }
        write!(out, "#EXT-X-GEO-CHUNK:SEQ={seq}")?;
        for (name, number) in [("COUNT", chunk.count), ("BYTES", chunk.bytes), ("RUN-MS", chunk.run_ms)] {
            if let Some(number) = number {
                write!(out, ",{name}={number}")?;
            }
        }
        if let Some([west, south, east, north]) = chunk.bbox {
            write!(out, ",BBOX=\"{west},{south},{east},{north}\"")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", one_line(&chunk.href))
}

/// Writes what stands after the last chunk; nothing where more may come.
///
/// # Errors
/// Where `out` can't be written.
pub fn end(form: Form, end: &End, out: &mut dyn Write) -> io::Result<()> {
    match end {
        End::Open => return Ok(()),
        End::Complete => {}
        End::Failed { report } => writeln!(out, "{EXCEPTION}{}", one_line(report))?,
    }
    if form == Form::M3u8 {
        writeln!(out, "#EXT-X-ENDLIST")?;
    }
    writeln!(out, "{END}")
}

/// Whatever would end the line, or make it a comment, percent-encoded.
fn one_line(href: &str) -> String {
    let mut line = String::with_capacity(href.len());
    for c in href.chars() {
        if c == '#' || c.is_ascii_control() || c == ' ' {
            line.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests;
