//! Streams at this server: which processes are published as streams too, and where its own playlists are.

use crate::layers::Layers;
use anabranch_engine::{ChunkPage, Engine, JobView, OwnAddresses};
use anabranch_model::{
    Algorithm, BoxFuture, ComplexValue, Error, JobId, JobState, Outcome, Process, ProcessId, Value, Viewer,
};
use anabranch_streaming::{OwnChunks, OwnPlaylists, Settings, Streaming};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use url::Url;

/// Publishes processes, and with each the streaming processes that it can be run as.
#[derive(Clone)]
pub(crate) struct Publishing {
    engine: Engine,
    streaming: Streaming,
    layers: Option<Layers>,
    /// The streaming processes of each published process.
    variants: Arc<Mutex<HashMap<ProcessId, Vec<ProcessId>>>>,
}

impl Publishing {
    /// `base` is the URL of this server as its clients see it.
    pub(crate) fn new(
        engine: &Engine,
        egress: anabranch_egress::Egress,
        base: &str,
        settings: Settings,
        layers: Option<Layers>,
    ) -> Self {
        let addresses = Arc::new(Addresses { base: Url::parse(base).ok() });
        engine.know_own_addresses(Arc::clone(&addresses) as _);
        let own = Arc::new(Own { engine: engine.clone(), addresses });
        let streaming = Streaming::new(settings, egress, own);
        Self { engine: engine.clone(), streaming, layers, variants: Arc::default() }
    }

    /// Publishes a process, or puts it in the place of the one of the same identifier.
    pub(crate) fn publish(&self, process: Arc<dyn Process>) {
        let id = process.description().id.clone();
        self.engine.registry().publish(self.with_layers(process));
        self.publish_variants(&id);
    }

    fn with_layers(&self, process: Arc<dyn Process>) -> Arc<dyn Process> {
        match &self.layers {
            Some(layers) => layers.wrap(process),
            None => process,
        }
    }

    /// Publishes an algorithm.
    pub(crate) fn publish_algorithm(&self, algorithm: Arc<dyn Algorithm>) {
        let id = algorithm.description().id.clone();
        self.engine.registry().publish_algorithm(algorithm);
        self.publish_variants(&id);
    }

    /// Takes a process out of sight, and its streaming processes.
    pub(crate) fn withdraw(&self, id: &ProcessId) {
        self.engine.registry().withdraw(id);
        let variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        for variant in variants.into_iter().flatten() {
            self.engine.registry().withdraw(&variant);
        }
    }

    fn publish_variants(&self, id: &ProcessId) {
        let registry = self.engine.registry();
        let mut known = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.remove(id).unwrap_or_default();
        // As it is published, so that chunks may be in every format that it is offered in.
        let Ok(base) = registry.get(id) else { return };
        let mut now = Vec::new();
        for variant in self.streaming.variants(&base) {
            let variant_id = variant.description().id.clone();
            if !before.contains(&variant_id) && registry.get(&variant_id).is_ok() {
                tracing::warn!(process.id = %variant_id, base = %id, "a streaming process has the identifier of another process: it is left out");
                continue;
            }
            registry.publish(self.with_layers(variant));
            now.push(variant_id);
        }
        for ours in std::iter::once(id.clone()).chain(now.clone()) {
            let published = registry.get(&ours).ok();
            if let Some(old) = published.and_then(|ours| self.streaming.of_2012(&ours)) {
                now.push(old.description().id.clone());
                registry.publish(old);
            }
        }
        for gone in before.iter().filter(|old| !now.contains(old)) {
            registry.withdraw(gone);
        }
        if !now.is_empty() {
            known.insert(id.clone(), now);
        }
    }
}

/// The addresses under which this server shows what jobs put out.
struct Addresses {
    base: Option<Url>,
}

impl Addresses {
    /// The job and the output of one of our playlists.
    fn place_of(&self, url: &Url) -> Option<(JobId, Option<String>)> {
        let base = self.base.as_ref()?;
        if url.origin() != base.origin() {
            return None;
        }
        let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        let segments: Vec<_> = path.trim_matches('/').split('/').collect();
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        match segments.as_slice() {
            ["jobs", job, "results", output] | ["jobs", job, "results", output, "playlist"] => {
                Some((job.parse().ok()?, Some(decoded(output))))
            }
            [.., "RetrieveResultServlet"] => {
                let (_, id) = url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case("id"))?;
                Some((id.strip_prefix("playlist")?.parse().ok()?, None))
            }
            _ => None,
        }
    }
}

impl OwnAddresses for Addresses {
    fn place(&self, href: &str) -> Option<(JobId, Option<String>)> {
        self.place_of(&Url::parse(href).ok()?)
    }
}

/// The playlists of this server.
struct Own {
    engine: Engine,
    addresses: Arc<Addresses>,
}

impl OwnPlaylists for Own {
    fn open(&self, follower: JobId, url: &Url, first: u64) -> BoxFuture<'_, Option<Box<dyn OwnChunks>>> {
        let place = self.addresses.place_of(url);
        Box::pin(async move {
            let (job, output) = place?;
            let follower = self.engine.job(&Viewer::Operator, follower).await.ok()?;
            let viewer = Viewer::owner(follower.job.owner.as_ref());
            let watch = self.engine.watch(&viewer, job).await.ok()?;
            let output = match output {
                Some(output) => output,
                None => {
                    let request = self.engine.request(&viewer, job).await.ok()?;
                    request.outputs.iter().find(|output| output.is_stream())?.id.clone()
                }
            };
            Some(Box::new(Followed { engine: self.engine.clone(), viewer, job, output, next: first, watch })
                as _)
        })
    }
}

/// An output of a job of this server.
struct Followed {
    engine: Engine,
    viewer: Viewer,
    job: JobId,
    output: String,
    next: u64,
    watch: watch::Receiver<Arc<JobView>>,
}

impl OwnChunks for Followed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(async move {
            loop {
                // First, so that no chunk that comes meanwhile is waited for.
                self.watch.borrow_and_update();
                let page = self.engine.chunks(&self.viewer, self.job, &self.output, self.next, 1).await;
                let page = page.map_err(not_ours)?;
                if page.first > self.next {
                    let missed = page.first - self.next;
                    let text = format!(
                        "{missed} chunks were taken out of the input playlist before they could be read"
                    );
                    return Err(Error::process_failed(text));
                }
                match of_page(page)? {
                    Step::Chunk(chunk) => {
                        self.next += 1;
                        return Ok(Some(*chunk));
                    }
                    Step::End => return Ok(None),
                    // A closed channel is of a job that has ended: the next page says how.
                    Step::Wait => self.watch.changed().await.unwrap_or(()),
                }
            }
        })
    }
}

/// An error about the job that is read is none of the job that reads it.
fn not_ours(error: Error) -> Error {
    match error {
        Error::Gone { .. } | Error::OutputGone { .. } | Error::NoSuchJob(_) => {
            Error::process_failed(format!("the input playlist can't be read: {}", error.client_text()))
        }
        other => other,
    }
}

enum Step {
    Chunk(Box<ComplexValue>),
    End,
    Wait,
}

fn of_page(page: ChunkPage) -> Result<Step, Error> {
    let ended =
        |why: &str| Error::process_failed(format!("the input playlist ended with an exception: {why}"));
    match (page.chunks.into_iter().next(), &page.view.job.state) {
        (Some(Value::Complex(chunk)), _) => Ok(Step::Chunk(Box::new(chunk))),
        (Some(Value::Literal(_) | Value::BoundingBox(_)), _) => {
            Err(Error::process_failed("the input playlist lists values without a format"))
        }
        (None, JobState::Accepted | JobState::Running { .. }) => Ok(Step::Wait),
        (None, JobState::Finished(Outcome::Succeeded)) => Ok(Step::End),
        (None, JobState::Finished(Outcome::Failed(error))) => Err(ended(&error.client_text())),
        (None, JobState::Finished(Outcome::Dismissed(_))) => Err(ended("its job was dismissed")),
    }
}
