//! GeoTIFF 1.1 (OGC 19-008r4): TIFF 6.0 with georeference, read by window and written in tiles.
//!
//! Read is the first image of a file, classic TIFF or BigTIFF, in either byte order: strips and tiles, bands together or apart, integers of 1,
//! 2, 4, 8, 16, 32 and 64 bits and numbers of 16, 32 and 64, packed by nothing, LZW, Deflate, PackBits or Zstandard, with both
//! predictors. What GDAL adds is read too: value of no data, scale and offset, blocks that are left out. Masks, overviews, colours and
//! control points are passed over. JPEG, LERC, complex numbers and the like are refused by name: `gdal_translate` as a process reads them.
//! Values of fewer than 8 bits become bytes, numbers of 16 bits become ones of 32.
//!
//! Written are tiles, band after band, with the directory in front of them; as a BigTIFF where it would end beyond 4 GiB.
//!
//! The structure is ours and only codecs are libraries, because a reader of strangers' files has to decide itself what it holds, and
//! because the encoders at hand write no tiles.

mod codec;
mod cut;
mod directory;
mod form;
mod geokeys;
mod layout;
mod metadata;
mod predictor;
mod reader;
mod tags;
mod tile_writer;
mod writer;

pub use codec::Compression;
pub use cut::{cut, join};
pub use geokeys::GeoKeys;
pub use reader::Reader;
pub use tile_writer::{TilePacker, TileWriter};
pub use writer::Writer;

use crate::FormatError;

const FORMAT: &str = "GeoTIFF";

fn malformed(rule: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule: rule.into(), place: None }
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}

#[cfg(test)]
mod tests;
