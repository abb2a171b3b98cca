use super::super::testing::{self, position};
use super::*;
use crate::vector::Geometry;

fn read(text: &str) -> Result<Vec<Feature>, FormatError> {
    testing::read(|data| Ok(Box::new(Reader::open(data)?)), text.as_bytes())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const POINT: &str = r#"{"type":"Feature","properties":null,"geometry":{"type":"Point","coordinates":[1,2]}}"#;

#[test]
fn documents_of_every_form_are_features() {
    let collection = format!(r#"{{"features":[{POINT},{POINT}],"type":"FeatureCollection"}}"#);
    let sequence = format!("\u{1e}{POINT}\n\u{1e}{POINT}\n");
    let lines = format!("{POINT}\n{POINT}");
    let bare = r#"{"type":"Point","coordinates":[1,2]}
{"coordinates":[1,2],"type":"Point"}"#;
    for document in [collection.as_str(), &sequence, &lines, bare] {
        let features = read(document).unwrap();
        assert_eq!(features.len(), 2, "{document}");
        for feature in features {
            assert_eq!(feature.geometry, Some(Geometry::Point(position(1.0, 2.0, None))), "{document}");
            assert_eq!((feature.crs, feature.properties.len()), (Crs::Crs84, 0));
        }
    }
    assert!(read(r#"{"type":"FeatureCollection","features":[]}"#).unwrap().is_empty());
}

#[test]
fn properties_keep_their_kinds_and_order() {
    let text = r#"{"type":"Feature","id":7,"geometry":null,"properties":
        {"z":1,"a":1.5,"t":"\u00e4","n":null,"b":true,"o":{"x":[1]},"big":18446744073709551616}}"#;
    let feature = &read(text).unwrap()[0];
    assert_eq!((feature.id.as_deref(), &feature.geometry), (Some("7"), &None));
    let expected = [
        ("z", Property::Integer(1)),
        ("a", Property::Number(1.5)),
        ("t", Property::Text("ä".into())),
        ("n", Property::Null),
        ("b", Property::Boolean(true)),
        ("o", Property::Json(r#"{"x":[1]}"#.into())),
        ("big", Property::Number(18_446_744_073_709_551_616.0)),
    ];
    assert_eq!(feature.properties, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn a_system_of_the_form_of_2008_is_honoured_or_refused_never_ignored() {
    let crs = |name: &str| format!(r#""crs":{{"type":"name","properties":{{"name":"{name}"}}}}"#);
    let before = |name: &str| format!(r#"{{"type":"FeatureCollection",{},"features":[{POINT}]}}"#, crs(name));
    let behind =
        |name: &str| format!(r#"{{"type":"FeatureCollection","features":[{POINT}], {}}}"#, crs(name));
    let utm = "urn:ogc:def:crs:EPSG::25832";
    assert_eq!(read(&before(utm)).unwrap()[0].crs, Crs::epsg(25832).unwrap());
    assert_eq!(read(&before("urn:ogc:def:crs:OGC:1.3:CRS84")).unwrap()[0].crs, Crs::Crs84);
    assert!(read(&behind("urn:ogc:def:crs:OGC:1.3:CRS84")).is_ok());
    assert!(refused(&behind(utm)).contains("before its features"));
    assert!(refused(&before("EPSG:1")).contains("EPSG:1"));
    let two =
        format!("{}\n{}", before(utm), before("EPSG:4326").replace(&format!("{},", crs("EPSG:4326")), ""));
    let crs: Vec<_> = read(&two).unwrap().iter().map(|feature| feature.crs).collect();
    assert_eq!(crs, [Crs::epsg(25832).unwrap(), Crs::Crs84], "it holds for its own collection only");
}

#[test]
fn faults_name_their_place() {
    for (text, expected) in [
        (r#"{"type":"Point","coordinates":[1]}"#, "two numbers"),
        (r#"{"type":"LineString","coordinates":[[1,2]]}"#, "two positions"),
        (r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1]]]}"#, "closed rings"),
        (r#"{"type":"Circle","coordinates":[1,2]}"#, "Circle"),
        (
            r#"{"type":"FeatureCollection","features":[{"type":"Point","coordinates":[1,2]}]}"#,
            "in a collection",
        ),
        (r#"{"type":"Point","coordinates":[1,"2"]}"#, "in feature 1"),
        ("[1]", "byte 0"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let deep =
        format!("{{\"type\":\"Polygon\",\"coordinates\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(&deep).contains("GeoJSON"));
}

#[test]
fn what_is_written_is_read_back() {
    for framing in [Framing::Collection, Framing::Sequence] {
        for z in [None, Some(7.5)] {
            let mut geometries = testing::groups(z).concat();
            geometries.push(testing::collection(z));
            let mut features = testing::features(geometries);
            features.iter_mut().for_each(|feature| feature.crs = Crs::Crs84);
            features[0].id = Some("a\"b".into());
            let bytes = match framing {
                Framing::Collection => testing::write(
                    |_, _, out| Ok(Box::new(Writer::new(Framing::Collection, out)?)),
                    &features,
                ),
                Framing::Sequence => {
                    testing::write(|_, _, out| Ok(Box::new(Writer::new(Framing::Sequence, out)?)), &features)
                }
            };
            assert_eq!(read(str::from_utf8(&bytes.unwrap()).unwrap()).unwrap(), features);
        }
    }
    let utm = testing::features(Vec::new());
    let refused = testing::write(|_, _, out| Ok(Box::new(Writer::new(Framing::Sequence, out)?)), &utm);
    assert!(refused.unwrap_err().to_string().contains("EPSG:25832"));
}
