//! Runs the process for one piece: fetches what is not at hand, repeats what was lost, takes what was put out.

use crate::Context;
use crate::fetch;
use crate::part::PartSink;
use crate::source::{Piece, PieceData};
use crate::tile::TilePlace;
use anabranch_formats::raster::Window;
use anabranch_formats::{can_be_looked_at, look, meant};
use anabranch_model::{
    ComplexValue, Error, Execution, Facts, Format, FormatHint, Inputs, JobId, OutputRequest, OutputSink,
    Process, Transmission, Value,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause before a lost run is repeated, times the attempts so far: an agent needs a moment to come back.
const REPEAT_AFTER: Duration = Duration::from_millis(500);

/// Runs the process for the pieces of one stream.
pub(crate) struct Runner {
    pub(crate) context: Arc<Context>,
    /// The process, prepared for what all pieces share.
    pub(crate) process: Arc<dyn Process>,
    pub(crate) shared: Inputs,
    /// The process's own name for the output that comes in pieces.
    pub(crate) output: String,
    /// What chunks are to be.
    pub(crate) format: ChunkFormat,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    /// Runs begun so far.
    pub(crate) parts: AtomicU32,
    pub(crate) sink: Arc<dyn OutputSink>,
    /// Ends all runs of the stream when one has failed.
    pub(crate) cancel: CancellationToken,
}

/// A chunk of the output, and the files it still needs.
pub(crate) struct Chunk {
    pub(crate) value: ComplexValue,
    /// To be removed once the value is stored.
    pub(crate) folder: PathBuf,
    /// The place of its piece in the raster that was cut.
    pub(crate) window: Option<Window>,
}

impl Chunk {
    /// Without the cells that belong to other tiles.
    async fn trimmed(self, place: TilePlace) -> Result<Self, Error> {
        let Self { value, folder, .. } = self;
        let own = folder.clone();
        let trimmed = tokio::task::spawn_blocking(move || place.trim(value, &own)).await;
        match trimmed.map_err(Error::internal)? {
            Ok(value) => Ok(Self { value, folder, window: Some(place.own) }),
            Err(error) => {
                remove(folder).await;
                Err(error)
            }
        }
    }
}

/// What a chunk is asked for as, and what it is called then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkFormat {
    pub(crate) asked: Format,
    pub(crate) named: Format,
}

impl ChunkFormat {
    /// Clients of 2012 say `text/xml` and a schema, and call a GeoTIFF what they like: such names stay, and mean what the process knows.
    pub(crate) fn new(named: Format) -> Self {
        Self { asked: meant(&named), named }
    }
}

impl Runner {
    /// Runs the process for a piece.
    ///
    /// # Errors
    /// What it failed with, with the number of the chunk.
    pub(crate) async fn run(&self, piece: Piece) -> Result<Chunk, Error> {
        let number = piece.position + 1;
        let name = format!("chunk {number}");
        let (place, is_here) = (piece.place, piece.is_here());
        let fetched = self.sink.scratch().join(format!("chunk-{number}"));
        let inputs = self.inputs(&name, piece, &fetched).await?;
        let mut attempt = 1;
        let chunk = loop {
            match self.once(&name, &inputs).await {
                Err(error) if self.is_repeated(&error, attempt) => {
                    self.say(&format!(
                        "{name}: attempt {attempt} was lost: {}; run again",
                        error.client_text()
                    ));
                    self.sink.sleep(REPEAT_AFTER * attempt).await;
                    attempt += 1;
                }
                ended => break ended,
            }
        };
        if !is_here {
            remove(fetched).await;
        }
        let chunk = match (chunk, place) {
            (Ok(chunk), Some(place)) => chunk.trimmed(place).await,
            (chunk, _) => chunk,
        };
        chunk.map_err(|error| numbered(&name, error))
    }

    /// Most runs for pieces that are in memory already. Others are fetched first, which takes its time whatever the process can do.
    pub(crate) fn runs_max(&self) -> usize {
        let most = self.context.settings.chunks_parallel_max;
        self.process.runs_max().map_or(most, |sooner| sooner.clamp(1, most))
    }

    fn is_repeated(&self, error: &Error, attempt: u32) -> bool {
        // Who is busy has not begun, so that nothing is repeated.
        let harmless = self.process.description().idempotent || matches!(error, Error::Busy { .. });
        error.is_transient()
            && harmless
            && attempt < self.context.settings.chunk_attempts_max
            && !self.cancel.is_cancelled()
            && !self.sink.is_cancelled()
    }

    async fn inputs(&self, name: &str, piece: Piece, folder: &std::path::Path) -> Result<Inputs, Error> {
        let mut values: Vec<_> =
            self.shared.iter().map(|(id, values)| (id.to_owned(), values.to_vec())).collect();
        for (index, (id, data)) in piece.inputs.into_iter().enumerate() {
            let value = match data {
                PieceData::Here(value) => value,
                PieceData::At { url, format } => {
                    let ended = async {
                        tokio::select! {
                            () = self.cancel.cancelled() => {}
                            () = self.sink.cancelled() => {}
                        }
                    };
                    tokio::select! {
                        fetched = fetch::chunk(&self.context, &url, format, folder, index, self.sink.as_ref()) => {
                            fetched.map_err(|reason| Error::process_failed(format!("{name}: {reason}")))?
                        }
                        () = ended => return Err(Error::Dismissed),
                    }
                }
            };
            values.push((id, vec![Value::Complex(value)]));
        }
        // In the order of the description, as every process is given its inputs.
        let description = self.process.description();
        let place = |id: &str| description.inputs.iter().position(|input| input.id == id);
        values.sort_by_key(|(id, _)| place(id));
        Ok(Inputs::new(values))
    }

    async fn once(&self, name: &str, inputs: &Inputs) -> Result<Chunk, Error> {
        let part = self.parts.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let sink = PartSink::new(&self.sink, &format!("part-{part}"), name.to_owned(), self.cancel.clone());
        let Format { media_type, encoding, schema } = self.format.asked.clone();
        let execution = Execution {
            job: self.job,
            attempt: self.attempt,
            part: Some(part),
            resume: false,
            written: 0,
            feed: None,
            arriving: None,
            inputs: inputs.clone(),
            outputs: vec![OutputRequest {
                id: self.output.clone(),
                format: FormatHint { media_type: Some(media_type), encoding, schema },
                transmission: Transmission::Value,
                uom: None,
            }],
            sink: Arc::clone(&sink) as Arc<dyn OutputSink>,
        };
        let ended = Arc::clone(&self.process).execute(execution).await;
        let mut values = sink.take().into_iter().filter(|(output, _)| *output == self.output);
        let folder = sink.folder().to_owned();
        let value = match (ended, values.next(), values.next()) {
            (Err(error), ..) => Err(error),
            (Ok(()), Some((_, Value::Complex(value))), None) => Ok(value),
            (Ok(()), Some(_), None) => {
                Err(Error::process_failed("the process put out a value without a format"))
            }
            (Ok(()), None, _) => Err(Error::process_failed("the process ended without an output")),
            (Ok(()), Some(_), Some(_)) => {
                Err(Error::process_failed("the process put out several values where one was expected"))
            }
        };
        match value {
            Ok(value) => {
                let run_ms = u64::try_from(begun.elapsed().as_millis()).ok();
                let facts = Facts { run_ms, ..looked_at(&value).await };
                let value = ComplexValue { format: self.format.named.clone(), facts, ..value };
                Ok(Chunk { value, folder, window: None })
            }
            Err(error) => {
                remove(folder).await;
                Err(error)
            }
        }
    }

    fn say(&self, text: &str) {
        let source = anabranch_model::LogSource::System;
        self.sink.log(anabranch_model::LogLine { source, text: text.to_owned() });
    }
}

/// What is known of a chunk. Here and not when it is stored, because chunks are made side by side and stored one after the other.
async fn looked_at(value: &ComplexValue) -> Facts {
    let is_known = value.facts.features.is_some() || value.facts.bbox.is_some();
    if is_known || !can_be_looked_at(value) {
        return value.facts;
    }
    let seen = value.clone();
    tokio::task::spawn_blocking(move || look(&seen)).await.unwrap_or(value.facts)
}

/// Says which chunk it was. What is wrong with a chunk is no fault of the request, which was accepted long ago.
fn numbered(name: &str, error: Error) -> Error {
    match error {
        Error::ProcessFailed { message, detail } if !message.starts_with(name) => {
            Error::ProcessFailed { message: format!("{name}: {message}"), detail }
        }
        error @ (Error::Invalid(_) | Error::TooLarge { .. } | Error::DataNotAccessible { .. }) => {
            Error::process_failed(format!("{name}: {}", error.client_text()))
        }
        Error::Internal { detail } => Error::internal(format!("{name}: {detail}")),
        Error::AgentLost { reason } => Error::AgentLost { reason: format!("{name}: {reason}") },
        other => other,
    }
}

/// Removes a folder of the stream's own, where it was made.
pub(crate) async fn remove(folder: PathBuf) {
    // What can't be removed now goes with the stream's own folder.
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
}
