//! Why a document could not be read.

use std::borrow::Cow;
use std::io;

/// A rule that bytes break, and where, counted from the start of those bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Offset within the bytes that were looked at.
    pub at: usize,
    /// The rule, as a sentence without its full stop.
    pub rule: Cow<'static, str>,
}

impl Flaw {
    /// A rule broken at an offset.
    pub fn new(at: usize, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { at, rule: rule.into() }
    }

    /// The same, in a document: `base` is the offset of the bytes that were looked at.
    #[must_use]
    pub fn locate(self, feature: Option<u64>, base: u64) -> Error {
        Error::Invalid { feature, offset: base + self.at as u64, rule: self.rule }
    }
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not GeoJSON.
    #[error("{}byte {offset}: {rule}", feature_text(*.feature))]
    Invalid {
        /// In which feature, counted from 1, where it is in one.
        feature: Option<u64>,
        /// Offset in the document, in bytes from 0.
        offset: u64,
        /// The rule that is broken.
        rule: Cow<'static, str>,
    },
    /// One feature, or the members of the collection before its features, over the limit.
    #[error("{}byte {offset}: what begins here is larger than the {bytes_max} bytes allowed for one feature", feature_text(*.feature))]
    TooLarge {
        /// Which feature, counted from 1; `None` is the head of a collection.
        feature: Option<u64>,
        /// Where it begins.
        offset: u64,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The bytes could not be read at all.
    #[error("the data can't be read")]
    Read(#[from] io::Error),
}

fn feature_text(feature: Option<u64>) -> String {
    feature.map(|number| format!("feature {number}, ")).unwrap_or_default()
}
