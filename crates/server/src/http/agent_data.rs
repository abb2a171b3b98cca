//! What agents fetch and upload, by the URLs of [`crate::data_plane`].

use super::file_body;
use crate::app::App;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use tokio::io::AsyncWriteExt as _;
use tokio_stream::StreamExt as _;

/// `GET /agent-data/{run}/{token}/inputs/{input}/{index}`
pub(crate) async fn input(
    State(app): State<App>,
    Path((run, token, input, index)): Path<(String, String, String, u64)>,
) -> Response {
    let Some(run) = app.data_plane.authorize(&run, &token) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match file_body::whole(&app.data_plane.offer_path(run, &input, index)).await {
        Ok((body, bytes)) => {
            let mut response = body.into_response();
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            response
        }
        Err(error) => {
            tracing::warn!(%error, %run, input, "an input that an agent asks for can't be read");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

/// `PUT /agent-data/{run}/{token}/outputs/{output}/{n}`: whole or not at all; the last upload counts.
pub(crate) async fn upload(
    State(app): State<App>,
    Path((run, token, output, n)): Path<(String, String, String, u64)>,
    body: Body,
) -> Response {
    let Some(authorized) = app.data_plane.authorize(&run, &token) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A run that is over (dismissed, lost) has no use for results, and nobody would remove them.
    if !app.data_plane.is_unfinished(authorized.job).await {
        return StatusCode::GONE.into_response();
    }
    let path = app.data_plane.upload_path(authorized, &output, n);
    match store(&path, body.into_data_stream(), app.output_bytes_max).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE.into_response()
        }
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE.into_response()
        }
        Err(error) => {
            tracing::warn!(%error, %run, output, "an upload failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn store(path: &FilePath, body: BodyDataStream, bytes_max: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write(&partial, body, bytes_max).await;
    match written {
        Ok(()) => tokio::fs::rename(&partial, path).await,
        Err(error) => {
            let _what_failed_counts = tokio::fs::remove_file(&partial).await;
            Err(error)
        }
    }
}

async fn write(path: &FilePath, mut body: BodyDataStream, bytes_max: u64) -> io::Result<()> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut bytes = 0;
    while let Some(block) = body.next().await {
        let block = block.map_err(io::Error::other)?;
        bytes += block.len() as u64;
        if bytes > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.write_all(&block).await?;
    }
    file.flush().await
}
