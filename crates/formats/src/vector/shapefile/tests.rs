use super::*;
use crate::crs::{Crs, Transform};
use crate::vector::testing::{self, MakeReader, MakeWriter};
use crate::vector::{Feature, Geometry, Property};
use anabranch_model::Data;
use std::io::Write;
use zip::write::SimpleFileOptions;

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITER: MakeWriter = |summary, room, out| Ok(Box::new(Writer::new(summary, room, out)?));

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn refused(bytes: &[u8]) -> String {
    testing::read(READER, bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for z in [None, Some(12.5)] {
        for group in testing::groups(z) {
            let features = testing::features(group);
            let bytes = testing::write(WRITER, &features).unwrap();
            assert_eq!(testing::read(READER, &bytes).unwrap(), features);
            assert_eq!(testing::write(WRITER, &features).unwrap(), bytes, "nothing depends on the time");

            let (_folder, path) = testing::saved(&bytes, "written.shz");
            assert_eq!(testing::read_data(READER, &Data::file(&path).unwrap()).unwrap(), features);
            testing::assert_gdal_agrees(&features, &path);
        }
    }
}

#[test]
fn what_gdal_writes_is_read() {
    for z in [None, Some(12.5)] {
        for group in testing::groups(z) {
            let mut features = testing::features(group);
            for feature in &mut features {
                feature.properties.retain(|(name, _)| name != "open"); // GDAL makes it a number
            }
            let arguments = ["-f", "ESRI Shapefile", "-lco", "ENCODING=UTF-8"];
            let bytes = testing::written_by_gdal(&features, &arguments, "out.shz");
            assert_eq!(testing::read(READER, &bytes).unwrap(), features);
        }
    }
}

/// In EPSG:2263, which counts in feet of the US survey.
const BOROUGHS: &[u8] = include_bytes!("../../../testdata/nybb.zip");

#[test]
fn boroughs_in_feet_lie_in_degrees_where_gdal_has_them() {
    const METRE_DEGREES: f64 = 1e-5;
    let (_folder, path) = testing::saved(BOROUGHS, "nybb.shz");
    let by_gdal = testing::features_by_gdal_with(&path, &["-t_srs", "OGC:CRS84"]);
    let features = testing::read(READER, BOROUGHS).unwrap();
    let feet = Crs::epsg(2263).unwrap();
    let transform = Transform::new(feet, Crs::Crs84).unwrap();
    assert_eq!(features.len(), 5);
    for (mut feature, theirs) in features.into_iter().zip(by_gdal.as_array().unwrap()) {
        assert_eq!(feature.crs, feet);
        transform.geometry(feature.geometry.as_mut().unwrap()).unwrap();
        let (ours, theirs) = (numbers(&testing::geojson(&feature)["geometry"]), numbers(&theirs["geometry"]));
        assert!(ours.len() > 1000 && ours.len() == theirs.len());
        let apart = |(a, b): (&f64, &f64)| (a - b).abs();
        let worst = ours.iter().zip(&theirs).map(apart).fold(0.0, f64::max);
        assert!(worst < 0.01 * METRE_DEGREES, "{worst} degrees");
    }
}

/// All coordinates in ascending order, because GDAL turns rings round.
fn numbers(json: &serde_json::Value) -> Vec<f64> {
    let mut numbers: Vec<f64> = match json {
        serde_json::Value::Array(values) => values.iter().flat_map(numbers).collect(),
        serde_json::Value::Object(members) => members.values().flat_map(numbers).collect(),
        other => other.as_f64().into_iter().collect(),
    };
    numbers.sort_by(f64::total_cmp);
    numbers
}

#[test]
fn boroughs_of_new_york_keep_their_parts() {
    let boroughs = BOROUGHS;
    let (_folder, path) = testing::saved(boroughs, "nybb.shz");
    let by_gdal = testing::features_by_gdal(&path);
    let mut members = Vec::new();
    let mut source = zip::ZipArchive::new(io::Cursor::new(boroughs)).unwrap();
    for extension in ["shp", "dbf"] {
        let mut content = Vec::new();
        io::copy(&mut source.by_name(&format!("nybb.{extension}")).unwrap(), &mut content).unwrap();
        members.push((format!("boroughs/NYBB.{}", extension.to_uppercase()), content));
    }
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let features = testing::read(READER, &archive(&members)).unwrap();
    assert_eq!(features.len(), 5);
    let counts = |feature: &Feature| match &feature.geometry {
        Some(Geometry::MultiPolygon(polygons)) => (
            polygons.len(),
            polygons.iter().map(Vec::len).sum(),
            polygons.iter().flatten().map(Vec::len).sum(),
        ),
        other => panic!("{other:?}"),
    };
    for (ours, theirs) in features.iter().zip(by_gdal.as_array().unwrap()) {
        let polygons = theirs["geometry"]["coordinates"].as_array().unwrap();
        let rings: Vec<_> = polygons.iter().flat_map(|polygon| polygon.as_array().unwrap()).collect();
        let positions: usize = rings.iter().map(|ring| ring.as_array().unwrap().len()).sum();
        assert_eq!(counts(ours), (polygons.len(), rings.len(), positions));
        assert_eq!(testing::geojson(ours)["properties"], theirs["properties"]);
    }
}

#[test]
fn what_a_shapefile_has_no_place_for_is_refused() {
    let refused = |features: &[Feature]| testing::write(WRITER, features).unwrap_err().to_string();
    let groups = testing::groups(None);
    let mixed = testing::features(vec![groups[0][0].clone(), groups[3][0].clone()]);
    assert_eq!(refused(&mixed), "Shapefile can't hold both points and polygons: it takes one kind");
    let collection = testing::features(vec![testing::collection(None)]);
    assert_eq!(refused(&collection), "Shapefile can't hold geometry collections");
    let mut long = testing::features(groups[0].clone());
    long[1].properties[0].1 = Property::Text("ä".repeat(128));
    assert_eq!(
        refused(&long),
        "Shapefile can't hold a value of 256 bytes in the column \"name\", which takes 254"
    );
    let mut moved = testing::features(groups[0].clone());
    moved[1].crs = Crs::Crs84;
    assert!(refused(&moved).contains("several coordinate reference systems"));
}

#[test]
fn archives_that_are_no_shapefile_say_what_is_missing() {
    let sound = testing::write(WRITER, &testing::features(testing::groups(None)[0].clone())).unwrap();
    let mut source = zip::ZipArchive::new(io::Cursor::new(sound)).unwrap();
    let mut member = |name: &str| {
        let mut content = Vec::new();
        io::copy(&mut source.by_name(name).unwrap(), &mut content).unwrap();
        content
    };
    let (shp, dbf) = (member("features.shp"), member("features.dbf"));
    assert!(refused(b"PK\x05\x06 no archive").contains("must be a ZIP archive"));
    assert!(refused(b"").contains("must be a ZIP archive"));
    assert!(refused(&archive(&[("readme.txt", b"")])).contains("must have a .shp in its archive"));
    assert!(refused(&archive(&[("a/b.shp", &shp)])).contains("must have a/b.dbf in its archive"));
    let two = [("a.shp", &shp[..]), ("a.dbf", &dbf), ("b.SHP", &shp)];
    assert!(refused(&archive(&two)).contains("must have one .shp in its archive, which has 2: a, b"));
    let mars = [("a.shp", &shp[..]), ("a.dbf", &dbf), ("a.prj", b"GEOGCS[\"Mars\"]")];
    assert!(refused(&archive(&mars)).contains("Mars"));
    let klingon = [("a.shp", &shp[..]), ("a.dbf", &dbf), ("a.cpg", b"klingon")];
    assert!(refused(&archive(&klingon)).contains("klingon"));
    let short = [("a.shp", &shp[..]), ("a.dbf", &dbf[..dbf.len() - 60])];
    assert!(refused(&archive(&short)).contains("ends too early (in feature 3)"));
    let shadowed = [("a.shp", &shp[..]), ("a.dbf", &dbf), ("__MACOSX/._a.shp", b"")];
    assert_eq!(testing::read(READER, &archive(&shadowed)).unwrap().len(), 3);
}

#[test]
fn hostile_archives_are_refused() {
    let shp = b"a".as_slice();
    assert!(refused(&archive(&[("../a.shp", shp)])).contains("leaves its folder"));
    let many: Vec<String> = (0..1001).map(|number| format!("{number}.shp")).collect();
    let members: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(refused(&archive(&members)).contains("at most 1000 members"));
    let zeros = vec![0; 17 << 20];
    assert!(refused(&archive(&[("a.shp", &zeros)])).contains("200 times its size"));
    let mut link = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    link.add_symlink("a.shp", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert!(refused(&link.finish().unwrap().into_inner()).contains("symbolic link"));
    // A directory that says it has 65,535 members, and one that says it is 4 GB long.
    let mut wild = archive(&[("a.shp", shp)]);
    let end = wild.len() - 22;
    wild[end + 8..end + 12].fill(0xff);
    refused(&wild);
    wild[end + 12..end + 16].fill(0xff);
    refused(&wild);
}

#[test]
fn damaged_archives_never_panic() {
    for group in testing::groups(Some(1.0)) {
        testing::mutate(READER, &testing::write(WRITER, &testing::features(group)).unwrap());
    }
}
