//! Output streaming: the input is there as a whole, is cut, and the result comes in pieces.

use crate::Context;
use crate::cut;
use crate::stream::{Stream, on_restart};
use anabranch_model::{BoxFuture, Error, Execution, OnRestart, Process, ProcessDescription};
use std::sync::Arc;

/// A process whose input is cut.
pub(crate) struct OutputStreaming {
    description: Arc<ProcessDescription>,
    base: Arc<dyn Process>,
    context: Arc<Context>,
}

impl OutputStreaming {
    pub(crate) fn new(
        description: ProcessDescription,
        base: Arc<dyn Process>,
        context: &Arc<Context>,
    ) -> Self {
        Self { description: Arc::new(description), base, context: Arc::clone(context) }
    }
}

impl Process for OutputStreaming {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        on_restart(&self.description)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let stream = Stream::begin(&self.context, &self.base, execution)?;
            // First what the client can mend, then the work that all chunks share.
            let source = cut::open(&stream, &self.context.settings).await?;
            stream.run(source).await
        })
    }
}
