//! A job in memory: the owner of its state, from acceptance to the end and a while after.
//!
//! Every change goes through [`Live`] under one lock, held over no IO but the rename that gives a chunk its number. What
//! changed is handed to the store's writer, which shows it to watchers once it is committed ([`Live::committed`]):
//! nothing can be told too early.

use crate::clock;
use crate::log::JobLog;
use crate::quota::Terms;
use crate::store::inbox::{Inbox, Urgency};
use crate::store::reader::Removable;
use crate::submit::input_bytes;
use crate::view::{ChunkPage, JobView, OutputLog, OutputSummary, Results, StoredRequest};
use anabranch_model::{
    Applied, BoundRequest, ComplexValue, Data, DataFile, DismissedBy, Error, InputData, Job, JobEvent, JobId,
    Limit, LimitKind, OnRestart, Outcome, OutputRequest, ProcessId, Timestamp, UserName, Value,
};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// A job in memory.
pub(crate) struct Live {
    pub(crate) id: JobId,
    /// Who submitted it.
    pub(crate) owner: Option<UserName>,
    /// Row number: the order of acceptance.
    pub(crate) sequence: i64,
    /// The client waits: nobody is left to answer after a restart.
    pub(crate) sync: bool,
    pub(crate) request: Arc<StoredRequest>,
    /// Cancelled when the job is dismissed.
    pub(crate) cancel: CancellationToken,
    pub(crate) log: Arc<JobLog>,
    /// Around all that is logged of it; within the span of the request that it came from.
    span: Mutex<tracing::Span>,
    /// Roughly what it holds in memory besides results, bytes.
    pub(crate) request_bytes: u64,
    /// Bytes that came with the request.
    input_bytes: u64,
    /// Bytes that its owner's account is charged for it.
    charged: AtomicU64,
    /// The run was begun by an earlier server.
    resume: AtomicBool,
    keep_s: u64,
    progress_write: Duration,
    /// Holds one value: nobody ever waits to send.
    shown: watch::Sender<Arc<JobView>>,
    results: OnceLock<Arc<Results>>,
    record: Mutex<Record>,
    inbox: Arc<Inbox>,
}

/// What a job in memory is made of.
pub(crate) struct LiveParts {
    pub(crate) job: Job,
    pub(crate) sequence: i64,
    pub(crate) sync: bool,
    pub(crate) request: Arc<StoredRequest>,
    /// The request as the store keeps it, where it doesn't have it yet.
    pub(crate) request_json: Option<String>,
    pub(crate) bound: Option<Arc<BoundRequest>>,
    pub(crate) on_restart: Option<OnRestart>,
    /// Chunks in the store, by output.
    pub(crate) chunks: Vec<Vec<Value>>,
    /// What was shown of the outputs; nothing of a new job.
    pub(crate) shown: Vec<OutputSummary>,
    pub(crate) log: Arc<JobLog>,
    pub(crate) keep_s: u64,
    pub(crate) progress_write_ms_min: u64,
}

struct Record {
    job: Job,
    /// Since when it waits for its work to begin.
    waits_since: Timestamp,
    phase: Phase,
    bound: Option<Arc<BoundRequest>>,
    /// How the process of the run under way wants a restart of the server to be dealt with; `None` before dispatch.
    on_restart: Option<OnRestart>,
    /// Of each output; empty as long as there is no chunk at all.
    logs: Vec<ChunkLog>,
    /// Most chunks that each output keeps.
    kept_max: Option<usize>,
    /// Bytes of all chunks.
    bytes: u64,
    /// Bytes of the chunks that are no files.
    inline_bytes: u64,
    /// Counts changes; what is shown never goes back.
    version: u64,
    shown_version: u64,
    progress_written: Option<Instant>,
    pending: Pending,
}

/// Where a job stands with the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a slot, or for its process.
    Waiting,
    /// A run is under way.
    Running,
}

/// Files of removed chunks that stay a while, for each output.
const LEAVING_MAX: usize = 16;

#[derive(Default)]
struct ChunkLog {
    /// Chunks before these were removed again.
    removed: usize,
    chunks: VecDeque<Value>,
    bytes: u64,
    /// How many are in the store, those that were removed again among them.
    stored: usize,
    stored_bytes: u64,
    /// Files of chunks that were removed. The last few stay a while: someone may just have been told of them.
    leaving: VecDeque<PathBuf>,
}

/// Of an output of which there is nothing.
static BLANK: ChunkLog = ChunkLog {
    removed: 0,
    chunks: VecDeque::new(),
    bytes: 0,
    stored: 0,
    stored_bytes: 0,
    leaving: VecDeque::new(),
};

/// What the store has yet to be told.
#[derive(Default)]
struct Pending {
    /// It lies in the writer's inbox.
    queued: bool,
    /// The row exists.
    inserted: bool,
    /// A change of state waits, not only progress.
    changed: bool,
    /// It must be on the disk before it is shown, or before someone goes on.
    durable: bool,
    /// Chunks in the store are of an attempt that is over.
    clear: bool,
    request_json: Option<String>,
    accept: Option<oneshot::Sender<Result<(), Error>>>,
    waiters: Vec<oneshot::Sender<()>>,
}

/// What is written in one go, taken from a job by the store's writer.
pub(crate) struct Snapshot {
    pub(crate) view: Arc<JobView>,
    pub(crate) insert: bool,
    pub(crate) request_json: Option<String>,
    pub(crate) on_restart: Option<OnRestart>,
    pub(crate) clear: bool,
    /// It must be on the disk before it is shown.
    pub(crate) durable: bool,
    /// Output, number, value.
    pub(crate) chunks: Vec<(usize, usize, Value)>,
    /// Output, and the number of the first chunk that is kept; where any is removed.
    pub(crate) removed: Vec<(usize, usize)>,
    version: u64,
    stored: Vec<(usize, u64)>,
    accept: Option<oneshot::Sender<Result<(), Error>>>,
    waiters: Vec<oneshot::Sender<()>>,
}

/// What became of a request to end a job.
pub(crate) enum DismissStep {
    /// It waited, and is dismissed.
    Ended,
    /// Its run has been cancelled; `first` for the first one who asked.
    Cancelled { first: bool },
    /// It had finished before.
    TooLate,
}

impl Live {
    pub(crate) fn new(parts: LiveParts, inbox: Arc<Inbox>) -> Arc<Self> {
        let removed = parts.shown.iter().map(|output| output.removed).chain(std::iter::repeat(0));
        let kept_max = parts.shown.iter().find_map(|output| output.kept_max);
        let logs = parts.chunks.into_iter().zip(removed);
        let mut logs = logs.map(|(chunks, removed)| ChunkLog::stored(chunks, removed)).collect::<Vec<_>>();
        if logs.iter().all(|log| log.end() == 0) {
            logs = Vec::new();
        }
        let bytes = logs.iter().map(|log| log.bytes).sum();
        let inline = logs.iter().flat_map(|log| &log.chunks).filter(|v| !is_file(v)).map(value_bytes).sum();
        let request_bytes = parts.request_json.as_ref().map_or(0, |json| json.len() as u64) * 2 + 1024;
        let record = Record {
            waits_since: parts.job.created,
            job: parts.job,
            phase: Phase::Waiting,
            bound: parts.bound,
            on_restart: parts.on_restart,
            logs,
            kept_max: kept_max.and_then(|chunks| usize::try_from(chunks).ok()),
            bytes,
            inline_bytes: inline,
            version: 0,
            shown_version: 0,
            progress_written: None,
            pending: Pending {
                inserted: parts.request_json.is_none(),
                request_json: parts.request_json,
                ..Pending::default()
            },
        };
        let view = record.view(&parts.request, parts.keep_s, false);
        Arc::new(Self {
            id: record.job.id,
            owner: record.job.owner.clone(),
            sequence: parts.sequence,
            sync: parts.sync,
            input_bytes: input_bytes(&parts.request.request),
            request: parts.request,
            cancel: CancellationToken::new(),
            log: parts.log,
            span: Mutex::new(tracing::error_span!("job", id = %record.job.id, process = %record.job.process)),
            request_bytes,
            charged: AtomicU64::new(0),
            resume: AtomicBool::new(false),
            keep_s: parts.keep_s,
            progress_write: Duration::from_millis(parts.progress_write_ms_min),
            shown: watch::Sender::new(Arc::new(view)),
            results: OnceLock::new(),
            record: Mutex::new(record),
            inbox,
        })
    }

    /// Around all that is logged of it, until it has finished.
    pub(crate) fn span(&self) -> tracing::Span {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn process(&self) -> &ProcessId {
        &self.request.request.process
    }

    /// The strictest limit of a kind that holds for it.
    pub(crate) fn limit(&self, kind: LimitKind, server_max: u64) -> Limit {
        self.request.terms.of_job(kind, server_max)
    }

    /// When it will have waited too long for its work to begin, in its queue.
    pub(crate) fn queue_deadline(&self, server_s_max: u64) -> Timestamp {
        let limit = self.limit(LimitKind::QueueSeconds, server_s_max);
        clock::seconds_after(self.record().waits_since, limit.max)
    }

    /// Bytes that are kept of it.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.input_bytes + self.record().bytes
    }

    /// As one that is to be removed, and looks so.
    pub(crate) fn removable(&self, view: &JobView) -> Removable {
        Removable {
            sequence: self.sequence,
            id: self.id,
            owner: self.owner.clone(),
            process: self.process().clone(),
            stored_bytes: self.stored_bytes_as_of(view),
        }
    }

    /// The same as of when it looked so.
    pub(crate) fn stored_bytes_as_of(&self, view: &JobView) -> u64 {
        self.input_bytes + view.outputs.iter().map(|output| output.bytes).sum::<u64>()
    }

    /// Its owner's account has been charged with more.
    pub(crate) fn charged(&self, more_bytes: u64) {
        self.charged.fetch_add(more_bytes, Ordering::Relaxed);
    }

    /// What its owner's account has been charged with and that is not kept any more.
    pub(crate) fn take_back(&self) -> u64 {
        let kept = self.stored_bytes();
        self.charged.swap(kept, Ordering::Relaxed).saturating_sub(kept)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as shown.
    pub(crate) fn view(&self) -> Arc<JobView> {
        Arc::clone(&self.shown.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<JobView>> {
        self.shown.subscribe()
    }

    /// Which attempt it is in, whether shown already or not.
    pub(crate) fn attempt(&self) -> u32 {
        self.record().job.attempt
    }

    /// Its next run is one that an earlier server began.
    pub(crate) fn set_resume(&self) {
        self.resume.store(true, Ordering::Release);
    }

    pub(crate) fn resumes(&self) -> bool {
        self.resume.load(Ordering::Acquire)
    }

    /// Whether the run that begins now is one to be found again.
    pub(crate) fn take_resume(&self) -> bool {
        self.resume.swap(false, Ordering::AcqRel)
    }

    /// Its run has to fetch something first.
    pub(crate) fn has_references(&self) -> bool {
        self.request.request.inputs.iter().any(|item| matches!(item.data, InputData::Reference(_)))
    }

    /// The store has chunks that are gone: it is told all of them anew.
    pub(crate) fn rewrite_chunks(self: &Arc<Self>) {
        let mut record = self.record();
        for log in &mut record.logs {
            (log.stored, log.stored_bytes) = (0, 0);
        }
        record.pending.clear = true;
        record.version += 1;
        self.queue(&mut record, Urgency::Prompt);
    }

    /// Someone asked for its end.
    pub(crate) fn is_dismissing(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Hands the new job to the store. With `durable`, the receiver is answered when it is on the disk.
    pub(crate) fn accept(self: &Arc<Self>, durable: bool) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let mut record = self.record();
        let receiver = durable.then(|| {
            let (sender, receiver) = oneshot::channel();
            record.pending.accept = Some(sender);
            receiver
        });
        record.version += 1;
        record.pending.changed = true;
        self.queue(&mut record, if durable { Urgency::Durable } else { Urgency::Lazy });
        receiver
    }

    /// A run begins, of a process that wants `on_restart`. `None` where the job has finished meanwhile; else a receiver
    /// that is answered when the mark is committed.
    pub(crate) fn begin(self: &Arc<Self>, on_restart: OnRestart) -> Option<oneshot::Receiver<()>> {
        let mut record = self.record();
        if record.job.is_finished() || record.phase == Phase::Running {
            return None;
        }
        record.phase = Phase::Running;
        record.on_restart = Some(on_restart);
        record.version += 1;
        let (sender, receiver) = oneshot::channel();
        record.pending.waiters.push(sender);
        // Who re-attaches must find the mark even after a power failure: the agent knows the run by then.
        let urgency = match on_restart {
            OnRestart::Reattach => Urgency::Durable,
            OnRestart::Fail if !self.sync => Urgency::Prompt,
            OnRestart::Fail | OnRestart::Requeue | OnRestart::Continue => Urgency::Lazy,
        };
        self.queue(&mut record, urgency);
        Some(receiver)
    }

    /// The bound request; bound again by the caller where it is not in memory any more.
    pub(crate) fn bound(&self) -> Option<Arc<BoundRequest>> {
        self.record().bound.clone()
    }

    pub(crate) fn set_bound(&self, bound: Arc<BoundRequest>) {
        self.record().bound = Some(bound);
    }

    /// Something happened to the job.
    pub(crate) fn apply(self: &Arc<Self>, event: JobEvent) -> Applied {
        let mut record = self.record();
        self.apply_to(&mut record, event)
    }

    fn apply_to(self: &Arc<Self>, record: &mut Record, event: JobEvent) -> Applied {
        let applied = record.job.apply(event, clock::now());
        match applied {
            Applied::Ignored => {}
            Applied::Progressed => self.progressed(record),
            Applied::Changed => {
                record.version += 1;
                record.pending.changed = true;
                self.queue(record, Urgency::Lazy);
            }
            Applied::Finished => {
                record.version += 1;
                record.pending.changed = true;
                record.on_restart = None;
                record.bound = None;
                if matches!(&record.job.state, anabranch_model::JobState::Finished(Outcome::Dismissed(_)))
                    && !self.is_stream()
                {
                    record.clear();
                }
                self.queue(record, Urgency::Prompt);
            }
        }
        applied
    }

    /// Progress is shown at once, unless a change that is not committed yet would be shown with it.
    fn progressed(self: &Arc<Self>, record: &mut Record) {
        record.version += 1;
        if !record.pending.changed {
            record.shown_version = record.version;
            self.shown.send_replace(Arc::new(record.view(&self.request, self.keep_s, false)));
        }
        if record.progress_written.is_none_or(|at| at.elapsed() >= self.progress_write) {
            record.progress_written = Some(Instant::now());
            self.hand_over(record, Urgency::Lazy);
        }
    }

    /// Who asked for it follows a playlist: what it has shown is never taken back, however the job ends.
    pub(crate) fn is_stream(&self) -> bool {
        self.request.outputs.iter().any(OutputRequest::is_stream)
    }

    /// The run was lost and will be repeated: what it put out is forgotten, unless the next run is to go on after it. `false` where the
    /// job has ended instead.
    pub(crate) fn requeue(self: &Arc<Self>, reason: String) -> bool {
        let mut record = self.record();
        record.phase = Phase::Waiting;
        record.waits_since = clock::now();
        if record.on_restart.take() != Some(OnRestart::Continue) {
            record.clear();
        }
        self.apply_to(&mut record, JobEvent::Requeued { reason }) == Applied::Changed
    }

    /// The run goes on elsewhere, or waits for its process: the job waits again, as it is.
    pub(crate) fn wait_again(&self) {
        self.record().phase = Phase::Waiting;
    }

    /// Someone asks for the job's end.
    pub(crate) fn dismiss(self: &Arc<Self>, by: DismissedBy) -> DismissStep {
        let mut record = self.record();
        if record.job.is_finished() {
            return DismissStep::TooLate;
        }
        let applied = self.apply_to(&mut record, JobEvent::DismissRequested(by));
        // Where it has run before, work may still go on elsewhere: only its run can tell when that has ended.
        let step = if record.phase == Phase::Waiting && record.on_restart.is_none() {
            self.apply_to(&mut record, JobEvent::Ended(Err(Error::Dismissed)));
            DismissStep::Ended
        } else {
            self.queue(&mut record, Urgency::Prompt);
            DismissStep::Cancelled { first: applied == Applied::Changed }
        };
        drop(record);
        self.cancel.cancel();
        step
    }

    /// Room for one more chunk: counts its bytes, and says whether it may be kept inline.
    pub(crate) fn reserve(&self, bytes: u64, limits: &crate::Limits) -> Result<bool, Limit> {
        let mut record = self.record();
        let limit = self.limit(LimitKind::OutputBytes, limits.output_bytes_max);
        if record.bytes.saturating_add(bytes) > limit.max {
            return Err(limit);
        }
        record.bytes += bytes;
        let inline = bytes <= limits.inline_chunk_bytes_max
            && record.inline_bytes + bytes <= limits.inline_job_bytes_max;
        if inline {
            record.inline_bytes += bytes;
        }
        Ok(inline)
    }

    /// The next run goes on after the chunks that are there.
    pub(crate) fn continues(&self) -> bool {
        self.record().on_restart == Some(OnRestart::Continue)
    }

    /// Chunks of the first output so far.
    pub(crate) fn written(&self) -> u64 {
        self.record().logs.first().map_or(0, |log| log.end() as u64)
    }

    /// Each output keeps its last so many chunks from now on.
    pub(crate) fn keep(self: &Arc<Self>, chunks: usize) {
        let mut record = self.record();
        record.kept_max = Some(chunks.max(1));
        record.version += 1;
        self.queue(&mut record, Urgency::Lazy);
    }

    /// Chunks of all outputs that are there.
    pub(crate) fn chunks_count(&self) -> u64 {
        self.record().logs.iter().map(|log| log.chunks.len() as u64).sum()
    }

    /// Appends a chunk that `place` puts where it belongs, given its number. With `wait`, the receiver is answered when
    /// the chunk is committed.
    pub(crate) fn append(
        self: &Arc<Self>,
        output: usize,
        wait: Option<Urgency>,
        place: impl FnOnce(usize) -> Result<Value, Error>,
    ) -> Result<Option<oneshot::Receiver<()>>, Error> {
        let mut record = self.record();
        let Some(log) = record.log_mut(output, self.request.outputs.len()) else {
            return Err(Error::internal("a chunk for an output that the job does not have"));
        };
        let value = place(log.end())?;
        log.bytes += value_bytes(&value);
        let file = is_file(&value);
        log.chunks.push_back(value);
        record.version += 1;
        let receiver = wait.map(|_| {
            let (sender, receiver) = oneshot::channel();
            record.pending.waiters.push(sender);
            receiver
        });
        let urgency = wait.unwrap_or(if file { Urgency::Prompt } else { Urgency::Lazy });
        self.queue(&mut record, urgency);
        Ok(receiver)
    }

    /// Outputs without a chunk, by identifier; streams may be empty.
    pub(crate) fn unwritten(&self) -> Vec<String> {
        let record = self.record();
        let pairs = self.request.outputs.iter().zip(record.logs());
        pairs
            .filter(|(output, log)| log.end() == 0 && !output.is_stream())
            .map(|(output, _)| output.id.clone())
            .collect()
    }

    /// Chunks in the store.
    pub(crate) fn chunks(&self, output: usize, first: u64, chunks_max: usize) -> Option<ChunkPage> {
        let record = self.record();
        let log = record.logs().take(self.request.outputs.len()).nth(output)?;
        let first = first.max(log.removed as u64);
        let before = usize::try_from(first).unwrap_or(usize::MAX).saturating_sub(log.removed);
        let there = log.stored.saturating_sub(log.removed).saturating_sub(before).min(chunks_max);
        let chunks = log.chunks.iter().skip(before).take(there).cloned().collect();
        let request = self.request.outputs.get(output)?.clone();
        let (total, slides) = (log.stored as u64, record.kept_max.is_some());
        Some(ChunkPage { request, first, chunks, total, slides, view: self.view() })
    }

    /// The results, of a job that is shown as succeeded.
    pub(crate) fn results(&self) -> Result<Arc<Results>, Error> {
        crate::results::readable(&self.view().job)?;
        let results = self.results.get_or_init(|| {
            let record = self.record();
            let logs = record.logs().take(self.request.outputs.len());
            let logs = logs.map(|log| log.chunks.iter().cloned().collect()).collect();
            Arc::new(crate::results::assemble(&self.request.outputs, logs))
        });
        Ok(Arc::clone(results))
    }

    /// Roughly what it holds in memory, bytes.
    pub(crate) fn weight(&self) -> u64 {
        let record = self.record();
        let entries: usize = record.logs.iter().map(|log| log.chunks.len()).sum();
        self.request_bytes + record.inline_bytes + entries as u64 * 200
    }

    /// Something that others will be told has changed. The client of a synchronous job is told its end at once, all others what is on
    /// the disk only.
    fn queue(self: &Arc<Self>, record: &mut Record, urgency: Urgency) {
        record.pending.durable |= !self.sync;
        self.hand_over(record, urgency);
    }

    fn hand_over(self: &Arc<Self>, record: &mut Record, urgency: Urgency) {
        // The writer may have taken this job out of the inbox and be about to take this change with it.
        record.pending.durable |= urgency == Urgency::Durable;
        if record.pending.queued {
            self.inbox.raise(urgency);
        } else {
            record.pending.queued = self.inbox.push(Arc::clone(self), urgency);
            if !record.pending.queued {
                // The store is closed; whoever waits learns it by the dropped channel.
                record.pending.waiters.clear();
                record.pending.accept = None;
            }
        }
    }

    /// For the store's writer: what has to be written.
    pub(crate) fn take_pending(&self) -> Snapshot {
        let mut record = self.record();
        let view = Arc::new(record.view(&self.request, self.keep_s, true));
        let (mut chunks, mut removed) = (Vec::new(), Vec::new());
        for (output, log) in record.logs.iter().enumerate() {
            let first = log.first_kept(record.kept_max);
            if first > log.removed {
                removed.push((output, first));
            }
            let new =
                (log.removed..).zip(&log.chunks).skip_while(|(number, _)| *number < log.stored.max(first));
            chunks.extend(new.map(|(number, value)| (output, number, value.clone())));
        }
        let stored = record.logs.iter().map(|log| (log.end(), log.bytes)).collect();
        let (version, on_restart) = (record.version, record.on_restart);
        let pending = &mut record.pending;
        pending.queued = false;
        Snapshot {
            view,
            insert: !pending.inserted,
            request_json: pending.request_json.take(),
            on_restart,
            clear: std::mem::take(&mut pending.clear),
            durable: std::mem::take(&mut pending.durable),
            chunks,
            removed,
            version,
            stored,
            accept: pending.accept.take(),
            waiters: std::mem::take(&mut pending.waiters),
        }
    }

    /// For the store's writer: the snapshot is committed and may be shown. True where that ended the job.
    pub(crate) fn committed(&self, snapshot: Snapshot) -> bool {
        let mut record = self.record();
        record.pending.inserted = true;
        let finished = snapshot.view.job.is_finished();
        // A requeue in the meantime has emptied the logs; what was committed will be cleared by the next snapshot.
        if !record.pending.clear {
            for (log, (chunks, bytes)) in record.logs.iter_mut().zip(&snapshot.stored) {
                (log.stored, log.stored_bytes) = (*chunks, *bytes);
            }
            for (output, first) in &snapshot.removed {
                record.remove(*output, *first);
            }
        }
        let leaving = record.leaving();
        if record.version == snapshot.version {
            record.pending.changed = false;
        }
        if snapshot.version >= record.shown_version {
            record.shown_version = snapshot.version;
            self.shown.send_replace(snapshot.view);
        } else if !record.pending.changed {
            // Progress was shown while this was written: shown again, with the chunks that are there now.
            self.shown.send_replace(Arc::new(record.view(&self.request, self.keep_s, false)));
        }
        drop(record);
        if finished {
            // Who traces jobs gets to know of this one now, not when its last reader has gone.
            *self.span.lock().unwrap_or_else(PoisonError::into_inner) = tracing::Span::none();
        }
        for path in leaving {
            // What can't be removed now goes with the job.
            let _ = std::fs::remove_file(path);
        }
        if let Some(accept) = snapshot.accept {
            // Who asked may have gone; the job goes on.
            let _ = accept.send(Ok(()));
        }
        for waiter in snapshot.waiters {
            let _ = waiter.send(());
        }
        finished
    }

    /// For the store's writer: the snapshot could not be written. A new job is refused; all else is tried again.
    /// False where nothing is left to be tried.
    pub(crate) fn not_committed(self: &Arc<Self>, snapshot: Snapshot, error: &Error) -> bool {
        if let Some(accept) = snapshot.accept {
            let _ = accept.send(Err(error.clone()));
            return false;
        }
        let mut record = self.record();
        record.pending.clear |= snapshot.clear;
        record.pending.durable |= snapshot.durable;
        if record.pending.request_json.is_none() {
            record.pending.request_json = snapshot.request_json;
        }
        record.pending.waiters.extend(snapshot.waiters);
        self.queue(&mut record, Urgency::Lazy);
        true
    }
}

impl Record {
    /// With `all`, chunks that are about to be written count too.
    fn view(&self, request: &StoredRequest, keep_s: u64, all: bool) -> JobView {
        let expires = self.job.finished.map(|at| clock::seconds_after(at, keep_s));
        if self.logs.is_empty() && self.kept_max.is_none() {
            return JobView { outputs: request.outputs.blank(), expires, job: self.job.clone() };
        }
        let outputs = request.outputs.iter().zip(self.logs()).map(|(output, log)| OutputSummary {
            id: output.id.clone(),
            chunks: if all { log.end() } else { log.stored } as u64,
            bytes: if all { log.bytes_kept(self.kept_max) } else { log.stored_bytes },
            removed: if all { log.first_kept(self.kept_max) } else { log.removed } as u64,
            kept_max: self.kept_max.map(|chunks| chunks as u64),
            expires: self.job.finished.and_then(|at| log.expires(&request.terms, at, keep_s)),
        });
        JobView { outputs: outputs.collect(), expires, job: self.job.clone() }
    }

    /// The logs of all outputs, and blank ones without end.
    fn logs(&self) -> impl Iterator<Item = &ChunkLog> {
        self.logs.iter().chain(std::iter::repeat(&BLANK))
    }

    fn log_mut(&mut self, output: usize, outputs: usize) -> Option<&mut ChunkLog> {
        if self.logs.is_empty() {
            self.logs.resize_with(outputs, ChunkLog::default);
        }
        self.logs.get_mut(output)
    }

    /// Forgets the chunks of an output before number `first`: the store has.
    fn remove(&mut self, output: usize, first: usize) {
        let Some(log) = self.logs.get_mut(output) else { return };
        let count = first.saturating_sub(log.removed).min(log.chunks.len());
        for value in log.chunks.drain(..count) {
            let bytes = value_bytes(&value);
            log.bytes -= bytes;
            log.stored_bytes -= bytes.min(log.stored_bytes);
            self.bytes -= bytes.min(self.bytes);
            match value {
                Value::Complex(ComplexValue { data: Data::File(file), .. }) => {
                    log.leaving.push_back(file.path)
                }
                _ => self.inline_bytes -= bytes.min(self.inline_bytes),
            }
        }
        log.removed += count;
    }

    /// Files whose time has come.
    fn leaving(&mut self) -> Vec<PathBuf> {
        let of_log = |log: &mut ChunkLog| {
            let over = log.leaving.len().saturating_sub(LEAVING_MAX);
            log.leaving.drain(..over).collect::<Vec<_>>()
        };
        self.logs.iter_mut().flat_map(of_log).collect()
    }

    fn clear(&mut self) {
        self.logs = Vec::new();
        self.bytes = 0;
        self.inline_bytes = 0;
        self.pending.clear = true;
    }
}

impl ChunkLog {
    fn stored(chunks: Vec<Value>, removed: u64) -> Self {
        let bytes = chunks.iter().map(value_bytes).sum();
        let removed = usize::try_from(removed).unwrap_or(usize::MAX);
        let stored = removed.saturating_add(chunks.len());
        Self { removed, chunks: chunks.into(), bytes, stored, stored_bytes: bytes, leaving: VecDeque::new() }
    }

    /// When its chunks are removed, of a job that finished then and is kept so long; where that is earlier.
    fn expires(&self, terms: &Terms, finished: Timestamp, job_keep_s: u64) -> Option<Timestamp> {
        if terms.outputs_keep_s.is_empty() {
            return None;
        }
        let mut media_types: Vec<_> = self.chunks.iter().filter_map(media_type).collect();
        media_types.dedup();
        let keep_s = media_types.into_iter().filter_map(|name| terms.output_keep_s(name)).min();
        keep_s.filter(|keep_s| *keep_s < job_keep_s).map(|keep_s| clock::seconds_after(finished, keep_s))
    }

    /// The number of the next chunk.
    fn end(&self) -> usize {
        self.removed.saturating_add(self.chunks.len())
    }

    /// The size of the chunks, where so many are kept.
    fn bytes_kept(&self, kept_max: Option<usize>) -> u64 {
        let leaving = self.first_kept(kept_max) - self.removed;
        self.bytes - self.chunks.iter().take(leaving).map(value_bytes).sum::<u64>()
    }

    /// The number of the first chunk, where so many are kept.
    fn first_kept(&self, kept_max: Option<usize>) -> usize {
        self.removed.max(kept_max.map_or(0, |kept_max| self.end().saturating_sub(kept_max)))
    }
}

/// The outputs of a request as logs of chunks.
pub(crate) fn output_log(request: &OutputRequest, chunks: Vec<Value>) -> OutputLog {
    OutputLog { id: request.id.clone(), request: request.clone(), chunks }
}

/// Size of a value, bytes; literals count their characters, boxes their numbers.
pub(crate) fn value_bytes(value: &Value) -> u64 {
    match value {
        Value::Literal(literal) => literal.text.len() as u64,
        Value::BoundingBox(bounding_box) => 8 * (bounding_box.lower.len() + bounding_box.upper.len()) as u64,
        Value::Complex(complex) => complex.data.len(),
    }
}

fn media_type(value: &Value) -> Option<&str> {
    match value {
        Value::Complex(complex) => Some(&complex.format.media_type),
        Value::Literal(_) | Value::BoundingBox(_) => None,
    }
}

fn is_file(value: &Value) -> bool {
    file_of(value).is_some()
}

/// The file in which a value lies.
pub(crate) fn file_of(value: &Value) -> Option<&DataFile> {
    match value {
        Value::Complex(complex) => match &complex.data {
            Data::File(file) => Some(file),
            Data::Bytes(_) => None,
        },
        Value::Literal(_) | Value::BoundingBox(_) => None,
    }
}
