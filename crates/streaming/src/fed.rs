//! A stream that one run takes: it is fed the pieces as they come, and what it puts out while it goes on are the chunks.
//!
//! What such a run knows of the pieces before can't be brought back: it is never repeated, nor gone on with after a restart.

use crate::Context;
use crate::chunks::{ChunkFormat, remove};
use crate::fetch;
use crate::source::{Piece, PieceData, Source};
use anabranch_model::{
    BoxFuture, ChunkReader, ComplexValue, Error, Execution, Feed, Format, FormatHint, Inputs, JobId,
    OutputRequest, OutputSink, Process, SinkAround, Transmission, Value,
};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The run of a stream, before it begins.
pub(crate) struct FedRun {
    pub(crate) context: Arc<Context>,
    pub(crate) process: Arc<dyn Process>,
    pub(crate) shared: Inputs,
    /// The input that is fed.
    pub(crate) input: String,
    /// The process's own name for the output that comes in pieces.
    pub(crate) output: String,
    /// What it is called here.
    pub(crate) named: String,
    /// What chunks are to be.
    pub(crate) format: ChunkFormat,
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    pub(crate) sink: Arc<dyn OutputSink>,
}

impl FedRun {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What the process or the source ended with; what was put out before stays.
    pub(crate) async fn run(self, source: Box<dyn Source>) -> Result<(), Error> {
        let Format { media_type, encoding, schema } = self.format.asked.clone();
        let pieces = Pieces::of(self.context, source, Arc::clone(&self.sink));
        let sink = FedSink {
            sink: self.sink,
            output: self.output.clone(),
            named: self.named,
            format: self.format.named,
        };
        let execution = Execution {
            job: self.job,
            attempt: self.attempt,
            // A run under the job's own number would be taken for the job, where runs are found again after a restart.
            part: Some(0),
            resume: false,
            written: 0,
            feed: Some(Feed::new(self.input, Box::new(pieces))),
            arriving: None,
            inputs: self.shared,
            outputs: vec![OutputRequest {
                id: self.output,
                format: FormatHint { media_type: Some(media_type), encoding, schema },
                transmission: Transmission::Value,
                uom: None,
            }],
            sink: Arc::new(sink),
        };
        self.process.execute(execution).await.map_err(|error| match error {
            // Elsewhere a run that was lost is repeated.
            Error::AgentLost { reason } => {
                Error::process_failed(format!("{reason}: what it had been fed can't be fed again"))
            }
            error => error,
        })
    }
}

/// A piece, and the folder that holds its file.
type Fetched = (ComplexValue, Option<PathBuf>);

/// The pieces of a source, the next one fetched while the one before is used.
struct Pieces {
    fetched: mpsc::Receiver<Result<Fetched, Error>>,
    /// Of the piece that was given last.
    folder: Option<PathBuf>,
    _ends_with_the_stream: AbortOnDropHandle<()>,
}

impl Pieces {
    fn of(context: Arc<Context>, source: Box<dyn Source>, sink: Arc<dyn OutputSink>) -> Self {
        // One waits here, one is being fetched: who reads slowly slows the source.
        let (sender, fetched) = mpsc::channel(1);
        let fetching = tokio::spawn(fetch_all(context, source, sink, sender));
        Self { fetched, folder: None, _ends_with_the_stream: AbortOnDropHandle::new(fetching) }
    }
}

impl ChunkReader for Pieces {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(async {
            if let Some(folder) = self.folder.take() {
                remove(folder).await;
            }
            let Some((value, folder)) = self.fetched.recv().await.transpose()? else { return Ok(None) };
            self.folder = folder;
            Ok(Some(value))
        })
    }
}

async fn fetch_all(
    context: Arc<Context>,
    mut source: Box<dyn Source>,
    sink: Arc<dyn OutputSink>,
    sender: mpsc::Sender<Result<Fetched, Error>>,
) {
    loop {
        let piece = match source.next().await {
            Ok(None) => return,
            Ok(Some(piece)) => fetched(&context, piece, sink.as_ref()).await,
            Err(error) => Err(error),
        };
        let is_over = piece.is_err();
        if sender.send(piece).await.is_err() || is_over {
            return;
        }
    }
}

async fn fetched(context: &Context, piece: Piece, sink: &dyn OutputSink) -> Result<Fetched, Error> {
    let name = format!("chunk {}", piece.position + 1);
    match piece.inputs.into_iter().next() {
        Some((_, PieceData::Here(value))) => Ok((value, None)),
        Some((_, PieceData::At { url, format })) => {
            let folder = sink.scratch().join(format!("fed-{}", piece.position + 1));
            let value = fetch::chunk(context, &url, format, &folder, 0, sink).await;
            let value = value.map_err(|reason| Error::process_failed(format!("{name}: {reason}")))?;
            Ok((value, Some(folder)))
        }
        None => Err(Error::internal("a piece of no input")),
    }
}

/// Gives what the run puts out the name and format that were asked for.
struct FedSink {
    sink: Arc<dyn OutputSink>,
    output: String,
    named: String,
    format: Format,
}

impl SinkAround for FedSink {
    fn inner(&self) -> &dyn OutputSink {
        self.sink.as_ref()
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        match chunk {
            _ if output != self.output => Box::pin(std::future::ready(Ok(()))),
            Value::Complex(value) => self
                .sink
                .write(&self.named, Value::Complex(ComplexValue { format: self.format.clone(), ..value })),
            Value::Literal(_) | Value::BoundingBox(_) => {
                let error = Error::process_failed("the process put out a value without a format");
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}
