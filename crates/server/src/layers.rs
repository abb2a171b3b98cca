//! Outputs that become layers of a map server, once their job has succeeded.
//!
//! It changes nothing of the job: the job's log says what came of it. What is due is a file in the data folder, named after its job and
//! written before the run begins, so that a restart forgets nothing; to publish again what is there is harmless.

use crate::folder::sync_entries;
use crate::geoserver::{GeoServer, Kind, Layer, PublishError, is_name};
use anabranch_engine::{Engine, OutputLog};
use anabranch_model::description::media_type_essence;
use anabranch_model::{
    BoxFuture, ComplexValue, Error, Execution, JobId, JobState, LiteralValue, Outcome, OutputDescription,
    OutputSink, Process, ProcessAround, ProcessDescription, Publication, SinkAround, Value, Viewer,
};
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Tries for each job between two starts of the server; with the pauses between them about an hour and a half.
const TRIES_MAX: u32 = 16;

/// First and longest pause between tries.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Jobs published at once: GeoServer reads each file whole.
const PARALLEL_MAX: usize = 4;

/// Publishes layers.
#[derive(Clone)]
pub(crate) struct Layers(Arc<Inner>);

struct Inner {
    engine: Engine,
    geoserver: GeoServer,
    /// What is due.
    folder: PathBuf,
    followed: Mutex<HashSet<JobId>>,
    slots: Semaphore,
    stop: CancellationToken,
}

impl Layers {
    /// Takes up what the last server has left. To be called once the engine has recovered its jobs.
    pub(crate) async fn take_up(&self) {
        let Ok(mut entries) = tokio::fs::read_dir(&self.0.folder).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.follow(job);
            }
        }
    }

    pub(crate) fn new(
        engine: Engine,
        geoserver: GeoServer,
        folder: PathBuf,
        stop: CancellationToken,
    ) -> Self {
        let (followed, slots) = (Mutex::default(), Semaphore::new(PARALLEL_MAX));
        Self(Arc::new(Inner { engine, geoserver, folder, followed, slots, stop }))
    }

    /// A process whose layers are published.
    pub(crate) fn wrap(&self, process: Arc<dyn Process>) -> Arc<dyn Process> {
        let wants = |output: &OutputDescription| {
            output.publication.as_ref().is_some_and(|wanted| wanted.as_layer || !wanted.context_of.is_empty())
        };
        if process.description().outputs.iter().any(wants) {
            Arc::new(Published { process, layers: self.clone() })
        } else {
            process
        }
    }

    /// Notes that something is due, durably.
    fn note(&self, job: JobId) -> std::io::Result<()> {
        if self.0.followed.lock().unwrap_or_else(PoisonError::into_inner).contains(&job) {
            // By an earlier attempt.
            return Ok(());
        }
        let folder = &self.0.folder;
        std::fs::create_dir_all(folder)?;
        std::fs::File::create(folder.join(job.to_string()))?.sync_all()?;
        sync_entries(folder)?;
        folder.parent().map_or(Ok(()), sync_entries)
    }

    fn follow(&self, job: JobId) {
        let new = self.0.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        if new {
            let layers = self.clone();
            tokio::spawn(async move {
                let stop = layers.0.stop.clone();
                if stop.run_until_cancelled(layers.publish(job)).await.is_some() {
                    // Else it is still due.
                    drop(tokio::fs::remove_file(layers.0.folder.join(job.to_string())).await);
                }
                layers.0.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
            });
        }
    }

    async fn publish(&self, job: JobId) {
        let engine = &self.0.engine;
        let Ok(mut view) = engine.watch(&Viewer::Operator, job).await else { return };
        let ended = view.wait_for(|view| view.job.is_finished()).await.map(|view| view.job.state.clone());
        let Ok(state) = ended else {
            // The engine goes, and this with it.
            return std::future::pending().await;
        };
        if !matches!(state, JobState::Finished(Outcome::Succeeded)) {
            return;
        }
        let Ok(_slot) = self.0.slots.acquire().await else { return };
        let mut pause = PAUSE_MIN;
        for tries in 1.. {
            let error = match self.publish_once(job).await {
                Ok(said) => {
                    for line in said {
                        self.say(job, &line).await;
                    }
                    return;
                }
                Err(error) => error,
            };
            if !error.transient || tries >= TRIES_MAX {
                tracing::warn!(%job, %error, tries, "the layers of a job are given up");
                return self.say(job, &format!("layers could not be published: {error}")).await;
            }
            tracing::info!(%job, %error, tries, ?pause, "publishing is tried again");
            if tries == 1 {
                self.say(job, &format!("layers are not published yet: {error}; it is tried again")).await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn say(&self, job: JobId, text: &str) {
        if let Err(error) = self.0.engine.note(job, text).await {
            tracing::debug!(%job, %error, "a job's log can't be written");
        }
    }

    /// Publishes all that is to be; gives lines for the job's log.
    async fn publish_once(&self, job: JobId) -> Result<Vec<String>, PublishError> {
        let gone = |error: Error| PublishError { reason: error.client_text(), transient: false };
        let engine = &self.0.engine;
        let view = engine.job(&Viewer::Operator, job).await.map_err(gone)?;
        let results = engine.results(&Viewer::Operator, job).await.map_err(gone)?;
        let description = engine.registry().get(&view.job.process).map_err(|error| PublishError {
            reason: format!("its process is not published at present: {}", error.client_text()),
            // Of an agent that is away.
            transient: true,
        })?;
        let description = description.description();
        let mut said = Vec::new();
        for output in &results.outputs {
            let Some(described) = description.output(&output.id) else { continue };
            let Some(wanted) = described.publication.as_ref().filter(|wanted| wanted.as_layer) else {
                continue;
            };
            if !wanted.context_of.is_empty() {
                continue;
            }
            if output.request.is_stream() {
                said.push(format!(
                    "output '{}' was not published as a layer: it is a playlist; asked for in another format, the joined whole becomes one",
                    output.id
                ));
                continue;
            }
            for n in 0..output.chunks.len() {
                match self.layer(job, &description, described, wanted, output, n) {
                    Ok(layer) => {
                        let names = self.0.geoserver.publish(&layer).await?;
                        said.extend(
                            names
                                .iter()
                                .map(|name| format!("output '{}' was published as layer {name}", output.id)),
                        );
                    }
                    Err(reason) => {
                        said.push(format!("output '{}' was not published as a layer: {reason}", output.id))
                    }
                }
            }
        }
        Ok(said)
    }

    fn layer(
        &self,
        job: JobId,
        process: &ProcessDescription,
        output: &OutputDescription,
        wanted: &Publication,
        log: &OutputLog,
        n: usize,
    ) -> Result<Layer, String> {
        let Value::Complex(ComplexValue { data, format, .. }) = &log.chunks[n] else {
            return Err("it is no file".into());
        };
        let kind = Kind::of(&media_type_essence(&format.media_type)).ok_or_else(|| {
            format!("{} is none of zipped Shapefile, GeoPackage and GeoTIFF", format.media_type)
        })?;
        let mut name = layer_name(job, output);
        if log.chunks.len() > 1 {
            name = format!("{name}_{}", n + 1);
        }
        let workspace = self.workspace(wanted);
        for name in [&workspace, &name] {
            if !is_name(name) {
                return Err(format!("GeoServer can't have the name {name:?}"));
            }
        }
        Ok(Layer {
            workspace,
            name,
            title: output.title.clone(),
            description: if output.description.is_empty() {
                process.title.clone()
            } else {
                output.description.clone()
            },
            keywords: output.keywords.clone(),
            style: wanted.default_style.clone(),
            metadata: vec![("anabranch_job", job.to_string()), ("anabranch_process", process.id.to_string())],
            kind,
            data: data.clone(),
        })
    }

    fn workspace(&self, wanted: &Publication) -> String {
        wanted.workspace.clone().unwrap_or_else(|| self.0.geoserver.workspace().to_owned())
    }

    /// The layers of some outputs as a map: an OWS context (OGC 14-055r2). They will be there when the job has succeeded, under names
    /// that are known before.
    fn context(
        &self,
        job: JobId,
        process: &ProcessDescription,
        map: &OutputDescription,
        outputs: &[String],
    ) -> String {
        let described = outputs.iter().filter_map(|id| process.output(id));
        let features: Vec<serde_json::Value> = described
            .map(|output| {
                let wanted = output.publication.clone().unwrap_or_default();
                let (workspace, name) = (self.workspace(&wanted), layer_name(job, output));
                let maps = self.0.geoserver.maps(&workspace);
                let operation = |code: &str, kind: &str, query: &str| {
                    json!({ "code": code, "method": "GET", "type": kind, "href": format!("{maps}?service=WMS&version=1.3.0&request={code}{query}") })
                };
                let style = wanted.default_style.as_deref().unwrap_or_default();
                let query = format!("&layers={workspace}:{name}&styles={style}&format=image/png&transparent=true");
                json!({
                    "type": "Feature",
                    "id": format!("{workspace}:{name}"),
                    "geometry": null,
                    "properties": {
                        "title": output.title,
                        "abstract": output.description,
                        "offerings": [{
                            "code": "http://www.opengis.net/spec/owc-geojson/1.0/req/wms",
                            "operations": [
                                operation("GetCapabilities", "application/xml", ""),
                                operation("GetMap", "image/png", &query),
                            ],
                        }],
                    },
                })
            })
            .collect();
        json!({
            "type": "FeatureCollection",
            "id": format!("{}:{job}", process.id),
            "properties": {
                "title": map.title,
                "abstract": map.description,
                "lang": "en",
                "generator": { "title": "Anabranch", "version": env!("CARGO_PKG_VERSION") },
                "links": { "profiles": ["http://www.opengis.net/spec/owc-geojson/1.0/req/core"] },
            },
            "features": features,
        })
        .to_string()
    }
}

/// As the original names it: what the service says, and the run.
fn layer_name(job: JobId, output: &OutputDescription) -> String {
    let named = output.publication.as_ref().and_then(|wanted| wanted.layer_name.as_deref());
    format!("{}_{job}", named.unwrap_or(&output.id))
}

/// A process whose layers are published.
struct Published {
    process: Arc<dyn Process>,
    layers: Layers,
}

impl ProcessAround for Published {
    fn inner(&self) -> &Arc<dyn Process> {
        &self.process
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            // A stream notes itself what becomes of it: its chunks are no layers.
            if execution.part.is_some() {
                return Arc::clone(&self.process).execute(execution).await;
            }
            let (job, layers) = (execution.job, self.layers.clone());
            let noted =
                tokio::task::spawn_blocking(move || layers.note(job)).await.map_err(Error::internal)?;
            noted.map_err(Error::internal)?;
            self.layers.follow(job);
            let description = self.process.description();
            let sink =
                Arc::new(ContextSink { layers: self.layers.clone(), job, description, sink: execution.sink });
            Arc::clone(&self.process).execute(Execution { sink, ..execution }).await
        })
    }
}

/// Makes maps of the names of their layers.
struct ContextSink {
    layers: Layers,
    job: JobId,
    description: Arc<ProcessDescription>,
    sink: Arc<dyn OutputSink>,
}

impl SinkAround for ContextSink {
    fn inner(&self) -> &dyn OutputSink {
        self.sink.as_ref()
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let map = self.description.output(output);
        let outputs = map.and_then(|map| map.publication.as_ref()).map(|wanted| wanted.context_of.as_slice());
        let chunk = match (map, outputs, chunk) {
            (Some(map), Some(outputs @ [_, ..]), Value::Literal(names)) => {
                let text = self.layers.context(self.job, &self.description, map, outputs);
                Value::Literal(LiteralValue { text, ..names })
            }
            (_, _, chunk) => chunk,
        };
        self.sink.write(output, chunk)
    }
}
