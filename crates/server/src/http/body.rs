//! Request bodies up to the limit, with an error that names it; and response bodies written by blocking code. Request bodies that may be
//! larger than memory are an [`super::upload`].

use anabranch_model::{Error, Fault, FaultKind, Subject};
use axum::body::{Body, HttpBody as _, to_bytes};
use bytes::Bytes;
use std::io;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Blocks a response may be ahead of its client: 8 of [`BLOCK_BYTES`] keep writer and network busy; the writer waits when they
/// are full.
const BLOCKS_AHEAD_MAX: usize = 8;
/// Bytes handed over at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Reads a whole body.
///
/// # Errors
/// [`Error::TooLarge`] over the limit, also where the client announces that; [`Error::Invalid`] where it stalls or breaks off.
pub(crate) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { what: "the request body".into(), bytes_max: bytes_max as u64 };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    to_bytes(body, bytes_max).await.map_err(|error| match is_over_limit(&error) {
        true => too_large(),
        false => broken_off(format!("must arrive whole: {error}")),
    })
}

/// A body that has not come to its end.
pub(super) fn broken_off(rule: String) -> Error {
    Error::invalid(Fault::new(Subject::Parameter("body".into()), FaultKind::Malformed, rule))
}

fn is_over_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A body that is written by blocking code as the client reads it; a failure in the middle breaks the connection off, so that the
/// client never takes half a document for a whole one.
pub(crate) fn written(write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(BLOCKS_AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(BLOCK_BYTES, ChannelWriter(sender.clone()));
        let written = write(&mut out).and_then(|()| io::Write::flush(&mut out));
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::error!(%error, "an answer broke off");
            let _client_gone = sender.blocking_send(Err(error));
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

struct ChannelWriter(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_client_gone| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
