//! CSV (RFC 4180) with coordinates in columns.
//!
//! The first line has the names of the columns; its delimiter (comma, semicolon or tab) is that of the file. Where a feature is,
//! the first of these says, in any case:
//!
//! 1. `wkt`, `geometry`, `the_geom` or `geom`: well-known text (also EWKT), or a geometry of GeoJSON; `geojson` likewise;
//! 2. `x` and `y`; `lon` or `longitude` and `lat` or `latitude`; `easting` and `northing`; with a `z` where there is one.
//!
//! A column `crs` says in which system (`EPSG:25832`), and so does EWKT; else coordinates are longitude and latitude (CRS84), but
//! `easting` and `northing` need to be told. Coordinates stand in the order of their names, whatever the system's axes are.
//! The other columns are properties. A cell of digits is a number, `true` and `false` are booleans, an empty one is nothing, and
//! the rest is text; so are numbers with leading zeros, which are names of things, and whole numbers beyond 64 bits.
//!
//! Written are `x`, `y` and `z` where all geometries are points, else `wkt`; and `crs` where it is not CRS84.

mod columns;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

const FORMAT: &str = "CSV";

#[cfg(test)]
mod tests;
