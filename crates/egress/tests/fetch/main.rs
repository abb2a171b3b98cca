//! Conversations with loopback servers: what the guard lets through, and what the caps cut off.

// `allow-unwrap-in-tests` does not reach helpers outside of test functions.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::Write as _;
use std::time::Duration;

use anabranch_egress::{Body, Egress, EgressError, Fault, Method, Policy, Reason, Request, Wait, parse_url};
use futures_util::{StreamExt, TryStreamExt};
use server::{Reply, Server, ok, redirect, with_headers};
use url::Url;

/// More than any test body.
const ENOUGH: u64 = 1 << 20;

fn policy(table: &str) -> Policy {
    toml::from_str(table).unwrap()
}

/// A policy that opens this server, with further settings.
fn opened(server: &Server, more: &str) -> Egress {
    Egress::new(policy(&format!("allow = ['{}']\n{more}", server.address)))
}

async fn failure(egress: &Egress, request: Request) -> EgressError {
    match egress.fetch(request).await {
        Ok(response) => response.bytes(ENOUGH).await.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_body_comes_back_with_its_facts() {
    let server = Server::start(|_| {
        with_headers("200 OK", &["Content-Type: application/geo+json", "ETag: \"7\""], "{}")
    })
    .await;
    let response = opened(&server, "").fetch(Request::get(server.url("/a?b=c"))).await.unwrap();
    assert_eq!((response.status, response.content_length), (200, Some(2)));
    assert_eq!(response.content_type.as_deref(), Some("application/geo+json"));
    assert_eq!(response.header("etag"), Some("\"7\""));
    assert_eq!(response.url(), &server.url("/a?b=c"));
    assert_eq!(response.bytes(ENOUGH).await.unwrap(), "{}");
    let request = &server.received()[0];
    assert_eq!(request.line(), "GET /a?b=c");
    assert_eq!(request.header("accept-encoding"), Some("gzip"));
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
    assert!(request.header("user-agent").unwrap().starts_with("anabranch/"));
}

#[tokio::test]
async fn a_fetch_can_be_spawned() {
    let server = Server::start(|_| ok("x")).await;
    let (egress, url) = (opened(&server, ""), server.url("/"));
    let body = tokio::spawn(async move {
        egress.fetch(Request::get(url)).await?.into_stream().try_collect::<Vec<_>>().await
    });
    assert_eq!(body.await.unwrap().unwrap().concat(), b"x");
}

#[tokio::test]
async fn by_default_no_inner_address_is_connected_to() {
    let server = Server::start(|_| ok("secret")).await;
    let port = server.address.port();
    let egress = Egress::new(Policy::default());
    for host in
        ["127.0.0.1", "2130706433", "0x7f.1", "017700000001", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0"]
    {
        let url = parse_url(&format!("http://{host}:{port}/")).unwrap();
        assert!(egress.check(&url).is_err(), "{host}");
        let error = failure(&egress, Request::get(url)).await;
        assert!(
            matches!(error.fault, Fault::Refused { reason: Reason::Address { .. }, redirects: 0 }),
            "{host}: {error}"
        );
        assert!(
            error.client_text().ends_with("the address is not allowed by this server's policy"),
            "{host}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn schemes_and_user_names_are_refused_with_their_reason() {
    let egress = Egress::new(Policy::default());
    for (text, expected) in [
        (
            "file:///etc/passwd",
            "the reference 'file:///etc/passwd' may not be fetched: the scheme 'file' is not allowed by this server's policy",
        ),
        (
            "ftp://example.org/",
            "the reference 'ftp://example.org/' may not be fetched: the scheme 'ftp' is not allowed by this server's policy",
        ),
        (
            "http://user:pw@example.org/",
            "the reference 'http://example.org/' may not be fetched: it carries a user name or password",
        ),
        (
            "http://169.254.169.254/",
            "the reference 'http://169.254.169.254/' may not be fetched: the address is not allowed by this server's policy",
        ),
    ] {
        let url = parse_url(text).unwrap();
        assert_eq!(egress.check(&url).unwrap_err().client_text(), expected);
        assert_eq!(failure(&egress, Request::get(url)).await.client_text(), expected);
    }
}

#[tokio::test]
async fn a_name_is_connected_to_at_its_vetted_address() {
    let server = Server::start(|_| ok("x")).await;
    let port = server.address.port();
    // The name has no address in any name server: only the override can have been used.
    let hosts = "hosts = { 'data.example.invalid' = '127.0.0.1' }";
    let url = parse_url(&format!("http://data.example.invalid:{port}/")).unwrap();

    let closed = Egress::new(policy(hosts));
    let error = failure(&closed, Request::get(url.clone())).await;
    assert!(matches!(error.fault, Fault::Refused { .. }), "{error}");
    assert!(!error.client_text().contains("127.0.0.1"), "{}", error.client_text());

    for rule in ["127.0.0.0/8", &format!("data.example.invalid:{port}"), "*.example.invalid"] {
        let open = Egress::new(policy(&format!("allow = ['{rule}']\n{hosts}")));
        assert_eq!(
            open.fetch(Request::get(url.clone())).await.unwrap().bytes(ENOUGH).await.unwrap(),
            "x",
            "{rule}"
        );
    }
    assert_eq!(server.received()[0].header("host"), Some(format!("data.example.invalid:{port}").as_str()));
}

#[tokio::test]
async fn a_resolved_name_is_judged_by_its_answers() {
    let server = Server::start(|_| ok("x")).await;
    // `localhost` is the one name that resolves on every machine. Only 127.0.0.1 is opened; ::1 is left out.
    let url = parse_url(&format!("http://localhost:{}/", server.address.port())).unwrap();
    let response = opened(&server, "").fetch(Request::get(url.clone())).await.unwrap();
    assert_eq!(response.bytes(ENOUGH).await.unwrap(), "x");
    let denied = failure(&opened(&server, "deny = ['127.0.0.1']"), Request::get(url)).await;
    assert!(matches!(denied.fault, Fault::Refused { .. }), "{denied}");
}

#[tokio::test]
async fn the_port_of_a_rule_counts() {
    let server = Server::start(|_| ok("x")).await;
    let other_port = server.address.port() ^ 1;
    let error = failure(
        &Egress::new(policy(&format!("allow = ['127.0.0.1:{other_port}']"))),
        Request::get(server.url("/")),
    )
    .await;
    assert!(matches!(error.fault, Fault::Refused { .. }), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_passes_the_same_gate() {
    let inner = Server::start(|_| ok("secret")).await;
    let target = inner.url("/secret").to_string();
    let outer = Server::start(move |_| redirect("302 Found", &target)).await;
    let error = failure(&opened(&outer, ""), Request::get(outer.url("/"))).await;
    assert!(matches!(error.fault, Fault::Refused { redirects: 1, .. }), "{error}");
    assert_eq!(inner.connections(), 0);
    let text = error.client_text();
    assert_eq!(
        text,
        format!(
            "the reference '{}' may not be fetched: it redirects to an address that is not allowed by this server's policy",
            outer.url("/")
        )
    );
    assert!(!text.contains("secret") && !text.contains(&inner.address.port().to_string()));
}

#[tokio::test]
async fn a_redirect_to_another_scheme_or_user_is_refused() {
    for target in [
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://u:p@example.org/",
        "http://[::ffff:7f00:1]/",
        "//169.254.169.254/",
    ] {
        let outer = Server::start(move |_| redirect("307 Temporary Redirect", target)).await;
        let error = failure(&opened(&outer, ""), Request::get(outer.url("/"))).await;
        assert!(matches!(error.fault, Fault::Refused { redirects: 1, .. }), "{target}: {error}");
    }
}

#[tokio::test]
async fn redirects_end_at_the_limit() {
    let server = Server::start(|_| redirect("302 Found", "/again")).await;
    let error = failure(&opened(&server, "redirects_max = 3"), Request::get(server.url("/"))).await;
    assert!(matches!(error.fault, Fault::Redirects { max: 3 }), "{error}");
    assert_eq!(server.lines(), ["GET /", "GET /again", "GET /again", "GET /again"]);
    let none = failure(&opened(&server, "redirects_max = 0"), Request::get(server.url("/"))).await;
    assert!(matches!(none.fault, Fault::Redirects { max: 0 }), "{none}");
    let tightened = failure(&opened(&server, ""), Request::get(server.url("/")).redirects_max(0)).await;
    assert!(matches!(tightened.fault, Fault::Redirects { max: 0 }), "{tightened}");
}

#[tokio::test]
async fn a_redirect_without_a_location_fails() {
    for answer in [
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    ] {
        let server = Server::start(move |_| Reply::Close(answer.into())).await;
        let error = failure(&opened(&server, ""), Request::get(server.url("/"))).await;
        assert!(matches!(error.fault, Fault::RedirectLocation), "{error}");
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = Server::start(|_| ok("x")).await;
    let target = other.url("/far").to_string();
    let server = Server::start(move |request| match request.line() {
        "GET /" => redirect("302 Found", "/near"),
        _ => redirect("302 Found", &target),
    })
    .await;
    let egress = Egress::new(policy("allow = ['127.0.0.1']"));
    let request = Request::get(server.url("/"))
        .header("Authorization", "Bearer s")
        .header("X-Api-Key", "k")
        .header("Accept", "a/b");
    egress.fetch(request).await.unwrap();
    let near = &server.received()[1];
    assert_eq!((near.header("authorization"), near.header("x-api-key")), (Some("Bearer s"), Some("k")));
    let far = &other.received()[0];
    assert_eq!((far.header("authorization"), far.header("x-api-key")), (None, None));
    assert_eq!((far.header("accept"), far.header("accept-encoding")), (Some("a/b"), Some("gzip")));
}

#[tokio::test]
async fn a_redirected_post_becomes_a_get_or_stays_a_post() {
    for (status, line, body) in [
        ("303 See Other", "GET /done", ""),
        ("302 Found", "GET /done", ""),
        ("307 Temporary Redirect", "POST /done", "abc"),
    ] {
        let server = Server::start(move |request| match request.line() {
            "POST /" => redirect(status, "/done"),
            _ => ok("x"),
        })
        .await;
        let request =
            Request::post(server.url("/"), String::from("abc")).header("Content-Type", "text/plain");
        opened(&server, "").fetch(request).await.unwrap();
        let second = &server.received()[1];
        assert_eq!((second.line(), second.body.as_slice()), (line, body.as_bytes()));
        assert_eq!(second.header("content-type").is_some(), line.starts_with("POST"));
    }
}

#[tokio::test]
async fn a_body_over_its_cap_is_cut_off() {
    let announced = Server::start(|_| ok("12345")).await;
    let error = failure(&opened(&announced, "body_bytes_max = 4"), Request::get(announced.url("/"))).await;
    assert!(matches!(error.fault, Fault::TooLarge { bytes_max: 4 }), "{error}");
    assert_eq!(
        error.client_text(),
        format!("the reference '{}' could not be fetched: larger than 4 bytes", announced.url("/"))
    );
    assert_eq!(
        opened(&announced, "body_bytes_max = 5")
            .fetch(Request::get(announced.url("/")))
            .await
            .unwrap()
            .bytes(ENOUGH)
            .await
            .unwrap(),
        "12345"
    );

    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n",
    ] {
        let silent = Server::start(move |_| Reply::Close(answer.into())).await;
        let error = failure(&opened(&silent, "body_bytes_max = 4"), Request::get(silent.url("/"))).await;
        assert!(matches!(error.fault, Fault::TooLarge { bytes_max: 4 }), "{error}");
    }
}

#[tokio::test]
async fn a_request_and_a_reader_can_tighten_the_cap_and_not_loosen_it() {
    let server = Server::start(|_| ok("12345")).await;
    let egress = opened(&server, "body_bytes_max = 5");
    let error = failure(&egress, Request::get(server.url("/")).body_bytes_max(4)).await;
    assert!(matches!(error.fault, Fault::TooLarge { bytes_max: 4 }), "{error}");
    let response = egress.fetch(Request::get(server.url("/")).body_bytes_max(ENOUGH)).await.unwrap();
    assert!(matches!(response.bytes(3).await.unwrap_err().fault, Fault::TooLarge { bytes_max: 3 }));
}

#[tokio::test]
async fn a_server_that_stalls_meets_the_idle_limit() {
    for (answer, what) in [("", "head"), ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "body")] {
        let server = Server::start(move |_| Reply::Stall(answer.into())).await;
        let error = failure(&opened(&server, "idle_ms_max = 30"), Request::get(server.url("/"))).await;
        assert!(matches!(error.fault, Fault::TimedOut { wait: Wait::Idle, ms: 30 }), "{what}: {error}");
        let expected = if what == "head" { "no answer by HTTP" } else { "time-out" };
        assert!(error.client_text().ends_with(&format!("could not be fetched: {expected}")));
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn the_whole_fetch_meets_the_total_limit() {
    let server =
        Server::start(|_| Reply::Stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into())).await;
    let error = failure(&opened(&server, "total_ms_max = 30"), Request::get(server.url("/"))).await;
    assert!(matches!(error.fault, Fault::TimedOut { wait: Wait::Total, ms: 30 }), "{error}");
    let tightened = failure(&opened(&server, ""), Request::get(server.url("/")).total_ms_max(20)).await;
    assert!(matches!(tightened.fault, Fault::TimedOut { wait: Wait::Total, ms: 20 }), "{tightened}");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// An answer with a body in an encoding.
fn packed(encoding: &str, body: &[u8]) -> Reply {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", body.len());
    Reply::Answer([head.as_bytes(), body].concat())
}

#[tokio::test]
async fn gzip_bodies_are_unpacked() {
    let plain: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    let body = gzip(&plain);
    let server = Server::start(move |request| packed(&request.line()[5..], &body)).await;
    let egress = opened(&server, "");
    let folder = tempfile::tempdir().unwrap();
    for encoding in ["gzip", "x-gzip", "GZIP"] {
        let response = egress.fetch(Request::get(server.url(&format!("/{encoding}")))).await.unwrap();
        assert_eq!(response.content_length, None);
        let path = folder.path().join(encoding);
        assert_eq!(response.save_to(&path).await.unwrap(), plain.len() as u64);
        assert!(std::fs::read(path).unwrap() == plain);
    }
    let part = Request::get(server.url("/identity")).header("Range", "bytes=0-3");
    egress.fetch(part).await.unwrap();
    let asked: Vec<_> = server
        .received()
        .iter()
        .map(|request| request.header("accept-encoding").unwrap().to_owned())
        .collect();
    assert_eq!(asked, ["gzip", "gzip", "gzip", "identity"]);
}

#[tokio::test]
async fn gzip_bodies_are_capped_by_size_and_ratio() {
    let body = gzip(&vec![0; 2 << 20]);
    let packed_bytes = body.len() as u64;
    let server = Server::start(move |request| match request.line() {
        "GET /cut" => packed("gzip", &body[..body.len() - 4]),
        _ => packed("gzip", &body),
    })
    .await;
    let fails = async |table: &str, path: &str| {
        let folder = tempfile::tempdir().unwrap();
        let response = opened(&server, table).fetch(Request::get(server.url(path))).await.unwrap();
        let error = response.save_to(&folder.path().join("body")).await.unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        error
    };
    let bomb = fails("", "/").await;
    assert!(matches!(bomb.fault, Fault::Ratio { ratio_max: 100 }) && !bomb.is_transient(), "{bomb}");
    assert!(bomb.client_text().ends_with("could not be fetched: it unpacks to more than 100 times its size"));
    let large =
        fails(&format!("unpacked_ratio_max = 2000\nbody_bytes_max = {}", packed_bytes * 2), "/").await;
    assert!(matches!(large.fault, Fault::TooLarge { .. }), "{large}");
    let cut = fails("unpacked_ratio_max = 2000", "/cut").await;
    assert!(cut.client_text().ends_with("it was sent as gzip that is damaged"), "{cut}");
}

#[tokio::test]
async fn other_encodings_are_refused() {
    let server = Server::start(|request| packed(&request.line()[5..], b"x")).await;
    let egress = opened(&server, "");
    for encoding in ["br", "deflate", "zstd", "identity,gzip", "gzip,gzip"] {
        let error = failure(&egress, Request::get(server.url(&format!("/{encoding}")))).await;
        assert!(matches!(&error.fault, Fault::Encoding(named) if named == encoding), "{error}");
    }
    egress.fetch(Request::get(server.url("/identity"))).await.unwrap();
}

#[tokio::test]
async fn what_is_behind_an_allow_rule_is_not_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Server::start(|_| Reply::Stall(Vec::new())).await;
    let foreign = Server::start(|_| Reply::Close(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    let egress = Egress::new(policy("allow = ['127.0.0.1']\nidle_ms_max = 30"));
    let plain = ["http", "http", "http", "https"];
    let addresses = [closed, silent.address, foreign.address, foreign.address];
    for (scheme, address) in plain.into_iter().zip(addresses) {
        let url = parse_url(&format!("{scheme}://{address}/")).unwrap();
        let text = failure(&egress, Request::get(url)).await.client_text();
        assert!(text.ends_with("could not be fetched: no answer by HTTP"), "{text}");
    }
}

#[tokio::test]
async fn other_statuses_fail_without_their_body() {
    let server = Server::start(|_| with_headers("404 Not Found", &[], "inside: secret")).await;
    let egress = opened(&server, "");
    let error = failure(&egress, Request::get(server.url("/?token=s"))).await;
    assert_eq!(
        error.client_text(),
        format!("the reference '{}?…' could not be fetched: status 404", server.url("/"))
    );
    assert!(!error.to_string().contains("token") && !error.is_transient());
    let response = egress.fetch_any_status(Request::get(server.url("/"))).await.unwrap();
    assert_eq!(
        (response.status, response.bytes(ENOUGH).await.unwrap().as_ref()),
        (404, &b"inside: secret"[..])
    );
}

#[tokio::test]
async fn not_modified_is_an_answer() {
    let server = Server::start(|_| Reply::Answer("HTTP/1.1 304 Not Modified\r\n\r\n".into())).await;
    let response = opened(&server, "")
        .fetch(Request::get(server.url("/")).header("If-None-Match", "\"7\""))
        .await
        .unwrap();
    assert_eq!(response.status, 304);
}

#[tokio::test]
async fn a_head_may_announce_more_than_the_cap() {
    let server =
        Server::start(|_| Reply::Answer("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".into())).await;
    let response = opened(&server, "body_bytes_max = 4")
        .fetch(Request::new(Method::Head, server.url("/")))
        .await
        .unwrap();
    assert_eq!(response.content_length, Some(99));
    assert_eq!(response.bytes(ENOUGH).await.unwrap(), "");
}

#[tokio::test]
async fn a_broken_transfer_and_a_closed_port_are_transient() {
    let server =
        Server::start(|_| Reply::Close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into())).await;
    let broken = failure(&opened(&server, ""), Request::get(server.url("/"))).await;
    assert!(matches!(broken.fault, Fault::Transfer(_)) && broken.is_transient(), "{broken}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let egress = Egress::new(policy("allow = ['127.0.0.1']"));
    let closed =
        failure(&egress, Request::get(Url::parse(&format!("http://{free}/?token=s")).unwrap())).await;
    assert!(matches!(closed.fault, Fault::Connect(_)) && closed.is_transient(), "{closed}");
    assert!(
        closed.client_text().ends_with("could not be fetched: no answer by HTTP")
            && !closed.to_string().contains("token")
    );
}

#[tokio::test]
async fn save_to_leaves_a_whole_file_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.line() {
        "GET /whole" => ok("12345"),
        "GET /long" => Reply::Close("HTTP/1.1 200 OK\r\n\r\n1234567".into()),
        _ => Reply::Stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123".into()),
    })
    .await;
    let egress = opened(&server, "body_bytes_max = 6\nidle_ms_max = 30");
    let save = async |path: &str, file: &str| {
        let response = egress.fetch(Request::get(server.url(path))).await.unwrap();
        response.save_to(&folder.path().join(file)).await
    };
    assert_eq!(save("/whole", "a").await.unwrap(), 5);
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"12345");
    assert!(matches!(save("/long", "b").await.unwrap_err().fault, Fault::TooLarge { .. }));
    assert!(matches!(save("/stall", "c").await.unwrap_err().fault, Fault::TimedOut { .. }));
    // An existing file is neither overwritten nor removed.
    let exists = save("/whole", "a").await.unwrap_err();
    assert!(matches!(exists.fault, Fault::Save { .. }), "{exists}");
    assert!(!exists.client_text().contains(folder.path().to_str().unwrap()));
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn a_dropped_save_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let server =
        Server::start(|_| Reply::Stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123".into())).await;
    let response = opened(&server, "").fetch(Request::get(server.url("/"))).await.unwrap();
    let saving = response.save_to(&path);
    let created = async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = saving => panic!("the body never ends"),
        () = created => {}
    }
    // The file may have been on its way through the blocking pool when the future was dropped.
    let removed = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), removed).await.expect("the file is removed");
}

#[tokio::test]
async fn a_file_is_uploaded_with_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output.tif");
    let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let server = Server::start(|_| with_headers("201 Created", &[], "")).await;
    let egress = opened(&server, "request_body_bytes_max = 300000");
    let request = Request::put(server.url("/output"), path.clone()).header("Content-Type", "image/tiff");
    assert_eq!(egress.fetch(request).await.unwrap().status, 201);
    let received = &server.received()[0];
    assert_eq!((received.line(), received.header("content-length")), ("PUT /output", Some("300000")));
    assert_eq!(
        (received.header("transfer-encoding"), received.header("content-type")),
        (None, Some("image/tiff"))
    );
    assert!(received.body == content);

    let tight = opened(&server, "request_body_bytes_max = 299999");
    let error = failure(&tight, Request::put(server.url("/"), path)).await;
    assert!(matches!(error.fault, Fault::RequestTooLarge { bytes: 300_000, bytes_max: 299_999 }), "{error}");
    for missing in [folder.path().join("none"), folder.path().to_owned()] {
        let error = failure(&egress, Request::put(server.url("/"), missing)).await;
        assert!(matches!(error.fault, Fault::RequestFile { .. }), "{error}");
        assert!(!error.client_text().contains(folder.path().to_str().unwrap()));
    }
}

#[tokio::test]
async fn bytes_are_uploaded_with_their_length() {
    let server = Server::start(|_| ok("")).await;
    let egress = opened(&server, "");
    for body in [Vec::new(), vec![7; 200_000]] {
        egress.fetch(Request::post(server.url("/"), body.clone())).await.unwrap();
        let received = server.received().pop().unwrap();
        assert_eq!(received.header("content-length"), Some(body.len().to_string().as_str()));
        assert!(received.body == body);
    }
    egress.fetch(Request::post(server.url("/"), Body::Empty)).await.unwrap();
    assert_eq!(server.received().pop().unwrap().header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_server_that_reads_no_upload_meets_the_idle_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let accepted = tokio::spawn(async move { listener.accept().await });
    let egress = Egress::new(policy("allow = ['127.0.0.1']\nidle_ms_max = 50"));
    // Far more than the buffers of two sockets.
    let error = failure(&egress, Request::put(url, vec![0; 64 << 20])).await;
    assert!(matches!(error.fault, Fault::TimedOut { wait: Wait::Idle, ms: 50 }), "{error}");
    drop(accepted);
}

#[tokio::test]
async fn reserved_request_headers_are_refused_by_name() {
    let server = Server::start(|_| ok("")).await;
    let egress = opened(&server, "");
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Proxy-Authorization"] {
        let error = failure(&egress, Request::get(server.url("/")).header(name, "x")).await;
        assert_eq!(
            error.client_text(),
            format!("the request header '{name}' is set by this server and may not be given")
        );
    }
    assert_eq!(server.connections(), 0);
    egress.fetch(Request::get(server.url("/")).header("X-A", "1").header("User-Agent", "me")).await.unwrap();
    let request = &server.received()[0];
    assert_eq!((request.header("x-a"), request.header("user-agent")), (Some("1"), Some("me")));
}

#[tokio::test]
async fn polling_reuses_the_connection() {
    let server = Server::start(|_| ok("x")).await;
    let egress = opened(&server, "");
    for _ in 0..3 {
        egress.clone().fetch(Request::get(server.url("/"))).await.unwrap().bytes(ENOUGH).await.unwrap();
    }
    assert_eq!((server.received().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_stream_ends_after_its_error() {
    let server = Server::start(|_| Reply::Close("HTTP/1.1 200 OK\r\n\r\n12345".into())).await;
    let response = opened(&server, "body_bytes_max = 4").fetch(Request::get(server.url("/"))).await.unwrap();
    let pieces: Vec<_> = response.into_stream().collect().await;
    assert!(pieces.last().unwrap().is_err() && pieces.iter().filter(|piece| piece.is_err()).count() == 1);
}

#[tokio::test]
async fn tls_trusts_the_extra_authority_and_no_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let issued = rcgen::generate_simple_self_signed(vec!["data.example.invalid".to_owned()]).unwrap();
    std::fs::write(&ca_file, issued.cert.pem()).unwrap();
    let server = Server::start_tls(|_| ok("x"), server_tls(&issued)).await;
    let port = server.address.port();
    let hosts = "allow = ['127.0.0.1']\nhosts = { 'data.example.invalid' = '127.0.0.1', 'other.example.invalid' = '127.0.0.1' }";
    let trusting = Egress::new(policy(&format!("{hosts}\nca_file = '{}'", ca_file.display())));
    let url = parse_url(&format!("https://data.example.invalid:{port}/")).unwrap();

    let response = trusting.fetch(Request::get(url.clone())).await.unwrap();
    assert_eq!(response.bytes(ENOUGH).await.unwrap(), "x");
    let stranger = failure(&Egress::new(policy(hosts)), Request::get(url)).await;
    assert!(matches!(stranger.fault, Fault::Tls(_)), "{stranger}");
    assert!(stranger.client_text().ends_with("could not be fetched: no answer by HTTP"));
    let other_name = parse_url(&format!("https://other.example.invalid:{port}/")).unwrap();
    let misnamed = failure(&trusting, Request::get(other_name)).await;
    assert!(matches!(misnamed.fault, Fault::Tls(_)), "{misnamed}");
}

fn server_tls(issued: &rcgen::CertifiedKey<rcgen::KeyPair>) -> rustls::ServerConfig {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap()
}

#[tokio::test]
async fn an_unusable_ca_file_is_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let egress = Egress::new(policy(&format!("ca_file = '{}'", path.display())));
    let missing = egress.check_tls().await.unwrap_err().to_string();
    assert!(missing.contains("ca.pem"), "{missing}");
    std::fs::write(&path, "no certificate").unwrap();
    let empty = egress.check_tls().await.unwrap_err().to_string();
    assert!(empty.contains("holds no certificate"), "{empty}");
}
