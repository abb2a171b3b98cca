//! Any bytes through a reader, and what it gives through the writer, as the fuzzers do: errors are welcome, panics are not.

use super::{Feature, FeatureReader, FeatureWriter, FormatError, Summary};
use super::{csv, flatgeobuf, geopackage, gml, kml, shapefile};
use crate::room::Room;
use anabranch_model::Data;
use std::io::{Cursor, Write as _, sink};
use std::path::Path;

/// Features that are kept to be written: more are the same again.
const FEATURES_MAX: usize = 1000;

fn features<R: FeatureReader>(
    open: impl FnOnce(&Data) -> Result<R, FormatError>,
    data: &[u8],
) -> Vec<Feature> {
    let mut features = Vec::new();
    if let Ok(mut reader) = open(&Data::Bytes(data.to_vec().into())) {
        while let Ok(Some(feature)) = reader.next() {
            if features.len() < FEATURES_MAX {
                features.push(feature);
            }
        }
    }
    features
}

fn summary(features: &[Feature]) -> Summary {
    let mut summary = Summary::default();
    features.iter().for_each(|feature| summary.add(feature));
    summary
}

fn room(scratch: &Path) -> Room<'_> {
    Room { scratch, bytes_max: 1 << 30 }
}

fn write<W: FeatureWriter>(features: &[Feature], writer: Result<W, FormatError>) {
    let Ok(mut writer) = writer else { return };
    if features.iter().all(|feature| writer.write(feature).is_ok()) {
        let _refused = Box::new(writer).finish();
    }
}

/// CSV.
pub fn fuzz_csv(data: &[u8]) {
    let features = features(csv::Reader::open, data);
    write(&features, csv::Writer::new(&summary(&features), &mut sink()));
}

/// GML.
pub fn fuzz_gml(data: &[u8]) {
    let features = features(gml::Reader::open, data);
    for version in [gml::Version::V2, gml::Version::V3_1, gml::Version::V3_2] {
        write(&features, gml::Writer::new(version, &summary(&features), &mut sink()));
    }
}

/// KML.
pub fn fuzz_kml(data: &[u8]) {
    let features = features(kml::Reader::open, data);
    write(&features, kml::Writer::new(&summary(&features), &mut sink()));
}

/// A Shapefile: the bytes as an archive, then as the files of one, whose check sums no fuzzer finds. The first byte cuts them.
pub fn fuzz_shapefile(data: &[u8]) {
    features(shapefile::Reader::open, data);
    let Some((cut, files)) = data.split_first() else { return };
    let (table, shapes) = files.split_at(files.len() * usize::from(*cut) / 256);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("a.shp", shapes), ("a.dbf", table)] {
        if archive.start_file(name, stored).is_err() || archive.write_all(content).is_err() {
            return;
        }
    }
    let Ok(archive) = archive.finish() else { return };
    let features = features(shapefile::Reader::open, &archive.into_inner());
    write(&features, shapefile::Writer::new(&summary(&features), &room(&std::env::temp_dir()), &mut sink()));
}

/// FlatGeobuf.
pub fn fuzz_flatgeobuf(data: &[u8]) {
    let features = features(flatgeobuf::Reader::open, data);
    write(&features, flatgeobuf::Writer::new(&summary(&features), &room(&std::env::temp_dir()), &mut sink()));
}

/// GeoPackage; reading only, as writing is SQLite's.
pub fn fuzz_geopackage(data: &[u8]) {
    features(geopackage::Reader::open, data);
}
