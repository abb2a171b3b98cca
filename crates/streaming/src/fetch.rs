//! Fetches what playlists list.

use crate::Context;
use anabranch_egress::{EgressError, Request};
use anabranch_formats::{Convertible, DETECT_BYTES, detect};
use anabranch_model::{ComplexValue, Data, DataFile, Format, OutputSink};
use base64::Engine as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Largest base64 chunk that is decoded, bytes: it is done in memory.
const BASE64_BYTES_MAX: u64 = 256 << 20;

/// Fetches a chunk into a file of `folder`. Tries again where that may help; waits between attempts as long as `sink` is not cancelled.
///
/// # Errors
/// The reason, for the client.
pub(crate) async fn chunk(
    context: &Context,
    url: &Url,
    format: Option<Format>,
    folder: &Path,
    index: usize,
    sink: &dyn OutputSink,
) -> Result<ComplexValue, String> {
    let settings = &context.settings;
    let made = folder.to_owned();
    let made = tokio::task::spawn_blocking(move || std::fs::create_dir_all(made)).await;
    made.map_err(|error| error.to_string())
        .and_then(|made| made.map_err(|error| error.to_string()))
        .map_err(|error| {
            tracing::error!(folder = %folder.display(), error, "a folder can't be made");
            "the server can't store it".to_owned()
        })?;
    let mut attempt = 1;
    let (path, bytes, content_type) = loop {
        // Half a file of the attempt before may still be being removed.
        let path = folder.join(format!("{index}-{attempt}"));
        match once(context, url, format.as_ref(), &path).await {
            Ok((bytes, content_type)) => break (path, bytes, content_type),
            Err(error)
                if error.is_transient() && attempt < settings.fetch_attempts_max && !sink.is_cancelled() =>
            {
                tracing::debug!(%error, attempt, "a chunk could not be fetched");
                sink.sleep(pause(settings.fetch_pause_ms, attempt)).await;
                attempt += 1;
            }
            Err(error) => {
                tracing::info!(%error, attempt, "a chunk can't be fetched");
                return Err(error.client_text());
            }
        }
    };
    let data = Data::File(DataFile { path, bytes });
    let done = tokio::task::spawn_blocking(move || known(data, format, content_type));
    done.await.map_err(|error| error.to_string())?
}

/// Doubles with each attempt, and differs by a quarter from one address to the next second: many streams of one server must not come back
/// together.
fn pause(ms: u64, attempt: u32) -> Duration {
    let ms = ms.saturating_mul(1 << attempt.saturating_sub(1).min(10));
    let nanoseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| u64::from(now.subsec_nanos()));
    Duration::from_millis(ms + nanoseconds % (ms / 4 + 1))
}

async fn once(
    context: &Context,
    url: &Url,
    format: Option<&Format>,
    path: &Path,
) -> Result<(u64, Option<String>), EgressError> {
    let mut url = url.clone();
    url.set_fragment(None);
    let mut request = Request::get(url).body_bytes_max(context.settings.chunk_bytes_max);
    if let Some(format) = format {
        request = request.header("Accept", format!("{}, */*;q=0.1", format.media_type));
    }
    let response = context.egress.fetch(request).await?;
    let content_type = response.content_type.clone();
    Ok((response.save_to(path).await?, content_type))
}

/// The value with a format that says what it is: the playlist's word, made precise by the content where several formats have one name; else
/// the word of the server that holds the chunk. Blocking.
fn known(data: Data, said: Option<Format>, content_type: Option<String>) -> Result<ComplexValue, String> {
    let in_base64 = said.as_ref().is_some_and(|format| {
        format.encoding.as_deref().is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
    });
    let data = if in_base64 { decoded(data)? } else { data };
    let media_type = said.as_ref().map(|format| format.media_type.clone()).or(content_type);
    let is_clear = media_type.as_deref().is_some_and(|media_type| Convertible::of(media_type).is_some());
    let found = if is_clear { None } else { detect(&first_bytes(&data)) };
    let media_type = found.map(str::to_owned).or(media_type);
    let media_type =
        media_type.ok_or("neither its playlist nor its server nor its content says what it is")?;
    let schema = said.and_then(|format| format.schema);
    Ok(ComplexValue::new(data, Format { schema, ..Format::new(media_type) }))
}

fn first_bytes(data: &Data) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What can't be read now is read again, with its error, when it is used.
    if let Ok(reader) = data.open() {
        let _ = reader.take(DETECT_BYTES as u64).read_to_end(&mut bytes);
    }
    bytes
}

/// The servers of 2012 send base64 where they say so; others say so and send bytes.
fn decoded(data: Data) -> Result<Data, String> {
    let is_text = first_bytes(&data)
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(byte));
    let Data::File(file) = &data else { return Ok(data) };
    if !is_text {
        return Ok(data);
    }
    let lost = |error: std::io::Error| {
        tracing::warn!(path = %file.path.display(), %error, "a chunk can't be decoded");
        "it can't be decoded from base64".to_owned()
    };
    let text = data.read_all(BASE64_BYTES_MAX).map_err(lost)?;
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(digits)
        .map_err(|error| format!("it says it is base64, and is not: {error}"))?;
    let path: PathBuf = file.path.with_extension("decoded");
    std::fs::write(&path, bytes).map_err(lost)?;
    Data::file(path).map_err(lost)
}
