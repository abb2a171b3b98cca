//! Results (§7.11.4, §7.13): as a document, raw, and raw in several parts.

use crate::output::Output;
use std::io;

/// Writes the results document (`results.yaml`); reads files in blocks.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write_document(_outputs: &[Output<'_>], _out: &mut dyn io::Write) -> io::Result<()> {
    unimplemented!()
}

/// Writes one output as it is; its media type is [`Output::media_type`]. Nothing is written for a reference.
///
/// # Errors
/// Where `out` can't be written or the value's file can't be read.
pub fn write_raw(_output: &Output<'_>, _out: &mut dyn io::Write) -> io::Result<()> {
    unimplemented!()
}

/// The media type of [`write_multipart`].
#[must_use]
pub fn multipart_media_type(boundary: &str) -> String {
    format!("multipart/related; boundary=\"{boundary}\"")
}

/// Writes several outputs as they are, references as empty parts with `Content-Location` (req/core/job-results-async-raw-mixed-multi).
/// `boundary` must not occur in the values: a random one will not.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write_multipart(_outputs: &[Output<'_>], _boundary: &str, _out: &mut dyn io::Write) -> io::Result<()> {
    unimplemented!()
}
