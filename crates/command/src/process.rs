//! A service as a process.

use crate::os::{RunGroups, Supervisor};
use crate::service::Service;
use anabranch_model::{BoxFuture, Error, Execution, Process, ProcessDescription};
use std::sync::Arc;

/// What all runs on this machine have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the supervisor of a run is started.
    pub supervisor: Supervisor,
    /// Where runs get control groups of their own, where this machine lets us.
    pub groups: Option<RunGroups>,
}

/// An executable, published.
#[derive(Clone, Debug)]
pub struct CommandProcess {
    service: Arc<Service>,
    settings: Settings,
}

impl CommandProcess {
    /// A process that runs the service's executable once for every execution.
    #[must_use]
    pub fn new(service: Arc<Service>, settings: Settings) -> Self {
        Self { service, settings }
    }

    /// How it is run.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }
}

impl Process for CommandProcess {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.service.description)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move { crate::run::run(&self.service, &self.settings, execution).await })
    }
}
