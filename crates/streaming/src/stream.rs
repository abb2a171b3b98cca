//! What both kinds of streaming have in common: which inputs all pieces share, what was asked for, how the stream begins.

use crate::Context;
use crate::chunks::{ChunkFormat, Runner};
use crate::fed::FedRun;
use crate::flow::{Delivery, flow};
use crate::join::Joined;
use crate::parameters::{self, ALL, MAX_CHUNKS_KEPT};
use crate::part::PartSink;
use crate::source::Source;
use anabranch_model::{
    Arriving, Chunking, ComplexValue, DataDescription, Error, Execution, Format, Inputs, JobId, OutputSink,
    Process, ProcessDescription,
};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio_util::sync::CancellationToken;

/// One run of a streaming process, before its first piece.
pub(crate) struct Stream {
    context: Arc<Context>,
    base: Arc<dyn Process>,
    /// How the process is run piece by piece.
    pub(crate) chunking: Chunking,
    execution: Execution,
    delivery: Delivery,
    format: ChunkFormat,
}

impl Stream {
    /// Reads what was asked for.
    ///
    /// # Errors
    /// [`Error::Internal`] where binding let something through that does not fit.
    pub(crate) fn begin(
        context: &Arc<Context>,
        base: &Arc<dyn Process>,
        execution: Execution,
    ) -> Result<Self, Error> {
        let description = base.description();
        let chunking = description.chunking.clone();
        let chunking = chunking.ok_or_else(|| Error::internal("a process is streamed that can't be"))?;
        let asked = execution.outputs.first().ok_or_else(|| Error::internal("no output is asked for"))?;
        let hint = asked.format.clone();
        let asked_format = Format {
            media_type: hint.media_type.unwrap_or_else(|| Format::PLAYLIST.into()),
            encoding: hint.encoding,
            schema: hint.schema,
        };
        let (format, delivery) = if asked_format.is_playlist() {
            let of_chunks = match asked_format.of_chunks() {
                Some(format) => format,
                None => first_format(&description, &chunking.output)?,
            };
            (of_chunks, Delivery::Chunks(asked.id.clone()))
        } else {
            let joined = Joined::new(chunking.cut, asked.id.clone(), asked_format.clone());
            (asked_format, Delivery::Joined(joined))
        };
        let (context, base) = (Arc::clone(context), Arc::clone(base));
        Ok(Self { context, base, chunking, execution, delivery, format: ChunkFormat::new(format) })
    }

    /// The job it belongs to.
    pub(crate) fn job(&self) -> JobId {
        self.execution.job
    }

    /// All inputs, the parameters of the streaming among them.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.execution.inputs
    }

    /// The values of the inputs that are cut, in the order in which the process names them.
    ///
    /// # Errors
    /// [`Error::Internal`] where binding let something through that does not fit.
    pub(crate) fn cut_inputs(&self) -> Result<Vec<(String, ComplexValue)>, Error> {
        let one = |id: &String| Ok((id.clone(), self.execution.inputs.complex(id)?.clone()));
        self.chunking.inputs.iter().map(one).collect()
    }

    /// The input that is cut while it comes; it is none of [`Stream::cut_inputs`].
    pub(crate) fn take_arriving(&mut self) -> Option<Arriving> {
        self.execution.arriving.take()
    }

    /// Where everything goes.
    pub(crate) fn sink(&self) -> &Arc<dyn OutputSink> {
        &self.execution.sink
    }

    /// Pieces before this one are done, by a run that ended with an earlier server.
    pub(crate) fn first(&self) -> u64 {
        self.execution.written
    }

    /// Prepares what all pieces share, and runs the stream.
    ///
    /// # Errors
    /// What ended it.
    pub(crate) async fn run(self, source: Box<dyn Source>) -> Result<(), Error> {
        let Execution { job, attempt, written, inputs, sink, .. } = self.execution;
        let kept = parameters::count(&inputs, MAX_CHUNKS_KEPT)?;
        let is_shared = |id: &str| !ALL.contains(&id) && !self.chunking.inputs.iter().any(|cut| cut == id);
        let shared = inputs.iter().filter(|(id, _)| is_shared(id));
        let shared = Inputs::new(shared.map(|(id, values)| (id.to_owned(), values.to_vec())).collect());
        let cancel = CancellationToken::new();
        let preparing = PartSink::new(&sink, "shared", "inputs of all chunks".into(), cancel.clone());
        let prepared = self.base.prepare(shared, preparing).await?;
        if let Some(chunks) = kept {
            sink.keep(chunks);
        }
        // All that can be wrong with the request has been looked at: from here on the playlist is open.
        sink.started(None);
        let process = prepared.process.unwrap_or(self.base);
        if let (true, Delivery::Chunks(named), Some(input)) =
            (self.chunking.is_fed, &self.delivery, self.chunking.inputs.first())
        {
            let run = FedRun {
                context: self.context,
                process,
                shared: prepared.shared,
                input: input.clone(),
                output: self.chunking.output,
                named: named.clone(),
                format: self.format,
                job,
                attempt,
                sink,
            };
            return run.run(source).await;
        }
        let runner = Runner {
            context: self.context,
            process,
            shared: prepared.shared,
            output: self.chunking.output,
            format: self.format,
            job,
            attempt,
            parts: AtomicU32::new(0),
            sink,
            cancel,
        };
        flow(Arc::new(runner), source, written, self.delivery).await
    }
}

/// The format of chunks where the client names none.
fn first_format(description: &ProcessDescription, output: &str) -> Result<Format, Error> {
    match description.output(output).map(|output| &output.data) {
        Some(DataDescription::Complex(domain)) => domain.formats.first().cloned(),
        Some(DataDescription::Literal(_) | DataDescription::BoundingBox(_)) | None => None,
    }
    .ok_or_else(|| Error::internal(format!("output '{output}' has no format")))
}
