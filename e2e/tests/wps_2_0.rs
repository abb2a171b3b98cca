//! WPS 2.0 as clients meet it, and one job through both interfaces.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Reply, Server, eventually, script_service};
use serde_json::json;

const NAMESPACES: &str = r#"xmlns:wps="http://www.opengis.net/wps/2.0" xmlns:ows="http://www.opengis.net/ows/2.0"
    xmlns:xlink="http://www.w3.org/1999/xlink""#;

fn execute(process: &str, mode: &str, response: &str, inner: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><wps:Execute service="WPS" version="2.0.0" {NAMESPACES} mode="{mode}" response="{response}">
        <ows:Identifier>{process}</ows:Identifier>{inner}</wps:Execute>"#
    )
}

fn literal(id: &str, value: &str) -> String {
    format!(
        r#"<wps:Input id="{id}"><wps:Data><wps:LiteralValue>{value}</wps:LiteralValue></wps:Data></wps:Input>"#
    )
}

/// Echoes a word.
fn echo(mode: &str, response: &str, output: &str) -> String {
    let inner = format!("{}<wps:Output id=\"literalOutput\" {output}/>", literal("literalInput", "grüß"));
    execute("echo", mode, response, &inner)
}

fn sleep(mode: &str) -> String {
    let inputs = literal("literalInput", "x") + &literal("pause", "600");
    execute("echo", mode, "document", &format!("{inputs}<wps:Output id=\"literalOutput\"/>"))
}

async fn post(server: &Server, body: String) -> Reply {
    server.post("/wps", "application/xml", body).await
}

async fn of_job(server: &Server, operation: &str, job: &str) -> Reply {
    server.get(&format!("/wps?service=WPS&version=2.0.0&request={operation}&jobid={job}")).await
}

async fn of_job_by_post(server: &Server, operation: &str, job: &str) -> Reply {
    let body = format!(
        "<wps:{operation} service=\"WPS\" version=\"2.0.0\" {NAMESPACES}><wps:JobID>{job}</wps:JobID></wps:{operation}>"
    );
    post(server, body).await
}

/// The text of the first element of that name.
fn text_of(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {document}"));
    rest.split_once('<').unwrap().0.to_owned()
}

#[track_caller]
fn check_refused(reply: &Reply, status: u16, code: &str, locator: &str) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert!(text.contains("xmlns:ows=\"http://www.opengis.net/ows/2.0\""), "{text}");
    let exception = format!("exceptionCode=\"{code}\" locator=\"{locator}\"");
    assert!(text.contains(&exception), "{exception}: {text}");
}

#[tokio::test]
async fn capabilities_and_descriptions_come_by_get_and_post() {
    let server = Server::start().await;
    let by_post = format!("<wps:GetCapabilities service=\"WPS\" {NAMESPACES}/>");
    for capabilities in [
        server.get("/wps?SERVICE=WPS&REQUEST=GetCapabilities&ACCEPTVERSIONS=2.0.0,1.0.0").await,
        server.get("/wps?service=WPS&request=GetCapabilities&version=2.0.0").await,
        post(&server, by_post).await,
    ] {
        let text = capabilities.text();
        assert_eq!(capabilities.status, 200, "{text}");
        assert!(text.contains("<wps:Capabilities xmlns:wps=\"http://www.opengis.net/wps/2.0\""), "{text}");
        assert!(text.contains("jobControlOptions=\"sync-execute async-execute dismiss\""), "{text}");
        assert!(text.contains("<ows:Operation name=\"Dismiss\">"), "{text}");
    }
    // Many clients of 1.0.0 name no version.
    let silent = server.get("/wps?service=WPS&request=GetCapabilities").await.text();
    assert!(silent.contains("<ows:ServiceTypeVersion>2.0.0<") && silent.contains("wps/1.0.0"), "{silent}");

    let describe = "/wps?service=WPS&version=2.0.0&request=DescribeProcess&identifier=";
    let by_post = format!(
        "<wps:DescribeProcess service=\"WPS\" version=\"2.0.0\" {NAMESPACES}><ows:Identifier>ALL</ows:Identifier></wps:DescribeProcess>"
    );
    for described in [server.get(&format!("{describe}ALL")).await, post(&server, by_post).await] {
        let text = described.text();
        for id in ["echo", "simplify_douglas_peucker", "org.n52.javaps.test.EchoProcess"] {
            assert!(text.contains(&format!("<ows:Identifier>{id}</ows:Identifier>")), "{id}: {text}");
        }
        assert!(text.contains(">string</ows:DataType>"), "{text}");
    }
    let unknown = server.get(&format!("{describe}a,echo,b")).await;
    check_refused(&unknown, 400, "NoSuchProcess", "a,b");
    let wrong = server.get("/wps?service=WMS&request=GetCapabilities&version=2.0.0").await;
    check_refused(&wrong, 400, "InvalidParameterValue", "service");
}

#[tokio::test]
async fn synchronous_answers_are_documents_or_data() {
    let server = Server::start().await;
    let document = post(&server, echo("sync", "document", "")).await;
    assert_eq!(document.status, 200, "{}", document.text());
    let text = document.text();
    assert!(text.contains("<wps:Result") && text.contains("<wps:ExpirationDate>"), "{text}");
    assert!(text.contains(">grüß</wps:LiteralValue>"), "{text}");

    let raw = post(&server, echo("sync", "raw", "")).await;
    assert!(raw.text().contains("<wps:LiteralValue ") && raw.text().contains(">grüß<"), "{}", raw.text());
    assert!(raw.content_type.starts_with("text/xml"), "{}", raw.content_type);
    let bare = post(&server, echo("sync", "raw", "mimeType=\"text/plain\"")).await;
    assert_eq!((bare.content_type.as_str(), bare.text().as_str()), ("text/plain; charset=utf-8", "grüß"));

    let inner = r#"<wps:Input id="complexInput"><wps:Data mimeType="text/xml"><a xmlns="urn:a">1</a></wps:Data></wps:Input>
        <wps:Input id="boundingBoxInput"><wps:Data><ows:BoundingBox><ows:LowerCorner>1 2</ows:LowerCorner>
        <ows:UpperCorner>3 4</ows:UpperCorner></ows:BoundingBox></wps:Data></wps:Input>
        <wps:Output id="complexOutput" mimeType="text/xml"/><wps:Output id="boundingBoxOutput"/>"#;
    let both = post(&server, execute("echo", "auto", "document", inner)).await;
    let text = both.text();
    assert!(text.contains("<a xmlns=\"urn:a\">1</a>"), "{text}");
    assert!(text.contains("<ows:LowerCorner>1 2</ows:LowerCorner>"), "{text}");

    let link = post(&server, echo("sync", "document", "transmission=\"reference\"")).await.text();
    let href = link.split("xlink:href=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(e2e::try_get(href).await.unwrap().text(), "grüß");
}

#[tokio::test]
async fn an_asynchronous_job_is_one_job_by_every_interface() {
    let server = Server::start().await;
    let accepted = post(&server, echo("async", "raw", "")).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let job = text_of(&accepted.text(), "wps:JobID");
    eventually("the job succeeds", DEADLINE, async || {
        let status = of_job_by_post(&server, "GetStatus", &job).await.text();
        (text_of(&status, "wps:Status") == "Succeeded").then_some(())
    })
    .await;
    let raw = of_job(&server, "GetResult", &job).await.text();
    assert!(raw.contains("<wps:LiteralValue ") && raw.contains(">grüß<"), "{raw}");
    assert_eq!(server.job(&job).await["status"], "successful");
    assert_eq!(server.get(&format!("/jobs/{job}/results")).await.text(), "grüß");

    let other = server.submit("echo", &json!({ "inputs": { "literalInput": "by OGC API" } })).await;
    server.job_in(&other, &["successful"], DEADLINE).await;
    let status = of_job(&server, "GetStatus", &other).await.text();
    assert_eq!(text_of(&status, "wps:Status"), "Succeeded");
    assert_eq!(text_of(&status, "wps:PercentCompleted"), "100");
    assert!(of_job_by_post(&server, "GetResult", &other).await.text().contains(">by OGC API<"));
}

#[tokio::test]
async fn jobs_that_end_at_once_are_answered_with_their_end() {
    let server = Server::with_config("[http]\nasync_grace_ms = 250").await;
    // A busy machine may need longer than the grace: what counts is that the answer does not come at once.
    eventually("an answer with the end", DEADLINE, async || {
        let answer = post(&server, echo("async", "document", "")).await.text();
        (text_of(&answer, "wps:Status") == "Succeeded").then_some(())
    })
    .await;
    let running = post(&server, sleep("auto")).await.text();
    assert!(["Accepted", "Running"].contains(&text_of(&running, "wps:Status").as_str()), "{running}");
    assert!(running.contains("<wps:NextPoll>"), "{running}");
    let job = text_of(&running, "wps:JobID");
    assert_eq!(server.delete(&format!("/jobs/{job}")).await.status, 200);
}

#[tokio::test]
async fn dismissed_jobs_end_and_are_no_jobs_any_more() {
    let server = Server::start().await;
    let running = post(&server, sleep("async")).await.text();
    let job = text_of(&running, "wps:JobID");
    check_refused(&of_job(&server, "GetResult", &job).await, 400, "ResultNotReady", "JobID");
    let dismissed = of_job(&server, "Dismiss", &job).await.text();
    assert_eq!(text_of(&dismissed, "wps:Status"), "Dismissed");
    assert_eq!(server.job(&job).await["status"], "dismissed");
    check_refused(&of_job(&server, "Dismiss", &job).await, 400, "NoSuchJob", "JobID");

    let done = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&done, &["successful"], DEADLINE).await;
    let removed = of_job_by_post(&server, "Dismiss", &done).await.text();
    assert_eq!(text_of(&removed, "wps:Status"), "Dismissed");
    for operation in ["GetStatus", "GetResult", "Dismiss"] {
        check_refused(&of_job(&server, operation, &done).await, 410, "NoSuchJob", "JobID");
    }
    check_refused(&of_job(&server, "GetStatus", "nonsense").await, 400, "NoSuchJob", "JobID");
}

#[tokio::test]
async fn every_fault_has_its_own_code() {
    let server = Server::start().await;
    let output = "<wps:Output id=\"literalOutput\"/>";
    let refused = async |process: &str, inner: &str, code: &str, locator: &str| {
        let reply = post(&server, execute(process, "sync", "document", inner)).await;
        check_refused(&reply, 400, code, locator);
    };
    refused("nothing", output, "NoSuchProcess", "nothing").await;
    refused("echo", &(literal("litteral", "x") + output), "NoSuchInput", "litteral").await;
    refused("echo", "<wps:Output id=\"o\"/>", "NoSuchOutput", "o").await;
    refused("echo", &(literal("pause", "1").repeat(2) + output), "TooManyInputs", "pause").await;
    refused("echo", &(literal("pause", "soon") + output), "WrongInputData", "pause").await;
    refused("echo", "<wps:Output id=\"complexOutput\" mimeType=\"a/b\"/>", "NoSuchFormat", "complexOutput")
        .await;
    refused("echo", "<wps:Output id=\"literalOutput\" mimeType=\"a/b\"/>", "NoSuchFormat", "literalOutput")
        .await;
    let nested = format!("<wps:Input id=\"group\">{}</wps:Input>{output}", literal("pause", "1"));
    refused("echo", &nested, "NoSuchInput", "group.pause").await;
    refused("simplify_douglas_peucker", "<wps:Output id=\"result\"/>", "MissingParameterValue", "data").await;
    refused("echo", "", "MissingParameterValue", "Output").await;
    let inner = format!(
        "<wps:Input id=\"data\"><wps:Reference xlink:href=\"{}\"/></wps:Input>{}<wps:Output id=\"result\"/>",
        server.url("/healthz"),
        literal("tolerance", "1")
    );
    refused("simplify_douglas_peucker", &inner, "DataNotAccessible", "data").await;
    let two = format!("{output}<wps:Output id=\"complexOutput\"/>");
    let raw = post(&server, execute("echo", "sync", "raw", &two)).await;
    check_refused(&raw, 400, "TooManyOutputs", "response");
    let by_get = server.get("/wps?service=WPS&version=2.0.0&request=Execute&identifier=echo").await;
    check_refused(&by_get, 501, "OperationNotSupported", "Execute");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// The request that is posted asks the same server, so that the answer shows what was posted.
#[tokio::test]
async fn references_with_a_body_are_posted() {
    let server = Server::with_config("[egress]\nallow = [\"127.0.0.0/8\"]").await;
    let url = server.url("/wps");
    let inner = execute(
        "echo",
        "sync",
        "raw",
        &format!("{}<wps:Output id=\"literalOutput\"/>", literal("literalInput", "posted")),
    );
    let request = inner.split_once("?>").unwrap().1;
    let echo_xml = |input: &str, transmission: &str| {
        let output = format!(
            "<wps:Output id=\"complexOutput\" mimeType=\"text/xml\" transmission=\"{transmission}\"/>"
        );
        execute(
            "echo",
            "sync",
            "document",
            &format!("<wps:Input id=\"complexInput\">{input}</wps:Input>{output}"),
        )
    };
    let reference = |body: &str| {
        format!("<wps:Reference xlink:href=\"{url}\" mimeType=\"text/xml\">{body}</wps:Reference>")
    };
    let body = reference(&format!("<wps:Body>{request}</wps:Body>"));
    let by_body = post(&server, echo_xml(&body, "value")).await.text();
    assert!(by_body.contains(">posted</wps:LiteralValue>"), "{by_body}");

    let data = format!("<wps:Data mimeType=\"text/xml\">{request}</wps:Data>");
    let stored = post(&server, echo_xml(&data, "reference")).await.text();
    let href = stored.split("xlink:href=\"").nth(1).unwrap().split('"').next().unwrap();
    let body = reference(&format!("<wps:BodyReference xlink:href=\"{href}\"/>"));
    let by_reference = post(&server, echo_xml(&body, "value")).await.text();
    assert!(by_reference.contains(">posted</wps:LiteralValue>"), "{by_reference}");
}

#[tokio::test]
async fn executables_have_groups_too() {
    let services = tempfile::tempdir().unwrap();
    let more = "[groups.window]\ntitle = \"Window\"\nneeds = [\"window.rows\"]\n\
        [inputs.\"window.rows\"]\ntype = \"integer\"\nmin_occurs = 0\n\
        [inputs.\"window.columns\"]\ntype = \"integer\"\nmin_occurs = 0\n";
    let file = script_service("Window", "echo \"$1 rows\"", more);
    let file = file.replace("[\"{text}\"]", "\"{window.rows}\", \"{window.columns}\", [\"{text}\"]");
    std::fs::write(services.path().join("window.toml"), file).unwrap();
    let server = Server::with_config(&format!("[services]\nfolder = {:?}", services.path())).await;
    let output = "<wps:Output id=\"said\"/>";
    let nested = |id, value| format!("<wps:Input id=\"window\">{}</wps:Input>{output}", literal(id, value));
    let answer = post(&server, execute("default:Window", "sync", "document", &nested("rows", "7"))).await;
    assert!(answer.text().contains("7 rows"), "{}", answer.text());
    let lacking = post(&server, execute("default:Window", "sync", "document", &nested("columns", "7"))).await;
    check_refused(&lacking, 400, "MissingParameterValue", "window.rows");
    // The other interfaces have the whole identifiers.
    let by_get = "/wps?service=WPS&version=1.0.0&request=Execute&identifier=default:Window&DataInputs=window.rows=8&RawDataOutput=said";
    assert_eq!(server.get(by_get).await.text().trim(), "8 rows");
    let by_api = json!({ "inputs": { "window.rows": 9 } });
    assert_eq!(server.execute("default:Window", &by_api).await.text().trim(), "9 rows");
}
