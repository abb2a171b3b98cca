//! Questions about jobs: answered from memory where they are there, else from the store.

use crate::clock;
use crate::engine::Inner;
use crate::list::{Cursor, Direction, JobFilter, JobPage, PAGE_JOBS_MAX};
use crate::live::Live;
use crate::results::{assemble, readable};
use crate::store::row::StoredJob;
use crate::view::{ChunkPage, JobView, Results};
use anabranch_model::{Error, JobId, JobState, Outcome, Viewer};
use std::sync::Arc;
use tokio::sync::watch;

/// A job, where it is.
pub(crate) enum Found {
    Live(Arc<Live>),
    Stored(Box<StoredJob>),
}

impl Inner {
    /// A job, if `viewer` may see it.
    pub(crate) async fn find(&self, viewer: &Viewer, id: JobId) -> Result<Found, Error> {
        // One that is foreign is looked for as one that is unknown, so that the time tells nothing.
        if let Some(live) = self.board.find(id).filter(|live| viewer.sees(live.owner.as_ref())) {
            return Ok(Found::Live(live));
        }
        let stored = self.store.readers.job(id).await?;
        let seen = stored.filter(|stored| viewer.sees(stored.view.job.owner.as_ref()));
        if let Some(stored) = seen {
            return Ok(Found::Stored(Box::new(stored)));
        }
        match self.store.readers.tombstone(id).await? {
            Some((owner, why, at)) if viewer.sees(owner.as_ref()) => Err(Error::Gone { job: id, why, at }),
            Some(_) | None => Err(Error::NoSuchJob(id.to_string())),
        }
    }

    /// See [`crate::Engine::watch`].
    pub(crate) async fn watch(
        &self,
        viewer: &Viewer,
        id: JobId,
    ) -> Result<watch::Receiver<Arc<JobView>>, Error> {
        let view = match self.find(viewer, id).await? {
            Found::Live(live) => return Ok(live.watch()),
            Found::Stored(stored) => Arc::new(stored.view),
        };
        Ok(match &self.nodes {
            Some(nodes) if !view.job.is_finished() => nodes.elsewhere.follow(view),
            _ => watch::channel(view).1,
        })
    }

    /// See [`crate::Engine::results`].
    pub(crate) async fn results(
        &self,
        viewer: &Viewer,
        id: JobId,
        only: Option<&[String]>,
    ) -> Result<Arc<Results>, Error> {
        match self.find(viewer, id).await? {
            Found::Live(live) => {
                let results = live.results()?;
                live.view().check_outputs(only, clock::now())?;
                Ok(results)
            }
            Found::Stored(stored) => {
                readable(&stored.view.job)?;
                stored.view.check_outputs(only, clock::now())?;
                self.stored_results(&stored).await.map(Arc::new)
            }
        }
    }

    async fn stored_results(&self, stored: &StoredJob) -> Result<Results, Error> {
        let request = self.store.readers.request(stored.sequence).await?;
        let chunks = self.store.readers.all_chunks(stored.sequence, request.outputs.len()).await?;
        Ok(assemble(&request.outputs, chunks))
    }

    /// See [`crate::Engine::chunks`].
    pub(crate) async fn chunks(
        &self,
        viewer: &Viewer,
        id: JobId,
        output: &str,
        first: u64,
        chunks_max: usize,
    ) -> Result<ChunkPage, Error> {
        let no_output = || Error::NoSuchOutput { job: id, output: output.to_owned() };
        let page = match self.find(viewer, id).await? {
            Found::Live(live) => {
                let place = live.request.outputs.iter().position(|asked| asked.id == output);
                live.chunks(place.ok_or_else(no_output)?, first, chunks_max).ok_or_else(no_output)?
            }
            Found::Stored(stored) => {
                let request = self.store.readers.request(stored.sequence).await?;
                let place = request.outputs.iter().position(|asked| asked.id == output);
                let place = place.ok_or_else(no_output)?;
                let summary = stored.view.outputs.get(place);
                let first = first.max(summary.map_or(0, |summary| summary.removed));
                let chunks = self.store.readers.chunks(stored.sequence, place, first, chunks_max).await?;
                ChunkPage {
                    request: request.outputs[place].clone(),
                    first,
                    chunks,
                    total: summary.map_or(0, |summary| summary.chunks),
                    slides: summary.is_some_and(|summary| summary.kept_max.is_some()),
                    view: Arc::new(stored.view),
                }
            }
        };
        page.view.check_outputs(Some(&[output.to_owned()]), clock::now())?;
        match &page.view.job.state {
            // What a playlist has shown stays.
            JobState::Finished(Outcome::Dismissed(_)) if !page.request.is_stream() => Err(Error::Dismissed),
            // Asked for by default, and the process had nothing for it. A stream may well be empty.
            JobState::Finished(Outcome::Succeeded) if page.total == 0 && !page.request.is_stream() => {
                Err(no_output())
            }
            JobState::Accepted | JobState::Running { .. } | JobState::Finished(_) => Ok(page),
        }
    }

    /// See [`crate::Engine::jobs`].
    pub(crate) async fn jobs(&self, viewer: &Viewer, mut filter: JobFilter) -> Result<JobPage, Error> {
        match viewer {
            Viewer::Operator => {}
            Viewer::User(name) if filter.owner.as_ref().is_none_or(|owner| owner == name) => {
                filter.owner = Some(name.clone());
            }
            Viewer::User(_) | Viewer::Anonymous => return Ok(JobPage::default()),
        }
        let limit = filter.limit.clamp(1, PAGE_JOBS_MAX);
        let (came_from, direction) = (filter.page, filter.direction());
        let mut stored = self.store.readers.page(filter, clock::now()).await?;
        let more = stored.len() > limit;
        stored.truncate(limit);
        let (mut older, mut newer) = (came_from.is_some(), came_from.is_some());
        match direction {
            Direction::Older => older = more,
            Direction::Newer => {
                stored.reverse();
                newer = more;
            }
        }
        let beside = |job: Option<&StoredJob>, direction| {
            job.map(|job| Cursor {
                created_us: job.view.job.created.as_microsecond(),
                sequence: job.sequence,
                direction,
            })
        };
        let next = beside(stored.last(), Direction::Older).filter(|_| older);
        let previous = beside(stored.first(), Direction::Newer).filter(|_| newer);
        // The state was filtered by, so it is shown as filtered; only progress may be newer in memory.
        let fresh = |stored: StoredJob| match self.board.find(stored.view.job.id) {
            Some(live) if is_progress_only(&live, &stored) => live.view(),
            _ => Arc::new(stored.view),
        };
        Ok(JobPage { jobs: stored.into_iter().map(fresh).collect(), next, previous })
    }
}

fn is_progress_only(live: &Live, stored: &StoredJob) -> bool {
    let view = live.view();
    matches!((&view.job.state, &stored.view.job.state), (JobState::Running { .. }, JobState::Running { .. }))
}
