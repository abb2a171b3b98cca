use super::super::{Geometry, Position, Property};
use super::*;

fn room(scratch: &tempfile::TempDir) -> Room<'_> {
    Room { scratch: scratch.path(), bytes_max: u64::MAX }
}

fn converted(text: &[u8], from: VectorFormat, to: VectorFormat) -> Result<Vec<u8>, FormatError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    convert(&Data::Bytes(text.to_vec().into()), from, to, &room(&scratch), &mut bytes, &|| false)?;
    Ok(bytes)
}

const RIVERS: &str = r#"{"type":"FeatureCollection","features":[
    {"type":"Feature","properties":{"name":"Rhein","km":1233},"geometry":{"type":"LineString","coordinates":[[8.25,50],[7.5,51.125]]}},
    {"type":"Feature","properties":{"name":"Änkte","km":0.5},"geometry":{"type":"LineString","coordinates":[[6,50],[6.5,50.5]]}}]}"#;

#[test]
fn every_format_leads_to_every_other_and_back() {
    for middle in VectorFormat::ALL {
        let there = converted(RIVERS.as_bytes(), VectorFormat::GeoJson, middle)
            .unwrap_or_else(|error| panic!("to {}: {error}", middle.name()));
        for end in VectorFormat::ALL {
            let end_bytes = converted(&there, middle, end)
                .unwrap_or_else(|error| panic!("{} to {}: {error}", middle.name(), end.name()));
            let back = converted(&end_bytes, end, VectorFormat::GeoJsonSeq).unwrap();
            let features = read_all(VectorFormat::GeoJsonSeq, &back);
            let line = Geometry::LineString(
                [(8.25, 50.0), (7.5, 51.125)].map(|(x, y)| Position { x, y, z: None }).to_vec(),
            );
            let names: Vec<_> = features.iter().filter_map(name).collect();
            if ![middle, end].contains(&VectorFormat::Wkt) {
                assert_eq!(names.len(), 2, "{} to {}", middle.name(), end.name());
                assert!(names.contains(&"Änkte".to_owned()), "{names:?}");
            }
            // FlatGeobuf sorts, and Shapefile knows no difference between a line and lines of one.
            let found =
                features.iter().filter_map(|feature| feature.geometry.clone()).any(
                    |geometry| match geometry {
                        Geometry::MultiLineString(mut lines) if lines.len() == 1 => {
                            Geometry::LineString(lines.remove(0)) == line
                        }
                        geometry => geometry == line,
                    },
                );
            assert!(found, "{} to {}: {features:?}", middle.name(), end.name());
        }
    }
}

fn name(feature: &Feature) -> Option<String> {
    feature.properties.iter().find(|(name, _)| name == "name").and_then(|(_, value)| match value {
        Property::Text(text) => Some(text.clone()),
        _ => None,
    })
}

fn read_all(format: VectorFormat, bytes: &[u8]) -> Vec<Feature> {
    let mut reader = open(format, &Data::Bytes(bytes.to_vec().into())).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn coordinates_are_transformed_where_the_format_knows_one_system_only() {
    let utm =
        converted(b"SRID=32633;POINT (500000 5761038)", VectorFormat::Wkt, VectorFormat::GeoJson).unwrap();
    let features = read_all(VectorFormat::GeoJson, &utm);
    let Some(Geometry::Point(position)) = &features[0].geometry else { panic!("{features:?}") };
    assert!((position.x - 15.0).abs() < 1e-6 && (position.y - 52.0).abs() < 1e-5, "{position:?}");
    let kept = converted(b"SRID=32633;POINT (500000 5761038)", VectorFormat::Wkt, VectorFormat::Csv).unwrap();
    assert!(String::from_utf8(kept).unwrap().contains("EPSG:32633"));
    let mixed = b"SRID=32633;POINT (500000 5761038)\nPOINT (15 52)";
    let mixed = converted(mixed, VectorFormat::Wkt, VectorFormat::Wkt).unwrap();
    let features = read_all(VectorFormat::Wkt, &mixed);
    assert!(features.iter().all(|feature| feature.crs == Crs::epsg(32633).unwrap()), "that of the first");
    let pole = converted(b"SRID=3035;POINT (1e9 1e9)", VectorFormat::Wkt, VectorFormat::GeoJson);
    assert!(matches!(pole, Err(FormatError::OutsideDomain(_))), "{pole:?}");
}

#[test]
fn a_conversion_stops_when_it_is_told_to() {
    let scratch = tempfile::tempdir().unwrap();
    let data = Data::Bytes(RIVERS.as_bytes().into());
    let (from, to) = (VectorFormat::GeoJson, VectorFormat::Csv);
    let stopped = convert(&data, from, to, &room(&scratch), &mut Vec::new(), &|| true);
    assert!(matches!(stopped, Err(FormatError::Stopped)));
}
