use super::*;
use crate::testing::{faults, process};
use anabranch_model::bind;

fn parsed(body: &str) -> Execute {
    parse(body.as_bytes(), &process(), &Prefer::default()).unwrap()
}

fn refused(body: &str) -> Vec<(FaultKind, String)> {
    faults(&parse(body.as_bytes(), &process(), &Prefer::default()).unwrap_err())
}

fn text(text: &str, form: TextForm) -> InputData {
    InputData::Text { text: text.into(), form }
}

#[test]
fn every_form_of_input_is_read() {
    let execute = parsed(
        r#"{"inputs": {
            "distance": {"value": 2.50, "uom": "km"},
            "mode": ["exact", "fast & loose"],
            "features": {"value": {"type":"FeatureCollection"}, "mediaType": "application/geo+json"},
            "raster": [{"href": "http://x/1", "type": "image/tiff"}, {"value": "AP8=", "format": {"mediaType": "image/tiff", "encoding": "base64"}}],
            "extent": {"bbox": [1, 2, 3, 4], "crs": "EPSG:4326"}
        }, "extra": 1}"#,
    );
    let items = &execute.request.inputs;
    let ids: Vec<_> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["distance", "mode", "mode", "features", "raster", "raster", "extent"]);
    assert_eq!(items[0].data, text("2.50", TextForm::JsonNumber));
    assert_eq!(items[0].uom.as_deref(), Some("km"));
    assert_eq!(items[2].data, text("fast & loose", TextForm::JsonString));
    assert_eq!(items[3].data, text(r#"{"type":"FeatureCollection"}"#, TextForm::Json));
    assert_eq!(items[3].format.media_type.as_deref(), Some("application/geo+json"));
    assert_eq!(items[4].data, InputData::Reference(Reference::get("http://x/1")));
    assert_eq!(items[4].format.media_type.as_deref(), Some("image/tiff"));
    assert_eq!(items[5].format.encoding.as_deref(), Some("base64"));
    let crs = Some("EPSG:4326".into());
    let expected = BoundingBox { crs, lower: vec![1.0, 2.0], upper: vec![3.0, 4.0] };
    assert_eq!(items[6].data, InputData::BoundingBox(expected));
    assert_eq!(execute.request.response, ResponseForm::Raw);
    bind(&process(), &execute.request).unwrap();
}

#[test]
fn lenient_forms_are_read_too() {
    let execute = parsed(
        r#"{"inputs": {"mode": "exact", "features": {"type": "FeatureCollection", "features": []},
            "extent": {"value": {"bbox": [1,2,3,4,5,6]}}, "distance": {"measurement": 1, "uom": "m"}}}"#,
    );
    bind(&process(), &execute.request).unwrap();
    // One value is allowed, so an array is that value.
    let execute = parsed(r#"{"inputs": {"features": [1, 2]}}"#);
    assert_eq!(execute.request.inputs[0].data, text("[1, 2]", TextForm::Json));
}

#[test]
fn outputs_have_format_and_transmission() {
    let execute = parsed(
        r#"{"inputs": {}, "response": "document", "outputs": {
            "buffered": {"format": {"mediaType": "text/xml"}, "transmissionMode": "reference"}, "area": {}},
            "subscriber": {"successUri": "http://x/s"}}"#,
    );
    let outputs = &execute.request.outputs;
    assert_eq!(outputs[0].format.media_type.as_deref(), Some("text/xml"));
    assert_eq!(outputs[0].transmission, Transmission::Reference);
    assert_eq!(outputs[1].transmission, Transmission::Value);
    assert_eq!(execute.request.response, ResponseForm::Document);
    assert_eq!(execute.request.subscriber.unwrap().succeeded.as_deref(), Some("http://x/s"));
}

#[test]
fn every_fault_is_named_at_once() {
    let found = refused(
        r#"{"inputs": {"distance": null, "extent": {"bbox": [1,2,3]}, "features": {"value": 1, "value": 2}},
            "outputs": {"area": {"transmissionMode": "mail"}, "picture": 1}, "response": "loud", "subscriber": {"successUri": 1, "failedUri": "x", "failedUri": "y"}}"#,
    );
    let named: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(
        named,
        [
            "distance",
            "extent",
            "features",
            "response",
            "area",
            "picture",
            "subscriber.failedUri",
            "subscriber.successUri"
        ]
    );
    assert_eq!(found[2].0, FaultKind::TooMany);
}

#[test]
fn members_that_come_twice_are_named() {
    assert_eq!(refused(r#"{"inputs": {}, "inputs": {}}"#), [(FaultKind::TooMany, "inputs".into())]);
    assert_eq!(
        refused(r#"{"inputs": {"mode": "exact", "mode": "exact"}}"#),
        [(FaultKind::TooMany, "mode".into())]
    );
    assert_eq!(
        refused(r#"{"inputs": {}, "outputs": {"area": {}, "area": {}}}"#),
        [(FaultKind::TooMany, "area".into())]
    );
}

#[test]
fn bodies_that_are_no_requests_are_refused() {
    assert_eq!(refused(r#"{"invalid-execute-request": {}}"#), [(FaultKind::Missing, "inputs".into())]);
    for bad in ["", "[]", "1", "{", "nonsense", "{\"inputs\": {}} x", "\u{1}"] {
        assert_eq!(refused(bad), [(FaultKind::Malformed, "body".into())], "{bad:?}");
    }
    assert_eq!(refused(r#"{"inputs": []}"#), [(FaultKind::Malformed, "inputs".into())]);
    assert_eq!(refused(r#"{"inputs": {"mode": "\ud800"}}"#), [(FaultKind::Malformed, "mode".into())]);
    let latin = parse(b"{\"inputs\": {\"mode\": \"\xfc\"}}", &process(), &Prefer::default()).unwrap_err();
    assert_eq!(faults(&latin), [(FaultKind::Malformed, "body".into())]);
}

#[test]
fn depth_is_limited() {
    let deep = format!("{{\"inputs\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(refused(&deep), [(FaultKind::Malformed, "body".into())]);
    fuzz_execute(deep.as_bytes());
}

#[test]
fn a_body_without_inputs_is_left_to_binding() {
    let execute = parsed("{}");
    let error = bind(&process(), &execute.request).unwrap_err();
    assert_eq!(faults(&error), [(FaultKind::Missing, "features".into())]);
}

#[test]
fn the_mode_follows_preference_and_process() {
    let async_wanted = Prefer::parse(["respond-async; x=1, wait=5", "return=minimal"]);
    assert_eq!(async_wanted.wait_s, Some(5));
    let cases = [
        (true, true, Prefer::default(), ExecutionMode::Sync, None),
        (true, true, async_wanted, ExecutionMode::Async, Some("respond-async, wait=5, return=minimal")),
        (true, false, async_wanted, ExecutionMode::Sync, Some("return=minimal")),
        (false, true, Prefer::default(), ExecutionMode::Async, None),
        (false, true, async_wanted, ExecutionMode::Async, Some("respond-async, wait=5, return=minimal")),
    ];
    for (sync_execute, async_execute, prefer, expected, applied) in cases {
        let process = ProcessDescription { sync_execute, async_execute, ..process() };
        let execute = parse(b"{}", &process, &prefer).unwrap();
        assert_eq!(execute.request.mode, expected);
        assert_eq!(execute.preference_applied.as_deref(), applied);
    }
}

#[test]
fn subscribers_are_read_as_the_schema_defines_and_as_it_requires() {
    let subscriber = |text: &str| parsed(&format!(r#"{{"subscriber": {text}}}"#)).request.subscriber.unwrap();
    let all = subscriber(
        r#"{"successUri": "http://x/s", "inProgressUri": "http://x/p", "failedUri": "http://x/f"}"#,
    );
    let (succeeded, in_progress, failed) = (all.succeeded, all.in_progress, all.failed);
    let all = [succeeded, in_progress, failed].map(|address| address.unwrap());
    assert_eq!(all, ["http://x/s", "http://x/p", "http://x/f"]);
    assert_eq!(subscriber(r#"{"successUrl": "http://x/l"}"#).succeeded.as_deref(), Some("http://x/l"));
    let both = subscriber(r#"{"successUrl": "http://x/l", "successUri": "http://x/i"}"#);
    assert_eq!(both.succeeded.as_deref(), Some("http://x/i"));
    assert_eq!(subscriber("{}"), Subscriber::default());
    assert_eq!(refused(r#"{"subscriber": []}"#), [(FaultKind::Malformed, "subscriber".into())]);
}

mod large {
    use super::*;
    use crate::spool::{Characters, InMemory, Spool, SpoolFile, Spooling};
    use anabranch_model::{Data, Error, FormatHint};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use std::io::BufReader;

    fn streamed(body: &str) -> Result<Execute, Error> {
        let spooling = Spooling { to: &mut InMemory, from_bytes: 1_000, held_bytes_max: 10_000 };
        let mut input = BufReader::with_capacity(700, body.as_bytes());
        stream(&mut input, &process(), &Prefer::default(), spooling)
    }

    #[track_caller]
    fn bytes(execute: &Execute, place: usize) -> &[u8] {
        match &execute.request.inputs[place].data {
            InputData::Bytes(Data::Bytes(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// Of a process whose inputs take both text and binary formats.
    struct Unsaid;

    impl Spool for Unsaid {
        fn characters(&self, _process: &str, _input: &str, _format: &FormatHint) -> Characters {
            Characters::Unsaid
        }

        fn file(&mut self) -> std::io::Result<Box<dyn SpoolFile>> {
            InMemory.file()
        }
    }

    #[test]
    fn a_value_that_is_not_said_to_be_base64_is_what_it_begins_as() {
        let text = format!("POINT (1 2){}", " ".repeat(2_000));
        let (object, base64) = (format!(r#"{{"a": [{}1]}}"#, "1, ".repeat(20_000)), STANDARD.encode(&text));
        let body = format!(
            r#"{{"inputs": {{"features": {{"value": {object}}}, "raster": ["{text}", "{base64}"]}}}}"#
        );
        let spooling = Spooling { to: &mut Unsaid, from_bytes: 1_000, held_bytes_max: 10_000 };
        let execute = stream(&mut body.as_bytes(), &process(), &Prefer::default(), spooling).unwrap();
        assert_eq!(bytes(&execute, 0), object.as_bytes());
        assert_eq!(bytes(&execute, 1), text.as_bytes());
        assert_eq!(bytes(&execute, 2), text.as_bytes());
    }

    #[test]
    fn values_are_spooled_wherever_they_stand_and_others_held() {
        let raster: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let base64 = STANDARD.encode(&raster).replace('/', "\\/");
        let point = r#"{"type": "Point", "coordinates": [1, 2]}, "#.repeat(1_000);
        let features = format!(r#"{{"features": [{}]}}"#, point.trim_end_matches(", "));
        // What the value is shows after it.
        let body = format!(
            r#"{{"inputs": {{"features": {{"value": {features}, "mediaType": "application/geo+json"}},
                "raster": ["{base64}", {{"value": "{base64}", "encoding": "base64"}}, {{"value": "AP8="}}],
                "mode": "exact"}}, "response": "document"}}"#
        );
        let execute = streamed(&body).unwrap();
        assert_eq!(bytes(&execute, 0), features.as_bytes());
        assert_eq!(execute.request.inputs[0].format.media_type.as_deref(), Some("application/geo+json"));
        // In memory no process is known: it is base64 where the client says so.
        assert_eq!(bytes(&execute, 1), STANDARD.encode(&raster).as_bytes());
        assert!(bytes(&execute, 2) == raster);
        assert_eq!(execute.request.inputs[3].data, text("AP8=", TextForm::JsonString));
        assert_eq!(execute.request.inputs[4].data, text("exact", TextForm::JsonString));
        assert_eq!(execute.request.response, ResponseForm::Document);
    }

    #[test]
    fn broken_values_are_named_and_what_is_held_is_limited() {
        let long = "QUJD".repeat(10_000);
        for (body, part) in [
            (
                format!(r#"{{"inputs": {{"raster": {{"value": "{long}!", "encoding": "base64"}}}}}}"#),
                "character 40001",
            ),
            (
                format!(r#"{{"inputs": {{"raster": {{"value": ["{long}"], "encoding": "base64"}}}}}}"#),
                "must be base64",
            ),
            (format!(r#"{{"inputs": {{"raster": "{long}\x"}}}}"#), "input 'raster' must be JSON"),
            (format!(r#"{{"inputs": {{"raster": "{long}\ud834"}}}}"#), "Unicode"),
            (format!(r#"{{"inputs": {{"raster": "{long}"#), "ends in the middle"),
            (
                format!(r#"{{"inputs": {{"features": {{"value": {{"a": "{long}",}}}}}}}}"#),
                "line 1, column 40010",
            ),
            (
                format!(
                    r#"{{"inputs": {{"features": {{"value": {{"a": "{long}", "b": {}}}}}}}"#,
                    "[".repeat(70)
                ),
                "deeper than 64",
            ),
            (format!(r#"{{"inputs": {{"mode": "{long}"}}}}"#), "larger than the 10000 bytes"),
            (format!(r#"{{"inputs": {{"features": {{"a": "{long}"}}}}}}"#), "larger than the 10000 bytes"),
            (
                format!(
                    r#"{{"inputs": {{"raster": "{long}"}}, "outputs": {{"picture": {{"format": "{long}"}}}}}}"#
                ),
                "10000 bytes",
            ),
            (format!(r#"{{"inputs": {{"raster": "{long}"}} x"#), "must be JSON"),
            (" ".repeat(20_000), "10000 bytes"),
        ] {
            let refused = streamed(&body).unwrap_err().to_string();
            assert!(refused.contains(part), "{part}: {refused}");
        }
        fuzz_execute(b"\xEF\xBB\xBF{\"inputs\": {\"one\": \"a\"}}");
    }
}
