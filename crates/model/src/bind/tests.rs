use super::*;
use crate::description::{BoundingBoxDomain, Occurs};
use crate::id::ProcessId;

fn input(id: &str, occurs: Occurs, data: DataDescription) -> InputDescription {
    InputDescription::new(id, occurs, data)
}

fn process() -> ProcessDescription {
    let interval = LiteralDomain {
        allowed: vec![AllowedValue::Range {
            minimum: Some("1".into()),
            maximum: Some("1000".into()),
            closure: RangeClosure::Closed,
        }],
        default: Some("100".into()),
        uoms: vec!["m".into()],
        ..LiteralDomain::any(LiteralType::Double)
    };
    let dem = ComplexDomain { formats: vec![Format::base64("image/tiff")], bytes_max: Some(4) };
    let out = ComplexDomain {
        formats: vec![Format::new(Format::GEOJSON), Format::new("text/xml")],
        bytes_max: None,
    };
    ProcessDescription {
        title: "Contour".into(),
        version: "1".into(),
        inputs: vec![
            input("interval", Occurs::OPTIONAL, DataDescription::Literal(interval)),
            input(
                "name",
                Occurs { min: 1, max: Some(2) },
                DataDescription::Literal(LiteralDomain::any(LiteralType::String)),
            ),
            input("dem", Occurs::OPTIONAL, DataDescription::Complex(dem)),
            input(
                "area",
                Occurs::OPTIONAL,
                DataDescription::BoundingBox(BoundingBoxDomain { crs: vec!["EPSG:4326".into()] }),
            ),
        ],
        outputs: vec![OutputDescription {
            title: "Contours".into(),
            ..OutputDescription::new("contours", DataDescription::Complex(out))
        }],
        async_execute: false,
        ..ProcessDescription::new(ProcessId::new("contour").unwrap())
    }
}

fn text(id: &str, value: &str) -> InputItem {
    typed(id, value, TextForm::Untyped)
}

fn typed(id: &str, value: &str, form: TextForm) -> InputItem {
    let data = InputData::Text { text: value.into(), form };
    InputItem { id: id.into(), data, format: FormatHint::default(), data_type: None, uom: None }
}

fn request(inputs: Vec<InputItem>) -> ExecuteRequest {
    ExecuteRequest {
        process: ProcessId::new("contour").unwrap(),
        inputs,
        outputs: vec![],
        mode: ExecutionMode::Sync,
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    }
}

fn faults(inputs: Vec<InputItem>) -> Vec<String> {
    match bind(&process(), &request(inputs)) {
        Err(Error::Invalid(faults)) => faults.iter().map(Fault::to_string).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn defaults_and_all_outputs_are_filled_in() {
    let bound = bind(&process(), &request(vec![text("name", " a b ")])).unwrap();
    let outputs: Vec<_> = bound.outputs.iter().map(|o| o.format.media_type.clone().unwrap()).collect();
    assert_eq!(outputs, [Format::GEOJSON]);
    let inputs = bound.into_inputs().unwrap();
    assert_eq!(inputs.number("interval"), Ok(100.0));
    assert_eq!(inputs.text("name"), Some(" a b "), "white space of strings is the client's");
    assert!(inputs.first("dem").is_none());
}

#[test]
fn all_faults_of_a_request_come_in_one_answer() {
    assert_eq!(
        faults(vec![
            text("interval", "x"),
            text("intervall", "1"),
            text("dem", "$$$"),
            text("area", "1,2,3")
        ]),
        [
            "input 'intervall' is unknown: the process has interval, name, dem, area",
            "input 'interval' must be a double, not \"x\"",
            "input 'name' is required",
            "input 'dem' must be base64, not \"$$$\"",
            "input 'area' must be minx,miny,maxx,maxy[,crs], not \"1,2,3\"",
        ]
    );
}

#[test]
fn ranges_cardinality_and_sizes_hold() {
    let name = || text("name", "n");
    assert_eq!(
        faults(vec![name(), text("interval", "0.5")]),
        ["input 'interval' must be at least 1 and at most 1000, not \"0.5\""]
    );
    assert_eq!(faults(vec![name(), name(), name()]), ["input 'name' takes at most 2 values, 3 given"]);
    assert_eq!(
        faults(vec![name(), text("interval", "1"), text("interval", "2")]),
        ["input 'interval' takes at most 1 value, 2 given"]
    );
    assert_eq!(
        faults(vec![name(), text("dem", "AAAAAAAA")]),
        ["input 'dem' must be at most 4 bytes, not \"6\""]
    );
}

#[test]
fn json_types_are_strict_and_untyped_text_is_not() {
    let name = || text("name", "n");
    assert!(bind(&process(), &request(vec![name(), typed("interval", "5", TextForm::JsonNumber)])).is_ok());
    assert!(bind(&process(), &request(vec![name(), typed("interval", "5", TextForm::JsonString)])).is_ok());
    assert_eq!(
        faults(vec![typed("name", "5", TextForm::JsonNumber)]),
        ["input 'name' must be a string, not \"5\""]
    );
    assert_eq!(
        faults(vec![name(), typed("interval", "{}", TextForm::Json)]),
        ["input 'interval' must be a double, not \"{}\""]
    );
}

#[test]
fn numbers_are_those_of_xml_schema() {
    for good in ["1", "-1.5e3", "+2", "INF", "NaN", ".5"] {
        assert!(double(good), "{good}");
    }
    for bad in ["inf", "infinity", "nan", "1e999", "0x10", "1_000", "", "--1", "-inf", "+NaN"] {
        assert!(!double(bad), "{bad}");
    }
    assert_eq!(integer("5.0"), Some(5));
    assert_eq!(integer("5.5"), None);
    assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
    assert_eq!(integer("9223372036854775808"), None);
}

#[test]
fn boxes_take_every_spelling_of_a_known_crs() {
    for crs in ["EPSG:4326", "urn:ogc:def:crs:EPSG::4326", "http://www.opengis.net/def/crs/EPSG/0/4326"] {
        let bound =
            bind(&process(), &request(vec![text("name", "n"), text("area", &format!("1,2,3,4,{crs}"))]));
        assert!(bound.is_ok(), "{crs}: {bound:?}");
    }
    assert_eq!(
        faults(vec![text("name", "n"), text("area", "1,2,3,4,EPSG:3857")]),
        ["input 'area' must be in the CRS EPSG:4326, not \"EPSG:3857\""]
    );
}

#[test]
fn unknown_outputs_formats_and_modes_are_refused() {
    let mut wrong = request(vec![text("name", "n")]);
    let output = |id: &str, media_type: &str| OutputRequest {
        id: id.into(),
        format: FormatHint { media_type: Some(media_type.into()), ..FormatHint::default() },
        transmission: Transmission::Value,
        uom: None,
    };
    wrong.outputs = vec![output("contour", "text/xml"), output("contours", "image/png")];
    let Err(Error::Invalid(faults)) = bind(&process(), &wrong) else { panic!("must be refused") };
    let texts: Vec<_> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(
        texts,
        [
            "output 'contour' is unknown: the process has contours",
            "output 'contours' has the formats application/geo+json, text/xml, not \"image/png\"",
        ]
    );
    wrong.mode = ExecutionMode::Async;
    assert!(matches!(bind(&process(), &wrong), Err(Error::NoSuchMode { .. })));
}

#[test]
fn references_are_bound_when_they_are_read() {
    let mut item = text("dem", "");
    item.data = InputData::Reference(Reference::get("http://example.org/dem.tif"));
    let bound = bind(&process(), &request(vec![text("name", "n"), item])).unwrap();
    assert!(bound.clone().into_inputs().is_none());
    let process = process();
    let dem = process.input("dem").unwrap();
    let fetched = bind_fetched(dem, Data::Bytes("abc".into()), &FormatHint::default());
    assert!(matches!(fetched, Ok(Value::Complex(_))));
    let too_large = bind_fetched(dem, Data::Bytes("abcde".into()), &FormatHint::default());
    assert_eq!(too_large.unwrap_err().kind, FaultKind::TooLarge);
}

#[test]
fn groups_need_what_they_say_once_anything_of_them_is_given() {
    let group = |id: &str, needs: &[&str]| GroupDescription {
        id: id.into(),
        title: id.into(),
        description: String::new(),
        needs: needs.iter().map(|id| (*id).to_owned()).collect(),
    };
    let integer = || DataDescription::Literal(LiteralDomain::any(LiteralType::Integer));
    let mut process = process();
    process.inputs = ["g.a", "g.b", "alone"].map(|id| input(id, Occurs::OPTIONAL, integer())).into();
    process.outputs[0].id = "g.out".into();
    process.groups = vec![group("g", &["g.a"])];
    let bound = |items| bind(&process, &request(items)).map_err(|error| error.to_string());
    assert!(bound(vec![text("alone", "1")]).is_ok());
    assert!(bound(vec![text("g.a", "1")]).is_ok());
    let error = bound(vec![text("g.b", "1")]).unwrap_err();
    assert_eq!(error, "invalid request: input 'g.a' is required with the other inputs of 'g'");
    let error = bound(vec![text("g", "1")]).unwrap_err();
    assert_eq!(error, "invalid request: input 'g' is a group: its members have values");
    let asked = |id: &str| OutputRequest { id: id.into(), ..default_output(&process.outputs[0]) };
    let outputs = |ids: &[&str]| {
        let outputs = ids.iter().map(|id| asked(id)).collect();
        bind(&process, &ExecuteRequest { outputs, ..request(Vec::new()) })
    };
    assert_eq!(outputs(&["g"]).unwrap().outputs[0].id, "g.out");
    assert!(outputs(&["g", "g.out"]).unwrap_err().to_string().contains("is asked for twice"));
}

#[test]
fn json_that_is_no_string_is_no_value_of_formats_that_are_not_json() {
    let mut process = process();
    for input in &mut process.inputs {
        if let DataDescription::Complex(domain) = &mut input.data {
            domain.formats = vec![Format::playlist_of(&Format::new(Format::GEOJSON))];
        }
    }
    let id = process
        .inputs
        .iter()
        .find(|input| matches!(input.data, DataDescription::Complex(_)))
        .unwrap()
        .id
        .clone();
    let values =
        [(r#"{"rel":""}"#, TextForm::Json), ("7", TextForm::JsonNumber), ("false", TextForm::JsonBoolean)];
    for (text, form) in values {
        let error = bind(&process, &request(vec![typed(&id, text, form)])).unwrap_err();
        assert!(error.to_string().contains("must be a string: none of its formats is JSON"), "{error}");
    }
}
