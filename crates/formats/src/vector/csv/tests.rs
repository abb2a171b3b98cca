use super::*;
use crate::crs::Crs;
use crate::vector::testing::{self, MakeReader, MakeWriter, position};
use crate::vector::{Feature, Geometry, Property};

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITER: MakeWriter = |summary, _room, out| Ok(Box::new(Writer::new(summary, out)?));

fn read(text: &str) -> Vec<Feature> {
    testing::read(READER, text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    testing::read(READER, text.as_bytes()).unwrap_err().to_string()
}

fn samples() -> Vec<Vec<Feature>> {
    let mut samples = Vec::new();
    for z in [None, Some(12.5)] {
        let mut geometries = testing::groups(z).concat();
        samples.push(testing::features(geometries[..2].to_vec()));
        geometries.push(testing::collection(z));
        samples.push(testing::features(geometries));
    }
    samples
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for mut features in samples() {
        for crs in [Crs::epsg(25832).unwrap(), Crs::Crs84] {
            features.iter_mut().for_each(|feature| feature.crs = crs);
            let bytes = testing::write(WRITER, &features).unwrap();
            assert_eq!(testing::read(READER, &bytes).unwrap(), features);
            let (_folder, path) = testing::saved(&bytes, "written.csv");
            let by_gdal = testing::features_by_gdal_with(
                &path,
                &["-oo", "X_POSSIBLE_NAMES=x", "-oo", "Y_POSSIBLE_NAMES=y", "-oo", "Z_POSSIBLE_NAMES=z"],
            );
            let by_gdal = by_gdal.as_array().unwrap();
            assert_eq!(by_gdal.len(), features.len());
            for (ours, theirs) in features.iter().zip(by_gdal) {
                let geometry = testing::geojson(ours)["geometry"].clone();
                assert!(testing::same(&geometry, &theirs["geometry"]), "{geometry} {}", theirs["geometry"]);
                assert_eq!(ours.properties[0].1.text(), theirs["properties"]["name"].as_str().unwrap());
            }
        }
    }
}

#[test]
fn what_gdal_writes_is_read() {
    for mut features in samples() {
        features.pop(); // GDAL writes no line without a geometry as such
        let bytes = testing::written_by_gdal(
            &features,
            &["-f", "CSV", "-lco", "GEOMETRY=AS_WKT", "-lco", "SEPARATOR=SEMICOLON"],
            "out.csv",
        );
        for feature in &mut features {
            feature.crs = Crs::Crs84; // it has no place for the system
            if let Property::Boolean(open) = feature.properties[3].1 {
                feature.properties[3].1 = Property::Integer(i64::from(open));
            }
        }
        assert_eq!(testing::read(READER, &bytes).unwrap(), features);
    }
}

#[test]
fn columns_are_found_by_their_names() {
    let at = |x, y, z| Some(Geometry::Point(position(x, y, z)));
    for (text, expected) in [
        ("x,y\n1,2", at(1.0, 2.0, None)),
        ("\u{feff}Y;X;Z\r\n1;2;3\r\n", at(2.0, 1.0, Some(3.0))),
        ("name\tLatitude\tLongitude\nA\t1\t2\n", at(2.0, 1.0, None)),
        ("lat,lon,wkt\n1,2,POINT(5 6)", at(5.0, 6.0, None)),
        ("the_geom\n\"POINT(5 6)\"", at(5.0, 6.0, None)),
        ("geojson\n\"{\"\"type\"\":\"\"Point\"\",\"\"coordinates\"\":[5,6,7]}\"", at(5.0, 6.0, Some(7.0))),
        ("x,y\n,", None),
        ("wkt,name\n,a", None),
    ] {
        let features = read(text);
        assert_eq!(features.len(), 1, "{text}");
        assert_eq!(features[0].geometry, expected, "{text}");
        assert_eq!(features[0].crs, Crs::Crs84);
    }
    let lambert = Crs::epsg(2154).unwrap();
    assert_eq!(read("crs,easting,northing\nEPSG:2154,1,2")[0].crs, lambert);
    assert_eq!(read("geometry\nSRID=2154;POINT(1 2)")[0].crs, lambert);
}

#[test]
fn what_can_t_be_read_is_said_with_its_line() {
    assert!(refused("").contains("must have the columns x and y"));
    assert!(refused("name,value\na,1").contains("its first line has: name, value (in line 1)"));
    assert!(refused("easting,northing\n1,2").contains("in a column \"crs\" what easting and northing mean"));
    assert_eq!(
        refused("x,y\n1,2\n3,north\n"),
        "CSV data must have numbers as coordinates, not \"north\" (in line 3)"
    );
    assert!(refused("x,y\n1,").contains("not \"\" (in line 2)"));
    assert!(
        refused("x,y\n1,2,3").contains("must have 2 cells in each line, as in its first, not 3 (in line 2)")
    );
    assert!(refused("wkt\nCIRCLE(1 2)").contains("\"CIRCLE(1 2)\" (in line 2)"));
    assert!(refused("x,y,crs\n1,2,EPSG:1").contains("EPSG:1"));
    assert!(
        testing::read(READER, b"x,y,n\n1,2,\xff")
            .unwrap_err()
            .to_string()
            .contains("must be UTF-8, and its cell 3")
    );
    let deep = format!("geojson\n\"{}\"", "[".repeat(100_000));
    assert!(!refused(&deep).is_empty());
}

#[test]
fn properties_named_like_coordinates_stay_properties() {
    let mut features = testing::features(testing::groups(None)[0].clone());
    for feature in &mut features {
        feature.properties.push(("WKT".to_owned(), Property::Text("no geometry".to_owned())));
        feature.properties.push(("x".to_owned(), Property::Integer(7)));
    }
    let read = testing::read(READER, &testing::write(WRITER, &features).unwrap()).unwrap();
    assert_eq!(read[0].geometry, features[0].geometry);
    assert_eq!(
        read[0].properties[4..],
        [
            ("WKT_2".to_owned(), Property::Text("no geometry".to_owned())),
            ("x_2".to_owned(), Property::Integer(7)),
        ]
    );
}

#[test]
fn damaged_data_never_panics() {
    for features in samples() {
        testing::mutate(READER, &testing::write(WRITER, &features).unwrap());
    }
}

#[test]
fn lines_without_end_and_columns_without_number_are_refused() {
    assert!(refused(&"x,".repeat(600_000)).contains("1048576 bytes in its first line"));
    assert!(refused(&format!("x,y{}\n", ",a".repeat(2000))).contains("2000 columns, not 2002"));
}
