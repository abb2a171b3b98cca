//! A quick look at data: how many features it holds, and where it lies.

use crate::convert::Convertible;
use crate::geojson::{
    Cursor, Flaw, GeometryFinder, GeometryKind, Piece, Point, Positions, Splitter, read_position,
};
use crate::raster::GridReader as _;
use crate::raster::RasterFormat;
use crate::raster::geotiff;
use crate::vector::VectorFormat;
use anabranch_model::{ComplexValue, Data, Facts, Format};

/// Largest data that is looked through, in bytes: a tenth of a second.
pub const LOOK_BYTES_MAX: u64 = 32 << 20;

/// Whether [`look`] may find anything.
#[must_use]
pub fn can_be_looked_at(value: &ComplexValue) -> bool {
    match Convertible::of(&value.format.media_type) {
        Some(Convertible::Vector(format)) => is_geojson(format) && value.data.len() <= LOOK_BYTES_MAX,
        Some(Convertible::Raster(RasterFormat::GeoTiff)) => true,
        Some(Convertible::Raster(_)) | None => false,
    }
}

/// What is known of a value, and what a look at it finds: features and extent of GeoJSON up to [`LOOK_BYTES_MAX`], the extent of a GeoTIFF.
/// Of data that is not what its format says, nothing is found. Blocking.
#[must_use]
pub fn look(value: &ComplexValue) -> Facts {
    if value.facts.features.is_some() || value.facts.bbox.is_some() || !can_be_looked_at(value) {
        return value.facts;
    }
    let found = match Convertible::of(&value.format.media_type) {
        Some(Convertible::Vector(_)) => {
            let Some((features, extent)) = of_geojson(&value.data) else { return value.facts };
            facts_of_geojson(&value.format, features, extent)
        }
        _ => Facts { bbox: of_geotiff(&value.data), ..Facts::default() },
    };
    Facts { features: found.features, bbox: found.bbox, ..value.facts }
}

/// What [`look`] would find, for whoever has read all positions while it wrote GeoJSON of the form `format`.
#[must_use]
pub fn facts_of_geojson(format: &Format, features: u64, extent: Extent) -> Facts {
    let in_degrees = match Convertible::of(&format.media_type) {
        // The form of 2008 may be in any system.
        Some(Convertible::Vector(format)) => is_geojson(format) && format != VectorFormat::GeoJson2008,
        Some(Convertible::Raster(_)) | None => false,
    };
    Facts { features: Some(features), bbox: extent.0.filter(|_| in_degrees), ..Facts::default() }
}

fn is_geojson(format: VectorFormat) -> bool {
    matches!(format, VectorFormat::GeoJson | VectorFormat::GeoJsonSeq | VectorFormat::GeoJson2008)
}

fn of_geotiff(data: &Data) -> Option<[f64; 4]> {
    geotiff::Reader::open(data).ok()?.grid().bbox_in_degrees()
}

/// West, south, east and north of all positions so far; `None` before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent(Option<[f64; 4]>);

impl Extent {
    /// One more position.
    #[inline]
    pub fn add(&mut self, [x, y]: Point) {
        let [west, south, east, north] = self.0.get_or_insert([x, y, x, y]);
        (*west, *south) = (west.min(x), south.min(y));
        (*east, *north) = (east.max(x), north.max(y));
    }

    /// All positions of another one.
    pub fn join(&mut self, other: Self) {
        if let Some([west, south, east, north]) = other.0 {
            self.add([west, south]);
            self.add([east, north]);
        }
    }
}

fn of_geojson(data: &Data) -> Option<(u64, Extent)> {
    let mut splitter = Splitter::new(data.open().ok()?);
    let (mut finder, mut positions, mut extent) =
        (GeometryFinder::default(), Positions::default(), Extent::default());
    while let Some(piece) = splitter.next().ok()? {
        let Piece::Feature(feature) = piece else { continue };
        for geometry in finder.find(&feature).ok()? {
            let mut cursor = Cursor::over(feature.bytes, geometry.coordinates.clone());
            let depth = match geometry.kind {
                GeometryKind::Point => None,
                GeometryKind::MultiPoint | GeometryKind::LineString => Some(0),
                GeometryKind::MultiLineString | GeometryKind::Polygon => Some(1),
                GeometryKind::MultiPolygon => Some(2),
            };
            match depth {
                Some(depth) => lists(&mut cursor, depth, &mut positions, &mut extent).ok()?,
                // An empty point is none.
                None => read_position(&mut cursor).map_or((), |(point, _)| extent.add(point)),
            }
        }
    }
    Some((splitter.features(), extent))
}

/// Reads lists of positions within so many lists.
fn lists(
    cursor: &mut Cursor<'_>,
    depth: u32,
    positions: &mut Positions,
    extent: &mut Extent,
) -> Result<(), Flaw> {
    if depth > 0 {
        return cursor.list(|cursor| lists(cursor, depth - 1, positions, extent)).map(drop);
    }
    positions.read_list(cursor)?;
    positions.points().iter().for_each(|point| extent.add(*point));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(media_type: &str, text: &str) -> (Option<u64>, Option<[f64; 4]>) {
        let value = ComplexValue::new(Data::Bytes(text.to_owned().into()), Format::new(media_type));
        let found = look(&value);
        (found.features, found.bbox)
    }

    #[test]
    fn features_are_counted_and_their_extent_is_found() {
        let geometries = [
            (r#"{"type":"Point","coordinates":[1,2,99]}"#, [1.0, 2.0, 1.0, 2.0]),
            (r#"{"type":"MultiPoint","coordinates":[[1,2],[-3,4]]}"#, [-3.0, 2.0, 1.0, 4.0]),
            (r#"{"type":"Polygon","coordinates":[[[0,0],[5,0],[5,6],[0,0]]]}"#, [0.0, 0.0, 5.0, 6.0]),
            (
                r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[5,0],[5,6],[0,0]]],[[[9,9],[9,10],[8,9],[9,9]]]]}"#,
                [0.0, 0.0, 9.0, 10.0],
            ),
            (
                r#"{"type":"GeometryCollection","geometries":[{"type":"LineString","coordinates":[[7,7],[8,8]]},{"type":"Point","coordinates":[1,9]}]}"#,
                [1.0, 7.0, 8.0, 9.0],
            ),
        ];
        for (geometry, bbox) in geometries {
            let feature = format!(r#"{{"type":"Feature","properties":{{"a":1}},"geometry":{geometry}}}"#);
            let collection = format!(r#"{{"type":"FeatureCollection","features":[{feature}]}}"#);
            assert_eq!(facts(Format::GEOJSON, &collection), (Some(1), Some(bbox)), "{geometry}");
            let sequence = format!("\u{1e}{feature}\n\u{1e}{feature}\n");
            assert_eq!(facts("application/geo+json-seq", &sequence), (Some(2), Some(bbox)));
            assert_eq!(facts(Format::GEOJSON_2008, &collection), (Some(1), None), "in whatever system");
        }
    }

    #[test]
    fn what_is_not_there_or_not_sound_is_not_told() {
        let empty = r#"{"type":"FeatureCollection","features":[]}"#;
        assert_eq!(facts(Format::GEOJSON, empty), (Some(0), None));
        let nowhere = r#"{"type":"Feature","properties":null,"geometry":null}"#;
        assert_eq!(facts(Format::GEOJSON, nowhere), (Some(1), None));
        for unsound in ["<html>", "{\"type\":\"FeatureCollection\",\"features\":[{]}", "\u{0}"] {
            assert_eq!(facts(Format::GEOJSON, unsound), (None, None), "{unsound}");
        }
        assert_eq!(facts(Format::GEOTIFF, "II*"), (None, None));
        assert_eq!(facts("text/plain", empty), (None, None));
    }

    #[test]
    fn what_is_known_is_not_looked_for() {
        let mut value = ComplexValue::new(Data::Bytes("<html>".into()), Format::new(Format::GEOJSON));
        value.facts = Facts { features: Some(7), run_ms: Some(1), ..Facts::default() };
        assert_eq!(look(&value), value.facts);
    }
}
