//! What others see of a job: snapshots, requests, results. All of it immutable.

use crate::live::Live;
use crate::quota::Terms;
use anabranch_model::{
    Error, ExecuteRequest, InputData, Job, JobId, OutputRequest, ProcessId, Timestamp, Value,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A job at one moment. Whatever it shows was written down before.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Its outputs so far, in the order asked for.
    pub outputs: Arc<[OutputSummary]>,
    /// When it will be removed with its results; `None` until it has finished.
    pub expires: Option<Timestamp>,
}

impl JobView {
    /// When the first of its outputs that are there will be removed, or the job with all of them; `None` until it has finished. Of these
    /// outputs, where some are named.
    #[must_use]
    pub fn outputs_expire(&self, only: Option<&[String]>, now: Timestamp) -> Option<Timestamp> {
        let there = self.named(only).filter(|output| !output.is_gone(now));
        there.filter_map(|output| output.expires).chain(self.expires).min()
    }

    /// Checks that none of its outputs was removed before it; none of these, where some are named.
    ///
    /// # Errors
    /// [`Error::OutputGone`], of the first that was.
    pub fn check_outputs(&self, only: Option<&[String]>, now: Timestamp) -> Result<(), Error> {
        let gone = self.named(only).find(|output| output.is_gone(now));
        let gone = gone.and_then(|output| Some((output, output.expires?)));
        gone.map_or(Ok(()), |(output, at)| {
            Err(Error::OutputGone { job: self.job.id, output: output.id.clone(), at })
        })
    }

    fn named<'a>(&'a self, only: Option<&'a [String]>) -> impl Iterator<Item = &'a OutputSummary> {
        self.outputs.iter().filter(move |output| only.is_none_or(|only| only.contains(&output.id)))
    }
}

/// A job that waits or runs, as an operator sees it.
#[derive(Clone, Debug)]
pub struct LiveJob {
    /// The job.
    pub view: Arc<JobView>,
    /// Its client waits for the answer.
    pub sync: bool,
}

/// How far an output is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSummary {
    /// Identifier.
    pub id: String,
    /// Chunks stored, those that were removed again among them.
    pub chunks: u64,
    /// Size of those that are there; literals count their characters.
    pub bytes: u64,
    /// So many were removed again, from the first on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u64,
    /// So many are kept at most; `None` keeps all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_max: Option<u64>,
    /// When its chunks are removed, where that is before the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl OutputSummary {
    /// Its time is over, while its job is still there. Nobody is shown it any more, whether its bytes have been removed already or not.
    #[must_use]
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now || self.is_removed())
    }

    /// Its chunks have been removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.expires.is_some() && self.removed == self.chunks
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The outputs of a request; jobs that ask for the same share them, for there may be ten thousand that wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs(Arc<Asked>);

#[derive(Debug, PartialEq)]
struct Asked {
    requests: Vec<OutputRequest>,
    /// What is shown of them before there is anything.
    blank: Arc<[OutputSummary]>,
}

impl Outputs {
    pub(crate) fn new(requests: Vec<OutputRequest>) -> Self {
        let blank = requests.iter().map(|output| OutputSummary {
            id: output.id.clone(),
            chunks: 0,
            bytes: 0,
            removed: 0,
            kept_max: None,
            expires: None,
        });
        Self(Arc::new(Asked { blank: blank.collect(), requests }))
    }

    pub(crate) fn blank(&self) -> Arc<[OutputSummary]> {
        Arc::clone(&self.0.blank)
    }
}

impl std::ops::Deref for Outputs {
    type Target = [OutputRequest];

    fn deref(&self) -> &[OutputRequest] {
        &self.0.requests
    }
}

impl Serialize for Outputs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.requests.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Outputs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}

/// Processes of which the outputs that were asked for last are known: as many as a server with agents publishes.
const SHARED_PROCESSES_MAX: usize = 10_000;

/// What jobs asked for last, by their process.
#[derive(Default)]
pub(crate) struct SharedOutputs(Mutex<HashMap<ProcessId, Outputs>>);

impl SharedOutputs {
    /// The same outputs, those of the last job of this process where it asked for the same.
    pub(crate) fn of(&self, process: &ProcessId, outputs: Outputs) -> Outputs {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(process).filter(|known| **known == outputs) {
            return known.clone();
        }
        if known.len() >= SHARED_PROCESSES_MAX {
            known.clear();
        }
        known.insert(process.clone(), outputs.clone());
        outputs
    }
}

/// The request a job came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// As it was asked; large inline values have become files.
    pub request: ExecuteRequest,
    /// Outputs after binding: formats resolved, all of them where the request named none.
    pub outputs: Outputs,
    /// What it was accepted on.
    #[serde(default, skip_serializing_if = "Terms::is_plain")]
    pub terms: Terms,
}

impl StoredRequest {
    /// Without the headers and bodies of references, which may hold credentials and are of no use once the job has finished; `None` where
    /// there are none.
    pub(crate) fn without_credentials(&self) -> Option<Self> {
        let told = |data: &InputData| match data {
            InputData::Reference(reference) => !reference.headers.is_empty() || reference.body.is_some(),
            InputData::Text { .. } | InputData::Bytes(_) | InputData::BoundingBox(_) => false,
        };
        if !self.request.inputs.iter().any(|item| told(&item.data)) {
            return None;
        }
        let mut rest = self.clone();
        for item in &mut rest.request.inputs {
            if let InputData::Reference(reference) = &mut item.data {
                reference.headers.clear();
                reference.body = None;
            }
        }
        Some(rest)
    }
}

/// The outputs of a job that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// In the order asked for; those asked for by default and never written are absent, but for streams.
    pub outputs: Vec<OutputLog>,
}

impl Results {
    /// The output of that identifier.
    #[must_use]
    pub fn output(&self, id: &str) -> Option<&OutputLog> {
        self.outputs.iter().find(|output| output.id == id)
    }
}

/// An output: an append-only log of chunks. A batch output is a log of length one.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputLog {
    /// Identifier.
    pub id: String,
    /// How it was asked for, with the resolved format.
    pub request: OutputRequest,
    /// In order. Files belong to the result store: open them at once, they vanish with the job.
    pub chunks: Vec<Value>,
}

/// A stretch of an output's log, of a job that may still be running.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkPage {
    /// How the output was asked for, with the resolved format.
    pub request: OutputRequest,
    /// Number of the first chunk here, from 0: the one that was asked for, or the first that has not been removed again.
    pub first: u64,
    /// The chunks from there.
    pub chunks: Vec<Value>,
    /// Chunks stored so far, those that were removed again among them.
    pub total: u64,
    /// Older chunks are removed as new ones come.
    pub slides: bool,
    /// The job at the same moment; once it has finished, nothing more will come.
    pub view: Arc<JobView>,
}

/// A job just submitted.
pub struct JobHandle {
    live: Arc<Live>,
    receiver: watch::Receiver<Arc<JobView>>,
}

impl JobHandle {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self { receiver: live.watch(), live }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.live.id
    }

    /// The request it came from.
    #[must_use]
    pub fn request(&self) -> Arc<StoredRequest> {
        Arc::clone(&self.live.request)
    }

    /// Its results, without a look into the store.
    ///
    /// # Errors
    /// As [`crate::Engine::results`].
    pub fn results(&self) -> Result<Arc<Results>, Error> {
        self.live.results()
    }

    /// The job as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<JobView> {
        Arc::clone(&self.receiver.borrow())
    }

    /// Follows the job.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<JobView>> {
        self.receiver.clone()
    }

    /// Waits for its end. Where the engine goes away first, the last state seen is returned.
    pub async fn finished(&mut self) -> Arc<JobView> {
        let end = self.receiver.wait_for(|view| view.job.is_finished()).await;
        let end = end.ok().map(|view| Arc::clone(&view));
        end.unwrap_or_else(|| self.view())
    }
}
