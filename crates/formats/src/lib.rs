//! Data formats: what the bytes of a value are, and how to walk through them without holding them.
//!
//! This crate is *not* a geometry library and builds no object trees: it finds the structure of a document and leaves its
//! bytes where they are, so that what a process does not change comes out byte for byte as it went in.
//! It knows no runtime: everything reads from [`std::io::Read`].
//!
//! Read these three first: [`geojson::Splitter`] (a document as a stream of features), [`geojson::GeometryFinder`] (where the
//! coordinates of a feature stand), [`geojson::Positions`] (coordinates as numbers that remember their bytes).

mod bytes;
mod chunks;
mod convert;
pub mod crs;
pub mod detect;
mod facts;
pub mod geojson;
mod meant;
pub mod playlist;
pub mod raster;
mod room;
mod source;
pub mod vector;

pub use chunks::{Spread, chunk_sizes};
pub use convert::{Convertible, convert};
pub use detect::{DETECT_BYTES, detect};
pub use facts::{Extent, LOOK_BYTES_MAX, can_be_looked_at, facts_of_geojson, look};
pub use meant::meant;

#[doc(hidden)]
pub use geojson::fuzz_geojson;
pub use room::Room;
pub use vector::FormatError;
