use std::sync::Arc;

use anabranch_model::{
    DataDescription, Error, Format, FormatHint, JobId, LiteralDomain, LiteralType, LogLine, LogSource,
    OutputDescription, OutputRequest, ProcessDescription, ProcessId, Transmission,
};

use super::*;
use crate::load::Load;
use crate::message::*;
use crate::wire::INLINE_BYTES_MAX;

fn run() -> RunId {
    RunId::whole(JobId::from_bytes([7; 16]), 2)
}

fn of_run(message: Message) -> Envelope {
    let seq = u64::from(message.is_sequenced()) * 3;
    Envelope { run: Some(run()), seq, ack: 2, message }
}

fn round_trip(envelope: &Envelope) -> Envelope {
    let element = encode(envelope).unwrap();
    let text = String::from(&element);
    let read: Element = text.parse().unwrap();
    decode(&read).unwrap().unwrap()
}

fn description() -> ProcessDescription {
    ProcessDescription {
        title: "Upper <case> & \"more\"".into(),
        keywords: vec![],
        metadata: vec![],
        inputs: vec![],
        outputs: vec![OutputDescription::new(
            "out",
            DataDescription::Literal(LiteralDomain::any(LiteralType::String)),
        )],
        ..ProcessDescription::new(ProcessId::new("default:Upper").unwrap())
    }
}

fn session_messages() -> Vec<Message> {
    let process = ProcessId::new("default:Upper").unwrap();
    let held =
        HeldRun { run: run(), process: process.clone(), oldest: 3, next: 5, received: 1, ended: false };
    vec![
        Message::Invite,
        Message::Hello(Hello {
            instance: "gpu-3".into(),
            incarnation: "i1".into(),
            version: "0.1.0".into(),
            wires: vec![NATIVE.into()],
            capacity: 4,
            labels: vec!["landsat".into()],
            runs: vec![held],
        }),
        Message::Welcome(Welcome {
            incarnation: "i1".into(),
            version: "0.1.0".into(),
            wire: NATIVE.into(),
            load_interval_ms: 5000,
        }),
        Message::Register(Register {
            revision: 1,
            description: Arc::new(description()),
            runs_max: 2,
            weight: 1,
            preferred_labels: vec!["data:landsat".into()],
        }),
        Message::Unregister(Unregister { revision: 2, process: process.clone() }),
        Message::Registered(Registered { revision: 2, process, refused: Some("no".into()) }),
        Message::LoadQuery,
        Message::Load(LoadReport {
            load: Load { cpu_percent: 12.5, memory_percent: 0.1, load_average: 3.3 },
            running: 1,
            slots: 2,
            draining: true,
            full: Some("93 % of the memory is in use".into()),
        }),
        Message::Drain,
        Message::Undrain,
        Message::Goodbye,
        Message::NotUnderstood(NotUnderstood { what: "x".into(), reason: "y".into() }),
    ]
}

fn execute() -> Execute {
    let literal = CarriedValue::Literal {
        text: Payload::Inline("a\u{FFFE}\u{1}é".into()),
        data_type: LiteralType::String,
        uom: None,
    };
    let bbox = CarriedValue::BoundingBox { crs: None, lower: vec![0.1, 1e300], upper: vec![2.0, 1.0] };
    let dem =
        CarriedValue::Complex { data: Payload::Url("http://x/1".into()), format: Format::new("image/tiff") };
    let request = OutputRequest {
        id: "out".into(),
        format: FormatHint::default(),
        transmission: Transmission::Value,
        uom: None,
    };
    Execute {
        offer: 1,
        process: ProcessId::new("default:Upper").unwrap(),
        inputs: vec![("text".into(), vec![literal]), ("box".into(), vec![bbox]), ("dem".into(), vec![dem])],
        outputs: vec![WantedOutput { request, upload_url: Some("http://x/up".into()) }],
        fed: Some("features".into()),
        cpu_s_max: Some(3600),
    }
}

fn output(data: Payload) -> Message {
    let value = CarriedValue::Complex { data, format: Format::base64("image/tiff") };
    Message::Output(Output { id: "out".into(), n: 3, value })
}

fn run_messages() -> Vec<Message> {
    vec![
        Message::Execute(Box::new(execute())),
        Message::Attach,
        Message::Want(Want { n: 7 }),
        Message::Piece(Piece { n: 8, value: None }),
        Message::Piece(Piece {
            n: 7,
            value: Some(CarriedValue::Complex {
                data: Payload::Inline(bytes::Bytes::from_static(b"{}")),
                format: Format::new("application/geo+json"),
            }),
        }),
        Message::Abort,
        Message::Finish,
        Message::Accepted,
        Message::CannotExecute(CannotExecute { offer: 1, reason: "full".into(), never: false }),
        Message::Started,
        Message::Progress(Progress {
            percent: 41.67,
            message: Some("halfway".into()),
            waiting: false,
            cpu_ms: Some(70),
        }),
        Message::Progress(Progress {
            percent: 0.0,
            message: Some("queued".into()),
            waiting: true,
            cpu_ms: None,
        }),
        Message::Log(Log {
            dropped: 2,
            lines: vec![LogLine { source: LogSource::Stderr, text: "a<b&c".into() }],
        }),
        output(Payload::Inline(bytes::Bytes::from_static(&[0, 255, 1]))),
        output(Payload::Uploaded { n: 3, bytes: 1 << 40 }),
        Message::Completed,
        Message::Failed(Error::process_failed("exit code is 3")),
        Message::Aborted,
        Message::Forgotten,
        Message::Acknowledge,
    ]
}

fn all_messages() -> Vec<Envelope> {
    let session = session_messages().into_iter().map(Envelope::session);
    session.chain(run_messages().into_iter().map(of_run)).collect()
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for envelope in all_messages() {
        assert_eq!(round_trip(&envelope), envelope);
    }
}

#[test]
fn the_form_on_the_wire_is_this() {
    let envelope =
        of_run(Message::Progress(Progress { percent: 41.5, message: None, waiting: false, cpu_ms: None }));
    let element = encode(&envelope).unwrap();
    assert_eq!(element.attr("type"), Some("progress"));
    assert_eq!(element.attr("run"), Some("07070707-0707-0707-0707-070707070707-2"));
    assert_eq!((element.attr("seq"), element.attr("ack")), (Some("3"), Some("2")));
    let json = element.get_child("json", JSON_NAMESPACE).unwrap().text();
    assert_eq!(json, r#"{"percent":41.5,"message":null}"#);
}

fn read(xml: &str) -> Option<Result<Envelope, DecodeError>> {
    decode(&xml.parse().unwrap())
}

#[test]
fn newer_programs_may_add_members_and_attributes() {
    let xml = format!(
        "<anabranch xmlns='{NAMESPACE}' type='cannot-execute' run='{}' colour='red'><json \
         xmlns='{JSON_NAMESPACE}'>{{\"new\":[1],\"offer\":1,\"reason\":\"full\",\"never\":true}}</json><more/></anabranch>",
        run()
    );
    let wanted = Message::CannotExecute(CannotExecute { offer: 1, reason: "full".into(), never: true });
    assert_eq!(read(&xml).unwrap().unwrap().message, wanted);
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(read("<anabranch xmlns='other' type='invite'/>"), None);
    let version = read("<anabranch xmlns='urn:anabranch:agent:2' type='invite'/>").unwrap().unwrap_err();
    assert_eq!(version, DecodeError::Version { namespace: "urn:anabranch:agent:2".into() });
    let fault = |attributes: &str| {
        let error = read(&format!("<anabranch xmlns='{NAMESPACE}' {attributes}/>")).unwrap().unwrap_err();
        error.to_string()
    };
    assert_eq!(fault("type='dance'"), "type 'dance' is not known");
    assert!(fault("type='accepted'").contains("no run"));
    assert!(fault("type='accepted' run='../../etc-1' seq='1'").contains("<job>-<attempt>"));
    assert!(fault("type='invite' seq='1'").contains("can't have a place"));
    assert!(fault("type='hello'").contains("malformed"));
}

#[test]
fn two_programs_that_do_not_understand_each_other_do_not_go_on_about_it() {
    for namespace in [NAMESPACE, "urn:anabranch:agent:9"] {
        assert_eq!(read(&format!("<anabranch xmlns='{namespace}' type='not-understood'/>")), None);
    }
}

#[test]
fn a_number_too_large_is_refused() {
    let xml = format!(
        "<anabranch xmlns='{NAMESPACE}' type='progress' run='{}' seq='1'><json xmlns='{JSON_NAMESPACE}'>\
         {{\"percent\":1e40}}</json></anabranch>",
        run()
    );
    assert!(read(&xml).unwrap().is_err());
}

#[test]
fn an_agent_with_as_many_runs_as_it_may_keep_can_introduce_itself() {
    let held = HeldRun {
        run: RunId::whole(JobId::random(), u32::MAX),
        process: ProcessId::new(format!("a:{}", "x".repeat(198))).unwrap(),
        oldest: u64::MAX,
        next: u64::MAX,
        received: u64::MAX,
        ended: false,
    };
    let hello = Hello {
        instance: "<".repeat(253),
        incarnation: JobId::random().to_string(),
        version: "0.1.0".into(),
        wires: vec![NATIVE.into()],
        capacity: u32::MAX,
        labels: vec!["x".repeat(LABEL_CHARS_MAX); LABELS_MAX],
        runs: vec![held; RUNS_HELD_MAX],
    };
    let envelope = Envelope::session(Message::Hello(hello));
    assert_eq!(round_trip(&envelope), envelope);
}

#[test]
fn errors_of_an_unknown_sort_keep_their_text() {
    let xml = format!(
        "<anabranch xmlns='{NAMESPACE}' type='failed' run='{}' seq='1'><json xmlns='{JSON_NAMESPACE}'>\
         {{\"text\":\"too hot\",\"error\":{{\"too_hot\":{{\"kelvin\":400}}}}}}</json></anabranch>",
        run()
    );
    assert_eq!(read(&xml).unwrap().unwrap().message, Message::Failed(Error::process_failed("too hot")));
}

#[test]
fn the_largest_inline_value_fits_whatever_it_holds() {
    for fill in [b'"', b'<', b'&', 0, 7, 255, b'a', b'\\'] {
        let data = Payload::Inline(vec![fill; INLINE_BYTES_MAX].into());
        let envelope = of_run(output(data));
        assert_eq!(round_trip(&envelope), envelope);
    }
}

#[test]
fn larger_values_and_bodies_are_refused() {
    let data = Payload::Inline(vec![b'a'; INLINE_BYTES_MAX + 1].into());
    let error = decode(&encode(&of_run(output(data))).unwrap()).unwrap().unwrap_err();
    assert!(error.to_string().contains("taken inline"), "{error}");
    let long = LogLine { source: LogSource::Stdout, text: "<".repeat(BODY_BYTES_MAX / 4 + 1) };
    let message = Message::Log(Log { dropped: 0, lines: vec![long] });
    assert!(matches!(encode(&of_run(message)), Err(EncodeError::TooLarge { .. })));
}

#[test]
fn nothing_read_panics() {
    for envelope in all_messages() {
        let text = String::from(&encode(&envelope).unwrap());
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            fuzz_native(&text.as_bytes()[..cut]);
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = bytes[at].wrapping_add(1);
            fuzz_native(&bytes);
        }
    }
}
