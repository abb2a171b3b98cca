//! Writes one table of features into a file of the scratch folder, then that file.

use super::{FORMAT, binary, quoted};
use crate::crs::Crs;
use crate::room::Room;
use crate::vector::{
    ColumnKind, Feature, FeatureWriter, FormatError, Property, Summary, limits, names, projection,
};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use tempfile::NamedTempFile;

/// Columns beside key and geometry.
const COLUMNS_MAX: usize = limits::COLUMNS_MAX - 2;

/// Everything but the features (OGC 12-128r17 annex C); the three systems are asked for by requirement 11.
const SCHEMA: &str = r#"
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA application_id = 0x47504B47;
PRAGMA user_version = 10300;
BEGIN;
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL,
  srs_id INTEGER PRIMARY KEY,
  organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL,
  definition TEXT NOT NULL,
  description TEXT
);
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', NULL),
  ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', NULL);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY,
  data_type TEXT NOT NULL,
  identifier TEXT UNIQUE,
  description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE,
  min_y DOUBLE,
  max_x DOUBLE,
  max_y DOUBLE,
  srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id)
);
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL,
  column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL,
  m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id)
);
"#;

const TABLE: &str = "features";
const KEY: &str = "fid";
const GEOMETRY: &str = "geom";

/// Writes a GeoPackage.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    connection: Connection,
    file: NamedTempFile,
    crs: Crs,
    srs_id: i32,
    /// Names of properties to columns, with what these hold.
    columns: HashMap<String, (usize, ColumnKind)>,
    insert: String,
    /// Lowest x, highest x, lowest y, highest y.
    bounds: Option<[f64; 4]>,
    /// Of the scratch file.
    bytes_max: u64,
}

impl<'a> Writer<'a> {
    /// Begins to write what `summary` tells.
    ///
    /// # Errors
    /// Where the columns are too many, the system has no well-known text here, or the scratch file can't be made.
    pub fn new(summary: &Summary, room: &Room<'_>, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        if summary.columns.len() > COLUMNS_MAX {
            return Err(FormatError::Unrepresentable {
                format: FORMAT,
                what: format!("{} properties: {COLUMNS_MAX} are its most", summary.columns.len()),
            });
        }
        let file = NamedTempFile::new_in(room.scratch)?;
        let connection = Connection::open(file.path()).map_err(of_sqlite)?;
        connection.execute_batch(SCHEMA).map_err(of_sqlite)?;
        let crs = summary.crs.unwrap_or(Crs::Crs84);
        let srs_id = i32::try_from(crs.epsg_code()).unwrap_or(0);
        register(&connection, crs, srs_id, summary.has_z)?;

        let names = names::unique_in_any_case(
            summary.columns.iter().map(|column| column.name.clone()),
            &[KEY, GEOMETRY],
        );
        let declared: String = names
            .iter()
            .zip(&summary.columns)
            .map(|(name, column)| format!(", {} {}", quoted(name), sql_type(column.kind)))
            .collect();
        connection
            .execute_batch(&format!(
                "CREATE TABLE {TABLE} ({KEY} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, {GEOMETRY} GEOMETRY{declared});"
            ))
            .map_err(of_sqlite)?;
        let marks = ", ?".repeat(names.len());
        let named: String = names.iter().map(|name| format!(", {}", quoted(name))).collect();
        let columns = summary
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (column.name.clone(), (index, column.kind)))
            .collect();
        Ok(Self {
            out,
            connection,
            file,
            crs,
            srs_id,
            columns,
            insert: format!("INSERT INTO {TABLE} ({GEOMETRY}{named}) VALUES (?{marks})"),
            bounds: None,
            bytes_max: room.bytes_max,
        })
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        projection::check_same(FORMAT, self.crs, feature)?;
        let geometry = feature.geometry.as_ref().map(|geometry| {
            let (cell, new) = binary::write(geometry, self.srs_id);
            let bounds = self.bounds.get_or_insert(new);
            *bounds =
                [bounds[0].min(new[0]), bounds[1].max(new[1]), bounds[2].min(new[2]), bounds[3].max(new[3])];
            cell
        });
        let mut statement = self.connection.prepare_cached(&self.insert).map_err(of_sqlite)?;
        statement.clear_bindings();
        let bind = |error| of_sqlite(error);
        statement.raw_bind_parameter(1, geometry).map_err(bind)?;
        for (name, value) in &feature.properties {
            let Some((index, kind)) = self.columns.get(name) else {
                let what = format!("the property {name:?}, which came too late");
                return Err(FormatError::Unrepresentable { format: FORMAT, what });
            };
            let at = index + 2;
            match value {
                Property::Null => Ok(()),
                // A column that holds several kinds holds texts.
                value if *kind == ColumnKind::Text => statement.raw_bind_parameter(at, value.text()),
                Property::Boolean(value) => statement.raw_bind_parameter(at, value),
                Property::Integer(value) => statement.raw_bind_parameter(at, value),
                Property::Number(value) => statement.raw_bind_parameter(at, value),
                Property::Text(text) | Property::Json(text) => statement.raw_bind_parameter(at, text),
            }
            .map_err(bind)?;
        }
        statement.raw_execute().map_err(of_sqlite)?;
        // But for the few pages that SQLite still holds.
        if self.file.as_file().metadata()?.len() > self.bytes_max {
            return Err(FormatError::TooLarge { bytes_max: self.bytes_max });
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        if let Some([x_min, x_max, y_min, y_max]) = self.bounds {
            self.connection
                .execute(
                    "UPDATE gpkg_contents SET min_x = ?1, min_y = ?2, max_x = ?3, max_y = ?4",
                    [x_min, y_min, x_max, y_max],
                )
                .map_err(of_sqlite)?;
        }
        self.connection.execute_batch("COMMIT").map_err(of_sqlite)?;
        self.connection.close().map_err(|(_connection, error)| of_sqlite(error))?;
        io::copy(&mut File::open(self.file.path())?, self.out)?;
        Ok(())
    }
}

fn register(connection: &Connection, crs: Crs, srs_id: i32, has_z: bool) -> Result<(), FormatError> {
    for crs in [Crs::Crs84, crs] {
        connection
            .execute(
                "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?1, ?2, 'EPSG', ?2, ?3, NULL)",
                params![crs.name(), crs.epsg_code(), projection::well_known_text(crs)?],
            )
            .map_err(of_sqlite)?;
    }
    connection
        .execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES (?1, 'features', ?1, ?2)",
            params![TABLE, srs_id],
        )
        .map_err(of_sqlite)?;
    // 0: none has z; 2: any may have it.
    connection
        .execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?1, ?2, 'GEOMETRY', ?3, ?4, 0)",
            params![TABLE, GEOMETRY, srs_id, if has_z { 2 } else { 0 }],
        )
        .map_err(of_sqlite)?;
    Ok(())
}

/// OGC 12-128r17 table 1.
fn sql_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Boolean => "BOOLEAN",
        ColumnKind::Integer => "INTEGER",
        ColumnKind::Number => "REAL",
        ColumnKind::Null | ColumnKind::Text | ColumnKind::Json => "TEXT",
    }
}

/// What fails here is the scratch file: a full disk, or a row over SQLite's limit.
fn of_sqlite(error: rusqlite::Error) -> FormatError {
    FormatError::Io(io::Error::other(error))
}
