//! Accepting a request.

use crate::callbacks::Place;
use crate::clock;
use crate::dispatch::Admitted;
use crate::engine::Inner;
use crate::folders::{Folders, blocking};
use crate::ledger::Asked;
use crate::live::{Live, LiveParts};
use crate::log::JobLog;
use crate::quota::Terms;
use crate::store::row::write_request;
use crate::view::{JobHandle, Outputs, StoredRequest};
use crate::{callbacks, hints, references, spool};
use anabranch_model::bind::FAULTS_MAX;
use anabranch_model::{
    BoundRequest, Data, Error, ExecuteRequest, ExecutionMode, InputData, Job, JobId, LimitKind, Priority,
    ProcessDescription, UserName, bind,
};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument as _;

/// Who submits a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitter {
    /// The owner of the job; `None` for nobody in particular.
    pub owner: Option<UserName>,
    /// Their roles, whose limits hold for the job.
    pub roles: Vec<String>,
    /// The priority they ask for: their limits may give less, never more. `None` for the one that their limits give.
    pub priority: Option<Priority>,
}

/// The request with formats made precise; where values lie in files, their first bytes are read.
async fn precise(
    process: &Arc<ProcessDescription>,
    mut request: ExecuteRequest,
) -> Result<ExecuteRequest, Error> {
    if !request.inputs.iter().any(|item| matches!(item.data, InputData::Bytes(Data::File(_)))) {
        hints::make_precise(process, &mut request);
        return Ok(request);
    }
    let process = Arc::clone(process);
    blocking(move || {
        hints::make_precise(&process, &mut request);
        request
    })
    .await
}

impl Inner {
    /// See [`crate::Engine::validate`].
    pub(crate) fn validate(&self, request: &ExecuteRequest) -> Result<BoundRequest, Error> {
        let process = self.registry.get(&request.process)?.description();
        let mut precise = request.clone();
        hints::make_precise(&process, &mut precise);
        let bound = bind(&process, &precise);
        let mut inaccessible = references::faults(self, request);
        inaccessible.extend(callbacks::faults(&self.egress, request));
        match bound {
            Ok(bound) if inaccessible.is_empty() => Ok(bound),
            Ok(_) => Err(Error::Invalid(inaccessible)),
            Err(Error::Invalid(mut faults)) => {
                faults.extend(inaccessible);
                faults.truncate(FAULTS_MAX);
                Err(Error::Invalid(faults))
            }
            Err(other) => Err(other),
        }
    }

    /// See [`crate::Engine::submit`].
    pub(crate) async fn submit(
        self: &Arc<Self>,
        mut request: ExecuteRequest,
        submitter: &Submitter,
    ) -> Result<JobHandle, Error> {
        let process = self.registry.get(&request.process)?;
        let description = process.description();
        request = precise(&description, request).await?;
        let mut bound = bind(&description, &request)?;
        references::check(self, &request)?;
        let terms = self.quotas().terms(&submitter.roles, &request.process, submitter.priority);
        let input_bytes = input_bytes(&request);
        self.check_input_bytes(&terms, input_bytes)?;
        let asked = Asked { owner: &submitter.owner, process: &request.process, terms: &terms, input_bytes };
        let mut place = self.dispatcher.admit(&asked, clock::now())?;
        let room = self.disk.reserve(input_bytes, Instant::now())?;
        let sync = request.mode == ExecutionMode::Sync;
        if sync && self.board.is_failing() {
            let detail = "the job store can't be written at present".into();
            return Err(Error::NotEnoughStorage { detail });
        }
        let id = JobId::random();
        let mut folder = None;
        let subscribed = self.subscribe(id, &request)?;
        if spool::is_needed(&bound, self.limits.inline_input_bytes_max) {
            (request, bound, folder) = self.spool(id, request, bound, !sync).await?;
        }
        drop(room);
        let live = self.new_job(id, submitter, sync, request, bound, terms).await?;
        tracing::debug!(parent: &live.span(), process = %live.request.request.process, sync, "accepted");
        place.charge(&live);
        self.board.insert(Arc::clone(&live));
        if let Some(folder) = folder {
            folder.keep();
        }
        if sync {
            live.accept(false);
            place.enqueue(Arc::clone(&live));
            self.pump();
            self.follow_new(&live, subscribed);
            return Ok(JobHandle::new(live));
        }
        // On a task of its own: a client that goes away in the middle must not leave a job that is written down and
        // never run.
        let engine = Arc::clone(self);
        let span = live.span();
        let accepted = async move { engine.accept(live, place, subscribed).await };
        let accepted = tokio::spawn(accepted.instrument(span));
        accepted.await.map_err(|error| Error::internal(format!("acceptance was lost: {error}")))?
    }

    async fn accept(
        self: &Arc<Self>,
        live: Arc<Live>,
        place: Admitted,
        subscribed: Option<Place>,
    ) -> Result<JobHandle, Error> {
        let closed = || Error::internal("the store is closed");
        let durable = live.accept(true).ok_or_else(closed)?;
        let durable = durable.await.unwrap_or_else(|_closed| Err(closed()));
        if let Err(error) = durable {
            tracing::error!(%error, "a job could not be written down and was refused");
            self.board.remove(live.id);
            self.dispatcher.shrink(&live.owner, live.process(), live.stored_bytes());
            let (folders, id) = (self.folders.clone(), live.id);
            blocking(move || folders.remove_job(id)).await?;
            return Err(error);
        }
        place.enqueue(Arc::clone(&live));
        self.pump();
        self.follow_new(&live, subscribed);
        Ok(JobHandle::new(live))
    }

    fn check_input_bytes(&self, terms: &Terms, bytes: u64) -> Result<(), Error> {
        let limit = terms.of_job(LimitKind::InputBytes, self.limits.input_bytes_max);
        if bytes > limit.max { Err(Error::over(limit)) } else { Ok(()) }
    }

    async fn spool(
        &self,
        id: JobId,
        mut request: ExecuteRequest,
        mut bound: BoundRequest,
        durable: bool,
    ) -> Result<(ExecuteRequest, BoundRequest, Option<NewFolder>), Error> {
        let (folders, bytes_max) = (self.folders.clone(), self.limits.inline_input_bytes_max);
        blocking(move || {
            let folder = NewFolder { folders, job: Some(id) };
            spool::spool(&folder.folders, id, &mut request, &mut bound, bytes_max, durable)?;
            Ok((request, bound, Some(folder)))
        })
        .await?
    }

    async fn new_job(
        &self,
        id: JobId,
        submitter: &Submitter,
        sync: bool,
        request: ExecuteRequest,
        mut bound: BoundRequest,
        terms: Terms,
    ) -> Result<Arc<Live>, Error> {
        let job = Job::new(id, request.process.clone(), clock::now());
        let job = Job { owner: submitter.owner.clone(), ..job };
        let outputs = Outputs::new(std::mem::take(&mut bound.outputs));
        let outputs = self.shared_outputs.of(&request.process, outputs);
        // Nobody repeats a run whose client has waited for it: after a crash its limits are of no use.
        let kept = if sync { terms.after_the_end() } else { terms.clone() };
        let mut request = StoredRequest { request, outputs, terms: kept };
        let json = write_request(&request, self.folders.root());
        request.terms = terms;
        let parts = LiveParts {
            shown: Vec::new(),
            job,
            sequence: self.next_sequence().await?,
            sync,
            request_json: Some(
                json.map_err(|error| Error::internal(format!("a request can't be stored: {error}")))?,
            ),
            chunks: Vec::new(),
            keep_s: request.terms.results_keep_s.unwrap_or(self.limits.results_keep_s),
            request: Arc::new(request),
            bound: Some(Arc::new(bound)),
            on_restart: None,
            log: Arc::new(JobLog::new(self.folders.log(id), self.limits.log_bytes_max)),
            progress_write_ms_min: self.limits.progress_write_ms_min,
        };
        Ok(Live::new(parts, Arc::clone(&self.store.inbox)))
    }
}

/// Bytes that come with a request.
pub(crate) fn input_bytes(request: &ExecuteRequest) -> u64 {
    let bytes = |data: &InputData| match data {
        InputData::Text { text, .. } => text.len() as u64,
        InputData::Bytes(data) => data.len(),
        InputData::BoundingBox(_) | InputData::Reference(_) => 0,
    };
    request.inputs.iter().map(|item| bytes(&item.data)).sum()
}

/// The folder of a job that is not there yet; removed when dropped, be it that its client has gone away meanwhile.
struct NewFolder {
    folders: Folders,
    job: Option<JobId>,
}

impl NewFolder {
    /// The job is there.
    fn keep(mut self) {
        self.job = None;
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.folders.remove_job(job);
        }
    }
}
