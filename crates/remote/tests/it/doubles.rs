//! Stand-ins for what the two ends are lent: sink, registry, data plane, processes.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_model::*;
use anabranch_remote::{AgentData, DataError, Load, LoadSource, Publisher, RunId, ServerData};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A sink that keeps everything.
pub(crate) struct Sink {
    pub(crate) seen: watch::Sender<Seen>,
    pub(crate) cancel: CancellationToken,
    /// What its run goes before.
    pub(crate) priority: Priority,
    /// Every write waits for it.
    pub(crate) gate: tokio::sync::Semaphore,
    scratch: PathBuf,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: Vec<String>,
    pub(crate) outputs: Vec<(String, Bytes)>,
    pub(crate) progress: Vec<f32>,
    pub(crate) log: Vec<String>,
    pub(crate) waiting: Vec<String>,
}

impl Sink {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_gate(tokio::sync::Semaphore::MAX_PERMITS)
    }

    /// Only so many writes go through.
    pub(crate) fn with_gate(open: usize) -> Arc<Self> {
        Arc::new(Self::with(open, Priority::default()))
    }

    pub(crate) fn with_priority(priority: Priority) -> Arc<Self> {
        Arc::new(Self::with(tokio::sync::Semaphore::MAX_PERMITS, priority))
    }

    fn with(open: usize, priority: Priority) -> Self {
        Self {
            seen: watch::Sender::new(Seen::default()),
            cancel: CancellationToken::new(),
            priority,
            gate: tokio::sync::Semaphore::new(open),
            scratch: std::env::temp_dir(),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until what has been seen is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(600), seen.wait_for(|seen| wanted(seen))).await;
        match waited {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("never seen; last: {:?}", self.seen()),
        }
    }
}

impl OutputSink for Sink {
    fn started(&self, on: Option<&str>) {
        self.seen.send_modify(|seen| seen.started.push(on.unwrap_or_default().into()));
    }

    fn waiting(&self, reason: &str) {
        self.seen.send_modify(|seen| seen.waiting.push(reason.to_owned()));
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let output = output.to_owned();
        Box::pin(async move {
            let Ok(pass) = self.gate.acquire().await else {
                return Err(Error::NotEnoughStorage { detail: "the disk is full".into() });
            };
            pass.forget();
            let bytes = bytes_of(&chunk);
            self.seen.send_modify(|seen| seen.outputs.push((output, bytes)));
            Ok(())
        })
    }

    fn progress(&self, percent: f32, _message: Option<&str>) {
        self.seen.send_modify(|seen| seen.progress.push(percent));
    }

    fn log(&self, line: LogLine) {
        self.seen.send_modify(|seen| seen.log.push(line.text));
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.cancel.cancelled())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(crate) fn bytes_of(value: &Value) -> Bytes {
    match value {
        Value::Literal(literal) => literal.text.clone().into(),
        Value::BoundingBox(bbox) => format!("{:?} {:?}", bbox.lower, bbox.upper).into(),
        Value::Complex(complex) => complex.data.read_all(1 << 30).unwrap(),
    }
}

/// A registry.
pub(crate) struct Registry {
    pub(crate) processes: watch::Sender<BTreeMap<String, Arc<dyn Process>>>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { processes: watch::Sender::new(BTreeMap::new()) })
    }

    pub(crate) async fn published(&self, id: &str) -> Arc<dyn Process> {
        let mut processes = self.processes.subscribe();
        let waited =
            tokio::time::timeout(Duration::from_secs(600), processes.wait_for(|all| all.contains_key(id)));
        Arc::clone(&waited.await.expect("published in time").unwrap()[id])
    }

    pub(crate) async fn withdrawn(&self, id: &str) {
        let mut processes = self.processes.subscribe();
        let waited =
            tokio::time::timeout(Duration::from_secs(600), processes.wait_for(|all| !all.contains_key(id)));
        waited.await.expect("withdrawn in time").unwrap();
    }
}

impl Publisher for Registry {
    fn publish(&self, process: Arc<dyn Process>) {
        let id = process.description().id.to_string();
        self.processes.send_modify(|all| drop(all.insert(id, process)));
    }

    fn withdraw(&self, process: &ProcessId) {
        self.processes.send_modify(|all| drop(all.remove(process.as_str())));
    }
}

/// What would be HTTP: a map from URL to bytes.
#[derive(Default)]
pub(crate) struct Web {
    pub(crate) pages: Mutex<BTreeMap<String, Bytes>>,
    /// So many transfers fail before one works.
    pub(crate) failing: AtomicU32,
    pub(crate) released: Mutex<Vec<RunId>>,
    pub(crate) sent: Mutex<Vec<RunId>>,
    /// Nothing is noted as long as it is so.
    pub(crate) is_slow: watch::Sender<bool>,
    /// Nothing can be noted.
    pub(crate) is_full: AtomicBool,
    /// Chunks that the store has.
    pub(crate) stored: Mutex<BTreeMap<RunId, u64>>,
}

impl Web {
    fn fails(&self) -> Option<DataError> {
        let one_less = |left: u32| left.checked_sub(1);
        let failing = self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        failing.ok().map(|_| DataError { reason: "no connection".into(), transient: true })
    }
}

impl ServerData for Web {
    fn offer_input<'a>(
        &'a self,
        run: RunId,
        input: &'a str,
        index: usize,
        data: &'a Data,
    ) -> BoxFuture<'a, Result<String, Error>> {
        let url = format!("mem:/{run}/in/{input}/{index}");
        self.pages.lock().unwrap().insert(url.clone(), data.read_all(1 << 30).unwrap());
        Box::pin(async { Ok(url) })
    }

    fn upload_url(&self, run: RunId, output: &str) -> Option<String> {
        Some(format!("mem:/{run}/out/{output}"))
    }

    fn take_upload<'a>(&'a self, run: RunId, output: &'a str, n: u64) -> BoxFuture<'a, Result<Data, Error>> {
        let page = self.pages.lock().unwrap().get(&format!("mem:/{run}/out/{output}/{n}")).cloned();
        Box::pin(async { page.map(Data::Bytes).ok_or_else(|| Error::internal("not uploaded")) })
    }

    /// As a server with a shared folder: what is in it has its own path as content.
    fn take_shared<'a>(
        &'a self,
        _run: RunId,
        output: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Data, Error>> {
        Box::pin(async move {
            if path.starts_with("/etc") || path.contains("..") {
                return Err(Error::process_failed(format!("output '{output}' is not in the shared folder")));
            }
            Ok(Data::Bytes(path.to_owned().into()))
        })
    }

    fn chunks_stored<'a>(&'a self, run: RunId, _output: &'a str) -> BoxFuture<'a, Option<u64>> {
        let stored = self.stored.lock().unwrap().get(&run).copied();
        Box::pin(async move { stored })
    }

    fn note_sent<'a>(&'a self, runs: &'a [RunId]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut is_slow = self.is_slow.subscribe();
            is_slow.wait_for(|is_slow| !is_slow).await.map_err(Error::internal)?;
            if self.is_full.load(Ordering::Relaxed) {
                return Err(Error::NotEnoughStorage { detail: "the disk is full".into() });
            }
            self.sent.lock().unwrap().extend(runs);
            Ok(())
        })
    }

    fn forget_sent(&self, run: RunId) {
        self.sent.lock().unwrap().retain(|sent| *sent != run);
    }

    fn was_sent(&self, run: RunId) -> bool {
        self.sent.lock().unwrap().contains(&run)
    }

    fn release(&self, run: RunId) {
        self.released.lock().unwrap().push(run);
    }
}

impl AgentData for Web {
    fn fetch<'a>(&'a self, url: &'a str, to: &'a Path) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move {
            if let Some(error) = self.fails() {
                return Err(error);
            }
            let page = self.pages.lock().unwrap().get(url).cloned();
            let page = page.ok_or_else(|| DataError { reason: "404".into(), transient: false })?;
            std::fs::write(to, page).unwrap();
            Ok(())
        })
    }

    fn upload<'a>(&'a self, url: &'a str, file: &'a Path) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move {
            if let Some(error) = self.fails() {
                return Err(error);
            }
            let bytes = std::fs::read(file).unwrap();
            self.pages.lock().unwrap().insert(url.to_owned(), bytes.into());
            Ok(())
        })
    }
}

pub(crate) struct Idle;

impl LoadSource for Idle {
    fn load(&self) -> Load {
        Load { cpu_percent: 1.0, memory_percent: 2.0, load_average: 0.5 }
    }
}

/// A machine as a test wants it.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) load: Mutex<Load>,
    pub(crate) full: Mutex<Option<String>>,
}

impl Machine {
    pub(crate) fn busy(cpu_percent: f32, memory_percent: f32) -> Arc<Self> {
        let load = Load { cpu_percent, memory_percent, load_average: 0.0 };
        Arc::new(Self { load: Mutex::new(load), full: Mutex::default() })
    }
}

impl LoadSource for Machine {
    fn load(&self) -> Load {
        *self.load.lock().unwrap()
    }

    fn full(&self) -> Option<String> {
        self.full.lock().unwrap().clone()
    }
}

type Body = dyn Fn(Execution) -> BoxFuture<'static, Result<(), Error>> + Send + Sync;

/// A process made of a closure.
pub(crate) struct Script {
    description: Arc<ProcessDescription>,
    body: Box<Body>,
}

impl Script {
    pub(crate) fn new<F>(id: &str, body: impl Fn(Execution) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::described(description(id), body)
    }

    pub(crate) fn described<F>(
        description: ProcessDescription,
        body: impl Fn(Execution) -> F + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let body = move |execution| -> BoxFuture<'static, _> { Box::pin(body(execution)) };
        Arc::new(Self { description: Arc::new(description), body: Box::new(body) })
    }
}

impl Process for Script {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        (self.body)(execution)
    }
}

pub(crate) fn description(id: &str) -> ProcessDescription {
    let data = || {
        DataDescription::Complex(ComplexDomain { formats: vec![Format::new("text/plain")], bytes_max: None })
    };
    ProcessDescription {
        title: id.into(),
        keywords: vec![],
        metadata: vec![],
        inputs: vec![InputDescription::new("text", Occurs { min: 0, max: None }, data())],
        outputs: vec![OutputDescription::new("out", data())],
        ..ProcessDescription::new(ProcessId::new(id).unwrap())
    }
}

pub(crate) fn text(bytes: impl Into<Bytes>) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), Format::new("text/plain")))
}
