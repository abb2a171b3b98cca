//! Playlists: growing lists of the addresses of chunks (52°North's Streaming based WPS, 2012; RFC 8216 for the words of its media
//! playlists).
//!
//! What is written never changes: a playlist of more chunks begins with the one of fewer, byte for byte, and readers that have the
//! beginning read on behind it.

pub mod document;
pub mod events;
pub mod features;
pub mod reader;
mod report;
pub mod writer;

pub use reader::{Playlist, read, single_address};
pub use report::exception_text;

use anabranch_model::Timestamp;
use serde::Serialize;

/// Comes first in the playlists of 2012.
pub const HEADER: &str = "#SPATIAL-DATA-PLAYLIST";
/// Nothing comes after it.
pub const END: &str = "#PLAYLIST-END";
/// The address of an exception report follows.
pub const EXCEPTION: &str = "#EXCEPTION:";

/// The media type of an m3u8 playlist (RFC 8216 §4).
pub const M3U8: &str = "application/vnd.apple.mpegurl";

/// A chunk, as a playlist lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chunk {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// Absolute address.
    pub href: String,
    /// Media type of what is found there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Features in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Where it lies: west, south, east, north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Timestamp>,
    /// How long the run took that made it, in milliseconds.
    #[serde(rename = "runMs", skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
}

/// Whether more chunks will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// They may.
    Open,
    /// All are there.
    Complete,
    /// No more, because the work failed or was ended.
    Failed {
        /// Where the exception report lies.
        report: String,
    },
}
