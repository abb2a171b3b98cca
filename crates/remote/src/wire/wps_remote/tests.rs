use std::path::PathBuf;
use std::sync::Arc;

use anabranch_model::{
    DataDescription, Format, JobId, LiteralType, Occurs, OutputRequest, ProcessDescription, Transmission,
};

use super::*;
use crate::message::{CarriedValue, Output, Payload, Unregister, WantedOutput};
use crate::run_id::RunId;

const BASE: &str = "http://localhost:8080/geoserver/";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/wps-remote")
}

/// A body as it was caught on the wire.
fn caught(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("bodies/{name}.txt"))).unwrap()
}

fn service() -> ProcessId {
    ProcessId::new("default:Dummy").unwrap()
}

fn read(text: &str) -> Body {
    decode(text, Some(&service())).unwrap().unwrap()
}

fn fault(text: &str) -> String {
    decode(text, Some(&service())).unwrap().unwrap_err().to_string()
}

fn id(text: &str) -> ExecutionId {
    text.parse().unwrap()
}

fn literal(text: &str, data_type: LiteralType) -> CarriedValue {
    CarriedValue::Literal { text: Payload::Inline(text.to_owned().into()), data_type, uom: None }
}

fn string(text: &str) -> CarriedValue {
    literal(text, LiteralType::String)
}

fn request(execution: &str, base_url: &str, inputs: Vec<(&str, Vec<CarriedValue>)>) -> Body {
    let inputs = inputs.into_iter().map(|(id, values)| (id.to_owned(), values)).collect();
    let execute =
        Execute { process: service(), offer: 1, inputs, outputs: vec![], fed: None, cpu_s_max: None };
    Body { base_url: base_url.into(), ..Body::run(id(execution), Message::Execute(Box::new(execute))) }
}

fn one(body: &Body) -> &Message {
    assert_eq!(body.messages.len(), 1);
    &body.messages[0]
}

/// Reads and writes the very bytes.
fn golden(name: &str, wanted: &Body) {
    let text = caught(name);
    assert_eq!(read(&text), *wanted, "{name}");
    assert_eq!(encode(wanted).as_ref(), Ok(&text), "{name}");
}

#[test]
fn what_the_server_says_is_read_and_written_to_the_byte() {
    golden("01-invite", &Body::session(Message::Invite));
    golden("03-getloadavg", &Body::session(Message::LoadQuery));
    golden("09-finish", &Body::session(Message::Finish));
    golden("12-abort", &Body::session(Message::Abort));
    assert_eq!(read(&caught("05-request-empty-inputs")), request("zzz2", "http://h/", vec![]));
    let number = |text| vec![literal(text, LiteralType::Integer)];
    golden(
        "05-request-simple",
        &request("aaaaaaaaaaaa001", BASE, vec![("interval", number("200")), ("label", vec![string("abc")])]),
    );
    golden(
        "05-request-list-and-date",
        &request(
            "b00000000000001",
            BASE,
            vec![
                ("interval", number("112")),
                ("label", vec![string("abc"), string("d-e")]),
                ("when", vec![literal("2026-01-02T03:04:05", LiteralType::DateTime)]),
            ],
        ),
    );
    golden(
        "05-request-gdalcontour",
        &request("a1b2c3d4e5f6071", BASE, vec![("interval", vec![string("150")])]),
    );
    let assets = [r#"{"Asset": {"id": 3, "name": "a"}}"#, r#"{"Asset": {"id": 4}}"#];
    golden(
        "05-request-json-list",
        &request(
            "f00000000000001",
            BASE,
            vec![
                ("n", number("8")),
                ("asset", assets.map(string).to_vec()),
                ("tokens", vec![string("a,b,c")]),
            ],
        ),
    );
}

#[test]
fn what_agents_say_in_a_fixed_order_is_read_and_written_to_the_byte() {
    let load = |cpu_percent, memory_percent| {
        let load = Load { cpu_percent, memory_percent, load_average: 0.0 };
        Body::session(Message::Load(LoadReport { load, running: 0, slots: 0, draining: false, full: None }))
    };
    golden("04-loadavg", &load(64.15, 3.6));
    golden("04-loadavg-blacklisted", &load(100.0, 100.0));
    let progress =
        Message::Progress(Progress { percent: 41.67, message: None, waiting: false, cpu_ms: None });
    golden("06-progress", &Body::run(id("b00000000000001"), progress));
    let refusal = CannotExecute { offer: 1, reason: "it can't execute now".into(), never: false };
    golden(
        "11-cantexec-capacity",
        &Body::run(id("d00000000000002"), Message::CannotExecute(refusal.clone())),
    );
    golden("11-cantexec-blacklist", &Body::run(id("f00000000000002"), Message::CannotExecute(refusal)));
    let failed =
        |execution, text: &str| Body::run(id(execution), Message::Failed(Error::process_failed(text)));
    golden("10-error-from-abort-line", &failed("e00000000000013", "something = bad & 100% odd; cafe"));
    let fallback = "Process Dummy PId 7641 terminated with exit code -9 Exception: remote process exception. Please check \
                    outputs!";
    golden("10-error-service-bot-fallback", &failed("e00000000000013", fallback));
    for (name, execution, lines) in [
        ("10-error-exit-code-with-captured-stdout", "e00000000000013", 5),
        ("10-error-exit-zero-but-output-file-missing", "e00000000000016", 3),
    ] {
        let body = read(&caught(name));
        let Message::Failed(error) = one(&body) else { panic!("{body:?}") };
        assert_eq!(error.client_text().lines().count(), lines, "{name}");
        golden(name, &failed(execution, &error.client_text()));
    }
}

#[test]
fn log_lines_are_read_whatever_they_hold_and_encoded_where_they_are_ours() {
    let lines = |text: &str| match read(text).messages.remove(0) {
        Message::Log(log) => log.lines.into_iter().map(|line| line.text).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(lines(&caught("07-log-plain")), ["plain info line"]);
    assert_eq!(lines(&caught("07-log-unescaped-specials")), ["step a=1 & b=2, 50% done + more"]);
    assert_eq!(lines(&caught("07-log-warn")), ["[WARN] careful"]);
    let ours = LogLine { source: LogSource::Stdout, text: "50% à = & done".into() };
    let body = Body::run(id("a1"), Message::Log(Log { dropped: 0, lines: vec![ours] }));
    let text = encode(&body).unwrap();
    assert_eq!(text, "topic=log&id=a1&level=INFO&message=50%25%20%C3%A0%20%3D%20%26%20done");
    assert_eq!(read(&text), body);
    assert_eq!(lines("topic=log&id=a1&level=INFO&message="), [""]);
}

fn outputs(name: &str) -> (ExecutionId, Vec<Output>) {
    let Body { execution, mut messages, .. } = read(&caught(name));
    assert_eq!(messages.pop(), Some(Message::Completed));
    let outputs = messages.into_iter().map(|message| match message {
        Message::Output(output) => output,
        other => panic!("{other:?}"),
    });
    (execution.unwrap(), outputs.collect())
}

fn file(id: &str, path: &str, format: Format) -> Output {
    Output {
        id: id.into(),
        n: 0,
        value: CarriedValue::Complex { data: Payload::Shared(path.into()), format },
    }
}

fn text(id: &str, text: &str) -> Output {
    Output { id: id.into(), n: 0, value: string(text) }
}

#[test]
fn completed_runs_are_read_with_all_their_outputs() {
    let zip = || Format::base64("application/zip");
    let (execution, gdal) = outputs("08-completed-gdalcontour");
    assert_eq!(execution, id("a1b2c3d4e5f6071"));
    assert_eq!(gdal, [file("result1", "/tmp/a1b2c3d4e5f6071/contour.zip", zip())]);
    let hello = "hello <&> \"world\" = 100%\nsecond line\n";
    let (_, three) = outputs("08-completed-three-outputs");
    let share = "/srv/agent-dummy/share/2d2fe255-2192-4a33-9186-8526fc5288ee/out.tif";
    assert_eq!(
        three,
        [
            file("result2", "/srv/agent-dummy/out/b00000000000001/out.zip", zip()),
            file("result3", share, Format::base64("image/geotiff")),
            text("result1", hello),
        ]
    );
    let (_, uploaded) = outputs("08-completed-after-ftp-upload");
    let path = "/remote-wps/default/c74e478f-1288-4e09-8d28-101a54705fdc/out.zip";
    assert_eq!(uploaded[0], file("result2", path, zip()));
    let (_, mixed) = outputs("08-completed-text-owc-and-ignored-name");
    let xml = file("nomatch", "/srv/agent-files/out/f00000000000011/o.txt", Format::new("application/xml"));
    assert_eq!(mixed, [text("result_text", "<a/>"), text("result_ctx", " ;"), xml]);
}

#[test]
fn completed_runs_of_ours_are_read_as_they_were_written() {
    let outputs = vec![
        text("result1", "a=1 & b"),
        file("result_dem", "/share/1/dem.tif", Format::base64("image/geotiff")),
        file("result_xml", "/share/1/a.xml", Format::new("application/xml")),
    ];
    let mut messages: Vec<Message> = outputs.into_iter().map(Message::Output).collect();
    messages.push(Message::Completed);
    let body =
        Body { execution: Some(id("a1")), base_url: "http://h/?a=b c".into(), messages, described: None };
    let written = encode(&body).unwrap();
    assert!(
        written
            .starts_with("topic=completed&id=a1&baseURL=http://h/?a%3Db%20c&message=completed&result1=%7B")
    );
    assert!(written.split('&').all(|part| part.split('=').count() == 2), "as GeoServer splits it");
    assert_eq!(read(&written).messages, body.messages);
    let named = Message::Output(text("total", "1"));
    let body = Body { messages: vec![named, Message::Completed], ..body };
    assert!(encode(&body).unwrap().contains("&result_total=%7B"), "GeoServer reads no other names");
    let empty = read("topic=completed&id=a1&baseURL=&message=whatever&result1=x");
    assert_eq!(empty.messages, [Message::Completed], "without outputs");
}

fn registered(name: &str) -> ProcessDescription {
    match read(&caught(name)).messages.remove(0) {
        Message::Register(Register { revision: 0, description, runs_max: RUNS_MAX, weight: 1, .. }) => {
            Arc::unwrap_or_clone(description)
        }
        other => panic!("{other:?}"),
    }
}

fn types(description: &ProcessDescription) -> Vec<(&str, String)> {
    let name = |data: &DataDescription| match data {
        DataDescription::Literal(domain) => domain.data_type.name().to_owned(),
        DataDescription::Complex(domain) => domain.formats[0].media_type.clone(),
        DataDescription::BoundingBox(_) => "box".into(),
    };
    let inputs = description.inputs.iter().map(|input| (input.id.as_str(), name(&input.data)));
    inputs.chain(description.outputs.iter().map(|output| (output.id.as_str(), name(&output.data)))).collect()
}

#[test]
fn registrations_become_descriptions() {
    let gdal = registered("02-register-gdalcontour");
    assert_eq!((gdal.id.as_str(), gdal.title.as_str()), ("default:GdalContour", "default.GdalContour"));
    assert_eq!(gdal.description, "GDAL Contour Remote Service");
    let json = "application/json".to_owned();
    assert_eq!(types(&gdal), [("interval", json.clone()), ("result1", "application/zip".into())]);
    assert_eq!(gdal.inputs[0].occurs, Occurs::ONE);

    let dummy = registered("02-register-dummy");
    let [interval, label, when] = &dummy.inputs[..] else { panic!("{:?}", dummy.inputs) };
    let DataDescription::Literal(domain) = &interval.data else { panic!("{interval:?}") };
    assert_eq!((domain.data_type, domain.default.as_deref()), (LiteralType::Integer, Some("200")));
    assert_eq!((label.title.as_str(), label.occurs), ("label", Occurs { min: 0, max: Some(3) }));
    assert_eq!(label.description, "A label & more");
    assert_eq!((when.occurs, types(&dummy)[2].1.as_str()), (Occurs::OPTIONAL, "dateTime"));
    assert_eq!(
        types(&dummy)[3..].iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ["result2", "result3", "result1"]
    );

    let files = registered("02-register-files");
    assert_eq!(
        types(&files)[3..],
        [
            ("result_text", "string".into()),
            ("nomatch", "application/xml".into()),
            ("result_ctx", "string".into())
        ]
    );
}

#[test]
fn descriptors_may_be_objects_strings_or_strings_in_quotes() {
    let register = |input: &str| {
        let json = format!(r#"{{"input": [["n", {input}]], "output": [["result1", {{"type": "string"}}]]}}"#);
        decode(&format!("topic=register&service=a.b.c&message={}", percent(&json)), None).unwrap()
    };
    let forms = [
        r#"{"type": "int", "max": "2"}"#,
        r#""{\"type\": \"int\", \"max\": 2}""#,
        r#""\"{\"type\": \"int\", \"max\": 2}\"""#,
    ];
    for form in forms {
        let Message::Register(register) = register(form).unwrap().messages.remove(0) else {
            panic!("{form}")
        };
        assert_eq!(register.description.id.as_str(), "a:b.c");
        assert_eq!(register.description.inputs[0].occurs, Occurs { min: 1, max: Some(2) });
    }
    for (form, reason) in [
        (r#"{"type": "raster"}"#, "not known: 'raster'"),
        ("{}", "input 'n' has no type"),
        ("7", "no JSON object"),
        (r#""{""#, "no JSON object"),
    ] {
        let error = register(form).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let bad_default =
        register(r#"{"type": "int", "default": "many", "max": -1}"#).unwrap().messages.remove(0);
    let Message::Register(bad_default) = bad_default else { panic!("{bad_default:?}") };
    let input = &bad_default.description.inputs[0];
    assert_eq!((input.occurs.max, &input.data), (None, &types::data("int").unwrap()));
}

#[test]
fn our_descriptions_are_read_as_they_were_written() {
    for name in ["02-register-gdalcontour", "02-register-dummy", "02-register-files"] {
        let mut description = registered(name);
        let register = |description: &ProcessDescription| {
            let description = Arc::new(description.clone());
            let preferred_labels = Vec::new();
            let register =
                Register { revision: 0, description, runs_max: RUNS_MAX, weight: 1, preferred_labels };
            let text = encode(&Body::session(Message::Register(register))).unwrap();
            assert!(text.split('&').all(|part| part.split('=').count() == 2), "as GeoServer splits it");
            match read(&text).messages.remove(0) {
                Message::Register(register) => Arc::unwrap_or_clone(register.description),
                other => panic!("{other:?}"),
            }
        };
        // What GeoServer would not read is renamed, and one media type is declared of several.
        for output in &mut description.outputs {
            output.id = wire_name(&output.id);
        }
        let again = register(&description);
        assert_eq!(types(&again), types(&description), "{name}");
        assert_eq!(register(&again), again, "{name}");
    }
}

#[test]
fn types_of_the_table_are_known_and_declared_again() {
    let table = [
        "string",
        "url",
        "boolean",
        "long",
        "double",
        "datetime",
        "complex",
        "text/xml",
        "application/json",
        "image/geotiff",
        "application/zip",
        "application/x-netcdf",
        "video/mp4",
        "application/gml-3.1.1",
    ];
    for declared in table {
        let data = types::data(declared).unwrap();
        let again = types::declared(&data);
        let gml = declared.contains("gml");
        assert!(gml || again == declared, "{declared} became {again}");
        assert_eq!(types::data(&format!("{declared}[]")), Some(data.clone()));
        assert_eq!(types::data(&format!("{declared};stream")), Some(data));
    }
    for declared in ["char", "byte", "short", "int", "float", "text/xml;subtype=gml/2.1.2", "text/csv"] {
        assert!(types::data(declared).is_some(), "{declared}");
    }
    assert_eq!(types::data("raster"), None);
}

#[test]
fn what_the_wire_has_no_words_for_is_not_written() {
    let process = service();
    let unwritable = |body: &Body| match encode(body) {
        Err(EncodeError::Unwritable(reason)) => reason,
        other => panic!("{other:?}"),
    };
    for message in
        [Message::Attach, Message::Goodbye, Message::Unregister(Unregister { revision: 1, process })]
    {
        assert_eq!(unwritable(&Body::session(message)), "WPS Remote has no such message");
    }
    assert!(unwritable(&Body::session(Message::Completed)).contains("must name it"));
    let with = |value| request("a", BASE, vec![("in", vec![value])]);
    let complex = |data| CarriedValue::Complex { data, format: Format::new("text/plain") };
    assert!(unwritable(&with(complex(Payload::Url("http://x".into())))).contains("input 'in' is too large"));
    assert!(unwritable(&with(complex(Payload::Inline(vec![0xFF].into())))).contains("no UTF-8"));
    let bbox = CarriedValue::BoundingBox { crs: None, lower: vec![], upper: vec![] };
    assert!(unwritable(&with(bbox)).contains("bounding box"));
    let long = with(string(&"<".repeat(100_000)));
    assert!(matches!(encode(&long), Err(EncodeError::TooLarge { .. })));
}

#[test]
fn dates_with_an_offset_are_written_as_utc() {
    let when = |text| request("a", BASE, vec![("when", vec![literal(text, LiteralType::DateTime)])]);
    let written = read(&encode(&when("2026-01-02T03:04:05+02:00")).unwrap());
    assert_eq!(written, when("2026-01-02T01:04:05"));
}

#[test]
fn outputs_asked_for_are_not_on_the_wire() {
    let mut body = request("a", BASE, vec![]);
    let plain = encode(&body).unwrap();
    let Message::Execute(execute) = &mut body.messages[0] else { panic!("a request") };
    let request = OutputRequest {
        id: "x".into(),
        format: Default::default(),
        transmission: Transmission::Value,
        uom: None,
    };
    execute.outputs.push(WantedOutput { request, upload_url: None });
    assert_eq!(encode(&body), Ok(plain));
}

#[test]
fn runs_of_ours_are_named_as_they_are() {
    let run = RunId::whole(JobId::from_bytes([7; 16]), 2);
    assert_eq!(ExecutionId::from(run).as_str().parse(), Ok(run));
    assert_eq!(run.to_string().parse(), Ok(ExecutionId::from(run)));
    for bad in ["", "../x", "a/b", "a b", "a=b", "é", &"a".repeat(65)] {
        assert_eq!(bad.parse::<ExecutionId>(), Err(InvalidExecutionId), "{bad:?}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(decode("hello", None), None);
    assert_eq!(decode("", None), None);
    assert_eq!(fault("topic=dance"), "type 'dance' is not known");
    assert!(fault("topic=progress&id=a&message=fast").contains("no number: 'fast'"));
    assert!(fault("topic=progress&id=a&message=inf").contains("no number"));
    assert!(fault("topic=progress&message=1").contains("no 'id'"));
    assert!(fault("topic=progress&id=../../etc&message=1").contains("letters, digits"));
    assert!(fault("topic=completed&id=a&message=completed&r=%FF").contains("UTF-8"));
    assert!(fault("topic=completed&id=a&message=completed&r=%7B%7D").contains("output 'r' has no value"));
    assert!(fault("topic=register&service=Dummy&message=%7B%7D").contains("namespace.name"));
    assert!(fault("topic=register&service=a.b%20c&message=%7B%7D").contains("identifier"));
    assert!(fault("topic=loadavg&result_vmem=%7B%7D&result_loadavg=%7B%7D").contains("no number"));
    assert!(fault("topic=request&id=a&baseURL=x&message=cos%0Asystem%0A.").contains("'os.system'"));
    assert!(fault("topic=request&id=a&baseURL=x&message=N.").contains("no map"));
    assert!(fault(&format!("topic=invite{}", "&a=b".repeat(1000))).contains("fields"));
    assert!(
        fault(&format!("topic=error&id=a&message={}", "a".repeat(BODY_READ_BYTES_MAX))).contains("larger")
    );
    let request = decode("topic=request&id=a&baseURL=x&message=N.", None).unwrap();
    assert_eq!(request, Err(DecodeError::UnknownType { kind: "request".into() }), "servers are not asked");
}

#[test]
fn every_body_of_every_transcript_is_understood() {
    let (mut bodies, mut faults) = (0, Vec::new());
    for entry in std::fs::read_dir(folder().join("transcripts")).unwrap() {
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let json: Value = serde_json::from_str(line).unwrap();
            let stanza = json["xml"].as_str().unwrap().replacen(' ', " xmlns='jabber:client' ", 1);
            let stanza: anabranch_xmpp::Element = stanza.parse().unwrap();
            let Some(body) = stanza.get_child("body", "jabber:client") else { continue };
            bodies += 1;
            match decode(&body.text(), Some(&service())) {
                Some(Ok(_)) => {}
                other => faults.push(format!("{other:?}")),
            }
        }
    }
    assert!(bodies > 400, "{bodies}");
    // Wrong on purpose, to see what the original's agents do: words around the topic, an unknown one, half a pickle.
    faults.sort();
    let malformed = "the pickle is malformed at byte 1: it ends too early";
    assert_eq!(
        faults,
        [
            "None".to_owned(),
            format!("Some(Err(Malformed {{ kind: \"request\", reason: {malformed:?} }}))"),
            "Some(Err(UnknownType { kind: \"nonsense\" }))".to_owned(),
        ]
    );
}

#[test]
fn nothing_read_panics() {
    for entry in std::fs::read_dir(folder().join("bodies")).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        // The long ones are long because of what is in their JSON.
        let step = 1 + text.len() / 200;
        for at in (0..text.len()).step_by(step) {
            fuzz_wps_remote_body(&text[..at]);
            for byte in [b'%', b'=', b'&', b'0', b'"', 0xFF] {
                let mut changed = text.clone();
                changed[at] = byte;
                fuzz_wps_remote_body(&changed);
            }
        }
    }
}
