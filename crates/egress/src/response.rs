//! What came back, read under the caps of the fetch.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use url::Url;

use crate::clock::Clock;
use crate::error::{EgressError, Fault};
use crate::request::Method;

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
    /// `Content-Length` as sent, bytes. The body may be shorter only by failing.
    pub content_length: Option<u64>,
    url: Url,
    reference: String,
    inner: reqwest::Response,
    clock: Clock,
    bytes_max: u64,
    bytes_read: u64,
}

impl Response {
    /// Refuses what can be refused by the head alone.
    pub(crate) fn open(
        inner: reqwest::Response,
        method: Method,
        url: Url,
        reference: &str,
        clock: Clock,
        bytes_max: u64,
    ) -> Result<Self, Fault> {
        let content_length =
            text(inner.headers(), CONTENT_LENGTH.as_str()).and_then(|value| value.parse().ok());
        // A HEAD's headers speak of a body that doesn't follow.
        if method != Method::Head {
            refuse_encoding(inner.headers())?;
            if content_length.is_some_and(|bytes: u64| bytes > bytes_max) {
                return Err(Fault::TooLarge { bytes_max });
            }
        }
        Ok(Self {
            status: inner.status().as_u16(),
            content_type: text(inner.headers(), CONTENT_TYPE.as_str()).map(str::to_owned),
            content_length,
            url,
            reference: reference.to_owned(),
            inner,
            clock,
            bytes_max,
            bytes_read: 0,
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
    /// [`Fault::TooLarge`], [`Fault::TimedOut`], [`Fault::Transfer`]. The body is unusable afterwards.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        match self.next_piece().await {
            Ok(piece) => Ok(piece),
            Err(fault) => Err(self.error(fault)),
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = self.clock.wait(self.inner.chunk()).await?;
        let piece = piece.map_err(|e| Fault::Transfer(e.without_url()))?;
        self.bytes_read += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.bytes_read > self.bytes_max {
            return Err(Fault::TooLarge { bytes_max: self.bytes_max });
        }
        Ok(piece)
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
    pub async fn save_to(mut self, path: &Path) -> Result<u64, EgressError> {
        let failed = |source| Fault::Save { path: path.to_owned(), source };
        let mut file = match PartialFile::create(path).await {
            Ok(file) => file,
            Err(source) => return Err(self.error(failed(source))),
        };
        while let Some(piece) = self.chunk().await? {
            if let Err(source) = file.writer.write_all(&piece).await {
                return Err(self.error(failed(source)));
            }
        }
        match file.finish().await {
            Ok(()) => Ok(self.bytes_read),
            Err(source) => Err(self.error(failed(source))),
        }
    }

    fn error(&self, fault: Fault) -> EgressError {
        EgressError { reference: self.reference.clone(), fault }
    }
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), Fault> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(value.as_bytes());
        if !encoding.trim().is_empty() && !encoding.trim().eq_ignore_ascii_case("identity") {
            // 64 characters: longer than any registered coding.
            return Err(Fault::Encoding(encoding.chars().take(64).flat_map(char::escape_debug).collect()));
        }
    }
    Ok(())
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
