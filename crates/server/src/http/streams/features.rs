//! The features of all chunks as one response, while the job goes on. The client's reading is what drives it.

use super::followers::{Follower, Gone};
use super::log::{Log, failure};
use super::playlist::chunk_type;
use crate::http::answer;
use crate::http::streams::view;
use anabranch_engine::JobView;
use anabranch_formats::playlist::features::{self, Framing, LINES, Records, SEQUENCE};
use anabranch_model::{Error, Fault, FaultKind, Subject, Value};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes of records handed over at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Starts behind chunk `after`. What is known to hold no features is refused before anything is sent.
pub(super) async fn follow(log: Log, framing: Framing, after: u64) -> Result<Response, Error> {
    let watched = log.watch().await?;
    let page = log.page(0, 1).await?;
    if let Some(media_type) = chunk_type(&page).filter(|media_type| !view::has_features(media_type)) {
        let rule = format!("can't show the features of chunks in {media_type}");
        return Err(Error::invalid(Fault::new(Subject::Parameter("f".into()), FaultKind::Unsupported, rule)));
    }
    let (follower, receiver) = Follower::new(log.app.followers.admit()?);
    tokio::spawn(tell(log, framing, after, watched, follower));
    let media_type = if framing == Framing::Sequence { SEQUENCE } else { LINES };
    let mut response =
        answer::with_type(StatusCode::OK, media_type, Body::from_stream(ReceiverStream::new(receiver)));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Ends with the job, with the first chunk that can't be read, or when the client has gone.
async fn tell(
    log: Log,
    framing: Framing,
    mut told: u64,
    mut watched: watch::Receiver<Arc<JobView>>,
    follower: Follower,
) -> Result<(), Gone> {
    let mut features = 0;
    let error = loop {
        watched.borrow_and_update();
        let page = match log.page(told, 1).await {
            Ok(page) => page,
            Err(error) => break Some(error),
        };
        if let Some(chunk) = page.chunks.into_iter().next() {
            told = page.first + 1;
            match send_features(&log, chunk, framing, &follower).await? {
                Ok(count) => features += count,
                Err(error) => break Some(error),
            }
            continue;
        }
        if page.view.job.is_finished() {
            break failure(&page.view);
        }
        while log.stored(&watched.borrow_and_update()) <= told && !watched.borrow().job.is_finished() {
            follower.news(&mut watched, "").await?;
        }
    };
    let mut last = Vec::new();
    let detail = error.map(|error| error.client_text());
    features::end(framing, features, detail.as_deref(), &mut last).map_err(|_never| Gone)?;
    follower.send(last).await
}

/// The number of features of a chunk, once they are sent; or why it has none.
async fn send_features(
    log: &Log,
    chunk: Value,
    framing: Framing,
    follower: &Follower,
) -> Result<Result<u64, Error>, Gone> {
    let Value::Complex(chunk) = chunk else { return Ok(Err(Error::process_failed("a chunk is no data"))) };
    let geojson = match view::geojson(&log.app, &chunk).await {
        Ok(geojson) => geojson,
        Err(error) => return Ok(Err(error)),
    };
    let mut records = Records::new(geojson, framing);
    while !records.is_done() {
        let (filled, block) = match fill(records).await {
            Ok(filled) => filled,
            Err(error) => return Ok(Err(error)),
        };
        records = filled;
        if !block.is_empty() {
            follower.send(block).await?;
        }
    }
    Ok(Ok(records.count()))
}

/// One block of records; on a thread that may block for that long only, for clients may be slow.
async fn fill<R: Read + Send + 'static>(mut records: Records<R>) -> Result<(Records<R>, Vec<u8>), Error> {
    let filled = tokio::task::spawn_blocking(move || {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let filled = records.fill(&mut block, BLOCK_BYTES);
        filled
            .map(|()| (records, block))
            .map_err(|error| Error::process_failed(format!("a chunk is not sound: {error}")))
    });
    filled.await.map_err(Error::internal)?
}
