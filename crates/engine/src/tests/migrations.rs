//! Stores of every older version: `stores/N.sql` is what version N of the schema left, and is never changed.

use super::*;
use crate::store::schema;
use crate::{JobFilter, Recovered};
use anabranch_model::{JobState, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_every_older_version_is_taken_over() {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/stores");
    for version in 1..schema::known() {
        let file = stores.join(format!("{version}.sql"));
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("version {version} needs {}: {error}", file.display()));
        let data = tempfile::tempdir().unwrap();
        let old = rusqlite::Connection::open(data.path().join("jobs.sqlite")).unwrap();
        old.execute_batch(&text).unwrap();
        drop(old);
        taken_over(data.path(), version).await;
    }
}

async fn taken_over(data: &Path, version: usize) {
    let engine = open(data, Limits::default()).await;
    engine.registry().publish(echo());
    let recovered = engine.recover().await.unwrap();
    assert_eq!(recovered, Recovered { queued: 2, ..Recovered::default() }, "version {version}");
    let page = engine.jobs(&Viewer::Operator, JobFilter::all()).await.unwrap();
    let mut states = Vec::new();
    for view in page.jobs.iter().rev() {
        let mut watched = engine.watch(&Viewer::Operator, view.job.id).await.unwrap();
        let end = soon(watched.wait_for(|view| view.job.is_finished())).await.unwrap().clone();
        states.push(end.job.state.clone());
    }
    let succeeded = JobState::Finished(Outcome::Succeeded);
    let failed = JobState::Finished(Outcome::Failed(Error::process_failed("exit code 1")));
    assert_eq!(states, [succeeded.clone(), failed, succeeded.clone(), succeeded], "version {version}");
    let first = page.jobs.last().unwrap().job.id;
    let results = engine.results(&Viewer::Operator, first).await.unwrap();
    assert_eq!(results.outputs[0].chunks, [text("hello")], "version {version}");
    engine.shutdown(DEADLINE).await;
    drop(engine);
    let report = crate::check_store(data).unwrap();
    assert_eq!(report.findings, std::collections::BTreeSet::default(), "version {version}");
}
