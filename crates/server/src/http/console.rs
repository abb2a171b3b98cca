//! `GET /console`: what runs and waits, the agents with their load, limits and disk; `POST /console/drain`: agents, or the server itself, for
//! maintenance.

use super::answer::{self, Asked};
use super::negotiate::Form;
use super::pages::console::{AgentRow, ConsolePage, LimitRow, LiveRow, room_text};
use super::same_site::refuse_foreign;
use crate::app::App;
use crate::audit::Event;
use crate::http::caller::Caller;
use anabranch_engine::{Counts, Usage, UsageOf};
use anabranch_login::Operation;
use anabranch_model::description::media_type_essence;
use anabranch_ogc::ogcapi::Problem;
use anabranch_remote::{AgentInfo, DrainError, WaitingRuns};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most jobs shown: a page that is fetched every few seconds; `/jobs` lists them all.
const JOBS_SHOWN_MAX: usize = 100;

/// Most limits shown: those that fill up come first.
const LIMITS_SHOWN_MAX: usize = 50;

/// The page, or what is on it as JSON.
pub(crate) async fn console(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked =
        Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/console" };
    if let Err(error) = caller.check_any(Operation::Operate) {
        return asked.error(&error);
    }
    let (agents, counts) = (app.orchestrator.agents(), app.engine.counts());
    match Form::wanted(asked.query, &headers) {
        Err(error) => asked.error(&error),
        Ok(Form::Html) => answer::html(StatusCode::OK, &page(&asked, &agents, &counts)),
        Ok(Form::Json) => {
            let agents: Vec<Value> = agents.iter().map(agent_json).collect();
            let jobs = json!({
                "queued": counts.queued,
                "running": counts.running,
                "finished": finished(&counts),
                "draining": app.engine.is_draining(),
            });
            let waiting: Vec<Value> = app.orchestrator.waiting().iter().map(waiting_json).collect();
            let limits: Vec<Value> = limits(&app).iter().map(limit_json).collect();
            let document = json!({ "agents": agents, "waiting": waiting, "jobs": jobs, "limits": limits });
            answer::json(StatusCode::OK, &document)
        }
    }
}

fn page(asked: &Asked<'_>, agents: &[AgentInfo], counts: &Counts) -> ConsolePage {
    let app = asked.app;
    let (jobs, count) = app.engine.unfinished(JOBS_SHOWN_MAX);
    ConsolePage {
        page: asked.page(),
        is_draining: app.engine.is_draining(),
        queued: counts.queued,
        running: counts.running,
        finished: finished(counts),
        more: count - jobs.len(),
        jobs: jobs.iter().map(|live| LiveRow::new(app, live)).collect(),
        agents: agents.iter().map(AgentRow::from).collect(),
        waiting: app.orchestrator.waiting(),
        limits: limits(app),
        disk: app.engine.room().map(room_text),
    }
}

/// The limits that fill up, the fullest first: of the server, of users, of processes.
fn limits(app: &App) -> Vec<LimitRow> {
    let (used, max) = (app.connections.open() as u64, app.connections_max as u64);
    let mut rows = vec![LimitRow { name: "connections", whose: whose(&UsageOf::Server), used, max }];
    rows.extend(app.engine.usage().iter().flat_map(limits_of));
    rows.sort_by(|a, b| b.share().total_cmp(&a.share()));
    rows.truncate(LIMITS_SHOWN_MAX);
    rows
}

/// Limits of single jobs do not fill up.
fn limits_of(usage: &Usage) -> impl Iterator<Item = LimitRow> + '_ {
    usage.limits.iter().filter_map(|limit| {
        let used = usage.used(limit.kind)?;
        Some(LimitRow { name: limit.kind.unit(), whose: whose(&usage.of), used, max: limit.max })
    })
}

fn whose(of: &UsageOf) -> String {
    match of {
        UsageOf::Server => "the server".to_owned(),
        UsageOf::User(Some(user)) => user.to_string(),
        UsageOf::User(None) => "who has not logged in".to_owned(),
        UsageOf::Process(process) => process.to_string(),
    }
}

fn limit_json(row: &LimitRow) -> Value {
    json!({ "limit": row.name, "of": row.whose, "used": row.used, "most": row.max })
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
        "labels": agent.labels,
        "draining": agent.draining,
        "obstacle": agent.obstacle,
    })
}

fn waiting_json(waiting: &WaitingRuns) -> Value {
    json!({ "process": waiting.process.to_string(), "runs": waiting.runs, "reason": waiting.reason })
}

/// What an operator wants of an agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainOrder {
    /// Its name, or its instance alone; none for this server itself.
    #[serde(default)]
    agent: Option<String>,
    /// False: it may take runs again.
    drain: bool,
}

/// `POST /console/drain`, as form or JSON: `agent` takes no new runs and finishes those it has, or (`drain=false`) takes runs again. Without
/// `agent` this server takes no new jobs, and finishes those it has.
pub(crate) async fn drain(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: None, path: "/console/drain" };
    if let Some(problem) = refuse_foreign(&headers, &app.base) {
        return asked.problem(problem);
    }
    if let Err(error) = caller.check_any(Operation::Operate) {
        return asked.error(&error);
    }
    let order = match read_order(&headers, &body) {
        Ok(order) => order,
        Err(detail) => return asked.problem(Problem::http(400, "no order", detail)),
    };
    let drained = match &order.agent {
        Some(agent) => app.orchestrator.drain(agent, order.drain).await.map(Some),
        None => {
            app.engine.set_draining(order.drain);
            Ok(None)
        }
    };
    let outcome = drained.as_ref().map_or_else(ToString::to_string, |_name| "taken".into());
    let agent = order.agent.as_deref().unwrap_or("the server itself");
    app.audit.record(&caller, Event::Drained { agent, drain: order.drain, outcome: &outcome });
    match (drained, Form::wanted(None, &headers)) {
        (Ok(_), Ok(Form::Html)) => Redirect::to(&app.base.at("/console")).into_response(),
        (Ok(name), _) => answer::json(StatusCode::OK, &json!({ "agent": name, "draining": order.drain })),
        (Err(error), _) => {
            let status = match error {
                DrainError::NoSuchAgent(_) => 404,
                DrainError::Several { .. } => 409,
                DrainError::Stopped => 503,
            };
            asked.problem(Problem::http(status, "no such agent", error.to_string()))
        }
    }
}

fn read_order(headers: &HeaderMap, body: &[u8]) -> Result<DrainOrder, String> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media_type_essence(media_type).as_str() {
        "application/json" => serde_json::from_slice(body).map_err(|error| error.to_string()),
        _ => {
            let pairs: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
            let field = |name: &str| pairs.get(name).ok_or_else(|| format!("field '{name}' is missing"));
            let drain = field("drain")?;
            let drain = drain.parse().map_err(|_| format!("'drain' must be true or false, not {drain:?}"))?;
            Ok(DrainOrder { agent: pairs.get("agent").cloned(), drain })
        }
    }
}

fn finished(counts: &Counts) -> u64 {
    counts.processes.values().map(|process| process.succeeded + process.failed + process.dismissed).sum()
}
