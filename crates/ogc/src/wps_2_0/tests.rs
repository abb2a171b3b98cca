use super::*;
use crate::detect::{self, WpsRequest};
use crate::output::{Output, OutputValue};
use crate::ows::{ExceptionCode as Code, Version};
use crate::testing::{check_golden, job, over, process, processes, request};
use crate::wps::{Capabilities, Processes};
use anabranch_model::group::GROUP_DEPTH_MAX;
use anabranch_model::{
    BoundingBox, ComplexValue, Data, DismissedBy, Error, ExecutionMode, Fault, FaultKind, Format, FormatHint,
    GroupDescription, HttpMethod, InputData, InputDescription, JobEvent, JobId, LimitKind, LimitOf,
    LiteralType, LiteralValue, OutputDescription, OutputRequest, ProcessDescription, Reference,
    ReferenceBody, Removal, ResponseForm, Subject, TextForm, Timestamp, Transmission, Value, bind,
};
use std::sync::Arc;

fn of(name: &str, attributes: &str, inner: &str) -> Result<Request, ExceptionReport> {
    let text = format!(
        "<wps:{name} xmlns:wps='http://www.opengis.net/wps/2.0' xmlns:ows='http://www.opengis.net/ows/2.0' \
         xmlns:xlink='http://www.w3.org/1999/xlink' xmlns:gml='http://www.opengis.net/gml/3.2' service='WPS' \
         version='2.0.0' {attributes}>{inner}</wps:{name}>"
    );
    detect::fuzz_body(text.as_bytes());
    match detect::body(text.as_bytes(), &ServiceInfo::default())? {
        WpsRequest::V2_0(request) => Ok(request),
        WpsRequest::V1_0(other) => panic!("{other:?}"),
    }
}

fn execute(attributes: &str, inner: &str) -> Result<ExecuteRequest, ExceptionReport> {
    match of("Execute", attributes, inner)? {
        Request::Execute(request) => Ok(*request),
        other => panic!("{other:?}"),
    }
}

const ID: &str = "<ows:Identifier>test:buffer</ows:Identifier>";
const SYNC: &str = "mode='sync' response='document'";
const AREA: &str = "<wps:Output id='area'/>";

/// The data of one input `x`.
fn data(inner: &str) -> InputData {
    let inner = format!("{ID}<wps:Input id='x'>{inner}</wps:Input>{AREA}");
    execute(SYNC, &inner).unwrap().inputs.remove(0).data
}

fn text(text: &str) -> InputData {
    InputData::Text { text: text.into(), form: TextForm::Untyped }
}

#[test]
fn every_form_of_input_is_read() {
    let document = r#"<wps:Extension><any/></wps:Extension><ows:Identifier> test:buffer </ows:Identifier>
        <wps:Input id="distance"><wps:Data mimeType="text/xml">
          <wps:LiteralValue dataType="xs:double" uom="km">2.5</wps:LiteralValue></wps:Data></wps:Input>
        <wps:Input id="mode"><wps:Data>fast &amp; loose</wps:Data></wps:Input>
        <wps:Input id="features"><wps:Data mimeType="text/xml; subtype=gml/3.2.1"><!-- here -->
          <gml:Point gml:id="a"><gml:pos>1 2</gml:pos></gml:Point></wps:Data></wps:Input>
        <wps:Input id="raster"><wps:Reference xlink:href="http://x/a?b=1&amp;c=2" mimeType="image/tiff">
          <wps:Body><q xmlns="urn:q"/></wps:Body></wps:Reference></wps:Input>
        <wps:Input id="raster"><wps:Data mimeType="image/tiff" encoding="base64">SUkq
          AA==</wps:Data></wps:Input>
        <wps:Input id="extent"><wps:Data><ows:BoundingBox crs="http://www.opengis.net/def/crs/EPSG/0/4326" dimensions="2">
          <ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>3 4.5</ows:UpperCorner></ows:BoundingBox></wps:Data></wps:Input>
        <wps:Output id="picture" transmission="reference" mimeType="image/tiff" encoding="base64"/>
        <wps:Output id="area" transmission="value"/>"#;
    let request = execute("mode='async' response='document'", document).unwrap();
    let items = &request.inputs;
    assert_eq!((items[0].uom.as_deref(), items[0].data_type.as_deref()), (Some("km"), Some("xs:double")));
    assert_eq!((&items[0].data, &items[1].data), (&text("2.5"), &text("fast & loose")));
    let gml = r#"<gml:Point xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="a"><gml:pos>1 2</gml:pos></gml:Point>"#;
    let InputData::Text { text: found, form: TextForm::Xml } = &items[2].data else { panic!() };
    assert!(found.ends_with(gml.split_once(' ').unwrap().1), "{found}");
    let expected = Reference {
        method: HttpMethod::Post,
        body: Some(ReferenceBody::Inline("<q xmlns=\"urn:q\"/>".into())),
        ..Reference::get("http://x/a?b=1&c=2")
    };
    assert_eq!(items[3].data, InputData::Reference(expected));
    assert_eq!(items[4].format.encoding.as_deref(), Some("base64"));
    let crs = Some("http://www.opengis.net/def/crs/EPSG/0/4326".into());
    let expected = BoundingBox { crs, lower: vec![1.0, 2.0], upper: vec![3.0, 4.5] };
    assert_eq!(items[5].data, InputData::BoundingBox(expected));
    assert_eq!((request.mode, request.response), (ExecutionMode::Async, ResponseForm::Document));
    let transmissions: Vec<_> = request.outputs.iter().map(|output| output.transmission).collect();
    assert_eq!(transmissions, [Transmission::Reference, Transmission::Value]);
    assert_eq!(request.outputs[0].format.media_type.as_deref(), Some("image/tiff"));
    bind(&process(), &request).unwrap();
}

#[test]
fn data_is_what_its_element_says() {
    assert_eq!(data("<wps:Data><![CDATA[{\"a\": \"<b>\"}]]></wps:Data>"), text("{\"a\": \"<b>\"}"));
    assert_eq!(data("<wps:Data/>"), text(""));
    assert_eq!(data("<wps:Data><wps:LiteralValue/></wps:Data>"), text(""));
    // Payloads may be longer than other texts.
    let long = "x".repeat(100_000);
    assert_eq!(
        data(&format!("<wps:Data><wps:LiteralValue>{long}</wps:LiteralValue></wps:Data>")),
        text(&long)
    );
    let plain = data("<wps:Reference xlink:href='http://x/'/>");
    assert_eq!(plain, InputData::Reference(Reference::get("http://x/")));
    let posted = data(
        "<wps:Reference xlink:href='http://x/'><wps:BodyReference xlink:href='http://y/'/></wps:Reference>",
    );
    let body = Some(ReferenceBody::Href("http://y/".into()));
    let expected = Reference { method: HttpMethod::Post, body, ..Reference::get("http://x/") };
    assert_eq!(posted, InputData::Reference(expected));
}

#[track_caller]
fn check(result: Result<ExecuteRequest, ExceptionReport>, expected: &[(Code, &str)]) {
    let report = result.unwrap_err();
    let found: Vec<_> =
        report.exceptions.iter().map(|e| (e.code, e.locator.as_deref().unwrap_or_default())).collect();
    assert_eq!(found, expected, "{report}");
    assert_eq!((report.status, report.version), (400, Version::V2_0));
}

#[test]
fn broken_inputs_are_named_all_at_once() {
    let document = format!(
        "{ID}<wps:Input id='a'/><wps:Input><wps:Data>1</wps:Data></wps:Input>\
         <wps:Input id='b'><wps:Data><wps:LiteralValue><c/></wps:LiteralValue></wps:Data></wps:Input>\
         <wps:Input id='c'><wps:Data><ows:BoundingBox><ows:LowerCorner>1 x</ows:LowerCorner>\
         <ows:UpperCorner>1 2</ows:UpperCorner></ows:BoundingBox></wps:Data></wps:Input>\
         <wps:Input id='d'><wps:Data><ows:BoundingBox/></wps:Data></wps:Input>\
         <wps:Input id='e'><wps:Reference/></wps:Input>\
         <wps:Input id='f'><wps:Data><ows:BoundingBox><x/></ows:BoundingBox></wps:Data></wps:Input>\
         <wps:Input id='g'><wps:Data>1</wps:Data><wps:Input id='h'><wps:Data>1</wps:Data></wps:Input></wps:Input>\
         <wps:Input id='i'><wps:Data>1</wps:Data><wps:Data>2</wps:Data></wps:Input>\
         <wps:Input id='j'><wps:Data><wps:LiteralValue>1</wps:LiteralValue><wps:LiteralValue>2</wps:LiteralValue></wps:Data></wps:Input>\
         <wps:Output/><wps:Output id='o' transmission='pigeon'/><wps:Output id='p'><wps:Output/></wps:Output>"
    );
    let wrong = Code::WrongInputData;
    check(
        execute(SYNC, &document),
        &[
            (wrong, "a"),
            (Code::MissingParameterValue, "id"),
            (wrong, "b"),
            (wrong, "c"),
            (wrong, "d"),
            (wrong, "e"),
            (wrong, "f"),
            (wrong, "g"),
            (wrong, "i"),
            (wrong, "j"),
            (Code::MissingParameterValue, "id"),
            (Code::InvalidParameterValue, "o"),
            (Code::MissingParameterValue, "id"),
        ],
    );
}

/// A process with groups: `outer` holds a number and `outer.inner`, which holds a whole number; the outputs are the same.
fn grouped() -> ProcessDescription {
    let group = |id: &str| GroupDescription {
        id: id.into(),
        title: format!("The {id}"),
        description: "Belongs together.".into(),
        needs: vec!["outer.number".into()],
    };
    let (one, other) = ("outer.number", "outer.inner.count");
    let process = process();
    let input = |id: &str| InputDescription { id: id.into(), ..process.inputs[0].clone() };
    let output = |id: &str| OutputDescription { id: id.into(), ..process.outputs[0].clone() };
    ProcessDescription {
        inputs: vec![input(one), input("alone"), input(other)],
        outputs: vec![output(one), output(other)],
        groups: vec![group("outer"), group("outer.inner")],
        ..process
    }
}

#[test]
fn nested_inputs_and_outputs_have_whole_identifiers() {
    let data = |id: &str| format!("<wps:Input id='{id}'><wps:Data>1</wps:Data></wps:Input>");
    let inner = format!("<wps:Input id='inner'>{}</wps:Input>", data("count"));
    let nested = format!("{ID}{}<wps:Input id='outer'>{inner}{}</wps:Input>", data("alone"), data("number"));
    let asked = "<wps:Output id='outer'><wps:Output id='number' transmission='reference'/></wps:Output>";
    let request = execute(SYNC, &format!("{nested}{asked}<wps:Output id='outer.inner'/>")).unwrap();
    let ids: Vec<_> = request.inputs.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["alone", "outer.inner.count", "outer.number"]);
    assert_eq!(request.outputs[0].transmission, Transmission::Reference);
    let bound = bind(&grouped(), &request).unwrap();
    let ids: Vec<_> = bound.outputs.iter().map(|output| output.id.as_str()).collect();
    assert_eq!(ids, ["outer.number", "outer.inner.count"], "who asks for a group asks for its members");
    let raw = ExecuteRequest { response: ResponseForm::Raw, ..request };
    let faults = execute::unanswerable(&grouped(), &raw);
    let report = exception_report(&Error::Invalid(faults));
    let found: Vec<_> = report.exceptions.iter().map(|e| (e.code, e.locator.as_deref())).collect();
    assert_eq!(found, [(Code::TooManyOutputs, Some("outer.inner"))]);
}

#[test]
fn groups_need_what_they_need_and_have_no_value() {
    let of = |inner: &str| {
        let request = execute(SYNC, &format!("{ID}{inner}<wps:Output id='outer.number'/>")).unwrap();
        let report = exception_report(&bind(&grouped(), &request).unwrap_err());
        report.exceptions.iter().map(|e| (e.code, e.locator.clone().unwrap())).collect::<Vec<_>>()
    };
    let value = "<wps:Data>1</wps:Data>";
    let only_inner = format!(
        "<wps:Input id='outer'><wps:Input id='inner'><wps:Input id='count'>{value}</wps:Input></wps:Input></wps:Input>"
    );
    // Both groups say so.
    let needed = (Code::MissingParameterValue, "outer.number".to_owned());
    assert_eq!(of(&only_inner), [needed.clone(), needed]);
    let bare = format!("<wps:Input id='outer'>{value}</wps:Input>");
    assert_eq!(of(&bare), [(Code::WrongInputData, "outer".to_owned())]);
}

#[test]
fn groups_have_a_deepest_level() {
    let deep = |groups: usize| {
        let (open, close) = ("<wps:Input id='a'>".repeat(groups), "</wps:Input>".repeat(groups));
        format!("{ID}{open}<wps:Input id='b'><wps:Data>1</wps:Data></wps:Input>{close}{AREA}")
    };
    let request = execute(SYNC, &deep(GROUP_DEPTH_MAX)).unwrap();
    assert_eq!(request.inputs[0].id, "a.a.a.a.a.a.a.a.b");
    check(execute(SYNC, &deep(GROUP_DEPTH_MAX + 1)), &[(Code::WrongInputData, "a.a.a.a.a.a.a.a.a")]);
    let outputs = format!("{}{}", "<wps:Output id='a'>".repeat(10), "</wps:Output>".repeat(10));
    check(execute(SYNC, &format!("{ID}{outputs}")), &[(Code::NoSuchOutput, "a.a.a.a.a.a.a.a.a")]);
}

#[test]
fn groups_are_described_and_answered() {
    let process = grouped();
    let document = String::from_utf8(describe::write(&[Arc::new(process.clone())], "en-US")).unwrap();
    check_golden("wps_2_0/describe_groups.xml", &document);
    let (asked, value) = (request("any"), area());
    let output = |description| Output { description, request: &asked, value: OutputValue::Inline(&value) };
    let outputs: Vec<_> = process.outputs.iter().map(output).collect();
    let document =
        response::Response { job: &job().id, groups: &process.groups, expires: None, outputs: &outputs };
    let mut out = Vec::new();
    response::write(&document, &mut out).unwrap();
    check_golden("wps_2_0/result_groups.xml", &String::from_utf8(out).unwrap());
}

#[test]
fn executions_break_one_rule_each() {
    let missing = Code::MissingParameterValue;
    let all = format!("{ID}{AREA}");
    execute("mode='auto' response='raw'", &all).unwrap();
    check(execute("", &all), &[(missing, "mode"), (missing, "response")]);
    let invalid = Code::InvalidParameterValue;
    check(execute("mode='later' response='html'", &all), &[(invalid, "mode"), (invalid, "response")]);
    check(execute(SYNC, AREA), &[(missing, "Identifier")]);
    check(execute(SYNC, ID), &[(missing, "Output")]);
    check(
        execute("mode='sync' response='raw'", &format!("{all}<wps:Output id='bounds'/>")),
        &[(Code::TooManyOutputs, "response")],
    );
    check(
        execute(SYNC, &format!("<ows:Identifier>no such id!</ows:Identifier>{AREA}")),
        &[(Code::NoSuchProcess, "no such id!")],
    );
    check(execute(SYNC, "<wps:DataInputs/>"), &[(invalid, "DataInputs")]);
}

#[test]
fn jobs_are_named_by_query_and_body() {
    let query = |text: &str| detect::query(text, &ServiceInfo::default()).unwrap();
    for (name, expected) in [
        ("GetStatus", Request::GetStatus("a-1".into())),
        ("GetResult", Request::GetResult("a-1".into())),
        ("Dismiss", Request::Dismiss("a-1".into())),
    ] {
        assert_eq!(of(name, "", "<wps:JobID> a-1 </wps:JobID>").unwrap(), expected);
        let upper = query(&format!("SERVICE=WPS&VERSION=2.0.0&REQUEST={name}&JOBID=a-1"));
        let lower = query(&format!("service=WPS&version=2.0.0&request={name}&jobid=a-1"));
        assert_eq!((upper, lower), (WpsRequest::V2_0(expected.clone()), WpsRequest::V2_0(expected)));
    }
}

#[test]
fn capabilities_are_always_whole() {
    let service = ServiceInfo::default();
    let mut only_async = process();
    only_async.sync_execute = false;
    let processes: Vec<Arc<ProcessDescription>> = vec![Arc::new(process()), Arc::new(only_async)];
    let document = Capabilities {
        service: &service,
        url: "http://localhost:8080/wps",
        processes: &processes,
        update_sequence: 7,
    };
    let document = String::from_utf8(capabilities::write(&document)).unwrap();
    check_golden("wps_2_0/capabilities.xml", &document);
    assert!(document.contains("jobControlOptions=\"async-execute dismiss\""));
}

#[test]
fn descriptions_are_found_or_all_unknown_ones_named() {
    let named = |ids: &[&str]| Processes::Named(ids.iter().map(|id| (*id).to_owned()).collect());
    let report = describe::pick(&named(&["x", "test:buffer", "y"]), &processes()).unwrap_err();
    let found: Vec<_> = report.exceptions.iter().map(|e| (e.code, e.locator.as_deref())).collect();
    assert_eq!(found, [(Code::NoSuchProcess, Some("x,y"))]);
    assert_eq!((report.status, report.version), (400, Version::V2_0));
    let picked = describe::pick(&named(&["test:buffer"]), &processes()).unwrap();
    check_golden("wps_2_0/describe.xml", &String::from_utf8(describe::write(&picked, "en-US")).unwrap());
}

#[test]
fn the_end_is_estimated_from_progress_and_time() {
    let mut job = job();
    let at = |seconds| job_time().checked_add(std::time::Duration::from_secs(seconds)).unwrap();
    let estimate = |job: &anabranch_model::Job, seconds| {
        let status = status::StatusInfo { job, expires: None, now: at(seconds) };
        let document = String::from_utf8(status::write(&status)).unwrap();
        let (_, rest) = document.split_once("<wps:EstimatedCompletion>")?;
        Some(rest.split('<').next().unwrap().to_owned())
    };
    job.apply(JobEvent::Started { agent: None }, at(10));
    assert_eq!(estimate(&job, 10), None);
    job.apply(JobEvent::Progress { percent: 25.0, message: None }, at(20));
    // A quarter took 10 s.
    assert_eq!(estimate(&job, 20).as_deref(), Some("2026-01-02T03:04:55.678Z"));
    assert_eq!(estimate(&job, 49).as_deref(), Some("2026-01-02T03:04:55.678Z"));
    assert_eq!(estimate(&job, 50), None, "it should have been over by now");
    job.apply(JobEvent::DismissRequested(DismissedBy::Client), at(21));
    assert_eq!(estimate(&job, 21), None);
}

fn job_time() -> Timestamp {
    job().created
}

#[test]
fn every_state_has_its_status() {
    let mut job = job();
    let now = job.created;
    let written = |job: &anabranch_model::Job, seconds: u64| {
        let later = now.checked_add(std::time::Duration::from_secs(seconds)).unwrap();
        let expires: Option<Timestamp> = job.is_finished().then_some(later);
        let status = status::StatusInfo { job, expires, now: later };
        String::from_utf8(status::write(&status)).unwrap()
    };
    check_golden("wps_2_0/accepted.xml", &written(&job, 0));
    job.apply(JobEvent::Started { agent: None }, now);
    job.apply(JobEvent::Progress { percent: 99.99, message: None }, now);
    check_golden("wps_2_0/running.xml", &written(&job, 200));
    assert!(written(&job, 0).contains("<wps:NextPoll>2026-01-02T03:04:06.678Z<"), "{}", written(&job, 0));
    let now_ns: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
    let fine = status::StatusInfo { job: &job, expires: None, now: now_ns };
    assert!(String::from_utf8(status::write(&fine)).unwrap().contains("03:04:06.678Z<"));
    assert!(written(&job, 86_400).contains("<wps:NextPoll>2026-01-03T03:05:05.678Z<"));
    let mut succeeded = job.clone();
    succeeded.apply(JobEvent::Ended(Ok(())), now);
    check_golden("wps_2_0/succeeded.xml", &written(&succeeded, 60));
    let mut failed = job.clone();
    failed.apply(JobEvent::Ended(Err(Error::process_failed("exit code 1"))), now);
    assert!(written(&failed, 60).contains("<wps:Status>Failed<"));
    job.apply(JobEvent::DismissRequested(DismissedBy::Operator), now);
    assert!(
        written(&job, 60).contains("<wps:Status>Running<"),
        "it is dismissed only when its work has ended"
    );
    job.apply(JobEvent::Ended(Ok(())), now);
    check_golden("wps_2_0/dismissed.xml", &written(&job, 60));
}

fn complex(format: Format, bytes: &'static str) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), format))
}

fn area() -> Value {
    let value = LiteralValue::new(LiteralType::Double, "12.5");
    Value::Literal(LiteralValue { uom: Some("m2".into()), ..value })
}

fn bounds() -> Value {
    let crs = Some("http://www.opengis.net/def/crs/EPSG/0/4326".into());
    Value::BoundingBox(BoundingBox { crs, lower: vec![-1.5, 2.0], upper: vec![3.0, 4.0] })
}

fn asking(media_type: &str) -> OutputRequest {
    let format = FormatHint { media_type: Some(media_type.into()), ..FormatHint::default() };
    OutputRequest { format, ..request("any") }
}

#[test]
fn every_output_is_written() {
    let process = process();
    let (asked, as_text) = (request("any"), asking("text/plain"));
    let (area, bounds) = (area(), bounds());
    let gml = complex(Format::new("text/xml"), "<?xml version='1.0'?>\n<a xmlns='urn:a' b='&lt;'>x</a>\n");
    let json = complex(Format::new(Format::GEOJSON), "{\"a\": \"<]]>\"}");
    let broken = complex(Format::new("text/xml"), "<a>");
    let tiff = complex(Format::base64(Format::GEOTIFF), "II*\0");
    let link = Format { schema: Some("http://x/schema".into()), ..Format::new("image/tiff") };
    let output =
        |id: &str, value| Output { description: process.output(id).unwrap(), request: &asked, value };
    let outputs = [
        output("area", OutputValue::Inline(&area)),
        Output { request: &as_text, ..output("area", OutputValue::Inline(&area)) },
        output("buffered", OutputValue::Inline(&gml)),
        output("buffered", OutputValue::Inline(&json)),
        output("buffered", OutputValue::Inline(&broken)),
        output("picture", OutputValue::Inline(&tiff)),
        output("picture", OutputValue::Reference { href: "http://x/1?a=1&b=2", format: Some(&link) }),
        output("bounds", OutputValue::Inline(&bounds)),
    ];
    let job = job();
    let document =
        response::Response { job: &job.id, expires: Some(job.created), groups: &[], outputs: &outputs };
    let mut out = Vec::new();
    response::write(&document, &mut out).unwrap();
    check_golden("wps_2_0/result.xml", &String::from_utf8(out).unwrap());
}

#[test]
fn raw_outputs_are_the_data_itself() {
    let process = process();
    let write = |id: &str, value: &Value, asked: &OutputRequest| {
        let value = OutputValue::Inline(value);
        let output = Output { description: process.output(id).unwrap(), request: asked, value };
        let mut out = Vec::new();
        response::write_raw(&output, &mut out).unwrap();
        (response::raw_media_type(&output), String::from_utf8(out).unwrap())
    };
    let any = request("any");
    let tiff = complex(Format::base64(Format::GEOTIFF), "II*\0");
    assert_eq!(write("picture", &tiff, &any), (Format::GEOTIFF.into(), "II*\0".into()));
    let (media_type, document) = write("area", &area(), &any);
    assert_eq!(media_type, MEDIA_TYPE);
    check_golden("wps_2_0/raw_literal.xml", &document);
    let as_text = asking("text/plain; charset=utf-8");
    assert_eq!(write("area", &area(), &as_text), ("text/plain; charset=utf-8".into(), "12.5".into()));
    let (media_type, document) = write("bounds", &bounds(), &any);
    assert_eq!(media_type, MEDIA_TYPE);
    check_golden("wps_2_0/raw_bounding_box.xml", &document);
}

#[test]
fn every_error_has_its_report() {
    let job = JobId::from_bytes([7; 16]);
    let text = String::from;
    let fault = |subject: fn(String) -> Subject, kind| {
        Error::invalid(Fault::new(subject("dem".into()), kind, "is wrong"))
    };
    let mode = Error::NoSuchMode { process: process().id, mode: "synchronously".into() };
    let at = Timestamp::UNIX_EPOCH;
    let cases = [
        (fault(Subject::Input, FaultKind::Missing), 400, "MissingParameterValue", "dem"),
        (fault(Subject::Input, FaultKind::Unknown), 400, "NoSuchInput", "dem"),
        (fault(Subject::Input, FaultKind::TooMany), 400, "TooManyInputs", "dem"),
        (fault(Subject::Input, FaultKind::Malformed), 400, "WrongInputData", "dem"),
        (fault(Subject::Input, FaultKind::NotAllowed), 400, "WrongInputData", "dem"),
        (fault(Subject::Input, FaultKind::Unsupported), 400, "NoSuchFormat", "dem"),
        (fault(Subject::Input, FaultKind::TooLarge), 400, "SizeExceeded", "dem"),
        (fault(Subject::Output, FaultKind::Unknown), 400, "NoSuchOutput", "dem"),
        (fault(Subject::Output, FaultKind::TooMany), 400, "TooManyOutputs", "dem"),
        (fault(Subject::Output, FaultKind::Unsupported), 400, "NoSuchFormat", "dem"),
        (fault(Subject::Output, FaultKind::NotAllowed), 400, "InvalidParameterValue", "dem"),
        (fault(Subject::Parameter, FaultKind::Unknown), 400, "InvalidParameterValue", "dem"),
        (Error::NoSuchProcess(text("x")), 400, "NoSuchProcess", "x"),
        (Error::NoSuchJob(text("x")), 400, "NoSuchJob", "JobID"),
        (Error::NoSuchOutput { job, output: text("o") }, 400, "NoSuchOutput", "o"),
        (Error::ResultNotReady(job), 400, "ResultNotReady", "JobID"),
        (Error::Dismissed, 410, "NoApplicableCode", ""),
        (mode, 400, "NoSuchMode", "mode"),
        (Error::TooLarge { what: text("input 'dem'"), bytes_max: 1 }, 413, "SizeExceeded", "dem"),
        (Error::TooLarge { what: text("the request body"), bytes_max: 1 }, 413, "SizeExceeded", ""),
        (Error::DataNotAccessible { input: text("dem"), reason: text("x") }, 400, "DataNotAccessible", "dem"),
        (Error::process_failed("x"), 500, "NoApplicableCode", ""),
        (Error::TimedOut { seconds_max: 1 }, 500, "NoApplicableCode", ""),
        (Error::AgentLost { reason: text("x") }, 500, "NoApplicableCode", ""),
        (Error::Interrupted { reason: text("x") }, 500, "NoApplicableCode", ""),
        (Error::Busy { limit: text("x"), retry_after_s: 9 }, 503, "ServerBusy", ""),
        (Error::Gone { job, why: Removal::Expired, at }, 410, "NoSuchJob", "JobID"),
        (Error::OutputGone { job, output: "dem".into(), at }, 410, "NoSuchOutput", "dem"),
        (over(LimitKind::QueuedJobs, LimitOf::EachUser), 429, "ServerBusy", ""),
        (over(LimitKind::HourlyJobs, LimitOf::Server), 503, "ServerBusy", ""),
        (over(LimitKind::InputBytes, LimitOf::Role(text("x"))), 413, "SizeExceeded", ""),
        (over(LimitKind::StoredBytes, LimitOf::EachUser), 507, "NotEnoughStorage", ""),
        (over(LimitKind::QueueSeconds, LimitOf::Process(text("x"))), 500, "NoApplicableCode", ""),
        (Error::NotEnoughStorage { detail: text("/SECRET") }, 507, "NotEnoughStorage", ""),
        (Error::internal("/SECRET"), 500, "InternalServerError", ""),
    ];
    for (error, status, code, locator) in cases {
        let report = exception_report(&error);
        let exception = &report.exceptions[0];
        let found = (report.status, exception.code.name(), exception.locator.as_deref().unwrap_or_default());
        assert_eq!(found, (status, code, locator), "{error}");
        assert!(!exception.text.contains("SECRET"));
        assert_eq!(report.version, Version::V2_0);
        assert_eq!(report.retry_after_s, matches!(status, 429 | 503).then_some(9));
    }
    let input =
        |kind, value: &str| Fault::new(Subject::Input("dem".into()), kind, "is wrong").with_value(value);
    let two = Error::Invalid(vec![input(FaultKind::Unknown, "x"), input(FaultKind::Malformed, "<\"&")]);
    let document = String::from_utf8(exception_report(&two).to_xml("en-US")).unwrap();
    check_golden("wps_2_0/exception.xml", &document);
}

#[test]
fn literals_and_boxes_have_formats_too() {
    let faults = |output: &str, media_type: &str| {
        let outputs = format!("{ID}<wps:Output id='{output}' mimeType='{media_type}'/>");
        execute::unanswerable(&process(), &execute(SYNC, &outputs).unwrap())
    };
    for (output, media_type) in [
        ("area", "text/xml"),
        ("area", "text/plain; charset=utf-8"),
        ("bounds", "Text/XML"),
        ("picture", "a/b"),
    ] {
        assert_eq!(faults(output, media_type), [], "{output} {media_type}");
    }
    assert_eq!(
        faults("area", "image/png")[0].to_string(),
        "output 'area' has the format text/xml or text/plain, not \"image/png\""
    );
    assert_eq!(faults("bounds", "text/plain")[0].kind, FaultKind::Unsupported);
}
