//! What WPS answers when the server or a process can't: overload, modes that a process does not have, processes that are gone.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Reply, Server, eventually, get_with, post_as, script_service};
use serde_json::json;

fn execute_1(process: &str, more: &str) -> String {
    format!("/wps?service=WPS&version=1.0.0&request=Execute&identifier={process}{more}")
}

async fn execute_2(server: &Server, process: &str, mode: &str, output: &str) -> Reply {
    let body = format!(
        "<wps:Execute xmlns:wps=\"http://www.opengis.net/wps/2.0\" xmlns:ows=\"http://www.opengis.net/ows/2.0\" \
         service=\"WPS\" version=\"2.0.0\" mode=\"{mode}\" response=\"document\"><ows:Identifier>{process}</ows:Identifier>\
         <wps:Output id=\"{output}\"/></wps:Execute>"
    );
    server.post("/wps", "text/xml", body).await
}

#[track_caller]
fn check(reply: &Reply, status: u16, code: &str, locator: &str) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert!(text.contains(&format!("exceptionCode=\"{code}\"{locator}")), "{text}");
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_back() {
    let server = Server::with_config("[limits]\nqueued_jobs_max = 1\nparallel_runs_max = 1").await;
    let sleep = json!({ "inputs": { "pause": 600, "literalInput": "x" } });
    let first = server.submit("echo", &sleep).await;
    server.job_in(&first, &["running"], DEADLINE).await;
    let second = server.submit("echo", &sleep).await;
    let refused = [
        server.get(&execute_1("echo", "&DataInputs=literalInput=a")).await,
        execute_2(&server, "echo", "sync", "literalOutput").await,
    ];
    for reply in &refused {
        check(reply, 503, "ServerBusy", "");
        let seconds = reply.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0), "no Retry-After");
    }
    for job in [second, first] {
        server.delete(&format!("/jobs/{job}")).await;
    }
}

#[tokio::test]
async fn a_users_limit_is_429_and_a_removed_job_is_gone_in_every_interface() {
    let server = Server::with_config("[limits.each_user]\nhourly_jobs_max = 1\ninput_bytes_max = 1000").await;
    let large = format!("&DataInputs=literalInput={}", "x".repeat(1001));
    check(&server.get(&execute_1("echo", &large)).await, 413, "FileSizeExceeded", "");
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let over = [
        server.get(&execute_1("echo", "&DataInputs=literalInput=a")).await,
        execute_2(&server, "echo", "sync", "literalOutput").await,
        server.execute("echo", &json!({ "inputs": { "literalInput": "x" } })).await,
    ];
    for reply in &over {
        assert_eq!(reply.status, 429, "{}", reply.text());
        assert!(reply.text().contains("at most 1 jobs an hour, as hourly_jobs_max of each user says"));
        let seconds = reply.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=3660).contains(&seconds)), "no Retry-After");
    }
    check(&over[1], 429, "ServerBusy", "");
    server.delete(&format!("/jobs/{job}")).await;
    let status = format!("/wps?service=WPS&version=2.0.0&request=GetStatus&jobId={job}");
    let gone = [
        server.get(&format!("/jobs/{job}/results")).await,
        server.get(&format!("/wps/status/{job}")).await,
        server.get(&status).await,
    ];
    for reply in &gone {
        assert_eq!(reply.status, 410, "{}", reply.text());
        assert!(reply.text().contains("dismissed it") || reply.text().contains("an operator removed it"));
    }
}

#[tokio::test]
async fn what_is_meant_for_the_background_goes_last_in_every_interface() {
    let server = Server::with_config("[limits]\nparallel_runs_max = 1").await;
    let sleep = json!({ "inputs": { "pause": 600, "literalInput": "x" } });
    let first = server.submit("echo", &sleep).await;
    server.job_in(&first, &["running"], DEADLINE).await;
    // All asynchronously; the newest job is the first of the list.
    let by_2 = "<wps:Execute xmlns:wps='http://www.opengis.net/wps/2.0' xmlns:ows='http://www.opengis.net/ows/2.0' service='WPS' \
        version='2.0.0' mode='async' response='document'><ows:Identifier>echo</ows:Identifier>\
        <wps:Input id='literalInput'><wps:Data>x</wps:Data></wps:Input><wps:Output id='literalOutput'/></wps:Execute>";
    let by_1 = execute_1("echo", "&DataInputs=literalInput=x&storeExecuteResponse=true&status=true");
    let json = ("content-type", "application/json");
    let (background, later) = (("priority", "u=7"), ("prefer", "respond-async"));
    let body = r#"{ "inputs": { "literalInput": "x" } }"#;
    let ogc = server.url("/processes/echo/execution");
    for reply in [
        post_as(&ogc, &[json, later, background], body).await,
        get_with(&server.url(&by_1), &[background]).await,
        post_as(&server.url("/wps"), &[("content-type", "text/xml"), background], by_2).await,
        // What browsers send says nothing.
        post_as(&ogc, &[json, later, ("priority", "u=4, i")], body).await,
    ] {
        assert!(reply.status < 300, "{}", reply.text());
    }
    server.delete(&format!("/jobs/{first}")).await;
    let began = eventually("all have begun", DEADLINE, async || {
        let jobs = server.get("/jobs?limit=4").await.json();
        let began = jobs["jobs"].as_array()?.iter().map(|job| job["started"].as_str().map(str::to_owned));
        began.collect::<Option<Vec<_>>>()
    })
    .await;
    assert!(began.len() == 4 && began[1..].iter().all(|low| *low > began[0]), "{began:?}");
}

#[tokio::test]
async fn when_results_go_is_said_in_every_interface_and_may_differ_by_process() {
    let config = "[limits]\nresults_keep_s = 86400\n[processes.\"snap*\".limits]\nresults_keep_s = 7\n\
         [processes.\"ech*\".limits]\nresults_keep_s = 3600\n[limits.each_user]\nresults_keep_s = 7200";
    let server = Server::with_config(config).await;
    let job = server.submit("echo", &json!({ "inputs": { "literalInput": "x" } })).await;
    let status = server.job_in(&job, &["successful"], DEADLINE).await;
    let finished: jiff::Timestamp = status["finished"].as_str().unwrap().parse().unwrap();
    let expires = finished + jiff::SignedDuration::from_secs(3600);
    let sunset = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for path in [
        "/jobs/JOB",
        "/jobs/JOB?f=html",
        "/jobs/JOB/results",
        "/jobs/JOB/results/literalOutput",
        "/wps/status/JOB",
    ] {
        let reply = server.get(&path.replace("JOB", &job)).await;
        assert_eq!((reply.status, reply.header("sunset")), (200, Some(sunset.as_str())), "{path}");
    }
    let by_2 =
        server.get(&format!("/wps?service=WPS&version=2.0.0&request=GetStatus&jobId={job}")).await.text();
    assert!(by_2.contains(&format!("<wps:ExpirationDate>{expires}</wps:ExpirationDate>")), "{by_2}");
}

#[tokio::test]
async fn modes_that_a_process_does_not_have_are_refused() {
    let services = tempfile::tempdir().unwrap();
    for (name, more) in [("Wait", "async_execute = false"), ("Leave", "sync_execute = false")] {
        let file = services.path().join(format!("{name}.toml"));
        std::fs::write(file, script_service(name, "echo done", more)).unwrap();
    }
    let server = Server::with_config(&format!("[services]\nfolder = {:?}", services.path())).await;
    let status = "&storeExecuteResponse=true&status=true";
    let stored = server.get(&execute_1("default:Wait", status)).await;
    check(&stored, 400, "StorageNotSupported", " locator=\"status\"");
    let waited = server.get(&execute_1("default:Leave", "")).await;
    check(&waited, 400, "InvalidParameterValue", " locator=\"status\"");
    for (process, mode) in [("default:Wait", "async"), ("default:Leave", "sync")] {
        let reply = execute_2(&server, process, mode, "said").await;
        check(&reply, 400, "NoSuchMode", " locator=\"mode\"");
    }
    // Where only one is left, nothing has to be chosen.
    let auto = execute_2(&server, "default:Wait", "auto", "said").await;
    assert!(auto.text().contains("<wps:Result"), "{}", auto.text());
    let described = "/wps?service=WPS&version=1.0.0&request=DescribeProcess&identifier=default:Wait";
    assert!(server.get(described).await.text().contains("statusSupported=\"false\""));
}

#[tokio::test]
async fn jobs_outlive_their_process() {
    let services = tempfile::tempdir().unwrap();
    let file = services.path().join("gone.toml");
    std::fs::write(&file, script_service("Gone", "echo still here", "")).unwrap();
    let mut server = Server::with_config(&format!("[services]\nfolder = {:?}", services.path())).await;
    let job = server.submit("default:Gone", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    server.stop().await;
    std::fs::remove_file(file).unwrap();
    server.start_again().await;
    server.published("default:Gone", false).await;
    for path in [
        format!("/wps/status/{job}"),
        format!("/wps?service=WPS&version=2.0.0&request=GetResult&jobid={job}"),
        format!("/jobs/{job}/results"),
    ] {
        let text = eventually(&path, DEADLINE, async || {
            Some(server.get(&path).await).filter(|reply| reply.status == 200).map(|reply| reply.text())
        })
        .await;
        assert!(text.contains("still here"), "{path}: {text}");
    }
}
