//! GeoJSON (RFC 7946), GeoJSON text sequences (RFC 8142) and newline-delimited GeoJSON, read by structure.
//!
//! Three layers, each usable alone:
//!
//! 1. [`Splitter`] cuts a byte stream into features and the bytes between them, in bounded memory.
//! 2. [`GeometryFinder`] walks the members of one feature and finds the `coordinates` of its geometries. A property may be
//!    called `coordinates`, `geometry` or `features`, and strings may hold brackets and quotes: neither misleads it.
//! 3. [`Positions`] reads coordinates as numbers together with the span of bytes of each position.
//!
//! Accepted on purpose: a byte order mark, members in any order, foreign members, `null` geometries, empty `coordinates`,
//! positions of more than three numbers, escaped member names. Looked at only as far as the structure needs it: values of
//! foreign members and properties. Refused on purpose: text that is not UTF-8, numbers JSON does not know (`+1`, `NaN`,
//! `01`), coordinates beyond [`COORDINATE_MAX`], features over [`FEATURE_BYTES_MAX`], nesting over [`DEPTH_MAX`].

mod cursor;
mod error;
mod geometry;
mod number;
mod position;
mod splitter;
mod utf8;

pub use cursor::{Cursor, DEPTH_MAX};
pub use error::{Error, Flaw};
pub use geometry::{Geometry, GeometryFinder, GeometryKind};
pub use position::{COORDINATE_MAX, Point, Positions, Span, read_position};
pub use splitter::{FEATURE_BYTES_MAX, Feature, Piece, Place, Splitter};

/// Runs any bytes through all three layers, as the fuzzer does: errors are welcome, panics are not.
///
/// # Panics
/// Where the pieces of a readable document are not the document: that is what the fuzzer looks for.
#[doc(hidden)]
pub fn fuzz_geojson(data: &[u8]) {
    let mut splitter = Splitter::new(data);
    let mut finder = GeometryFinder::default();
    let mut positions = Positions::default();
    let mut copied = Vec::new();
    loop {
        match splitter.next() {
            Ok(Some(Piece::Between(bytes))) => copied.extend_from_slice(bytes),
            Ok(Some(Piece::Feature(feature))) => {
                copied.extend_from_slice(feature.bytes);
                let Ok(geometries) = finder.find(&feature) else { continue };
                for geometry in geometries {
                    let mut cursor = Cursor::over(feature.bytes, geometry.coordinates.clone());
                    let _any_depth_may_be_refused = positions.read_list(&mut cursor);
                }
            }
            Ok(None) => return assert_eq!(copied, data, "the pieces are the document"),
            Err(_refused) => return,
        }
    }
}

#[cfg(test)]
mod tests;
