//! Vector data: features, and the formats they are read from and written to.
//!
//! Every format has a reader, which gives one [`Feature`] after the other in bounded memory (where the format allows it), and a writer.
//! What a writer has to know before the first feature (columns, kinds of geometries, bounds) is a [`Summary`] that a first
//! pass over the data collects: data always lies in memory or in a file, so that it can be read twice.

mod convert;
pub mod csv;
mod feature;
pub mod flatgeobuf;
mod format;
#[doc(hidden)]
pub mod fuzz;
pub mod geojson;
pub mod geopackage;
pub mod gml;
pub mod kml;
mod limits;
mod names;
mod projection;
pub mod shapefile;
mod summary;
#[cfg(test)]
mod testing;
mod wkb;
pub mod wkt;
mod xml;

pub use convert::{convert, create, open};
pub use feature::{Feature, Geometry, LineString, Polygon, Position, Property};
pub use format::VectorFormat;
pub use summary::{Column, ColumnKind, Summary};

use std::io;

use crate::crs::{OutsideDomain, UnsupportedCrs};

/// Gives features, one after the other.
pub trait FeatureReader {
    /// The next feature, or `None` at the end.
    ///
    /// # Errors
    /// The first fault of the data; nothing is to be read after it.
    fn next(&mut self) -> Result<Option<Feature>, FormatError>;
}

/// Takes features, one after the other.
pub trait FeatureWriter {
    /// Writes one feature.
    ///
    /// # Errors
    /// Where the format can't hold it, or the bytes can't be written.
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError>;

    /// Writes what comes after the last feature.
    ///
    /// # Errors
    /// Where the bytes can't be written.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// Why data can't be read or written in a format.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The data breaks a rule of its format, or a limit of ours.
    #[error("{format} data {rule}{}", at(*.place))]
    Malformed {
        /// The format's name.
        format: &'static str,
        /// The rule that is broken, to be read after "… data".
        rule: String,
        /// Where: byte, line or feature, as far as it is known.
        place: Option<Place>,
    },
    /// The data is sound, but the format it is to be written in has no place for it.
    #[error("{format} can't hold {what}")]
    Unrepresentable {
        /// The format's name.
        format: &'static str,
        /// What it can't hold, to be read after "… can't hold".
        what: String,
    },
    /// More bytes than there is room for.
    #[error("the result has more than {bytes_max} bytes")]
    TooLarge {
        /// The room, in bytes.
        bytes_max: u64,
    },
    /// A coordinate reference system that is not known here.
    #[error(transparent)]
    UnsupportedCrs(#[from] UnsupportedCrs),
    /// A position that has no place in the system it is to be transformed to.
    #[error(transparent)]
    OutsideDomain(#[from] OutsideDomain),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// The operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A place in data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Offset of a byte, from 0.
    Byte(u64),
    /// A line, from 1.
    Line(u64),
    /// A feature, from 1.
    Feature(u64),
}

fn at(place: Option<Place>) -> String {
    match place {
        Some(Place::Byte(byte)) => format!(" (at byte {byte})"),
        Some(Place::Line(line)) => format!(" (in line {line})"),
        Some(Place::Feature(feature)) => format!(" (in feature {feature})"),
        None => String::new(),
    }
}
