use super::*;
use crate::vector::Feature;
use crate::vector::testing::{self, MakeReader, MakeWriter};

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITER: MakeWriter = |summary, room, out| Ok(Box::new(Writer::new(summary, room, out)?));

/// With and without one that has no geometry, so without and with an index.
fn samples() -> Vec<Vec<Feature>> {
    let mut samples = Vec::new();
    for z in [None, Some(12.5)] {
        let mut geometries = testing::groups(z).concat();
        geometries.push(testing::collection(z));
        let features = testing::features(geometries);
        samples.push(features[..features.len() - 1].to_vec());
        samples.push(features);
    }
    samples
}

fn by_name(mut features: Vec<Feature>) -> Vec<Feature> {
    features.sort_by_key(|feature| format!("{:?}", feature.properties));
    features
}

fn refused(bytes: &[u8]) -> String {
    testing::read(READER, bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for features in samples() {
        let bytes = testing::write(WRITER, &features).unwrap();
        let read = testing::read(READER, &bytes).unwrap();
        assert_eq!(by_name(read.clone()), by_name(features));
        let (_folder, path) = testing::saved(&bytes, "written.fgb");
        testing::assert_gdal_agrees(&read, &path);
    }
}

#[test]
fn gdal_finds_features_by_the_index() {
    let geometries = (0..500).map(|n| {
        crate::vector::Geometry::Point(testing::position(f64::from(n % 25), f64::from(n / 25), None))
    });
    let mut features = testing::features(geometries.collect());
    features.pop();
    let (_folder, path) = testing::saved(&testing::write(WRITER, &features).unwrap(), "written.fgb");
    let found = testing::features_by_gdal_within(&path, [3.5, 4.5, 6.5, 5.5]);
    let coordinates: Vec<_> =
        found.as_array().unwrap().iter().map(|found| found["geometry"]["coordinates"].to_string()).collect();
    assert_eq!(coordinates.len(), 3, "{coordinates:?}");
}

#[test]
fn what_gdal_writes_is_read() {
    for features in samples() {
        for index in ["YES", "NO"] {
            let option = format!("SPATIAL_INDEX={index}");
            let has_z = testing::summary(&features).has_z;
            let kind = if has_z { "GEOMETRYZ" } else { "GEOMETRY" };
            let arguments = ["-f", "FlatGeobuf", "-lco", &option, "-nlt", kind];
            let bytes = testing::written_by_gdal(&features, &arguments, "out.fgb");
            let mut expected = features.clone();
            expected.retain(|feature| feature.geometry.is_some()); // GDAL leaves the others out
            assert_eq!(by_name(testing::read(READER, &bytes).unwrap()), by_name(expected));
        }
    }
}

#[test]
fn hostile_sizes_are_refused_before_anything_is_allocated() {
    let sound = testing::write(WRITER, &samples()[0]).unwrap();
    assert!(refused(b"").contains("must begin with"));
    assert!(refused(b"fgb\x04fgb\0").contains("must begin with"));
    assert!(refused(&MAGIC).contains("ends before its head"));
    let mut head = sound.clone();
    head[8..12].fill(0xff);
    assert!(refused(&head).contains("10485760 bytes in its head, not 4294967295"));
    head[8..12].copy_from_slice(&7_u32.to_le_bytes());
    assert!(refused(&head).contains("not 7"));
    assert!(refused(&sound[..200]).contains("too early"));
    assert!(refused(&sound[..sound.len() - 1]).contains("ends too early (in feature 8)"));
    let unindexed = testing::write(WRITER, &samples()[1]).unwrap();
    let first = MAGIC.len() + 4 + u32::from_le_bytes(unindexed[8..12].try_into().unwrap()) as usize;
    let mut feature = unindexed;
    feature[first..first + 4].fill(0xff);
    assert!(refused(&feature).contains("in a feature, not 4294967295 (in feature 1)"));
}

#[test]
fn damaged_data_never_panics() {
    for features in samples() {
        testing::mutate(READER, &testing::write(WRITER, &features).unwrap());
    }
}
