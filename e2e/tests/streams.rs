//! Streams as their clients meet them: a client of 2012, browsers, programs that read features while they come. Names of tests begin with
//! what they show of the list of features of Streaming based WPS.

#![allow(clippy::unwrap_used)]

use e2e::producer::Producer;
use e2e::{DEADLINE, Opened, Reply, Server, binary, command, eventually, get_with, try_get};
use serde_json::{Value, json};
use std::time::Duration;

const FULL: &str = "FullStreamingSimplifyDouglasPeucker";
const CUT: &str = "OutputStreamingSimplifyDouglasPeucker";
const GML: &str = "text/xml; subtype=gml/2.1.2";

/// A server that follows the producer. `early` processes succeed when their streams are open.
async fn server(producer: &Producer, early: &[&str]) -> Server {
    let allow = producer.address;
    Server::with_config(&format!(
        "[egress]\nallow = [\"{allow}\"]\n[streaming]\npoll_ms = 50\nearly_success = {early:?}\n"
    ))
    .await
}

fn wps(producer: &Producer, form: &str, output: &str) -> String {
    let href = producer.url();
    format!(
        r#"<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
<ows:Identifier>{FULL}</ows:Identifier><wps:DataInputs>
<wps:Input><ows:Identifier>data</ows:Identifier><wps:Reference xlink:href="{href}" mimeType="application/x-ogc-playlist+application/geo+json"/></wps:Input>
<wps:Input><ows:Identifier>tolerance</ows:Identifier><wps:Data><wps:LiteralData>0.1</wps:LiteralData></wps:Data></wps:Input>
</wps:DataInputs><wps:ResponseForm>{}</wps:ResponseForm></wps:Execute>"#,
        if form == "raw" {
            format!(
                r#"<wps:RawDataOutput mimeType="application/x-ogc-playlist+{GML}"><ows:Identifier>result</ows:Identifier></wps:RawDataOutput>"#
            )
        } else {
            format!(
                r#"<wps:ResponseDocument {form}><wps:Output {output} mimeType="application/x-ogc-playlist+{GML}"><ows:Identifier>result</ows:Identifier></wps:Output></wps:ResponseDocument>"#
            )
        }
    )
}

fn ogcapi(producer: &Producer) -> Value {
    let mut body = json!({
        "inputs": {
            "data": { "href": producer.url(), "type": "application/x-ogc-playlist+application/geo+json" },
            "tolerance": 0.1,
        },
        "outputs": { "result": { "format": { "mediaType": "application/x-ogc-playlist+application/geo+json" } } },
    });
    body["response"] = json!("document");
    body
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before:?} in {text}")) + before.len();
    &text[start..start + text[start..].find(after).unwrap()]
}

/// The address of an output by reference.
fn href(document: &str) -> String {
    let reference = between(document, "<wps:Reference", ">");
    between(reference, "href=\"", "\"").replace("&amp;", "&")
}

async fn chunks_of(server: &Server, job: &str, count: usize) {
    eventually(&format!("{count} chunks"), DEADLINE, async || {
        let playlist = server.get(&format!("/jobs/{job}/results/result/playlist")).await.json();
        (playlist["chunks"].as_array()?.len() >= count).then_some(())
    })
    .await;
}

fn job_of(address: &str) -> &str {
    &address[address.find("playlist").unwrap() + "playlist".len()..]
}

/// The client of QGIS, as it was in 2012: it looks again and again, reads only when the body is longer than before, and then only what is
/// new; any line with `#` is a comment; it stops at a blank line.
#[derive(Default)]
struct Client2012 {
    length: usize,
    bodies: Vec<String>,
    chunks: Vec<String>,
    exception: Option<String>,
    is_ended: bool,
}

impl Client2012 {
    async fn look(&mut self, url: &str) {
        let reply = try_get(url).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.text();
        if body.len() > self.length {
            let new = &body[self.length..];
            self.length = body.len();
            for line in new.split('\n').take_while(|line| !line.is_empty()) {
                if !line.contains('#') {
                    self.chunks.push(line.to_owned());
                } else if line.contains("#PLAYLIST-END") {
                    self.is_ended = true;
                } else if line.contains("#EXCEPTION") {
                    self.exception = Some(line.split_once(':').unwrap().1.trim().to_owned());
                }
            }
            self.bodies.push(body);
        }
    }

    /// Follows a playlist to its end, and fetches every chunk.
    async fn follow(url: String, media_type: String) -> Self {
        let parts: Vec<_> = media_type.split('+').collect();
        assert_eq!(parts.len(), 2, "exactly two parts: {media_type}");
        let mut client = Self::default();
        let end = std::time::Instant::now() + DEADLINE;
        while !client.is_ended {
            client.look(&url).await;
            assert!(std::time::Instant::now() < end, "the playlist has no end: {:?}", client.bodies);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (shorter, longer) in client.bodies.iter().zip(&client.bodies[1..]) {
            assert!(longer.starts_with(shorter.as_str()), "{shorter:?} is not the beginning of {longer:?}");
        }
        for chunk in &client.chunks {
            let reply = try_get(chunk).await.unwrap();
            assert_eq!((reply.status, reply.content_type.as_str()), (200, parts[1]), "{chunk}");
            assert!(reply.text().contains("featureMember"), "{}", reply.text());
        }
        client
    }
}

#[tokio::test]
async fn ex_01_pl_05_pl_06_qg_01_a_client_of_2012_follows_a_stream_under_load() {
    const CHUNKS: usize = 12;
    let producer = Producer::start().await;
    let server = server(&producer, &[FULL]).await;
    let reply = server.post("/wps", "text/xml", wps(&producer, "", r#"asReference="true""#)).await;
    let document = reply.text();
    // The producer has not even begun.
    assert!(document.contains("ProcessSucceeded") && document.contains("<wps:Reference"), "{document}");
    let (url, media_type) = (href(&document), between(&document, "mimeType=\"", "\"").to_owned());
    assert!(url.contains("/wps/RetrieveResultServlet?id=playlist"), "{url}");
    assert_eq!(try_get(&url).await.unwrap().text(), "#SPATIAL-DATA-PLAYLIST\n");

    let clients: Vec<_> =
        (0..8).map(|_| tokio::spawn(Client2012::follow(url.clone(), media_type.clone()))).collect();
    let echo =
        json!({ "inputs": { "literalInput": "x" }, "outputs": { "literalOutput": {} }, "response": "raw" });
    for n in 1..=CHUNKS {
        producer.add();
        // Others work on meanwhile.
        for _ in 0..5 {
            assert_eq!(server.execute("echo", &echo).await.status, 200);
        }
        chunks_of(&server, job_of(&url), n).await;
    }
    producer.end();
    for client in clients {
        let client = client.await.unwrap();
        assert_eq!((client.chunks.len(), client.exception), (CHUNKS, None));
        assert!(client.bodies.len() > 2, "it has seen the playlist grow: {:?}", client.bodies);
        let whole = client.bodies.last().unwrap();
        assert!(whole.starts_with("#SPATIAL-DATA-PLAYLIST\nhttp") && whole.ends_with("\n#PLAYLIST-END\n"));
        assert!(!whole.contains("\n\n") && whole.matches("#PLAYLIST-END").count() == 1);
    }
    let last =
        try_get(&format!("{}_chunk{CHUNKS}", url.replace("id=playlist", "id=dirplaylist"))).await.unwrap();
    assert!(
        last.text().contains(&format!("<a:n>{CHUNKS}</a:n>")),
        "in the order of the input: {}",
        last.text()
    );
}

#[tokio::test]
async fn ex_02_ex_05_inline_is_the_address_and_raw_is_the_playlist() {
    let producer = Producer::start().await;
    let server = server(&producer, &[FULL]).await;
    producer.add();
    producer.end();
    let document = server.post("/wps", "text/xml", wps(&producer, "", "")).await.text();
    let address = between(&document, "<wps:ComplexData", "</wps:ComplexData>");
    let address = address.split_once('>').unwrap().1.replace("&amp;", "&");
    assert!(
        address.trim().starts_with("http://") && address.contains("RetrieveResultServlet?id=playlist"),
        "{document}"
    );
    Client2012::follow(address.trim().to_owned(), format!("application/x-ogc-playlist+{GML}")).await;
    let raw = server.post("/wps", "text/xml", wps(&producer, "raw", "")).await;
    assert_eq!((raw.status, raw.content_type.as_str()), (200, "application/x-ogc-playlist"));
    assert!(raw.text().starts_with("#SPATIAL-DATA-PLAYLIST\n"), "{}", raw.text());
}

#[tokio::test]
async fn ex_03_a_stored_response_says_succeeded_once_the_stream_is_open() {
    let producer = Producer::start().await;
    let server = server(&producer, &[FULL]).await;
    let form = r#"storeExecuteResponse="true" status="true""#;
    let accepted =
        server.post("/wps", "text/xml", wps(&producer, form, r#"asReference="true""#)).await.text();
    let location = between(&accepted, "statusLocation=\"", "\"").to_owned();
    let document = eventually("succeeded while the stream is open", DEADLINE, async || {
        let text = try_get(&location).await.unwrap().text();
        text.contains("ProcessSucceeded").then_some(text)
    })
    .await;
    let url = href(&document);
    assert_eq!(try_get(&url).await.unwrap().text(), "#SPATIAL-DATA-PLAYLIST\n");
    // By the other interfaces it goes on, and says where the playlist is.
    let job = server.job(job_of(&url)).await;
    assert_eq!(job["status"], "running");
    producer.fail();
    let client = Client2012::follow(url.clone(), format!("application/x-ogc-playlist+{GML}")).await;
    let report = try_get(&client.exception.unwrap()).await.unwrap();
    assert!(
        report.content_type.starts_with("text/xml") && report.text().contains("the sensor is on fire"),
        "{}",
        report.text()
    );
    // What it said once stays said, as in 2012.
    assert!(try_get(&location).await.unwrap().text().contains("ProcessSucceeded"));
}

#[tokio::test]
async fn ex_04_pl_04_a_failure_in_the_middle_keeps_what_was_there() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    producer.add();
    chunks_of(&server, &job, 1).await;
    producer.fail();
    server.job_in(&job, &["failed"], DEADLINE).await;
    let playlist = server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}")).await.text();
    let lines: Vec<_> = playlist.lines().collect();
    let [header, chunk, exception, end] = lines.as_slice() else { panic!("{playlist}") };
    assert_eq!((*header, *end), ("#SPATIAL-DATA-PLAYLIST", "#PLAYLIST-END"));
    let exception = exception.strip_prefix("#EXCEPTION:").unwrap();
    assert!(try_get(exception).await.unwrap().text().contains("the sensor is on fire"));
    assert_eq!(try_get(chunk).await.unwrap().status, 200);
    // Nothing comes after the end.
    producer.add();
    assert_eq!(server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}")).await.text(), playlist);
    let status = server.get(&format!("/wps/status/{job}")).await.text();
    assert!(status.contains("ProcessFailed") && status.contains("the sensor is on fire"), "{status}");
}

#[tokio::test]
async fn ex_06_other_processes_succeed_when_they_have_succeeded() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    let status = server.get(&format!("/wps/status/{job}")).await;
    assert!(status.text().contains("ProcessStarted") && status.text().contains("percentCompleted"));
    let link = status.header("link").unwrap();
    let playlist = between(link, "<", ">").to_owned();
    assert!(link.contains("application/x-ogc-playlist"), "{link}");
    assert_eq!(try_get(&playlist).await.unwrap().text(), "#SPATIAL-DATA-PLAYLIST\n");
    let links = server.job(&job).await["links"].to_string();
    assert!(links.contains(&format!("/jobs/{job}/results/result/playlist")), "{links}");
    // The bare output of a stream that goes on is what there is of it.
    assert_eq!(server.get(&format!("/jobs/{job}/results/result")).await.text(), "#SPATIAL-DATA-PLAYLIST\n");
    producer.add();
    producer.end();
    server.job_in(&job, &["successful"], DEADLINE).await;
    assert!(server.get(&format!("/wps/status/{job}")).await.text().contains("ProcessSucceeded"));
    let results = server.get(&format!("/jobs/{job}/results")).await.json();
    assert_eq!(results["result"]["type"], "application/x-ogc-playlist+application/geo+json");
    let body = try_get(results["result"]["href"].as_str().unwrap()).await.unwrap().text();
    assert!(body.ends_with("/chunks/1\n#PLAYLIST-END\n"), "{body}");
}

#[tokio::test]
async fn pl_10_an_empty_stream_is_a_header_and_an_end() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    producer.end();
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let playlist = server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}")).await.text();
    assert_eq!(playlist, "#SPATIAL-DATA-PLAYLIST\n#PLAYLIST-END\n");
    let results = server.get(&format!("/jobs/{job}/results")).await.json();
    assert!(results["result"]["href"].as_str().unwrap().contains("playlist"), "{results}");
    let lines = server.get(&format!("/jobs/{job}/results/result/playlist?f=ndjson")).await.text();
    assert_eq!(lines, "{\"type\":\"stream-end\",\"features\":0}\n");
}

#[tokio::test]
async fn rs_03_a_dismissed_stream_ends_with_an_exception() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    producer.add();
    chunks_of(&server, &job, 1).await;
    server.delete(&format!("/jobs/{job}")).await;
    server.job_in(&job, &["dismissed"], DEADLINE).await;
    let playlist = server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}")).await.text();
    assert!(
        playlist.contains("_chunk1\n#EXCEPTION:") && playlist.ends_with("\n#PLAYLIST-END\n"),
        "{playlist}"
    );
    let report = server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}exception")).await;
    assert!(report.status == 200 && report.text().contains("dismissed"), "{}", report.text());
}

#[tokio::test]
async fn st_03_whatever_names_nothing_is_told_and_never_an_error_of_ours() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    for path in ["/wps/RetrieveResultServlet", "/RetrieveResultServlet"] {
        for query in ["", "?", "?id", "?id=", "?x=1"] {
            let reply = server.get(&format!("{path}{query}")).await;
            assert!(
                reply.status == 400 && reply.text().contains("MissingParameterValue"),
                "{query}: {}",
                reply.text()
            );
        }
    }
    let nobody = "00000000-0000-4000-8000-000000000000";
    for id in [
        "x",
        "playlist",
        "playlist1349368020000",
        "dirplaylist_chunk",
        "..%2F..%2Fetc%2Fpasswd",
        "dirplaylist..%2F..%2Fx_chunk1",
        "%00",
        "%FF%FE",
        "%C3%A4",
        &"x".repeat(5000),
        &format!("playlist{nobody}"),
        &format!("playlist{nobody}exception"),
        &format!("dirplaylist{nobody}_chunk1"),
        &format!("playlist{job}exception"),
        &format!("dirplaylist{job}_chunk1"),
        &format!("dirplaylist{job}_chunk0"),
        &format!("dirplaylist{job}_chunk-1"),
        &format!("dirplaylist{job}_chunk18446744073709551615"),
        &format!("dirplaylist{job}_chunk18446744073709551616"),
    ] {
        let reply = server.get(&format!("/wps/RetrieveResultServlet?id={id}")).await;
        assert_eq!(reply.status, 404, "{id}: {}", reply.text());
        assert!(reply.content_type.starts_with("text/xml") && reply.text().contains("ExceptionReport"));
    }
    for path in ["playlist?f=xml", "playlist?after=x", "playlist?wait=1000"] {
        assert_eq!(server.get(&format!("/jobs/{job}/results/result/{path}")).await.status, 400, "{path}");
    }
    for path in ["other/playlist", "other/chunks/1", "result/chunks/0", "result/chunks/x", "result/chunks/1"]
    {
        assert_eq!(server.get(&format!("/jobs/{job}/results/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn st_04_what_is_fixed_may_be_kept_and_what_grows_is_asked_for_again() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    let playlist = server.url(&format!("/jobs/{job}/results/result/playlist?f=m3u8"));
    let again =
        async |known: &Reply| get_with(&playlist, &[("If-None-Match", known.header("etag").unwrap())]).await;
    let open = try_get(&playlist).await.unwrap();
    assert_eq!(open.header("cache-control"), Some("no-cache"));
    assert_eq!(again(&open).await.status, 304);
    producer.add();
    chunks_of(&server, &job, 1).await;
    let longer = again(&open).await;
    assert_eq!(longer.status, 200);
    // A chunk of a stream is fixed as soon as it is there.
    let url = server.url(&format!("/jobs/{job}/results/result/chunks/1"));
    let chunk = try_get(&url).await.unwrap();
    assert!(
        chunk.content_type == "application/geo+json"
            && chunk.header("cache-control").unwrap().contains("immutable")
    );
    assert_eq!(get_with(&url, &[("If-None-Match", chunk.header("etag").unwrap())]).await.status, 304);
    let part = get_with(&url, &[("Range", "bytes=0-6")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &chunk.body[..7]));
    producer.end();
    server.job_in(&job, &["successful"], DEADLINE).await;
    let closed = again(&longer).await;
    assert_eq!((closed.status, again(&closed).await.status), (200, 304));
    assert!(closed.header("cache-control").unwrap().contains("immutable"));
}

#[tokio::test]
async fn st_06_a_server_that_was_killed_goes_on_where_it_was() {
    let producer = Producer::start().await;
    let mut server = server(&producer, &[FULL]).await;
    let document = server.post("/wps", "text/xml", wps(&producer, "", r#"asReference="true""#)).await.text();
    let url = href(&document);
    for n in 1..=3 {
        producer.add();
        chunks_of(&server, job_of(&url), n).await;
    }
    let before = try_get(&url).await.unwrap().text();
    server.kill().await;
    producer.add();
    server.start_again().await;
    producer.add();
    producer.end();
    let client = Client2012::follow(url.clone(), format!("application/x-ogc-playlist+{GML}")).await;
    assert_eq!((client.chunks.len(), client.exception), (5, None));
    assert!(client.bodies.last().unwrap().starts_with(&before), "what was shown stays: {before}");
    let last = try_get(&client.chunks[4]).await.unwrap().text();
    assert!(last.contains("<a:n>5</a:n>"), "none twice, none left out: {last}");
}

#[tokio::test]
async fn mo_01_m3u8_is_read_by_both_kinds_of_readers() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    (0..2).for_each(|_| producer.add());
    producer.end();
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let reply = server.get(&format!("/jobs/{job}/results/result/playlist?f=m3u8")).await;
    assert_eq!(reply.content_type, "application/vnd.apple.mpegurl");
    let text = reply.text();
    assert!(
        text.starts_with("#EXTM3U\n") && text.contains("\n#EXT-X-ENDLIST\n") && !text.contains("\n\n"),
        "{text}"
    );
    // RFC 8216: every segment has its #EXTINF.
    assert_eq!(text.matches("#EXTINF:").count(), 2);
    let mut old = Client2012::default();
    old.look(&reply.url).await;
    assert!(old.chunks.len() == 2 && old.is_ended, "{text}");
}

#[tokio::test]
async fn mo_02_mo_04_json_has_pages_and_a_blocking_reload() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    let playlist = server.url(&format!("/jobs/{job}/results/result/playlist"));
    let open = try_get(&playlist).await.unwrap().json();
    assert_eq!((&open["chunks"], &open["end"]), (&json!([]), &json!(false)));
    let waiting = tokio::spawn({
        let url = format!("{playlist}?after=0&wait=30");
        async move { try_get(&url).await.unwrap().json() }
    });
    producer.add();
    let first = tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("as soon as it is there")
        .unwrap();
    assert_eq!((first["chunks"].as_array().unwrap().len(), &first["mediaSequence"]), (1, &json!(1)));
    producer.add();
    let rest = try_get(&format!("{playlist}?after=1&wait=30")).await.unwrap().json();
    assert_eq!((&rest["chunks"][0]["seq"], &rest["mediaSequence"]), (&json!(2), &json!(2)));
    // Nothing comes: the wait ends by itself.
    let nothing = try_get(&format!("{playlist}?after=2&wait=1")).await.unwrap().json();
    assert_eq!((&nothing["chunks"], &nothing["end"]), (&json!([]), &json!(false)));
    producer.end();
    server.job_in(&job, &["successful"], DEADLINE).await;
    let end = try_get(&format!("{playlist}?after=2&wait=30")).await.unwrap().json();
    assert_eq!(
        (&end["end"], &end["expected"], &end["status"]),
        (&json!(true), &json!(2), &json!("successful"))
    );
}

#[tokio::test]
async fn mo_03_events_come_at_once_and_go_on_after_the_last_one_known() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    let url = server.url(&format!("/jobs/{job}/results/result/playlist"));
    let mut events = Opened::get(&url, "Accept: text/event-stream\r\n").await;
    assert!(events.until("retry: 1000").await);
    producer.add();
    assert!(events.until("id: 1\nevent: chunk").await);
    // The connection breaks, chunks come, the client comes again.
    drop(events);
    (0..2).for_each(|_| producer.add());
    chunks_of(&server, &job, 3).await;
    let mut events = Opened::get(&url, "Accept: text/event-stream\r\nLast-Event-ID: 1\r\n").await;
    assert!(events.until("id: 3\nevent: chunk").await);
    assert!(events.seen.contains("id: 2\n") && !events.seen.contains("id: 1\n"), "{}", events.seen);
    producer.end();
    assert!(events.until("event: end\ndata: {\"chunks\":3}").await);
    assert!(!events.until("never").await, "the answer ends with the stream");
    let all = get_with(&format!("{url}?f=sse"), &[("Last-Event-ID", "4")]).await;
    assert_eq!(all.status, 204, "who has the end need not come again");
}

#[tokio::test]
async fn mo_05_features_come_in_one_response_with_the_error_as_its_last_record() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    let url = server.url(&format!("/jobs/{job}/results/result/playlist?f=ndjson"));
    let mut lines = Opened::get(&url, "").await;
    producer.add();
    assert!(lines.until("\"id\":\"f1\"").await);
    producer.add();
    assert!(lines.until("\"id\":\"f2\"").await);
    producer.fail();
    assert!(lines.until("\"type\":\"stream-error\"").await);
    assert!(
        lines.seen.contains("the sensor is on fire") && lines.seen.contains("\"features\":2"),
        "{}",
        lines.seen
    );
    let sequence = server.get(&format!("/jobs/{job}/results/result/playlist?f=geojsonseq")).await;
    assert_eq!(sequence.content_type, "application/geo+json-seq");
    assert_eq!(sequence.body.iter().filter(|byte| **byte == 0x1e).count(), 3);
}

#[tokio::test]
async fn every_output_of_a_batch_is_a_log_of_length_one() {
    let server = Server::start().await;
    let feature = json!({ "type": "Feature", "properties": {}, "geometry": { "type": "Point", "coordinates": [1, 2] } });
    let job = server
        .submit(
            "simplify_douglas_peucker",
            &json!({ "inputs": { "data": { "value": feature }, "tolerance": 1 }, "response": "document" }),
        )
        .await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let outputs = server.get(&format!("/jobs/{job}/results")).await.json();
    let output = outputs.as_object().unwrap().keys().next().unwrap().clone();
    let playlist = server.get(&format!("/jobs/{job}/results/{output}/playlist")).await.json();
    assert_eq!((&playlist["expected"], &playlist["end"]), (&json!(1), &json!(true)));
    let chunk = try_get(playlist["chunks"][0]["href"].as_str().unwrap()).await.unwrap().json();
    assert_eq!(chunk["geometry"]["coordinates"], json!([1, 2]));
    let servlet = server.get(&format!("/RetrieveResultServlet?id=playlist{job}")).await.text();
    assert!(servlet.ends_with("_chunk1\n#PLAYLIST-END\n"), "{servlet}");
}

#[tokio::test]
async fn rs_02_readers_that_do_not_read_keep_nobody_else_from_reading() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    let playlist = |form: &str| server.url(&format!("/jobs/{job}/results/result/playlist?f={form}"));
    let mut asleep = Vec::new();
    for n in 0..150 {
        asleep.push(Opened::get(&playlist(if n % 2 == 0 { "sse" } else { "ndjson" }), "").await);
    }
    for n in 1..=20 {
        producer.add();
        chunks_of(&server, &job, n).await;
    }
    let mut awake = Opened::get(&playlist("ndjson"), "").await;
    assert!(awake.until("\"id\":\"f20\"").await);
    drop(asleep);
    producer.end();
    assert!(awake.until("\"type\":\"stream-end\",\"features\":20").await);
}

#[tokio::test]
async fn os_01_a_cut_input_comes_out_in_order() {
    let server = Server::start().await;
    let line = |n: u32| json!({ "type": "Feature", "id": n, "properties": { "n": n }, "geometry": { "type": "LineString", "coordinates": [[0, n], [1, n]] } });
    let features: Vec<_> = (0..50).map(line).collect();
    let body = json!({ "inputs": {
        "data": { "value": { "type": "FeatureCollection", "features": features } }, "tolerance": 0, "NumberOfChunks": 7 } });
    let job = server.submit(CUT, &body).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let lines = server.get(&format!("/jobs/{job}/results/result/playlist?f=ndjson")).await.text();
    let numbers: Vec<u64> = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["properties"]["n"].as_u64())
        .collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert!(lines.ends_with("{\"type\":\"stream-end\",\"features\":50}\n"));
    let playlist = server.get(&format!("/jobs/{job}/results/result/playlist")).await.json();
    assert_eq!(playlist["chunks"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn run_saves_a_stream_while_it_comes() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |process: &str, input: &str, file: &str| {
        let mut run = command(binary());
        run.args(["run", process, "-i", input, "-i", "tolerance=0.1", "-o", &format!("result={file}")])
            .args(["--server", &server.url("/")])
            .current_dir(folder.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        run
    };
    let input = format!("data={}", producer.url());
    let running = run(FULL, &input, "features.geojsonl").args(["--by-reference", "data"]).spawn().unwrap();
    producer.add();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    eventually("the first feature", DEADLINE, async || {
        read("features.geojsonl").contains("\"f1\"").then_some(())
    })
    .await;
    producer.add();
    producer.end();
    let ended = tokio::time::timeout(DEADLINE, running.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && said.contains("2 features in features.geojsonl"), "{said}");
    let saved = read("features.geojsonl");
    assert!(
        saved.lines().count() == 2 && saved.lines().all(|line| line.contains("\"type\":\"Feature\"")),
        "{saved}"
    );

    // A file with that name is a whole collection.
    std::fs::write(folder.path().join("in.geojsonl"), &saved).unwrap();
    let ended = run(CUT, "data=@in.geojsonl", "out.geojson").output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let collection: Value = serde_json::from_str(&read("out.geojson")).unwrap();
    assert_eq!(collection["features"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn ex_08_executions_by_get_may_be_encoded_once_or_twice() {
    let producer = Producer::start().await;
    let server = server(&producer, &[FULL]).await;
    producer.add();
    producer.end();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let data = encoded(&producer.url());
    // Servers of 2012 decoded twice, and their clients encoded so.
    for plus in ["%2B", "%252B"] {
        let url = format!(
            "/wps?service=WPS&version=1.0.0&request=Execute&identifier={FULL}&DataInputs=data=@href={data}\
             @mimeType=application%2Fx-ogc-playlist{plus}application%2Fgeo{plus}json;tolerance=0.1\
             &ResponseDocument=result=@mimeType=application%2Fx-ogc-playlist{plus}text%2Fxml%3B%20subtype%3Dgml%2F2.1.2&storeExecuteResponse=false&status=false"
        );
        let document = server.get(&url).await.text();
        // Nothing said `asReference`: the address stands in the place of the value.
        assert!(document.contains("ProcessSucceeded"), "{plus}: {document}");
        let address = between(&document, "<wps:ComplexData", "</wps:ComplexData>").split_once('>').unwrap().1;
        let client = Client2012::follow(
            address.trim().replace("&amp;", "&"),
            format!("application/x-ogc-playlist+{GML}"),
        )
        .await;
        assert_eq!(client.chunks.len(), 1, "{document}");
    }
}

#[tokio::test]
async fn wps_2_0_answers_with_the_address_too() {
    let producer = Producer::start().await;
    let server = server(&producer, &[]).await;
    let job = server.submit(FULL, &ogcapi(&producer)).await;
    server.job_in(&job, &["running"], DEADLINE).await;
    let asked = |request: &str| format!("/wps?service=WPS&version=2.0.0&request={request}&jobId={job}");
    let status = server.get(&asked("GetStatus")).await;
    assert!(status.text().contains("Running") && status.header("link").unwrap().contains("playlist"));
    producer.end();
    server.job_in(&job, &["successful"], DEADLINE).await;
    let result = server.get(&asked("GetResult")).await.text();
    let address =
        between(&result, "<wps:Data", "</wps:Data>").split_once('>').unwrap().1.trim().replace("&amp;", "&");
    assert_eq!(
        try_get(&address).await.unwrap().text(),
        "#SPATIAL-DATA-PLAYLIST\n#PLAYLIST-END\n",
        "{result}"
    );
}
