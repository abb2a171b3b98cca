use super::*;
use crate::detect::{self, WpsRequest};
use crate::output::{Output, OutputValue};
use crate::ows::ExceptionCode as Code;
use crate::testing::{check_golden, job, over, process, processes, request};
use crate::wps::{Capabilities, Processes};
use anabranch_model::{
    BoundingBox, ComplexValue, Data, DismissedBy, Error, ExecuteRequest, ExecutionMode, Fault, FaultKind,
    Format, HttpMethod, InputData, Job, JobEvent, JobId, LimitKind, LimitOf, LiteralType, LiteralValue,
    Reference, ReferenceBody, Removal, ResponseForm, Subject, TextForm, Transmission, Value, bind,
};

fn execute_of(result: Result<WpsRequest, ExceptionReport>) -> Execute {
    match result.unwrap() {
        WpsRequest::V1_0(Request::Execute(execute)) => *execute,
        other => panic!("{other:?}"),
    }
}

fn query(rest: &str) -> Result<WpsRequest, ExceptionReport> {
    let text = format!("service=WPS&version=1.0.0&request=Execute&{rest}");
    detect::query(&text, &ServiceInfo::default())
}

fn body(inner: &str) -> Result<WpsRequest, ExceptionReport> {
    let text = format!(
        "<wps:Execute xmlns:wps='http://www.opengis.net/wps/1.0.0' xmlns:ows='http://www.opengis.net/ows/1.1' \
         xmlns:xlink='http://www.w3.org/1999/xlink' xmlns:gml='http://www.opengis.net/gml/3.2' service='WPS' \
         version='1.0.0'>{inner}</wps:Execute>"
    );
    detect::fuzz_body(text.as_bytes());
    detect::body(text.as_bytes(), &ServiceInfo::default())
}

#[track_caller]
fn check(result: Result<WpsRequest, ExceptionReport>, expected: &[(Code, &str)]) {
    let report = result.unwrap_err();
    let found: Vec<_> =
        report.exceptions.iter().map(|e| (e.code, e.locator.as_deref().unwrap_or_default())).collect();
    assert_eq!(found, expected, "{report}");
    assert_eq!(report.status, 400);
}

fn text(text: &str) -> InputData {
    InputData::Text { text: text.into(), form: TextForm::Untyped }
}

const ID: &str = "<ows:Identifier>test:buffer</ows:Identifier>";

fn with_input(data: &str) -> String {
    format!(
        "{ID}<wps:DataInputs><wps:Input><ows:Identifier>x</ows:Identifier>{data}</wps:Input></wps:DataInputs>"
    )
}

#[test]
fn every_form_of_input_is_read_from_xml() {
    let document = r#"<ows:Identifier> test:buffer </ows:Identifier>
        <wps:DataInputs>
          <wps:Input><ows:Identifier>distance</ows:Identifier><ows:Title>how far</ows:Title>
            <wps:Data><wps:LiteralData dataType="xs:double" uom="km">2.5</wps:LiteralData></wps:Data></wps:Input>
          <wps:Input><ows:Identifier>mode</ows:Identifier><wps:Data><wps:LiteralData>fast &amp; loose</wps:LiteralData></wps:Data></wps:Input>
          <wps:Input><ows:Identifier>features</ows:Identifier>
            <wps:Data><wps:ComplexData mimeType="text/xml; subtype=gml/3.2.1"><!-- here -->
              <gml:Point gml:id="a"><gml:pos>1 2</gml:pos></gml:Point>
            </wps:ComplexData></wps:Data></wps:Input>
          <wps:Input><ows:Identifier>raster</ows:Identifier>
            <wps:Reference xlink:href="http://x/a?b=1&amp;c=2" method="POST" mimeType="image/tiff">
              <wps:Header key="Accept" value="image/tiff"/><wps:Body><q xmlns="urn:q"/></wps:Body></wps:Reference></wps:Input>
          <wps:Input><ows:Identifier>raster</ows:Identifier>
            <wps:Data><wps:ComplexData mimeType="image/tiff" encoding="base64">SUkq
              AA==</wps:ComplexData></wps:Data></wps:Input>
          <wps:Input><ows:Identifier>extent</ows:Identifier>
            <wps:Data><wps:BoundingBoxData crs="EPSG:4326" dimensions="2">
              <ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>3 4.5</ows:UpperCorner></wps:BoundingBoxData></wps:Data></wps:Input>
        </wps:DataInputs>
        <wps:ResponseForm><wps:ResponseDocument storeExecuteResponse="true" status="1" lineage="true">
          <wps:Output asReference="true" mimeType="image/tiff"><ows:Identifier>picture</ows:Identifier></wps:Output>
          <wps:Output uom="m2"><ows:Identifier>area</ows:Identifier><ows:Title>x</ows:Title></wps:Output>
        </wps:ResponseDocument></wps:ResponseForm>"#;
    let execute = execute_of(body(document));
    let items = &execute.request.inputs;
    assert_eq!((items[0].uom.as_deref(), items[0].data_type.as_deref()), (Some("km"), Some("xs:double")));
    assert_eq!(items[1].data, text("fast & loose"));
    let gml = r#"<gml:Point xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="a"><gml:pos>1 2</gml:pos></gml:Point>"#;
    assert_eq!(items[2].data, InputData::Text { text: gml.into(), form: TextForm::Xml });
    let expected = Reference {
        method: HttpMethod::Post,
        headers: vec![("Accept".into(), "image/tiff".into())],
        body: Some(ReferenceBody::Inline("<q xmlns=\"urn:q\"/>".into())),
        ..Reference::get("http://x/a?b=1&c=2")
    };
    assert_eq!(items[3].data, InputData::Reference(expected));
    assert_eq!(items[4].format.encoding.as_deref(), Some("base64"));
    let crs = Some("EPSG:4326".into());
    let expected = BoundingBox { crs, lower: vec![1.0, 2.0], upper: vec![3.0, 4.5] };
    assert_eq!(items[5].data, InputData::BoundingBox(expected));
    assert_eq!(execute.request.mode, ExecutionMode::Async);
    assert_eq!(execute.response, ResponseOptions { raw: false, store: true, status: true, lineage: true });
    assert_eq!(execute.request.outputs[0].transmission, Transmission::Reference);
    assert_eq!(execute.request.outputs[1].uom.as_deref(), Some("m2"));
    bind(&process(), &execute.request).unwrap();
}

#[test]
fn payloads_of_text_keep_their_characters() {
    let data = "<wps:Data><wps:ComplexData><![CDATA[{\"a\": \"<b>\"}]]></wps:ComplexData></wps:Data>";
    let execute = execute_of(body(&with_input(data)));
    assert_eq!(execute.request.inputs[0].data, text("{\"a\": \"<b>\"}"));
    let execute = execute_of(body(&with_input("<wps:Data><wps:ComplexData/></wps:Data>")));
    assert_eq!(execute.request.inputs[0].data, text(""));
    let reference =
        "<wps:Reference href='http://x/'><wps:BodyReference xlink:href='http://y/'/></wps:Reference>";
    let execute = execute_of(body(&with_input(reference)));
    let body = Some(ReferenceBody::Href("http://y/".into()));
    assert_eq!(
        execute.request.inputs[0].data,
        InputData::Reference(Reference { body, ..Reference::get("http://x/") })
    );
}

#[test]
fn broken_inputs_are_named_all_at_once() {
    let document = format!(
        "{ID}<wps:DataInputs>\
         <wps:Input><ows:Identifier>a</ows:Identifier></wps:Input>\
         <wps:Input><wps:Data><wps:LiteralData>1</wps:LiteralData></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>b</ows:Identifier><wps:Data><wps:LiteralData><c/></wps:LiteralData></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>c</ows:Identifier><wps:Data><wps:BoundingBoxData><ows:LowerCorner>1 x</ows:LowerCorner>\
         <ows:UpperCorner>1 2</ows:UpperCorner></wps:BoundingBoxData></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>d</ows:Identifier><wps:Data><wps:BoundingBoxData/></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>e</ows:Identifier><wps:Reference/></wps:Input>\
         <wps:Input><ows:Identifier>f</ows:Identifier><wps:Reference xlink:href='http://x' method='PUT'/></wps:Input>\
         <wps:Input><ows:Identifier>g</ows:Identifier><wps:Reference xlink:href='http://x'><wps:Header/></wps:Reference></wps:Input>\
         <wps:Input><ows:Identifier>h</ows:Identifier><wps:Data><wps:LiteralData/></wps:Data><wps:Data><wps:LiteralData/></wps:Data></wps:Input>\
         </wps:DataInputs><wps:ResponseForm><wps:ResponseDocument status='true'><wps:Output asReference='maybe'>\
         <ows:Identifier>o</ows:Identifier></wps:Output></wps:ResponseDocument></wps:ResponseForm>"
    );
    let invalid = Code::InvalidParameterValue;
    check(
        body(&document),
        &[
            (invalid, "a"),
            (Code::MissingParameterValue, "Identifier"),
            (invalid, "b"),
            (invalid, "c"),
            (invalid, "d"),
            (invalid, "e"),
            (invalid, "f"),
            (invalid, "g"),
            (invalid, "h"),
            (invalid, "o"),
            (invalid, "status"),
        ],
    );
}

#[test]
fn unknown_elements_are_named() {
    let invalid = Code::InvalidParameterValue;
    check(body(&format!("{ID}<wps:Output/>")), &[(invalid, "Output")]);
    check(body(&with_input("<wps:Datum/>")), &[(invalid, "Datum")]);
    check(body(&with_input("<wps:Data><wps:Literal/></wps:Data>")), &[(invalid, "Literal")]);
    check(body(""), &[(Code::MissingParameterValue, "Identifier")]);
    check(body("<ows:Identifier>../x</ows:Identifier>"), &[(invalid, "Identifier")]);
}

#[test]
fn response_forms_exclude_each_other() {
    let invalid = Code::InvalidParameterValue;
    check(query("identifier=a&status=true"), &[(invalid, "status")]);
    check(query("identifier=a&status=yes"), &[(invalid, "status")]);
    check(query("identifier=a&rawdataoutput=x&responsedocument=y"), &[(invalid, "RawDataOutput")]);
    check(query("identifier=a&rawdataoutput=x;y"), &[(invalid, "RawDataOutput")]);
    check(
        query("identifier=a&rawdataoutput=x&storeExecuteResponse=true&status=true&lineage=true"),
        &[(invalid, "storeExecuteResponse"), (invalid, "status"), (invalid, "lineage")],
    );
    check(query("rawdataoutput=x"), &[(Code::MissingParameterValue, "Identifier")]);
    let raw = execute_of(query("identifier=a&RAWDATAOUTPUT=x@mimeType=text/xml"));
    assert_eq!(raw.request.response, ResponseForm::Raw);
    assert_eq!(raw.request.outputs[0].format.media_type.as_deref(), Some("text/xml"));
    let stored = execute_of(query("identifier=a&storeexecuteresponse=TRUE"));
    assert_eq!((stored.request.mode, stored.response.store), (ExecutionMode::Sync, true));
    let raw = format!(
        "{ID}<wps:ResponseForm><wps:RawDataOutput mimeType='a/b'><ows:Identifier>x</ows:Identifier></wps:RawDataOutput></wps:ResponseForm>"
    );
    assert!(execute_of(body(&raw)).response.raw);
}

#[test]
fn key_value_pairs_are_split_before_they_are_decoded() {
    let execute = execute_of(query(
        "identifier=test:buffer&DataInputs=distance=2.5@uom=km@datatype=xs:double;mode=fast%20%26%20loose;mode=exact;\
         raster=@xlink:href=http%3A%2F%2Fx%2Fa%3Fb%3D1%26c%3D%40@mimeType=image/tiff;extent=1,2,3,4,EPSG:4326,2;\
         features=%7B%7D&responseDocument=[area@uom=m2;picture=@asReference=true@mimeType=image/tiff]",
    ));
    let items = &execute.request.inputs;
    assert_eq!((&items[0].data, items[0].uom.as_deref()), (&text("2.5"), Some("km")));
    assert_eq!(items[1].data, text("fast & loose"));
    assert_eq!(items[2].data, text("exact"));
    assert_eq!(items[3].data, InputData::Reference(Reference::get("http://x/a?b=1&c=@")));
    assert_eq!(items[4].data, text("1,2,3,4,EPSG:4326,2"));
    assert_eq!(execute.request.outputs[0].uom.as_deref(), Some("m2"));
    assert_eq!(execute.request.outputs[1].transmission, Transmission::Reference);
    bind(&process(), &execute.request).unwrap();
}

#[test]
fn separators_in_values_stay_values() {
    for (written, expected) in [
        ("x=a%3Bb%40c%3Dd", "a;b@c=d"),
        ("[x=1]", "1"),
        ("%5Bx=1%5D", "1"),
        ("x=", ""),
        ("x", ""),
        ("x=a@b", "a@b"),
        ("x=1=2", "1=2"),
        ("x=a+b", "a b"),
        ("x=a%2Bb", "a+b"),
        // Encoded as a whole.
        ("x%3D1%3B", "1"),
        ("%5Bx%3Da%2520b%5D", "a b"),
        ("x=%zz%ff", "%zz\u{FFFD}"),
    ] {
        let execute = execute_of(query(&format!("identifier=a&datainputs={written}")));
        let items = &execute.request.inputs;
        assert_eq!((items.len(), &items[0].id[..], &items[0].data), (1, "x", &text(expected)), "{written}");
    }
    assert!(execute_of(query("identifier=a&datainputs=")).request.inputs.is_empty());
    check(
        query("identifier=a&datainputs=x=1@colour=red;y=@href=http://x@method=PUT"),
        &[(Code::InvalidParameterValue, "x"), (Code::InvalidParameterValue, "y")],
    );
}

#[test]
fn geoserver_names_jobs_in_queries() {
    let of = |rest: &str| {
        detect::query(&format!("service=WPS&version=1.0.0&request={rest}"), &ServiceInfo::default())
    };
    let named = ExecutionId { job: "a b".into(), language: Some("en-US".into()) };
    let status = WpsRequest::V1_0(Request::GetExecutionStatus(named.clone()));
    assert_eq!(of("getexecutionstatus&EXECUTIONID=a%20b&language=EN-US").unwrap(), status);
    assert_eq!(
        of("Dismiss&executionId=a+b&language=en-US").unwrap(),
        WpsRequest::V1_0(Request::Dismiss(named))
    );
    for operation in ["GetExecutionStatus", "Dismiss&executionId="] {
        check(of(operation), &[(Code::MissingParameterValue, "executionId")]);
    }
}

#[test]
fn capabilities_are_written_in_full_or_in_short() {
    let service = ServiceInfo {
        provider: crate::service::Provider {
            name: "Agency & Co".into(),
            site: Some("https://example.org/?a=1&b=2".into()),
            contact: Some("A Person".into()),
            email: Some("wps@example.org".into()),
        },
        languages: vec!["en-US".into(), "de-DE".into()],
        ..ServiceInfo::default()
    };
    let document = Capabilities {
        service: &service,
        url: "http://localhost:8080/wps",
        processes: &processes(),
        update_sequence: 5,
    };
    let known = |sequence: &str| GetCapabilities {
        update_sequence: Some(sequence.into()),
        ..GetCapabilities::default()
    };
    let full =
        String::from_utf8(capabilities::write(&document, &GetCapabilities::default()).unwrap()).unwrap();
    check_golden("wps_1_0/capabilities.xml", &full);
    assert_eq!(capabilities::write(&document, &known("4")).unwrap(), full.as_bytes());
    let short = String::from_utf8(capabilities::write(&document, &known("5")).unwrap()).unwrap();
    assert!(short.contains("updateSequence=\"5\"/>"), "{short}");
    for late in ["6", "x", "-1"] {
        let report = capabilities::write(&document, &known(late)).unwrap_err();
        assert_eq!((report.status, report.exceptions[0].code), (400, Code::InvalidUpdateSequence));
    }
}

#[test]
fn processes_are_picked_and_described() {
    let named = |ids: &[&str]| Processes::Named(ids.iter().map(|id| (*id).to_owned()).collect());
    let report = describe::pick(&named(&["x", "test:buffer", "y"]), &processes()).unwrap_err();
    let found: Vec<_> = report.exceptions.iter().map(|e| (e.code, e.locator.as_deref())).collect();
    assert_eq!(found, [(Code::InvalidParameterValue, Some("identifier")); 2]);
    let picked = describe::pick(&named(&["test:buffer"]), &processes()).unwrap();
    let document = String::from_utf8(describe::write(&picked, "en-US")).unwrap();
    check_golden("wps_1_0/describe.xml", &document);
    assert_eq!(describe::pick(&Processes::All, &processes()).unwrap().len(), 1);
}

fn written(job: &Job, execute: &Execute, outputs: &[Output<'_>]) -> String {
    let process = process();
    let response = response::Response {
        job,
        process: &process,
        service_instance: "http://localhost:8080/wps?service=WPS&request=GetCapabilities",
        status_location: execute.response.store.then_some("http://localhost:8080/jobs/1?f=wps&x=<"),
        language: "en-US",
        request: &execute.request,
        outputs,
    };
    let mut out = Vec::new();
    response::write(&response, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_state_has_its_response() {
    let execute = execute_of(query("identifier=test:buffer&storeExecuteResponse=true&status=true"));
    let mut job = job();
    let now = job.created;
    check_golden("wps_1_0/accepted.xml", &written(&job, &execute, &[]));
    job.apply(JobEvent::Started { agent: None }, now);
    job.apply(JobEvent::Progress { percent: 99.99, message: Some("almost <there>".into()) }, now);
    check_golden("wps_1_0/started.xml", &written(&job, &execute, &[]));
    let mut failed = job.clone();
    failed.apply(JobEvent::Ended(Err(Error::process_failed("exit code 1: no space"))), now);
    check_golden("wps_1_0/failed.xml", &written(&failed, &execute, &[]));
    job.apply(JobEvent::DismissRequested(DismissedBy::Operator), now);
    assert!(written(&job, &execute, &[]).contains("being dismissed"));
    job.apply(JobEvent::Ended(Ok(())), now);
    check_golden("wps_1_0/dismissed.xml", &written(&job, &execute, &[]));
}

fn complex(format: Format, bytes: &'static str) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), format))
}

#[test]
fn every_output_and_the_lineage_are_written() {
    let document = format!(
        "{ID}<wps:DataInputs>\
         <wps:Input><ows:Identifier>distance</ows:Identifier><wps:Data><wps:LiteralData uom='km'>1</wps:LiteralData></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>features</ows:Identifier><wps:Data><wps:ComplexData mimeType='text/xml'><gml:a/></wps:ComplexData></wps:Data></wps:Input>\
         <wps:Input><ows:Identifier>raster</ows:Identifier><wps:Reference xlink:href='http://x/?a&amp;b' method='POST'>\
         <wps:Header key='Authorization' value='SECRET'/><wps:BodyReference xlink:href='http://y/'/></wps:Reference></wps:Input>\
         <wps:Input><ows:Identifier>extent</ows:Identifier><wps:Data><wps:BoundingBoxData><ows:LowerCorner>1 2</ows:LowerCorner>\
         <ows:UpperCorner>3 4</ows:UpperCorner></wps:BoundingBoxData></wps:Data></wps:Input></wps:DataInputs>\
         <wps:ResponseForm><wps:ResponseDocument lineage='true'><wps:Output asReference='true' mimeType='image/tiff'>\
         <ows:Identifier>picture</ows:Identifier></wps:Output></wps:ResponseDocument></wps:ResponseForm>"
    );
    let execute = execute_of(body(&document));
    let mut job = job();
    let now = job.created;
    job.apply(JobEvent::Started { agent: None }, now);
    job.apply(JobEvent::Ended(Ok(())), now);
    let area = Value::Literal(LiteralValue {
        uom: Some("m2".into()),
        ..LiteralValue::new(LiteralType::Double, "12.5")
    });
    let gml = complex(Format::new("text/xml"), "<?xml version='1.0'?>\n<a xmlns='urn:a' b='&lt;'>x</a>\n");
    let json = complex(Format::new(Format::GEOJSON), "{\"a\": \"<]]>\"}");
    let broken = complex(Format::new("text/xml"), "<a>");
    let tiff = complex(Format::base64(Format::GEOTIFF), "II*\0");
    let bounds = Value::BoundingBox(BoundingBox {
        crs: Some("http://www.opengis.net/def/crs/EPSG/0/4326".into()),
        lower: vec![-1.5, 2.0],
        upper: vec![3.0, 4.0],
    });
    let link = Format { schema: Some("http://x/schema".into()), ..Format::new("image/tiff") };
    let process = process();
    let asked = request("any");
    let output =
        |id: &str, value| Output { description: process.output(id).unwrap(), request: &asked, value };
    let outputs = [
        output("area", OutputValue::Inline(&area)),
        output("buffered", OutputValue::Inline(&gml)),
        output("buffered", OutputValue::Inline(&json)),
        output("buffered", OutputValue::Inline(&broken)),
        output("picture", OutputValue::Inline(&tiff)),
        output("picture", OutputValue::Reference { href: "http://x/1?a=1&b=2", format: Some(&link) }),
        output("bounds", OutputValue::Inline(&bounds)),
    ];
    let document = written(&job, &execute, &outputs);
    assert!(!document.contains("SECRET"));
    check_golden("wps_1_0/succeeded.xml", &document);
}

#[test]
fn raw_outputs_are_the_data_itself() {
    let process = process();
    let asked = request("any");
    let write = |id: &str, value: &Value| {
        let output = Output {
            description: process.output(id).unwrap(),
            request: &asked,
            value: OutputValue::Inline(value),
        };
        let mut out = Vec::new();
        response::write_raw(&output, &mut out).unwrap();
        (response::raw_media_type(&output), String::from_utf8(out).unwrap())
    };
    let tiff = complex(Format::base64(Format::GEOTIFF), "II*\0");
    assert_eq!(write("picture", &tiff), (Format::GEOTIFF.into(), "II*\0".into()));
    let area = Value::Literal(LiteralValue::new(LiteralType::Double, "1"));
    assert_eq!(write("area", &area), ("text/plain; charset=utf-8".into(), "1".into()));
    let bounds = Value::BoundingBox(BoundingBox { crs: None, lower: vec![1.0, 2.0], upper: vec![3.0, 4.0] });
    let (media_type, document) = write("bounds", &bounds);
    assert_eq!(media_type, MEDIA_TYPE);
    assert!(document.contains("<ows:LowerCorner>1 2</ows:LowerCorner>"), "{document}");
}

#[test]
fn large_files_are_embedded_without_their_prolog() {
    let path = std::env::temp_dir().join(format!("anabranch-ogc-{}", JobId::random()));
    let inside = "<b>ü</b>".repeat(50_000);
    std::fs::write(&path, format!("\u{FEFF}<?xml version='1.0'?><a>{inside}</a>")).unwrap();
    let value = Value::Complex(ComplexValue::new(Data::file(&path).unwrap(), Format::new("text/xml")));
    let process = process();
    let asked = request("buffered");
    let output = Output {
        description: process.output("buffered").unwrap(),
        request: &asked,
        value: OutputValue::Inline(&value),
    };
    let mut job = job();
    job.apply(JobEvent::Ended(Ok(())), job.created);
    let document = written(&job, &execute_of(query("identifier=test:buffer")), &[output]);
    assert!(
        document
            .contains(&format!("<wps:ComplexData mimeType=\"text/xml\"><a>{inside}</a></wps:ComplexData>"))
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn every_error_has_its_report() {
    let job = JobId::from_bytes([7; 16]);
    let text = String::from;
    let fault = |kind| Fault::new(Subject::Input("dem".into()), kind, "is wrong");
    let no_mode = |mode: &str| Error::NoSuchMode { process: process().id, mode: mode.into() };
    let at = anabranch_model::Timestamp::UNIX_EPOCH;
    let cases = [
        (Error::invalid(fault(FaultKind::Missing)), 400, "MissingParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::Unknown)), 400, "InvalidParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::TooMany)), 400, "InvalidParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::Malformed)), 400, "InvalidParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::NotAllowed)), 400, "InvalidParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::Unsupported)), 400, "InvalidParameterValue", "dem"),
        (Error::invalid(fault(FaultKind::TooLarge)), 400, "FileSizeExceeded", "dem"),
        (Error::NoSuchProcess(text("x")), 400, "InvalidParameterValue", "Identifier"),
        (Error::NoSuchJob(text("x")), 404, "InvalidParameterValue", "executionId"),
        (Error::NoSuchOutput { job, output: text("o") }, 404, "InvalidParameterValue", "o"),
        (Error::ResultNotReady(job), 404, "NoApplicableCode", ""),
        (Error::Dismissed, 410, "NoApplicableCode", ""),
        (no_mode("asynchronously"), 400, "StorageNotSupported", "status"),
        (no_mode("synchronously"), 400, "InvalidParameterValue", "status"),
        (Error::TooLarge { what: text("input 'dem'"), bytes_max: 1 }, 413, "FileSizeExceeded", "dem"),
        (Error::TooLarge { what: text("the request body"), bytes_max: 1 }, 413, "FileSizeExceeded", ""),
        (Error::DataNotAccessible { input: text("dem"), reason: text("x") }, 400, "NoApplicableCode", "dem"),
        (Error::process_failed("x"), 500, "NoApplicableCode", ""),
        (Error::TimedOut { seconds_max: 1 }, 500, "NoApplicableCode", ""),
        (Error::AgentLost { reason: text("x") }, 500, "NoApplicableCode", ""),
        (Error::Interrupted { reason: text("x") }, 500, "NoApplicableCode", ""),
        (Error::Busy { limit: text("x"), retry_after_s: 9 }, 503, "ServerBusy", ""),
        (Error::Gone { job, why: Removal::Expired, at }, 410, "InvalidParameterValue", "executionId"),
        (Error::OutputGone { job, output: "dem".into(), at }, 410, "InvalidParameterValue", "dem"),
        (over(LimitKind::QueuedJobs, LimitOf::EachUser), 429, "ServerBusy", ""),
        (over(LimitKind::HourlyJobs, LimitOf::Server), 503, "ServerBusy", ""),
        (over(LimitKind::InputBytes, LimitOf::Role(text("x"))), 413, "FileSizeExceeded", ""),
        (over(LimitKind::StoredBytes, LimitOf::EachUser), 507, "NotEnoughStorage", ""),
        (over(LimitKind::QueueSeconds, LimitOf::Process(text("x"))), 500, "NoApplicableCode", ""),
        (Error::NotEnoughStorage { detail: text("/SECRET") }, 507, "NotEnoughStorage", ""),
        (Error::internal("/SECRET"), 500, "NoApplicableCode", ""),
    ];
    for (error, status, code, locator) in cases {
        let report = exception_report(&error);
        let exception = &report.exceptions[0];
        let found = (report.status, exception.code.name(), exception.locator.as_deref().unwrap_or_default());
        assert_eq!(found, (status, code, locator), "{error}");
        assert!(!exception.text.contains("SECRET"));
        assert_eq!(report.retry_after_s, matches!(status, 429 | 503).then_some(9));
    }
    let two = Error::Invalid(vec![fault(FaultKind::Missing), fault(FaultKind::Malformed).with_value("<\"&")]);
    let document = String::from_utf8(exception_report(&two).to_xml("en-US")).unwrap();
    check_golden("wps_1_0/exception.xml", &document);
}

#[test]
fn what_is_written_into_lineage_is_read_again() {
    let execute = execute_of(body(&with_input(
        "<wps:Data><wps:LiteralData>a &lt;b&gt; &amp;&#13;\"</wps:LiteralData></wps:Data>",
    )));
    let again = execute.request.inputs[0].data.clone();
    let lineage = ExecuteRequest { lineage: true, ..execute.request.clone() };
    let document = written(&job(), &Execute { request: lineage, ..execute }, &[]);
    let from = document.find("<wps:DataInputs>").unwrap();
    let to = document.find("<wps:OutputDefinitions>").unwrap();
    let read = execute_of(body(&format!("{ID}{}", &document[from..to])));
    assert_eq!(read.request.inputs[0].data, again);
}
