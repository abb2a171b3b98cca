use super::*;
use crate::test_sink::TestSink;
use anabranch_model::{
    ExecuteRequest, ExecutionMode, FormatHint, InputData, InputItem, JobId, ResponseForm, TextForm, bind,
};
use std::task::{Context, Poll, Waker};

/// Binds and runs; the sink never waits, so that one poll is enough.
fn run(echo: Echo, inputs: &[(&str, InputData)], sink: &Arc<TestSink>) -> Result<(), Error> {
    let description = echo.description();
    let items = inputs.iter().map(|(id, data)| InputItem {
        id: (*id).to_owned(),
        data: data.clone(),
        format: FormatHint::default(),
        data_type: None,
        uom: None,
    });
    let request = ExecuteRequest {
        process: description.id.clone(),
        inputs: items.collect(),
        outputs: Vec::new(),
        mode: ExecutionMode::Auto,
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    };
    let bound = bind(&description, &request)?;
    let execution = Execution {
        job: JobId::random(),
        attempt: 1,
        part: None,
        resume: false,
        written: 0,
        feed: None,
        arriving: None,
        outputs: bound.outputs.clone(),
        inputs: bound.into_inputs().unwrap(),
        sink: Arc::clone(sink) as Arc<dyn OutputSink>,
    };
    let mut future = Arc::new(echo).execute(execution);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the sink never waits"),
    }
}

fn text(text: &str) -> InputData {
    InputData::Text { text: text.into(), form: TextForm::Untyped }
}

#[test]
fn every_input_comes_back() {
    let sink = Arc::new(TestSink::new());
    let given = [
        ("literalInput", text(" as it is, <&> ü ")),
        ("complexInput", text("<a/>")),
        ("boundingBoxInput", text("1,2,3,4,EPSG:4326")),
        ("doubleInput", text("-1.50")),
        ("integerInput", text("42")),
        ("booleanInput", text("1")),
        ("dateTimeInput", text("2012-03-04T05:06:07Z")),
        ("choiceInput", text("5")),
        ("arrayInput", text("1")),
        ("arrayInput", text("+2.5")),
        ("arrayInput", text("INF")),
        ("objectInput", InputData::Text { text: r#"{"a":[1]}"#.into(), form: TextForm::Json }),
        ("mixedInput", text("{}")),
        ("featuresInput", text("{\"type\":\"Point\",\"coordinates\":[1,2]}")),
        ("imageInput", text("iVBORw0KGgo=")),
        ("limitedInput", text("short")),
        ("groupInput.doubleInput", text("1")),
        ("groupInput.boundingBoxInput", text("1,2,3,4")),
        ("groupInput.innerInput.integerInput", text("7")),
    ];
    run(Echo::new(), &given, &sink).unwrap();
    let written = sink.written();
    let outputs = Echo::new().description().outputs.clone();
    let described: Vec<_> = outputs.iter().map(|output| output.id.as_str()).collect();
    let mut came: Vec<_> = written.iter().map(|(id, _)| id.as_str()).collect();
    came.sort_unstable();
    let mut all = described.clone();
    all.sort_unstable();
    assert_eq!(came, all, "every output once");
    for (id, value) in &written {
        match (id.as_str(), value) {
            ("literalOutput", Value::Literal(literal)) => assert_eq!(literal.text, " as it is, <&> ü "),
            ("doubleOutput", Value::Literal(literal)) => assert_eq!(literal.text, "-1.50"),
            ("booleanOutput", Value::Literal(literal)) => assert_eq!(literal.text, "true"),
            ("boundingBoxOutput", Value::BoundingBox(bbox)) => assert_eq!(bbox.upper, [3.0, 4.0]),
            ("groupOutput.innerOutput.integerOutput", Value::Literal(literal)) => {
                assert_eq!(literal.text, "7")
            }
            ("arrayOutput", Value::Complex(value)) => {
                assert_eq!(value.data.read_all(99).unwrap(), r#"[1,2.5,"INF"]"#);
            }
            ("imageOutput", Value::Complex(value)) => {
                assert_eq!(&value.data.read_all(99).unwrap()[..], b"\x89PNG\r\n\x1a\n");
                assert!(value.format.is_binary());
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_not_given_does_not_come_back() {
    let sink = Arc::new(TestSink::new());
    run(Echo::new(), &[("literalInput", text("x"))], &sink).unwrap();
    assert_eq!(sink.written().len(), 1);
    let sink = Arc::new(TestSink::new());
    let nothing = run(Echo::new(), &[], &sink).unwrap_err();
    assert!(nothing.client_text().contains("'literalInput' is required"), "{nothing}");
    assert!(sink.written().is_empty());
}

#[test]
fn a_pause_waits_and_shows_progress() {
    let sink = Arc::new(TestSink::new());
    run(Echo::new(), &[("pause", text("5")), ("literalInput", text("x"))], &sink).unwrap();
    assert_eq!(sink.slept(), Duration::from_secs(5));
    assert_eq!(sink.progress_told(), 20);
    let sink = Arc::new(TestSink::new());
    run(Echo::new(), &[("pause", text("0")), ("literalInput", text("x"))], &sink).unwrap();
    assert_eq!(sink.slept(), Duration::ZERO);
    for bad in ["-1", "3601", "NaN", "INF", "soon"] {
        let error = run(Echo::new(), &[("pause", text(bad))], &Arc::new(TestSink::new())).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{bad}: {error}");
    }
}

#[test]
fn a_pause_ends_when_the_run_is_cancelled() {
    let sink = Arc::new(TestSink::cancelled_after(Duration::from_secs(3)));
    let given = [("pause", text("3600")), ("literalInput", text("x"))];
    assert_eq!(run(Echo::new(), &given, &sink), Err(Error::Dismissed));
    assert!(sink.written().is_empty() && sink.slept() <= Duration::from_secs(4));
}

#[test]
fn the_suites_find_what_they_look_for() {
    let echo = Echo::new().description();
    let strings: Vec<_> = echo
        .inputs
        .iter()
        .filter(|input| {
            matches!(&input.data, DataDescription::Literal(domain) if domain.data_type == LiteralType::String)
        })
        .map(|input| input.id.as_str())
        .collect();
    assert_eq!(strings, ["literalInput"], "the last literal of type string takes any text");
    assert!(echo.inputs.iter().all(|input| input.occurs.min == 0));
    let alias = Echo::for_wps_2_0_suite().description();
    let inputs: Vec<_> = alias.inputs.iter().map(|input| input.id.as_str()).collect();
    assert_eq!(inputs, ["literalInput", "complexInput", "boundingBoxInput"]);
    let outputs: Vec<_> = alias.outputs.iter().map(|output| output.id.as_str()).collect();
    assert_eq!(outputs, ["literalOutput", "complexOutput", "boundingBoxOutput"]);
}
