//! A process that runs on agents.

use std::sync::Arc;

use anabranch_model::{BoxFuture, Error, Execution, OnRestart, Process, ProcessDescription};

/// A process that runs on agents: made by the [`Orchestrator`](crate::Orchestrator) for what they announce.
pub struct RemoteProcess {
    description: Arc<ProcessDescription>,
}

impl Process for RemoteProcess {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        OnRestart::Reattach
    }

    fn execute(self: Arc<Self>, _execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async { Err(Error::internal("not joined to the pool yet")) })
    }
}
