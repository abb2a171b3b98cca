//! FlatGeobuf 3: a head, a spatial index, and features one after the other, each a FlatBuffer.
//!
//! The framing is read here, so that no size is believed before it is checked, and each buffer is verified before it is looked
//! at. The index is passed over. Without a coordinate reference system coordinates are taken for longitude and latitude (CRS84).
//! Curves and surfaces are refused; measures, times and binary columns are left out.
//!
//! Written with a spatial index where all features have a geometry and are at most [`writer::INDEXED_FEATURES_MAX`], which puts
//! them in the order of a Hilbert curve; else without one and in their own order. Identifiers of features have no place.

mod geometry;
mod properties;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

const FORMAT: &str = "FlatGeobuf";

/// The first bytes; the fourth is the version, the last that of patches, which readers pass over.
const MAGIC: [u8; 8] = *b"fgb\x03fgb\0";

/// Bytes of a node of the index: a box and an offset.
const NODE_BYTES: u64 = 40;

#[cfg(test)]
mod tests;
