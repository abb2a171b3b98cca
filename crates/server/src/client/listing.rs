//! `anabranch jobs`, `agents`, `drain`, `kill` and `log`.

use crate::cli;
use crate::client::api::Api;
use crate::terminal::{line, note, table};
use serde_json::{Value, json};
use std::time::Duration;

/// How often an agent that is being drained is looked at.
const DRAIN_POLL: Duration = Duration::from_secs(1);

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Lists jobs, newest first.
pub(crate) async fn jobs(command: &cli::Jobs) -> anyhow::Result<()> {
    let api = Api::new(&command.remote)?;
    let mut url = api.url(&["jobs"]);
    url.query_pairs_mut().append_pair("limit", &command.limit.to_string());
    for (name, value) in [
        ("status", command.status.clone()),
        ("processID", command.process.clone()),
        ("datetime", command.datetime.clone()),
        ("minDuration", command.min_duration.map(|seconds| seconds.to_string())),
        ("maxDuration", command.max_duration.map(|seconds| seconds.to_string())),
    ] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    let list = api.get(url).await?;
    let rows: Vec<_> = list["jobs"].as_array().into_iter().flatten().map(job_row).collect();
    table(["JOB", "PROCESS", "STATUS", "%", "CREATED", "MESSAGE"], &rows);
    Ok(())
}

fn job_row(job: &Value) -> [String; 6] {
    ["jobID", "processID", "status", "progress", "created", "message"].map(|name| cell(&job[name]))
}

/// Lists connected agents.
pub(crate) async fn agents(command: &cli::Remote) -> anyhow::Result<()> {
    let api = Api::new(command)?;
    let list = console(&api).await?;
    let rows: Vec<_> = list["agents"].as_array().into_iter().flatten().map(agent_row).collect();
    table(["AGENT", "STATE", "RUNS", "CPU %", "MEMORY %", "SERVICES"], &rows);
    for queue in list["waiting"].as_array().into_iter().flatten() {
        let (runs, process, reason) = (&queue["runs"], cell(&queue["process"]), cell(&queue["reason"]));
        line(format_args!("{runs} runs of {process} wait for an agent: {reason}"));
    }
    Ok(())
}

/// Has an agent take no new runs, or the server no new jobs, or take them again.
pub(crate) async fn drain(command: &cli::Drain) -> anyhow::Result<()> {
    let api = Api::new(&command.remote)?;
    let order = json!({ "agent": command.agent, "drain": !command.undo });
    let answer = api.post(api.url(&["console", "drain"]), &order).await?;
    let (name, what) = match &answer["agent"] {
        Value::String(name) => (name.clone(), "run"),
        _ => ("the server".to_owned(), "job"),
    };
    if command.undo {
        line(format_args!("{name} takes {what}s again"));
        return Ok(());
    }
    line(format_args!("{name} takes no new {what}s"));
    if command.wait {
        match &command.agent {
            Some(_) => drained(&api, &name).await?,
            None => server_drained(&api).await?,
        }
        line(format_args!("{name} is drained: no {what} is left"));
    }
    Ok(())
}

async fn console(api: &Api) -> anyhow::Result<Value> {
    let mut url = api.url(&["console"]);
    url.query_pairs_mut().append_pair("f", "json");
    api.get(url).await
}

/// Waits until a server that is being drained has no job left.
async fn server_drained(api: &Api) -> anyhow::Result<()> {
    loop {
        let jobs = console(api).await?["jobs"].take();
        anyhow::ensure!(jobs["draining"] == true, "the server was told to take jobs again");
        if jobs["queued"] == 0 && jobs["running"] == 0 {
            return Ok(());
        }
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

/// Waits until an agent that is being drained has no run left.
async fn drained(api: &Api, name: &str) -> anyhow::Result<()> {
    loop {
        let list = console(api).await?;
        let agent = list["agents"].as_array().into_iter().flatten().find(|agent| agent["name"] == *name);
        let Some(agent) = agent.filter(|agent| agent["connected"] == true) else {
            anyhow::bail!("{name} is not connected any more");
        };
        anyhow::ensure!(agent["draining"] == true, "{name} was told to take runs again");
        if agent["running"] == 0 {
            return Ok(());
        }
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

fn agent_row(agent: &Value) -> [String; 6] {
    let percent = |name: &str| agent[name].as_f64().map_or_else(|| "-".into(), |n| format!("{n:.0}"));
    let services: Vec<String> = agent["services"].as_array().into_iter().flatten().map(cell).collect();
    [
        cell(&agent["name"]),
        match &agent["obstacle"] {
            _ if agent["connected"] != true => "lost".into(),
            Value::Null => "connected".into(),
            obstacle => cell(obstacle),
        },
        format!("{}/{}", cell(&agent["running"]), cell(&agent["capacity"])),
        percent("cpuPercent"),
        percent("memoryPercent"),
        services.join(" "),
    ]
}

/// Dismisses a job.
pub(crate) async fn kill(command: &cli::Kill) -> anyhow::Result<()> {
    let api = Api::new(&command.remote)?;
    let status = api.delete(api.url(&["jobs", &command.job])).await?;
    line(format_args!("{} {}", command.job, cell(&status["status"])));
    Ok(())
}

/// Prints the log of a job, to its end if asked.
pub(crate) async fn log(command: &cli::Log) -> anyhow::Result<()> {
    let api = Api::new(&command.remote)?;
    if !command.follow {
        let mut url = api.url(&["jobs", &command.job, "log"]);
        url.query_pairs_mut().append_pair("f", "json");
        let page = api.get(url).await?;
        for entry in page["lines"].as_array().into_iter().flatten() {
            line(cell(&entry["text"]));
        }
        return Ok(());
    }
    let mut events = api.events(&command.job).await?;
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "log" => line(cell(&event.data["text"])),
            _ if ["successful", "failed", "dismissed"]
                .contains(&event.data["status"].as_str().unwrap_or_default()) =>
            {
                note(cell(&event.data["status"]));
                break;
            }
            _ => {}
        }
    }
    Ok(())
}
