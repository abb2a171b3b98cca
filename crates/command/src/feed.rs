//! Standard input: the features of a value, or of a stream as it arrives, one record each.
//!
//! A block is written when the executable has read the one before, and a piece is asked for when the last one is written: who reads slowly
//! slows whoever gives.

use crate::service::StdinRule;
use anabranch_formats::geojson;
use anabranch_formats::playlist::features::Records;
use anabranch_model::{BoxFuture, ChunkReader, ComplexValue, Error, Execution, Value};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;

/// Bytes of records that are made at once: what a pipe holds.
const BLOCK_BYTES: usize = 64 << 10;

/// How the feeding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All was written, and standard input is closed.
    All,
    /// The executable has closed it.
    Unwanted,
}

/// What is fed to one run.
pub(crate) struct Feeding {
    rule: StdinRule,
    pieces: Box<dyn ChunkReader>,
    stdin: Sender,
}

impl Feeding {
    /// With the end of the pipe that the executable reads; `None` where it reads nothing.
    ///
    /// # Errors
    /// Where no pipe can be made, or the input is missing.
    pub(crate) fn of(
        rule: Option<&StdinRule>,
        execution: &mut Execution,
    ) -> Result<Option<(Self, OwnedFd)>, Error> {
        let Some(rule) = rule.cloned() else { return Ok(None) };
        let pieces = match execution.feed.take() {
            Some(feed) => feed.into_pieces(),
            None => match execution.inputs.all(&rule.input) {
                [Value::Complex(value)] => Box::new(One(Some(value.clone()))),
                _ => {
                    return Err(Error::internal(format!("input '{}' is to be fed, and is none", rule.input)));
                }
            },
        };
        let no_pipe = |error: io::Error| Error::internal(format!("no pipe for standard input: {error}"));
        let (theirs, ours) = io::pipe().map_err(no_pipe)?;
        let stdin = Sender::from_owned_fd(ours.into()).map_err(no_pipe)?;
        Ok(Some((Self { rule, pieces, stdin }, theirs.into())))
    }

    /// Writes all there is, and closes standard input.
    ///
    /// # Errors
    /// What the stream ended with, or what is wrong with a piece.
    pub(crate) async fn run(mut self) -> Result<Fed, Error> {
        let mut number = 0;
        while let Some(piece) = self.pieces.next().await? {
            number += 1;
            if !self.write(&piece, number).await? {
                return Ok(Fed::Unwanted);
            }
        }
        Ok(Fed::All)
    }

    /// False where nobody reads any more.
    async fn write(&mut self, piece: &ComplexValue, number: u64) -> Result<bool, Error> {
        let id = self.rule.input.clone();
        let unreadable = |error: geojson::Error| {
            Error::process_failed(format!("piece {number} of input '{id}' is not GeoJSON: {error}"))
        };
        let opened = piece.data.open();
        let opened =
            opened.map_err(|error| Error::internal(format!("input '{id}' can't be read: {error}")))?;
        let mut records = Records::new(opened, self.rule.framing);
        while !records.is_done() {
            let fill = move || {
                let mut block = Vec::with_capacity(BLOCK_BYTES);
                records.fill(&mut block, BLOCK_BYTES).map(|()| (block, records))
            };
            let (block, rest) =
                tokio::task::spawn_blocking(fill).await.map_err(Error::internal)?.map_err(unreadable)?;
            records = rest;
            match self.stdin.write_all(&block).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                Err(error) => {
                    return Err(Error::internal(format!("standard input can't be written: {error}")));
                }
            }
        }
        Ok(true)
    }
}

/// A value as a stream of one piece.
struct One(Option<ComplexValue>);

impl ChunkReader for One {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}
