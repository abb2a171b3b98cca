//! `GET /jobs/{job}/results/{output}/chunks/{n}`: one chunk, counted from 1.

use super::Addresses;
use super::address::chunk_number;
use super::log::Log;
use crate::app::App;
use crate::http::answer::{self, Asked};
use crate::http::caller::Caller;
use crate::http::conditional::Validators;
use crate::http::outputs::{guard_stored, made_up, media_type_of, parse_job, ranged, stored};
use anabranch_model::{ComplexValue, Data, Error, JobId, OutputRequest, Value};
use anabranch_ogc::ogcapi::{Problem, results as document};
use anabranch_ogc::{Output, OutputValue};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a stored chunk that become base64 at a time: a multiple of 3, so that no padding stands in the middle.
const BASE64_BLOCK_BYTES: usize = 48 * 1024;

/// Says what the body is, as mail does (RFC 2045 §6.1); HTTP has no word for it.
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// The handler. With `?f=geojson` the features as a map shows them, of a raster its outline.
pub(crate) async fn chunk(
    State(app): State<App>,
    caller: Caller,
    Path((job, output, number)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let path = format!("/jobs/{job}/results/{output}/chunks/{number}");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    chunk_in(&asked, &method, &job, &output, &number).await.unwrap_or_else(|error| asked.error(&error))
}

async fn chunk_in(
    asked: &Asked<'_>,
    method: &Method,
    job: &str,
    output: &str,
    number: &str,
) -> Result<Response, Error> {
    let log = Log::new(asked.app, asked.viewer(), parse_job(job)?, output, Addresses::Resources);
    let found = match find(&log, number).await? {
        Lookup::Found(found) => found,
        Lookup::Removed => return Ok(asked.problem(Problem::http(410, "chunk removed", removed(number)))),
        Lookup::Missing => {
            let detail = format!("output '{output}' has no chunk {number}; they are counted from 1");
            return Ok(asked.problem(Problem::http(404, "no such chunk", detail)));
        }
    };
    if let Some(view) = super::view::View::asked(asked.query)? {
        return Ok(found.kept(view.answer(asked.app, &found.value).await?));
    }
    found.answer(asked, method).await
}

/// A chunk with what decides how it is sent.
pub(super) struct Found {
    job: JobId,
    output: String,
    number: u64,
    pub(super) value: Value,
    request: OutputRequest,
    /// It will stay as it is: a stream takes nothing back, and a job that has finished changes nothing.
    is_fixed: bool,
}

/// What is found under a number.
pub(super) enum Lookup {
    Found(Box<Found>),
    /// It was there.
    Removed,
    /// There is none, or not yet.
    Missing,
}

/// Why a chunk is gone.
pub(super) fn removed(number: &str) -> String {
    format!("chunk {number} was removed: the stream keeps its last chunks only")
}

pub(super) async fn find(log: &Log, number: &str) -> Result<Lookup, Error> {
    let Some(number) = chunk_number(number) else { return Ok(Lookup::Missing) };
    let page = log.page(number - 1, 1).await?;
    if page.first >= number {
        return Ok(Lookup::Removed);
    }
    let is_fixed = page.request.is_stream() || page.view.job.is_finished();
    let (job, output) = (log.job, log.output.clone());
    let Some(value) = page.chunks.into_iter().next() else { return Ok(Lookup::Missing) };
    Ok(Lookup::Found(Box::new(Found { job, output, number, value, request: page.request, is_fixed })))
}

impl Found {
    /// As it is.
    async fn answer(&self, asked: &Asked<'_>, method: &Method) -> Result<Response, Error> {
        let validators = self.validators("");
        if let Some(not_modified) = validators.as_ref().and_then(|known| known.not_modified(asked.headers)) {
            return Ok(self.kept(not_modified));
        }
        let name = format!("chunk {} of output '{}'", self.number, self.output);
        let response = match &self.value {
            Value::Complex(complex) => ranged(asked, method, &name, complex).await?,
            value => self.written(value)?,
        };
        Ok(self.kept(match validators {
            Some(validators) => validators.mark(response),
            None => response,
        }))
    }

    /// As clients of 2012 get it: as base64 where they asked for that, else as it is.
    pub(super) async fn answer_of_2012(&self, headers: &HeaderMap) -> Result<Response, Error> {
        let asked_for = self.request.format.encoding.as_deref();
        let is_base64 = asked_for.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
        let validators = self.validators(if is_base64 { "/base64" } else { "" });
        if let Some(not_modified) = validators.as_ref().and_then(|known| known.not_modified(headers)) {
            return Ok(self.kept(not_modified));
        }
        let response = match &self.value {
            Value::Complex(complex) if is_base64 => base64(complex).await?,
            Value::Complex(complex) => stored(complex, None).await?,
            value => self.written(value)?,
        };
        Ok(self.kept(match validators {
            Some(validators) => validators.mark(response),
            None => response,
        }))
    }

    fn validators(&self, form: &str) -> Option<Validators> {
        let of = format!("{}/chunk/{}{form}", self.output, self.number);
        Validators::exact(self.job, &of).filter(|_| self.is_fixed)
    }

    fn kept(&self, mut response: Response) -> Response {
        let rule = if self.is_fixed { super::playlist::IMMUTABLE } else { super::playlist::OPEN };
        response.headers_mut().insert(header::CACHE_CONTROL, rule);
        response
    }

    fn written(&self, value: &Value) -> Result<Response, Error> {
        let media_type = media_type_of(value);
        let mut bytes = Vec::new();
        write_small(value, &self.request, &mut bytes).map_err(Error::internal)?;
        let mut response = answer::with_type(StatusCode::OK, media_type, bytes);
        guard_stored(&mut response, media_type);
        Ok(response)
    }
}

fn write_small(value: &Value, request: &OutputRequest, out: &mut Vec<u8>) -> io::Result<()> {
    let description = made_up(&request.id, Some(value));
    document::write_raw(
        &Output { description: &description, request, value: OutputValue::Inline(value) },
        out,
    )
}

/// The type is that of the data, as it was in 2012: clients go by the encoding that they asked for.
async fn base64(chunk: &ComplexValue) -> Result<Response, Error> {
    let media_type = &chunk.format.media_type;
    let body = match &chunk.data {
        Data::Bytes(bytes) => Body::from(STANDARD.encode(bytes)),
        Data::File(file) => {
            let file = tokio::fs::File::open(&file.path).await;
            let file =
                file.map_err(|error| Error::internal(format!("a stored chunk can't be read: {error}")))?;
            Body::from_stream(encoded(file))
        }
    };
    let mut response = answer::with_type(StatusCode::OK, media_type, body);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(chunk.data.len().div_ceil(3) * 4));
    response.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("base64"));
    guard_stored(&mut response, media_type);
    Ok(response)
}

fn encoded(file: impl AsyncRead + Unpin + Send + 'static) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut block = Vec::with_capacity(BASE64_BLOCK_BYTES);
        let limit = BASE64_BLOCK_BYTES as u64;
        (&mut file).take(limit).read_to_end(&mut block).await?;
        Ok((!block.is_empty()).then(|| (Bytes::from(STANDARD.encode(&block)), file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt as _;

    #[tokio::test]
    async fn blocks_of_base64_are_one_text() {
        for length in [0, 1, 2, BASE64_BLOCK_BYTES - 1, BASE64_BLOCK_BYTES, BASE64_BLOCK_BYTES + 1, 200_000] {
            let data: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let blocks: Vec<Bytes> = encoded(io::Cursor::new(data.clone())).try_collect().await.unwrap();
            let text = blocks.concat();
            assert_eq!(STANDARD.decode(&text).unwrap(), data);
            assert_eq!(text.len() as u64, (length as u64).div_ceil(3) * 4);
        }
    }
}
