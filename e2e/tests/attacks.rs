//! Attacks from outside, by the points of what a trusted server must do. Each is refused by name, costs next to nothing, and harms
//! nobody else. What attacks the parsers alone is with them; agents' messages are in `xmpp`'s `hostile`, callbacks in `callbacks.rs`.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Reply, Server, eventually, raw, script_service};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Longest answer to an attack: parsing it is all there is to do. It takes milliseconds, on machines with nothing else to do; bodies are
/// waited for longer.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Listens, counts who comes, and answers all of them with this.
async fn canary(answer: String) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let visits = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _request = socket.read(&mut [0; 4096]).await;
            let _client_left = socket.write_all(answer.as_bytes()).await;
        }
    });
    (port, visits)
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

async fn echo_of(server: &Server, href: &str) -> Reply {
    server.execute("echo", &json!({ "inputs": { "literalInput": { "href": href } } })).await
}

/// Somebody else gets an answer.
async fn others_are_served(server: &Server) {
    let begin = Instant::now();
    let reply = server.execute("echo", &json!({ "inputs": { "literalInput": "hello" } })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn point_1_no_spelling_of_an_inner_address_is_fetched_nor_a_redirect_to_one() {
    let (inner, visits) = canary("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret".into()).await;
    let (open, _) = canary(redirect(&format!("http://127.0.0.1:{inner}/"))).await;
    let (meta, _) = canary(redirect("http://169.254.169.254/latest/meta-data/")).await;
    let (file, _) = canary(redirect("file:///etc/passwd")).await;
    let allow =
        format!("[egress]\nallow = [\"127.0.0.1:{open}\", \"127.0.0.1:{meta}\", \"127.0.0.1:{file}\"]");
    let server = Server::with_config(&allow).await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
    ];
    let spelled = hosts.map(|host| format!("http://{host}:{inner}/"));
    let others = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://127.0.0.1/",
        "http://user:password@example.org/",
    ];
    // What this server itself serves is refused too, but for its jobs' results.
    let own = [server.url("/console"), server.url("/processes")];
    let behind = [open, meta, file].map(|port| format!("http://127.0.0.1:{port}/"));
    for href in
        spelled.iter().map(String::as_str).chain(others).chain(own.iter().chain(&behind).map(String::as_str))
    {
        let reply = echo_of(&server, href).await;
        let text = reply.text();
        assert!(
            reply.status == 400 && text.contains("allowed") || text.contains("password"),
            "{href}: {text}"
        );
        assert!(!text.contains("secret") && !text.contains("root:"), "{href}: {text}");
    }
    let wps = |href: &str| {
        format!(
            r#"<wps:Execute xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1"
               xmlns:xlink="http://www.w3.org/1999/xlink" service="WPS" version="1.0.0"><ows:Identifier>echo</ows:Identifier>
               <wps:DataInputs><wps:Input><ows:Identifier>complexInput</ows:Identifier><wps:Reference mimeType="text/plain"
               method="POST" xlink:href="{href}"><wps:BodyReference xlink:href="{href}"/></wps:Reference></wps:Input>
               </wps:DataInputs></wps:Execute>"#
        )
    };
    for href in &spelled[..3] {
        let reply = server.post("/wps", "text/xml", wps(href)).await;
        assert!(reply.text().contains("not allowed by this server's policy"), "{}", reply.text());
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody came");
}

#[tokio::test]
async fn point_2_xml_brings_no_entities_no_files_and_no_depth() {
    let (port, visits) = canary("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()).await;
    let server = Server::start().await;
    let canary = format!("http://127.0.0.1:{port}/");
    let execute = |value: &str| {
        format!(
            r#"<wps:Execute xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1" service="WPS"
               version="1.0.0"><ows:Identifier>echo</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>literalInput
               </ows:Identifier><wps:Data><wps:LiteralData>{value}</wps:LiteralData></wps:Data></wps:Input></wps:DataInputs>
               </wps:Execute>"#
        )
    };
    let bomb: String =
        (1..20).map(|n| format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10))).collect();
    let attributes: String = (0..10_000).map(|n| format!(" a{n}=\"\"")).collect();
    let namespaces: String = (0..10_000).map(|n| format!(" xmlns:n{n}=\"urn:{n}\"")).collect();
    let deep = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
    for (name, document) in [
        ("a file", format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", execute("&e;"))),
        ("a URL", format!("<!DOCTYPE x SYSTEM \"{canary}\">{}", execute("x"))),
        (
            "parameter entities",
            format!("<!DOCTYPE x [<!ENTITY % p SYSTEM \"{canary}\">%p;]>{}", execute("x")),
        ),
        ("a bomb", format!("<!DOCTYPE x [<!ENTITY a0 \"ha\">{bomb}]>{}", execute("&a19;"))),
        ("an entity nobody declared", execute("&e;")),
        ("depth", execute(&deep(100_000))),
        ("attributes", execute(&format!("<a{attributes}/>"))),
        ("namespaces", execute(&format!("<a{namespaces}/>"))),
        (
            "XInclude",
            execute(&format!("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"{canary}\"/>")),
        ),
    ] {
        let begin = Instant::now();
        let reply = server.post("/wps", "text/xml", document).await;
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert!(begin.elapsed() < AT_ONCE && !reply.text().contains("root:"), "{name}: {}", reply.text());
    }
    // A schema location is only a text.
    let located = execute("x").replacen(
        "service=",
        &format!("xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"urn:x {canary}\" service="),
        1,
    );
    assert_eq!(server.post("/wps", "text/xml", located).await.status, 200);
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody came");
    others_are_served(&server).await;
}

#[tokio::test]
async fn point_3_json_has_no_depth_no_second_members_and_no_slow_patterns() {
    let server = Server::start().await;
    let path = "/processes/echo/execution";
    let deep = format!("{{\"inputs\":{{\"literalInput\":{}1{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, body, says) in [
        ("depth", deep, "nest"),
        ("an input twice", r#"{"inputs":{"literalInput":"a","literalInput":"b"}}"#.into(), "literalInput"),
        (
            "a member twice",
            r#"{"inputs":{"literalInput":"a"},"inputs":{"literalInput":"b"}}"#.into(),
            "inputs",
        ),
        (
            "escaped, twice",
            r#"{"inputs":{"literalInput":"a","literal\u0049nput":"b"}}"#.into(),
            "literalInput",
        ),
        (
            "href twice",
            r#"{"inputs":{"literalInput":{"href":"http://a.example/","href":"http://b.example/"}}}"#.into(),
            "href",
        ),
        (
            "an output twice",
            r#"{"inputs":{"literalInput":"a"},"outputs":{"literalOutput":{},"literalOutput":{}}}"#.into(),
            "literalOutput",
        ),
        ("a number without end", format!("{{\"inputs\":{{\"literalInput\":{}}}}}", "9".repeat(1 << 20)), ""),
    ] {
        let begin = Instant::now();
        let reply = server.post(path, "application/json", body).await;
        assert!(begin.elapsed() < AT_ONCE, "{name}: {:?}", begin.elapsed());
        if says.is_empty() {
            assert!(reply.status < 500, "{name}: {}", reply.text());
        } else {
            assert!(
                reply.status == 400 && reply.text().contains(says),
                "{name}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    others_are_served(&server).await;
}

#[tokio::test]
async fn point_5_no_path_leads_out_and_no_id_is_guessed() {
    let server = Server::start().await;
    let reply = server.execute("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    assert_eq!(reply.status, 200);
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    for path in [
        "/assets/../config.toml",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/jobs/..%2f..%2f/results",
        "/jobs/%00/results",
        "/jobs/x'%20OR%201=1--",
        "/jobs/<script>alert(1)</script>",
        "/processes/..%2f..%2fetc%2fpasswd",
        "/agent-data/x/../../etc/passwd",
    ] {
        let answers = raw::exchange(
            &server,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        let status = raw::statuses(&answers);
        assert!(matches!(status.as_slice(), [400 | 404 | 405]), "{path}: {answers}");
        assert!(
            !answers.contains("root:") && !answers.contains("<script>alert(1)</script>"),
            "{path}: {answers}"
        );
    }
    for path in [
        format!("/jobs/{job}/results/..%2f..%2fjobs.sqlite"),
        format!("/jobs/{job}/results/literalOutput/chunks/-1"),
    ] {
        assert!(matches!(server.get(&path).await.status, 400 | 404), "{path}");
    }
    // 122 random bits, and nothing about neighbours.
    let other = format!("{}{}", &job[..job.len() - 1], if job.ends_with('0') { "1" } else { "0" });
    assert_eq!(server.get(&format!("/jobs/{other}")).await.status, 404);
}

#[tokio::test]
async fn point_6_values_are_arguments_and_never_options_or_commands() {
    let server = Server::start().await;
    let mark = server.data.path().join("mark");
    let service =
        script_service("Said", "printf '%s|' \"$@\"", "").replace("allow_leading_dash = true\n", "");
    let _agent = Agent::start(&server, "a1", &[("said.toml", &service)]);
    server.published("default:Said", true).await;
    let said =
        async |text: &str| server.execute("default:Said", &json!({ "inputs": { "text": text } })).await;
    for text in [
        format!("; touch {}", mark.display()),
        format!("$(touch {})", mark.display()),
        format!("`touch {}`", mark.display()),
        format!("x\ntouch {}", mark.display()),
        "a b  c".into(),
        "*".into(),
    ] {
        let reply = said(&text).await;
        assert_eq!((reply.status, reply.text()), (200, format!("{text}|")));
    }
    for text in ["-rf", "--output=/etc/passwd", "-", "a\0b"] {
        let reply = said(text).await;
        assert_eq!(reply.status, 400, "{text:?}: {}", reply.text());
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn point_7_a_raster_that_is_a_program_for_gdal_reads_nothing() {
    let server = Server::start().await;
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let processes = [
        ("gdal-contour", "GdalContour", "dem", "image/tiff; application=geotiff"),
        ("gdaldem-color-relief", "ColorRelief", "dem", "image/tiff; application=geotiff"),
        ("gdaldem-hillshade", "Hillshade", "dem", "image/tiff; application=geotiff"),
        ("gdalwarp-reproject", "ReprojectRaster", "raster", "image/tiff; application=geotiff"),
        ("ogr2ogr-reproject", "ReprojectFeatures", "features", "application/geo+json"),
    ];
    let mut agents = Vec::new();
    for (folder, process, ..) in processes {
        agents.push(Agent::start_in(&server, folder, &examples.join(folder)));
        server.published(&format!("default:{process}"), true).await;
    }
    let secret = std::fs::canonicalize(examples.join("data/jacksboro_dem.tif")).unwrap();
    let vrt = format!(
        "<VRTDataset rasterXSize=\"10\" rasterYSize=\"10\"><VRTRasterBand dataType=\"Float32\" band=\"1\"><SimpleSource>\
         <SourceFilename>{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>",
        secret.display()
    );
    let (port, visits) = canary("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()).await;
    let wms = format!(
        "<GDAL_WMS><Service name=\"WMS\"><ServerUrl>http://127.0.0.1:{port}/?</ServerUrl></Service></GDAL_WMS>"
    );
    let tiles = format!(
        "{{\"type\":\"gdal_streamed_alg\",\"command_line\":\"gdal raster convert {}\"}}",
        secret.display()
    );
    let rows = format!(
        "<OGRVRTDataSource><OGRVRTLayer name=\"x\"><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
        examples.join("README.md").display()
    );
    for (_, process, input, media_type) in processes {
        for text in [&vrt, &wms, &tiles, &rows, &format!("/vsicurl/http://127.0.0.1:{port}/x.tif")] {
            let value =
                json!({ "value": base64(text.as_bytes()), "encoding": "base64", "mediaType": media_type });
            let mut inputs = json!({ input: value });
            if process.starts_with("Reproject") {
                inputs["crs"] = json!(3857);
            }
            let reply = server.execute(&format!("default:{process}"), &json!({ "inputs": inputs })).await;
            assert!(
                matches!(reply.status, 400 | 500),
                "{process}, {text}: {} {}",
                reply.status,
                reply.text()
            );
            assert!(!reply.text().contains("FeatureCollection"), "{process}: {}", reply.text());
        }
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody came");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn point_10_forms_of_other_sites_are_refused() {
    let server = Server::start().await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    for (path, form) in [
        ("/console/drain".to_owned(), "drain=true"),
        ("/processes/echo/execution".to_owned(), "literalInput=x"),
        (format!("/jobs/{job}/dismiss"), ""),
    ] {
        let headers =
            [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", "http://evil.example")];
        let reply = e2e::post_as(&server.url(&path), &headers, form).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
    }
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn point_11_bodies_over_the_limit_are_refused_before_they_have_come() {
    let server =
        Server::with_config("[http]\nbody_bytes_max = 1_000_000\nupload_bytes_max = 2_000_000").await;
    // More than is taken to no use, so that clients that send first and read later see the answer.
    let huge = 2_u64 << 30;
    for (path, media_type) in [
        ("/wps", "text/xml"),
        ("/processes/echo/execution", "application/json"),
        ("/processes/echo/execution", "application/x-www-form-urlencoded"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {huge}\r\n\r\n"
        );
        let begin = Instant::now();
        let answers = raw::exchange(&server, head.as_bytes()).await;
        assert_eq!(raw::statuses(&answers), [413], "{path} {media_type}: {answers}");
        assert!(begin.elapsed() < AT_ONCE, "{path} {media_type}: {:?}", begin.elapsed());
    }
    others_are_served(&server).await;
}

#[tokio::test]
async fn smuggled_requests_are_never_answered() {
    let server = Server::start().await;
    let hidden = "GET /healthz HTTP/1.1\r\nHost: hidden\r\n\r\n";
    let post = "POST /console/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for (name, request) in [
        ("CL.TE", format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("TE.CL", format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}")),
        (
            "two lengths",
            format!("{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        ),
        ("a list of lengths", format!("{post}Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len())),
        ("a signed length", format!("{post}Content-Length: +0\r\n\r\n{hidden}")),
        ("a space before the colon", format!("{post}Content-Length : 0\r\n\r\n{hidden}")),
        ("a folded line", format!("{post}X: a\r\n Content-Length: 0\r\n\r\n{hidden}")),
        ("another coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("chunked twice", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}")),
        ("a vertical tab", format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("an endless size", format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}")),
        ("a signed size", format!("{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}")),
        ("a bare line feed after a size", format!("{post}Transfer-Encoding: chunked\r\n\r\n0\n\r\n{hidden}")),
        (
            "an extension with a line feed",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2;a\nxx\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "HTTP/1.0 and chunked",
            format!("POST /console/drain HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
    ] {
        let answers = raw::exchange(&server, request.as_bytes()).await;
        assert!(raw::statuses(&answers).len() <= 1 && !answers.contains("200 OK"), "{name}: {answers}");
    }
    let long = format!("{post}Transfer-Encoding: chunked\r\n\r\n1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(1 << 20));
    assert!(!raw::exchange(&server, long.as_bytes()).await.contains("200 OK"));
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_thousand_half_open_connections_disturb_nobody_and_are_closed() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(u64::MAX).min(8192);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
    let server = Server::with_config("[http]\nhead_ms_max = 8000").await;
    let mut open = Vec::new();
    for n in 0..1000 {
        let begin = match n % 3 {
            0 => "",
            1 => "POST /wps HTTP/1.1\r\nHost: x\r\nX-",
            _ => "GET /processes HT",
        };
        open.push(raw::half_open(&server, begin).await);
    }
    for _ in 0..20 {
        others_are_served(&server).await;
    }
    for socket in &mut open {
        raw::closed(socket).await;
    }
    // An idle connection is closed as well.
    let mut idle = raw::half_open(&server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    raw::closed(&mut idle).await;
}

#[tokio::test]
async fn one_address_gets_so_many_connections_and_a_proxy_s_clients_so_many_requests() {
    let config = "[http]\nconnections_per_address_max = 20\nconnections_exempt = []";
    let server = Server::with_config(config).await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(raw::half_open(&server, "GET ").await);
    }
    let mut closed = 0;
    for socket in &mut held {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut byte)).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!((20..=25).contains(&closed), "{closed} of 40 were closed");
    drop(held);
    eventually("it serves again", DEADLINE, async || {
        let reply = e2e::try_get(&server.url("/metrics")).await.ok()?;
        let line = "anabranch_http_connections_refused_total ";
        let refused = reply.text().lines().find_map(|each| each.strip_prefix(line)?.parse::<usize>().ok())?;
        (refused >= closed).then_some(())
    })
    .await;

    let config = "[http]\nconnections_per_address_max = 1\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let server = Server::with_config(config).await;
    let gate = server.data.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; printf done", gate.display());
    let _agent = Agent::start(&server, "a1", &[("gated.toml", &script_service("Gated", &script, ""))]);
    server.published("default:Gated", true).await;
    // Beyond what the harness's client may say.
    let ask = async |client: &str, process: &str| {
        let head = format!(
            "POST /processes/{process}/execution HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n"
        );
        let body = "Content-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"inputs\":{}}";
        raw::statuses(&raw::exchange(&server, format!("{head}{body}").as_bytes()).await)
    };
    let others = async {
        eventually("the first is under way", DEADLINE, async || {
            let jobs: Value = server.get("/jobs?f=json").await.json();
            (jobs["jobs"][0]["status"] == "running").then_some(())
        })
        .await;
        assert_eq!(ask("198.51.100.1", "echo").await, [429]);
        assert_ne!(ask("198.51.100.2", "echo").await, [429]);
        std::fs::write(&gate, "").unwrap();
    };
    assert_eq!(tokio::join!(ask("198.51.100.1", "default:Gated"), others).0, [200]);
}
