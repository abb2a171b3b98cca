//! What the tests of all formats share: features of every kind, and GDAL as the other opinion.

use super::{
    Feature, FeatureReader, FeatureWriter, FormatError, Geometry, LineString, Position, Property, Summary,
};
use crate::crs::Crs;
use crate::room::Room;
use anabranch_model::Data;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(super) type MakeWriter =
    for<'a> fn(&Summary, &Room<'_>, &'a mut dyn Write) -> Result<Box<dyn FeatureWriter + 'a>, FormatError>;
pub(super) type MakeReader = fn(&Data) -> Result<Box<dyn FeatureReader>, FormatError>;

pub(super) fn position(x: f64, y: f64, z: Option<f64>) -> Position {
    Position { x, y, z }
}

/// A ring around a square, counter-clockwise.
pub(super) fn square(x: f64, y: f64, side: f64, z: Option<f64>) -> LineString {
    [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side), (0.0, 0.0)]
        .into_iter()
        .map(|(dx, dy)| position(x + dx, y + dy, z))
        .collect()
}

fn hole(x: f64, y: f64, side: f64, z: Option<f64>) -> LineString {
    let mut ring = square(x, y, side, z);
    ring.reverse();
    ring
}

/// One geometry of each kind but collections, grouped by what a Shapefile can hold together.
pub(super) fn groups(z: Option<f64>) -> Vec<Vec<Geometry>> {
    let line = vec![position(1.0, 2.0, z), position(3.5, 4.25, z), position(-5.0, 6.0, z)];
    let polygon = vec![square(0.0, 0.0, 10.0, z), hole(1.0, 1.0, 2.0, z), hole(5.0, 5.0, 2.0, z)];
    vec![
        vec![Geometry::Point(position(1.5, -2.25, z)), Geometry::Point(position(-0.1, 0.2, z))],
        vec![Geometry::MultiPoint(line.clone())],
        vec![
            Geometry::LineString(line.clone()),
            Geometry::MultiLineString(vec![line.clone(), line[1..].to_vec()]),
        ],
        vec![
            Geometry::Polygon(polygon.clone()),
            Geometry::MultiPolygon(vec![polygon, vec![square(20.0, 0.0, 4.0, z)]]),
        ],
    ]
}

/// A collection within a collection.
pub(super) fn collection(z: Option<f64>) -> Geometry {
    let all: Vec<Geometry> = groups(z).concat();
    Geometry::GeometryCollection(vec![Geometry::GeometryCollection(all.clone()), all[0].clone()])
}

/// Features with these geometries, and one without; with properties of every kind, some of them nothing.
pub(super) fn features(geometries: Vec<Geometry>) -> Vec<Feature> {
    let mut features: Vec<Feature> = geometries
        .into_iter()
        .map(Some)
        .chain([None])
        .enumerate()
        .map(|(index, geometry)| {
            let number = i64::try_from(index).unwrap();
            Feature {
                id: None,
                geometry,
                crs: Crs::epsg(25832).unwrap(),
                properties: vec![
                    ("name".to_owned(), Property::Text(format!("Straße, \"{index}\"\nline; 2 <&>"))),
                    ("count".to_owned(), Property::Integer(number - 1)),
                    ("share".to_owned(), Property::Number(0.1 + index as f64)),
                    ("open".to_owned(), Property::Boolean(index % 2 == 0)),
                ],
            }
        })
        .collect();
    if let Some(last) = features.last_mut() {
        for (_, value) in &mut last.properties {
            *value = Property::Null;
        }
    }
    features
}

pub(super) fn summary(features: &[Feature]) -> Summary {
    let mut summary = Summary::default();
    features.iter().for_each(|feature| summary.add(feature));
    summary
}

pub(super) fn write(make: MakeWriter, features: &[Feature]) -> Result<Vec<u8>, FormatError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        make(&summary(features), &Room { scratch: scratch.path(), bytes_max: u64::MAX }, &mut bytes)?;
    for feature in features {
        writer.write(feature)?;
    }
    writer.finish()?;
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
    Ok(bytes)
}

pub(super) fn read(make: MakeReader, bytes: &[u8]) -> Result<Vec<Feature>, FormatError> {
    read_data(make, &Data::Bytes(bytes.to_vec().into()))
}

pub(super) fn read_data(make: MakeReader, data: &Data) -> Result<Vec<Feature>, FormatError> {
    let mut reader = make(data)?;
    let mut features = Vec::new();
    while let Some(feature) = reader.next()? {
        features.push(feature);
    }
    Ok(features)
}

/// Bytes as a file of a name, in a folder that goes with it.
pub(super) fn saved(bytes: &[u8], name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Reads every cut and many mutations: errors are welcome, panics are not, nor is the blame of anything but the data.
pub(super) fn mutate(make: MakeReader, bytes: &[u8]) {
    let try_read = |bytes: &[u8]| {
        if let Err(FormatError::Io(error)) = read(make, bytes) {
            panic!("not blamed on the data: {error:?}");
        }
    };
    let step = (bytes.len() / 400).max(1);
    for end in (0..bytes.len()).step_by(step) {
        try_read(&bytes[..end]);
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 16).unwrap_or(0)
    };
    for _ in 0..1500 {
        let mut mutated = bytes.to_vec();
        for _ in 0..1 + random() % 4 {
            let at = random() % mutated.len();
            mutated[at] = [0, 1, 0x7f, 0x80, 0xff, random().to_le_bytes()[0]][random() % 6];
        }
        try_read(&mutated);
    }
}

/// The member `features` of what GDAL makes of a file.
pub(super) fn features_by_gdal(path: &Path) -> Value {
    features_by_gdal_with(path, &[])
}

/// The same, with more arguments.
pub(super) fn features_by_gdal_with(path: &Path, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let mut arguments = vec!["-f", "GeoJSON", "-lco", "COORDINATE_PRECISION=15", "-lco", "RFC7946=NO"];
    arguments.extend(more);
    ogr2ogr(&arguments, &json, path);
    let mut document: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    document["features"].take()
}

/// The same features, as GDAL writes them in a format of its own name.
pub(super) fn written_by_gdal(features: &[Feature], arguments: &[&str], name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("in.json");
    let crs = features[0].crs.epsg_code();
    let document = json!({
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": format!("urn:ogc:def:crs:EPSG::{crs}")}},
        "features": features.iter().map(geojson).collect::<Vec<_>>(),
    });
    std::fs::write(&json, document.to_string()).unwrap();
    let out = folder.path().join(name);
    ogr2ogr(arguments, &out, &json);
    std::fs::read(&out).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test may run GDAL; the library runs nothing")]
fn ogr2ogr(arguments: &[&str], out: &Path, input: &Path) {
    let run = Command::new("ogr2ogr")
        .args(arguments)
        .arg(out)
        .arg(input)
        .output()
        .expect("these tests need ogr2ogr, of Debian's gdal-bin");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // A warning is a fault of ours: what we write is to be read without one.
    assert_eq!(String::from_utf8_lossy(&run.stderr), "", "{}", input.display());
}

/// Those whose boxes touch the one of lowest x, lowest y, highest x, highest y.
pub(super) fn features_by_gdal_within(path: &Path, bounds: [f64; 4]) -> Value {
    let bounds = bounds.map(|bound| bound.to_string());
    let mut arguments = vec!["-spat"];
    arguments.extend(bounds.iter().map(String::as_str));
    features_by_gdal_with(path, &arguments)
}

/// GDAL read what we wrote: the same geometries and properties in the same order.
pub(super) fn assert_gdal_agrees(features: &[Feature], path: &Path) {
    let by_gdal = features_by_gdal(path);
    let by_gdal = by_gdal.as_array().unwrap();
    assert_eq!(by_gdal.len(), features.len());
    for (ours, theirs) in features.iter().zip(by_gdal) {
        let ours = geojson(ours);
        for member in ["geometry", "properties"] {
            assert!(same(&ours[member], &theirs[member]), "ours {} GDAL's {}", ours[member], theirs[member]);
        }
    }
}

/// Equal, but that 1, 1.0 and true are the same number, and numbers may differ in their last digits.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from));
    match (a, b) {
        // Logical columns of dBASE are texts for GDAL.
        (Value::Bool(a), Value::String(b)) => (if *a { "T" } else { "F" }) == b,
        (Value::Array(a), Value::Array(b)) => {
            // Rings of Shapefiles run the other way round.
            let ring = a.len() >= 4 && a.first() == a.last();
            a.len() == b.len()
                && (a.iter().zip(b).all(|(a, b)| same(a, b))
                    || ring && a.iter().rev().zip(b).all(|(a, b)| same(a, b)))
        }
        (Value::Object(a), Value::Object(b)) => {
            // What is not there is nothing.
            a.iter().all(|(name, a)| same(a, b.get(name).unwrap_or(&Value::Null)))
                && b.keys().all(|name| a.contains_key(name))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(1.0),
            _ => a == b,
        },
    }
}

/// A feature as GeoJSON, its coordinates as they are.
pub(super) fn geojson(feature: &Feature) -> Value {
    let properties: serde_json::Map<String, Value> =
        feature.properties.iter().map(|(name, value)| (name.clone(), property(value))).collect();
    json!({"type": "Feature", "properties": properties, "geometry": feature.geometry.as_ref().map(geometry)})
}

fn property(value: &Property) -> Value {
    match value {
        Property::Null => Value::Null,
        Property::Boolean(value) => json!(value),
        Property::Integer(value) => json!(value),
        Property::Number(value) => json!(value),
        Property::Text(text) | Property::Json(text) => json!(text),
    }
}

fn geometry(geometry: &Geometry) -> Value {
    let at = |p: &Position| p.z.map_or_else(|| json!([p.x, p.y]), |z| json!([p.x, p.y, z]));
    let line = |line: &LineString| Value::Array(line.iter().map(at).collect());
    let polygon = |rings: &Vec<LineString>| Value::Array(rings.iter().map(line).collect());
    let (kind, coordinates) = match geometry {
        Geometry::Point(p) => ("Point", at(p)),
        Geometry::LineString(positions) => ("LineString", line(positions)),
        Geometry::Polygon(rings) => ("Polygon", polygon(rings)),
        Geometry::MultiPoint(positions) => ("MultiPoint", line(positions)),
        Geometry::MultiLineString(lines) => ("MultiLineString", polygon(lines)),
        Geometry::MultiPolygon(polygons) => {
            ("MultiPolygon", Value::Array(polygons.iter().map(polygon).collect()))
        }
        Geometry::GeometryCollection(members) => {
            let members: Vec<Value> = members.iter().map(self::geometry).collect();
            return json!({"type": "GeometryCollection", "geometries": members});
        }
    };
    json!({"type": kind, "coordinates": coordinates})
}
