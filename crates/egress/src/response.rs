//! What came back, read under the caps of the fetch.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use url::Url;

use crate::clock::Clock;
use crate::error::{EgressError, Fault};
use crate::policy::Policy;
use crate::request::Method;
use crate::unpack::Unpacker;

/// Buffer before the file that a body is saved to, bytes: fewer trips to the blocking pool.
const SAVE_BUFFER_BYTES: usize = 256 * 1024;

/// Most bytes reserved on the word of a `Content-Length` alone.
const RESERVE_BYTES_MAX: u64 = 64 * 1024;

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type` as sent, where it is text.
    pub content_type: Option<String>,
    /// `Content-Length` as sent, bytes; `None` where the body is unpacked, whose length nobody announces. The body may be
    /// shorter only by failing.
    pub content_length: Option<u64>,
    url: Url,
    reference: String,
    inner: reqwest::Response,
    clock: Clock,
    bytes_max: u64,
    /// As they came.
    packed_bytes_read: u64,
    /// As they are given out.
    bytes_read: u64,
    unpacker: Option<Unpacker>,
}

/// What a body may be at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    bytes_max: u64,
    ratio_max: u64,
}

impl Caps {
    pub(crate) fn of(policy: &Policy, bytes_max: u64) -> Self {
        Self { bytes_max, ratio_max: policy.unpacked_ratio_max }
    }
}

impl Response {
    /// Refuses what can be refused by the head alone.
    pub(crate) fn open(
        inner: reqwest::Response,
        method: Method,
        url: Url,
        reference: &str,
        clock: Clock,
        caps: Caps,
    ) -> Result<Self, Fault> {
        let content_length =
            text(inner.headers(), CONTENT_LENGTH.as_str()).and_then(|value| value.parse().ok());
        let bytes_max = caps.bytes_max;
        let mut unpacker = None;
        // A HEAD's headers speak of a body that doesn't follow.
        if method != Method::Head {
            unpacker = is_gzip(inner.headers())?.then(|| Unpacker::new(caps.ratio_max));
            if content_length.is_some_and(|bytes: u64| bytes > bytes_max) {
                return Err(Fault::TooLarge { bytes_max });
            }
        }
        Ok(Self {
            status: inner.status().as_u16(),
            content_type: text(inner.headers(), CONTENT_TYPE.as_str()).map(str::to_owned),
            content_length: content_length.filter(|_| unpacker.is_none()),
            url,
            reference: reference.to_owned(),
            inner,
            clock,
            bytes_max,
            packed_bytes_read: 0,
            bytes_read: 0,
            unpacker,
        })
    }

    /// A header by name, where its value is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(self.inner.headers(), name)
    }

    /// Where the body came from after redirects: the base of relative references in it. Not for clients' eyes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Refuses every status but 2xx and 304.
    ///
    /// # Errors
    ///
    /// [`Fault::Status`].
    pub fn require_success(self) -> Result<Self, EgressError> {
        match self.status {
            200..=299 | 304 => Ok(self),
            status => Err(self.error(Fault::Status(status))),
        }
    }

    /// The next piece of the body, `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`], [`Fault::Ratio`], [`Fault::Unpack`], [`Fault::TimedOut`], [`Fault::Transfer`]. The body is unusable afterwards.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        match self.next_piece().await {
            Ok(piece) => Ok(piece),
            Err(fault) => Err(self.error(fault)),
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = match &mut self.unpacker {
            None => self.next_packed_piece().await?,
            Some(unpacker) => match unpacker.next()? {
                Some(piece) => Some(piece),
                None => self.unpack_more().await?,
            },
        };
        self.bytes_read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        self.refuse_above(self.bytes_read)?;
        Ok(piece)
    }

    async fn unpack_more(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let packed = self.next_packed_piece().await?;
            let Some(unpacker) = &mut self.unpacker else { return Ok(packed) };
            let Some(packed) = packed else { return unpacker.finish() };
            unpacker.feed(packed);
            if let Some(piece) = unpacker.next()? {
                return Ok(Some(piece));
            }
        }
    }

    async fn next_packed_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = self.clock.wait(self.inner.chunk()).await?;
        let piece = piece.map_err(|e| Fault::Transfer(e.without_url()))?;
        self.packed_bytes_read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        self.refuse_above(self.packed_bytes_read)?;
        Ok(piece)
    }

    fn refuse_above(&self, bytes: u64) -> Result<(), Fault> {
        let bytes_max = self.bytes_max;
        if bytes > bytes_max { Err(Fault::TooLarge { bytes_max }) } else { Ok(()) }
    }

    /// The body as a stream of pieces, with the errors of [`Response::chunk`]. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, EgressError>> + Send {
        stream::try_unfold(self, |mut response| async move {
            Ok(response.chunk().await?.map(|piece| (piece, response)))
        })
    }

    /// The whole body in memory, at most `bytes_max` (and the fetch's own cap).
    ///
    /// # Errors
    ///
    /// Those of [`Response::chunk`].
    pub async fn bytes(mut self, bytes_max: u64) -> Result<Bytes, EgressError> {
        self.bytes_max = self.bytes_max.min(bytes_max);
        let expected = self.content_length.unwrap_or(0).min(self.bytes_max).min(RESERVE_BYTES_MAX);
        let mut body = BytesMut::with_capacity(expected as usize);
        while let Some(piece) = self.chunk().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Saves the body to a new file and returns its length, bytes. On an error, or when the future is dropped,
    /// no file remains.
    ///
    /// # Errors
    ///
    /// Those of [`Response::chunk`]; [`Fault::Save`] where the file exists or cannot be written.
    pub async fn save_to(self, path: &Path) -> Result<u64, EgressError> {
        self.save_to_and_tell(path, |_bytes| {}).await
    }

    /// The same, for someone who reads the file while it grows: `told` is given its length, bytes, each time that there is more of it; 0 once it
    /// exists.
    ///
    /// # Errors
    ///
    /// Those of [`Response::save_to`].
    pub async fn save_to_and_tell(
        mut self,
        path: &Path,
        mut told: impl FnMut(u64),
    ) -> Result<u64, EgressError> {
        let reference = self.reference.clone();
        let failed = |source| {
            let fault = Fault::Save { path: path.to_owned(), source };
            EgressError { reference: reference.clone(), fault, inside: false }
        };
        let mut file = PartialFile::create(path).await.map_err(failed)?;
        let (mut written, mut shown) = (0, 0);
        told(shown);
        loop {
            let piece = {
                let mut next = pin!(self.chunk());
                let at_hand = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
                // As long as bytes come at once they are collected; a pause is used to pass them on.
                let is_enough = written - shown >= SAVE_BUFFER_BYTES as u64;
                if written > shown && (at_hand.is_pending() || is_enough) {
                    file.writer.flush().await.map_err(failed)?;
                    shown = written;
                    told(shown);
                }
                match at_hand {
                    Poll::Ready(piece) => piece?,
                    Poll::Pending => next.await?,
                }
            };
            let Some(piece) = piece else { break };
            file.writer.write_all(&piece).await.map_err(failed)?;
            written += piece.len() as u64;
        }
        file.finish().await.map_err(failed)?;
        Ok(self.bytes_read)
    }

    fn error(&self, fault: Fault) -> EgressError {
        EgressError { reference: self.reference.clone(), fault, inside: false }
    }
}

/// Whether the body is gzip, once; every other encoding is refused (RFC 9110 §8.4.1).
fn is_gzip(headers: &HeaderMap) -> Result<bool, Fault> {
    let mut gzip = false;
    for value in headers.get_all(CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(value.as_bytes());
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => {}
            "gzip" | "x-gzip" if !gzip => gzip = true,
            // 64 characters: longer than any registered coding.
            _ => {
                return Err(Fault::Encoding(
                    encoding.chars().take(64).flat_map(char::escape_debug).collect(),
                ));
            }
        }
    }
    Ok(gzip)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A file that disappears unless it is finished.
struct PartialFile {
    writer: BufWriter<File>,
    path: Option<PathBuf>,
}

impl PartialFile {
    async fn create(path: &Path) -> std::io::Result<Self> {
        let path = path.to_owned();
        // The guard is made where the file is: a caller that leaves while the file is being created drops the
        // closure's result, and the file with it.
        tokio::task::spawn_blocking(move || Self::create_blocking(path)).await?
    }

    fn create_blocking(path: PathBuf) -> std::io::Result<Self> {
        // `create_new`: never through a link that someone else placed there, never over another job's file.
        let file = std::fs::File::options().write(true).create_new(true).open(&path)?;
        Ok(Self {
            writer: BufWriter::with_capacity(SAVE_BUFFER_BYTES, File::from_std(file)),
            path: Some(path),
        })
    }

    async fn finish(mut self) -> std::io::Result<()> {
        self.writer.flush().await?;
        self.path = None;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        // One unlink; `drop` cannot wait for the blocking pool.
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a partial download could not be removed");
        }
    }
}
