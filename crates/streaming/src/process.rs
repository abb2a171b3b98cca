//! A streaming process: its description, the process it runs, and where its pieces come from.

use crate::Context;
use crate::cut;
use crate::follow;
use crate::parameters::{self, NUMBER_OF_CHUNKS};
use crate::stream::Stream;
use anabranch_model::{BoxFuture, Cut, Error, Execution, OnRestart, Process, ProcessDescription};
use std::sync::Arc;

/// A process that runs another piece by piece.
pub(crate) struct StreamingProcess {
    description: Arc<ProcessDescription>,
    base: Arc<dyn Process>,
    context: Arc<Context>,
    pieces: Pieces,
}

/// Where pieces come from.
#[derive(Clone, Copy)]
pub(crate) enum Pieces {
    /// *Output streaming*: the input is there as a whole, and is cut.
    Cut,
    /// *Full streaming*: the input arrives in chunks, listed by a playlist that may still grow.
    Followed,
}

impl StreamingProcess {
    pub(crate) fn new(
        description: ProcessDescription,
        base: &Arc<dyn Process>,
        context: &Arc<Context>,
        pieces: Pieces,
    ) -> Self {
        let (base, context) = (Arc::clone(base), Arc::clone(context));
        Self { description: Arc::new(description), base, context, pieces }
    }
}

impl Process for StreamingProcess {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    /// A stream that may not be run again from the start can't be gone on with either: its chunks under way may have done something. Nor can
    /// one that a single run takes.
    fn on_restart(&self) -> OnRestart {
        let is_fed = self.base.description().chunking.as_ref().is_some_and(|chunking| chunking.is_fed);
        if self.description.idempotent && !is_fed { OnRestart::Continue } else { OnRestart::Fail }
    }

    /// Features are cut while they come, unless it has to be known how many there are.
    fn reads_arriving(&self) -> Option<String> {
        let chunking = self.base.description().chunking.clone()?;
        match (self.pieces, chunking.cut, chunking.inputs.as_slice()) {
            (Pieces::Cut, Cut::Features, [input]) => Some(input.clone()),
            _ => None,
        }
    }

    fn execute(self: Arc<Self>, mut execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            if parameters::count(&execution.inputs, NUMBER_OF_CHUNKS)?.is_some() {
                execution.arrived(&self.description).await?;
            }
            let mut stream = Stream::begin(&self.context, &self.base, execution)?;
            // First what the client can mend, then the work that all chunks share.
            let source = match self.pieces {
                Pieces::Cut => cut::open(&mut stream, &self.context).await?,
                Pieces::Followed => follow::open(&self.context, &stream).await?,
            };
            stream.run(source).await
        })
    }
}
