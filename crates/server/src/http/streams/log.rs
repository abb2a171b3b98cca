//! The log of an output, as its renderings see it.

use super::address::{self, Addresses};
use crate::app::App;
use anabranch_engine::{ChunkPage, JobView};
use anabranch_formats::playlist::document::Exception;
use anabranch_formats::playlist::{Chunk, End};
use anabranch_model::{ComplexValue, Error, JobId, JobState, Outcome, Value, Viewer};
use anabranch_streaming::MAX_CHUNKS_KEPT;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The log of one output of one job.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) app: App,
    viewer: Viewer,
    pub(crate) job: JobId,
    pub(crate) output: String,
    pub(crate) addresses: Addresses,
}

impl Log {
    pub(crate) fn new(app: &App, viewer: &Viewer, job: JobId, output: &str, addresses: Addresses) -> Self {
        Self { app: Arc::clone(app), viewer: viewer.clone(), job, output: output.to_owned(), addresses }
    }

    /// Chunks from number `first` on, counted from 0.
    pub(crate) async fn page(&self, first: u64, chunks_max: usize) -> Result<ChunkPage, Error> {
        self.app.engine.chunks(&self.viewer, self.job, &self.output, first, chunks_max).await
    }

    /// The request wants the last chunks only, whether its run has begun or not.
    pub(crate) async fn is_to_slide(&self) -> Result<bool, Error> {
        let request = self.app.engine.request(&self.viewer, self.job).await?;
        Ok(request.request.inputs.iter().any(|input| input.id.eq_ignore_ascii_case(MAX_CHUNKS_KEPT)))
    }

    /// Follows the job.
    pub(crate) async fn watch(&self) -> Result<watch::Receiver<Arc<JobView>>, Error> {
        self.app.engine.watch(&self.viewer, self.job).await
    }

    /// Waits until there are more chunks than `after`, or the job has finished, or so long.
    pub(crate) async fn beyond(&self, after: u64, wait: Duration) -> Result<(), Error> {
        let mut watched = self.watch().await?;
        let news = watched.wait_for(|view| view.job.is_finished() || self.stored(view) > after);
        // Whatever ended the wait: the answer says what there is.
        let _news = tokio::time::timeout(wait, news).await;
        Ok(())
    }

    /// Chunks that a snapshot of the job counts.
    pub(crate) fn stored(&self, view: &JobView) -> u64 {
        view.outputs.iter().find(|summary| summary.id == self.output).map_or(0, |summary| summary.chunks)
    }

    /// The chunks of a page, as playlists list them.
    pub(crate) fn entries(&self, page: &ChunkPage) -> impl Iterator<Item = Chunk> {
        (page.first + 1..).zip(&page.chunks).map(|(seq, value)| match value {
            Value::Complex(ComplexValue { data, format, facts }) => Chunk {
                media_type: Some(format.media_type.clone()),
                count: facts.features,
                bbox: facts.bbox,
                bytes: Some(data.len()),
                stored: facts.stored,
                run_ms: facts.run_ms,
                ..self.bare(seq)
            },
            Value::Literal(literal) => Chunk { bytes: Some(literal.text.len() as u64), ..self.bare(seq) },
            Value::BoundingBox(_) => self.bare(seq),
        })
    }

    /// A chunk of which nothing is known any more but its place.
    pub(crate) fn bare(&self, seq: u64) -> Chunk {
        let href = self.addresses.chunk(&self.app.base, &self.job, &self.output, seq);
        Chunk { seq, href, ..Chunk::default() }
    }

    /// Whether more will come.
    pub(crate) fn end(&self, view: &JobView) -> End {
        match &view.job.state {
            JobState::Accepted | JobState::Running { .. } => End::Open,
            JobState::Finished(Outcome::Succeeded) => End::Complete,
            JobState::Finished(Outcome::Failed(_) | Outcome::Dismissed(_)) => {
                End::Failed { report: address::exception(&self.app.base, &self.job) }
            }
        }
    }

    /// Why it did not end well.
    pub(crate) fn exception(&self, view: &JobView) -> Option<Exception> {
        let detail = failure(view)?.client_text();
        Some(Exception { detail, href: address::exception(&self.app.base, &self.job) })
    }
}

/// The error that a job ended with.
pub(crate) fn failure(view: &JobView) -> Option<Error> {
    match &view.job.state {
        JobState::Finished(Outcome::Failed(error)) => Some(error.clone()),
        JobState::Finished(Outcome::Dismissed(_)) => Some(Error::Dismissed),
        JobState::Accepted | JobState::Running { .. } | JobState::Finished(Outcome::Succeeded) => None,
    }
}
