//! XML: the only module that names quick-xml.
//!
//! [`Reader`] pulls a document apart, element by element, and refuses what a server must not read: document types,
//! entities other than the five of XML itself, and anything over the limits below. It holds no document whole: bytes become
//! text in blocks (`source`), text becomes tokens (`tokens`), and of these the large ones go to a spool (`content`).
//! [`Writer`] escapes everything.

use std::io;

mod compare;
mod content;
mod element;
mod embed;
mod reader;
mod source;
mod tokens;
mod writer;

pub(crate) use compare::{decode_base64, expanded};
pub(crate) use content::{Content, Payload};
pub(crate) use element::Element;
pub(crate) use embed::embeddable_from;
pub(crate) use reader::Reader;
pub(crate) use writer::{Writer, escape_text};

/// The namespace of `xlink:href`.
pub(crate) const XLINK: &str = "http://www.w3.org/1999/xlink";

/// How large the parts of a document may be that can't pass in pieces.
#[derive(Clone, Copy)]
struct Limits {
    /// Deepest nesting of elements.
    depth_max: usize,
    /// Longest start tag, in bytes.
    tag_bytes_max: usize,
    /// Most attributes of an element: every one is compared with all others.
    attributes_max: usize,
}

/// Of requests. GML is nested about twenty deep; the longest attributes are URLs and lists of schema locations.
const REQUEST: Limits = Limits { depth_max: 64, tag_bytes_max: 64 * 1024, attributes_max: 256 };
/// Of what processes put out: attributes of SVG hold whole geometries.
const OUTPUT: Limits = Limits { depth_max: 10_000, tag_bytes_max: 16 << 20, attributes_max: 10_000 };

/// Longest text of an element that is no payload (an identifier, a corner, a header), in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {rule}")]
pub(crate) struct XmlError {
    /// Counted from 1.
    pub(crate) line: usize,
    /// The rule that is broken, for the client.
    pub(crate) rule: String,
}

/// A whole document in memory: for those without payloads.
pub(crate) fn to_vec(write: impl FnOnce(&mut Writer<'_>) -> io::Result<()>) -> Vec<u8> {
    let mut out = Vec::new();
    let written = Writer::document(&mut out).and_then(|mut xml| {
        write(&mut xml)?;
        xml.finish()
    });
    // Memory can't fail to be written to, and nothing else is touched.
    debug_assert!(written.is_ok());
    out
}

#[cfg(test)]
mod tests;
