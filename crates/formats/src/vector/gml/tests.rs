use super::*;
use crate::crs::Crs;
use crate::vector::testing::{self, MakeReader, MakeWriter, position};
use crate::vector::{Feature, FormatError, Geometry, Property};

const READER: MakeReader = |data| Ok(Box::new(Reader::open(data)?));
const WRITERS: [MakeWriter; 3] = [
    |summary, _scratch, out| Ok(Box::new(Writer::new(Version::V2, summary, out)?)),
    |summary, _scratch, out| Ok(Box::new(Writer::new(Version::V3_1, summary, out)?)),
    |summary, _scratch, out| Ok(Box::new(Writer::new(Version::V3_2, summary, out)?)),
];

/// In systems whose first axis runs east and north.
fn samples() -> Vec<Vec<Feature>> {
    let mut samples = Vec::new();
    for code in [25832, 4326, 3035] {
        for z in [None, Some(12.5)] {
            let mut geometries = testing::groups(z).concat();
            geometries.push(testing::collection(z));
            let mut features = testing::features(geometries);
            for (index, feature) in features.iter_mut().enumerate() {
                feature.id = Some(format!("f-{index}"));
                feature.crs = if feature.geometry.is_some() { Crs::epsg(code).unwrap() } else { Crs::Crs84 };
                feature.properties.retain(|(_, value)| *value != Property::Null); // left out
            }
            samples.push(features);
        }
    }
    samples
}

fn read(document: &str) -> Result<Vec<Feature>, String> {
    let document = document.replacen(
        '>',
        " xmlns:gml='http://www.opengis.net/gml' xmlns:wfs='http://www.opengis.net/wfs' \
         xmlns:xlink='http://www.w3.org/1999/xlink' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xmlns:s='urn:s'>",
        1,
    );
    testing::read(READER, document.as_bytes()).map_err(|error| error.to_string())
}

/// Of one geometry, with its system.
fn geometry(document: &str) -> Result<(Option<Geometry>, Crs), String> {
    let mut features = read(document)?;
    assert_eq!(features.len(), 1);
    let feature = features.remove(0);
    Ok((feature.geometry, feature.crs))
}

fn point(x: f64, y: f64) -> Geometry {
    Geometry::Point(position(x, y, None))
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for features in samples() {
        for writer in WRITERS {
            let bytes = testing::write(writer, &features).unwrap();
            assert_eq!(testing::read(READER, &bytes).unwrap(), features);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("written.gml");
            std::fs::write(&path, &bytes).unwrap();
            let by_gdal = testing::features_by_gdal(&path);
            let by_gdal = by_gdal.as_array().unwrap();
            assert_eq!(by_gdal.len(), features.len());
            for (ours, theirs) in features.iter().zip(by_gdal) {
                let ours = testing::geojson(ours);
                assert!(testing::same(&ours["geometry"], &theirs["geometry"]), "{ours} {theirs}");
                for name in ["name", "count", "share"] {
                    let (ours, theirs) = (&ours["properties"][name], &theirs["properties"][name]);
                    assert!(testing::same(ours, theirs), "{ours} {theirs}");
                }
            }
        }
    }
}

#[test]
fn what_gdal_writes_is_read() {
    for features in samples() {
        for form in ["FORMAT=GML2", "FORMAT=GML3", "FORMAT=GML3.2"] {
            let mut arguments = vec!["-f", "GML", "-dsco", form];
            if form != "FORMAT=GML2" {
                arguments.extend(["-dsco", "GML_FEATURE_COLLECTION=YES"]);
            }
            let bytes = testing::written_by_gdal(&features, &arguments, "out.gml");
            let read = testing::read(READER, &bytes).unwrap();
            assert_eq!(read.len(), features.len());
            for (read, written) in read.iter().zip(&features) {
                assert_eq!(read.geometry, written.geometry, "{form}");
                if written.geometry.is_some() {
                    assert_eq!(read.crs, written.crs, "{form}");
                }
                for (name, value) in &written.properties {
                    let found = read.properties.iter().find(|(found, _)| found == name);
                    let found = found.map(|(_, value)| value).unwrap();
                    let has_booleans = form == "FORMAT=GML3.2"; // others say 0 and 1
                    if has_booleans || !matches!(value, Property::Boolean(_)) {
                        assert_eq!(found, value, "{form} {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn collections_of_all_services_are_walked_through() {
    let expected =
        [("a1", Property::Integer(31), point(3.0, 1.0)), ("a2", Property::Integer(12), point(5.0, 5.0))];
    let feature = |id: &str, name: &str, speed: u8, place: &str| {
        format!(
            "<s:obs {name}='{id}'><s:speed>{speed}</s:speed><s:geom><gml:Point srsName='EPSG:25832'>{place}</gml:Point></s:geom></s:obs>"
        )
    };
    let old = format!(
        "<wfs:FeatureCollection><gml:boundedBy><gml:null>unknown</gml:null></gml:boundedBy>\
         <gml:featureMember>{}</gml:featureMember><gml:featureMember>{}</gml:featureMember></wfs:FeatureCollection>",
        feature("a1", "fid", 31, "<gml:coordinates>3,1</gml:coordinates>"),
        feature("a2", "fid", 12, "<gml:coord><gml:X>5</gml:X><gml:Y>5</gml:Y></gml:coord>"),
    );
    let many = format!(
        "<wfs:FeatureCollection numberOfFeatures='2'><gml:featureMembers>{}{}</gml:featureMembers></wfs:FeatureCollection>",
        feature("a1", "gml:id", 31, "<gml:pos>3 1</gml:pos>"),
        feature("a2", "gml:id", 12, "<gml:name>a point</gml:name><gml:pos>5 5</gml:pos>"),
    );
    let nested = format!(
        "<wfs:FeatureCollection><wfs:member><wfs:FeatureCollection><wfs:member>{}</wfs:member></wfs:FeatureCollection></wfs:member>\
         <wfs:member>{}</wfs:member><wfs:additionalObjects><x/></wfs:additionalObjects></wfs:FeatureCollection>",
        feature("a1", "gml:id", 31, "<gml:pos>3 1</gml:pos>"),
        feature("a2", "gml:id", 12, "<gml:pos>5 5</gml:pos>"),
    );
    for document in [old, many, nested] {
        let features = read(&document).unwrap();
        let found: Vec<_> = features
            .iter()
            .map(|f| (f.id.as_deref().unwrap(), f.properties[0].1.clone(), f.geometry.clone().unwrap()))
            .collect();
        assert_eq!(found, expected, "{document}");
        assert!(features.iter().all(|feature| feature.crs == Crs::epsg(25832).unwrap()));
    }
    assert_eq!(read("<wfs:FeatureCollection></wfs:FeatureCollection>").unwrap(), []);
}

#[test]
fn the_form_of_the_system_s_name_says_the_order_of_coordinates() {
    for (name, expected, crs) in [
        ("EPSG:4326", point(8.0, 50.0), 4326),
        ("http://www.opengis.net/gml/srs/epsg.xml#4326", point(8.0, 50.0), 4326),
        ("urn:ogc:def:crs:EPSG::4326", point(50.0, 8.0), 4326),
        ("urn:x-ogc:def:crs:EPSG:6.9:4326", point(50.0, 8.0), 4326),
        ("http://www.opengis.net/def/crs/EPSG/0/4326", point(50.0, 8.0), 4326),
        ("http://www.opengis.net/def/crs/EPSG/0/25832", point(8.0, 50.0), 25832),
    ] {
        let found = geometry(&format!("<gml:Point srsName='{name}'><gml:pos>8 50</gml:pos></gml:Point>"));
        assert_eq!(found, Ok((Some(expected.clone()), Crs::epsg(crs).unwrap())), "{name}");
        // The same, where what is around says it.
        let around = format!(
            "<wfs:FeatureCollection><gml:boundedBy><gml:Envelope srsName='{name}'/></gml:boundedBy><gml:featureMember><s:f>\
             <s:g><gml:Point><gml:pos>8 50</gml:pos></gml:Point></s:g></s:f></gml:featureMember></wfs:FeatureCollection>"
        );
        assert_eq!(geometry(&around), Ok((Some(expected.clone()), Crs::epsg(crs).unwrap())), "{name}");
        let own = format!(
            "<s:f><gml:boundedBy><gml:Box srsName='{name}'/></gml:boundedBy><s:g><gml:Point>\
             <gml:coordinates>8,50</gml:coordinates></gml:Point></s:g></s:f>"
        );
        assert_eq!(geometry(&own), Ok((Some(expected), Crs::epsg(crs).unwrap())), "{name}");
    }
    let nothing = geometry("<gml:Point><gml:pos>8 50</gml:pos></gml:Point>");
    assert_eq!(nothing, Ok((Some(point(8.0, 50.0)), Crs::Crs84)));
    let parts = "<gml:MultiPoint><gml:pointMember><gml:Point srsName='EPSG:25832'><gml:pos>1 2</gml:pos></gml:Point></gml:pointMember></gml:MultiPoint>";
    assert_eq!(geometry(parts).unwrap().1, Crs::epsg(25832).unwrap(), "that of its parts");
    let unknown = geometry("<gml:Point srsName='EPSG:1'><gml:pos>8 50</gml:pos></gml:Point>").unwrap_err();
    assert!(unknown.contains("\"EPSG:1\""), "{unknown}");
}

#[test]
fn curves_and_surfaces_of_straight_lines_are_read() {
    let line =
        |points: &[(f64, f64)]| -> Vec<_> { points.iter().map(|(x, y)| position(*x, *y, None)).collect() };
    let read = |document: &str| geometry(document).unwrap().0.unwrap();
    let segment = |list: &str| {
        format!("<gml:LineStringSegment><gml:posList>{list}</gml:posList></gml:LineStringSegment>")
    };
    let curve = |segments: &str| format!("<gml:Curve><gml:segments>{segments}</gml:segments></gml:Curve>");
    let two = format!("{}{}", segment("0 0 1 0"), segment("1 0 2 0"));
    assert_eq!(read(&curve(&two)), Geometry::LineString(line(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])));
    let composite = format!(
        "<gml:CompositeCurve><gml:curveMember><gml:LineString><gml:pos>5 5</gml:pos><gml:pos>2 0</gml:pos></gml:LineString></gml:curveMember>\
         <gml:curveMember><gml:OrientableCurve orientation='-'><gml:baseCurve>{}</gml:baseCurve></gml:OrientableCurve></gml:curveMember></gml:CompositeCurve>",
        curve(&two)
    );
    assert_eq!(
        read(&composite),
        Geometry::LineString(line(&[(5.0, 5.0), (2.0, 0.0), (1.0, 0.0), (0.0, 0.0)]))
    );
    let triangle = line(&[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]);
    let ring = "<gml:exterior><gml:LinearRing><gml:posList>0 0 1 0 0 1 0 0</gml:posList></gml:LinearRing></gml:exterior>";
    let of_curves = format!(
        "<gml:exterior><gml:Ring><gml:curveMember>{}</gml:curveMember><gml:curveMember><gml:LineString><gml:coordinates \
         decimal=',' cs=';' ts='|'>0;1,0|0,0;0</gml:coordinates></gml:LineString></gml:curveMember></gml:Ring></gml:exterior>",
        curve(&segment("0 0 1 0 0 1"))
    );
    for boundary in [ring, &of_curves] {
        let surface = format!(
            "<gml:Surface><gml:patches><gml:PolygonPatch>{boundary}</gml:PolygonPatch></gml:patches></gml:Surface>"
        );
        assert_eq!(read(&surface), Geometry::Polygon(vec![triangle.clone()]));
    }
    let tin = format!(
        "<gml:Tin><gml:trianglePatches><gml:Triangle>{ring}</gml:Triangle><gml:Triangle>{ring}</gml:Triangle></gml:trianglePatches></gml:Tin>"
    );
    assert_eq!(read(&tin), Geometry::MultiPolygon(vec![vec![triangle.clone()]; 2]));
    let several = format!(
        "<gml:MultiSurface><gml:surfaceMembers><gml:Polygon>{ring}</gml:Polygon></gml:surfaceMembers><gml:surfaceMember>\
         <gml:CompositeSurface><gml:surfaceMember><gml:Polygon>{ring}</gml:Polygon></gml:surfaceMember></gml:CompositeSurface>\
         </gml:surfaceMember></gml:MultiSurface>"
    );
    assert_eq!(read(&several), Geometry::MultiPolygon(vec![vec![triangle]; 2]));
    let list = |attributes: &str, list: &str| {
        geometry(&format!("<gml:LineString{attributes} ><gml:posList>{list}</gml:posList></gml:LineString>"))
    };
    let high = Geometry::LineString(vec![position(1.0, 2.0, Some(3.0)), position(4.0, 5.0, Some(6.0))]);
    assert_eq!(list(" srsDimension='3'", "1 2 3 4 5 6").unwrap().0, Some(high));
    assert!(
        list(" srsDimension='3'", "1 2 3 4 5 6 7 8").unwrap_err().contains("3 numbers for each position")
    );
    assert_eq!(geometry("<gml:LineString ><gml:posList/></gml:LineString>").unwrap().0, None);
}

#[test]
fn properties_are_values_parts_and_references() {
    let features = read(
        "<s:road gml:id='r1'><gml:name>A &amp; B</gml:name><s:address><s:street>X</s:street><s:number>7</s:number></s:address>\
         <s:code>007</s:code><s:nothing xsi:nil='true'/><s:region xlink:href='#r'/><s:tag>a</s:tag><s:tag>b</s:tag>\
         <s:centre><gml:Point><gml:pos>1 2</gml:pos></gml:Point></s:centre>\
         <s:shape><gml:Solid/></s:shape><s:height uom='m'>3.5</s:height></s:road>",
    )
    .unwrap();
    let text = |text: &str| Property::Text(text.to_owned());
    let expected = [
        ("name", text("A & B")),
        ("address.street", text("X")),
        ("address.number", Property::Integer(7)),
        ("code", text("007")),
        ("nothing", Property::Null),
        ("region", text("#r")),
        ("tag", text("a")),
        ("tag_2", text("b")),
        ("height", Property::Number(3.5)),
    ];
    assert_eq!(features[0].properties, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(features[0].geometry, Some(point(1.0, 2.0)), "the first one");
    assert_eq!(features[0].id.as_deref(), Some("r1"));
}

#[test]
fn what_can_t_be_read_is_said_with_its_name_and_line() {
    let refused = |document: &str| geometry(document).unwrap_err();
    for kind in ["Arc", "ArcString", "Circle", "ArcByCenterPoint", "CubicSpline", "Bezier", "GeodesicString"]
    {
        let curve = format!("<gml:Curve>\n<gml:segments><gml:{kind}/></gml:segments></gml:Curve>");
        let error = refused(&curve);
        assert!(error.contains(&format!("no {kind} here")) && error.contains("line 2"), "{error}");
    }
    for kind in ["Solid", "MultiSolid", "GeometricComplex", "RectifiedGrid", "OffsetCurve"] {
        assert!(refused(&format!("<gml:{kind}></gml:{kind}>")).contains(&format!("no {kind}")), "{kind}");
    }
    let elsewhere = "<gml:MultiCurve><gml:curveMember xlink:href='#c1'/></gml:MultiCurve>";
    assert!(refused(elsewhere).contains("curveMember with an xlink:href"));
    let elsewhere = "<wfs:FeatureCollection><gml:featureMember xlink:href='#f1'/></wfs:FeatureCollection>";
    assert!(refused(elsewhere).contains("refer to them"));
    let point = |inner: &str| refused(&format!("<gml:Point>{inner}</gml:Point>"));
    assert!(point("<gml:pos>1 north</gml:pos>").contains("not \"north\""));
    assert!(point("<gml:pos>1</gml:pos>").contains("2 or 3 numbers in a pos, not 1"));
    assert!(point("<gml:pos>1 NaN</gml:pos>").contains("not \"NaN\""));
    assert!(point("<gml:coordinates>1,2 3,4</gml:coordinates>").contains("one position in a Point, not 2"));
    assert!(point("<gml:coordinates>1,2,3,4</gml:coordinates>").contains("not \"1,2,3,4\""));
    assert!(point("<gml:coord><gml:X>1</gml:X></gml:coord>").contains("coord, not 1"));
    assert!(point("<gml:posture/>").contains("may not have a posture in a Point"));
    let open = "<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>0 0 1 0 0 1</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>";
    assert!(refused(open).contains("closed rings"));
    let mixed = "<gml:MultiPoint><gml:pointMember><gml:Point srsName='EPSG:25832'><gml:pos>1 2</gml:pos></gml:Point></gml:pointMember>\
                 <gml:pointMember><gml:Point srsName='EPSG:4326'><gml:pos>1 2</gml:pos></gml:Point></gml:pointMember></gml:MultiPoint>";
    assert!(refused(mixed).contains("not EPSG:25832 and EPSG:4326"));
}

#[test]
fn hostile_documents_are_refused() {
    let refused = |document: &str| read(document).unwrap_err();
    let bomb = testing::read(READER, b"<!DOCTYPE a [<!ENTITY a 'aaaa'>]><a>&a;</a>").unwrap_err().to_string();
    assert!(bomb.contains("document type"), "{bomb}");
    assert!(refused(&format!("<s:f>{}", "<s:p>".repeat(100_000))).contains("64 elements"));
    assert!(
        refused(&format!("<gml:MultiGeometry>{}", "<gml:geometryMember><gml:MultiGeometry>".repeat(99)))
            .contains("64")
    );
    let many = format!("<s:f>{}</s:f>", "<s:p>1</s:p>".repeat(2001));
    assert!(refused(&many).contains("2000 properties"));
    let name = "n".repeat(1001);
    assert!(refused(&format!("<s:f><s:{name}/></s:f>")).contains("1000 bytes"));
}

#[test]
fn what_gml_has_no_place_for_is_refused_or_spelled_as_near_as_can_be() {
    let mut features = samples().swap_remove(0);
    features.truncate(1);
    features[0].properties = vec![
        ("2 b|c".to_owned(), Property::Integer(1)),
        ("Straße".to_owned(), Property::Integer(2)),
        ("geometry".to_owned(), Property::Integer(3)),
        ("".to_owned(), Property::Integer(4)),
    ];
    features[0].id = Some("no id".to_owned());
    for writer in WRITERS {
        let bytes = testing::write(writer, &features).unwrap();
        let read = testing::read(READER, &bytes).unwrap();
        let names: Vec<_> = read[0].properties.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["_2_b_c", "Straße", "geometry_2", "_"]);
        assert_eq!(read[0].id.as_deref(), Some("feature.1"));
    }
    features[0].properties[0].1 = Property::Text("\u{1}".to_owned());
    let refused = testing::write(WRITERS[0], &features).unwrap_err();
    assert!(matches!(refused, FormatError::Unrepresentable { .. }), "{refused}");
}

#[test]
fn damaged_documents_never_panic() {
    for writer in WRITERS {
        testing::mutate(READER, &testing::write(writer, &samples()[1]).unwrap());
    }
}
