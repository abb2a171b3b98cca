//! Shapefiles in a ZIP archive: `.shp`, `.dbf` and `.prj` (ESRI Shapefile Technical Description, 1998; dBASE IV).
//!
//! An archive holds one Shapefile, in any folder; other files are passed over. It is unpacked as it is read, and nothing of it is
//! written to a disk. Without a `.prj` coordinates are taken for longitude and latitude (CRS84), without a `.cpg` texts for
//! what the table's language byte says. Measures (M), memos and timestamps are left out; rows marked as deleted are passed over
//! together with their shapes. MultiPatches and systems that are not known are refused.
//!
//! Written are UTF-8 texts of at most 254 bytes, whole numbers of at most 18 digits, and names of at most ten bytes. What is longer
//! is refused, but names, which are cut and kept apart by numbers. Identifiers of features have no place.

mod archive;
mod reader;
mod rings;
mod shape;
mod table;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use super::{FormatError, Place};
use std::io;

const FORMAT: &str = "Shapefile";

/// Bytes before the first record of a `.shp` or `.shx`.
const HEAD_BYTES: usize = 100;

/// The first number of a `.shp`.
const FILE_CODE: u32 = 9994;

/// What can't be unpacked is a fault of the data, and no more of the disk it lies on.
fn of_reading(error: io::Error, place: Option<Place>) -> FormatError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let rule = match error.kind() {
        UnexpectedEof => "ends too early".to_owned(),
        InvalidData | InvalidInput => format!("can't be unpacked ({error})"),
        _ => return error.into(),
    };
    FormatError::Malformed { format: FORMAT, rule, place }
}

fn malformed(rule: String) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule, place: None }
}

#[cfg(test)]
mod tests;
