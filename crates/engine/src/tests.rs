//! Tests of the engine: a whole engine on a folder of its own, with processes that do as they are told.
//!
//! Nothing here sleeps and hopes: what is to come is awaited, with [`DEADLINE`] as the end of patience.
//!
//! All of it runs on SQLite, and once more on PostgreSQL with `ANABRANCH_TEST_STORE=postgres` (`make test` does both,
//! but for what looks at or simulates the file of SQLite itself).

mod callbacks;
mod classes;
mod conversion;
mod data_folder;
mod dismissing;
mod help;
mod life;
mod limits;
mod listing;
mod load;
mod migrations;
mod nodes;
mod outputs;
mod owners;
pub(crate) mod postgres;
mod recovery;
mod references;
pub(crate) mod simulation;
mod streams;

use crate::{Engine, EngineConfig, JobView, Limits, Quotas};
use anabranch_egress::{Egress, Policy};
use anabranch_model::{
    BoxFuture, ComplexDomain, ComplexValue, Data, DataDescription, Error, ExecuteRequest, Execution,
    ExecutionMode, Format, FormatHint, InputData, InputDescription, InputItem, JobId, LiteralDomain,
    LiteralType, LiteralValue, Occurs, OnRestart, OutputDescription, Process, ProcessDescription, ProcessId,
    ResponseForm, TextForm, Value, Viewer,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Far beyond what anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it should have happened by now")
}

/// Waits until a condition holds that nothing can be awaited for.
async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

type Script = dyn Fn(Execution) -> BoxFuture<'static, Result<(), Error>> + Send + Sync;

/// A process that does what its script says.
struct Scripted {
    description: Arc<ProcessDescription>,
    on_restart: OnRestart,
    script: Box<Script>,
}

impl Process for Scripted {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        self.on_restart
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        (self.script)(execution)
    }
}

fn describe(id: &str, idempotent: bool) -> ProcessDescription {
    let text = DataDescription::Literal(LiteralDomain::any(LiteralType::String));
    let data = DataDescription::Complex(ComplexDomain {
        formats: vec![Format::new("text/plain"), Format::new("application/octet-stream")],
        bytes_max: None,
    });
    let input = |id: &str, occurs, data: &DataDescription| InputDescription::new(id, occurs, data.clone());
    let output = |id: &str, data: &DataDescription| OutputDescription::new(id, data.clone());
    ProcessDescription {
        title: id.into(),
        version: "1".into(),
        inputs: vec![
            input("text", Occurs::OPTIONAL, &text),
            input("data", Occurs { min: 0, max: Some(3) }, &data),
        ],
        outputs: vec![output("text", &text), output("data", &data)],
        idempotent,
        ..ProcessDescription::new(ProcessId::new(id).unwrap())
    }
}

fn scripted<F, R>(id: &str, on_restart: OnRestart, script: F) -> Arc<dyn Process>
where
    F: Fn(Execution) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    let description = Arc::new(describe(id, on_restart == OnRestart::Requeue));
    Arc::new(Scripted { description, on_restart, script: Box::new(move |e| Box::pin(script(e))) })
}

/// Gives its text back.
fn echo() -> Arc<dyn Process> {
    scripted("echo", OnRestart::Requeue, |execution| async move {
        execution.sink.started(None);
        let said = execution.inputs.text("text").unwrap_or("nothing").to_owned();
        execution.sink.write("text", text(&said)).await
    })
}

/// Begins and goes on until it is cancelled.
fn endless(id: &str, on_restart: OnRestart) -> Arc<dyn Process> {
    scripted(id, on_restart, |execution| async move {
        execution.sink.started(Some("agent 1"));
        execution.sink.cancelled().await;
        Err(Error::Dismissed)
    })
}

fn text(text: &str) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::String, text))
}

fn bytes(bytes: impl Into<bytes::Bytes>) -> Value {
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), Format::new("text/plain")))
}

fn item(id: &str, text: &str) -> InputItem {
    InputItem {
        id: id.into(),
        data: InputData::Text { text: text.into(), form: TextForm::Untyped },
        format: FormatHint::default(),
        data_type: None,
        uom: None,
    }
}

fn request(process: &str, mode: ExecutionMode) -> ExecuteRequest {
    ExecuteRequest {
        process: ProcessId::new(process).unwrap(),
        inputs: vec![item("text", "hello")],
        outputs: Vec::new(),
        mode,
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    }
}

fn asynchronous(process: &str) -> ExecuteRequest {
    request(process, ExecutionMode::Async)
}

fn synchronous(process: &str) -> ExecuteRequest {
    request(process, ExecutionMode::Sync)
}

/// An engine on a folder that goes with it.
struct Bench {
    engine: Engine,
    folder: TempDir,
}

impl Bench {
    async fn new(limits: Limits) -> Self {
        Self::with(limits, Quotas::default()).await
    }

    async fn with(limits: Limits, quotas: Quotas) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = open_with(folder.path(), limits, quotas).await;
        engine.registry().publish(echo());
        Self { engine, folder }
    }

    /// The data folder as it would be found after a crash at this moment.
    async fn crash(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        postgres::copy(self.folder.path(), copy.path());
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    async fn view_when(&self, id: JobId, holds: impl FnMut(&Arc<JobView>) -> bool) -> Arc<JobView> {
        let mut receiver = self.engine.watch(&Viewer::Operator, id).await.unwrap();
        let view = soon(receiver.wait_for(holds)).await.unwrap();
        Arc::clone(&view)
    }

    async fn running(&self, id: JobId) -> Arc<JobView> {
        let is_running =
            |view: &Arc<JobView>| matches!(view.job.state, anabranch_model::JobState::Running { .. });
        self.view_when(id, is_running).await
    }

    async fn finished(&self, id: JobId) -> Arc<JobView> {
        self.view_when(id, |view| view.job.is_finished()).await
    }
}

async fn open(folder: &Path, limits: Limits) -> Engine {
    open_with(folder, limits, Quotas::default()).await
}

async fn open_with(folder: &Path, limits: Limits, quotas: Quotas) -> Engine {
    let config = EngineConfig { data: folder.to_owned(), limits, quotas };
    let egress = Egress::new(Policy::default());
    if postgres::is_default() {
        return Engine::open_node(config, postgres::store(folder, postgres::ONLY), egress).await.unwrap();
    }
    Engine::open(config, egress).await.unwrap()
}

/// Files first: what the database speaks of is there when the folders are copied.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    // The results of a run that is repeated go while others are copied.
    let entries = std::fs::read_dir(from).map(Iterator::collect::<Vec<_>>);
    assert!(entries.is_ok() || !from.exists(), "{entries:?}");
    for entry in entries.unwrap_or_default() {
        let entry = entry.unwrap();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder { folders.push(entry) } else { files.push(entry) }
    }
    let is_data = |file: &std::fs::DirEntry| {
        let name = file.file_name();
        !name.to_string_lossy().ends_with("-shm") && !to.join(&name).exists()
    };
    for file in files.iter().filter(|file| is_data(file)) {
        // Half-written files get their name while others are copied.
        let copied = std::fs::copy(file.path(), to.join(file.file_name()));
        assert!(copied.is_ok() || !file.path().exists(), "{copied:?}");
    }
    for folder in folders.iter().filter(|folder| folder.path().exists()) {
        copy_folder(&folder.path(), &to.join(folder.file_name()));
    }
}
