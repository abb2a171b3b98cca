//! Esri ASCII grid, which GDAL calls AAIGrid: a head of names and numbers, then the values row by row from north to south.
//!
//! ```text
//! ncols 3
//! nrows 2
//! xllcorner 100.5        or xllcenter; likewise y
//! yllcorner 20.0
//! cellsize 0.5           or dx and dy, as GDAL writes where cells are not square
//! NODATA_value -9999     where it is missing, -9999
//! 1 2 3
//! 4 -9999 6
//! ```
//!
//! Names in any case and order; values apart by any white space. It has one band and no coordinate reference system. Values are read in the
//! smallest of these types that holds them all: Byte, Int16, Int32, Float32, Float64; for that, everything is read twice.
//!
//! Written are square cells with north up, one band; numbers as short as they can be read back exactly. Where bands have scale and
//! offset, those are applied.

mod head;
mod reader;
mod text;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use crate::FormatError;
use crate::vector::Place;

const FORMAT: &str = "Esri ASCII grid";

/// Esri's value of no data where a file names none.
const NODATA_DEFAULT: f64 = -9999.0;

fn malformed(rule: impl Into<String>, line: u64) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule: rule.into(), place: Some(Place::Line(line)) }
}

#[cfg(test)]
mod tests;
