//! From one vector format to another.

use super::geojson::Framing;
use super::{
    Feature, FeatureReader, FeatureWriter, FormatError, Summary, VectorFormat, csv, flatgeobuf, geojson,
    geopackage, gml, kml, shapefile, wkt,
};
use crate::crs::{Crs, Transform};
use crate::room::Room;
use anabranch_model::Data;
use std::io::Write;

/// Reads data of a format.
///
/// # Errors
/// Where its beginning is not sound.
pub fn open(format: VectorFormat, data: &Data) -> Result<Box<dyn FeatureReader>, FormatError> {
    Ok(match format {
        VectorFormat::GeoJson | VectorFormat::GeoJsonSeq | VectorFormat::GeoJson2008 => {
            Box::new(geojson::Reader::open(data)?)
        }
        VectorFormat::Gml2 | VectorFormat::Gml31 | VectorFormat::Gml32 => Box::new(gml::Reader::open(data)?),
        VectorFormat::Kml => Box::new(kml::Reader::open(data)?),
        VectorFormat::Wkt => Box::new(wkt::Reader::open(data)?),
        VectorFormat::Csv => Box::new(csv::Reader::open(data)?),
        VectorFormat::Shapefile => Box::new(shapefile::Reader::open(data)?),
        VectorFormat::FlatGeobuf => Box::new(flatgeobuf::Reader::open(data)?),
        VectorFormat::GeoPackage => Box::new(geopackage::Reader::open(data)?),
    })
}

/// Writes features in a format. The summary is of all features that will come; `room` is for what has to lie in files meanwhile.
///
/// # Errors
/// Where the format can't hold such features, or the bytes can't be written.
pub fn create<'a>(
    format: VectorFormat,
    summary: &Summary,
    room: &Room<'_>,
    out: &'a mut dyn Write,
) -> Result<Box<dyn FeatureWriter + 'a>, FormatError> {
    Ok(match format {
        VectorFormat::GeoJson => Box::new(geojson::Writer::new(Framing::Collection, out)?),
        VectorFormat::GeoJsonSeq => Box::new(geojson::Writer::new(Framing::Sequence, out)?),
        VectorFormat::GeoJson2008 => Box::new(geojson::Writer::in_any_crs(summary, out)?),
        VectorFormat::Gml2 => Box::new(gml::Writer::new(gml::Version::V2, summary, out)?),
        VectorFormat::Gml31 => Box::new(gml::Writer::new(gml::Version::V3_1, summary, out)?),
        VectorFormat::Gml32 => Box::new(gml::Writer::new(gml::Version::V3_2, summary, out)?),
        VectorFormat::Kml => Box::new(kml::Writer::new(summary, out)?),
        VectorFormat::Wkt => Box::new(wkt::Writer::new(out)),
        VectorFormat::Csv => Box::new(csv::Writer::new(summary, out)?),
        VectorFormat::Shapefile => Box::new(shapefile::Writer::new(summary, room, out)?),
        VectorFormat::FlatGeobuf => Box::new(flatgeobuf::Writer::new(summary, room, out)?),
        VectorFormat::GeoPackage => Box::new(geopackage::Writer::new(summary, room, out)?),
    })
}

/// The system that all data of a format is in; `None` where the data says it.
fn only_crs(format: VectorFormat) -> Option<Crs> {
    match format {
        VectorFormat::GeoJson | VectorFormat::GeoJsonSeq | VectorFormat::Kml => Some(Crs::Crs84),
        VectorFormat::Gml2
        | VectorFormat::Gml31
        | VectorFormat::Gml32
        | VectorFormat::Wkt
        | VectorFormat::Csv
        | VectorFormat::Shapefile
        | VectorFormat::FlatGeobuf
        | VectorFormat::GeoPackage
        | VectorFormat::GeoJson2008 => None,
    }
}

/// Writes `data`, which is in the format `from`, to `out` in the format `to`.
///
/// Coordinates are transformed where `to` knows one system only, or where features are in several: then into that of the first.
/// `stop` is asked before each feature.
///
/// # Errors
/// The first fault of the data, what `to` can't hold, or [`FormatError::Stopped`]; `out` then holds a part.
pub fn convert(
    data: &Data,
    from: VectorFormat,
    to: VectorFormat,
    room: &Room<'_>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<Summary, FormatError> {
    let mut summary = Summary::default();
    for_each(data, from, stop, |feature| {
        summary.add(&feature);
        Ok(())
    })?;
    let target = only_crs(to).or(summary.crs).unwrap_or(Crs::Crs84);
    summary.crs = Some(target);
    let mut writer = create(to, &summary, room, out)?;
    let mut transform: Option<(Crs, Transform)> = None;
    for_each(data, from, stop, |mut feature| {
        if feature.crs != target {
            let known = transform.take().filter(|(from, _)| *from == feature.crs);
            let (_, transform) = transform.insert(match known {
                Some(known) => known,
                None => (feature.crs, Transform::new(feature.crs, target)?),
            });
            if let Some(geometry) = &mut feature.geometry {
                transform.geometry(geometry)?;
            }
            feature.crs = target;
        }
        writer.write(&feature)
    })?;
    writer.finish()?;
    Ok(summary)
}

fn for_each(
    data: &Data,
    format: VectorFormat,
    stop: &dyn Fn() -> bool,
    mut work: impl FnMut(Feature) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut reader = open(format, data)?;
    while let Some(feature) = reader.next()? {
        if stop() {
            return Err(FormatError::Stopped);
        }
        work(feature)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
