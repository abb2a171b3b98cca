//! A process that does what a test says, a sink that keeps everything, and a server of playlists.

use anabranch_egress::{Egress, Policy};
use anabranch_model::{
    BoxFuture, Chunking, ComplexDomain, ComplexValue, Cut, Data, DataDescription, Error, Execution, Format,
    FormatHint, InputDescription, Inputs, JobId, LiteralDomain, LiteralType, LiteralValue, LogLine, Occurs,
    OutputDescription, OutputRequest, OutputSink, Prepared, Process, ProcessDescription, ProcessId,
    Transmission, Value,
};
use anabranch_streaming::{OwnChunks, OwnPlaylists, Settings, Streaming};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Longest wait for anything in these tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

type Script = Arc<dyn Fn(Chunk) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// One run for one chunk, as the process sees it.
pub(crate) struct Chunk {
    /// The features of the chunk.
    pub(crate) text: String,
    pub(crate) execution: Execution,
}

impl Chunk {
    /// Gives back what came in.
    pub(crate) async fn give(&self) -> Result<(), Error> {
        self.execution.sink.write("out", geojson(&self.text)).await
    }
}

/// Gives back its chunks, after whatever a test does.
pub(crate) struct Base {
    description: Arc<ProcessDescription>,
    script: Script,
    pub(crate) prepared: AtomicUsize,
    pub(crate) running: Arc<AtomicUsize>,
    /// How many runs at once it says that it can use.
    pub(crate) runs_max: OnceLock<usize>,
}

impl Base {
    pub(crate) fn new<F, R>(script: F) -> Arc<Self>
    where
        F: Fn(Chunk) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::of(describe(&["data"]), script)
    }

    pub(crate) fn of<F, R>(description: ProcessDescription, script: F) -> Arc<Self>
    where
        F: Fn(Chunk) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let script: Script = Arc::new(move |chunk| Box::pin(script(chunk)));
        let (prepared, running, runs_max) = Default::default();
        Arc::new(Self { description: Arc::new(description), script, prepared, running, runs_max })
    }

    /// Gives back every chunk at once.
    pub(crate) fn giving() -> Arc<Self> {
        Self::new(|chunk| async move { chunk.give().await })
    }
}

/// Takes the inputs named and a literal `note`, gives `out`.
pub(crate) fn describe(cut: &[&str]) -> ProcessDescription {
    let complex = || {
        DataDescription::Complex(ComplexDomain {
            formats: vec![Format::new(Format::GEOJSON)],
            bytes_max: None,
        })
    };
    let input = |id: &str, occurs, data| InputDescription::new(id, occurs, data);
    let mut inputs: Vec<_> = cut.iter().map(|id| input(id, Occurs::ONE, complex())).collect();
    let note = DataDescription::Literal(LiteralDomain::any(LiteralType::String));
    inputs.push(input("note", Occurs::OPTIONAL, note));
    ProcessDescription {
        title: "Base".into(),
        version: "1".into(),
        inputs,
        outputs: vec![OutputDescription::new("out", complex())],
        idempotent: true,
        chunking: Some(Chunking::new(cut.iter().map(|id| (*id).to_owned()).collect(), "out", Cut::Features)),
        ..ProcessDescription::new(ProcessId::new("base").unwrap())
    }
}

impl Process for Base {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn runs_max(&self) -> Option<usize> {
        self.runs_max.get().copied()
    }

    fn prepare(&self, shared: Inputs, _sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(Prepared { process: None, shared })))
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            self.running.fetch_add(1, Ordering::SeqCst);
            let chunking = self.description.chunking.as_ref().unwrap();
            let cut = chunking.inputs.iter().filter(|_| !chunking.is_fed).collect::<Vec<_>>();
            let texts = cut.iter().map(|id| text(&execution.inputs.complex(id).unwrap().data));
            let text = texts.collect::<String>();
            let ended = (self.script)(Chunk { text, execution }).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            ended
        })
    }
}

pub(crate) fn text(data: &Data) -> String {
    String::from_utf8_lossy(&data.read_all(u64::MAX).unwrap()).into_owned()
}

pub(crate) fn geojson(text: &str) -> Value {
    let data = Data::Bytes(text.to_owned().into());
    Value::Complex(ComplexValue::new(data, Format::new(Format::GEOJSON)))
}

pub(crate) fn complex(text: &str, media_type: &str) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(text.to_owned().into()), Format::new(media_type)))
}

pub(crate) fn literal(text: &str) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::String, text))
}

/// A collection of points, numbered from `first`.
pub(crate) fn collection(first: u64, count: u64) -> String {
    let features = (first..first + count).map(|n| {
        format!(r#"{{"type":"Feature","id":{n},"properties":null,"geometry":{{"type":"Point","coordinates":[{n},0]}}}}"#)
    });
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.collect::<Vec<_>>().join(","))
}

/// The numbers of the features in a text, in order.
pub(crate) fn ids(text: &str) -> Vec<u64> {
    let parts = text.split(r#""id":"#).skip(1);
    parts.map(|part| part[..part.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()).collect()
}

/// Keeps what a stream puts out.
pub(crate) struct Sink {
    scratch: tempfile::TempDir,
    pub(crate) cancel: CancellationToken,
    started: watch::Sender<bool>,
    written: watch::Sender<Vec<Vec<u8>>>,
    /// How many chunks are to be kept.
    pub(crate) kept: AtomicU32,
}

impl Sink {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            scratch: tempfile::tempdir().unwrap(),
            cancel: CancellationToken::new(),
            started: watch::Sender::new(false),
            written: watch::Sender::new(Vec::new()),
            kept: AtomicU32::new(0),
        })
    }

    /// The chunks so far.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.written.borrow().clone()
    }

    /// The chunks so far, which are texts.
    pub(crate) fn chunks(&self) -> Vec<String> {
        self.bytes().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    pub(crate) fn is_started(&self) -> bool {
        *self.started.borrow()
    }

    /// Waits until there are so many chunks.
    pub(crate) async fn has(&self, chunks: usize) {
        let mut written = self.written.subscribe();
        let there = written.wait_for(|written| written.len() >= chunks);
        tokio::time::timeout(DEADLINE, there).await.expect("chunks come in time").unwrap();
    }

    /// Waits until the stream is open.
    pub(crate) async fn is_open(&self) {
        let mut started = self.started.subscribe();
        tokio::time::timeout(DEADLINE, started.wait_for(|started| *started))
            .await
            .expect("it opens")
            .unwrap();
    }
}

impl OutputSink for Sink {
    fn started(&self, _on: Option<&str>) {
        self.started.send_replace(true);
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        assert_eq!(output, "result");
        let Value::Complex(chunk) = chunk else { panic!("a chunk has a format") };
        let bytes = chunk.data.read_all(u64::MAX).unwrap().to_vec();
        self.written.send_modify(|written| written.push(bytes));
        Box::pin(std::future::ready(Ok(())))
    }

    fn keep(&self, chunks: u64) {
        self.kept.store(u32::try_from(chunks).unwrap(), Ordering::SeqCst);
    }

    fn progress(&self, _percent: f32, _message: Option<&str>) {}

    fn log(&self, _line: LogLine) {}

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.cancel.cancelled())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

/// No playlist is this server's own.
struct NoneOwn;

impl OwnPlaylists for NoneOwn {
    fn open(&self, _follower: JobId, _url: &Url, _first: u64) -> BoxFuture<'_, Option<Box<dyn OwnChunks>>> {
        Box::pin(std::future::ready(None))
    }
}

/// A streaming process around a base; `allowed` may be fetched.
pub(crate) fn streaming(base: &Arc<Base>, kind: &str, allowed: &[String]) -> Arc<dyn Process> {
    let named = |process: &Arc<dyn Process>| process.description().id.as_str() == format!("{kind}Base");
    variants_allowed(base, allowed).into_iter().find(named).expect("the variant is offered")
}

/// All streaming processes around a base.
pub(crate) fn variants(base: &Arc<Base>) -> Vec<Arc<dyn Process>> {
    variants_allowed(base, &[])
}

fn variants_allowed(base: &Arc<Base>, allowed: &[String]) -> Vec<Arc<dyn Process>> {
    let settings = Settings { poll_ms: 20, fetch_pause_ms: 1, ..Settings::default() };
    let allow = allowed.iter().map(|rule| rule.parse().unwrap()).collect();
    let egress = Egress::new(Policy { allow, ..Policy::default() });
    let streaming = Streaming::new(settings, egress, Arc::new(NoneOwn));
    streaming.variants(&(Arc::clone(base) as Arc<dyn Process>))
}

/// Runs it to its end.
pub(crate) async fn run(
    process: &Arc<dyn Process>,
    inputs: Vec<(&str, Value)>,
    format: &str,
    written: u64,
    sink: &Arc<Sink>,
) -> Result<(), Error> {
    let run = Arc::clone(process).execute(execution(inputs, format, written, sink));
    tokio::time::timeout(DEADLINE, run).await.expect("the stream ends in time")
}

/// One run, with the only output asked for in this format.
pub(crate) fn execution(
    inputs: Vec<(&str, Value)>,
    format: &str,
    written: u64,
    sink: &Arc<Sink>,
) -> Execution {
    let inputs = inputs.into_iter().map(|(id, value)| (id.to_owned(), vec![value])).collect();
    Execution {
        job: JobId::random(),
        attempt: 1,
        part: None,
        resume: false,
        written,
        feed: None,
        arriving: None,
        inputs: Inputs::new(inputs),
        outputs: vec![OutputRequest {
            id: "result".into(),
            format: FormatHint { media_type: Some(format.into()), ..FormatHint::default() },
            transmission: Transmission::Value,
            uom: None,
        }],
        sink: Arc::clone(sink) as Arc<dyn OutputSink>,
    }
}

/// What a server answers at a path: status, content type, body.
pub(crate) type Answer = (u16, &'static str, String);

/// A server of playlists and chunks whose answers a test changes.
pub(crate) struct Server {
    pub(crate) authority: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: watch::Sender<HashMap<String, u32>>,
    pub(crate) failures: Arc<AtomicU32>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let answers: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        let asked = watch::Sender::new(HashMap::new());
        let failures: Arc<AtomicU32> = Arc::default();
        let (told, counted, failing) = (Arc::clone(&answers), asked.clone(), Arc::clone(&failures));
        let answer = move |uri: axum::http::Uri| {
            let path = uri.path_and_query().unwrap().to_string();
            let known = told.lock().unwrap().get(&path).cloned();
            let is_chunk = path.contains("chunk");
            let fails = is_chunk
                && failing
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
            counted.send_modify(|asked: &mut HashMap<String, u32>| *asked.entry(path).or_default() += 1);
            let (status, content_type, body) = match known {
                _ if fails => (503, "text/plain", "later".to_owned()),
                Some(known) => known,
                None => (404, "text/plain", "none".to_owned()),
            };
            let mut response =
                axum::http::Response::builder().status(status).header("Content-Type", content_type);
            if status == 302 {
                response = response.header("Location", body.clone());
            }
            std::future::ready(response.body(axum::body::Body::from(body)).unwrap())
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        Self { authority, answers, asked, failures }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// A playlist of so many chunks, which are there; with an end mark or not.
    pub(crate) fn list(&self, chunks: u64, end: &str) {
        let mut text = "#SPATIAL-DATA-PLAYLIST\n".to_owned();
        for chunk in 1..=chunks {
            self.set(&format!("/chunk{chunk}"), (200, Format::GEOJSON, collection(chunk * 10, 2)));
            text.push_str(&self.at(&format!("/chunk{chunk}\n")));
        }
        self.set("/list", (200, "text/plain", text + end));
    }

    /// Waits until a path was asked for so often.
    pub(crate) async fn was_asked(&self, path: &str, times: u32) {
        let mut asked = self.asked.subscribe();
        let often = asked.wait_for(|asked| asked.get(path).is_some_and(|count| *count >= times));
        tokio::time::timeout(DEADLINE, often).await.expect("it is asked in time").unwrap();
    }
}
