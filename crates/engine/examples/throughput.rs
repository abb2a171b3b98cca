//! How many jobs a second the engine takes, records and ends, without any protocol on top.
//!
//! ```sh
//! cargo run --release -p anabranch-engine --example throughput [FOLDER [POSTGRES]]
//! ```
//!
//! Two loads: clients that wait for each answer (synchronous echo), and many asynchronous jobs submitted at once. Measure on
//! the disk that matters: FOLDER is where the database lies, or POSTGRES is its address: `postgres://user@host/database`.
#![allow(clippy::print_stdout)] // its output is its purpose

use anabranch_egress::{Egress, Policy};
use anabranch_engine::{Engine, EngineConfig, Limits, PostgresAccess, PostgresStore, Quotas, Submitter};
use anabranch_model::{
    Algorithm, AlgorithmSink, DataDescription, Error, ExecuteRequest, ExecutionMode, FormatHint, InputData,
    InputDescription, InputItem, Inputs, LiteralDomain, LiteralType, LiteralValue, Occurs, OutputDescription,
    ProcessDescription, ProcessId, ResponseForm, TextForm, Value,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;
const JOBS_PER_CLIENT: usize = 5000;
const BURST: usize = 500;

struct Echo(Arc<ProcessDescription>);

impl Algorithm for Echo {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.0)
    }

    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let text = inputs.text("text").unwrap_or_default();
        sink.write("text", Value::Literal(LiteralValue::new(LiteralType::String, text)))
    }
}

fn description(id: ProcessId) -> ProcessDescription {
    let text = DataDescription::Literal(LiteralDomain::any(LiteralType::String));
    ProcessDescription {
        title: "Echo".into(),
        inputs: vec![InputDescription {
            title: "Text".into(),
            ..InputDescription::new("text", Occurs::ONE, text.clone())
        }],
        outputs: vec![OutputDescription { title: "Text".into(), ..OutputDescription::new("text", text) }],
        idempotent: true,
        ..ProcessDescription::new(id)
    }
}

fn request(process: &ProcessId, mode: ExecutionMode) -> ExecuteRequest {
    ExecuteRequest {
        process: process.clone(),
        inputs: vec![InputItem {
            id: "text".into(),
            data: InputData::Text { text: "hello, river".into(), form: TextForm::Untyped },
            format: FormatHint::default(),
            data_type: None,
            uom: None,
        }],
        outputs: Vec::new(),
        mode,
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let default = std::env::temp_dir().join(format!("anabranch-throughput-{}", std::process::id()));
    let folder = std::env::args().nth(1).map_or(default, PathBuf::from);
    let config = EngineConfig { data: folder.clone(), limits: Limits::default(), quotas: Quotas::default() };
    let egress = Egress::new(Policy::default());
    let engine = match std::env::args().nth(2) {
        None => Engine::open(config, egress).await?,
        Some(address) => {
            let access = PostgresAccess::new(&address, None, None)?;
            let store = PostgresStore { access, node: "only".into(), folder: None };
            Engine::open_node(config, store, egress).await?
        }
    };
    let echo = ProcessId::new("echo")?;
    engine.registry().publish_algorithm(Arc::new(Echo(Arc::new(description(echo.clone())))));
    engine.recover().await?;

    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(engine.clone(), echo.clone()))).collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await??);
    }
    report("synchronous, 16 clients", start.elapsed(), times);

    for _ in 0..5 {
        let start = Instant::now();
        let jobs: Vec<_> =
            (0..BURST).map(|_| tokio::spawn(submitted(engine.clone(), echo.clone()))).collect();
        let mut times = Vec::new();
        for job in jobs {
            times.push(job.await??);
        }
        report("asynchronous, 500 at once", start.elapsed(), times);
    }
    engine.shutdown(Duration::from_secs(10)).await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn client(engine: Engine, echo: ProcessId) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::with_capacity(JOBS_PER_CLIENT);
    for _ in 0..JOBS_PER_CLIENT {
        let start = Instant::now();
        let mut job = engine.submit(request(&echo, ExecutionMode::Sync), &Submitter::default()).await?;
        job.finished().await;
        let results = job.results()?;
        assert_eq!(results.outputs.len(), 1);
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn submitted(engine: Engine, echo: ProcessId) -> Result<Duration, Failure> {
    let start = Instant::now();
    let mut job = engine.submit(request(&echo, ExecutionMode::Async), &Submitter::default()).await?;
    let accepted = start.elapsed();
    job.finished().await;
    job.results()?;
    Ok(accepted)
}

#[allow(clippy::cast_precision_loss)] // numbers for people
fn report(load: &str, took: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let per_second = times.len() as f64 / took.as_secs_f64();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!(
        "{load}: {} jobs in {took:.2?}, {per_second:.0} jobs/s, answer p50 {p50:.2?}, p99 {p99:.2?}",
        times.len()
    );
}
