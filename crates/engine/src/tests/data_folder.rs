//! A data folder seen from outside: checked, repaired, copied while it is written to, made anew.

use super::*;
use crate::{
    CheckError, CopyError, Finding, JobFilter, Submitter, back_up, check_store, repair_store, restore,
};
use anabranch_model::{JobState, Outcome, Viewer};
use std::fs;

/// Puts out a file.
fn large() -> Arc<dyn Process> {
    scripted("large", OnRestart::Requeue, |execution| async move {
        execution.sink.write("data", bytes(vec![b'x'; 50_000])).await?;
        execution.sink.write("text", text("done")).await
    })
}

/// A folder with a finished job that has a file, and nobody in it.
async fn left_behind() -> (TempDir, JobId) {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(large());
    let mut job = bench.engine.submit(asynchronous("large"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert!(check_store(bench.folder.path()).unwrap().in_use);
    assert!(matches!(repair_store(bench.folder.path()), Err(CheckError::InUse(_))));
    let id = job.id();
    bench.engine.shutdown(DEADLINE).await;
    (bench.crash().await, id)
}

fn findings(data: &Path) -> Vec<String> {
    check_store(data).unwrap().findings.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_database_and_files_disagree_on_is_found() {
    let (data, id) = left_behind().await;
    let data = data.path();
    let report = check_store(data).unwrap();
    assert_eq!((report.jobs, report.files, report.in_use), (1, 1, false));
    assert_eq!(findings(data), [] as [&str; 0]);
    let file = data.join(format!("results/{id}/data/0"));
    fs::write(&file, "short").unwrap();
    assert_eq!(findings(data), [format!("job {id}: results/{id}/data/0 has 5 bytes instead of 50000")]);
    fs::remove_file(&file).unwrap();
    assert_eq!(findings(data), [format!("job {id}: results/{id}/data/0 is missing")]);
    let database = rusqlite::Connection::open(data.join("jobs.sqlite")).unwrap();
    database.execute("DELETE FROM chunks WHERE output=1", []).unwrap();
    assert_eq!(findings(data), [format!("job {id}: output 'data' has 0 chunks and tells of 1")]);
    database.pragma_update(None, "user_version", 999).unwrap();
    assert!(findings(data)[0].contains("schema 999"));
    assert!(matches!(check_store(&data.join("nowhere")), Err(CheckError::NoStore(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_removes_what_belongs_to_no_job_and_nothing_else() {
    let (data, id) = left_behind().await;
    let (data, lost) = (data.path(), JobId::random());
    fs::create_dir_all(data.join(format!("results/{lost}/data"))).unwrap();
    fs::create_dir_all(data.join(format!("jobs/{lost}"))).unwrap();
    fs::write(data.join(format!("results/{id}/data/7")), "x").unwrap();
    fs::write(data.join(format!("results/{id}/data/.part-3")), "x").unwrap();
    let database = rusqlite::Connection::open(data.join("jobs.sqlite")).unwrap();
    database.execute("INSERT INTO requests (sequence, request) VALUES (77, '{}')", []).unwrap();
    drop(database);
    let found = check_store(data).unwrap().findings;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().all(Finding::is_orphan));
    assert_eq!(repair_store(data).unwrap().findings, found);
    assert_eq!(findings(data), [] as [&str; 0]);
    fs::remove_file(data.join(format!("results/{id}/data/0"))).unwrap();
    repair_store(data).unwrap();
    assert_eq!(findings(data).len(), 1, "what is missing is not mended by forgetting it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_under_load_is_whole() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(large());
    fs::write(bench.folder.path().join("agent-data.key"), "secret").unwrap();
    let mut before = bench.engine.submit(asynchronous("large"), &Submitter::default()).await.unwrap();
    soon(before.finished()).await;
    let engine = bench.engine.clone();
    // Others come, and go again.
    let load = tokio::spawn(async move {
        loop {
            let mut job = engine.submit(asynchronous("large"), &Submitter::default()).await.unwrap();
            soon(job.finished()).await;
            engine
                .dismiss(&Viewer::Operator, job.id(), anabranch_model::DismissedBy::Client, Duration::ZERO)
                .await
                .unwrap();
            drop(engine.submit(asynchronous("large"), &Submitter::default()).await.unwrap());
        }
    });
    let place = tempfile::tempdir().unwrap();
    let (data, copy, back) = (bench.folder.path(), place.path().join("copy"), place.path().join("back"));
    for round in 0..5 {
        fs::remove_dir_all(&copy).ok();
        fs::remove_dir_all(&back).ok();
        let copied = back_up(data, &copy).unwrap();
        assert_eq!(copied.damaged, []);
        assert!(matches!(back_up(data, &copy), Err(CopyError::Exists(_))));
        let restored = restore(&copy, &back).unwrap();
        assert_eq!((restored.jobs, restored.files), (copied.jobs, copied.files));
        // Chunks of what was removed or still ran may be missing, of what had ended nothing is.
        let lacking = check_store(&back).unwrap().findings;
        assert!(
            lacking.iter().all(|finding| !matches!(finding, Finding::Damaged(_))),
            "{round}: {lacking:?}"
        );
        assert_eq!(fs::read_to_string(back.join("agent-data.key")).unwrap(), "secret");
        let engine = open(&back, Limits::default()).await;
        engine.registry().publish(large());
        engine.recover().await.unwrap();
        for view in engine.jobs(&Viewer::Operator, JobFilter::all()).await.unwrap().jobs {
            let mut watched = engine.watch(&Viewer::Operator, view.job.id).await.unwrap();
            let end = soon(watched.wait_for(|view| view.job.is_finished())).await.unwrap().clone();
            assert_eq!(end.job.state, JobState::Finished(Outcome::Succeeded));
            let results = engine.results(&Viewer::Operator, view.job.id).await.unwrap();
            let Value::Complex(data) = &results.output("data").unwrap().chunks[0] else { panic!("complex") };
            assert_eq!(data.data.read_all(1 << 20).unwrap().len(), 50_000);
        }
        assert_eq!(engine.job(&Viewer::Operator, before.id()).await.unwrap(), before.view());
        engine.shutdown(DEADLINE).await;
        drop(engine);
    }
    load.abort();
}
