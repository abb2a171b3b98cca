//! Full streaming: the input arrives in chunks, listed by a playlist that may still grow, and the result comes in pieces too.

use crate::Context;
use crate::follow;
use crate::parameters::{self, MAX_TIME_IDLE, MAX_TIME_IDLE_DEFAULT};
use crate::stream::{Stream, on_restart};
use anabranch_model::{BoxFuture, Error, Execution, OnRestart, Process, ProcessDescription};
use std::sync::Arc;
use std::time::Duration;

/// A process whose input arrives in chunks.
pub(crate) struct FullStreaming {
    description: Arc<ProcessDescription>,
    base: Arc<dyn Process>,
    context: Arc<Context>,
}

impl FullStreaming {
    pub(crate) fn new(
        description: ProcessDescription,
        base: Arc<dyn Process>,
        context: &Arc<Context>,
    ) -> Self {
        Self { description: Arc::new(description), base, context: Arc::clone(context) }
    }
}

impl Process for FullStreaming {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        on_restart(&self.description)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let stream = Stream::begin(&self.context, &self.base, execution)?;
            let idle = parameters::count(stream.inputs(), MAX_TIME_IDLE)?.unwrap_or(MAX_TIME_IDLE_DEFAULT);
            let source = follow::open(&self.context, &stream, Duration::from_millis(idle)).await?;
            stream.run(source).await
        })
    }
}
