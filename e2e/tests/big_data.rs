//! Values that are larger than what a server may take of memory, and what is left of them.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Server, eventually, get_as, get_with};
use std::fmt::Write as _;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
/// What a server without optimisation takes in rest, and as much again; its payloads pass twice, as base64 and as bytes.
const PEAK_KIB_MAX: u64 = 60 << 10;

/// Bytes that repeat nowhere near.
fn raster(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    };
    std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(bytes).collect()
}

/// Lines of 76 characters.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() / 57 * 77 + 100);
    for line in bytes.chunks(57) {
        for group in line.chunks(3) {
            let number = group.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
                << (8 * (3 - group.len()));
            for place in 0..4 {
                let digit = ALPHABET[number >> (18 - 6 * place) & 63];
                text.push(if place <= group.len() { char::from(digit) } else { '=' });
            }
        }
        text.push('\n');
    }
    text
}

/// An Execute request of WPS 1.0.0 up to its payload, and what follows that.
fn echo(attributes: &str, form: &str) -> (String, String) {
    let begin = format!(
        "<wps:Execute service='WPS' version='1.0.0' xmlns:wps='http://www.opengis.net/wps/1.0.0' \
         xmlns:ows='http://www.opengis.net/ows/1.1'><ows:Identifier>echo</ows:Identifier><wps:DataInputs><wps:Input>\
         <ows:Identifier>imageInput</ows:Identifier><wps:Data><wps:ComplexData {attributes}>"
    );
    let end = format!(
        "</wps:ComplexData></wps:Data></wps:Input></wps:DataInputs><wps:ResponseForm>{form}</wps:ResponseForm></wps:Execute>"
    );
    (begin, end)
}

const GEOTIFF: &str = "mimeType='image/tiff; application=geotiff'";

fn raw() -> String {
    format!("<wps:RawDataOutput {GEOTIFF}><ows:Identifier>imageOutput</ows:Identifier></wps:RawDataOutput>")
}

fn peak_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

async fn nothing_is_left(server: &Server) {
    let data = server.data_folder();
    eventually("no file of a request that came to nothing", DEADLINE, async || {
        let left = files(&data.join("spool")).len() + files(&data.join("jobs")).len();
        (left == 0 && std::fs::read_dir(data.join("spool")).unwrap().next().is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_inline_raster_of_64_mib_needs_no_memory() {
    let server = Server::start().await;
    let raster = raster(64 * MIB);
    // Once the client says that it is base64, once the format does.
    for attributes in [format!("{GEOTIFF} encoding='base64'"), GEOTIFF.to_owned()] {
        let (begin, end) = echo(&attributes, &raw());
        let reply = server.post("/wps", "text/xml", begin + &base64(&raster) + &end).await;
        assert_eq!(reply.status, 200, "{}", &reply.text()[..reply.body.len().min(1000)]);
        assert_eq!(reply.content_type, "image/tiff; application=geotiff");
        assert!(reply.body == raster);
    }
    assert!(peak_kib(&server) < PEAK_KIB_MAX, "{} KiB", peak_kib(&server));
    assert!(files(&server.data_folder().join("spool")).is_empty());
}

#[tokio::test]
async fn neither_do_large_values_in_json() {
    let server = Server::start().await;
    let raster = raster(32 * MIB);
    let base64: String = base64(&raster).split_whitespace().collect();
    let body = format!(
        r#"{{"inputs": {{"imageInput": {{"value": "{base64}", "mediaType": "image/tiff; application=geotiff"}}}},
            "outputs": {{"imageOutput": {{"format": {{"mediaType": "image/tiff; application=geotiff"}}}}}}}}"#
    );
    let reply = server.post("/processes/echo/execution", "application/json", body).await;
    assert_eq!(reply.status, 200, "{}", &reply.text()[..reply.body.len().min(1000)]);
    assert!(reply.body == raster);

    let point = r#"{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1,2.50]}},"#;
    let features = format!(
        r#"{{"type":"FeatureCollection","features":[{}]}}"#,
        point.repeat(300_000).trim_end_matches(',')
    );
    let body = format!(
        r#"{{"inputs":{{"featuresInput":{{"value":{features},"mediaType":"application/geo+json"}}}},"outputs":{{"featuresOutput":{{}}}}}}"#
    );
    let reply = server.post("/processes/echo/execution", "application/json", body).await;
    assert!(reply.status == 200 && reply.body == features.as_bytes(), "{}", reply.status);
    assert!(peak_kib(&server) < PEAK_KIB_MAX, "{} KiB", peak_kib(&server));

    let wrong = format!(r#"{{"inputs": {{"imageInput": "{base64}!", "imageInpt": 1}}}}"#);
    let reply = server.post("/processes/echo/execution", "application/json", wrong).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("'imageInput' must be base64"), "{}", reply.text());
    eventually("no file is left", DEADLINE, async || {
        files(&server.data_folder().join("spool")).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn results_come_whole_in_a_document_or_in_ranges() {
    let server = Server::start().await;
    let raster = raster(20 * MIB);
    let form = "<wps:ResponseDocument storeExecuteResponse='true' status='true'><wps:Output><ows:Identifier>imageOutput\
                </ows:Identifier></wps:Output></wps:ResponseDocument>";
    let (begin, end) = echo(&format!("{GEOTIFF} encoding='base64'"), form);
    let accepted = server.post("/wps", "text/xml", begin + &base64(&raster) + &end).await.text();
    let location = accepted.split("statusLocation=\"").nth(1).unwrap().split('"').next().unwrap();
    let job = location.rsplit('/').next().unwrap();
    server.job_in(job, &["successful"], DEADLINE).await;

    let document = server.get(&format!("/wps/status/{job}")).await.text();
    let expected: String = base64(&raster).split_whitespace().collect();
    assert!(document.contains(&expected));
    let url = server.url(&format!("/jobs/{job}/results/imageOutput"));
    let whole = get_as(&url, "*/*").await;
    assert!((whole.status, whole.header("accept-ranges")) == (200, Some("bytes")) && whole.body == raster);
    for (range, part, named) in [
        ("bytes=0-0", &raster[..1], "bytes 0-0/20971520"),
        ("bytes=20000000-", &raster[20_000_000..], "bytes 20000000-20971519/20971520"),
        ("bytes=-3", &raster[20 * MIB - 3..], "bytes 20971517-20971519/20971520"),
    ] {
        let reply = get_with(&url, &[("Range", range)]).await;
        assert_eq!((reply.status, reply.header("content-range")), (206, Some(named)));
        assert!(reply.body == part, "{range}");
    }
    let outside = get_with(&url, &[("Range", "bytes=20971520-")]).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */20971520")));
    assert!(peak_kib(&server) < PEAK_KIB_MAX, "{} KiB", peak_kib(&server));
}

#[tokio::test]
async fn nothing_is_left_of_what_is_refused() {
    let server =
        Server::with_config("[http]\nbody_bytes_max = 1_000_000\nupload_bytes_max = 10_000_000").await;
    let attributes = format!("{GEOTIFF} encoding='base64'");
    let (begin, end) = echo(&attributes, &raw());
    let payload = base64(&raster(3 * MIB));
    let two_faults = end.replace("imageOutput", "imageOutpt");
    let hostile = end.replace("<wps:ResponseForm>", "&xxe;");
    let mut large = String::new();
    for _ in 0..4 {
        large.push_str(&payload);
    }
    let mut broken = payload.clone();
    broken.insert(2_000_000, '!');
    for (what, body, status, part) in [
        ("an unknown output", format!("{begin}{payload}{two_faults}"), 400, "imageOutpt"),
        ("an entity at the end", format!("{begin}{payload}{hostile}"), 400, "&amp;xxe;"),
        ("half of it", format!("{begin}{payload}"), 400, "ends before"),
        ("no base64", format!("{begin}{broken}{end}"), 400, "locator=\"imageInput\""),
        ("too much", format!("{begin}{large}{end}"), 413, "10000000"),
        ("too much that is held", format!("{begin}{end}<!--{payload}-->"), 413, "1000000"),
        ("another process", format!("{begin}{payload}{end}").replace(">echo<", ">ohce<"), 400, "ohce"),
    ] {
        let reply = server.post("/wps", "text/xml", body).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        assert!(
            reply.text().contains("ExceptionReport") && reply.text().contains(part),
            "{what}: {}",
            reply.text()
        );
        nothing_is_left(&server).await;
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn nothing_is_left_of_a_client_that_goes_away() {
    let server = Server::start().await;
    let (begin, _) = echo(&format!("{GEOTIFF} encoding='base64'"), &raw());
    let mut client = TcpStream::connect(server.http).await.unwrap();
    let mut head = String::new();
    write!(head, "POST /wps HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000000\r\n\r\n{begin}", server.http)
        .unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(base64(&raster(4 * MIB)).as_bytes()).await.unwrap();
    let spool = server.data_folder().join("spool");
    eventually("the upload is being spooled", DEADLINE, async || {
        files(&spool)
            .first()
            .filter(|file| file.metadata().is_ok_and(|file| file.len() > 1_000_000))
            .map(drop)
    })
    .await;
    drop(client);
    nothing_is_left(&server).await;
    assert!(server.get("/jobs").await.json()["jobs"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_announced_size_over_the_limit_is_refused_before_it_is_sent() {
    let server = Server::start().await;
    let mut client = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "POST /wps HTTP/1.1\r\nHost: {}\r\nContent-Length: 4294967297\r\nConnection: close\r\n\r\n",
        server.http
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("FileSizeExceeded"), "{answer}");
}
