//! Outputs that are kept less long than their job.

use super::*;
use crate::backup::{copy_files, copy_rows};
use crate::folders::Folders;
use crate::{Quota, Submitter, UsageOf};
use anabranch_model::{Outcome, OutputRequest, Transmission, UserName, Viewer};
use std::path::PathBuf;

const PLAYLIST: &str = "application/x-ogc-playlist+text/plain";
/// Beyond what is kept in a row.
const LARGE_BYTES: usize = 50_000;

/// Writes a literal, an image and a table, or three pieces of each where they are asked for as a stream.
fn maps() -> Arc<dyn Process> {
    let mut description = describe("maps", true);
    let formats = ["image/png", "text/csv"].map(Format::new);
    for (id, format) in ["image", "table"].into_iter().zip(formats) {
        let playlist = Format::new(PLAYLIST.replace("text/plain", &format.media_type));
        let data =
            DataDescription::Complex(ComplexDomain { formats: vec![format, playlist], bytes_max: None });
        description.outputs.push(OutputDescription::new(id, data));
    }
    let script = |execution: Execution| async move {
        execution.sink.started(None);
        let of = |media_type: &str| {
            Value::Complex(ComplexValue::new(
                Data::Bytes(vec![b'x'; LARGE_BYTES].into()),
                Format::new(media_type),
            ))
        };
        execution.sink.write("text", text("known")).await?;
        for _ in 0..execution.inputs.text("text").unwrap_or("1").parse().unwrap_or(1) {
            execution.sink.write("image", of("image/png")).await?;
        }
        execution.sink.write("table", of("text/csv")).await
    };
    Arc::new(Scripted {
        description: Arc::new(description),
        on_restart: OnRestart::Requeue,
        script: Box::new(move |execution| Box::pin(script(execution))),
    })
}

fn keep(classes: &[(&str, u64)]) -> Quotas {
    let outputs_keep_s = classes.iter().map(|(pattern, keep_s)| ((*pattern).into(), *keep_s)).collect();
    Quotas { server: Quota { outputs_keep_s, ..Quota::default() }, ..Quotas::default() }
}

fn anna() -> Submitter {
    Submitter { owner: Some(UserName::new("anna").unwrap()), ..Submitter::default() }
}

/// Its sweep comes when it is called.
fn limits() -> Limits {
    Limits { sweep_s: 3600, results_keep_s: 7200, ..Limits::default() }
}

async fn bench(classes: &[(&str, u64)]) -> Bench {
    let bench = Bench::with(limits(), keep(classes)).await;
    bench.engine.registry().publish(maps());
    bench
}

async fn ended(bench: &Bench, request: ExecuteRequest) -> Arc<JobView> {
    let mut job = bench.engine.submit(request, &anna()).await.unwrap();
    let view = soon(job.finished()).await;
    assert_eq!(view.job.state, anabranch_model::JobState::Finished(Outcome::Succeeded));
    view
}

fn stored_bytes(engine: &Engine) -> u64 {
    let of = UsageOf::User(Some(UserName::new("anna").unwrap()));
    engine.usage().into_iter().find(|usage| usage.of == of).unwrap().stored_bytes
}

/// The files of an output, or `None` without a folder.
fn files(folder: &Path, job: JobId, output: &str) -> Option<usize> {
    let shared = folder.join("shared");
    let root = if shared.exists() { shared } else { folder.to_owned() };
    let folder: PathBuf = root.join("results").join(job.to_string()).join(output);
    folder.exists().then(|| std::fs::read_dir(folder).unwrap().count())
}

async fn is_gone(engine: &Engine, job: JobId, name: &str) {
    let viewer = Viewer::Operator;
    let all = engine.results(&viewer, job).await.map(|_| ());
    let one = engine.output(&viewer, job, name).await.map(|_| ());
    let page = engine.chunks(&viewer, job, name, 0, 10).await.map(|_| ());
    for result in [all, one, page] {
        let Err(Error::OutputGone { job: of, output, .. }) = &result else { panic!("{result:?}") };
        assert_eq!((*of, output.as_str()), (job, name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_whose_class_is_over_goes_and_its_job_stays() {
    let bench = bench(&[("image/*", 0), ("text/csv", 600), ("application/*", 1)]).await;
    let view = ended(&bench, asynchronous("maps")).await;
    let job = view.job.id;
    let finished = view.job.finished.unwrap();
    let keeps =
        |output: &crate::OutputSummary| output.expires.map(|at| at.duration_since(finished).as_secs());
    // Text, data (not written), image, table.
    assert_eq!(view.outputs.iter().map(keeps).collect::<Vec<_>>(), [None, None, Some(0), Some(600)]);
    until(|| stored_bytes(&bench.engine) == 2 * LARGE_BYTES as u64 + 10).await;
    // Its time is over, whether its bytes are still there or not.
    is_gone(&bench.engine, job, "image").await;
    assert_eq!(files(bench.folder.path(), job, "image"), Some(1));
    bench.engine.0.sweep().await.unwrap();
    let copy = bench.crash().await;
    let again = open(copy.path(), limits()).await;
    for (engine, folder) in [(&bench.engine, bench.folder.path()), (&again, copy.path())] {
        is_gone(engine, job, "image").await;
        assert_eq!(files(folder, job, "image"), None);
        let view = engine.job(&Viewer::Operator, job).await.unwrap();
        assert_eq!(view.job.state, anabranch_model::JobState::Finished(Outcome::Succeeded));
        assert_eq!(view.outputs_expire(None, crate::clock::now()), view.outputs[3].expires, "the next one");
        assert_eq!(engine.output(&Viewer::Operator, job, "text").await.unwrap().chunks, [text("known")]);
        let table = engine.output(&Viewer::Operator, job, "table").await.unwrap();
        let Value::Complex(table) = &table.chunks[0] else { panic!("complex") };
        assert_eq!(table.data.read_all(1 << 20).unwrap().len(), LARGE_BYTES);
        until(|| stored_bytes(engine) == LARGE_BYTES as u64 + 10).await;
    }
    // What is left is given back with the job, and nothing twice.
    let by = anabranch_model::DismissedBy::Client;
    bench.engine.dismiss(&Viewer::Operator, job, by, DEADLINE).await.unwrap();
    assert_eq!(files(bench.folder.path(), job, "table"), None);
    ended(&bench, asynchronous("echo")).await;
    until(|| stored_bytes(&bench.engine) == 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_also_where_the_server_dies_after_their_rows() {
    let bench = bench(&[("image/*", 0)]).await;
    let job = ended(&bench, asynchronous("maps")).await.job.id;
    assert_eq!(bench.engine.0.expire_outputs().await.unwrap().len(), 1);
    let copy = bench.crash().await;
    assert_eq!(files(copy.path(), job, "image"), Some(1), "it died before it could remove them");
    let again = open(copy.path(), limits()).await;
    until(|| files(copy.path(), job, "image").is_none()).await;
    assert_eq!(files(copy.path(), job, "table"), Some(1));
    again.0.sweep().await.unwrap();
    assert!(again.0.expire_outputs().await.unwrap().is_empty(), "nothing is due any more");
    is_gone(&again, job, "image").await;
    until(|| stored_bytes(&again) == LARGE_BYTES as u64 + 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_such_a_class_goes_whole() {
    let bench = bench(&[("image/*", 0)]).await;
    let format =
        FormatHint { media_type: Some(PLAYLIST.replace("text/plain", "image/png")), ..FormatHint::default() };
    let output =
        OutputRequest { id: "image".into(), format, transmission: Transmission::Reference, uom: None };
    let request =
        ExecuteRequest { inputs: vec![item("text", "3")], outputs: vec![output], ..asynchronous("maps") };
    let view = ended(&bench, request).await;
    let job = view.job.id;
    assert_eq!((view.outputs[0].chunks, files(bench.folder.path(), job, "image")), (3, Some(3)));
    bench.engine.0.sweep().await.unwrap();
    is_gone(&bench.engine, job, "image").await;
    assert_eq!(files(bench.folder.path(), job, "image"), None);
    if !postgres::is_default() {
        let report = crate::check_store(bench.folder.path()).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_outputs_go_has_their_job() {
    if postgres::is_default() {
        return;
    }
    let bench = bench(&[("image/*", 0)]).await;
    let job = ended(&bench, asynchronous("maps")).await.job.id;
    let to = tempfile::tempdir().unwrap();
    let [from, copy] = [bench.folder.path(), to.path()].map(|path| Folders::new(path.to_owned(), None));
    let source = copy_rows(&from, &copy).unwrap();
    bench.engine.0.sweep().await.unwrap();
    let copied = copy_files(&from, &copy, &source).unwrap();
    assert_eq!((copied.jobs, copied.removed, copied.damaged), (1, 0, vec![]));
    let again = open(to.path(), limits()).await;
    is_gone(&again, job, "image").await;
    assert_eq!(again.output(&Viewer::Operator, job, "text").await.unwrap().chunks, [text("known")]);
}
