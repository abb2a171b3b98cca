//! Walks through the feature tables of a file that nobody vouches for.

use super::{FORMAT, binary, malformed, quoted};
use crate::crs::{Crs, UnsupportedCrs};
use crate::vector::limits::{COLUMNS_MAX, FEATURE_BYTES_MAX};
use crate::vector::{Feature, FeatureReader, FormatError, Place, Property, names, projection};
use anabranch_model::Data;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use std::collections::VecDeque;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Feature tables of one file.
const LAYERS_MAX: usize = 1000;

/// Bytes of a statement, those of the file's schema among them.
const SQL_BYTES_MAX: i32 = 1 << 20;

/// Steps of SQLite's machine for one batch, in thousands: 1,000 rows of 2,000 columns need 4,000, and only a file made for it
/// needs more.
const KILOSTEPS_MAX: u64 = 20_000;

/// Rows and bytes that are fetched at once, and so held in memory; one row more than the bytes may be held.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// Reads a GeoPackage.
pub struct Reader {
    connection: Connection,
    kilosteps: Arc<AtomicU64>,
    /// Those not read to the end, the current one in front.
    layers: VecDeque<Layer>,
    /// Fetched already.
    features: VecDeque<Feature>,
    read: u64,
}

struct Layer {
    /// Gives key, geometry, columns for the rows after a key.
    query: String,
    crs: Crs,
    columns: Vec<Column>,
    /// Of the last row that was fetched.
    key: i64,
    /// Rows without anything above the key were seen.
    ended: bool,
}

struct Column {
    name: String,
    is_boolean: bool,
}

impl Reader {
    /// Opens a GeoPackage and reads what tables it has.
    ///
    /// # Errors
    /// Where it is none, has no feature table, or one of them is no plain table or in a system that is not known.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut connection = match data {
            Data::Bytes(bytes) => in_memory(bytes)?,
            Data::File(file) => read_only(&file.path)?,
        };
        let kilosteps = Arc::new(AtomicU64::new(0));
        distrust(&mut connection, &kilosteps).map_err(|error| of_sqlite(&error))?;
        let layers = layers(&connection)?;
        if layers.is_empty() {
            return Err(malformed("must have a table of features in gpkg_contents, which has none"));
        }
        Ok(Self { connection, kilosteps, layers, features: VecDeque::new(), read: 0 })
    }

    /// Fetches rows of the layer in front.
    fn fetch(&mut self) -> Result<(), FormatError> {
        let Some(layer) = self.layers.front_mut() else { return Ok(()) };
        self.kilosteps.store(0, Ordering::Relaxed);
        let mut statement =
            self.connection.prepare_cached(&layer.query).map_err(|error| of_sqlite(&error))?;
        let mut rows = statement.query([layer.key]).map_err(|error| of_sqlite(&error))?;
        let mut bytes = 0;
        while self.features.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(row) = rows.next().map_err(|error| of_sqlite(&error))? else {
                layer.ended = true;
                break;
            };
            self.read += 1;
            let at = Place::Feature(self.read);
            let malformed = |rule: String| FormatError::Malformed { format: FORMAT, rule, place: Some(at) };
            layer.key = match row.get_ref(0).map_err(|error| of_sqlite(&error))? {
                ValueRef::Integer(key) if key > layer.key => key,
                _ => return Err(malformed("must have ascending whole numbers as keys".to_owned())),
            };
            let (feature, size) = layer.feature(row).map_err(malformed)?;
            bytes += size;
            self.features.push_back(feature);
        }
        if layer.ended {
            drop(rows);
            drop(statement);
            self.layers.pop_front();
        }
        Ok(())
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        while self.features.is_empty() && !self.layers.is_empty() {
            self.fetch()?;
        }
        Ok(self.features.pop_front())
    }
}

impl Layer {
    /// A row as a feature, and about how many bytes it has.
    fn feature(&self, row: &Row<'_>) -> Result<(Feature, usize), String> {
        let cell = |index| row.get_ref(index).map_err(|error| format!("can't be read by SQLite ({error})"));
        let (geometry, mut bytes) = match cell(1)? {
            ValueRef::Null => (None, 0),
            ValueRef::Blob(blob) => (binary::read(blob)?, blob.len()),
            _ => return Err("must have geometries as blobs".to_owned()),
        };
        let mut properties = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let value = match cell(index + 2)? {
                ValueRef::Integer(value) if column.is_boolean => Property::Boolean(value != 0),
                ValueRef::Integer(value) => Property::Integer(value),
                ValueRef::Real(value) if value.is_finite() => Property::Number(value),
                ValueRef::Text(text) => Property::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Property::Null,
            };
            bytes += size_of::<Property>() + column.name.len() + value.text().len();
            properties.push((column.name.clone(), value));
        }
        Ok((Feature { id: None, geometry, crs: self.crs, properties }, bytes))
    }
}

/// A file in place. It is not changed by anybody, so no locks and no write-ahead log are looked for.
fn read_only(path: &Path) -> Result<Connection, FormatError> {
    let path = path.to_str().ok_or_else(|| malformed(format!("can't be read from {}", path.display())))?;
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
        .map_err(|error| of_sqlite(&error))
}

/// A database of bytes in memory.
fn in_memory(bytes: &[u8]) -> Result<Connection, FormatError> {
    /// Where the head says which kind of journal there is: 1 is none beside the file, 2 a write-ahead log.
    const JOURNAL_AT: usize = 18;
    let Some((before, rest)) = bytes.split_at_checked(JOURNAL_AT) else {
        return Err(malformed("must be an SQLite database"));
    };
    let Some((journal, after)) = rest.split_at_checked(2) else {
        return Err(malformed("must be an SQLite database"));
    };
    // A database in memory can't have a log beside it, and one that says so isn't opened.
    let no_log = [journal[0].min(1), journal[1].min(1)];
    let all = Cursor::new(before).chain(Cursor::new(no_log)).chain(Cursor::new(after));
    let mut connection = Connection::open_in_memory().map_err(|error| of_sqlite(&error))?;
    connection.deserialize_read_exact("main", all, bytes.len(), true).map_err(|error| of_sqlite(&error))?;
    Ok(connection)
}

/// Takes from a connection what a hostile file could use.
fn distrust(connection: &mut Connection, kilosteps: &Arc<AtomicU64>) -> rusqlite::Result<()> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, i32::try_from(FEATURE_BYTES_MAX).unwrap_or(i32::MAX)),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX),
        (Limit::SQLITE_LIMIT_COLUMN, i32::try_from(COLUMNS_MAX).unwrap_or(i32::MAX)),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    let counter = Arc::clone(kilosteps);
    connection
        .progress_handler(1000, Some(move || counter.fetch_add(1, Ordering::Relaxed) >= KILOSTEPS_MAX))?;
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")
}

fn layers(connection: &Connection) -> Result<VecDeque<Layer>, FormatError> {
    for table in ["gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"] {
        check_table(connection, table)?;
    }
    let sqlite = |error: rusqlite::Error| of_sqlite(&error);
    let mut statement = connection
        .prepare(
            "SELECT contents.table_name, geometries.column_name, geometries.srs_id, systems.organization, \
             systems.organization_coordsys_id, systems.definition \
             FROM gpkg_contents AS contents \
             JOIN gpkg_geometry_columns AS geometries ON geometries.table_name = contents.table_name \
             LEFT JOIN gpkg_spatial_ref_sys AS systems ON systems.srs_id = geometries.srs_id \
             WHERE contents.data_type = 'features' ORDER BY contents.rowid",
        )
        .map_err(sqlite)?;
    let mut rows = statement.query([]).map_err(sqlite)?;
    let mut layers = VecDeque::new();
    while let Some(row) = rows.next().map_err(sqlite)? {
        if layers.len() == LAYERS_MAX {
            return Err(malformed(format!("may have {LAYERS_MAX} tables of features")));
        }
        let table: String = row.get(0).map_err(sqlite)?;
        let geometry: String = row.get(1).map_err(sqlite)?;
        let crs = crs(row, &table)?;
        check_table(connection, &table)?;
        layers.push_back(layer(connection, &table, &geometry, crs)?);
    }
    Ok(layers)
}

/// A table that lies in the file, and is nothing that computes: those have no pages of their own.
fn check_table(connection: &Connection, name: &str) -> Result<(), FormatError> {
    let found: Option<(String, i64)> = connection
        .query_row(
            "SELECT type, rootpage FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')",
            [name],
            |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.unwrap_or(0))),
        )
        .optional()
        .map_err(|error| of_sqlite(&error))?;
    match found {
        Some((kind, page)) if kind == "table" && page > 0 => Ok(()),
        Some((kind, _)) => {
            let kind = if kind == "view" { "a view" } else { "a virtual table" };
            Err(malformed(format!("must have {name:?} as a plain table, and it is {kind}")))
        }
        None => Err(malformed(format!("must have the table {name:?}"))),
    }
}

fn crs(row: &Row<'_>, table: &str) -> Result<Crs, FormatError> {
    let sqlite = |error: rusqlite::Error| of_sqlite(&error);
    let id: i64 = row.get(2).map_err(sqlite)?;
    let organization: Option<String> = row.get(3).map_err(sqlite)?;
    let code: Option<i64> = row.get(4).map_err(sqlite)?;
    if let (Some(organization), Some(code)) = (organization, code)
        && let Ok(code) = u32::try_from(code)
        && organization.eq_ignore_ascii_case("EPSG")
    {
        return Ok(Crs::epsg(code)?);
    }
    let definition: Option<String> = row.get(5).map_err(sqlite)?;
    match definition.as_deref() {
        Some("undefined") | None => Err(UnsupportedCrs(format!("srs_id {id} of {table}")).into()),
        Some(definition) => projection::of_well_known_text(definition),
    }
}

fn layer(connection: &Connection, table: &str, geometry: &str, crs: Crs) -> Result<Layer, FormatError> {
    let sqlite = |error: rusqlite::Error| of_sqlite(&error);
    let mut key = None;
    let mut has_geometry = false;
    let mut names = Vec::new();
    let mut columns = Vec::new();
    let mut statement =
        connection.prepare(&format!("PRAGMA table_info({})", quoted(table))).map_err(sqlite)?;
    let mut rows = statement.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let name: String = row.get(1).map_err(sqlite)?;
        let kind = row.get::<_, String>(2).map_err(sqlite)?.to_ascii_uppercase();
        if name.eq_ignore_ascii_case(geometry) {
            has_geometry = true;
        } else if row.get::<_, i64>(5).map_err(sqlite)? == 1 && kind == "INTEGER" {
            key = Some(name);
        } else if !kind.starts_with("BLOB") {
            columns.push(Column { is_boolean: kind == "BOOLEAN", name: name.clone() });
            names.push(name);
        }
    }
    let Some(key) = key else {
        return Err(malformed(format!("must have an integer as primary key of {table:?}")));
    };
    if !has_geometry {
        return Err(malformed(format!("must have the column {geometry:?} in {table:?}")));
    }
    let wanted: String = names.iter().map(|name| format!(", {}", quoted(name))).collect();
    let key = quoted(&key);
    let query = format!(
        "SELECT {key}, {}{wanted} FROM {} WHERE {key} > ?1 ORDER BY {key}",
        quoted(geometry),
        quoted(table)
    );
    for (column, name) in columns.iter_mut().zip(names::unique(names)) {
        column.name = name;
    }
    Ok(Layer { query, crs, columns, key: i64::MIN, ended: false })
}

fn of_sqlite(error: &rusqlite::Error) -> FormatError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => {
            malformed(format!("may need {KILOSTEPS_MAX} thousand steps of SQLite for {BATCH_ROWS} rows"))
        }
        Some(rusqlite::ErrorCode::TooBig) => {
            malformed(format!("may have {FEATURE_BYTES_MAX} bytes in one row"))
        }
        _ => malformed(format!("must be an SQLite database that can be read ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_work_is_ended() {
        let mut connection = Connection::open_in_memory().unwrap();
        distrust(&mut connection, &Arc::default()).unwrap();
        let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
        let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(of_sqlite(&error).to_string().contains("20000 thousand steps"));
    }
}
