//! A playlist as server-sent events: each chunk as soon as it is there, then the end.

use super::followers::{Follower, Gone};
use super::log::Log;
use crate::http::answer;
use anabranch_engine::JobView;
use anabranch_formats::playlist::events::{self, HEAD, KEEP_ALIVE, MEDIA_TYPE};
use anabranch_model::Error;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks told at once.
const CHUNKS_MAX: usize = 100;

/// Goes on behind the event that the client had last (`Last-Event-ID`), or behind chunk `after`.
pub(super) async fn follow(log: Log, headers: &HeaderMap, after: u64) -> Result<Response, Error> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let watched = log.watch().await?;
    let page = log.page(0, 0).await?;
    if page.view.job.is_finished() && last.is_some_and(|last| last > page.total) {
        // It has the end too: this tells browsers not to come again (HTML §9.2.3).
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (follower, receiver) = Follower::new(log.app.followers.admit()?);
    tokio::spawn(tell(log, last.unwrap_or(after), watched, follower));
    let mut response =
        answer::with_type(StatusCode::OK, MEDIA_TYPE, Body::from_stream(ReceiverStream::new(receiver)));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Ends with the job, or when the client has gone.
async fn tell(
    log: Log,
    mut told: u64,
    mut watched: watch::Receiver<Arc<JobView>>,
    follower: Follower,
) -> Result<(), Gone> {
    follower.send(HEAD).await?;
    loop {
        // Marked as seen before the log is read: what comes meanwhile is news.
        watched.borrow_and_update();
        // The job has been removed: there is nothing to be told of it.
        let Ok(page) = log.page(told, CHUNKS_MAX).await else { return Ok(()) };
        let mut block = Vec::new();
        log.entries(&page).try_for_each(|chunk| events::chunk(&chunk, &mut block)).map_err(|_never| Gone)?;
        told = page.first.max(told) + page.chunks.len() as u64;
        let is_last = page.view.job.is_finished() && told >= page.total;
        if is_last {
            let exception = log.exception(&page.view);
            events::end(page.total, exception.as_ref(), &mut block).map_err(|_never| Gone)?;
        }
        if !block.is_empty() {
            follower.send(block).await?;
        }
        if is_last {
            return Ok(());
        }
        // Progress is news too, and tells nothing of chunks.
        while log.stored(&watched.borrow_and_update()) <= told && !watched.borrow().job.is_finished() {
            follower.news(&mut watched, KEEP_ALIVE).await?;
        }
    }
}
