use super::*;
use crate::vector::Property;
use crate::vector::testing::{self, MakeReader, MakeWriter};
use anabranch_model::Data;
use rusqlite::Connection;
use std::path::PathBuf;

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITER: MakeWriter = |summary, room, out| Ok(Box::new(Writer::new(summary, room, out)?));

fn mixed(z: Option<f64>) -> Vec<crate::vector::Feature> {
    let mut geometries = testing::groups(z).concat();
    geometries.push(testing::collection(z));
    testing::features(geometries)
}

/// A sound file, after some SQL.
fn changed(sql: &str) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = testing::saved(&testing::write(WRITER, &mixed(None)).unwrap(), "a 50% #1?.gpkg");
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
    (folder, path)
}

fn refused(sql: &str) -> String {
    let (_folder, path) = changed(sql);
    let by_path = testing::read_data(READER, &Data::file(&path).unwrap()).unwrap_err().to_string();
    assert_eq!(testing::read(READER, &std::fs::read(&path).unwrap()).unwrap_err().to_string(), by_path);
    by_path
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for z in [None, Some(12.5)] {
        let features = mixed(z);
        let bytes = testing::write(WRITER, &features).unwrap();
        assert_eq!(testing::read(READER, &bytes).unwrap(), features);
        let (_folder, path) = testing::saved(&bytes, "written.gpkg");
        assert_eq!(testing::read_data(READER, &Data::file(&path).unwrap()).unwrap(), features);
        testing::assert_gdal_agrees(&features, &path);
    }
}

#[test]
fn what_gdal_writes_is_read() {
    for z in [None, Some(12.5)] {
        let features = mixed(z);
        let bytes = testing::written_by_gdal(&features, &["-f", "GPKG"], "out.gpkg");
        let read = testing::read(READER, &bytes).unwrap();
        assert_eq!(read, features);
    }
}

#[test]
fn several_tables_and_a_write_ahead_log_are_read() {
    let (_folder, path) = changed(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE \"more \"\"features\" (id INTEGER PRIMARY KEY, shape BLOB, picture BLOB, name TEXT);
         INSERT INTO \"more \"\"features\" VALUES (7, NULL, x'00', 'last');
         INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('more \"features', 'features', 4326), ('features2', 'tiles', 0);
         INSERT INTO gpkg_geometry_columns VALUES ('more \"features', 'shape', 'POINT', 4326, 0, 0);",
    );
    for data in [Data::file(&path).unwrap(), Data::Bytes(std::fs::read(&path).unwrap().into())] {
        let read = testing::read_data(READER, &data).unwrap();
        assert_eq!(read.len(), mixed(None).len() + 1);
        let last = read.last().unwrap();
        assert_eq!(last.crs.epsg_code(), 4326);
        assert_eq!(last.properties, [("name".to_owned(), Property::Text("last".to_owned()))]);
    }
}

#[test]
fn tables_that_compute_are_refused() {
    let view = "ALTER TABLE features RENAME TO hidden; CREATE VIEW features AS SELECT * FROM hidden;";
    assert!(refused(view).contains("\"features\" as a plain table, and it is a view"));
    let table = "DROP TABLE features; CREATE VIRTUAL TABLE features USING rtree(fid, a, b);";
    assert!(refused(table).contains("it is a virtual table"));
    let contents =
        "ALTER TABLE gpkg_contents RENAME TO hidden; CREATE VIEW gpkg_contents AS SELECT * FROM hidden;";
    assert!(refused(contents).contains("\"gpkg_contents\" as a plain table"));
}

#[test]
fn computed_columns_are_no_properties() {
    let (_folder, path) = changed("ALTER TABLE features ADD COLUMN large AS (hex(zeroblob(100000000)))");
    assert_eq!(testing::read_data(READER, &Data::file(&path).unwrap()).unwrap(), mixed(None));
}

#[test]
fn unsound_files_say_what_is_wrong() {
    assert!(refused("DROP TABLE features").contains("must have the table \"features\""));
    assert!(refused("DELETE FROM gpkg_contents").contains("a table of features"));
    assert!(refused("UPDATE gpkg_geometry_columns SET srs_id = 0").contains("srs_id 0 of features"));
    assert!(refused("UPDATE gpkg_geometry_columns SET column_name = 'x'").contains("the column \"x\""));
    assert!(refused("UPDATE features SET geom = 'text' WHERE fid = 2").contains("as blobs (in feature 2)"));
    assert!(refused("UPDATE features SET geom = x'475000210000000000' WHERE fid = 3").contains("extended"));
    let error = testing::read(READER, b"no database").unwrap_err().to_string();
    assert!(error.contains("must be an SQLite database"), "{error}");
}

#[test]
fn damaged_files_never_panic() {
    testing::mutate(READER, &testing::write(WRITER, &mixed(Some(1.0))).unwrap());
}
