//! The features of all chunks as one response: GeoJSON text sequences (RFC 8142) and newline-delimited GeoJSON.
//!
//! An error in the middle comes after the answer has begun, so it stands in it: the last record is an object of the type `stream-error`.
//! In newline-delimited GeoJSON a good end is a record too (`stream-end`); a text sequence holds nothing but GeoJSON as long as all is
//! well.

use crate::geojson::{Error, Piece, Splitter};
use serde::Serialize;
use std::io::{self, Read, Write};

/// The media type of a GeoJSON text sequence.
pub const SEQUENCE: &str = "application/geo+json-seq";
/// The media type of newline-delimited JSON.
pub const LINES: &str = "application/x-ndjson";

/// How records are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a record separator before each (RFC 8142).
    Sequence,
    /// By a line end after each.
    Lines,
}

/// The features of one chunk, as records, a block at a time.
pub struct Records<R> {
    splitter: Splitter<R>,
    framing: Framing,
    is_done: bool,
}

impl<R: Read> Records<R> {
    /// Of a chunk that is GeoJSON in whatever framing.
    pub fn new(chunk: R, framing: Framing) -> Self {
        Self { splitter: Splitter::new(chunk), framing, is_done: false }
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.splitter.features()
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Appends records to `out` until it holds `bytes` or a little more, or nothing is left.
    ///
    /// # Errors
    /// Where the chunk is no GeoJSON.
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) -> Result<(), Error> {
        while out.len() < bytes && !self.is_done {
            match self.splitter.next()? {
                Some(Piece::Feature(feature)) => record(self.framing, feature.bytes, out),
                Some(Piece::Between(_)) => {}
                None => self.is_done = true,
            }
        }
        Ok(())
    }
}

/// On one line: in sound JSON line ends stand between tokens only.
fn record(framing: Framing, json: &[u8], out: &mut Vec<u8>) {
    if framing == Framing::Sequence {
        out.push(0x1e);
    }
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.push(b'\n');
}

/// Writes the last record, after so many: the reason where it did not end well.
///
/// # Errors
/// Where `out` can't be written.
pub fn end(framing: Framing, features: u64, error: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Last<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        features: u64,
    }
    let kind = if error.is_some() { "stream-error" } else { "stream-end" };
    if error.is_none() && framing == Framing::Sequence {
        return Ok(());
    }
    let mut bytes = Vec::new();
    record(framing, &serde_json::to_vec(&Last { r#type: kind, detail: error, features })?, &mut bytes);
    out.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = r#"{"type":"FeatureCollection","features":[
        {"type":"Feature","id":"ID0","geometry":{"type":"Point","coordinates":[3,0]},"properties":{"speed":31}},
        {"type":"Feature","id":"ID2","geometry":{"type":"Point","coordinates":[10,0]},"properties":{"speed":44}}]}"#;

    fn records(framing: Framing, chunk: &str) -> (Vec<u8>, u64) {
        let mut records = Records::new(chunk.as_bytes(), framing);
        let mut all = Vec::new();
        while !records.is_done() {
            let mut block = Vec::new();
            records.fill(&mut block, 1).unwrap();
            all.append(&mut block);
        }
        (all, records.count())
    }

    #[test]
    fn lines_are_written_as_agreed() {
        let (mut out, count) = records(Framing::Lines, CHUNK);
        end(Framing::Lines, count, None, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), include_str!("../../testdata/playlist/stream.geojsonl"));
        let mut out = Vec::new();
        end(Framing::Lines, 2, Some("the \"disk\"\nis full"), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"type\":\"stream-error\",\"detail\":\"the \\\"disk\\\"\\nis full\",\"features\":2}\n"
        );
    }

    #[test]
    fn a_sequence_is_split_into_the_same_features_again() {
        let (out, count) = records(Framing::Sequence, &CHUNK.replace(',', ",\r\n"));
        assert_eq!((count, out.iter().filter(|byte| **byte == 0x1e).count()), (2, 2));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(records(Framing::Sequence, std::str::from_utf8(&out).unwrap()).1, 2);
        let mut end_of_sequence = Vec::new();
        end(Framing::Sequence, 2, None, &mut end_of_sequence).unwrap();
        assert!(end_of_sequence.is_empty());
    }

    #[test]
    fn what_is_no_geojson_is_told() {
        assert!(Records::new("<gml/>".as_bytes(), Framing::Lines).fill(&mut Vec::new(), 9).is_err());
    }
}
