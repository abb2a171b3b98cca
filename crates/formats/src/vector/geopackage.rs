//! GeoPackage 1.3 (OGC 12-128r17) and its predecessors: feature tables, read and written by SQLite.
//!
//! All feature tables are read, one after the other, each in its own coordinate reference system. Tiles, attributes without a
//! geometry and binary columns are passed over. Views and virtual tables are refused as feature tables: what they give is
//! computed, and a file of others shall compute nothing. The file is opened read-only, without extensions, trusting nothing
//! in its schema, and with limits on lengths and on the work for one row. Measures (M) are left out.
//!
//! Written is one table, `features`, with the keys 1, 2, 3 …; identifiers of features have no place. It has no spatial index.

mod binary;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use super::FormatError;

const FORMAT: &str = "GeoPackage";

/// An identifier in SQL (double quotes within are doubled).
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn malformed(rule: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule: rule.into(), place: None }
}

#[cfg(test)]
mod tests;
