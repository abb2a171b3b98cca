//! OGC API - Processes and WPS 1.0.0 as clients meet them, and what clients get wrong.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Server, get_as};
use serde_json::json;

const LINES: &str = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"coordinates":[1]},
 "geometry":{"type":"LineString","coordinates":[[0,0],[1,0.001],[2,0],[3,5.50]]}}]}"#;

fn execute_wps(process: &str, inputs: &str, form: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
        xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
        <ows:Identifier>{process}</ows:Identifier><wps:DataInputs>{inputs}</wps:DataInputs>{form}</wps:Execute>"#
    )
}

fn literal(id: &str, value: &str) -> String {
    format!(
        "<wps:Input><ows:Identifier>{id}</ows:Identifier><wps:Data><wps:LiteralData>{value}</wps:LiteralData></wps:Data></wps:Input>"
    )
}

#[tokio::test]
async fn every_resource_is_there_as_json_and_html() {
    let server = Server::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let job = format!("/jobs/{job}");
    for path in ["/", "/conformance", "/api", "/processes", "/processes/echo", "/jobs", &job, "/console"] {
        let url = server.url(path);
        let json = get_as(&url, "application/json").await;
        assert_eq!(json.status, 200, "{path}");
        assert!(json.content_type.contains("json"), "{path}: {}", json.content_type);
        json.json();
        let html = get_as(&url, "text/html,*/*;q=0.8").await;
        assert_eq!(html.status, 200, "{path}");
        assert!(html.content_type.starts_with("text/html") && html.text().contains("<main>"), "{path}");
    }
    let landing = server.get("/").await.json();
    let links: Vec<_> =
        landing["links"].as_array().unwrap().iter().map(|l| l["rel"].as_str().unwrap().to_owned()).collect();
    for rel in [
        "service-desc",
        "http://www.opengis.net/def/rel/ogc/1.0/conformance",
        "http://www.opengis.net/def/rel/ogc/1.0/processes",
    ] {
        assert!(links.iter().any(|link| link == rel), "{rel} in {links:?}");
    }
    assert!(server.get("/nothing").await.json()["detail"].as_str().unwrap().contains("/nothing"));
}

#[tokio::test]
async fn one_job_is_seen_through_both_interfaces() {
    let server = Server::start().await;
    let raw = server.execute("echo", &json!({ "inputs": { "literalInput": "grüß & <you>" }, "outputs": { "literalOutput": {} }, "response": "raw" })).await;
    assert_eq!((raw.status, raw.text().as_str()), (200, "grüß & <you>"));

    let by_get = server.get("/wps?service=WPS&version=1.0.0&request=Execute&identifier=echo&DataInputs=literalInput=a%20b&RawDataOutput=literalOutput").await;
    assert_eq!((by_get.status, by_get.text().as_str()), (200, "a b"));

    let form = "<wps:ResponseForm><wps:ResponseDocument storeExecuteResponse=\"true\" status=\"true\"/></wps:ResponseForm>";
    let accepted =
        server.post("/wps", "text/xml", execute_wps("echo", &literal("literalInput", "by WPS"), form)).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let accepted = accepted.text();
    let location =
        accepted.split("statusLocation=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let job = location.rsplit('/').next().unwrap().to_owned();
    let status = server.job_in(&job, &["successful"], DEADLINE).await;
    assert_eq!(status["processID"], "echo");
    let results = server.get(&format!("/jobs/{job}/results")).await.json();
    assert_eq!(results["literalOutput"], "by WPS", "{results}");
    let stored = e2e::try_get(&location).await.unwrap().text();
    assert!(stored.contains("ProcessSucceeded") && stored.contains("by WPS"), "{stored}");

    let capabilities = server.get("/wps?SERVICE=WPS&REQUEST=GetCapabilities").await.text();
    assert!(capabilities.contains("simplify_douglas_peucker"));
    let described =
        server.get("/wps?service=WPS&version=1.0.0&request=DescribeProcess&identifier=echo").await.text();
    assert!(described.contains("ProcessDescription") && described.contains("literalInput"));
}

#[tokio::test]
async fn simplify_keeps_the_bytes_of_what_it_keeps() {
    let server = Server::start().await;
    let body = format!(
        r#"{{"inputs":{{"data":{{"value":{LINES}}},"tolerance":0.01}},"outputs":{{"result":{{}}}},"response":"raw"}}"#
    );
    let reply = server.post("/processes/simplify_douglas_peucker/execution", "application/json", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    assert!(text.contains("[3,5.50]") && !text.contains("0.001"), "{text}");
    assert_eq!(reply.json()["features"][0]["properties"]["coordinates"], json!([1]));
}

#[tokio::test]
async fn all_faults_of_a_request_come_in_one_answer() {
    let server = Server::start().await;
    let body = json!({ "inputs": { "tolerance": -1, "tolerence": 1 }, "outputs": { "reslt": {} } });
    let reply = server.execute("simplify_douglas_peucker", &body).await;
    assert_eq!(reply.status, 400);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    for part in ["'tolerence' is unknown", "'tolerance' must be", "'data' is required", "'reslt' is unknown"]
    {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let inputs = literal("tolerance", "x") + &literal("nothing", "1");
    let report = server.post("/wps", "text/xml", execute_wps("simplify_douglas_peucker", &inputs, "")).await;
    assert_eq!(report.status, 400);
    let report = report.text();
    for locator in ["locator=\"tolerance\"", "locator=\"nothing\"", "locator=\"data\""] {
        assert!(report.contains(locator), "{locator}: {report}");
    }
    let doubled = server.get("/wps?service=WPS&version=1.0.0&request=Execute&identifier=echo&DataInputs=doubleInput=1;doubleInput=2").await;
    assert!(doubled.status == 400 && doubled.text().contains("at most 1 value"), "{}", doubled.text());
}

#[tokio::test]
async fn unknown_things_are_named() {
    let server = Server::start().await;
    let process = server.execute("nothing", &json!({ "inputs": {} })).await;
    assert_eq!(process.status, 404);
    assert_eq!(
        process.json()["type"],
        "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"
    );
    let job = server.get("/jobs/00000000-0000-0000-0000-000000000000").await;
    assert_eq!(job.status, 404);
    assert_eq!(
        job.json()["type"],
        "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job"
    );
    let format = json!({ "inputs": { "data": { "value": { "type": "Point", "coordinates": [0, 0] } }, "tolerance": 1 },
                         "outputs": { "result": { "format": { "mediaType": "image/png" } } } });
    let format = server.execute("simplify_douglas_peucker", &format).await;
    assert!(format.status == 400 && format.text().contains("image/png"), "{}", format.text());
    let wps = server.get("/wps?service=WPS&version=1.0.0&request=Execute&identifier=nothing").await;
    assert!(
        wps.status >= 400 && wps.text().contains("InvalidParameterValue") && wps.text().contains("nothing"),
        "{}",
        wps.text()
    );
}

#[tokio::test]
async fn hostile_documents_are_refused_and_the_server_lives() {
    let server = Server::with_config("[http]\nbody_bytes_max = 1_000_000").await;
    let deep_xml = format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000));
    let dtd = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><wps:Execute xmlns:wps=\"http://www.opengis.net/wps/1.0.0\">&b;</wps:Execute>";
    let entity = execute_wps("echo", &literal("literalInput", "&nbsp;"), "");
    for (what, body) in [("10,000 levels", deep_xml), ("DTD", dtd.to_owned()), ("entity", entity)] {
        let reply = server.post("/wps", "text/xml", body).await;
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
        let text = reply.text();
        assert!(text.contains("ExceptionReport") && !text.contains("root:"), "{what}: {text}");
    }
    let deep_json =
        format!("{{\"inputs\":{{\"literalInput\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    let reply = server.post("/processes/echo/execution", "application/json", deep_json).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    for (path, content_type) in [("/processes/echo/execution", "application/json"), ("/wps", "text/xml")] {
        let reply = server.post(path, content_type, vec![b' '; 1_000_001]).await;
        assert_eq!(reply.status, 413, "{path}: {}", reply.text());
        assert!(reply.text().contains("1000000"), "the limit is named: {}", reply.text());
    }
    let reply = server.post("/processes/echo/execution", "text/plain", "x").await;
    assert_eq!(reply.status, 415);
    let alive = server.execute("echo", &json!({ "inputs": { "literalInput": "alive" } })).await;
    assert_eq!(alive.status, 200);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn references_open_no_internal_addresses() {
    let server = Server::start().await;
    let own = server.url("/healthz");
    for href in [
        own.as_str(),
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "http://[::1]/",
        "http://2130706433/",
    ] {
        let body = json!({ "inputs": { "data": { "href": href }, "tolerance": 1 } });
        let reply = server.execute("simplify_douglas_peucker", &body).await;
        assert!((400..=500).contains(&reply.status), "{href}: {}", reply.status);
        let text = reply.text();
        assert!(text.contains("'data'") && !text.contains("refused connection"), "{href}: {text}");
    }
}

#[tokio::test]
async fn dismissed_jobs_end_and_their_results_are_gone() {
    let server = Server::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x", "pause": 600 } })).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    let early = server.get(&format!("/jobs/{job}/results")).await;
    assert_eq!(early.status, 404);
    assert!(early.json()["type"].as_str().unwrap().ends_with("/result-not-ready"));
    let dismissed = server.delete(&format!("/jobs/{job}")).await;
    assert_eq!((dismissed.status, &dismissed.json()["status"]), (200, &json!("dismissed")));
    assert_eq!(server.get(&format!("/jobs/{job}/results")).await.status, 410);
    let done = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&done, &["successful"], DEADLINE).await;
    assert_eq!(server.delete(&format!("/jobs/{done}")).await.status, 200);
    assert_eq!(server.get(&format!("/jobs/{done}")).await.status, 410);
}

#[tokio::test]
async fn the_server_stops_in_order_and_jobs_are_still_there_after_kill() {
    let mut server = Server::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "kept" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let running = server.submit("echo", &json!({ "inputs": { "literalInput": "x", "pause": 600 } })).await;
    server.job_in(&running, &["running"], DEADLINE).await;
    server.kill().await;
    server.start_again().await;
    assert_eq!(server.get(&format!("/jobs/{job}/results")).await.text(), "kept");
    // echo is idempotent or not: either way the job must reach the truth, and never stay "running" for nobody.
    let state = server.job(&running).await;
    assert_ne!(state["status"], "successful", "{state}");
    server.delete(&format!("/jobs/{running}")).await;
    assert!(server.stop().await.success());
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}
