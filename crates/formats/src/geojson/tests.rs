use super::*;
use std::io::{self, Read};
use std::ops::Range;

/// Gives so many bytes at a time, and is interrupted in between.
struct Slowly<'a> {
    bytes: &'a [u8],
    at_once: usize,
    interrupted: bool,
}

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let at_once = self.at_once.min(self.bytes.len());
        self.bytes.by_ref().take(at_once as u64).read(buffer)
    }
}

#[derive(Debug, PartialEq)]
struct Split {
    features: Vec<(u64, u64, Place, String)>,
    copied: Vec<u8>,
    is_sequence: bool,
}

fn split_at_once(document: &[u8], at_once: usize) -> Result<Split, String> {
    let mut splitter = Splitter::new(Slowly { bytes: document, at_once, interrupted: false });
    let mut features = Vec::new();
    let mut copied = Vec::new();
    while let Some(piece) = splitter.next().map_err(|error| error.to_string())? {
        match piece {
            Piece::Between(bytes) => copied.extend_from_slice(bytes),
            Piece::Feature(Feature { bytes, number, offset, place }) => {
                assert_eq!(offset, copied.len() as u64);
                copied.extend_from_slice(bytes);
                features.push((number, offset, place, String::from_utf8_lossy(bytes).into_owned()));
            }
        }
        assert_eq!(splitter.offset(), copied.len() as u64);
    }
    assert_eq!(splitter.features(), features.len() as u64);
    Ok(Split { features, copied, is_sequence: splitter.is_sequence() })
}

/// Splits in one go, and byte by byte: the same must come out.
fn split(document: impl AsRef<[u8]>) -> Result<Split, String> {
    let document = document.as_ref();
    let whole = split_at_once(document, usize::MAX);
    for at_once in [1, 2, 7] {
        assert_eq!(split_at_once(document, at_once), whole, "{at_once} bytes at once");
    }
    if let Ok(split) = &whole {
        assert_eq!(split.copied, document);
    }
    whole
}

fn features(document: impl AsRef<[u8]>) -> Vec<String> {
    split(document).unwrap().features.into_iter().map(|(.., text)| text).collect()
}

fn geometries(object: &str, place: Place) -> Result<Vec<(GeometryKind, String)>, String> {
    let feature = Feature { bytes: object.as_bytes(), number: 3, offset: 1000, place };
    let mut finder = GeometryFinder::default();
    let found = finder.find(&feature).map_err(|error| error.to_string())?;
    let text = |range: &Range<usize>| object[range.clone()].to_owned();
    Ok(found.iter().map(|geometry| (geometry.kind, text(&geometry.coordinates))).collect())
}

const DOCUMENTS: [&str; 8] = [
    r#"{"type":"FeatureCollection","features":[{"a":"}"},{"b":"\\\"{"} , {}]}"#,
    "\u{feff} {\"features\" : [\n] , \"type\" : \"FeatureCollection\", \"ü\":[{\"features\":[1]}, \"x\"]}\r\n",
    r#"{"name":"features","x":{"features":[{}]},"crs":[[],"]"],"n":-1.5e3,"type":"FeatureCollection","features":[{"features":[{}]}],"t":true}"#,
    r#"{"type":"Feature","features":[{}],"properties":{"features":[{}]},"geometry":null}"#,
    "{\"type\":\"Point\"}\n{\"type\":\"Point\"}\r\n\n{\"type\":\"FeatureCollection\",\"features\":[{}]}",
    "\u{1e}{\"type\":\"Feature\"}\n\u{1e}{\"type\":\"Feature\"}\n",
    r#"{"f\u0065atures":[{"€":"𝄞"}],"\u0074ype":"Feature\u0043ollection"}"#,
    r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]}]}"#,
];

#[test]
fn features_are_where_the_structure_says() {
    assert_eq!(features(DOCUMENTS[0]), [r#"{"a":"}"}"#, r#"{"b":"\\\"{"}"#, "{}"]);
    assert!(features(DOCUMENTS[1]).is_empty());
    assert_eq!(features(DOCUMENTS[2]), [r#"{"features":[{}]}"#]);
    assert_eq!(features(DOCUMENTS[3]), [DOCUMENTS[3]]);
    assert_eq!(features(DOCUMENTS[4]), [r#"{"type":"Point"}"#, r#"{"type":"Point"}"#, "{}"]);
    assert_eq!(features(DOCUMENTS[5]).len(), 2);
    assert_eq!(features(DOCUMENTS[6]), [r#"{"€":"𝄞"}"#]);
    assert_eq!(features(DOCUMENTS[7]), [DOCUMENTS[7]]);
    for (document, is_sequence) in
        DOCUMENTS.iter().zip([false, false, false, false, true, true, false, false])
    {
        assert_eq!(split(document).unwrap().is_sequence, is_sequence, "{document}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for document in DOCUMENTS {
        let document = document.trim_end().as_bytes();
        for end in 0..document.len() {
            // Between two records a sequence may end.
            let between_records = document[..end].iter().rev().find(|byte| !b" \r\n\x1e".contains(byte))
                == Some(&b'}')
                && document.windows(2).any(|pair| pair == b"}\n" || pair == b"\n\x1e" || pair == b"\r\n");
            let outcome = split(&document[..end]);
            assert!(outcome.is_err() || between_records, "{:?}", String::from_utf8_lossy(&document[..end]));
        }
    }
}

#[test]
fn what_is_no_document_is_refused_with_place_and_rule() {
    for (document, error) in [
        ("", "byte 0: a document must not be empty"),
        (" \n ", "byte 3: a document must not be empty"),
        ("\u{feff}", "byte 3: a document must not be empty"),
        ("\u{feff}x", "byte 3: a GeoJSON document must be a JSON object"),
        ("[]", "byte 0: a GeoJSON document must be a JSON object"),
        ("{} {}", "byte 3: a further object must begin on a new line"),
        ("{}x", "byte 2: a GeoJSON document must be a JSON object"),
        ("{\"a\" 1}", "byte 5: a member's name must be followed by a colon"),
        ("{\"a\":}", "byte 5: a value must begin here"),
        ("{a:1}", "byte 1: a member's name must begin here"),
        ("{\"a\":1,}", "byte 7: a member's name must begin here"),
        ("{\"a\":1 2}", "byte 7: a member must be followed by ',' or '}'"),
        ("{\"features\":[{},]}", "byte 16: an element of 'features' must be an object"),
        ("{\"features\":[1]}", "byte 13: an element of 'features' must be an object"),
        ("{\"features\":[{} {}]}", "byte 16: a feature must be followed by ',' or ']'"),
        ("{\"features\":[]}", "byte 15: an object with 'features' must have the 'type' FeatureCollection"),
        ("{\"type\":\"FeatureCollection\"}", "byte 0: a FeatureCollection must have an array 'features'"),
        (
            "{\"type\":\"FeatureCollection\",\"features\":{}}",
            "byte 0: a FeatureCollection must have an array",
        ),
        ("{\"features\":[],\"features\":[]}", "'features' must stand there once"),
        ("{\"type\":\"Feature\",\"type\":\"Feature\"}", "'type' must stand there once"),
        ("{\"features\":[{\"a\":1", "feature 1, byte 19: the document ends within a feature"),
        ("{\"type\":\"Feature\"", "feature 1, byte 17: the document ends within an object"),
    ] {
        let refusal = split_at_once(document.as_bytes(), usize::MAX).unwrap_err();
        assert!(refusal.contains(error), "{document}: {refusal}");
        assert!(split(document).is_err());
    }
}

#[test]
fn text_must_be_utf_8() {
    for bad in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"features\":[{\"a\":\"\xe2\x28\xa1\"}],\"type\":\"FeatureCollection\"}",
    ] {
        for at_once in [1, 3, usize::MAX] {
            assert!(split_at_once(bad, at_once).unwrap_err().contains("must be UTF-8"));
        }
    }
    let utf_16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(split(utf_16).is_err());
}

#[test]
fn deep_nesting_is_refused_at_once() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        for depth in [10_000, 100_000] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for document in [
                format!(r#"{{"type":"Feature","geometry":null,"properties":{value}}}"#),
                format!(
                    r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{value}}}]}}"#
                ),
                format!(
                    r#"{{"type":"GeometryCollection","geometries":[{{"type":"LineString","coordinates":{value}}}]}}"#
                ),
            ] {
                let refusal = read(document.as_bytes()).unwrap_err();
                assert!(refusal.contains("128") || refusal.contains("'coordinates' must"), "{refusal}");
            }
        }
    }
    let nested = |depth: usize| {
        let open = r#"{"type":"GeometryCollection","geometries":["#.repeat(depth);
        format!(r#"{open}{{"type":"Point","coordinates":[1,2]}}{}"#, "]}".repeat(depth))
    };
    assert_eq!(read(nested(50).as_bytes()), Ok(1));
    assert!(read(nested(70).as_bytes()).unwrap_err().contains("128"));
    assert!(read(nested(10_000).as_bytes()).unwrap_err().contains("128"));
}

/// Splits and finds; gives the number of geometries.
fn read(document: &[u8]) -> Result<usize, String> {
    let mut splitter = Splitter::new(document);
    let mut finder = GeometryFinder::default();
    let mut count = 0;
    while let Some(piece) = splitter.next().map_err(|error| error.to_string())? {
        if let Piece::Feature(feature) = piece {
            for geometry in finder.find(&feature).map_err(|error| error.to_string())? {
                let mut cursor = Cursor::over(feature.bytes, geometry.coordinates.clone());
                cursor.skip_value(0).map_err(|flaw| flaw.rule.into_owned())?;
                count += 1;
            }
        }
    }
    Ok(count)
}

#[test]
fn a_feature_over_the_limit_is_refused_and_memory_stays_bounded() {
    let large = "x".repeat(3 << 20);
    let document = format!(
        r#"{{"type":"FeatureCollection","features":[{{}},{{"properties":"{large}"}}],"behind":"","more":[1,{large}]}}"#
    );
    let mut splitter = Splitter::new(document.as_bytes()).with_feature_bytes_max(1 << 20);
    let error = loop {
        match splitter.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the limit must be kept"),
            Err(error) => break error,
        }
    };
    assert_eq!(
        error.to_string(),
        "feature 2, byte 43: what begins here is larger than the 1048576 bytes allowed for one feature"
    );
    // Behind the features, and for the whole document, there is no limit.
    let document = format!(
        "{{\"type\":\"FeatureCollection\",\"features\":[{}{{}}],\"more\":[{}1]}}",
        "{ } ,\n".repeat(1 << 20),
        "1, ".repeat(1 << 20)
    );
    let mut splitter = Splitter::new(document.as_bytes()).with_feature_bytes_max(1 << 20);
    while splitter.next().unwrap().is_some() {}
    assert_eq!(splitter.features(), (1 << 20) + 1);
}

#[test]
fn geometries_are_where_the_structure_says() {
    use GeometryKind::{LineString, Point, Polygon};
    let found = |object: &str| geometries(object, Place::Root).unwrap();
    assert_eq!(
        found(
            r#"{"type":"Feature","properties":{"coordinates":[9],"geometry":{"type":"x"}},"geometry":{"coordinates" : [[1,2], [3,4]] ,"type":"LineString"}}"#
        ),
        [(LineString, "[[1,2], [3,4]]".to_owned())]
    );
    assert_eq!(
        found(
            r#"{"geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},{"type":"GeometryCollection","geometries":[{"coordinates":[ ],"type":"Polygon"}]}]},"type":"Feature"}"#
        ),
        [(Point, "[1,2]".to_owned()), (Polygon, "[ ]".to_owned())]
    );
    assert_eq!(found(r#"{"type":"Feature","geometry":null}"#), []);
    assert_eq!(found(r#"{"type":"Feature"}"#), []);
    assert_eq!(
        found(r#"{"type":"Point","coordinates":[1,2],"geometries":["foreign"],"x":[{"y":"]"}]}"#),
        [(Point, "[1,2]".to_owned())]
    );
}

#[test]
fn what_is_no_feature_is_refused_with_place_and_rule() {
    for (object, error) in [
        ("{}", "feature 3, byte 1000: an object of GeoJSON must have a 'type'"),
        (r#"{"type":"Circle"}"#, "byte 1008: 'type' must be Feature"),
        (r#"{"type":1}"#, "byte 1008: a string must begin here"),
        (r#"{"type":"Feature","type":"Feature"}"#, "byte 1018: 'type' must stand there once"),
        (r#"{"type":"Feature","geometry":1}"#, "byte 1029: 'geometry' must be an object or null"),
        (
            r#"{"type":"Feature","geometry":null,"geometry":null}"#,
            "byte 1034: 'geometry' must stand there once",
        ),
        (r#"{"type":"Feature","geometry":{"type":"Feature"}}"#, "byte 1029: a Feature must not stand"),
        (r#"{"type":"Feature","geometry":{"type":"Point"}}"#, "byte 1029: a geometry must have an array"),
        (r#"{"type":"GeometryCollection"}"#, "must have an array 'geometries'"),
        (r#"{"type":"GeometryCollection","geometries":[null]}"#, "byte 1043: a geometry must be an object"),
        (
            r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},]}"#,
            "must be an object",
        ),
        (r#"{"type":"Point","coordinates":[1,2],}"#, "a string must begin here"),
        (r#"{"type":"Point","coordinates":[1,2] "a":1}"#, "followed by ',' or '}'"),
        (r#"{"type":"Point","coordinates":[1,{"a":2}]}"#, "numbers and arrays only"),
        (r#"{"coordinates":[1],"type":"Feature"}"#, "must not have 'coordinates'"),
        (r#"{"geometry":null,"type":"Point","coordinates":[1,2]}"#, "must not have a 'geometry'"),
        (r#"{"type":"Feature","properties":{"a":[}]}"#, "must be written as JSON"),
        (r#"{"type":"Feature","properties":tru}"#, "true, false or null"),
        (r#"{"type":"FeatureCollection"}"#, "'type' must be Feature"),
    ] {
        let refusal = geometries(object, Place::Root).unwrap_err();
        assert!(refusal.contains(error), "{object}: {refusal}");
    }
    let refusal = geometries(r#"{"type":"Point","coordinates":[1,2]}"#, Place::Collection).unwrap_err();
    assert!(refusal.contains("an element of 'features' must be a Feature"), "{refusal}");
}

/// What the fuzzer does, with small changes to documents that work: none may panic, and none may be copied wrongly.
#[test]
fn damaged_documents_do_no_harm() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for document in DOCUMENTS {
        fuzz_geojson(document.as_bytes());
        for _ in 0..2_000 {
            let mut damaged = document.as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(3) {
                    0 => damaged[at] = b"{}[]\",:\\ \n\x1e1e-.\xe2\xff"[random(17)],
                    1 => damaged.truncate(at + 1),
                    _ => drop(damaged.remove(at)),
                }
                if damaged.is_empty() {
                    break;
                }
            }
            fuzz_geojson(&damaged);
            let at_once = 1 + random(5);
            assert_eq!(split_at_once(&damaged, at_once).is_ok(), split_at_once(&damaged, usize::MAX).is_ok());
        }
    }
}
