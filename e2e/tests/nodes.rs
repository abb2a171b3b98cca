//! Three servers with one PostgreSQL, one folder, one XMPP server and a proxy before them: what is left of a job when one of them
//! dies, stands still, is cut off, has a wrong clock, or is restarted.

#![allow(clippy::unwrap_used)]

use e2e::link::Link;
use e2e::postgres::Postgres;
use e2e::producer::Producer;
use e2e::proxy::Proxy;
use e2e::xmpp_servers::{Maker, XmppServer};
use e2e::{
    Agent, Circumstances, DEADLINE, Opened, Server, clock_off_by, eventually, free_port, script_service,
    try_get,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Within this time the jobs of a dead node go on, as it is promised.
const TAKEN_OVER: Duration = Duration::from_secs(15);

const STREAM: &str = "FullStreamingSimplifyDouglasPeucker";

/// Everything that nodes share, and the nodes.
struct Cluster {
    nodes: Vec<Server>,
    proxy: Proxy,
    folder: TempDir,
    xmpp: XmppServer,
    /// The way of the first node to the database.
    link: Link,
    _postgres: Postgres,
}

impl Cluster {
    /// `more` is of every node's configuration.
    async fn start(more: &str) -> Self {
        let (postgres, xmpp) = tokio::join!(Postgres::start(), XmppServer::start(Maker::Prosody));
        let folder = tempfile::tempdir().unwrap();
        let proxy = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let link = Link::to(SocketAddr::from(([127, 0, 0, 1], postgres.port))).await;
        let mut nodes = Vec::new();
        for (name, port, clock) in
            [("a", link.address.port(), None), ("b", postgres.port, Some("+1h")), ("c", postgres.port, None)]
        {
            let config = format!(
                "{}[http]\npublic_url = \"http://{proxy}\"\n[store]\n{}folder = \"{}\"\nnode = \"{name}\"\n{more}",
                xmpp.server_config(),
                postgres.config_by(port),
                folder.path().join("shared").display()
            );
            nodes.push(Server::start_in(&config, |_data| clock.map(faked).unwrap_or_default()).await);
        }
        let proxy = Proxy::start(proxy, nodes.iter().map(|node| node.http).collect()).await;
        Self { nodes, proxy, folder, xmpp, link, _postgres: postgres }
    }

    /// An agent with a service that writes a line into `begun` and waits for the file `gate`, and publishes both to every node.
    async fn agent(&self) -> (Agent, Gate) {
        let gate = Gate { folder: self.folder.path().to_owned() };
        let folder = gate.folder.display();
        // The result is too large for a message: it comes by the address of the proxy.
        let script = format!(
            "echo begun >> {folder}/begun; until [ -e {folder}/gate ]; do sleep 0.1; done; head -c 200000 /dev/zero | tr '\\0' x"
        );
        let service = script_service("Waits", &script, "");
        let agent = Agent::start_with("p1", &[("waits.toml", &service)], &self.xmpp.agent_arguments());
        for node in &self.nodes {
            node.published("default:Waits", true).await;
        }
        (agent, gate)
    }

    fn logs(&self) -> String {
        self.nodes.iter().map(Server::log).collect::<Vec<_>>().join("\n---\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// A server whose clock is wrong.
fn faked(offset: &str) -> Circumstances {
    Circumstances { environment: clock_off_by(offset), ..Circumstances::default() }
}

/// What the service of the agent waits for.
struct Gate {
    folder: PathBuf,
}

impl Gate {
    fn open(&self) {
        std::fs::write(self.folder.join("gate"), "").unwrap();
    }

    fn begun(&self) -> usize {
        std::fs::read_to_string(self.folder.join("begun")).unwrap_or_default().lines().count()
    }
}

fn echo(pause_s: u32) -> Value {
    json!({ "inputs": { "literalInput": "hello", "pause": pause_s } })
}

#[tokio::test]
async fn the_jobs_of_a_node_that_is_killed_go_on_at_the_others() {
    let mut cluster = Cluster::start("[limits]\nparallel_runs_max = 4\n").await;
    let (agent, gate) = cluster.agent().await;
    let far = cluster.nodes[0].submit("default:Waits", &json!({ "inputs": {} })).await;
    // Two run, the others wait for a slot.
    let mut local = Vec::new();
    for _ in 0..6 {
        local.push(cluster.nodes[0].submit("echo", &echo(2)).await);
    }
    cluster.nodes[1].job_in(&far, &["running"], DEADLINE).await;
    cluster.nodes[2].job_in(&local[0], &["running"], DEADLINE).await;
    // Any node shows where the others' jobs are.
    let mut events = Opened::get(&cluster.nodes[1].url(&format!("/jobs/{far}/events")), "").await;
    assert!(events.until("running").await, "{}", events.seen);

    cluster.nodes[0].kill().await;
    let died = Instant::now();
    eventually("a job of the dead node has begun elsewhere", TAKEN_OVER, async || {
        let job = cluster.nodes[1].job(&local[2]).await;
        (job["status"] != "accepted").then_some(())
    })
    .await;
    println!("taken over after {:.1} s", died.elapsed().as_secs_f64());
    for job in &local {
        cluster.nodes[1].job_in(job, &["successful"], DEADLINE).await;
    }
    eventually("the agent's run is found again", DEADLINE, async || {
        let log = try_get(&format!("http://{}/jobs/{far}/log", cluster.proxy.address)).await.ok()?.text();
        log.contains("found again at agent").then_some(())
    })
    .await;
    gate.open();
    cluster.nodes[2].job_in(&far, &["successful"], DEADLINE).await;
    assert_eq!(gate.begun(), 1, "{}", agent.log());
    let url = format!("http://{}/jobs/{far}/results/said", cluster.proxy.address);
    assert_eq!(try_get(&url).await.unwrap().body.len(), 200_000);
    assert!(events.until("successful").await, "{}", events.seen);
}

#[tokio::test]
async fn a_node_that_stood_still_writes_nothing_when_it_goes_on() {
    let mut cluster = Cluster::start("").await;
    let (agent, gate) = cluster.agent().await;
    let far = cluster.nodes[0].submit("default:Waits", &json!({ "inputs": {} })).await;
    let local = cluster.nodes[0].submit("echo", &echo(5)).await;
    cluster.nodes[1].job_in(&far, &["running"], DEADLINE).await;
    cluster.nodes[1].job_in(&local, &["running"], DEADLINE).await;
    let pid = cluster.nodes[0].pid();
    kill_process(pid, Signal::STOP).unwrap();
    cluster.nodes[1].job_in(&local, &["successful"], TAKEN_OVER + DEADLINE).await;
    let found_again = async || {
        let log = cluster.nodes[1].get(&format!("/jobs/{far}/log")).await.text();
        log.contains("found again at agent").then_some(())
    };
    eventually("the agent's run is found again", DEADLINE, found_again).await;
    let before = cluster.nodes[1].job(&local).await;
    kill_process(pid, Signal::CONT).unwrap();
    let status = cluster.nodes[0].ended(DEADLINE).await;
    assert_eq!(status.code(), Some(75), "{}", cluster.nodes[0].log());
    gate.open();
    cluster.nodes[1].job_in(&far, &["successful"], DEADLINE).await;
    assert_eq!(gate.begun(), 1, "{}", agent.log());
    assert_eq!(cluster.nodes[1].job(&local).await, before, "nothing was changed by the node that came back");
    assert_eq!(cluster.nodes[2].get(&format!("/jobs/{far}/results/said")).await.body.len(), 200_000);
    // It comes back as a new one.
    cluster.nodes[0].start_again().await;
    let job = cluster.nodes[0].submit("echo", &echo(0)).await;
    cluster.nodes[2].job_in(&job, &["successful"], DEADLINE).await;
}

#[tokio::test]
async fn a_node_without_the_database_is_replaced_and_streams_go_on() {
    let producer = Producer::start().await;
    let more = format!("[egress]\nallow = [\"{}\"]\n[streaming]\npoll_ms = 50\n", producer.address);
    let mut cluster = Cluster::start(&more).await;
    let body = json!({
        "inputs": {
            "data": { "href": producer.url(), "type": "application/x-ogc-playlist+application/geo+json" },
            "tolerance": 0.1,
        },
        "outputs": { "result": { "format": { "mediaType": "application/x-ogc-playlist+application/geo+json" } } },
        "response": "document",
    });
    let stream = cluster.nodes[0].submit(STREAM, &body).await;
    // Followed where it does not run, by a node whose clock is an hour ahead.
    let url = cluster.nodes[1].url(&format!("/jobs/{stream}/results/result/playlist"));
    let mut events = Opened::get(&url, "Accept: text/event-stream\r\n").await;
    producer.add();
    assert!(events.until("id: 1\nevent: chunk").await, "{}", events.seen);
    cluster.link.cut_for(TAKEN_OVER).await;
    let status = cluster.nodes[0].ended(DEADLINE).await;
    assert_eq!(status.code(), Some(75), "{}", cluster.nodes[0].log());
    producer.add();
    assert!(events.until("id: 2\nevent: chunk").await, "{}", events.seen);
    producer.end();
    assert!(events.until("event: end\ndata: {\"chunks\":2}").await, "{}", events.seen);
    // Through another node a job is dismissed that runs elsewhere.
    let job = cluster.nodes[1].submit("echo", &echo(600)).await;
    cluster.nodes[2].job_in(&job, &["running"], DEADLINE).await;
    cluster.nodes[2].delete(&format!("/jobs/{job}")).await;
    cluster.nodes[1].job_in(&job, &["dismissed"], DEADLINE).await;
}

#[tokio::test]
async fn a_rolling_restart_loses_no_job() {
    let mut cluster = Cluster::start("[limits]\ndrain_s_max = 10\n").await;
    let proxy = cluster.proxy.address;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let mut jobs = Vec::new();
        while !*stopped.borrow_and_update() {
            let url = format!("http://{proxy}/processes/echo/execution");
            let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async")];
            // A node that stops refuses, and the proxy may still have a connection to it: clients try again.
            if let Ok(reply) = e2e::try_post(&url, &headers, &echo(1).to_string()).await
                && reply.status == 201
            {
                jobs.push(reply.json()["jobID"].as_str().unwrap().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        jobs
    });
    for node in &mut cluster.nodes {
        let status = node.stop().await;
        assert!(status.success(), "{status} {}", node.log());
        node.start_again().await;
    }
    stop.send(true).unwrap();
    let jobs = load.await.unwrap();
    assert!(jobs.len() > 20, "{}", jobs.len());
    for job in &jobs {
        cluster.nodes[2].job_in(job, &["successful"], DEADLINE).await;
    }
    println!("{} jobs were accepted while three nodes were restarted; all succeeded", jobs.len());
}
