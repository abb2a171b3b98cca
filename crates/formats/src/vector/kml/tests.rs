use super::*;
use crate::crs::Crs;
use crate::vector::testing::{self, MakeReader, MakeWriter, position};
use crate::vector::{Feature, Geometry, Position, Property};

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITER: MakeWriter = |summary, _room, out| Ok(Box::new(Writer::new(summary, out)?));

fn samples() -> Vec<Vec<Feature>> {
    [None, Some(12.5)]
        .into_iter()
        .map(|z| {
            let mut geometries = testing::groups(z).concat();
            geometries.push(testing::collection(z));
            let mut features = testing::features(geometries);
            for feature in &mut features {
                feature.crs = Crs::Crs84;
                feature.properties.retain(|(_, value)| *value != Property::Null); // KML has no word for it
            }
            features
        })
        .collect()
}

fn read(inner: &str) -> Result<Vec<Feature>, FormatErrorText> {
    let document =
        format!("<kml xmlns='{NAMESPACE}' xmlns:gx='http://www.google.com/kml/ext/2.2'>{inner}</kml>");
    testing::read(READER, document.as_bytes()).map_err(|error| error.to_string())
}

type FormatErrorText = String;

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for features in samples() {
        let bytes = testing::write(WRITER, &features).unwrap();
        assert_eq!(testing::read(READER, &bytes).unwrap(), features);
        let (_folder, path) = testing::saved(&bytes, "written.kml");
        let by_gdal = testing::features_by_gdal(&path);
        let by_gdal = by_gdal.as_array().unwrap();
        assert_eq!(by_gdal.len(), features.len());
        for (ours, theirs) in features.iter().zip(by_gdal) {
            let ours = testing::geojson(ours);
            assert!(testing::same(&ours["geometry"], &theirs["geometry"]), "{ours} {theirs}");
            for name in ["count", "share", "open"] {
                assert!(
                    testing::same(&ours["properties"][name], &theirs["properties"][name]),
                    "{ours} {theirs}"
                );
            }
        }
    }
}

#[test]
fn what_gdal_writes_is_read() {
    for features in samples() {
        let bytes = testing::written_by_gdal(&features, &["-f", "LIBKML"], "out.kml");
        let read = testing::read(READER, &bytes).unwrap();
        assert_eq!(read.len(), features.len());
        for (read, written) in read.iter().zip(&features) {
            let mut expected = written.geometry.clone();
            if let Some(geometry) = &mut expected {
                let ground = |position: &mut Position| {
                    position.z.get_or_insert(0.0); // GDAL puts what has no altitude on it
                    Ok::<(), ()>(())
                };
                geometry.try_map(&mut { ground }).unwrap();
            }
            assert_eq!(read.geometry, expected);
            for (name, value) in &written.properties[..written.properties.len().min(3)] {
                let found = read.properties.iter().find(|(found, _)| found == name).map(|(_, value)| value);
                assert_eq!(found.unwrap(), value, "{name}");
            }
        }
    }
}

#[test]
fn placemarks_are_found_in_folders_and_links_are_not_followed() {
    let features = read(
        "<!-- a comment --><Document><name>not a property</name>
         <Schema id='s'><SimpleField name='n' type='int'/><SimpleField name='t' type='string'/></Schema>
         <Style><LineStyle><color>ff0000ff</color></LineStyle></Style>
         <NetworkLink><Link><href>http://127.0.0.1/</href></Link></NetworkLink>
         <Folder><Folder><Placemark id='p1'>
           <name>A &amp; B</name><description><![CDATA[<b>bold</b>]]></description>
           <TimeStamp><when>2026-01-31T12:00:00Z</when></TimeStamp>
           <ExtendedData><Data name='free'><displayName>x</displayName><value>007</value></Data>
             <SchemaData schemaUrl='#s'><SimpleData name='n'>7</SimpleData><SimpleData name='t'>7</SimpleData></SchemaData></ExtendedData>
           <Point><extrude>1</extrude><coordinates> 1.5,2,3 </coordinates></Point>
         </Placemark></Folder></Folder></Document>",
    )
    .unwrap();
    let text = |text: &str| Property::Text(text.to_owned());
    assert_eq!(features.len(), 1);
    assert_eq!(features[0].id.as_deref(), Some("p1"));
    assert_eq!(features[0].geometry, Some(Geometry::Point(position(1.5, 2.0, Some(3.0)))));
    let expected = [
        ("name", text("A & B")),
        ("description", text("<b>bold</b>")),
        ("timestamp", text("2026-01-31T12:00:00Z")),
        ("free", text("007")),
        ("n", Property::Integer(7)),
        ("t", text("7")),
    ];
    assert_eq!(features[0].properties, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn what_can_t_be_read_is_said_with_its_line() {
    let refused = |inner: &str| read(inner).unwrap_err();
    let placemark = |inner: &str| refused(&format!("<Placemark>{inner}</Placemark>"));
    assert!(placemark("<gx:Track><when>x</when></gx:Track>").contains("not a Track"));
    assert!(placemark("<Model/>").contains("not a Model"));
    assert!(
        placemark("<Point><coordinates>\n1,north</coordinates></Point>")
            .ends_with("not \"1,north\" (in line 2)")
    );
    assert!(placemark("<Point><coordinates>1, 2</coordinates></Point>").contains("longitude,latitude"));
    assert!(placemark("<Point><coordinates>1,2,3,4</coordinates></Point>").contains("\"1,2,3,4\""));
    assert!(placemark("<Point><coordinates>1,2 3,4</coordinates></Point>").contains("one position"));
    assert!(placemark("<Point/><Point/>").contains("one geometry"));
    assert!(
        placemark("<Polygon><outerBoundaryIs><LinearRing><coordinates>1,2 3,4 5,6</coordinates></LinearRing></outerBoundaryIs></Polygon>")
            .contains("closed rings")
    );
    assert!(refused("<Document>").contains("well-formed"));
    assert!(testing::read(READER, b"<gml/>").unwrap_err().to_string().contains("root element kml, not gml"));
    assert!(testing::read(READER, b"").unwrap_err().to_string().contains("root element kml"));
}

#[test]
fn hostile_documents_are_refused() {
    let refused = |document: &[u8]| testing::read(READER, document).unwrap_err().to_string();
    let bomb = b"<!DOCTYPE kml [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><kml>&b;</kml>";
    assert!(refused(bomb).contains("document type"));
    assert!(refused(b"<kml><Placemark><name>&file;</name></Placemark></kml>").contains("not &file;"));
    let deep = format!("<kml>{}", "<Folder>".repeat(100_000));
    assert!(refused(deep.as_bytes()).contains("64 elements"));
    let deep = format!("<kml><Placemark>{}", "<MultiGeometry>".repeat(100_000));
    assert!(refused(deep.as_bytes()).contains("64 elements"));
    assert!(refused(b"<?xml version='1.0' encoding='ISO-8859-1'?><kml/>").contains("UTF-8"));
    assert!(refused(b"<kml><Placemark><name>\xff</name></Placemark></kml>").contains("UTF-8"));
}

#[test]
fn what_kml_has_no_place_for_is_refused() {
    let mut features = samples().swap_remove(0);
    features[0].properties[0].1 = Property::Text("\u{1}".to_owned());
    assert!(testing::write(WRITER, &features).unwrap_err().to_string().contains("U+0001"));
    features[0].crs = Crs::epsg(25832).unwrap();
    assert!(testing::write(WRITER, &features).unwrap_err().to_string().contains("longitude and latitude"));
}

#[test]
fn damaged_documents_never_panic() {
    for features in samples() {
        testing::mutate(READER, &testing::write(WRITER, &features).unwrap());
    }
}

#[test]
fn placemarks_without_end_are_refused() {
    let many = "<Data name='a'/>".repeat(2001);
    let error = read(&format!("<Placemark><ExtendedData>{many}</ExtendedData></Placemark>")).unwrap_err();
    assert!(error.contains("2000 properties"), "{error}");
}
