//! The sink of a run: where its process pushes.

use crate::clock;
use crate::engine::Inner;
use crate::folders::{self, blocking};
use crate::live::{Live, value_bytes};
use crate::results::Staged;
use crate::store::inbox::Urgency;
use anabranch_formats::{can_be_looked_at, look};
use anabranch_model::{
    BoxFuture, ComplexValue, Data, Error, Facts, JobEvent, Limit, LimitKind, LogLine, OnRestart, OutputSink,
    Priority, ProcessDescription, UserName, Value,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Chunks up to here are looked at without another thread, in bytes: some hundred microseconds.
const LOOK_HERE_BYTES_MAX: u64 = 16 << 10;

/// The sink of one attempt, as its process sees it.
pub(crate) struct RunSink(pub(crate) Arc<Attempt>);

/// One attempt. Sinks that outlive it reach nothing any more.
pub(crate) struct Attempt {
    engine: Arc<Inner>,
    live: Arc<Live>,
    description: Arc<ProcessDescription>,
    on_restart: OnRestart,
    /// Cancelled when this run is to end for a reason of its own: it takes too long, or the server stops.
    cancel: CancellationToken,
    over: AtomicBool,
    /// Processor time used, nanoseconds, where it is measured.
    cpu_ns: AtomicU64,
    scratch: PathBuf,
    scratch_made: OnceLock<()>,
}

impl Attempt {
    pub(crate) fn new(
        engine: Arc<Inner>,
        live: Arc<Live>,
        description: Arc<ProcessDescription>,
        on_restart: OnRestart,
        cancel: CancellationToken,
    ) -> Self {
        let scratch = engine.folders.scratch(live.id);
        let (over, cpu_ns, scratch_made) = Default::default();
        Self { engine, live, description, on_restart, cancel, over, cpu_ns, scratch, scratch_made }
    }

    /// The attempt is over: nothing it says counts any more.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// The scratch folder, where it has been made.
    pub(crate) fn scratch_made(&self) -> Option<PathBuf> {
        self.scratch_made.get().map(|()| self.scratch.clone())
    }

    /// How much processor time it may use.
    fn cpu_limit(&self) -> Limit {
        self.live.limit(LimitKind::CpuSeconds, self.engine.limits.cpu_s_max)
    }

    /// The limit of its processor time, where it has used more.
    pub(crate) fn cpu_exceeded(&self) -> Option<Limit> {
        let used_s = self.cpu_ns.load(Ordering::Relaxed) / 1_000_000_000;
        Some(self.cpu_limit()).filter(|limit| used_s >= limit.max)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn apply(&self, event: JobEvent) {
        if !self.is_over() {
            self.live.apply(event);
        }
    }

    /// The place of the output among those asked for; `None` for one that nobody asked for.
    fn place(&self, output: &str) -> Result<Option<usize>, Error> {
        if let Some(place) = self.live.request.outputs.iter().position(|asked| asked.id == output) {
            return Ok(Some(place));
        }
        match self.description.output(output) {
            Some(_) => Ok(None),
            None => Err(Error::internal(format!(
                "the process wrote an output '{output}' that it does not describe"
            ))),
        }
    }

    /// Checks and reserves; true where the chunk may be kept inline.
    fn admit(&self, place: usize, chunk: &Value) -> Result<bool, Error> {
        if self.is_over() || self.is_cancelled() {
            return Err(Error::Dismissed);
        }
        let output = &self.live.request.outputs[place].id;
        if let Value::BoundingBox(bounding_box) = chunk
            && !bounding_box.lower.iter().chain(&bounding_box.upper).all(|number| number.is_finite())
        {
            return Err(Error::process_failed(format!(
                "output '{output}' has coordinates that are not finite"
            )));
        }
        let limits = &self.engine.limits;
        if self.live.chunks_count() >= limits.chunks_max {
            let message = format!("the job put out more than the {} chunks allowed", limits.chunks_max);
            return Err(Error::process_failed(message));
        }
        let bytes = value_bytes(chunk);
        let inline = self.live.reserve(bytes, limits).map_err(Error::over)?;
        self.engine.dispatcher.grow(&self.live, bytes)?;
        if !inline {
            self.engine.disk.write(bytes, Instant::now())?;
        }
        Ok(inline)
    }

    /// How a chunk is waited for. A chunk that an agent is told to be stored must be on the disk, for the agent will
    /// not send it again; the others come again if the server dies, since their run dies with it.
    fn wait(&self) -> Option<Urgency> {
        (self.on_restart == OnRestart::Reattach).then_some(Urgency::Durable)
    }

    fn append(&self, place: usize, value: Value) -> Result<Option<oneshot::Receiver<()>>, Error> {
        self.live.append(place, self.wait(), |_number| Ok(value))
    }

    /// Stores a chunk as a file, or inline after all where it is a small file. Blocking.
    fn append_file(
        &self,
        place: usize,
        chunk: ComplexValue,
        inline: bool,
    ) -> Result<Option<oneshot::Receiver<()>>, Error> {
        let ComplexValue { data, format, facts } = chunk;
        let scratch = self.scratch_made.get().map(|()| self.scratch.as_path());
        if inline && let Data::File(file) = &data {
            let read = crate::results::read_small(&file.path, file.bytes, scratch);
            let bytes = read.map_err(|error| folders::io_error("can't read", &file.path, &error))?;
            return self.append(
                place,
                Value::Complex(ComplexValue { data: Data::Bytes(bytes.into()), format, facts }),
            );
        }
        let output = &self.live.request.outputs[place].id;
        let folder = self.engine.folders.output(self.live.id, output, place);
        let folders = &self.engine.folders;
        let staged = Staged::new(&folder, &data, scratch, |name| folders.own(name))?;
        self.live.append(place, self.wait(), |number| {
            let file = staged.place(&folders.own(number))?;
            Ok(Value::Complex(ComplexValue { data: Data::File(file), format, facts }))
        })
    }

    /// What is known of a chunk, after a quick look where nothing is.
    async fn facts(&self, chunk: &ComplexValue) -> Result<Facts, Error> {
        let looked_at = chunk.facts.features.is_some() || chunk.facts.bbox.is_some();
        if looked_at || !can_be_looked_at(chunk) {
            return Ok(chunk.facts);
        }
        if chunk.data.path().is_none() && chunk.data.len() <= LOOK_HERE_BYTES_MAX {
            return Ok(look(chunk));
        }
        let chunk = chunk.clone();
        blocking(move || look(&chunk)).await
    }

    async fn store(self: Arc<Self>, place: usize, mut chunk: Value) -> Result<(), Error> {
        let inline = self.admit(place, &chunk)?;
        if let Value::Complex(complex) = &mut chunk {
            complex.facts = self.facts(complex).await?;
            complex.facts.stored = Some(clock::now());
        }
        let stored = match chunk {
            Value::Complex(complex) if !inline || complex.data.path().is_some() => {
                blocking(move || self.append_file(place, complex, inline)).await??
            }
            chunk => self.append(place, chunk)?,
        };
        if let Some(stored) = stored {
            stored.await.map_err(|_closed| Error::internal("the store is closed"))?;
        }
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        self.live.cancel.is_cancelled() || self.cancel.is_cancelled()
    }

    async fn cancelled(&self) {
        tokio::select! {
            biased;
            () = self.live.cancel.cancelled() => {}
            () = self.cancel.cancelled() => {}
        }
    }
}

impl OutputSink for RunSink {
    fn started(&self, on: Option<&str>) {
        self.0.apply(JobEvent::Started { agent: on.map(str::to_owned) });
    }

    fn keep(&self, chunks: u64) {
        if !self.0.is_over() {
            self.0.live.keep(usize::try_from(chunks).unwrap_or(usize::MAX));
        }
    }

    fn waiting(&self, reason: &str) {
        self.0.apply(JobEvent::Waiting { reason: reason.to_owned() });
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        match self.0.place(output) {
            Ok(Some(place)) => Box::pin(Arc::clone(&self.0).store(place, chunk)),
            Ok(None) => Box::pin(std::future::ready(Ok(()))),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.0.apply(JobEvent::Progress { percent, message: message.map(str::to_owned) });
    }

    fn log(&self, line: LogLine) {
        if !self.0.is_over() {
            self.0.engine.logs.append(&self.0.live.log, &line);
        }
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.cancelled())
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        self.0.scratch_made.get_or_init(|| {
            if let Err(error) = folders::make(&self.0.scratch) {
                // The process meets the same error as soon as it uses the folder, and reports it.
                tracing::error!(path = %self.0.scratch.display(), %error, "a scratch folder can't be made");
            }
        });
        &self.0.scratch
    }

    fn owner(&self) -> Option<&UserName> {
        self.0.live.owner.as_ref()
    }

    fn priority(&self) -> Priority {
        self.0.live.request.terms.priority
    }

    fn cpu_s_max(&self) -> Option<u64> {
        Some(self.0.cpu_limit().max).filter(|max| *max < u64::MAX)
    }

    fn used_cpu(&self, more: Duration) {
        let more_ns = u64::try_from(more.as_nanos()).unwrap_or(u64::MAX);
        self.0.cpu_ns.fetch_add(more_ns, Ordering::Relaxed);
        if self.0.cpu_exceeded().is_some() {
            self.0.cancel.cancel();
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = tokio::time::sleep(duration) => {}
                () = self.0.cancelled() => {}
            }
        })
    }
}
