//! The sink of one run for one chunk: what it puts out is kept for whoever runs it, the rest goes where the stream's own goes.

use anabranch_model::{BoxFuture, Error, LogLine, LogSource, OutputSink, Priority, UserName, Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The sink of a part of a stream.
pub(crate) struct PartSink {
    stream: Arc<dyn OutputSink>,
    /// Before each line of its log.
    name: String,
    cancel: CancellationToken,
    scratch: PathBuf,
    scratch_made: OnceLock<()>,
    written: Mutex<Vec<(String, Value)>>,
}

/// Values that a run for one chunk may put out: one for each output, and it has few. More would be kept in memory with nobody to take them.
const VALUES_MAX: usize = 16;

impl PartSink {
    /// With a scratch folder of the name `folder` in that of the stream; cancelled when the stream is, or by `cancel`.
    pub(crate) fn new(
        stream: &Arc<dyn OutputSink>,
        folder: &str,
        name: String,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let scratch = stream.scratch().join(folder);
        let stream = Arc::clone(stream);
        Arc::new(Self {
            stream,
            name,
            cancel,
            scratch,
            scratch_made: OnceLock::new(),
            written: Mutex::default(),
        })
    }

    /// What was put out.
    pub(crate) fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.scratch
    }
}

impl OutputSink for PartSink {
    /// A stream runs everywhere: where each of its chunks does, its log says.
    fn started(&self, on: Option<&str>) {
        if let Some(agent) = on {
            self.log(LogLine { source: LogSource::System, text: format!("runs at agent {agent}") });
        }
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let result = if written.len() < VALUES_MAX {
            written.push((output.to_owned(), chunk));
            Ok(())
        } else {
            Err(Error::process_failed(format!("{}: it put out more than {VALUES_MAX} values", self.name)))
        };
        drop(written);
        Box::pin(std::future::ready(result))
    }

    fn progress(&self, _percent: f32, _message: Option<&str>) {}

    fn log(&self, line: LogLine) {
        self.stream.log(LogLine { text: format!("{}: {}", self.name, line.text), ..line });
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::select! {
                () = self.stream.cancelled() => {}
                () = self.cancel.cancelled() => {}
            }
        })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.stream.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        self.scratch_made.get_or_init(|| {
            if let Err(error) = std::fs::create_dir_all(&self.scratch) {
                // The run meets the same error as soon as it uses the folder, and reports it.
                tracing::error!(path = %self.scratch.display(), %error, "a scratch folder can't be made");
            }
        });
        &self.scratch
    }

    fn owner(&self) -> Option<&UserName> {
        self.stream.owner()
    }

    fn priority(&self) -> Priority {
        self.stream.priority()
    }

    fn cpu_s_max(&self) -> Option<u64> {
        self.stream.cpu_s_max()
    }

    fn used_cpu(&self, more: Duration) {
        self.stream.used_cpu(more);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                () = self.stream.sleep(duration) => {}
                () = self.cancel.cancelled() => {}
            }
        })
    }
}
