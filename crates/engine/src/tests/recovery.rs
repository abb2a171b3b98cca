//! Crashes: the data folder is copied while the engine runs, and another engine is opened on the copy.

use super::*;
use crate::Recovered;
use crate::Submitter;
use anabranch_model::{DismissedBy, JobState, Outcome, Viewer};
use std::sync::atomic::{AtomicU32, Ordering};

async fn outcome(engine: &Engine, id: JobId) -> Arc<JobView> {
    let mut receiver = engine.watch(&Viewer::Operator, id).await.unwrap();
    let view = soon(receiver.wait_for(|view| view.job.is_finished())).await.unwrap();
    Arc::clone(&view)
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_and_waiting_jobs_survive_a_crash() {
    let bench = Bench::new(Limits { parallel_runs_max: 1, ..Limits::default() }).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let mut done = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    let view = soon(done.finished()).await;
    let running = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    bench.running(running.id()).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap().id());
    }
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits { parallel_runs_max: 1, ..Limits::default() }).await;
    engine.registry().publish(echo());
    engine.registry().publish(endless("endless", OnRestart::Fail));
    assert_eq!(engine.job(&Viewer::Operator, done.id()).await.unwrap(), view, "before recovery too");
    let recovered = engine.recover().await.unwrap();
    assert_eq!(recovered, Recovered { queued: 5, reattached: 0, waiting: 0, ended: 1 });
    let mut ends = Vec::new();
    for id in waiting {
        let view = outcome(&engine, id).await;
        assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
        ends.push(view.job.finished.unwrap());
    }
    assert!(ends.is_sorted(), "in order");
    outcome(&engine, running.id()).await;
    assert!(matches!(engine.results(&Viewer::Operator, running.id()).await, Err(Error::Interrupted { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_runs_are_repeated_and_forget_what_they_wrote() {
    let bench = Bench::new(Limits::default()).await;
    let stuck = scripted("stuck", OnRestart::Requeue, |execution| async move {
        execution.sink.started(None);
        execution.sink.write("data", bytes(format!("attempt {}", execution.attempt))).await?;
        execution.sink.write("data", bytes(vec![b'x'; 100_000])).await?;
        if execution.attempt == 1 {
            execution.sink.cancelled().await;
        }
        Ok(())
    });
    bench.engine.registry().publish(Arc::clone(&stuck));
    let job = bench.engine.submit(asynchronous("stuck"), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[1].chunks == 2).await;
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits::default()).await;
    engine.registry().publish(stuck);
    assert_eq!(engine.recover().await.unwrap().queued, 1);
    let view = outcome(&engine, job.id()).await;
    assert_eq!((view.job.attempt, view.outputs[1].chunks), (2, 2));
    let results = engine.results(&Viewer::Operator, job.id()).await.unwrap();
    let Value::Complex(small) = &results.outputs[0].chunks[0] else { panic!("complex") };
    assert_eq!(small.data, Data::Bytes("attempt 2".into()));
    let Value::Complex(large) = &results.outputs[0].chunks[1] else { panic!("complex") };
    let root = std::fs::canonicalize(copy.path()).unwrap();
    assert!(large.data.path().unwrap().starts_with(root), "files are found in a folder that was moved");
    assert_eq!(large.data.read_all(1 << 20).unwrap().len(), 100_000);

    // A job that kills every server is not repeated for ever.
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits { attempts_max: 1, ..Limits::default() }).await;
    engine.registry().publish(echo());
    assert_eq!(engine.recover().await.unwrap().ended, 1);
    outcome(&engine, job.id()).await;
    assert!(matches!(engine.results(&Viewer::Operator, job.id()).await, Err(Error::Interrupted { .. })));
}

/// Lives on elsewhere: writes one chunk, and when found again one more.
fn remote(resumed: Arc<AtomicU32>) -> Arc<dyn Process> {
    scripted("far:remote", OnRestart::Reattach, move |execution| {
        let resumed = Arc::clone(&resumed);
        async move {
            if execution.resume {
                resumed.fetch_add(1, Ordering::SeqCst);
                if execution.sink.is_cancelled() {
                    return Err(Error::Dismissed);
                }
                return execution.sink.write("data", bytes(vec![b'2'; 50_000])).await;
            }
            execution.sink.started(Some("agent 1"));
            execution.sink.write("data", bytes(vec![b'1'; 50_000])).await?;
            execution.sink.cancelled().await;
            Err(Error::Dismissed)
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_elsewhere_are_found_again_when_their_process_is_back() {
    let bench = Bench::new(Limits::default()).await;
    let resumed = Arc::new(AtomicU32::new(0));
    bench.engine.registry().publish(remote(Arc::clone(&resumed)));
    let job = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[1].chunks == 1).await;
    let copy = bench.crash().await;
    // What a crash between a file and its entry leaves.
    let stray = copy.path().join("results").join(job.id().to_string()).join("data");
    std::fs::write(stray.join("1"), "half").unwrap();
    std::fs::write(stray.join(".part-7"), "ha").unwrap();
    std::fs::create_dir_all(copy.path().join("jobs").join(JobId::random().to_string())).unwrap();
    let engine = open(copy.path(), Limits::default()).await;
    let recovered = engine.recover().await.unwrap();
    assert_eq!(recovered, Recovered { queued: 0, reattached: 1, waiting: 1, ended: 0 });
    until(|| {
        engine.counts() == crate::Counts { queued: 1, running: 0, processes: engine.counts().processes }
    })
    .await;
    assert!(!stray.join("1").exists() && !stray.join(".part-7").exists());
    let view = engine.job(&Viewer::Operator, job.id()).await.unwrap();
    assert!(matches!(view.job.state, JobState::Running { .. }), "it never stopped running");
    engine.registry().publish(remote(Arc::clone(&resumed)));
    let view = outcome(&engine, job.id()).await;
    assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
    assert_eq!((view.job.attempt, view.outputs[1].chunks, resumed.load(Ordering::SeqCst)), (1, 2, 1));
    let results = engine.results(&Viewer::Operator, job.id()).await.unwrap();
    for (chunk, digit) in results.outputs[0].chunks.iter().zip([b'1', b'2']) {
        let Value::Complex(chunk) = chunk else { panic!("complex") };
        assert!(chunk.data.read_all(1 << 20).unwrap().iter().all(|byte| *byte == digit));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_ends_the_log_before_it() {
    let bench = Bench::new(Limits::default()).await;
    let resumed = Arc::new(AtomicU32::new(0));
    bench.engine.registry().publish(remote(Arc::clone(&resumed)));
    let job = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[1].chunks == 1).await;
    let copy = bench.crash().await;
    std::fs::remove_file(copy.path().join("results").join(job.id().to_string()).join("data/0")).unwrap();
    let engine = open(copy.path(), Limits { cache_bytes_max: 0, ..Limits::default() }).await;
    engine.registry().publish(remote(resumed));
    engine.recover().await.unwrap();
    let view = outcome(&engine, job.id()).await;
    assert_eq!(view.outputs[1].chunks, 1);
    until(|| engine.0.board.find(job.id()).is_none()).await;
    let results = engine.results(&Viewer::Operator, job.id()).await.unwrap();
    let Value::Complex(chunk) = &results.outputs[0].chunks[0] else { panic!("complex") };
    assert!(chunk.data.read_all(1 << 20).unwrap().starts_with(b"2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_come_back_fails_its_jobs() {
    let bench = Bench::new(Limits { parallel_runs_max: 1, ..Limits::default() }).await;
    bench.engine.registry().publish(remote(Arc::default()));
    let running = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    bench.view_when(running.id(), |view| view.outputs[1].chunks == 1).await;
    let waiting = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits { reattach_ms_max: 30, ..Limits::default() }).await;
    assert_eq!(engine.recover().await.unwrap().waiting, 2);
    outcome(&engine, running.id()).await;
    assert!(matches!(engine.results(&Viewer::Operator, running.id()).await, Err(Error::AgentLost { .. })));
    outcome(&engine, waiting.id()).await;
    assert!(matches!(engine.results(&Viewer::Operator, waiting.id()).await, Err(Error::NoSuchProcess(_))));
    until(|| engine.counts().queued == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dismissal_survives_a_crash() {
    let bench = Bench::new(Limits::default()).await;
    let resumed = Arc::new(AtomicU32::new(0));
    // Deaf to cancellation, so that the crash comes before the end.
    bench.engine.registry().publish(scripted("far:remote", OnRestart::Reattach, |execution| async move {
        execution.sink.started(None);
        std::future::pending().await
    }));
    let job = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    bench.running(job.id()).await;
    bench.engine.dismiss(&Viewer::Operator, job.id(), DismissedBy::Operator, Duration::ZERO).await.unwrap();
    let is_dismissing =
        |view: &Arc<JobView>| matches!(view.job.state, JobState::Running { dismissing: Some(_), .. });
    bench.view_when(job.id(), is_dismissing).await;
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits::default()).await;
    engine.recover().await.unwrap();
    engine.registry().publish(remote(Arc::clone(&resumed)));
    let view = outcome(&engine, job.id()).await;
    assert_eq!(view.job.state, JobState::Finished(Outcome::Dismissed(DismissedBy::Operator)));
    assert_eq!(resumed.load(Ordering::SeqCst), 1, "the agent was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_go_of_runs_elsewhere_and_repeats_idempotent_ones() {
    let bench = Bench::new(Limits::default()).await;
    let resumed = Arc::new(AtomicU32::new(0));
    bench.engine.registry().publish(remote(Arc::clone(&resumed)));
    bench.engine.registry().publish(endless("again", OnRestart::Requeue));
    let far = bench.engine.submit(asynchronous("far:remote"), &Submitter::default()).await.unwrap();
    let again = bench.engine.submit(asynchronous("again"), &Submitter::default()).await.unwrap();
    bench.view_when(far.id(), |view| view.outputs[1].chunks == 1).await;
    bench.running(again.id()).await;
    soon(bench.engine.shutdown(Duration::ZERO)).await;
    let folder = bench.folder;
    drop((bench.engine, far.watch(), again.watch()));
    let (far, again) = (far.id(), again.id());
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let engine = open(copy.path(), Limits::default()).await;
    engine.registry().publish(scripted("again", OnRestart::Requeue, |execution| async move {
        execution.sink.write("text", text("done")).await
    }));
    engine.registry().publish(remote(Arc::clone(&resumed)));
    let recovered = engine.recover().await.unwrap();
    assert_eq!(recovered, Recovered { queued: 1, reattached: 1, waiting: 0, ended: 0 });
    assert_eq!(outcome(&engine, far).await.outputs[1].chunks, 2);
    let view = outcome(&engine, again).await;
    assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
    assert!(view.job.requeued.as_ref().unwrap().contains("shut down"), "{view:?}");
}
