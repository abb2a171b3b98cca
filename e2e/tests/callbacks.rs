//! Callbacks: a receiver outside is told what becomes of jobs, also when the server is killed in between.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Server, eventually};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const SECRET: &str = "a secret of the end-to-end tests";

/// A callback as it arrived.
#[derive(Clone, Debug)]
struct Received {
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Takes callbacks; while it is busy it answers 503.
struct Receiver {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    busy: Arc<Mutex<usize>>,
}

impl Receiver {
    /// Busy for the first `busy` callbacks.
    fn start(busy: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let busy = Arc::new(Mutex::new(busy));
        let (notes, left) = (Arc::clone(&received), Arc::clone(&busy));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A server that is killed leaves in the middle.
                let _left = take(stream.unwrap(), &notes, &left);
            }
        });
        Self { address, received, busy }
    }

    fn config(&self, folder: &Path) -> String {
        let secret = folder.join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        format!("[egress]\nallow = [{:?}]\n[callbacks]\nsecret_file = {secret:?}\n", self.address)
    }

    fn subscriber(&self) -> Value {
        let url = |path: &str| format!("http://{}/{path}", self.address);
        json!({ "successUri": url("success"), "inProgressUri": url("progress"), "failedUri": url("failed") })
    }

    fn at(&self, path: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|received| received.path == path).cloned().collect()
    }

    async fn wait(&self, path: &str, count: usize) -> Vec<Received> {
        eventually(&format!("{count} callbacks to {path}"), DEADLINE, async || {
            Some(self.at(path)).filter(|received| received.len() >= count)
        })
        .await
    }
}

fn take(mut stream: TcpStream, notes: &Mutex<Vec<Received>>, busy: &Mutex<usize>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> =
        fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body)?;
    let mut busy = busy.lock().unwrap();
    let status = if *busy > 0 { "503 Service Unavailable" } else { "204 No Content" };
    *busy = busy.saturating_sub(1);
    notes.lock().unwrap().push(Received { path, headers, body });
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

async fn server(receiver: &Receiver) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_config(&receiver.config(folder.path())).await;
    (server, folder)
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_under_the_same_name_and_signed() {
    let receiver = Receiver::start(1);
    let (server, _folder) = server(&receiver).await;
    let body = json!({ "inputs": { "literalInput": "x" },
        "subscriber": { "successUri": receiver.subscriber()["successUri"] } });
    let job = server.submit("echo", &body).await;
    for received in receiver.wait("/success", 2).await {
        assert_eq!(received.json()["literalOutput"], "x");
        assert_eq!(received.headers["content-type"], "application/json");
        assert_eq!(received.headers["anabranch-delivery"], format!("{job}-succeeded"));
        let signature = &received.headers["anabranch-signature"];
        let (time, code) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(&received.body);
        let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(code, expected);
    }
}

#[tokio::test]
async fn a_server_that_was_killed_sends_what_is_due_and_nothing_else() {
    let receiver = Receiver::start(usize::MAX);
    let (mut server, _folder) = server(&receiver).await;
    let body = json!({ "inputs": { "literalInput": "x" }, "subscriber": receiver.subscriber() });
    let job = server.submit("echo", &body).await;
    receiver.wait("/success", 1).await;
    server.kill().await;
    *receiver.busy.lock().unwrap() = 0;
    let before = receiver.at("/success").len();
    server.start_again().await;
    let received = receiver.wait("/success", before + 1).await;
    assert_eq!(received[before].headers["anabranch-delivery"], format!("{job}-succeeded"));

    // A stop in order writes down what was taken: the next server sends its own callback and nothing else.
    server.stop().await;
    server.start_again().await;
    let next = server.submit("echo", &body).await;
    let received = receiver.wait("/success", before + 2).await;
    assert_eq!(received.len(), before + 2);
    assert_eq!(received[before + 1].headers["anabranch-delivery"], format!("{next}-succeeded"));
}

#[tokio::test]
async fn addresses_inside_are_refused_by_name() {
    let server = Server::start().await;
    for address in
        ["http://169.254.169.254/", "http://2130706433/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd"]
    {
        let body = json!({ "inputs": { "literalInput": "x" }, "subscriber": { "failedUri": address } });
        let refused = server.execute("echo", &body).await;
        let text = refused.text();
        assert_eq!(refused.status, 400, "{address}: {text}");
        assert!(
            text.contains("subscriber.failedUri") && text.contains("not allowed by this server's policy")
        );
    }
    assert_eq!(server.get("/jobs").await.json()["jobs"], json!([]));
}
