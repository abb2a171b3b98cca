//! For load balancers and supervisors.

use super::answer;
use crate::app::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

/// `GET /healthz`: the process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// What `/readyz` says.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: Checks,
}

/// Each of them `ok`, or what is wrong.
#[derive(Serialize)]
struct Checks {
    /// New jobs are let in.
    jobs: &'static str,
    /// The job store takes writes.
    store: &'static str,
    /// The session with the XMPP server, the embedded one or another, is up.
    xmpp: &'static str,
}

/// `GET /readyz`: it takes jobs, and can keep and send them. 503 where not.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let jobs = match (app.stopping.is_cancelled(), app.engine.is_draining()) {
        (true, _) => "stopping",
        (false, true) => "draining",
        (false, false) => OK,
    };
    let store = if app.engine.is_store_writable() { OK } else { "can't be written" };
    let xmpp = if app.orchestrator.counters().online { OK } else { "not connected" };
    let ready = [jobs, store, xmpp].iter().all(|check| *check == OK);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, &Readiness { ready, checks: Checks { jobs, store, xmpp } })
}

const OK: &str = "ok";
