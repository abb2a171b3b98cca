//! `GET /jobs/{job}/events`: status and log of a job as server-sent events, until it ends.

use super::answer::Asked;
use super::outputs::parse_job;
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_engine::JobView;
use anabranch_model::{Error, JobId, Viewer};
use anabranch_ogc::ogcapi::job::status_info;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// Events a client may be behind; then the job's news is taken together, as only the newest state counts.
const EVENTS_AHEAD_MAX: usize = 16;
/// Log lines read at once.
const LINES_MAX: usize = 500;
/// Between two looks at the job: a person sees no more, and a busy job sends no more.
const PACE: Duration = Duration::from_millis(100);

/// Starts the stream. Each status event is a statusInfo document; each log event has `number`, `source` and `text`, and its number as
/// id, so that a browser that reconnects goes on where it was (`Last-Event-ID`). `?from=` skips lines already known.
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/events");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    match start(&asked, &job, first_line(asked.query, &headers)).await {
        Ok(receiver) => {
            let stream = ReceiverStream::new(receiver);
            Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
        }
        Err(error) => asked.error(&error),
    }
}

/// What is no number counts as none: the whole log is told.
fn first_line(query: Option<&str>, headers: &HeaderMap) -> u64 {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("from=")?.parse().ok());
    last.map(|number| number.saturating_add(1)).or(from).unwrap_or(0)
}

async fn start(
    asked: &Asked<'_>,
    job: &str,
    first_line: u64,
) -> Result<mpsc::Receiver<Result<Event, Infallible>>, Error> {
    let id = parse_job(job)?;
    let watched = asked.app.engine.watch(asked.viewer(), id).await?;
    let lines = asked.app.engine.watch_log(asked.viewer(), id).await?;
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD_MAX);
    tokio::spawn(follow(
        Arc::clone(asked.app),
        asked.viewer().clone(),
        id,
        watched,
        lines,
        first_line,
        sender,
    ));
    Ok(receiver)
}

/// Ends with the job, with its last state, or when the client has gone (the sender then fails).
async fn follow(
    app: App,
    viewer: Viewer,
    id: JobId,
    mut watched: watch::Receiver<Arc<JobView>>,
    mut lines: watch::Receiver<u64>,
    mut next_line: u64,
    sender: mpsc::Sender<Result<Event, Infallible>>,
) {
    let mut told = None;
    loop {
        let view = Arc::clone(&watched.borrow_and_update());
        if send_log(&app, &viewer, id, &mut next_line, &sender).await.is_err() {
            return;
        }
        if told.as_ref() != Some(&view.job) {
            let status = Event::default().event("status").json_data(status_info(&view.job, &app.base));
            let Ok(status) = status else { return };
            if sender.send(Ok(status)).await.is_err() || view.job.is_finished() {
                return;
            }
            told = Some(view.job.clone());
        }
        tokio::time::sleep(PACE).await;
        tokio::select! {
            changed = watched.changed() => if changed.is_err() { return },
            Ok(()) = lines.changed() => {}
            () = sender.closed() => return,
        }
    }
}

async fn send_log(
    app: &App,
    viewer: &Viewer,
    id: JobId,
    next_line: &mut u64,
    sender: &mpsc::Sender<Result<Event, Infallible>>,
) -> Result<(), ()> {
    loop {
        let Ok(page) = app.engine.log(viewer, id, *next_line, LINES_MAX).await else { return Ok(()) };
        for line in &page.lines {
            let data = json!({ "number": line.number, "source": line.source, "text": line.text });
            let event = Event::default()
                .event("log")
                .id(line.number.to_string())
                .json_data(data)
                .map_err(|_unserialisable| ())?;
            sender.send(Ok(event)).await.map_err(|_client_gone| ())?;
        }
        *next_line = page.next;
        if page.lines.len() < LINES_MAX {
            return Ok(());
        }
    }
}
