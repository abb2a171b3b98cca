//! Style sheets, scripts and the map's background, kept in the binary.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "assets"]
struct Assets;

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let media_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "geojson")) => "application/geo+json",
        Some((_, "txt" | "md")) => "text/plain; charset=utf-8",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match Assets::get(&name) {
        Some(file) => {
            ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "max-age=3600")], file.data)
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
