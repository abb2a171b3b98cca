use super::*;
use crate::testing::{check_golden, process, request};
use anabranch_model::{Data, Format};

fn written(id: &str, value: &Value) -> String {
    let process = process();
    let request = request(id);
    let output = Output {
        description: process.output(id).unwrap(),
        request: &request,
        value: OutputValue::Inline(value),
    };
    let mut out = Vec::new();
    write_document(&[output], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn complex_value(format: Format, bytes: &'static [u8]) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), format))
}

#[test]
fn literals_have_their_json_type() {
    let cases = [
        (LiteralType::Double, "1.50", "1.50"),
        (LiteralType::Double, "+1.5", "1.5"),
        (LiteralType::Double, ".5", "0.5"),
        (LiteralType::Double, "NaN", "\"NaN\""),
        (LiteralType::Double, "-INF", "\"-INF\""),
        (LiteralType::Integer, "-7", "-7"),
        (LiteralType::Integer, "1,2", "\"1,2\""),
        (LiteralType::Boolean, "true", "true"),
        (LiteralType::String, "true", "\"true\""),
        (LiteralType::String, "a\"b\n\u{1}", "\"a\\\"b\\n\\u0001\""),
    ];
    for (data_type, text, expected) in cases {
        let value = Value::Literal(LiteralValue::new(data_type, text));
        assert_eq!(written("area", &value), format!("{{\"area\":{expected}}}"));
    }
}

#[test]
fn a_unit_goes_with_its_number() {
    let value = LiteralValue { uom: Some("m2".into()), ..LiteralValue::new(LiteralType::Double, "3") };
    assert_eq!(written("area", &Value::Literal(value)), r#"{"area":{"value":3,"uom":"m2"}}"#);
}

#[test]
fn complex_data_is_json_text_or_base64() {
    let json = complex_value(Format::new("application/json"), b"{\"a\": [1]}");
    assert_eq!(
        written("buffered", &json),
        r#"{"buffered":{"mediaType":"application/json","value":{"a": [1]}}}"#
    );
    // Called JSON, and none: the document stays whole.
    let broken = complex_value(Format::new("application/json"), b"{\"a\": ");
    assert_eq!(
        written("buffered", &broken),
        r#"{"buffered":{"mediaType":"application/json","value":"{\"a\": "}}"#
    );
    let xml = complex_value(Format::new("text/xml"), b"<a b=\"1\"/>");
    assert_eq!(written("buffered", &xml), r#"{"buffered":{"mediaType":"text/xml","value":"<a b=\"1\"/>"}}"#);
    let binary = complex_value(Format::new("image/tiff"), b"\0\xff");
    assert_eq!(
        written("picture", &binary),
        r#"{"picture":{"mediaType":"image/tiff","encoding":"base64","value":"AP8="}}"#
    );
}

#[test]
fn boxes_and_links() {
    let value = Value::BoundingBox(BoundingBox {
        crs: Some("EPSG:4326".into()),
        lower: vec![1.0, 2.5],
        upper: vec![3.0, 4.0],
    });
    assert_eq!(written("bounds", &value), r#"{"bounds":{"bbox":[1.0,2.5,3.0,4.0],"crs":"EPSG:4326"}}"#);
    let process = process();
    let request = request("picture");
    let format = Format::new("image/tiff");
    let output = Output {
        description: process.output("picture").unwrap(),
        request: &request,
        value: OutputValue::Reference { href: "http://localhost/1", format: Some(&format) },
    };
    let mut out = Vec::new();
    write_document(&[output], &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"picture":{"href":"http://localhost/1","type":"image/tiff","title":"The picture"}}"#
    );
}

#[test]
fn several_raw_outputs_are_parts() {
    let process = process();
    let (area, picture) = (request("area"), request("picture"));
    let value = Value::Literal(LiteralValue::new(LiteralType::Double, "3"));
    let outputs = [
        Output {
            description: process.output("area").unwrap(),
            request: &area,
            value: OutputValue::Inline(&value),
        },
        Output {
            description: process.output("picture").unwrap(),
            request: &picture,
            value: OutputValue::Reference { href: "http://localhost/1\r\nEvil: 1", format: None },
        },
    ];
    let mut out = Vec::new();
    write_multipart(&outputs, "b0undary", &mut out).unwrap();
    check_golden("ogcapi/multipart.txt", &String::from_utf8(out).unwrap());
}

#[test]
fn files_are_written_like_bytes() {
    let path = std::env::temp_dir().join(format!("anabranch-ogc-{}", anabranch_model::JobId::random()));
    std::fs::write(&path, "\"ü\"\n").unwrap();
    let data = Data::file(&path).unwrap();
    for (media_type, expected) in [
        ("text/plain", r#"{"mediaType":"text/plain","value":"\"ü\"\n"}"#.to_owned()),
        ("application/json", "{\"mediaType\":\"application/json\",\"value\":\"ü\"\n}".to_owned()),
        ("image/png", r#"{"mediaType":"image/png","encoding":"base64","value":"IsO8Igo="}"#.to_owned()),
    ] {
        let value = Value::Complex(ComplexValue::new(data.clone(), Format::new(media_type)));
        assert_eq!(written("buffered", &value), format!("{{\"buffered\":{expected}}}"));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn results_can_be_given_as_inputs_again() {
    use crate::ogcapi::{Prefer, execute};
    use anabranch_model::BoundValue;
    let crs = Some("http://www.opengis.net/def/crs/EPSG/0/4326".into());
    let cases = [
        (
            "distance",
            Value::Literal(LiteralValue {
                uom: Some("km".into()),
                ..LiteralValue::new(LiteralType::Double, "2.50")
            }),
        ),
        ("mode", Value::Literal(LiteralValue::new(LiteralType::String, "fast & loose"))),
        (
            "features",
            complex_value(Format::new(Format::GEOJSON), b"{\"type\": \"FeatureCollection\", \"n\": 1e2}"),
        ),
        ("raster", complex_value(Format::base64(Format::GEOTIFF), b"II*\0\xff")),
        ("extent", Value::BoundingBox(BoundingBox { crs, lower: vec![-1.5, 2.0], upper: vec![3.0, 4.0] })),
    ];
    let process = process();
    for (id, value) in cases {
        let result = written("area", &value);
        let inner = result.strip_prefix("{\"area\":").and_then(|rest| rest.strip_suffix('}')).unwrap();
        let features = if id == "features" { "" } else { ",\"features\":{\"value\":{}}" };
        let body = format!("{{\"inputs\":{{\"{id}\":{inner}{features}}}}}");
        let execute = execute::parse(body.as_bytes(), &process, &Prefer::default()).unwrap();
        let bound = anabranch_model::bind(&process, &execute.request).unwrap();
        let (_, values) = bound.inputs.iter().find(|(name, _)| name == id).unwrap();
        assert_eq!(values[0], BoundValue::Value(value), "{body}");
    }
}
