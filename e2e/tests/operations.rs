//! What operators and their monitors see: metrics, health, ids, draining, reloading.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, binary, command, eventually, get_with, script_service};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

/// The value of a line of `/metrics`.
fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

async fn metrics(server: &Server) -> String {
    let reply = server.get("/metrics").await;
    assert_eq!(
        (reply.status, reply.content_type.as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    reply.text()
}

#[tokio::test]
async fn monitors_count_jobs_requests_agents_and_refusals() {
    let server = Server::start().await;
    let _agent = Agent::start(&server, "a1", &[("said.toml", &script_service("Said", "printf done", ""))]);
    server.published("default:Said", true).await;
    assert_eq!(server.execute("echo", &json!({ "inputs": { "literalInput": "hello" } })).await.status, 200);
    let job = server.submit("default:Said", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let inside = json!({ "inputs": { "literalInput": { "href": "http://169.254.169.254/latest/" } } });
    assert_eq!(server.execute("echo", &inside).await.status, 400);

    let text = metrics(&server).await;
    assert_eq!(value(&text, "anabranch_jobs_finished_total{process=\"echo\",outcome=\"succeeded\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_jobs_accepted_total{process=\"default:Said\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_job_run_seconds_count{process=\"default:Said\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_job_queue_seconds_count{process=\"echo\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_output_chunks_total"), 2.0);
    assert_eq!(value(&text, "anabranch_output_bytes_total"), 9.0);
    let execution =
        "anabranch_http_requests_total{route=\"/processes/{process}/execution\",method=\"POST\",status=";
    assert_eq!(value(&text, &format!("{execution}\"200\"}}")), 1.0);
    assert_eq!(value(&text, &format!("{execution}\"400\"}}")), 1.0);
    assert_eq!(value(&text, "anabranch_agents{state=\"connected\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_agent_slots"), 4.0);
    assert_eq!(value(&text, "anabranch_runs_total{event=\"completed\"}"), 1.0);
    assert_eq!(value(&text, "anabranch_xmpp_online"), 1.0);
    assert!(value(&text, "anabranch_xmpp_sessions") >= 2.0);
    assert_eq!(value(&text, "anabranch_egress_refusals_total{reason=\"metadata\"}"), 1.0);
    assert!(value(&text, "anabranch_store_commit_seconds_count{durable=\"true\"}") >= 1.0);
    assert!(value(&text, "anabranch_disk_free_bytes") > 0.0);
    assert!(value(&text, "anabranch_http_connections") >= 1.0);
    // Whatever paths and methods clients invent, there are no more lines.
    for path in ["/nothing", "/else", "/jobs/of/nobody"] {
        server.get(path).await;
    }
    let text = metrics(&server).await;
    assert_eq!(
        value(&text, "anabranch_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}"),
        3.0
    );
}

#[tokio::test]
async fn a_request_and_its_job_are_found_in_the_log_by_their_ids() {
    let server = Server::with_config("[log]\nlevel = \"debug\"\nformat = \"json\"").await;
    let url = server.url("/processes?f=json");
    let reply = get_with(&url, &[("X-Request-Id", "mine-1.2:3")]).await;
    assert_eq!(reply.header("x-request-id"), Some("mine-1.2:3"));
    let made = server.get("/processes").await.header("x-request-id").unwrap().to_owned();
    assert_eq!(made.len(), 32);
    let cut = get_with(&url, &[("X-Request-Id", "in\"jected id")]).await;
    assert_ne!(cut.header("x-request-id"), Some("in\"jected id"));

    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "hello" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let is_of_job = |span: &Value| span["name"] == "job" && span["id"] == job.as_str();
    let line = eventually("a line of the job", DEADLINE, async || {
        let log = server.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .into_iter()
            .find(|line| line["spans"].as_array().is_some_and(|spans| spans.iter().any(is_of_job)))
    })
    .await;
    let spans = line["spans"].as_array().unwrap();
    assert_eq!(spans[0]["name"], "request", "{line}");
    assert_eq!(spans[0]["id"].as_str().unwrap().len(), 32, "{line}");
    assert!(server.log().lines().any(|line| line.contains("answered") && line.contains("mine-1.2:3")));
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_bad_one_is_not() {
    let server = Server::with_config("").await;
    let reference = json!({ "inputs": { "literalInput": { "href": "http://127.0.0.1:9/x" } } });
    let refused =
        async || server.execute("echo", &reference).await.text().contains("not allowed by this server");
    assert!(refused().await);
    let change = |text: &str| {
        std::fs::write(server.data.path().join("config.toml"), text).unwrap();
        kill_process(server.pid(), Signal::HUP).unwrap();
    };
    let logged = async |text: &str| {
        eventually(text, DEADLINE, async || server.log().contains(text).then_some(())).await;
    };
    change("[egress]\nallow = [\"127.0.0.1:9\"]\nschemes = [\"gopher\"]");
    logged("the configuration stays as it is").await;
    assert!(refused().await);
    change("[egress]\nallow = [\"127.0.0.1:9\"]\n[http]\nsync_s_max = 7\n[log]\nlevel = \"debug\"");
    logged("in force after a restart only keys=\"http.sync_s_max\"").await;
    logged("changed=\"egress.allow, log.level\"").await;
    assert!(!refused().await);
    server.get("/healthz").await;
    logged("answered").await;
    change(
        "[limits.each_user]\ninput_bytes_max = 3\n[egress]\nallow = [\"127.0.0.1:9\"]\n[log]\nlevel = \"debug\"",
    );
    logged("changed=\"limits.each_user\"").await;
    let over = server.execute("echo", &json!({ "inputs": { "literalInput": "four" } })).await;
    assert!(over.status == 413 && over.text().contains("input_bytes_max of each user"), "{}", over.text());
}

#[tokio::test]
async fn a_drained_server_finishes_its_jobs_and_lets_in_no_more() {
    let server = Server::start().await;
    let gate = server.data.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; printf done", gate.display());
    let _agent = Agent::start(&server, "a1", &[("gated.toml", &script_service("Gated", &script, ""))]);
    server.published("default:Gated", true).await;
    let begun = server.submit("default:Gated", &json!({ "inputs": {} })).await;
    server.job_in(&begun, &["running"], DEADLINE).await;

    kill_process(server.pid(), Signal::USR1).unwrap();
    let said = eventually("it is drained", DEADLINE, async || {
        let reply = server.get("/readyz").await;
        (reply.status == 503).then(|| reply.json())
    })
    .await;
    assert_eq!(
        said,
        json!({ "ready": false, "checks": { "jobs": "draining", "store": "ok", "xmpp": "ok" } })
    );
    assert_eq!(server.get("/healthz").await.status, 200);
    let refused = server.execute("echo", &json!({ "inputs": { "literalInput": "hello" } })).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("60")), "{}", refused.text());
    assert!(refused.text().contains("drained for maintenance"), "{}", refused.text());
    assert_eq!(value(&metrics(&server).await, "anabranch_draining"), 1.0);

    let waiting = command(binary()).args(["drain", "--wait", "--server", &server.url("/")]).output();
    let (output, ()) = tokio::join!(waiting, async {
        server.job_in(&begun, &["running"], DEADLINE).await;
        std::fs::write(&gate, "").unwrap();
    });
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(said.ends_with("the server is drained: no job is left\n"), "{said}");
    server.job_in(&begun, &["successful"], DEADLINE).await;

    kill_process(server.pid(), Signal::USR2).unwrap();
    eventually("it is ready again", DEADLINE, async || {
        (server.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(server.execute("echo", &json!({ "inputs": { "literalInput": "hello" } })).await.status, 200);
}
