//! What came back, read under the caps of the fetch.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use tokio::task::JoinHandle;
use url::Url;

use crate::clock::Clock;
use crate::error::{EgressError, Fault};
use crate::policy::Policy;
use crate::request::Method;
use crate::unpack::Unpacker;

/// How much of a body is saved at once, bytes: fewer trips to the blocking pool. Two such blocks are held at most.
const SAVE_BLOCK_BYTES: usize = 256 * 1024;

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
        let mut block = Vec::with_capacity(SAVE_BLOCK_BYTES);
        let mut shown = 0;
        told(shown);
        loop {
            let piece = {
                let mut next = pin!(self.chunk());
                loop {
                    let at_hand = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
                    if let Poll::Ready(piece) = at_hand {
                        break piece?;
                    }
                    // As long as bytes come at once they are collected; a pause is used to pass them on.
                    if !block.is_empty() && file.is_at_rest() {
                        block = file.begin_and_swap(block);
                    }
                    tokio::select! {
                        biased;
                        piece = &mut next => break piece?,
                        written = file.written(), if !file.is_at_rest() => {
                            shown += written.map_err(failed)?;
                            told(shown);
                        }
                    }
                }
            };
            let Some(piece) = piece else { break };
            let is_block = block.is_empty() && piece.len() >= SAVE_BLOCK_BYTES;
            if !is_block {
                block.extend_from_slice(&piece);
            }
            if is_block || block.len() >= SAVE_BLOCK_BYTES {
                // One block is written while the next one comes, and no third is begun before that.
                let before = file.written().await.map_err(failed)?;
                if is_block {
                    file.begin(piece);
                } else {
                    block = file.begin_and_swap(block);
                }
                if before > 0 {
                    shown += before;
                    told(shown);
                }
            }
        }
        file.written().await.map_err(failed)?;
        if !block.is_empty() {
            file.begin(block.into());
            file.written().await.map_err(failed)?;
        }
        file.keep();
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

/// A block that was written.
struct Written {
    bytes: u64,
    /// Its memory, where it can be used again.
    spare: Vec<u8>,
}

/// A file that disappears unless it is kept.
struct PartialFile {
    file: Arc<File>,
    /// A block on its way to the file.
    writing: Option<JoinHandle<io::Result<Written>>>,
    /// Memory of a block that was written, for the next one.
    spare: Vec<u8>,
    path: Option<PathBuf>,
}

impl PartialFile {
    async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        // The guard is made where the file is: a caller that leaves while the file is being created drops the
        // closure's result, and the file with it.
        tokio::task::spawn_blocking(move || Self::create_blocking(path)).await?
    }

    fn create_blocking(path: PathBuf) -> io::Result<Self> {
        // `create_new`: never through a link that someone else placed there, never over another job's file.
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Self { file: Arc::new(file), writing: None, spare: Vec::new(), path: Some(path) })
    }

    /// Nothing is being written.
    fn is_at_rest(&self) -> bool {
        self.writing.is_none()
    }

    /// Begins to write a block, where nothing is being written.
    fn begin(&mut self, block: Bytes) {
        self.write(block, |_elsewhere| Vec::new());
    }

    /// The same; gives an empty block, with the memory of one that is written, where there is such a one.
    fn begin_and_swap(&mut self, block: Vec<u8>) -> Vec<u8> {
        self.write(block, |mut block| {
            block.clear();
            block
        });
        std::mem::take(&mut self.spare)
    }

    fn write<B: AsRef<[u8]> + Send + 'static>(&mut self, block: B, spare: fn(B) -> Vec<u8>) {
        let file = Arc::clone(&self.file);
        let write = move || {
            (&*file).write_all(block.as_ref())?;
            let bytes = block.as_ref().len() as u64;
            Ok(Written { bytes, spare: spare(block) })
        };
        self.writing = Some(tokio::task::spawn_blocking(write));
    }

    /// Until nothing is being written; gives how many bytes have been written since. Nothing is lost where this future is dropped.
    async fn written(&mut self) -> io::Result<u64> {
        let Some(writing) = &mut self.writing else { return Ok(0) };
        let written = writing.await;
        self.writing = None;
        let Written { bytes, spare } = written??;
        self.spare = spare;
        Ok(bytes)
    }

    fn keep(mut self) {
        self.path = None;
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
