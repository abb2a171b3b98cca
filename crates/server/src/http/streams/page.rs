//! A stream as a page: the list of its chunks, and with scripts a map on which they appear.

use super::log::Log;
use super::playlist::chunk_type;
use crate::http::answer::{self, Asked};
use crate::http::pages::{ChunkRow, StreamPage, StreamView};
use anabranch_model::Error;
use anabranch_ogc::ogcapi::Link;
use anabranch_ogc::ogcapi::job::StatusCode as JobStatus;
use axum::http::StatusCode;
use axum::response::Response;

/// Chunks that the page lists without scripts; the playlists have all.
const ROWS_MAX: usize = 500;

pub(super) async fn page(asked: &Asked<'_>, log: &Log) -> Result<Response, Error> {
    let page = log.page(0, ROWS_MAX).await?;
    let base = &asked.app.base;
    let status = serde_json::to_value(JobStatus::of(&page.view.job)).ok();
    let view = StreamView::new(base, &log.job, &log.output);
    let links: Vec<Link> = super::playlist::others(log).collect();
    let shown = StreamPage {
        page: asked.page().linked(&links),
        job: log.job.to_string(),
        output: log.output.clone(),
        status: status.and_then(|status| status.as_str().map(str::to_owned)).unwrap_or_default(),
        is_open: !page.view.job.is_finished(),
        error: log.exception(&page.view).map(|exception| exception.detail),
        media_type: chunk_type(&page).unwrap_or_default(),
        total: page.total,
        chunks: log.entries(&page).map(ChunkRow::from).collect(),
        view,
    };
    Ok(answer::html(StatusCode::OK, &shown))
}
