//! Streams that one run of an executable takes: it is fed on standard input, at an agent, while its records become chunks.

#![allow(clippy::unwrap_used)]

use e2e::producer::Producer;
use e2e::{Agent, DEADLINE, Server, eventually, processes_with, try_get};
use serde_json::{Value, json};

const PROCESS: &str = "default:FullStreamingLabel";
const GEOJSON: &str = "application/x-ogc-playlist+application/geo+json";

/// Numbers the features of the whole stream: what no run for a chunk could know.
const SCRIPT: &str = r#"import json, sys
for number, line in enumerate(sys.stdin, 1):
    feature = json.loads(line)
    feature["properties"]["number"] = number
    print(json.dumps(feature), flush=True)
"#;

const SERVICE: &str = r#"
identifier = "Label"
title = "Numbers features"
idempotent = true
[chunking]
inputs = ["data"]
output = "labelled"
cut = "features"
stdin = "ndjson"
[inputs.data]
type = "complex"
formats = ["application/geo+json"]
[outputs.labelled]
type = "complex"
formats = ["application/geo+json-seq"]
stdout = true
records = { max = 1 }
[command]
program = "python3"
arguments = ["-u", "SCRIPT"]
grace = "1 s"
"#;

struct Fed {
    producer: Producer,
    server: Server,
    _agent: Agent,
    /// Of the script, by which its processes are found.
    script: tempfile::NamedTempFile,
}

impl Fed {
    async fn start(script: &str) -> Self {
        let producer = Producer::start().await;
        let allow = producer.address;
        let config = format!("[egress]\nallow = [\"{allow}\"]\n[streaming]\npoll_ms = 50\n");
        let server = Server::with_config(&config).await;
        let file = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let service = SERVICE.replace("SCRIPT", file.path().to_str().unwrap());
        let agent = Agent::start(&server, "a1", &[("label.toml", &service)]);
        server.published(PROCESS, true).await;
        Self { producer, server, _agent: agent, script: file }
    }

    async fn submit(&self) -> String {
        let request = json!({
            "inputs": { "data": { "href": self.producer.url(), "type": GEOJSON } },
            "outputs": { "result": { "format": { "mediaType": GEOJSON } } },
            "response": "document",
        });
        self.server.submit(PROCESS, &request).await
    }

    fn runs(&self) -> usize {
        processes_with(self.script.path().to_str().unwrap()).len()
    }

    async fn chunks(&self, job: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} chunks"), DEADLINE, async || {
            let playlist = self.server.get(&format!("/jobs/{job}/results/result/playlist")).await.json();
            let chunks = playlist["chunks"].as_array()?;
            (chunks.len() >= count).then(|| chunks.clone())
        })
        .await
    }
}

#[tokio::test]
async fn an_executable_at_an_agent_reads_a_stream_while_it_comes() {
    let fed = Fed::start(SCRIPT).await;
    let job = fed.submit().await;
    for count in 1..=3 {
        fed.producer.add();
        let chunks = fed.chunks(&job, count).await;
        let chunk = &chunks[count - 1];
        // What is known of it without reading it: one feature, a degree wide.
        assert_eq!(chunk["count"], 1, "{chunk}");
        let bbox: Vec<f64> = serde_json::from_value(chunk["bbox"].clone()).unwrap();
        assert_eq!(bbox, [count as f64, 40.0, count as f64 + 1.0, 40.01], "{chunk}");
        assert!(chunk["stored"].as_str().unwrap().ends_with('Z'), "{chunk}");
        let collection = try_get(chunk["href"].as_str().unwrap()).await.unwrap().json();
        assert_eq!(collection["features"][0]["properties"]["number"], count, "{collection}");
    }
    fed.producer.end();
    let status = fed.server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let m3u8 = fed.server.get(&format!("/jobs/{job}/results/result/playlist?f=m3u8")).await.text();
    assert_eq!(m3u8.matches("\n#EXT-X-PROGRAM-DATE-TIME:20").count(), 3, "{m3u8}");
    assert_eq!(m3u8.matches(",COUNT=1,").count(), 3, "{m3u8}");
    let list = fed.server.get(&format!("/jobs/{job}/results/result/playlist?f=playlist")).await.text();
    assert!(list.ends_with("\n#PLAYLIST-END\n") && list.lines().count() == 5, "{list}");
    // Data that is all there goes in by the same way, and comes out in the same pieces.
    let data = try_get(&format!("http://{}/chunk/7", fed.producer.address)).await.unwrap().json();
    let request = json!({ "inputs": { "data": { "value": data, "mediaType": "application/geo+json" } } });
    let reply = fed.server.execute("default:Label", &request).await;
    assert!(reply.status == 200 && reply.text().contains("\"number\": 1"), "{}", reply.text());
    eventually("no process is left", DEADLINE, async || (fed.runs() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_stream_without_end_is_dismissed_with_all_its_processes() {
    let fed = Fed::start(SCRIPT).await;
    let job = fed.submit().await;
    fed.producer.add();
    fed.chunks(&job, 1).await;
    assert!(fed.runs() > 0);
    fed.server.delete(&format!("/jobs/{job}")).await;
    let status = fed.server.job_in(&job, &["dismissed"], DEADLINE).await;
    assert_eq!(status["status"], "dismissed", "{status}");
    assert_eq!(fed.runs(), 0, "dismissed is said when nothing is left");
    let list = fed.server.get(&format!("/jobs/{job}/results/result/playlist?f=playlist")).await.text();
    assert!(list.contains("#EXCEPTION:") && list.ends_with("\n#PLAYLIST-END\n"), "{list}");
}

#[tokio::test]
async fn an_executable_that_dies_in_the_middle_ends_the_stream_with_its_reason() {
    let dying = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)\n    sys.exit('out of ink')\n";
    let fed = Fed::start(dying).await;
    let job = fed.submit().await;
    fed.producer.add();
    let status = fed.server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "failed", "{status}");
    assert_eq!(fed.chunks(&job, 1).await.len(), 1, "what came before stays");
    let playlist = fed.server.get(&format!("/jobs/{job}/results/result/playlist")).await.json();
    assert!(playlist["exception"]["detail"].as_str().unwrap().contains("exited with code 1"), "{playlist}");
}

#[tokio::test]
async fn a_fed_stream_ends_with_an_exception_when_the_server_is_killed() {
    let mut fed = Fed::start(SCRIPT).await;
    let job = fed.submit().await;
    fed.producer.add();
    fed.chunks(&job, 1).await;
    fed.server.kill().await;
    fed.server.start_again().await;
    let status = fed.server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "failed", "what it had been fed can't be fed again: {status}");
    let list = fed.server.get(&format!("/jobs/{job}/results/result/playlist?f=playlist")).await.text();
    assert!(list.contains("#EXCEPTION:") && list.ends_with("\n#PLAYLIST-END\n"), "{list}");
    assert_eq!(fed.chunks(&job, 1).await.len(), 1, "what was shown stays");
    eventually("its run has ended", DEADLINE, async || (fed.runs() == 0).then_some(())).await;
}
