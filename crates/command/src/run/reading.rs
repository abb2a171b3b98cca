//! Reads the streams of a run, and hands over what is complete while it goes on.

use super::blocking;
use crate::folders::Folders;
use crate::journal::Journal;
use crate::lines::LineCutter;
use crate::outputs;
use crate::pieces::Pieces;
use crate::service::{Service, Stream};
use anabranch_model::{Error, OutputRequest, OutputSink, Value};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

/// Bytes read at once from a stream: what a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// How often files are looked for that may be complete.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reads the streams of a run, and hands over what is announced there.
pub(super) struct Reading<'a> {
    pub(super) journal: Journal<'a>,
    pub(super) service: &'a Arc<Service>,
    pub(super) outputs: &'a [OutputRequest],
    pub(super) sink: &'a dyn OutputSink,
    pub(super) folders: &'a Folders,
    /// Files handed over already, by output.
    pub(super) sent: HashMap<String, HashSet<PathBuf>>,
    /// A chunk is being written: that may take as long as it likes.
    pub(super) handing_over: &'a AtomicBool,
    /// Told when a line says that the run has failed.
    pub(super) abort: &'a Notify,
    /// What is handed over without an announcement.
    pub(super) pieces: Pieces,
}

impl Reading<'_> {
    /// Reads both streams to their end.
    ///
    /// # Errors
    /// Where a chunk can't be written; the streams are read on all the same, so that the executable is not blocked.
    pub(super) async fn read(
        &mut self,
        mut stdout: Option<impl AsyncRead + Unpin>,
        mut stderr: Option<impl AsyncRead + Unpin>,
    ) -> Result<(), Error> {
        let (mut out, mut err) = (LineCutter::default(), LineCutter::default());
        let (mut out_bytes, mut err_bytes) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let mut result = Ok(());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stdout.is_some() || stderr.is_some() {
            tokio::select! {
                _ = looks.tick(), if self.pieces.are_looked_for() && result.is_ok() => {
                    result = self.look().await;
                }
                count = next(&mut stdout, &mut out_bytes) => {
                    let bytes = &out_bytes[..count];
                    if !self.pieces.has_records() {
                        self.take(Stream::Stdout, &mut out, bytes);
                    } else if result.is_ok() {
                        result = match self.pieces.records(bytes, Instant::now()) {
                            Ok(batches) => self.hand_over_records(batches).await,
                            Err(error) => Err(error),
                        };
                    }
                    if count == 0 {
                        stdout = None;
                    }
                }
                count = next(&mut stderr, &mut err_bytes) => {
                    if !self.take(Stream::Stderr, &mut err, &err_bytes[..count]) {
                        stderr = None;
                    }
                }
            }
            while let Some((output, file)) = self.journal.next_announced() {
                if result.is_ok() {
                    result = self.hand_over(output, file).await;
                }
            }
        }
        result
    }

    /// Gives false at the end of the stream.
    fn take(&mut self, stream: Stream, cutter: &mut LineCutter, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            cutter.finish(|line| self.journal.line(stream, line));
        } else {
            cutter.feed(bytes, |line| self.journal.line(stream, line));
        }
        if self.journal.is_aborted() {
            self.abort.notify_one();
        }
        !bytes.is_empty()
    }

    /// Hands over files that are complete by now, and records that have waited.
    async fn look(&mut self) -> Result<(), Error> {
        for request in self.pieces.files.clone() {
            let closed = self.pieces.closed(&request.id);
            let (service, work) = (Arc::clone(self.service), self.folders.work.clone());
            let sent = self.sent.get(&request.id).cloned().unwrap_or_default();
            let id = request.id.clone();
            let look = move || outputs::completed(&service, &request, &work, &sent, &closed);
            for (path, chunk) in blocking(look).await?? {
                self.sent.entry(id.clone()).or_default().insert(path);
                self.write(&id, chunk).await?;
            }
        }
        let due = self.pieces.due(Instant::now());
        self.hand_over_records(due).await
    }

    async fn hand_over_records(&mut self, batches: Vec<Vec<u8>>) -> Result<(), Error> {
        let Some(request) = self.pieces.requested_records().cloned() else { return Ok(()) };
        for batch in batches {
            let Some(chunk) = outputs::records(self.service, &request, batch) else { continue };
            self.write(&request.id, chunk).await?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, output: &str, file: String) -> Result<(), Error> {
        let Some(request) = self.outputs.iter().find(|request| request.id == output) else {
            return Ok(());
        };
        let (service, request, work) = (Arc::clone(self.service), request.clone(), self.folders.work.clone());
        let found = blocking(move || outputs::announced(&service, &request, &work, &file)).await??;
        let Some((path, chunk)) = found else { return Ok(()) };
        if self.sent.entry(output.to_owned()).or_default().insert(path) {
            self.write(output, chunk).await?;
        }
        Ok(())
    }

    async fn write(&mut self, output: &str, chunk: Value) -> Result<(), Error> {
        self.handing_over.store(true, Ordering::Relaxed);
        let written = self.sink.write(output, chunk).await;
        self.handing_over.store(false, Ordering::Relaxed);
        written
    }

    /// What the run has said, once all is read.
    pub(super) fn said(mut self) -> Said {
        self.journal.close();
        Said {
            reason: self.journal.reason(),
            is_aborted: self.journal.is_aborted(),
            found: outputs::found_in_lines(&self.journal, self.outputs),
            missing: self.pieces.missing_records(),
            sent: self.sent,
        }
    }
}

/// The next bytes of a stream; none at its end, and after an error, which says no more than that.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>, bytes: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// What a run has said.
pub(super) struct Said {
    /// Why it fails, as far as it says so; may be empty.
    pub(super) reason: String,
    /// A line says that it has failed.
    pub(super) is_aborted: bool,
    /// What lines say of each output.
    pub(super) found: Vec<Option<String>>,
    /// The output whose records never came.
    pub(super) missing: Option<String>,
    /// Files handed over already, by output.
    pub(super) sent: HashMap<String, HashSet<PathBuf>>,
}
