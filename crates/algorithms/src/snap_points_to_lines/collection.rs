//! A document from which features may be missing.

use crate::result_writer::ResultWriter;
use anabranch_formats::geojson::Place;
use anabranch_model::{Data, Error};

/// Most bytes of white space that are kept between two features; more is nobody's layout.
const SEPARATOR_BYTES_MAX: usize = 64 << 10;

const EMPTY_COLLECTION: &[u8] = br#"{"type":"FeatureCollection","features":[]}"#;

/// Puts a document together again. What separates features is held back until it is known that a feature follows.
pub(super) struct Collection {
    result: ResultWriter,
    /// What stands behind the last feature, as long as it may be a separator.
    separator: Vec<u8>,
    /// Features come one after the other: only separators since the last one.
    run: Option<Run>,
}

/// Features one after the other.
struct Run {
    place: Place,
    /// One at least was kept.
    kept: bool,
}

impl Collection {
    pub(super) fn new(result: ResultWriter) -> Self {
        Self { result, separator: Vec::new(), run: None }
    }

    /// Bytes before, between and behind features.
    pub(super) fn between(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(run) = &self.run else { return self.result.write(bytes) };
        let separates = |byte: &u8| b" \t\r\n,\x1e".contains(byte);
        let length = bytes.iter().position(|byte| !separates(byte)).unwrap_or(bytes.len());
        let (separator, rest) = bytes.split_at(length);
        let is_first = self.separator.is_empty();
        let room = SEPARATOR_BYTES_MAX.saturating_sub(self.separator.len());
        if is_first || separator.len() <= room {
            self.separator.extend_from_slice(separator);
        } else {
            self.separator.extend(separator.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        if rest.is_empty() {
            return Ok(());
        }
        if run.place == Place::Root && !run.kept {
            self.result.write(EMPTY_COLLECTION)?;
        }
        // Behind the last feature that is left there is white space only: a comma went with what it separated.
        self.result.write(&self.separator)?;
        self.separator.clear();
        self.run = None;
        self.result.write(rest)
    }

    /// A feature, or `None` where it is dropped.
    pub(super) fn feature(&mut self, place: Place, feature: Option<&[u8]>) -> Result<(), Error> {
        let run = self.run.get_or_insert(Run { place, kept: false });
        if let Some(feature) = feature {
            if run.kept {
                self.result.write(&self.separator)?;
            }
            run.kept = true;
            self.result.write(feature)?;
        }
        self.separator.clear();
        Ok(())
    }

    /// The whole document.
    pub(super) fn finish(mut self) -> Result<Data, Error> {
        if let Some(Run { place: Place::Root, kept: false }) = self.run {
            self.result.write(EMPTY_COLLECTION)?;
        }
        self.result.write(&self.separator)?;
        self.result.finish()
    }
}
