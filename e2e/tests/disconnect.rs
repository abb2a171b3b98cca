//! Synchronous jobs whose client goes away, by each of the two policies and in each interface.

#![allow(clippy::unwrap_used)]

use e2e::raw::half_open;
use e2e::{DEADLINE, Server, eventually, processes_with, script_service};
use std::path::Path;

/// Waits for a file, which is its mark too, and says so.
fn hold(gate: &Path) -> String {
    let gate = gate.display();
    script_service("Hold", &format!("while ! [ -e {gate} ]; do sleep 0.05; done; echo open"), "")
}

/// The same Execute by the three interfaces, as it goes over the wire.
fn requests() -> Vec<String> {
    let post = |path: &str, content_type: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let by_2 = "<wps:Execute xmlns:wps='http://www.opengis.net/wps/2.0' xmlns:ows='http://www.opengis.net/ows/2.0' service='WPS' \
        version='2.0.0' mode='sync' response='raw'><ows:Identifier>default:Hold</ows:Identifier><wps:Output id='said'/></wps:Execute>";
    let by_1 = "/wps?service=WPS&version=1.0.0&request=Execute&identifier=default:Hold&RawDataOutput=said";
    vec![
        post("/processes/default:Hold/execution", "application/json", "{}"),
        format!("GET {by_1} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        post("/wps", "text/xml", by_2),
    ]
}

/// Sends each request, and goes away when its job runs; the jobs.
async fn left_alone(server: &Server) -> Vec<String> {
    let mut jobs = Vec::new();
    for request in requests() {
        let client = half_open(server, &request).await;
        let job = eventually("the job runs", DEADLINE, async || {
            let list = server.get("/jobs?status=running&limit=100").await.json();
            let mut ids = list["jobs"].as_array()?.iter().filter_map(|job| job["jobID"].as_str());
            ids.find(|id| !jobs.iter().any(|known| known == id)).map(str::to_owned)
        })
        .await;
        drop(client);
        jobs.push(job);
    }
    jobs
}

#[tokio::test]
async fn jobs_whose_client_went_away_are_dismissed() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    std::fs::write(folder.path().join("hold.toml"), hold(&gate)).unwrap();
    let server = Server::with_config(&format!("[services]\nfolder = {:?}", folder.path())).await;
    for job in left_alone(&server).await {
        server.job_in(&job, &["dismissed"], DEADLINE).await;
    }
    assert_eq!(
        processes_with(gate.to_str().unwrap()),
        [0; 0],
        "dismissed is said when nothing runs any more"
    );
}

#[tokio::test]
async fn or_they_are_kept_and_end_with_their_results() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    std::fs::write(folder.path().join("hold.toml"), hold(&gate)).unwrap();
    let config = format!("[http]\non_disconnect = \"keep\"\n[services]\nfolder = {:?}", folder.path());
    let server = Server::with_config(&config).await;
    let jobs = left_alone(&server).await;
    eventually("the server has seen that they went away", DEADLINE, async || {
        (server.log().matches("went away; the job goes on").count() == jobs.len()).then_some(())
    })
    .await;
    std::fs::write(&gate, "").unwrap();
    for job in jobs {
        server.job_in(&job, &["successful"], DEADLINE).await;
        let said = server.get(&format!("/jobs/{job}/results/said")).await;
        assert_eq!((said.status, said.text().trim()), (200, "open"), "{}", said.text());
    }
}
