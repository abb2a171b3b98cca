//! Limits that all formats share.

/// Bytes of one feature as its format writes it: four million vertices in binary, and at most 512 MiB once it is read.
pub(super) const FEATURE_BYTES_MAX: usize = 64 << 20;

/// Columns of a table, or properties of a feature: SQLite has no more. Whoever collects the names of all features compares each with all.
pub(super) const COLUMNS_MAX: usize = 2000;
