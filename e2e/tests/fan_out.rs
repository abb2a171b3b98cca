//! One stream over several agents: its chunks run wherever there is room, and come back in order.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, eventually, try_get};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const CHUNKS: usize = 12;

/// For a killed agent to be given up (13 s), and its chunks to be run again.
const LOST_AND_REPEATED: Duration = Duration::from_secs(60);

/// Passes on what it gets, once `gate` holds a file `open`; tells there which agent it works for.
fn service(gate: &Path, idempotent: bool) -> String {
    let gate = gate.display();
    let script = format!(
        "pwd > {gate}/$$.new; mv {gate}/$$.new {gate}/began.$$; until [ -e {gate}/open ]; do sleep 0.02; done; cat \\\"$1\\\" > out.geojson"
    );
    format!(
        "namespace = \"default\"\nidentifier = \"Pass\"\ntitle = \"Pass\"\nidempotent = {idempotent}\n\
         [chunking]\ninputs = [\"data\"]\noutput = \"result\"\ncut = \"features\"\n\
         [inputs.data]\ntitle = \"Features\"\ntype = \"complex\"\nformats = [\"application/geo+json\"]\n\
         [outputs.result]\ntitle = \"Features\"\ntype = \"complex\"\nformats = [\"application/geo+json\"]\nfile = \"out.geojson\"\n\
         [command]\nprogram = \"/bin/sh\"\narguments = [\"-c\", \"{script}\", \"pass\", \"{{data}}\"]\ntime_limit = \"5 min\"\n\
         [capacity]\nruns = 2\n"
    )
}

fn request() -> Value {
    let feature = |n| json!({ "type": "Feature", "properties": { "n": n }, "geometry": { "type": "Point", "coordinates": [n, 1] } });
    let features: Vec<_> = (0..CHUNKS).map(feature).collect();
    json!({
        "inputs": {
            "data": { "value": { "type": "FeatureCollection", "features": features }, "mediaType": "application/geo+json" },
            "NumberOfChunks": CHUNKS,
        },
        "outputs": { "result": { "format": { "mediaType": "application/x-ogc-playlist+application/geo+json" } } },
        "response": "document",
    })
}

/// A stream that has chunks under way at both agents.
struct Spread {
    server: Server,
    agents: [Agent; 2],
    gate: tempfile::TempDir,
    job: String,
}

impl Spread {
    async fn start(idempotent: bool) -> Self {
        let gate = tempfile::tempdir().unwrap();
        let service = service(gate.path(), idempotent);
        let server = Server::start().await;
        let agents = ["a1", "a2"].map(|name| Agent::start(&server, name, &[("pass.toml", &service)]));
        eventually("two agents", DEADLINE, async || {
            let known = server.get("/console?f=json").await.json();
            let ready =
                known["agents"].as_array()?.iter().filter(|agent| agent["services"] != json!([])).count();
            (ready == 2).then_some(())
        })
        .await;
        let job = server.submit("default:OutputStreamingPass", &request()).await;
        let spread = Self { server, agents, gate, job };
        eventually("chunks at both agents", DEADLINE, async || {
            let began = spread.began();
            spread.agents.iter().all(|agent| began.iter().any(|folder| is_of(agent, folder))).then_some(())
        })
        .await;
        spread
    }

    /// The folders of all runs that have begun.
    fn began(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.gate.path()).unwrap().map(|file| file.unwrap().path());
        let began = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("began."));
        began.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// Lets all runs go on.
    fn open(&self) {
        std::fs::write(self.gate.path().join("open"), "").unwrap();
    }

    /// The numbers of the features that came, in their order.
    async fn came(&self) -> Vec<u64> {
        let playlist = self.server.get(&format!("/jobs/{}/results/result/playlist", self.job)).await.json();
        let mut came = Vec::new();
        for chunk in playlist["chunks"].as_array().unwrap() {
            let chunk = try_get(chunk["href"].as_str().unwrap()).await.unwrap().json();
            came.extend(
                chunk["features"].as_array().unwrap().iter().map(|f| f["properties"]["n"].as_u64().unwrap()),
            );
        }
        came
    }

    async fn text(&self, path: &str) -> String {
        self.server.get(&path.replace("JOB", &self.job)).await.text()
    }
}

fn is_of(agent: &Agent, folder: &str) -> bool {
    folder.starts_with(&agent.folder.path().canonicalize().unwrap().display().to_string())
}

#[tokio::test]
async fn chunks_of_one_stream_run_at_both_agents_and_keep_their_order() {
    let spread = Spread::start(false).await;
    spread.open();
    let status = spread.server.job_in(&spread.job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    assert_eq!(spread.came().await, (0..CHUNKS as u64).collect::<Vec<_>>());
    assert_eq!(spread.began().len(), CHUNKS, "each chunk ran once");
    let log = spread.server.get(&format!("/jobs/{}/log", spread.job)).await.json();
    let runs = |agent: &str| {
        let texts = log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap());
        texts.filter(|text| text.contains("runs at agent") && text.ends_with(agent)).count()
    };
    assert!(runs("/a1") > 0 && runs("/a2") > 0 && runs("/a1") + runs("/a2") == CHUNKS, "{log}");
}

#[tokio::test]
async fn chunks_of_a_killed_agent_run_at_the_other_one() {
    let mut spread = Spread::start(true).await;
    let lost = spread.began().iter().filter(|folder| is_of(&spread.agents[0], folder)).count();
    spread.agents[0].kill().await;
    spread.open();
    let status = spread.server.job_in(&spread.job, &["successful", "failed"], LOST_AND_REPEATED).await;
    assert_eq!(status["status"], "successful", "{status}");
    assert_eq!(spread.came().await, (0..CHUNKS as u64).collect::<Vec<_>>());
    let at_the_other = spread.began().iter().filter(|folder| is_of(&spread.agents[1], folder)).count();
    assert_eq!(at_the_other, CHUNKS, "{lost} were lost");
    let log = spread.text("/jobs/JOB/log").await;
    assert!(log.contains("attempt 1 was lost"), "{log}");
    let playlist = spread.text("/wps/RetrieveResultServlet?id=playlistJOB").await;
    assert!(playlist.ends_with("\n#PLAYLIST-END\n") && !playlist.contains("#EXCEPTION"), "{playlist}");
}

#[tokio::test]
async fn a_stream_of_a_process_that_is_not_idempotent_fails_with_its_agent() {
    let mut spread = Spread::start(false).await;
    spread.agents[0].kill().await;
    spread.open();
    let status = spread.server.job_in(&spread.job, &["successful", "failed"], LOST_AND_REPEATED).await;
    assert_eq!(status["status"], "failed", "{status}");
    let playlist = spread.text("/wps/RetrieveResultServlet?id=playlistJOB").await;
    assert!(playlist.ends_with("\n#PLAYLIST-END\n"), "{playlist}");
    let exception = playlist.lines().find_map(|line| line.strip_prefix("#EXCEPTION:")).unwrap();
    let report = try_get(exception).await.unwrap().text();
    assert!(report.contains("chunk") && report.contains("a1"), "it names chunk and agent: {report}");
    let came = spread.came().await;
    assert_eq!(came, (0..came.len() as u64).collect::<Vec<_>>(), "what came is a beginning");
}
