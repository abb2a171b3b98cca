//! What a replay answers.

use super::Replay;
use super::recording::CHUNKS_MAX;
use anabranch_formats::playlist::writer::{self, Form};
use anabranch_formats::playlist::{Chunk, End, M3U8};
use anabranch_model::Format;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Chunks that an m3u8 playlist without an end shows: clients that were away for so long go on where it is now.
const WINDOW_CHUNKS: u64 = 64;

const TEXT: &str = "text/plain; charset=utf-8";

/// Maps of other sites may read it: it is published for that.
const FOR_ALL: (HeaderName, &str) = (ACCESS_CONTROL_ALLOW_ORIGIN, "*");

#[derive(Clone)]
struct Served {
    replay: Arc<Replay>,
    address: SocketAddr,
}

pub(super) fn router(replay: Arc<Replay>, address: SocketAddr) -> Router {
    Router::new()
        .route("/playlist.txt", get(playlist))
        .route("/chunks/{number}", get(chunk))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                [(CONTENT_TYPE, TEXT)],
                "here are /playlist.txt, with ?f=m3u8 too, and what it lists\n",
            )
        })
        .with_state(Served { replay, address })
}

async fn playlist(State(served): State<Served>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("f="));
    let (form, media_type) = match wanted {
        None | Some("playlist") => (Form::Plain, Format::PLAYLIST),
        Some("m3u8") => (Form::M3u8, M3U8),
        Some(_) => {
            let text = "parameter f must be playlist or m3u8\n";
            return (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, TEXT)], text).into_response();
        }
    };
    let replay = &served.replay;
    let published = replay.published(replay.started.elapsed());
    let mut text = Vec::new();
    match render(replay, published, form, &base(&headers, served.address), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-cache"), FOR_ALL], text).into_response(),
        Err(error) => failed(&error),
    }
}

/// The playlist when so many chunks have come.
pub(super) fn render(
    replay: &Replay,
    published: u64,
    form: Form,
    base: &str,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut end = if replay.is_complete(published) { End::Complete } else { End::Open };
    let (mut left_out, mut until) = (0, published);
    match form {
        Form::M3u8 if replay.is_loop => {
            left_out = published.saturating_sub(WINDOW_CHUNKS);
            writer::window_head(left_out, out)?;
        }
        Form::Plain if published >= CHUNKS_MAX as u64 => {
            // It can't slide, and must not grow without an end.
            until = CHUNKS_MAX as u64;
            end = End::Complete;
            writer::head(form, out)?;
        }
        Form::Plain | Form::M3u8 => writer::head(form, out)?,
    }
    for seq in left_out + 1..=until {
        let chunk = &replay.recording.chunks()[replay.place(seq)];
        let chunk = Chunk {
            seq,
            href: format!("{base}/chunks/{seq}"),
            count: Some(chunk.features),
            bytes: Some(chunk.bytes),
            run_ms: Some((1000.0 * chunk.features as f64 / replay.rate) as u64),
            ..Chunk::default()
        };
        writer::entry(form, &chunk, out)?;
    }
    writer::end(form, &end, out)
}

async fn chunk(State(served): State<Served>, Path(number): Path<String>) -> Response {
    let replay = served.replay;
    let published = replay.published(replay.started.elapsed());
    let Some(seq) = number.parse().ok().filter(|seq| (1..=published).contains(seq)) else {
        let text = format!("{published} chunks have come, the first is /chunks/1\n");
        return (StatusCode::NOT_FOUND, [(CONTENT_TYPE, TEXT)], text).into_response();
    };
    let media_type = replay.recording.media_type();
    let place = replay.place(seq);
    let read = tokio::task::spawn_blocking(move || replay.recording.read(place)).await;
    match read.map_err(io::Error::from).and_then(|read| read) {
        // A chunk never changes.
        Ok(Some(bytes)) => {
            ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, "max-age=3600"), FOR_ALL], bytes).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Response {
    tracing::error!(%error, "a replay can't be read");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Where the client reaches this server.
fn base(headers: &HeaderMap, address: SocketAddr) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match host.and_then(|host| host.parse::<Authority>().ok()) {
        Some(authority) if !authority.as_str().contains('@') => format!("http://{authority}"),
        Some(_) | None => format!("http://{address}"),
    }
}
