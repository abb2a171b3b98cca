//! Execute responses (WPS 1.0.0 §10.3).

use crate::output::Output;
use anabranch_model::{ExecuteRequest, Job, ProcessDescription};
use std::io;

/// What an ExecuteResponse is made of.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The job, at one moment.
    pub job: &'a Job,
    /// What it executes.
    pub process: &'a ProcessDescription,
    /// The GetCapabilities URL, unescaped: `serviceInstance`.
    pub service_instance: &'a str,
    /// Where this document is kept up to date, unescaped; `None` where it is not stored.
    pub status_location: Option<&'a str>,
    /// `xml:lang`.
    pub language: &'a str,
    /// The request, where the client asked for lineage or named outputs; repeated only where `lineage` is set in it.
    pub request: &'a ExecuteRequest,
    /// The outputs; written only when the job has succeeded.
    pub outputs: &'a [Output<'a>],
}

/// Writes an ExecuteResponse; reads files in blocks.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write(_response: &Response<'_>, _out: &mut dyn io::Write) -> io::Result<()> {
    unimplemented!()
}

/// The media type of a raw answer.
#[must_use]
pub fn raw_media_type(_output: &Output<'_>) -> String {
    unimplemented!()
}

/// Writes one output as it is: `RawDataOutput`.
///
/// # Errors
/// Where `out` can't be written or the value's file can't be read, or where the value is a reference (the server redirects or copies).
pub fn write_raw(_output: &Output<'_>, _out: &mut dyn io::Write) -> io::Result<()> {
    unimplemented!()
}
