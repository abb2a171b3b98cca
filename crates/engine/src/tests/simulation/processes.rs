//! Processes that do what the seed says.

use super::super::{bytes, describe, text};
use super::world::{Kind, World};
use super::{below, disturb, one_in};
use crate::Engine;
use anabranch_model::{
    BoxFuture, DataDescription, Error, Execution, Format, JobId, OnRestart, Process, ProcessDescription,
    Viewer,
};
use std::sync::Arc;
use std::time::Duration;

/// Media type by which an output is asked for as a stream.
pub(super) const PLAYLIST: &str = "application/x-ogc-playlist+text/plain";

/// Chunks of runs elsewhere and of streams.
const CHUNKS: u64 = 5;

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Again, Self::Once, Self::Far, Self::Stream];

    pub(super) fn process(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Once => "once",
            Self::Far => "far:run",
            Self::Stream => "stream",
        }
    }

    fn on_restart(self) -> OnRestart {
        match self {
            Self::Again => OnRestart::Requeue,
            Self::Once => OnRestart::Fail,
            Self::Far => OnRestart::Reattach,
            Self::Stream => OnRestart::Continue,
        }
    }
}

struct Simulated {
    kind: Kind,
    description: Arc<ProcessDescription>,
    world: Arc<World>,
}

pub(super) fn publish(engine: &Engine, world: &Arc<World>) {
    for kind in Kind::ALL {
        let mut description = describe(kind.process(), matches!(kind, Kind::Again | Kind::Stream));
        if let DataDescription::Complex(domain) = &mut description.outputs[1].data {
            domain.formats.insert(0, Format::new(PLAYLIST));
        }
        let (description, world) = (Arc::new(description), Arc::clone(world));
        engine.registry().publish(Arc::new(Simulated { kind, description, world }));
    }
}

impl Process for Simulated {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        self.kind.on_restart()
    }

    fn may_live_on(&self, job: JobId, attempt: u32) -> bool {
        self.world.holds(job, attempt)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            match self.kind {
                Kind::Far => self.far(&execution).await,
                Kind::Stream => self.stream(&execution).await,
                Kind::Again | Kind::Once => self.any(&execution).await,
            }
        })
    }
}

async fn step(execution: &Execution) -> Result<(), Error> {
    if execution.sink.is_cancelled() {
        return Err(Error::Dismissed);
    }
    match below(6) {
        0 => execution.sink.progress(below(100) as f32, None),
        1 => execution.sink.sleep(Duration::from_millis(below(60))).await,
        2 => tokio::task::yield_now().await,
        _ => disturb().await,
    }
    Ok(())
}

impl Simulated {
    async fn any(&self, execution: &Execution) -> Result<(), Error> {
        self.world.begins(self.kind, execution.job, execution.attempt);
        execution.sink.started(None);
        for _ in 0..below(12) {
            step(execution).await?;
            if one_in(3) {
                execution.sink.write("data", bytes(vec![b'x'; 1 + below(300) as usize])).await?;
            }
        }
        match below(8) {
            0 => return Err(Error::process_failed("by chance")),
            1 => return Err(Error::AgentLost { reason: "by chance".into() }),
            // As a panic is, but silent.
            2 => std::panic::resume_unwind(Box::new("by chance")),
            _ => {}
        }
        execution.sink.write("data", bytes("end")).await?;
        execution.sink.write("text", text("done")).await
    }

    /// What an agent does, as the proxy of it shows: found again, it tells once more what was not acknowledged.
    async fn far(&self, execution: &Execution) -> Result<(), Error> {
        let (job, attempt) = (execution.job, execution.attempt);
        let mut first = 0;
        if execution.resume {
            let view = self.world.server().ok_or(Error::Dismissed)?.job(&Viewer::Operator, job).await?;
            first = view.outputs[1].chunks;
        } else {
            self.world.begins(self.kind, job, attempt);
        }
        execution.sink.started(Some("agent 1"));
        for chunk in first..CHUNKS {
            step(execution).await?;
            execution.sink.write("data", bytes(format!("{chunk}").repeat(80))).await?;
            self.world.acknowledged(job, attempt);
        }
        if one_in(8) {
            Err(Error::AgentLost { reason: "by chance".into() })
        } else {
            execution.sink.write("text", text("x")).await
        }
    }

    async fn stream(&self, execution: &Execution) -> Result<(), Error> {
        execution.sink.started(None);
        for chunk in execution.written..CHUNKS {
            step(execution).await?;
            if one_in(20) {
                return Err(Error::AgentLost { reason: "by chance".into() });
            }
            execution.sink.write("data", bytes(format!("{chunk}").repeat(80))).await?;
        }
        Ok(())
    }
}
