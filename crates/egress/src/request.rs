//! What a caller asks for.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use url::Url;

use crate::clock::Clock;
use crate::error::Fault;

/// One outbound request. Made by [`Request::get`] and its sisters, refined by chaining.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers of the caller; the transport's own are refused ([`check_header`](crate::check_header)).
    pub headers: Vec<(String, String)>,
    /// What to send.
    pub body: Body,
    /// A cap on the response body below the policy's, bytes. It can only tighten.
    pub body_bytes_max: Option<u64>,
    /// A cap on the whole fetch below the policy's, milliseconds. It can only tighten.
    pub total_ms_max: Option<u64>,
    /// A cap on redirects below the policy's. It can only tighten; 0 follows none.
    pub redirects_max: Option<u32>,
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

/// A request body of known length.
#[derive(Debug, Clone)]
pub enum Body {
    /// No body.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A regular file, streamed from disk; opened again when a redirect asks for the body again.
    File(PathBuf),
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Body::Empty,
            body_bytes_max: None,
            total_ms_max: None,
            redirects_max: None,
        }
    }

    /// GET `url`.
    pub fn get(url: Url) -> Self {
        Self::new(Method::Get, url)
    }

    /// POST `body` to `url`.
    pub fn post(url: Url, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::new(Method::Post, url) }
    }

    /// PUT `body` to `url`.
    pub fn put(url: Url, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::new(Method::Put, url) }
    }

    /// Adds a header. It is checked when the request is sent.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Caps the response body, bytes.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: u64) -> Self {
        self.body_bytes_max = Some(bytes);
        self
    }

    /// Caps the whole fetch, milliseconds.
    #[must_use]
    pub fn total_ms_max(mut self, ms: u64) -> Self {
        self.total_ms_max = Some(ms);
        self
    }

    /// Caps the redirects.
    #[must_use]
    pub fn redirects_max(mut self, redirects: u32) -> Self {
        self.redirects_max = Some(redirects);
        self
    }
}

impl Method {
    pub(crate) fn to_http(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Head => reqwest::Method::HEAD,
            Self::Post => reqwest::Method::POST,
            Self::Put => reqwest::Method::PUT,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<PathBuf> for Body {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// A body ready to be sent.
pub(crate) struct OpenBody {
    pub(crate) bytes: u64,
    pub(crate) content: reqwest::Body,
}

/// Pieces in which a body is sent, bytes. The idle limit counts from piece to piece.
const SEND_PIECE_BYTES: usize = 64 * 1024;

impl Body {
    /// Opens the body; `None` for [`Body::Empty`].
    pub(crate) async fn open(&self, bytes_max: u64, clock: &Clock) -> Result<Option<OpenBody>, Fault> {
        let body = match self {
            Self::Empty => return Ok(None),
            Self::Bytes(bytes) => {
                refuse_above(bytes_max, bytes.len() as u64)?;
                OpenBody { bytes: bytes.len() as u64, content: stream_bytes(bytes.clone(), clock.clone()) }
            }
            Self::File(path) => {
                let failed = |source| Fault::RequestFile { path: path.clone(), source };
                let (file, bytes) = open_regular(path).await.map_err(failed)?;
                refuse_above(bytes_max, bytes)?;
                OpenBody {
                    bytes,
                    content: reqwest::Body::wrap_stream(file_pieces(file, bytes, clock.clone())),
                }
            }
        };
        Ok(Some(body))
    }
}

fn refuse_above(bytes_max: u64, bytes: u64) -> Result<(), Fault> {
    if bytes > bytes_max { Err(Fault::RequestTooLarge { bytes, bytes_max }) } else { Ok(()) }
}

/// Devices and pipes have no length to announce, and a pipe's `open` would wait for its other end.
async fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path).await?;
    let bytes = file.metadata().await?.len();
    Ok((file, bytes))
}

fn stream_bytes(bytes: Bytes, clock: Clock) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::unfold(bytes, move |mut rest| {
        clock.touch();
        let piece = rest.split_to(rest.len().min(SEND_PIECE_BYTES));
        let next = (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), rest));
        std::future::ready(next)
    }))
}

/// Exactly `bytes` of the file: what is appended meanwhile is left out; a file that shrinks fails the transfer.
fn file_pieces(file: File, bytes: u64, clock: Clock) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file.take(bytes), clock), |(mut rest, clock)| async move {
        clock.touch();
        let mut piece = BytesMut::with_capacity(SEND_PIECE_BYTES);
        let read = rest.read_buf(&mut piece).await?;
        if read == 0 && rest.limit() > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was sent",
            ));
        }
        Ok((read > 0).then_some((piece.freeze(), (rest, clock))))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_sent_keeps_its_announced_length_or_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        std::fs::write(&path, "12345").unwrap();
        let pieces = async |announced| {
            let (file, _) = open_regular(&path).await.unwrap();
            file_pieces(file, announced, Clock::start(1000, 1000)).try_collect::<Vec<_>>().await
        };
        assert_eq!(pieces(4).await.unwrap().concat(), b"1234");
        assert_eq!(pieces(5).await.unwrap().concat(), b"12345");
        assert_eq!(pieces(6).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
