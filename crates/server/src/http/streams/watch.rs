//! `GET /watch?url=…`: a playlist of anyone on a map. This server reads it and its chunks for the browser, by the egress policy, and gives
//! away nothing but what a map shows: features, outlines and pictures.

use super::followers::{Follower, Gone};
use super::view::{self, View};
use crate::app::App;
use crate::http::answer::{self, Asked};
use crate::http::caller::Caller;
use crate::http::negotiate;
use crate::http::pages::{StreamView, WatchPage};
use anabranch_egress::{Request, parse_url};
use anabranch_formats::playlist::document::Exception;
use anabranch_formats::playlist::events::{self, HEAD, KEEP_ALIVE, MEDIA_TYPE};
use anabranch_formats::playlist::{Chunk, Playlist, exception_text, read};
use anabranch_login::Operation;
use anabranch_model::{ComplexValue, Data, Error, Fault, FaultKind, Format, Subject, Value};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use url::Url;

/// Largest playlist that is watched, bytes: some ten thousand chunks.
const PLAYLIST_BYTES_MAX: u64 = 4 << 20;
/// Largest chunk that is looked at, bytes.
const CHUNK_BYTES_MAX: u64 = 32 << 20;
/// Largest report of why a stream failed, bytes.
const REPORT_BYTES_MAX: u64 = 64 << 10;
/// Longest fetch for a look, milliseconds.
const FETCH_MS_MAX: u64 = 20_000;
/// Between two looks at a playlist.
const POLL: Duration = Duration::from_secs(1);
/// Looks that may fail one after the other.
const FAILURES_MAX: u32 = 5;
/// Looks at a playlist that does not change, one after the other: half an hour.
const LOOKS_IDLE_MAX: u32 = 1800;

/// The page.
pub(crate) async fn page(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked =
        Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/watch" };
    let url = address(asked.query).ok();
    let form = match negotiate::Form::wanted(asked.query, &headers) {
        Ok(form) => form,
        Err(error) => return asked.error(&error),
    };
    let view = url.as_ref().map(|url| {
        let encoded: String = url::form_urlencoded::byte_serialize(url.as_str().as_bytes()).collect();
        StreamView {
            output: "the stream".into(),
            href: url.to_string(),
            events: app.base.at(&format!("/watch/events?url={encoded}")),
            chunk: Some(app.base.at("/watch/chunk?url=")),
        }
    });
    let url = url.map(String::from).unwrap_or_default();
    if form == negotiate::Form::Json {
        let events = view.as_ref().map(|view| &view.events);
        return answer::json(StatusCode::OK, &json!({ "playlist": url, "events": events }));
    }
    answer::html(StatusCode::OK, &WatchPage { page: asked.page(), url, view })
}

fn wrong(name: &str, rule: &str) -> Error {
    Error::invalid(Fault::new(Subject::Parameter(name.into()), FaultKind::Malformed, rule))
}

/// The parameter `url`.
fn address(query: Option<&str>) -> Result<Url, Error> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let url = pairs.find(|(name, _)| name == "url").map(|(_, url)| url.into_owned());
    let url = url.ok_or_else(|| wrong("url", "must be the address of a playlist or a chunk"))?;
    let url = parse_url(&url).map_err(|refused| wrong("url", &refused.client_text()))?;
    // The page links to it.
    let is_of_the_web = matches!(url.scheme(), "http" | "https");
    if is_of_the_web { Ok(url) } else { Err(wrong("url", "must be an address of http or https")) }
}

/// `GET /watch/events?url=…`: the chunks that a playlist lists, as events, as they come.
pub(crate) async fn watch_events(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked {
        app: &app,
        caller: &caller,
        headers: &headers,
        query: query.as_deref(),
        path: "/watch/events",
    };
    // What is fetched for people is fetched in the name of this server.
    if let Err(error) = caller.check_any(Operation::Execute) {
        return asked.error(&error);
    }
    let started = address(asked.query).and_then(|url| Ok((url, app.followers.admit()?)));
    let (url, place) = match started {
        Ok(started) => started,
        Err(error) => return asked.error(&error),
    };
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let (follower, receiver) = Follower::new(place);
    tokio::spawn(tell(App::clone(&app), url, known, follower));
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let mut response = answer::with_type(StatusCode::OK, MEDIA_TYPE, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Ends with the playlist, when it can't be read or does not change for long, or when the client has gone.
async fn tell(app: App, url: Url, mut told: u64, follower: Follower) -> Result<(), Gone> {
    follower.send(HEAD).await?;
    let (mut failures, mut idle) = (0, 0);
    loop {
        let failed = match look(&app, &url).await {
            Ok((playlist, base)) => {
                failures = 0;
                let new = tell_new(&playlist, &base, &mut told, &follower).await?;
                idle = if new { 0 } else { idle + 1 };
                if playlist.is_ended {
                    return tell_end(&app, &playlist, &base, told, &follower).await;
                }
                (idle > LOOKS_IDLE_MAX).then(|| "nothing has come for long".to_owned())
            }
            Err(text) => {
                failures += 1;
                (failures >= FAILURES_MAX).then_some(text)
            }
        };
        if let Some(detail) = failed {
            return send_end(told, Some(Exception { detail, href: url.into() }), &follower).await;
        }
        // A comment now and then finds out whether the client is still there.
        follower.send(KEEP_ALIVE).await?;
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = follower.gone() => return Err(Gone),
        }
    }
}

/// The playlist as it is now, and the address it came from.
async fn look(app: &App, url: &Url) -> Result<(Playlist, Url), String> {
    let accept = format!("{}, text/plain, */*;q=0.5", Format::PLAYLIST);
    let (body, from, _) = fetch(app, url, PLAYLIST_BYTES_MAX, &accept).await?;
    let playlist = read(&body, false).map_err(|malformed| malformed.to_string())?;
    Ok((playlist, from))
}

async fn fetch(
    app: &App,
    url: &Url,
    bytes_max: u64,
    accept: &str,
) -> Result<(Bytes, Url, Option<String>), String> {
    let mut url = url.clone();
    url.set_fragment(None);
    let request =
        Request::get(url).header("Accept", accept).body_bytes_max(bytes_max).total_ms_max(FETCH_MS_MAX);
    let response = app.egress.fetch(request).await.map_err(|error| error.client_text())?;
    let (from, media_type) = (response.url().clone(), response.content_type.clone());
    let body = response.bytes(bytes_max).await.map_err(|error| error.client_text())?;
    Ok((body, from, media_type))
}

/// True where there were any.
async fn tell_new(
    playlist: &Playlist,
    base: &Url,
    told: &mut u64,
    follower: &Follower,
) -> Result<bool, Gone> {
    let mut block = Vec::new();
    for (seq, href) in (playlist.left_out + 1..).zip(&playlist.chunks) {
        if seq > *told {
            // What is no address is listed as it is; the browser will say that it can't be shown.
            let href = base.join(href).map_or_else(|_no_address| href.clone(), String::from);
            events::chunk(&Chunk { seq, href, ..Chunk::default() }, &mut block).map_err(|_never| Gone)?;
            *told = seq;
        }
    }
    if block.is_empty() {
        return Ok(false);
    }
    follower.send(block).await.map(|()| true)
}

async fn tell_end(
    app: &App,
    playlist: &Playlist,
    base: &Url,
    told: u64,
    follower: &Follower,
) -> Result<(), Gone> {
    let Some(href) = &playlist.exception else { return send_end(told, None, follower).await };
    let report = match base.join(href) {
        Ok(url) => fetch(app, &url, REPORT_BYTES_MAX, "text/xml").await.ok(),
        Err(_no_address) => None,
    };
    let text = report.and_then(|(body, ..)| exception_text(&body));
    let detail = text.unwrap_or_else(|| "the stream ended with an exception".into());
    send_end(told, Some(Exception { detail, href: href.clone() }), follower).await
}

async fn send_end(told: u64, exception: Option<Exception>, follower: &Follower) -> Result<(), Gone> {
    let mut block = Vec::new();
    events::end(told, exception.as_ref(), &mut block).map_err(|_never| Gone)?;
    follower.send(block).await
}

/// `GET /watch/chunk?url=…&f=geojson`: a chunk as a map shows it.
pub(crate) async fn watch_chunk(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked {
        app: &app,
        caller: &caller,
        headers: &headers,
        query: query.as_deref(),
        path: "/watch/chunk",
    };
    // What is fetched for people is fetched in the name of this server.
    if let Err(error) = caller.check_any(Operation::Execute) {
        return asked.error(&error);
    }
    chunk_in(&asked).await.unwrap_or_else(|error| asked.error(&error))
}

async fn chunk_in(asked: &Asked<'_>) -> Result<Response, Error> {
    let url = address(asked.query)?;
    let form = View::asked(asked.query)?.unwrap_or(View::GeoJson);
    let _place = asked.app.followers.admit()?;
    let (body, _, media_type) = fetch(asked.app, &url, CHUNK_BYTES_MAX, "*/*")
        .await
        .map_err(|reason| Error::DataNotAccessible { input: "url".into(), reason })?;
    // Servers of 2012 send rasters as base64, and call it by the name of what it holds.
    let bytes = decoded(&body).unwrap_or(body);
    let data = Data::Bytes(bytes);
    let detected = view::detected_type(&data);
    let media_type = detected.or(media_type).unwrap_or_else(|| "application/octet-stream".into());
    let chunk = Value::Complex(ComplexValue::new(data, Format::new(media_type)));
    form.answer(asked.app, &chunk).await
}

/// A TIFF in base64.
fn decoded(body: &[u8]) -> Option<Bytes> {
    if !["SUkq", "TU0A", "SUkr", "TU0AK"].iter().any(|magic| body.starts_with(magic.as_bytes())) {
        return None;
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rasters_of_2012_are_unpacked_and_nothing_else() {
        let tiff = base64::engine::general_purpose::STANDARD.encode(b"II*\0abcdefgh");
        assert_eq!(decoded(format!("{}\r\n{}", &tiff[..8], &tiff[8..]).as_bytes()).unwrap(), "II*\0abcdefgh");
        assert!(decoded(b"II*\0abc").is_none() && decoded(b"{}").is_none() && decoded(b"SUkq*").is_none());
    }

    #[test]
    fn an_address_is_one_of_the_web() {
        assert_eq!(address(Some("f=html&url=http%3A%2F%2Fh%2Fp")).unwrap().as_str(), "http://h/p");
        for query in [None, Some("url="), Some("url=javascript:alert(1)"), Some("url=file:///etc/passwd")] {
            assert!(address(query).is_err(), "{query:?}");
        }
    }
}
