use super::*;
use crate::ows::ExceptionCode as Code;
use crate::wps::Processes;
use crate::wps_1_0::Request;
use crate::wps_2_0;

type Found = Vec<(Code, Option<String>)>;

fn of(result: Result<WpsRequest, ExceptionReport>) -> (u16, Found) {
    let report = result.unwrap_err();
    (report.status, report.exceptions.into_iter().map(|e| (e.code, e.locator)).collect())
}

#[track_caller]
fn check_query(text: &str, status: u16, code: Code, locator: Option<&str>) {
    let expected = (status, vec![(code, locator.map(str::to_owned))]);
    assert_eq!(of(query(text, &ServiceInfo::default())), expected, "{text}");
}

#[track_caller]
fn check_body(text: &str, status: u16, code: Code, locator: Option<&str>) {
    let expected = (status, vec![(code, locator.map(str::to_owned))]);
    let shown: String = text.chars().take(200).collect();
    assert_eq!(of(body(text.as_bytes(), &ServiceInfo::default())), expected, "{shown}");
}

const WPS: &str = "xmlns:wps='http://www.opengis.net/wps/1.0.0' xmlns:ows='http://www.opengis.net/ows/1.1'";

#[test]
fn queries_break_one_rule_each() {
    use Code::{
        InvalidParameterValue, MissingParameterValue, OperationNotSupported, VersionNegotiationFailed,
    };
    check_query("", 400, MissingParameterValue, Some("service"));
    check_query("service=", 400, MissingParameterValue, Some("service"));
    check_query("service=WMS&request=GetCapabilities", 400, InvalidParameterValue, Some("service"));
    check_query("service=WPS", 400, MissingParameterValue, Some("request"));
    check_query("service=WPS&request=GetMap&version=1.0.0", 501, OperationNotSupported, Some("GetMap"));
    check_query("service=WPS&request=Execute", 400, MissingParameterValue, Some("version"));
    check_query("service=WPS&request=DescribeProcess&version=3", 400, InvalidParameterValue, Some("version"));
    check_query(
        "service=WPS&request=GetCapabilities&version=3.0.0",
        400,
        InvalidParameterValue,
        Some("version"),
    );
    check_query(
        "service=WPS&request=GetCapabilities&acceptversions=9.0,8.0",
        400,
        VersionNegotiationFailed,
        None,
    );
    check_query(
        "service=WPS&request=GetCapabilities&language=xx-XX",
        400,
        InvalidParameterValue,
        Some("language"),
    );
    let describe = "service=WPS&request=DescribeProcess&version=1.0.0";
    check_query(describe, 400, MissingParameterValue, Some("identifier"));
    check_query(&format!("{describe}&identifier=,"), 400, MissingParameterValue, Some("identifier"));
}

#[test]
fn names_have_any_case_and_unknown_parameters_do_no_harm() {
    let text = "?SERVICE=wps&ReQuEsT=getcapabilities&AcceptVersions=0.4.0,1.0.0&LANGUAGE=EN-us&x=%zz&updateSequence=3&sections=All";
    let WpsRequest::V1_0(request) = query(text, &ServiceInfo::default()).unwrap() else { panic!() };
    assert_eq!(request.language(), Some("en-US"));
    let Request::GetCapabilities(request) = request else { panic!() };
    assert_eq!(request.accept_versions, ["0.4.0", "1.0.0"]);
    assert_eq!(request.update_sequence.as_deref(), Some("3"));
    assert_eq!(request.sections, ["All"]);
    let text = "service=WPS&request=DescribeProcess&version=1.0.0&IDENTIFIER=a,default%3Ab";
    let WpsRequest::V1_0(Request::DescribeProcess(request)) = query(text, &ServiceInfo::default()).unwrap()
    else {
        panic!()
    };
    assert_eq!(request.processes, Processes::Named(vec!["a".into(), "default:b".into()]));
}

#[test]
fn bodies_break_one_rule_each() {
    use Code::{InvalidParameterValue, MissingParameterValue, NoApplicableCode, OperationNotSupported};
    check_body("", 400, NoApplicableCode, None);
    check_body("no xml", 400, NoApplicableCode, None);
    check_body("<!DOCTYPE x []><x/>", 400, NoApplicableCode, None);
    check_body("<GetCapabilities service='WPS'/>", 400, InvalidParameterValue, Some("service"));
    check_body(&format!("<wps:GetCapabilities {WPS}/>"), 400, MissingParameterValue, Some("service"));
    check_body(&format!("<wps:Fly {WPS} service='WPS'/>"), 501, OperationNotSupported, Some("Fly"));
    check_body(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'/>",
        501,
        OperationNotSupported,
        Some("Envelope"),
    );
    check_body(&format!("<wps:Execute {WPS} service='WPS'/>"), 400, MissingParameterValue, Some("version"));
    check_body(
        &format!("<wps:Execute {WPS} service='WPS' version='0.4.0'/>"),
        400,
        InvalidParameterValue,
        Some("version"),
    );
    check_body(
        &format!("<wps:Execute {WPS} service='WPS' version='1.0.0' language='xx'/>"),
        400,
        InvalidParameterValue,
        Some("language"),
    );
    check_body(
        &format!("<wps:Execute {WPS} service='WPS' version='1.0.0'><wps:Input/></wps:Execute>"),
        400,
        InvalidParameterValue,
        Some("Input"),
    );
    check_body(
        &format!("<wps:DescribeProcess {WPS} service='WPS' version='1.0.0'/>"),
        400,
        MissingParameterValue,
        Some("identifier"),
    );
    let versions = "<wps:AcceptVersions><ows:Version>9</ows:Version></wps:AcceptVersions>";
    check_body(
        &format!("<wps:GetCapabilities {WPS} service='WPS'>{versions}</wps:GetCapabilities>"),
        400,
        Code::VersionNegotiationFailed,
        None,
    );
    check_body(&format!("<wps:GetCapabilities {WPS} service='WPS'/>x"), 400, NoApplicableCode, None);
}

#[test]
fn bodies_are_read() {
    let text = "<?xml version='1.0' encoding='UTF-8'?><!-- x --><d:DescribeProcess xmlns:d='http://www.opengis.net/wps/1.0.0' \
         xmlns='http://www.opengis.net/ows/1.1' service='WPS' version='1.0.0'><Identifier> a </Identifier>\
         <Identifier>all</Identifier></d:DescribeProcess>";
    let WpsRequest::V1_0(Request::DescribeProcess(request)) =
        body(text.as_bytes(), &ServiceInfo::default()).unwrap()
    else {
        panic!()
    };
    assert_eq!(request.processes, Processes::All);
    let text = format!(
        "<wps:GetCapabilities {WPS} service='WPS' language='en-US'><ows:AcceptVersions><ows:Version>1.0.0</ows:Version>\
         </ows:AcceptVersions></wps:GetCapabilities>"
    );
    let WpsRequest::V1_0(Request::GetCapabilities(request)) =
        body(text.as_bytes(), &ServiceInfo::default()).unwrap()
    else {
        panic!()
    };
    assert_eq!(request.accept_versions, ["1.0.0"]);
    assert_eq!(request.language.as_deref(), Some("en-US"));
}

#[test]
fn hostile_bodies_are_refused_quickly() {
    let start = format!(
        "<wps:Execute {WPS} service='WPS' version='1.0.0'><wps:DataInputs><wps:Input><wps:Data><wps:ComplexData>"
    );
    let deep = format!("{start}{}", "<a>".repeat(10_000));
    check_body(&deep, 400, Code::NoApplicableCode, None);
    fuzz_body(&[0xFF, 0xFE, 0x00]);
    fuzz_body(&[0xFE]);
    // The fault is of the same kind however the text is cut.
    fuzz_body(b" \n\nDescribe(\n(<a\n/>");
    fuzz_body(b"\n\ne\xc3(<a/>");
    fuzz_query("datainputs=%&&==;@@&request=execute&service=wps&version=1.0.0");
}

const WPS_2: &str = "xmlns:wps='http://www.opengis.net/wps/2.0' xmlns:ows='http://www.opengis.net/ows/2.0'";

/// The version of the answer to a GetCapabilities request.
fn answered(request: Result<WpsRequest, ExceptionReport>) -> &'static str {
    match request.unwrap() {
        WpsRequest::V1_0(Request::GetCapabilities(_)) => "1.0.0",
        WpsRequest::V2_0(wps_2_0::Request::GetCapabilities(_)) => "2.0.0",
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_negotiated() {
    for (text, version) in [
        ("", "1.0.0"),
        ("&version=2.0.0", "2.0.0"),
        ("&acceptversions=2.0.0,1.0.0", "2.0.0"),
        ("&acceptversions=3.0.0,1.0.0,2.0.0", "1.0.0"),
        ("&acceptversions=2.0.0&version=1.0.0", "2.0.0"),
    ] {
        let text = format!("service=WPS&request=GetCapabilities{text}");
        assert_eq!(answered(query(&text, &ServiceInfo::default())), version, "{text}");
    }
    let accept = |version: &str| {
        format!("<ows:AcceptVersions><ows:Version>{version}</ows:Version></ows:AcceptVersions>")
    };
    for (namespaces, inner, version) in [
        (WPS, String::new(), "1.0.0"),
        (WPS_2, String::new(), "2.0.0"),
        (WPS, accept("2.0.0"), "2.0.0"),
        (WPS_2, accept("1.0.0"), "1.0.0"),
    ] {
        let text = format!("<wps:GetCapabilities {namespaces} service='WPS'>{inner}</wps:GetCapabilities>");
        assert_eq!(answered(body(text.as_bytes(), &ServiceInfo::default())), version, "{text}");
    }
}

#[test]
fn languages_are_negotiated() {
    let language = |text: &str| {
        let text = format!("service=WPS&request=GetCapabilities&{text}");
        match query(&text, &ServiceInfo::default()) {
            Ok(WpsRequest::V1_0(Request::GetCapabilities(request))) => Ok(request.language),
            Ok(other) => panic!("{other:?}"),
            Err(report) => Err(report.exceptions[0].locator.clone().unwrap()),
        }
    };
    assert_eq!(language("acceptLanguages=fr,en"), Ok(Some("en-US".into())));
    assert_eq!(language("acceptLanguages=fr,*"), Ok(None));
    assert_eq!(language("acceptLanguages=fr,de"), Err("acceptLanguages".into()));
}

#[test]
fn errors_have_the_form_of_the_version_that_is_meant() {
    let of_query = |text: &str| query(text, &ServiceInfo::default()).unwrap_err().version;
    assert_eq!(of_query("service=WMS&request=GetCapabilities"), ows::Version::V1_1);
    assert_eq!(of_query("service=WMS&request=GetCapabilities&version=2.0.0"), ows::Version::V2_0);
    assert_eq!(of_query("service=WMS&request=GetCapabilities&acceptVersions=2.0.0"), ows::Version::V2_0);
    assert_eq!(of_query("service=WPS&request=GetStatus&version=2.0.0"), ows::Version::V2_0);
    assert_eq!(of_query("service=WPS&request=Execute&version=2.0.0"), ows::Version::V2_0);
    let report = body(format!("<wps:GetStatus {WPS_2}/>").as_bytes(), &ServiceInfo::default()).unwrap_err();
    let document = String::from_utf8(report.to_xml("en-US")).unwrap();
    assert!(document.contains("http://www.opengis.net/ows/2.0\" xml:lang=\"en-US\" version=\"2.0.0\""));
}

#[test]
fn requests_of_2_0_break_one_rule_each() {
    use Code::{
        InvalidParameterValue, MissingParameterValue, OperationNotSupported, VersionNegotiationFailed,
    };
    let two = "service=WPS&version=2.0.0&request=";
    check_query(&format!("{two}GetStatus"), 400, MissingParameterValue, Some("JobID"));
    check_query(&format!("{two}GetResult&jobid="), 400, MissingParameterValue, Some("JobID"));
    check_query(&format!("{two}DescribeProcess"), 400, MissingParameterValue, Some("identifier"));
    check_query(
        &format!("{two}DescribeProcess&identifier=a&lang=xx"),
        400,
        InvalidParameterValue,
        Some("lang"),
    );
    // WPS 2.0 defines no key-value pairs for it.
    check_query(&format!("{two}Execute&identifier=a"), 501, OperationNotSupported, Some("Execute"));
    check_query("service=WPS&version=1.0.0&request=GetStatus", 501, OperationNotSupported, Some("GetStatus"));
    let body = |name: &str, more: &str| format!("<wps:{name} {WPS_2} service='WPS' {more}");
    check_body(&body("GetStatus", "/>"), 400, MissingParameterValue, Some("version"));
    check_body(&body("Dismiss", "version='1.0.0'/>"), 400, InvalidParameterValue, Some("version"));
    check_body(&body("GetResult", "version='2.0.0'/>"), 400, MissingParameterValue, Some("JobID"));
    check_body(&body("Fly", "version='2.0.0'/>"), 501, OperationNotSupported, Some("Fly"));
    check_body(&body("GetCapabilities", "version='3.0.0'/>"), 400, InvalidParameterValue, Some("version"));
    check_body(
        &body("DescribeProcess", "version='2.0.0' xml:lang='xx'/>"),
        400,
        InvalidParameterValue,
        Some("lang"),
    );
    check_body(
        &body(
            "GetCapabilities",
            "><ows:AcceptVersions><ows:Version>9</ows:Version></ows:AcceptVersions></wps:GetCapabilities>",
        ),
        400,
        VersionNegotiationFailed,
        None,
    );
    check_body(
        &body("GetStatus", "version='2.0.0'><x/></wps:GetStatus>"),
        400,
        InvalidParameterValue,
        Some("x"),
    );
}
