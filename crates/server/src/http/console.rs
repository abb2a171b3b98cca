//! `GET /console`: the connected agents with their load.

use super::answer::{self, Asked};
use super::negotiate::Form;
use super::pages::{AgentRow, AgentsPage};
use crate::app::App;
use anabranch_engine::Counts;
use anabranch_remote::AgentInfo;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// Agents and counts.
pub(crate) async fn agents(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked { app: &app, headers: &headers, query: query.as_deref(), path: "/console" };
    let (agents, counts) = (app.orchestrator.agents(), app.engine.counts());
    match Form::wanted(asked.query, &headers) {
        Err(error) => asked.error(&error),
        Ok(Form::Html) => {
            let page = AgentsPage {
                page: asked.page(),
                agents: agents.iter().map(AgentRow::from).collect(),
                queued: counts.queued,
                running: counts.running,
                finished: finished(&counts),
            };
            answer::html(StatusCode::OK, &page)
        }
        Ok(Form::Json) => {
            let agents: Vec<Value> = agents.iter().map(agent_json).collect();
            let jobs =
                json!({ "queued": counts.queued, "running": counts.running, "finished": finished(&counts) });
            answer::json(StatusCode::OK, &json!({ "agents": agents, "jobs": jobs }))
        }
    }
}

fn agent_json(agent: &AgentInfo) -> Value {
    json!({
        "name": agent.name,
        "connected": agent.connected,
        "services": agent.services.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "capacity": agent.capacity,
        "running": agent.running,
        "cpuPercent": agent.load.map(|load| load.cpu_percent),
        "memoryPercent": agent.load.map(|load| load.memory_percent),
        "loadAverage": agent.load.map(|load| load.load_average),
        "version": agent.version,
        "since": agent.since,
        "lastSeen": agent.last_seen,
    })
}

fn finished(counts: &Counts) -> u64 {
    counts.processes.values().map(|process| process.succeeded + process.failed + process.dismissed).sum()
}
