//! Reads playlists as they are found in the world.
//!
//! Accepted on purpose: a byte order mark, any line end, spaces around a line, blank lines, comments, a missing header, lines after the end
//! mark (which are passed over), `#` inside an address (a fragment). A last line without its end is held back: it may be torn.
//! An address is not looked at here: what it means depends on where the playlist lies.

use super::{END, EXCEPTION, HEADER};

/// Longest line, in bytes: an address, a few tags.
pub const LINE_BYTES_MAX: usize = 8 << 10;

/// Most chunks that a playlist may list: as many as a job may have.
pub const CHUNKS_MAX: usize = 1_000_000;

/// What the first lines of a sliding window's playlist have left behind (RFC 8216 §4.3.3.2).
const MEDIA_SEQUENCE: &str = "#EXT-X-MEDIA-SEQUENCE:";

/// The end mark of RFC 8216 §4.3.3.4.
const ENDLIST: &str = "#EXT-X-ENDLIST";

/// What a playlist says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playlist {
    /// Chunks that are not listed any more, because the playlist shows the last ones only.
    pub left_out: u64,
    /// The addresses of the chunks, as they are written.
    pub chunks: Vec<String>,
    /// Where the report lies that says why there are no more.
    pub exception: Option<String>,
    /// Nothing more will come.
    pub is_ended: bool,
    /// It begins as a playlist should.
    pub has_header: bool,
}

/// Why a text is no playlist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A line is too long.
    #[error("line {line} of the playlist has more than {LINE_BYTES_MAX} bytes")]
    LongLine {
        /// Which, from 1.
        line: usize,
    },
    /// It lists too much.
    #[error("the playlist lists more than {CHUNKS_MAX} chunks")]
    TooMany,
    /// It is no text.
    #[error("line {line} of the playlist is not UTF-8")]
    NoText {
        /// Which, from 1.
        line: usize,
    },
    /// A number that is none.
    #[error("line {line} of the playlist has no number after {MEDIA_SEQUENCE}")]
    NoNumber {
        /// Which, from 1.
        line: usize,
    },
}

/// Reads a playlist. `is_whole` says that no more of it will come, so that its last line needs no line end.
///
/// # Errors
/// The first line that breaks a limit, or is no text.
pub fn read(text: &[u8], is_whole: bool) -> Result<Playlist, Malformed> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut playlist = Playlist::default();
    for (line, number, is_terminated) in lines(text) {
        if line.len() > LINE_BYTES_MAX {
            return Err(Malformed::LongLine { line: number });
        }
        // What is torn may be torn in the middle of a character. An end mark is one though its line end be missing.
        let is_end = [END, ENDLIST].iter().any(|mark| line.trim_ascii() == mark.as_bytes());
        if !(is_terminated || is_whole || is_end) {
            continue;
        }
        let line = std::str::from_utf8(line).map_err(|_invalid| Malformed::NoText { line: number })?.trim();
        if is_end {
            playlist.is_ended = true;
        } else if playlist.is_ended || line.is_empty() {
            continue;
        } else if let Some(address) = line.strip_prefix(EXCEPTION) {
            playlist.exception.get_or_insert_with(|| address.trim().to_owned());
        } else if let Some(count) = line.strip_prefix(MEDIA_SEQUENCE) {
            playlist.left_out =
                count.trim().parse().map_err(|_no_number| Malformed::NoNumber { line: number })?;
        } else if line == HEADER {
            playlist.has_header = true;
        } else if !line.starts_with('#') {
            if playlist.chunks.len() >= CHUNKS_MAX {
                return Err(Malformed::TooMany);
            }
            playlist.chunks.push(line.to_owned());
        }
    }
    Ok(playlist)
}

/// Lines with their numbers, and whether each has its end.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], usize, bool)> {
    let mut rest = text;
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = &rest[..end.unwrap_or(rest.len())];
        let skipped = match end {
            Some(end) if rest[end..].starts_with(b"\r\n") => end + 2,
            Some(end) => end + 1,
            None => rest.len(),
        };
        rest = &rest[skipped..];
        Some((line, number, end.is_some()))
    })
}

/// Reads a text as it grows, as the fuzzer does: what is read of its beginning is the beginning of what is read of it.
///
/// # Panics
/// Where it is not: that is what the fuzzer looks for.
#[doc(hidden)]
pub fn fuzz_playlist(data: &[u8]) {
    let _any_report = super::exception_text(data);
    let Ok(whole) = read(data, false) else { return };
    for end in [data.len() / 3, data.len() / 2, data.len().saturating_sub(1)] {
        let Ok(part) = read(&data[..end], false) else { panic!("a part can't be read of what can: {end}") };
        assert!(whole.chunks.starts_with(&part.chunks), "a chunk was read that is none: {end}");
        // The end mark is believed before its line end is there.
        let is_cut = !data[..end].ends_with(b"\n");
        assert!(whole.is_ended || !part.is_ended || is_cut, "an end was read that is none: {end}");
    }
}

/// The address in a text that may be one address instead of a playlist: clients that send an input's playlist inline mostly send where it
/// lies.
#[must_use]
pub fn single_address(text: &str) -> Option<&str> {
    let text = text.trim().trim_start_matches('\u{feff}');
    let is_one = !text.is_empty() && !text.starts_with('#') && !text.contains(['\n', '\r']);
    is_one.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = "http://wps.example:8080/wps/RetrieveResultServlet?id=dirplaylist1349368020000_chunk";

    #[test]
    fn what_is_found_in_the_world_is_read() {
        let crlf = format!("# free comment\r\n{CHUNK}1\r\n# another\r\n{CHUNK}2\r\n#PLAYLIST-END\r\n");
        let read_crlf = read(crlf.as_bytes(), false).unwrap();
        assert_eq!(read_crlf.chunks, [format!("{CHUNK}1"), format!("{CHUNK}2")]);
        assert!(read_crlf.is_ended && !read_crlf.has_header);
        let dirty = format!(
            "\u{feff}{HEADER}\n\n  {CHUNK}1  \n\n# note\nhttp://data.example/f.gml#part2\nnot a url at all\n{END}\n{CHUNK}9\nhttp://data.example/torn"
        );
        let dirty = read(dirty.as_bytes(), false).unwrap();
        assert_eq!(
            dirty.chunks,
            [&format!("{CHUNK}1"), "http://data.example/f.gml#part2", "not a url at all"]
        );
        assert!(dirty.is_ended && dirty.has_header);
        let failed = format!("{HEADER}\n{CHUNK}1\n#EXCEPTION: http://x/e \n{END}");
        let failed = read(failed.as_bytes(), false).unwrap();
        assert_eq!((failed.exception.as_deref(), failed.is_ended), (Some("http://x/e"), true));
        let window = read(b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\na\rb\n#EXT-X-ENDLIST", false).unwrap();
        assert_eq!((window.left_out, window.chunks.len(), window.is_ended), (7, 2, true));
    }

    #[test]
    fn a_torn_line_is_held_back() {
        let torn = b"#SPATIAL-DATA-PLAYLIST\nhttp://x/1\nhttp://x/";
        assert_eq!(read(torn, false).unwrap().chunks, ["http://x/1"]);
        assert_eq!(read(torn, true).unwrap().chunks.len(), 2);
        assert_eq!(read(b"", false), Ok(Playlist::default()));
        assert_eq!(read(b"http://x/1\nhttp://x/\xc3", false).unwrap().chunks, ["http://x/1"]);
        for n in 0..torn.len() {
            fuzz_playlist(&torn[..n]);
        }
    }

    #[test]
    fn limits_hold() {
        let long = [b"http://x/".as_slice(), &vec![b'a'; LINE_BYTES_MAX], b"\n"].concat();
        assert_eq!(read(&long, false), Err(Malformed::LongLine { line: 1 }));
        assert_eq!(read(b"\n\xff\n", false), Err(Malformed::NoText { line: 2 }));
        assert_eq!(read(b"#EXT-X-MEDIA-SEQUENCE:x\n", false), Err(Malformed::NoNumber { line: 1 }));
        let many = "a\n".repeat(CHUNKS_MAX + 1);
        assert_eq!(read(many.as_bytes(), false), Err(Malformed::TooMany));
    }

    #[test]
    fn an_address_is_told_from_a_playlist() {
        assert_eq!(single_address(" http://x/p.txt \n"), Some("http://x/p.txt"));
        assert_eq!(single_address("#SPATIAL-DATA-PLAYLIST\nhttp://x/1\n"), None);
        assert_eq!(single_address(HEADER), None);
        assert_eq!(single_address("  "), None);
    }
}
