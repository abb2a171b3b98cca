use super::line_index::BUILT;
use super::*;
use crate::test_sink::TestSink;
use anabranch_model::Format;
use anabranch_model::{Data, LiteralValue};

fn geojson_value(document: &[u8]) -> Value {
    let data = Data::Bytes(document.to_vec().into());
    Value::Complex(ComplexValue::new(data, Format::new(Format::GEOJSON)))
}

fn inputs(points: Option<&str>, lines: &str, literals: &[(&str, &str)]) -> Inputs {
    let mut values = vec![("lines".to_owned(), vec![geojson_value(lines.as_bytes())])];
    if let Some(points) = points {
        values.push(("points".into(), vec![geojson_value(points.as_bytes())]));
    }
    values.extend(literals.iter().map(|(id, text)| {
        ((*id).to_owned(), vec![Value::Literal(LiteralValue::new(LiteralType::String, *text))])
    }));
    Inputs::new(values)
}

fn run(points: &str, lines: &str, literals: &[(&str, &str)]) -> Result<String, Error> {
    let sink = TestSink::new();
    SnapPointsToLines::new().run(&inputs(Some(points), lines, literals), &sink)?;
    Ok(String::from_utf8(sink.bytes_of("result")).unwrap())
}

#[track_caller]
fn check(points: &str, literals: &[(&str, &str)], expected: &str) {
    let snapped = run(points, LINES, literals).unwrap();
    assert_eq!(snapped, expected);
}

/// L1 from (0,0) to (10,0), L2 from (0,10) to (10,10).
const LINES: &str = r#"{"type":"FeatureCollection","features":[
    {"type":"Feature","id":"L1","properties":{"id":9},"geometry":{"type":"LineString","coordinates":[[0,0],[10,0]]}},
    {"type":"Feature","properties":null,"geometry":{"type":"MultiLineString","coordinates":[[],[[0,10],[10,10]]]}}]}"#;

fn point(id: u32, x: f64, y: f64) -> String {
    format!(
        r#"{{"type":"Feature","id":"P{id}","properties":{{"n":{id}}},"geometry":{{"type":"Point","coordinates":[{x},{y}]}}}}"#
    )
}

fn collection(features: &[String]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}],"name":"x"}}"#, features.join(",\n"))
}

/// The worked example of the process of 2012, and its second one, where the first point has no match.
#[test]
fn the_worked_example() {
    let given = [(3.0, 1.0), (5.0, 5.0), (12.0, 0.0), (11.0, 11.5), (2.0, 8.0)];
    let snapped = [Some((3.0, 0.0)), None, Some((10.0, 0.0)), Some((10.0, 10.0)), Some((2.0, 10.0))];
    for order in [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [4, 3, 2, 0, 1]] {
        let points: Vec<_> = order.map(|n| point(n, given[n as usize].0, given[n as usize].1)).into();
        let moved = |n: &u32| snapped[*n as usize].map(|(x, y)| point(*n, x, y));
        let expected: Vec<_> = order.iter().filter_map(moved).collect();
        check(&collection(&points), &[("max_distance", "2")], &collection(&expected));
    }
    let distances =
        run(&collection(&[point(3, 11.0, 11.5)]), LINES, &[("max_distance", "2"), ("report", "true")]);
    assert!(distances.unwrap().contains("\"snap_distance\":1.80277563773"));
}

#[test]
fn only_numbers_change() {
    check(
        "\u{feff}{ \"features\" : [ {\"geometry\" : { \"coordinates\" :[ 3.00 ,\t1e0, 7.50 ,8], \"type\":\"Point\" }, \"properties\":\
         {\"coordinates\":[3,1],\"a\":\"\\u00e9\"},\"type\":\"Feature\",\"x\":{} } ,\r\n {\"type\":\"Feature\",\"geometry\":null}\r\n ], \
         \"type\":\"FeatureCollection\" }\n",
        &[("max_distance", "2"), ("unmatched", "keep")],
        "\u{feff}{ \"features\" : [ {\"geometry\" : { \"coordinates\" :[ 3 ,\t0, 7.50 ,8], \"type\":\"Point\" }, \"properties\":\
         {\"coordinates\":[3,1],\"a\":\"\\u00e9\"},\"type\":\"Feature\",\"x\":{} } ,\r\n {\"type\":\"Feature\",\"geometry\":null}\r\n ], \
         \"type\":\"FeatureCollection\" }\n",
    );
}

#[test]
fn what_is_dropped_goes_with_its_separator() {
    let far = |n| point(n, 5.0, 5.0);
    let near = |n| point(n, 1.0, 0.0);
    let within = [("max_distance", "2")];
    let (one, two, empty) = (collection(&[near(1)]), collection(&[near(1), near(2)]), collection(&[]));
    for (given, expected) in [
        (collection(&[far(0), near(1)]), &one),
        (collection(&[near(1), far(0)]), &one),
        (collection(&[far(0), far(3), near(1), far(4), far(5), near(2), far(6)]), &two),
        (collection(&[far(0), far(3)]), &empty),
        (collection(&[]), &empty),
    ] {
        check(&given, &within, expected);
    }
    for (first, between) in [("\u{1e}", "\n\u{1e}"), ("", "\n"), ("", "\r\n\r\n")] {
        let sequence = |features: &[String]| format!("{first}{}\n", features.join(between));
        check(&sequence(&[far(0), near(1), far(3), near(2)]), &within, &sequence(&[near(1), near(2)]));
        let nothing = sequence(&[r#"{"type":"FeatureCollection","features":[]}"#.to_owned()]);
        check(&sequence(&[far(0), far(3)]), &within, &nothing);
        // A sequence of collections.
        let collections = [collection(&[far(0), near(1)]), collection(&[far(1)]), collection(&[near(2)])];
        check(
            &sequence(&collections),
            &within,
            &sequence(&[collection(&[near(1)]), empty.clone(), collection(&[near(2)])]),
        );
    }
    check(&far(1), &within, r#"{"type":"FeatureCollection","features":[]}"#);
    check(r#"{"type":"Point","coordinates":[1,1]}"#, &within, r#"{"type":"Point","coordinates":[1,0]}"#);
}

#[test]
fn positions_of_a_multipoint_are_moved_one_by_one() {
    let multi = |coordinates: &str| format!(r#"{{"type":"MultiPoint","coordinates":{coordinates}}}"#);
    for (given, dropped) in [
        ("[[3,1], [5,5] ,[2,8]]", "[[3,0] ,[2,10]]"),
        ("[ [5,5],[3,1] ]", "[ [3,0] ]"),
        ("[[5,5],[5,5],[3,1,7],[5,5]]", "[[3,0,7]]"),
    ] {
        check(&multi(given), &[("max_distance", "2")], &multi(dropped));
    }
    check(&multi("[[3,1],[5,5]]"), &[("max_distance", "2"), ("unmatched", "keep")], &multi("[[3,0],[5,5]]"));
    check(
        &multi("[[3,1],[5,5]]"),
        &[("max_distance", "2"), ("unmatched", "flag"), ("report", "1")],
        r#"{"type":"Feature","geometry":{"type":"MultiPoint","coordinates":[[3,0],[5,5]]},"properties":{"snap_distance":[1,null],"snap_line_id":["L1",null],"snap_measure":[3,null],"snapped":false}}"#,
    );
    check(
        &multi("[[5,5],[3,9]]"),
        &[("max_distance", "2"), ("report", "1")],
        r#"{"type":"Feature","geometry":{"type":"MultiPoint","coordinates":[[3,10]]},"properties":{"snap_distance":[1],"snap_line_id":[2],"snap_measure":[3]}}"#,
    );
}

#[test]
fn reports_and_flags_are_properties() {
    let feature = |properties: &str, coordinates: &str| {
        format!(
            r#"{{"type":"Feature",{properties}"geometry":{{"type":"Point","coordinates":{coordinates}}}}}"#
        )
    };
    let told = r#""snap_distance":1,"snap_line_id":"L1","snap_measure":3"#;
    for (before, after) in [
        ("\"properties\":{ },", format!("\"properties\":{{{told} }},")),
        ("\"properties\":{ \"a\":1},", format!("\"properties\":{{{told}, \"a\":1}},")),
        ("\"properties\":null,", format!("\"properties\":{{{told}}},")),
        (
            "\"properties\":{\"snap_measure\":7, \"a\" : 1,\"snapped\":[]},",
            format!("\"properties\":{{{told},\"a\" : 1}},"),
        ),
    ] {
        check(
            &feature(before, "[3,1]"),
            &[("max_distance", "2"), ("report", "true")],
            &feature(&after, "[3,0]"),
        );
    }
    check(
        r#"{"type":"Feature","geometry":{"type":"Point","coordinates":[3,1]}}"#,
        &[("max_distance", "2"), ("unmatched", "flag")],
        r#"{"properties":{"snapped":true},"type":"Feature","geometry":{"type":"Point","coordinates":[3,0]}}"#,
    );
    check(
        &feature("\"properties\":{},", "[5,5]"),
        &[("max_distance", "2"), ("unmatched", "flag"), ("report", "true")],
        &feature(
            "\"properties\":{\"snap_distance\":null,\"snap_line_id\":null,\"snap_measure\":null,\"snapped\":false},",
            "[5,5]",
        ),
    );
    check(
        &feature("\"properties\":{},", "[]"),
        &[("max_distance", "2"), ("unmatched", "flag")],
        &feature("\"properties\":{\"snapped\":false},", "[]"),
    );
}

#[test]
fn of_lines_equally_near_the_first_is_taken() {
    let mut lines: Vec<_> = (0..100)
        .map(|n| format!(r#"{{"type":"Feature","id":{n},"geometry":{{"type":"LineString","coordinates":[[0,{n}],[0,-1],[10,-1]]}}}}"#))
        .collect();
    lines.insert(3, r#"{"type":"Feature","id":"empty","geometry":null}"#.into());
    let told = run(&point(0, 5.0, 0.0), &collection(&lines), &[("max_distance", "2"), ("report", "true")]);
    assert!(told.as_ref().unwrap().contains(r#""snap_line_id":0,"snap_measure":6"#), "{told:?}");
}

/// On the ellipsoid, the values are those of pyproj.
#[test]
fn metres_where_coordinates_are_degrees() {
    let line = r#"{"type":"LineString","coordinates":[[7.5,51.9],[7.7,51.9]]}"#;
    let geodesic = |distance| [("max_distance", distance), ("geodesic", "true"), ("report", "true")];
    let at = |x: f64, y: f64| format!(r#"{{"type":"Point","coordinates":[{x},{y}]}}"#);
    let snapped = run(&at(7.6, 51.901), line, &geodesic("112")).unwrap();
    assert!(snapped.contains("[7.6,51.9]") && snapped.contains("\"snap_distance\":111.26"), "{snapped}");
    assert!(snapped.contains("\"snap_line_id\":1,\"snap_measure\":688"), "{snapped}");
    assert!(!run(&at(7.6, 51.901), line, &geodesic("111")).unwrap().contains("Point"));
    // Over the antimeridian.
    let line = r#"{"type":"LineString","coordinates":[[-179.99,-17],[-179.999,-17]]}"#;
    let snapped = run(&at(179.999, -17.0), line, &geodesic("213")).unwrap();
    assert!(snapped.contains("[-179.999,-17]") && snapped.contains("\"snap_distance\":212.9"), "{snapped}");
}

#[test]
fn refusals_name_input_place_and_rule() {
    let good = point(0, 1.0, 1.0);
    for (points, lines, literals, expected) in [
        (
            good.as_str(),
            good.as_str(),
            &[("max_distance", "1")][..],
            "input 'lines' must be GeoJSON that has lines: feature 1, byte",
        ),
        (
            LINES,
            LINES,
            &[("max_distance", "1")],
            "input 'points' must be GeoJSON that has points: feature 1, byte",
        ),
        (LINES, LINES, &[("max_distance", "1")], "a point must be a Point or a MultiPoint, not a LineString"),
        (
            &good,
            r#"{"type":"LineString","coordinates":[[1,1]]}"#,
            &[("max_distance", "1")],
            "two or more positions",
        ),
        (&good, "{}", &[("max_distance", "1")], "must have a 'type'"),
        (r#"{"type":"Point","coordinates":[1]}"#, LINES, &[("max_distance", "1")], "two or more numbers"),
        (
            r#"{"type":"Point","coordinates":[1,1e151]}"#,
            LINES,
            &[("max_distance", "1")],
            "between -1e150 and 1e150",
        ),
        (r#"{"type":"Point","coordinates":[1,1],"x":[}"#, LINES, &[("max_distance", "1")], "byte"),
        (
            r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},{"type":"Point","coordinates":[1,1]}]}"#,
            LINES,
            &[("max_distance", "1")],
            "one Point or MultiPoint",
        ),
        (&good, LINES, &[("max_distance", "0")], "input 'max_distance' must be greater than 0, not 0"),
        (&good, LINES, &[("max_distance", "NaN")], "must be greater than 0, not NaN"),
        (&good, LINES, &[("max_distance", "100001"), ("geodesic", "1")], "at most 100000 m"),
        (
            r#"{"type":"Point","coordinates":[500000,5300000]}"#,
            LINES,
            &[("max_distance", "1"), ("geodesic", "1")],
            "longitude and latitude in degrees",
        ),
    ] {
        let text = run(points, lines, literals).unwrap_err().client_text();
        assert!(text.contains(expected), "{text} for {expected}");
    }
}

/// Lines that many chunks of points have in common are read and packed once.
#[test]
fn chunks_share_one_index() {
    let built_before = BUILT.get();
    let shared = inputs(None, LINES, &[("max_distance", "2")]);
    let prepared = SnapPointsToLines::new().prepare(&shared, &TestSink::new()).unwrap().unwrap();
    for n in 0..10 {
        let sink = TestSink::new();
        let x = f64::from(n);
        prepared.run(&inputs(Some(&point(n, x, 1.0)), LINES, &[("max_distance", "2")]), &sink).unwrap();
        assert_eq!(sink.bytes_of("result"), point(n, x, 0.0).into_bytes());
    }
    assert_eq!(BUILT.get() - built_before, 1);
    let refused =
        SnapPointsToLines::new().prepare(&inputs(None, LINES, &[("max_distance", "-1")]), &TestSink::new());
    assert!(refused.is_err());
}

/// Against the obvious way: every segment for every point.
#[test]
fn the_nearest_of_many_is_found() {
    let mut state = 7_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 100_000) as f64 / 1_000.0
    };
    for (lines, per_line) in [(0, 0), (1, 1), (3, 2), (40, 5), (300, 20)] {
        let mut segments = Vec::new();
        let features: Vec<_> = (0..lines)
            .map(|_| {
                let mut at = [random(), random()];
                let mut positions = vec![format!("[{},{}]", at[0], at[1])];
                for _ in 0..per_line {
                    let next = [at[0] + random() / 20.0 - 2.5, at[1] + random() / 20.0 - 2.5];
                    segments.push([at, next]);
                    positions.push(format!("[{},{}]", next[0], next[1]));
                    at = next;
                }
                format!(
                    r#"{{"type":"Feature","geometry":{{"type":"LineString","coordinates":[{}]}}}}"#,
                    positions.join(",")
                )
            })
            .collect();
        let sink = TestSink::new();
        let document = geojson_value(collection(&features).as_bytes());
        let Value::Complex(document) = document else { panic!("complex") };
        let index = LineIndex::read(&document.data, Metric::Planar, false, &sink).unwrap();
        let mut nodes = Vec::new();
        for _ in 0..300 {
            let (point, distance_max) = ([random(), random()], random() / 20.0);
            let nearest = segments
                .iter()
                .map(|segment| Metric::Planar.distance(point, Metric::Planar.nearest(point, *segment)))
                .fold(f64::INFINITY, f64::min);
            let hit = index.nearest(point, distance_max, &mut nodes);
            assert_eq!(hit.map(|hit| hit.distance), Some(nearest).filter(|nearest| *nearest <= distance_max));
        }
    }
}

/// Small changes to documents that work: none may panic, and what comes out is taken again.
#[test]
fn damaged_documents_do_no_harm() {
    let points = collection(&[point(1, 3.0, 1.0), point(2, 5.0, 5.0), point(3, 2.0, 8.0)]);
    let points = format!("{points}\n{{\"type\":\"MultiPoint\",\"coordinates\":[[1,1],[5,5],[2,8]]}}\n");
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut taken = 0;
    for round in 0..3_000 {
        let mut damaged = points.clone().into_bytes();
        for _ in 0..=random(2) {
            let at = random(damaged.len());
            match random(4) {
                0 => damaged[at] = b"{}[]\",:0123456789.-e "[random(21)],
                1 => damaged.insert(at, b"[],0123456789.-e"[random(16)]),
                2 => drop(damaged.remove(at)),
                _ => damaged[at] = b'0' + random(10) as u8,
            }
        }
        let Ok(text) = String::from_utf8(damaged) else { continue };
        let unmatched = ["drop", "keep", "flag"][round % 3];
        let literals = [("max_distance", "2"), ("unmatched", unmatched), ("report", ["0", "1"][random(2)])];
        if let Ok(once) = run(&text, LINES, &literals) {
            taken += 1;
            run(&once, LINES, &literals)
                .unwrap_or_else(|error| panic!("{error:?} after\n{text}\nbecame\n{once}"));
        }
    }
    assert!(taken > 200, "{taken} were taken");
}

#[test]
fn a_cancelled_run_is_dismissed() {
    let many = format!("{}\n", point(1, 1.0, 1.0)).repeat(100_000);
    let outcome = SnapPointsToLines::new()
        .run(&inputs(Some(&many), LINES, &[("max_distance", "2")]), &TestSink::cancelled());
    assert_eq!(outcome, Err(Error::Dismissed));
}

#[test]
fn points_and_lines_are_in_one_system() {
    let of_2008 = |code: u32, coordinates: &str, kind: &str| {
        format!(
            r#"{{"type":"FeatureCollection","crs":{{"type":"name","properties":{{"name":"urn:ogc:def:crs:EPSG::{code}"}}}},"features":[{{"type":"Feature","properties":{{}},"geometry":{{"type":"{kind}","coordinates":{coordinates}}}}}]}}"#
        )
    };
    let lines = of_2008(25832, "[[500000,5300000],[500100,5300000]]", "LineString");
    let points = of_2008(25832, "[500050,5300001]", "Point");
    let snapped = run(&points, &lines, &[("max_distance", "2")]).unwrap();
    assert_eq!(snapped, of_2008(25832, "[500050,5300000]", "Point"));
    let refused =
        |points: &str, lines: &str, literals| run(points, lines, literals).unwrap_err().client_text();
    assert_eq!(
        refused(&point(1, 1.0, 1.0), &lines, &[("max_distance", "2")]),
        "invalid request: input 'points' must be in the coordinate reference system of 'lines', EPSG:25832, not in OGC:CRS84"
    );
    let geodesic = refused(
        &of_2008(25832, "[50,53]", "Point"),
        &of_2008(25832, "[[50,53],[51,53]]", "LineString"),
        &[("max_distance", "2"), ("geodesic", "1")],
    );
    assert!(
        geodesic.contains("must be in longitude and latitude with 'geodesic', not in EPSG:25832"),
        "{geodesic}"
    );
    assert!(
        run(&point(1, 3.0, 1.0), &of_2008(4326, "[[0,0],[10,0]]", "LineString"), &[("max_distance", "2")])
            .is_ok()
    );
}
