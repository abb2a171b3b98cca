use super::line::tests::adversarial;
use super::*;
use crate::describe::GEOJSON_SEQ;
use crate::test_sink::{Help, TestSink};
use anabranch_formats::look;
use anabranch_model::Format;
use anabranch_model::{Data, LiteralValue};

fn inputs(document: &[u8], tolerance: &str) -> Inputs {
    let data = Data::Bytes(document.to_vec().into());
    let data = ComplexValue::new(data, Format::new(Format::GEOJSON));
    Inputs::new(vec![
        ("data".into(), vec![Value::Complex(data)]),
        ("tolerance".into(), vec![Value::Literal(LiteralValue::new(LiteralType::Double, tolerance))]),
    ])
}

fn run(document: &[u8], tolerance: &str) -> Result<String, Error> {
    let sink = TestSink::new();
    SimplifyDouglasPeucker::new().run(&inputs(document, tolerance), &sink)?;
    let written = sink.written();
    let Value::Complex(value) = &written[0].1 else { panic!("{written:?}") };
    let unknown = ComplexValue::new(value.data.clone(), value.format.clone());
    // What is no GeoJSON in what is not looked at here is not looked through there.
    let looked_at = look(&unknown);
    assert!(looked_at.is_empty() || looked_at == value.facts, "{looked_at:?}, {:?}", value.facts);
    Ok(String::from_utf8(sink.bytes_of("result")).unwrap())
}

fn refusal(document: &str) -> String {
    run(document.as_bytes(), "1").unwrap_err().client_text()
}

#[track_caller]
fn check(document: &str, tolerance: &str, expected: &str) {
    assert_eq!(run(document.as_bytes(), tolerance).unwrap(), expected);
}

#[test]
fn only_removed_positions_make_a_difference() {
    check(
        "{ \"type\" : \"FeatureCollection\",\r\n \"crs\":{\"a\":[1]}, \"features\" : [ {\"type\":\"Feature\",\"id\":7,\
         \"properties\":{\"coordinates\":[[0,0],[1,0],[2,0]],\"features\":[{\"type\":\"x\"}],\"s\":\"a\\\"]}\\\\\"},\
         \"geometry\":{\"type\":\"LineString\",\"coordinates\":[ [0.00,0e0, 5] ,\r\n\t[1,0.10,6] , [2.0,0 , 7.50 ] ]} } ,\n\
         {\"type\":\"Feature\",\"properties\":null,\"geometry\":null}],\"x\":\"y\"} \r\n",
        "0.1",
        "{ \"type\" : \"FeatureCollection\",\r\n \"crs\":{\"a\":[1]}, \"features\" : [ {\"type\":\"Feature\",\"id\":7,\
         \"properties\":{\"coordinates\":[[0,0],[1,0],[2,0]],\"features\":[{\"type\":\"x\"}],\"s\":\"a\\\"]}\\\\\"},\
         \"geometry\":{\"type\":\"LineString\",\"coordinates\":[ [0.00,0e0, 5] , [2.0,0 , 7.50 ] ]} } ,\n\
         {\"type\":\"Feature\",\"properties\":null,\"geometry\":null}],\"x\":\"y\"} \r\n",
    );
}

#[test]
fn members_come_in_any_order_and_with_escapes() {
    check(
        r#"{"features":[{"geometry":{"coordinates":[[0,0],[1,0],[2,0]],"bbox":[0,0,2,0],"typ\u0065":"Line\u0053tring"},"type":"Feature"}],"type":"FeatureCollection"}"#,
        "1",
        r#"{"features":[{"geometry":{"coordinates":[[0,0],[2,0]],"bbox":[0,0,2,0],"typ\u0065":"Line\u0053tring"},"type":"Feature"}],"type":"FeatureCollection"}"#,
    );
}

#[test]
fn every_geometry_type() {
    for (geometry, expected) in [
        (r#"{"type":"Point","coordinates":[1,2,3]}"#, None),
        (r#"{"type":"Point","coordinates":[ ]}"#, None),
        (r#"{"type":"MultiPoint","coordinates":[[0,0],[1,0],[2,0]]}"#, None),
        (r#"{"type":"LineString","coordinates":[]}"#, None),
        (r#"{"type":"GeometryCollection","geometries":[]}"#, None),
        (
            r#"{"type":"MultiLineString","coordinates":[[[0,0],[1,0],[2,0]], [[0,0],[0,5]], []]}"#,
            Some(r#"{"type":"MultiLineString","coordinates":[[[0,0],[2,0]], [[0,0],[0,5]], []]}"#),
        ),
        (
            r#"{"type":"Polygon","coordinates":[[[0,0],[0,10],[5,10.2],[10,10],[10,0],[0,0]]]}"#,
            Some(r#"{"type":"Polygon","coordinates":[[[0,0],[0,10],[10,10],[10,0],[0,0]]]}"#),
        ),
        (
            // A hole that collapses goes, the one behind it stays.
            r#"{"type":"Polygon","coordinates":[[[0,0],[0,20],[20,20],[20,0],[0,0]],[[1,1],[1,1.2],[1.2,1],[1,1]] , [[5,5],[5,9],[9,9],[9,5],[5,5]]]}"#,
            Some(
                r#"{"type":"Polygon","coordinates":[[[0,0],[0,20],[20,20],[20,0],[0,0]] , [[5,5],[5,9],[9,9],[9,5],[5,5]]]}"#,
            ),
        ),
        (
            // The outer ring takes its holes along.
            r#"{"type":"Polygon","coordinates":[ [[0,0],[0,0.2],[0.2,0],[0,0]],[[0,0],[0,9],[9,9],[0,0]] ]}"#,
            Some(r#"{"type":"Polygon","coordinates":[]}"#),
        ),
        (
            r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[0,0.2],[0.2,0],[0,0]]],[[[0,0],[0,9],[9,9],[9,0],[4,0],[0,0]]],[[[0,0],[0,0.2],[0.2,0],[0,0]]]]}"#,
            Some(r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[0,9],[9,9],[9,0],[0,0]]]]}"#),
        ),
        (
            r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[0,0.2],[0.2,0],[0,0]]], [[[0,0],[0,0.2],[0.2,0],[0,0]]]]}"#,
            Some(r#"{"type":"MultiPolygon","coordinates":[]}"#),
        ),
        (
            r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},{"type":"GeometryCollection","geometries":[{"coordinates":[[0,0],[1,0],[2,0]],"type":"LineString"}]},{"type":"LineString","coordinates":[[5,0],[6,0],[7,0]]}]}"#,
            Some(
                r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},{"type":"GeometryCollection","geometries":[{"coordinates":[[0,0],[2,0]],"type":"LineString"}]},{"type":"LineString","coordinates":[[5,0],[7,0]]}]}"#,
            ),
        ),
    ] {
        let expected = expected.unwrap_or(geometry);
        check(geometry, "0.5", expected);
        let wrap = |geometry| format!(r#"{{"type":"Feature","geometry":{geometry},"properties":{{}}}}"#);
        check(&wrap(geometry), "0.5", &wrap(expected));
        let wrap = |geometry| {
            format!(r#"{{"type":"FeatureCollection","features":[{},{}]}}"#, wrap(geometry), wrap(geometry))
        };
        check(&wrap(geometry), "0.5", &wrap(expected));
    }
}

#[test]
fn sequences_stay_sequences() {
    let feature = r#"{"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[1,0],[2,0]]}}"#;
    let simplified = r#"{"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[2,0]]}}"#;
    for (separator, behind) in [("\u{1e}", "\n"), ("", "\n"), ("", "\r\n\r\n")] {
        let sequence = |feature| format!("{separator}{feature}{behind}{separator}{feature}{behind}");
        let sink = TestSink::new();
        SimplifyDouglasPeucker::new().run(&inputs(sequence(feature).as_bytes(), "1"), &sink).unwrap();
        assert_eq!(sink.bytes_of("result"), sequence(simplified).as_bytes());
        assert_eq!(sink.format_of("result").media_type, GEOJSON_SEQ);
    }
    let sink = TestSink::new();
    SimplifyDouglasPeucker::new().run(&inputs(feature.as_bytes(), "1"), &sink).unwrap();
    assert_eq!(sink.format_of("result").media_type, Format::GEOJSON);
}

#[test]
fn refusals_name_feature_place_and_rule() {
    let good = r#"{"type":"Feature","geometry":null}"#;
    let bad = r#"{"type":"Feature","geometry":{"type":"LineString","coordinates":[[0,0],[1,1e400]]}}"#;
    let document = format!(r#"{{"type":"FeatureCollection","features":[{good},{bad}]}}"#);
    let at = document.find("1e400").unwrap();
    assert_eq!(
        refusal(&document),
        format!(
            "invalid request: input 'data' must be GeoJSON that can be simplified: feature 2, byte {at}: a coordinate must \
             be between -1e150 and 1e150"
        )
    );
    for (coordinates, rule) in [
        ("[[0,0],[1]]", "two or more numbers"),
        ("[[0,0],[+1,1]]", "as JSON writes it"),
        ("[[0,0],[NaN,1]]", "as JSON writes it"),
        ("[[0,0],[01,1]]", "as JSON writes it"),
        ("[[0,0],[1,null]]", "as JSON writes it"),
        ("[[0,0],[1,\"1\"]]", "must hold numbers and arrays only"),
        ("[[0,0]]", "two or more positions"),
        ("[[0,0],[1,1]]]", "nothing may follow"),
        ("[[0,0],[1,1]", "followed by ',' or ']'"),
        ("[[[0,0],[1,1]]]", "as JSON writes it"),
        ("[0,0]", "must be an array of numbers"),
        ("null", "must be an array"),
        ("{}", "must be an array"),
    ] {
        let text = refusal(&format!(
            r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","geometry":{{"type":"LineString","coordinates":{coordinates}}}}}]}}"#
        ));
        assert!(text.contains(rule) && text.contains("feature 1, byte"), "{coordinates}: {text}");
    }
    for (ring, rule) in [
        ("[[0,0],[1,1],[0,0]]", "four or more positions"),
        ("[[0,0],[0,1],[1,1],[1,0]]", "end where it begins"),
        ("[]", "four or more"),
    ] {
        let text = refusal(&format!(r#"{{"type":"Polygon","coordinates":[{ring}]}}"#));
        assert!(text.contains(rule), "{ring}: {text}");
    }
}

#[test]
fn numbers_of_every_spelling_are_kept_as_written() {
    let line = r#"{"type":"LineString","coordinates":[[-0,1E-7],[1.00000000000000000000001e0,-0.0],[-1.5e+2,12345678901234567890]]}"#;
    check(line, "0", line);
}

#[test]
fn adversarial_lines_end_with_an_error_that_names_feature_and_budget() {
    let positions: Vec<_> = adversarial(5_000).iter().map(|[x, y]| format!("[{x},{y}]")).collect();
    let document = format!(r#"{{"type":"LineString","coordinates":[{}]}}"#, positions.join(","));
    let algorithm =
        SimplifyDouglasPeucker { distances_per_feature_max: 1_000_000, ..SimplifyDouglasPeucker::new() };
    let error = algorithm.run(&inputs(document.as_bytes(), "0"), &TestSink::new()).unwrap_err().client_text();
    assert!(error.contains("feature 1 at byte 0") && error.contains("1000000 distances"), "{error}");
    assert!(run(document.as_bytes(), "0").is_ok());
}

#[test]
fn a_cancelled_run_is_dismissed() {
    let line = r#"{"type":"LineString","coordinates":[[0,0],[1,0],[2,0]]}"#;
    let document = format!("{line}\n").repeat(200_000);
    let sink = TestSink::cancelled();
    let outcome = SimplifyDouglasPeucker::new().run(&inputs(document.as_bytes(), "0"), &sink);
    assert_eq!(outcome, Err(Error::Dismissed));
}

#[test]
fn large_results_are_files_in_the_scratch_folder_and_progress_is_told() {
    let line = r#"{"type":"LineString","coordinates":[[0,0],[1,0],[2,0]]}"#;
    let document = format!("{line}\n").repeat(200_000);
    let sink = TestSink::new();
    SimplifyDouglasPeucker::new().run(&inputs(document.as_bytes(), "0"), &sink).unwrap();
    assert!(sink.path_of("result").unwrap().starts_with(AlgorithmSink::scratch(&sink)));
    assert_eq!(sink.bytes_of("result").len(), document.len() - 200_000 * ",[1,0]".len());
    assert!(sink.progress_told() >= 2);
}

/// Random documents: what comes out is what went in without some positions, and can be simplified again.
#[test]
fn random_documents_lose_positions_only() {
    let mut state = 42_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..200 {
        let mut features = Vec::new();
        for _ in 0..random(5) {
            let positions: Vec<_> = (0..2 + random(30))
                .map(|_| {
                    let space = [" ", "", "\n\t", ""][random(4) as usize];
                    format!("[{space}{}.{},{space}-{}{space}]", random(9), random(100), random(9))
                })
                .collect();
            let separator = [",", " , ", ",\r\n"][random(3) as usize];
            features.push(format!(
                r#"{{"properties":{{"coordinates":"[]\"}}{{"}},"geometry":{{"type":"LineString","coordinates":[{}]}},"type":"Feature"}}"#,
                positions.join(separator)
            ));
        }
        let document = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(" ,\n"));
        let once = run(document.as_bytes(), "1.5").unwrap();
        let mut rest = document.bytes();
        assert!(
            once.bytes().all(|byte| rest.any(|other| other == byte)),
            "{once}\nis no subsequence of\n{document}"
        );
        serde_json::from_str::<serde_json::Value>(&once).unwrap();
        assert!(run(once.as_bytes(), "0").unwrap().len() <= once.len());
    }
}

/// Small changes to a document that works: none may panic, and what is taken must come out as something that is taken again.
#[test]
fn damaged_documents_do_no_harm() {
    let document = r#"{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[0,0.2],[0.2,0],[0,0]]],[[[0,0],[0,9],[9,9],[9,0],[4,0],[0,0]],[[1,1],[1,1.2],[1.2,1],[1,1]]]]}},{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},{"type":"Polygon","coordinates":[[[0,0],[0,3],[3,3],[0,0]]]},{"type":"LineString","coordinates":[[0,0],[1,0],[2,0]]}]}}]}"#;
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut taken = 0;
    for _ in 0..5_000 {
        let mut damaged = document.as_bytes().to_vec();
        for _ in 0..=random(2) {
            let at = random(damaged.len());
            match random(4) {
                0 => damaged[at] = b"{}[]\",:0123456789.-e "[random(21)],
                1 => damaged.insert(at, b"[],0123456789.-e"[random(16)]),
                2 => drop(damaged.remove(at)),
                _ => damaged[at] = b'0' + random(10) as u8,
            }
        }
        if let Ok(once) = run(&damaged, "1") {
            taken += 1;
            let twice = run(once.as_bytes(), "1").unwrap();
            assert!(twice.len() <= once.len());
            let text = String::from_utf8(damaged).unwrap();
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                serde_json::from_str::<serde_json::Value>(&once).unwrap();
            }
        }
    }
    assert!(taken > 200, "{taken} were taken");
}

/// Large enough to be shared, in batches of its usual size.
#[test]
fn a_large_document_is_the_same_by_one_thread_and_by_two() {
    let line = r#"{"type":"LineString","coordinates":[[0,0],[1,0],[2,0]]}"#;
    let document = format!("{line}\n").repeat(100_000);
    let run = |document: &str, help| {
        let sink = TestSink::with_help(help);
        SimplifyDouglasPeucker::new().run(&inputs(document.as_bytes(), "0"), &sink)?;
        assert!(sink.progress_told() >= 1);
        Ok::<_, Error>(sink.bytes_of("result"))
    };
    assert!(run(&document, Help::First) == run(&document, Help::Nobody));
    let faulty = document.replacen("[2,0]", "[2,x]", 50_000).replacen("[2,x]", "[2,0]", 49_998);
    assert_eq!(run(&faulty, Help::First), run(&faulty, Help::Nobody));
    assert!(run(&faulty, Help::First).unwrap_err().client_text().contains("feature 49999, byte"));
}
