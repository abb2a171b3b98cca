//! What a run on an agent is fed: each piece is wanted from the server when the one before is used.

use std::path::PathBuf;
use std::sync::Arc;

use anabranch_model::{BoxFuture, ChunkReader, ComplexValue, Error, Value};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::AgentData;
use super::buffer::RunBuffer;
use super::values::fetch_value;
use crate::message::Piece;

/// Pieces that may wait for a run: it wants one at a time.
pub(super) const PIECES_MAX: usize = 1;

/// The feed of a run.
pub(super) struct AgentFeed {
    pub(super) input: String,
    /// What the server gives.
    pub(super) pieces: mpsc::Receiver<Piece>,
    /// Which one is wanted next.
    pub(super) n: u64,
    pub(super) buffer: Arc<RunBuffer>,
    pub(super) wake: Arc<Notify>,
    pub(super) cancel: CancellationToken,
    pub(super) data: Arc<dyn AgentData>,
    /// Of the run.
    pub(super) folder: PathBuf,
}

impl AgentFeed {
    async fn wanted(&mut self) -> Result<Option<ComplexValue>, Error> {
        self.buffer.want(self.n);
        self.wake.notify_one();
        let piece = tokio::select! {
            piece = self.pieces.recv() => piece.ok_or(Error::Dismissed)?,
            () = self.cancel.cancelled() => return Err(Error::Dismissed),
        };
        if piece.n != self.n {
            return Err(Error::internal(format!(
                "the server gave piece {} where {} was wanted",
                piece.n, self.n
            )));
        }
        let Some(value) = piece.value else { return Ok(None) };
        self.n += 1;
        // The one before is used.
        let file = self.folder.join("piece");
        drop(tokio::fs::remove_file(&file).await);
        match fetch_value(&self.input, value, &file, self.data.as_ref(), &self.cancel).await? {
            Value::Complex(value) => Ok(Some(value)),
            Value::Literal(_) | Value::BoundingBox(_) => {
                Err(Error::internal("the server gave a piece without a format"))
            }
        }
    }
}

impl ChunkReader for AgentFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(self.wanted())
    }
}
