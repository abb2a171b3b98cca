//! Streams that keep their last chunks only.

#![allow(clippy::unwrap_used)]

use e2e::producer::Producer;
use e2e::{DEADLINE, Server, eventually};
use serde_json::{Value, json};

const FULL: &str = "FullStreamingSimplifyDouglasPeucker";
const GEOJSON: &str = "application/x-ogc-playlist+application/geo+json";

struct Window {
    producer: Producer,
    server: Server,
    job: String,
}

impl Window {
    /// Keeps three chunks.
    async fn open() -> Self {
        let producer = Producer::start().await;
        let allow = producer.address;
        let config = format!("[egress]\nallow = [\"{allow}\"]\n[streaming]\npoll_ms = 50\n");
        let server = Server::with_config(&config).await;
        let request = json!({
            "inputs": {
                "data": { "href": producer.url(), "type": GEOJSON },
                "tolerance": 0.1,
                "MaxChunksKept": 3,
            },
            "outputs": { "result": { "format": { "mediaType": GEOJSON } } },
            "response": "document",
        });
        let job = server.submit(FULL, &request).await;
        Self { producer, server, job }
    }

    async fn text(&self, form: &str) -> String {
        self.server.get(&format!("/jobs/{}/results/result/playlist?f={form}", self.job)).await.text()
    }

    async fn json(&self) -> Value {
        self.server.get(&format!("/jobs/{}/results/result/playlist", self.job)).await.json()
    }

    async fn status_of(&self, chunk: u32) -> u16 {
        self.server.get(&format!("/jobs/{}/results/result/chunks/{chunk}", self.job)).await.status
    }

    /// Waits until so many chunks are gone.
    async fn slides_to(&self, removed: u64) {
        eventually(&format!("{removed} chunks are gone"), DEADLINE, async || {
            (self.json().await["removed"].as_u64()? == removed).then_some(())
        })
        .await;
    }
}

fn addresses(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[tokio::test]
async fn every_form_says_what_is_gone_also_after_a_kill() {
    let mut window = Window::open().await;
    let head = window.text("m3u8").await;
    assert!(head.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && !head.contains("EVENT"), "{head}");
    (0..5).for_each(|_| window.producer.add());
    window.slides_to(2).await;
    let before = window.text("playlist").await;
    for is_restarted in [false, true] {
        if is_restarted {
            window.server.kill().await;
            window.server.start_again().await;
        }
        let json = window.json().await;
        assert_eq!(
            (&json["mediaSequence"], json["chunks"].as_array().unwrap().len()),
            (&json!(3), 3),
            "{json}"
        );
        let m3u8 = window.text("m3u8").await;
        assert!(m3u8.contains("#EXT-X-MEDIA-SEQUENCE:2\n") && addresses(&m3u8).len() == 3, "{m3u8}");
        let statuses = [window.status_of(2).await, window.status_of(3).await, window.status_of(6).await];
        assert_eq!(statuses, [410, 200, 404]);
        // It can only grow.
        assert_eq!(window.text("playlist").await, before);
        assert_eq!(addresses(&before).len(), 5);
    }
    let servlet = format!("/wps/RetrieveResultServlet?id=dirplaylist{}_chunk1", window.job);
    assert_eq!(window.server.get(&servlet).await.status, 410);
    window.producer.add();
    window.slides_to(3).await;
    window.producer.end();
    let status = window.server.job_in(&window.job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let text = window.text("playlist").await;
    assert!(text.starts_with(&before) && text.ends_with("\n#PLAYLIST-END\n"), "{text}");
    assert_eq!(addresses(&text).len(), 6);
    let events = window.text("sse").await;
    assert_eq!(events.matches("event: chunk").count(), 3, "{events}");
    let features = window.text("ndjson").await;
    assert_eq!(features.lines().count(), 4, "three features and the end: {features}");
}

#[tokio::test]
async fn a_window_of_none_is_refused() {
    let window = Window::open().await;
    let request = json!({ "inputs": {
        "data": { "href": window.producer.url(), "type": GEOJSON }, "tolerance": 0.1, "MaxChunksKept": 0,
    } });
    let refused = window.server.execute(FULL, &request).await;
    assert!(refused.status == 400 && refused.text().contains("MaxChunksKept"), "{}", refused.text());
}
