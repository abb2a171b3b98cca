//! Request bodies that may be larger than memory: read by blocking code while they arrive, their large values in files.

mod files;

pub(crate) use files::{InputFiles, UploadFolder};

use super::body::broken_off;
use crate::app::App;
use anabranch_model::Error;
use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use std::io::{self, BufRead, Read};
use std::time::Duration;
use tokio::sync::mpsc;

/// Bodies up to this size are taken whole: most requests, which then need no thread and no file.
const WHOLE_BYTES_MAX: usize = 64 * 1024;
/// Larger bodies that are read at the same time. Each takes a thread of the runtime's 512 for blocking work, which jobs need too, and
/// waits in it for its client; more are refused as busy.
pub(crate) const UPLOADS_MAX: usize = 64;
/// When a client that was refused may try again, in seconds: some upload will have ended.
const RETRY_AFTER_S: u32 = 5;
/// Longest wait for the next bytes of a body, in seconds: a client that has stalled must not keep its place.
const IDLE_S_MAX: u64 = 60;
/// Most bytes of a body that are taken after it has been refused: seconds of a fast network.
const DRAINED_BYTES_MAX: u64 = 1 << 30;
/// Blocks that have arrived and are not read yet, a few hundred KiB each at most; the network waits when they are full.
const BLOCKS_AHEAD_MAX: usize = 2;

/// A body, as far as it has arrived.
pub(crate) enum Upload {
    /// All of it.
    Whole(Bytes),
    /// It is larger than [`WHOLE_BYTES_MAX`].
    Begun(Begun),
}

/// A body of which some has arrived.
pub(crate) struct Begun {
    first: Bytes,
    rest: Rest,
}

/// Takes a small body whole, and begins with a large one.
///
/// # Errors
/// As [`Rest::next`]; [`Error::TooLarge`] also where the client announces too much.
pub(crate) async fn begin(app: &App, body: Body) -> Result<Upload, Error> {
    let announced = body.size_hint().lower();
    let stream = body.into_data_stream();
    let mut rest = Rest { stream, announced, bytes: 0, bytes_max: app.upload_bytes_max };
    if announced > rest.bytes_max {
        let error = rest.too_large();
        if announced <= DRAINED_BYTES_MAX {
            rest.drain().await;
        }
        return Err(error);
    }
    let mut first = BytesMut::new();
    while first.len() <= WHOLE_BYTES_MAX {
        match rest.next().await? {
            Some(block) => first.extend_from_slice(&block),
            None => return Ok(Upload::Whole(first.freeze())),
        }
    }
    Ok(Upload::Begun(Begun { first: first.freeze(), rest }))
}

impl Begun {
    /// Reads the body by blocking code; an [`io::Error`] that it meets holds the [`Error`].
    ///
    /// # Errors
    /// [`Error::Busy`] where [`UPLOADS_MAX`] bodies are being read, [`Error::OverLimit`] where the disk has no room for it.
    pub(crate) async fn read<T: Send + 'static>(
        mut self,
        app: &App,
        read: impl FnOnce(&mut dyn BufRead) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let Ok(place) = app.uploads.try_acquire() else {
            self.rest.drain().await;
            let limit = format!("{UPLOADS_MAX} large requests are being read");
            return Err(Error::Busy { limit, retry_after_s: RETRY_AFTER_S });
        };
        let room = match app.engine.reserve(self.rest.announced) {
            Ok(room) => room,
            Err(error) => {
                self.rest.drain().await;
                return Err(error);
            }
        };
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD_MAX);
        let reading = tokio::task::spawn_blocking(move || read(&mut Blocks { blocks, block: Bytes::new() }));
        tokio::select! {
            () = self.hand_over(&sender) => {}
            // It wants no more: it has found a fault, and the rest of the body is not needed to say so.
            () = sender.closed() => {}
        }
        drop(sender);
        let read =
            reading.await.map_err(|error| Error::internal(format!("reading a request was lost: {error}")));
        drop((place, room));
        self.rest.drain().await;
        read
    }

    async fn hand_over(&mut self, reader: &mpsc::Sender<Result<Bytes, Error>>) {
        let mut next = Ok(Some(std::mem::take(&mut self.first)));
        while let Some(block) = next.transpose() {
            let is_last = block.is_err();
            if reader.send(block).await.is_err() || is_last {
                return;
            }
            next = self.rest.next().await;
        }
    }
}

/// What has not arrived yet.
struct Rest {
    stream: BodyDataStream,
    /// What the client says it will be; 0 where it does not.
    announced: u64,
    /// Arrived so far.
    bytes: u64,
    bytes_max: u64,
}

impl Rest {
    /// The next block, `None` at the end.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over the limit, [`Error::Invalid`] where the client stalls or breaks off.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let arrived = tokio::time::timeout(Duration::from_secs(IDLE_S_MAX), self.stream.next()).await;
        let block = match arrived {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(block))) => block,
            Ok(Some(Err(error))) => return Err(broken_off(format!("must arrive whole: {error}"))),
            Err(_elapsed) => {
                return Err(broken_off(format!("must arrive without a pause of {IDLE_S_MAX} s")));
            }
        };
        self.bytes += block.len() as u64;
        if self.bytes > self.bytes_max { Err(self.too_large()) } else { Ok(Some(block)) }
    }

    /// Takes what nobody reads any more: many clients look for an answer only when they have sent everything, and would find a
    /// broken connection.
    async fn drain(&mut self) {
        self.bytes_max = self.bytes.saturating_add(DRAINED_BYTES_MAX);
        while let Ok(Some(_unread)) = self.next().await {}
    }

    fn too_large(&self) -> Error {
        Error::TooLarge { what: "the request body".into(), bytes_max: self.bytes_max }
    }
}

/// The reader's end of a body; it ends early where the request's handler is gone.
struct Blocks {
    blocks: mpsc::Receiver<Result<Bytes, Error>>,
    block: Bytes,
}

impl BufRead for Blocks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.block.is_empty() {
            match self.blocks.blocking_recv() {
                Some(block) => self.block = block.map_err(io::Error::other)?,
                None => break,
            }
        }
        Ok(&self.block)
    }

    fn consume(&mut self, bytes: usize) {
        self.block.advance(bytes);
    }
}

impl Read for Blocks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}
