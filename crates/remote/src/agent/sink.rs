//! The sink of a run on an agent: it writes messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch_model::{BoxFuture, Error, LogLine, OutputSink, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::AgentData;
use super::buffer::{RunBuffer, kib};
use super::values::{Upload, upload_output};
use crate::message::Output;

/// Puts what a run says into its buffer and wakes the agent's task.
pub(super) struct AgentSink {
    pub(super) buffer: Arc<RunBuffer>,
    pub(super) wake: Arc<Notify>,
    pub(super) cancel: CancellationToken,
    pub(super) data: Arc<dyn AgentData>,
    pub(super) folder: PathBuf,
    /// Outputs asked for and where their chunks may be uploaded.
    pub(super) uploads: BTreeMap<String, Option<String>>,
    /// Chunks of each output so far.
    pub(super) chunks: Mutex<BTreeMap<String, u64>>,
    /// See [`crate::message::Execute::cpu_s_max`].
    pub(super) cpu_s_max: Option<u64>,
    /// Processor time used so far.
    pub(super) cpu_ms: AtomicU64,
}

impl AgentSink {
    async fn write_chunk(&self, output: &str, chunk: Value) -> Result<(), Error> {
        let Some(url) = self.uploads.get(output) else {
            // Not asked for: as everywhere, written for nobody.
            return Ok(());
        };
        let n = self.next_chunk(output);
        let upload = Upload { output, url: url.as_deref(), n, folder: &self.folder };
        let value = upload_output(&upload, chunk, self.data.as_ref(), &self.cancel).await?;
        let output = Output { id: output.to_owned(), n, value };
        let permits = tokio::select! {
            permits = self.buffer.outputs_kib_free.acquire_many(kib(&output)) => permits.map_err(Error::internal)?,
            () = self.cancel.cancelled() => return Err(Error::Dismissed),
        };
        // Given back when the server has acknowledged it.
        permits.forget();
        self.buffer.output(output);
        self.wake.notify_one();
        Ok(())
    }

    fn next_chunk(&self, output: &str) -> u64 {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let next = chunks.entry(output.to_owned()).or_default();
        *next += 1;
        *next - 1
    }
}

impl OutputSink for AgentSink {
    fn started(&self, _on: Option<&str>) {
        self.buffer.started();
        self.wake.notify_one();
    }

    fn waiting(&self, reason: &str) {
        self.buffer.waiting(reason);
        self.wake.notify_one();
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let output = output.to_owned();
        Box::pin(async move { self.write_chunk(&output, chunk).await })
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.buffer.progress(percent, message);
        self.wake.notify_one();
    }

    fn log(&self, line: LogLine) {
        self.buffer.log(line);
        self.wake.notify_one();
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.cancel.cancelled())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        &self.folder
    }

    fn cpu_s_max(&self) -> Option<u64> {
        self.cpu_s_max
    }

    /// The server decides what becomes of it.
    fn used_cpu(&self, more: Duration) {
        if self.cpu_s_max.is_some() {
            let more_ms = u64::try_from(more.as_millis()).unwrap_or(u64::MAX);
            let before = self.cpu_ms.fetch_add(more_ms, Ordering::Relaxed);
            self.buffer.used_cpu(before.saturating_add(more_ms));
            self.wake.notify_one();
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = self.cancel.cancelled() => {}
            }
        })
    }
}
