//! The end of the engine.

use crate::engine::Inner;
use crate::folders::blocking;
use anabranch_model::{Error, JobEvent};
use std::sync::Arc;
use std::time::Duration;

impl Inner {
    /// See [`crate::Engine::shutdown`].
    pub(crate) async fn shutdown(self: &Arc<Self>, drain: Duration) {
        self.dispatcher.hold();
        if let Some(nodes) = &self.nodes {
            nodes.leaving.cancel();
        }
        let (waiting, running) = self.dispatcher.counts();
        tracing::info!(waiting, running, ?drain, "the engine shuts down");
        if tokio::time::timeout(drain, self.dispatcher.idle()).await.is_err() {
            // Runs on agents are let go first: to be cancelled would end them.
            self.detach.cancel();
            self.stop.cancel();
            let wait = Duration::from_millis(self.limits.dismiss_ms_max);
            if tokio::time::timeout(wait, self.dispatcher.idle()).await.is_err() {
                let (_, running) = self.dispatcher.counts();
                tracing::error!(running, "runs do not end; the next start finds their jobs and says so");
            }
        }
        self.stop.cancel();
        // Nobody can answer their clients any more; all others wait for the next start.
        for live in self.board.living().into_iter().filter(|live| live.sync) {
            self.dispatcher.remove(&live);
            live.apply(JobEvent::Ended(Err(Error::Interrupted { reason: "it was shut down".into() })));
        }
        if let Some(callbacks) = self.callbacks.get() {
            callbacks.idle(drain).await;
        }
        let engine = Arc::clone(self);
        let closed = blocking(move || {
            engine.store.close();
            for live in engine.board.living() {
                live.log.flush();
            }
            engine.logs.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the store was not closed in order");
        }
        if let Some(nodes) = &self.nodes {
            nodes.leave().await;
        }
    }
}
