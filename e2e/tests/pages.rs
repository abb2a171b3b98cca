//! The pages as people without scripts meet them: links, forms, faults.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Reply, Server, get_as, post_as};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const FORM: &str = "application/x-www-form-urlencoded";

/// Every `href` of every link in a document.
fn hrefs(document: &Value, found: &mut BTreeSet<String>) {
    match document {
        Value::Object(members) => {
            let href = members.get("href").and_then(Value::as_str);
            found.extend(href.map(str::to_owned));
            members.values().for_each(|value| hrefs(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| hrefs(value, found)),
        _ => {}
    }
}

/// Where the `<a>` of a page lead.
fn anchors(page: &str) -> BTreeSet<String> {
    let tags = page.split("<a ").skip(1).map(|rest| rest.split('>').next().unwrap());
    let hrefs = tags.filter_map(|tag| tag.split("href=\"").nth(1)?.split('"').next());
    hrefs.map(|href| href.replace("&amp;", "&").replace("&#38;", "&")).collect()
}

/// A resource, whatever its representation.
fn resource(href: &str) -> String {
    let (path, query) = href.split_once('?').unwrap_or((href, ""));
    let kept: Vec<_> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("f=")).collect();
    format!("{path}?{}", kept.join("&"))
}

async fn send_form(server: &Server, process: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
    let url = server.url(&format!("/processes/{process}/execution"));
    let mut all = vec![("Content-Type", FORM), ("Accept", BROWSER)];
    all.extend(headers);
    post_as(&url, &all, body).await
}

/// The job whose page a form led to.
fn job_led_to(sent: &Reply) -> String {
    assert!(
        sent.status == 200 && sent.url.contains("/jobs/"),
        "{}: {} {}",
        sent.url,
        sent.status,
        sent.text()
    );
    sent.url.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_link_of_a_document_is_on_its_page() {
    let server = Server::start().await;
    let mut job = String::new();
    for text in ["x", "y", "z"] {
        job = server
            .submit("echo", &json!({ "inputs": { "literalInput": text }, "response": "document" }))
            .await;
        server.job_in(&job, &["successful"], DEADLINE).await;
    }
    let (job, results) = (format!("/jobs/{job}"), format!("/jobs/{job}/results"));
    let paths = [
        "/",
        "/conformance",
        "/processes",
        "/processes?limit=1",
        "/processes?limit=1&cursor=1",
        "/processes/echo",
        "/jobs",
        "/jobs?limit=1",
        "/jobs?limit=1&status=successful",
        "/jobs?type=other",
        &job,
        &results,
        "/api",
    ];
    for path in paths {
        let url = server.url(path);
        let document = get_as(&url, "application/json").await.json();
        let html = get_as(&url, BROWSER).await;
        assert_eq!(html.status, 200, "{path}");
        assert!(html.content_type.starts_with("text/html"), "{path}: {}", html.content_type);
        let mut wanted = BTreeSet::new();
        hrefs(&document, &mut wanted);
        let found: BTreeSet<_> = anchors(&html.text()).iter().map(|href| resource(href)).collect();
        for href in wanted {
            assert!(found.contains(&resource(&href)), "{path} has no link to {href}: {found:?}");
        }
    }
    let alternate = server.get(&format!("{results}?f=html")).await;
    assert!(alternate.text().contains("literalOutput") && alternate.text().contains(">z</pre>"));
    assert_eq!(server.get(&format!("{results}?f=xml")).await.status, 400);
}

#[tokio::test]
async fn links_of_pages_lead_somewhere() {
    let server = Server::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let mut seen = BTreeSet::new();
    let mut waiting = vec![server.url("/")];
    while let Some(url) = waiting.pop() {
        if !url.starts_with(&server.url("/")) || !seen.insert(resource(&url)) {
            continue;
        }
        let reply = get_as(&url, BROWSER).await;
        assert_eq!(reply.status, 200, "{url}: {}", reply.text());
        assert!(
            !url.ends_with("/execution") || reply.url.contains("/processes/"),
            "{url} leads to {}",
            reply.url
        );
        if reply.content_type.starts_with("text/html") {
            waiting.extend(
                anchors(&reply.text()).into_iter().map(|href| href.split('#').next().unwrap().to_owned()),
            );
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[tokio::test]
async fn a_form_without_scripts_leads_to_a_finished_job() {
    let server = Server::start().await;
    let page = get_as(&server.url("/processes/echo"), BROWSER).await.text();
    for part in [
        "method=\"post\"",
        "enctype=\"multipart/form-data\"",
        "name=\"value:literalInput\" type=\"text\"",
        "type=\"number\" value=\"\" min=\"0\" max=\"3600\" step=\"any\"",
        "<option value=\"8\">8</option>",
        "type=\"datetime-local\"",
        "name=\"minx:boundingBoxInput\"",
        "type=\"file\"",
        "<textarea",
        "name=\"more:arrayInput\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let ids: Vec<_> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids come once");
    for label in page.split(" for=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.contains(&label), "{label} labels nothing");
    }

    let body = "value:literalInput=gr%C3%BC%C3%9F+%3Cdich%3E&value:doubleInput=&value:arrayInput=1&value:arrayInput=2.5\
                &minx:boundingBoxInput=1&miny:boundingBoxInput=2&maxx:boundingBoxInput=3&maxy:boundingBoxInput=4\
                &crs:boundingBoxInput=EPSG%3A4326&value:pause=0";
    let sent = send_form(&server, "echo", body, &[("Sec-Fetch-Site", "same-origin")]).await;
    let job = job_led_to(&sent);
    server.job_in(&job, &["successful"], DEADLINE).await;
    let results = get_as(&server.url(&format!("/jobs/{job}/results")), "application/json").await.json();
    assert_eq!(results["literalOutput"], "grüß <dich>");
    assert_eq!(results["arrayOutput"]["value"], json!([1, 2.5]));
    assert_eq!(results["boundingBoxOutput"]["bbox"], json!([1.0, 2.0, 3.0, 4.0]));
    let page = get_as(&server.url(&format!("/jobs/{job}/results")), BROWSER).await.text();
    assert!(page.contains("grüß &#60;dich&#62;"), "{page}");
}

#[tokio::test]
async fn files_are_sent_by_forms() {
    let server = Server::start().await;
    let line = r#"{"type":"LineString","coordinates":[[0,0],[1,0.001],[2,0]]}"#;
    let part = |name: &str, more: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    };
    let body = part("value:data", "", "")
        + &part("file:data", "; filename=\"line.json\"\r\nContent-Type: application/octet-stream", line)
        + &part("link:data", "", "")
        + &part("value:tolerance", "", "0.01")
        + "--b--\r\n";
    let url = server.url("/processes/simplify_douglas_peucker/execution");
    let headers = [("Content-Type", "multipart/form-data; boundary=b"), ("Accept", BROWSER)];
    let sent = post_as(&url, &headers, body.as_str()).await;
    let job = job_led_to(&sent);
    server.job_in(&job, &["successful"], DEADLINE).await;
    let result = server.get(&format!("/jobs/{job}/results/result")).await.text();
    assert!(result.contains("[2,0]") && !result.contains("0.001"), "{result}");

    let broken = post_as(&url, &headers, "--b\r\nhalf").await;
    assert_eq!(broken.status, 400, "{}", broken.text());
}

#[tokio::test]
async fn faults_stand_at_their_fields_and_nothing_typed_is_lost() {
    let server = Server::start().await;
    let body = "value:data=%3Cscript%3E&value:tolerance=-1&value:nothing=2";
    let reply = send_form(&server, "simplify_douglas_peucker", body, &[]).await;
    assert_eq!(reply.status, 400);
    let unknown = reply.text();
    assert!(unknown.contains("value:nothing") && unknown.contains("role=\"alert\""), "{unknown}");

    let reply = send_form(&server, "simplify_douglas_peucker", "value:data=&value:tolerance=-1.5", &[]).await;
    assert_eq!(reply.status, 400);
    let page = reply.text();
    let tolerance = page.split("<fieldset").find(|field| field.contains("value:tolerance")).unwrap();
    assert!(tolerance.contains("class=\"faulty\"") && tolerance.contains("must be"), "{tolerance}");
    assert!(tolerance.contains("value=\"-1.5\""), "{tolerance}");
    let data = page.split("<fieldset").find(|field| field.contains("value:data")).unwrap();
    assert!(data.contains("is required"), "{data}");
    assert!(unknown.contains("&#60;script&#62;") && !unknown.contains("<script>"), "typed text is escaped");

    let more = send_form(&server, "echo", "value:arrayInput=7&more:arrayInput=1", &[]).await;
    let page = more.text();
    assert_eq!((more.status, page.matches("name=\"value:arrayInput\"").count()), (200, 2), "{page}");
    assert!(page.contains("value=\"7\""));
    assert!(server.get("/jobs").await.json()["jobs"].as_array().unwrap().is_empty());

    let unanswered = post_as(&server.url("/processes/echo/execution"), &[("Content-Type", FORM)], "{}").await;
    assert_eq!(unanswered.status, 415, "JSON that was called a form: {}", unanswered.text());
}

#[tokio::test]
async fn pages_of_other_sites_start_and_end_nothing() {
    let server = Server::with_config("[http]\nbody_bytes_max = 100_000").await;
    let body = "value:literalInput=x";
    for headers in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
    ] {
        assert_eq!(send_form(&server, "echo", body, &[headers]).await.status, 403, "{headers:?}");
    }
    assert!(server.get("/jobs").await.json()["jobs"].as_array().unwrap().is_empty());
    let headers = [("Content-Type", "application/json"), ("Origin", "https://other.example")];
    let json =
        post_as(&server.url("/processes/echo/execution"), &headers, "{\"inputs\":{\"literalInput\":\"x\"}}")
            .await;
    assert!(json.status < 300, "programs in pages send JSON: {}", json.text());

    let job = server.submit("echo", &json!({ "inputs": { "pause": 600 } })).await;
    let dismiss = server.url(&format!("/jobs/{job}/dismiss"));
    assert_eq!(post_as(&dismiss, &[("Origin", "https://evil.example")], "").await.status, 403);
    let ended = post_as(&dismiss, &[("Content-Type", FORM)], "").await;
    assert_eq!(job_led_to(&ended), job);
    server.job_in(&job, &["dismissed"], DEADLINE).await;
    assert_eq!(job_led_to(&post_as(&dismiss, &[("Content-Type", FORM)], "").await), job);
    assert_eq!(server.job(&job).await["status"], "dismissed", "a second press removes nothing");

    let large = format!("value:literalInput={}", "x".repeat(100_001));
    let refused = send_form(&server, "echo", &large, &[]).await;
    assert!(refused.status == 413 && refused.text().contains("100000"), "{}", refused.text());
}
