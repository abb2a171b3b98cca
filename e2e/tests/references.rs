//! References to a host of the site's own: split DNS, a private certificate authority, an allow rule, gzip.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Server, eventually};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Answers every request over TLS with a text, packed. Gives its address and the authority to trust.
async fn https(host: &str) -> (SocketAddr, String) {
    let issued = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"from inside").unwrap();
    let body = gzip.finish().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A client that distrusts the certificate ends the handshake; so be it.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let _request = socket.read(&mut [0; 4096]).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            let _client_left = socket.write_all(&[head.as_bytes(), &body].concat()).await;
            let _client_left = socket.shutdown().await;
        }
    });
    (address, issued.cert.pem())
}

#[tokio::test]
async fn a_site_opens_its_own_host() {
    let host = "data.example.invalid";
    let (address, authority) = https(host).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority).unwrap();
    let port = address.port();
    let body = json!({ "inputs": { "literalInput": { "href": format!("https://{host}:{port}/text") } },
        "outputs": { "literalOutput": {} }, "response": "raw" });
    let hosts = format!("[egress]\nhosts = {{ {host:?} = \"127.0.0.1\" }}\n");
    let rule = format!("allow = [\"{host}:{port}\"]\n");
    let trust = format!("ca_file = {ca_file:?}\n");

    let opened = Server::with_config(&format!("{hosts}{rule}{trust}")).await;
    let reply = opened.execute("echo", &body).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "from inside"));

    let distrusting = Server::with_config(&format!("{hosts}{rule}")).await;
    let reply = distrusting.execute("echo", &body).await;
    assert!(reply.status == 400 && reply.text().contains("no answer by HTTP"), "{}", reply.text());

    let closed = Server::with_config(&format!("{hosts}{trust}")).await;
    let reply = closed.execute("echo", &body).await;
    let text = reply.text();
    assert!(reply.status == 400 && text.contains("not allowed by this server's policy"), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
}

/// Answers once: a head that announces so many bytes, then what comes through the channel, until that is closed.
async fn in_parts(announced: usize) -> (SocketAddr, mpsc::UnboundedSender<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut parts) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _request = socket.read(&mut [0; 4096]).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        while let Some(part) = parts.recv().await {
            socket.write_all(part.as_bytes()).await.unwrap();
        }
    });
    (address, sender)
}

/// Points, 5,000 of them: more than a first chunk.
fn features() -> String {
    let feature = |n| {
        format!(
            r#"{{"type":"Feature","id":{n},"properties":null,"geometry":{{"type":"Point","coordinates":[{n},1]}}}}"#
        )
    };
    format!(
        r#"{{"type":"FeatureCollection","features":[{}]}}"#,
        (0..5000).map(feature).collect::<Vec<_>>().join(",\n")
    )
}

#[tokio::test]
async fn chunks_are_there_while_the_input_is_fetched() {
    for breaks in [false, true] {
        let text = features();
        let (first, rest) = text.split_at(text.len() / 2);
        let (address, parts) = in_parts(text.len()).await;
        let server = Server::with_config(&format!("[egress]\nallow = [\"{address}\"]\n")).await;
        // What it is stands nowhere: its beginning tells.
        let body =
            json!({ "inputs": { "data": { "href": format!("http://{address}/points") }, "tolerance": 0 } });
        let job = server.submit("OutputStreamingSimplifyDouglasPeucker", &body).await;
        parts.send(first.to_owned()).unwrap();
        let playlist = format!("/jobs/{job}/results/result/playlist");
        let seen = eventually("a chunk", DEADLINE, async || {
            let seen = server.get(&playlist).await.json();
            (!seen["chunks"].as_array()?.is_empty()).then_some(seen)
        })
        .await;
        assert_eq!(seen["end"], false, "{seen}");
        if !breaks {
            parts.send(rest.to_owned()).unwrap();
        }
        drop(parts);
        let ended = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
        let lines = server.get(&format!("{playlist}?f=ndjson")).await.text();
        if breaks {
            assert_eq!(ended["status"], "failed");
            assert!(ended["message"].as_str().unwrap().contains("data"), "{ended}");
            assert!(lines.contains("stream-error"), "{lines}");
        } else {
            assert_eq!(ended["status"], "successful");
            assert_eq!(lines.matches("\"Point\"").count(), 5000);
        }
    }
}
