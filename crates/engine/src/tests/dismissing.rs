//! Jobs ended by request, and jobs whose time is over.

use super::*;
use crate::Submitter;
use anabranch_model::{DismissedBy, JobState, Outcome, Removal, Viewer};

const BY: DismissedBy = DismissedBy::Client;

fn is_dismissed(view: &JobView) -> bool {
    view.job.state == JobState::Finished(Outcome::Dismissed(BY))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_dismissed_at_once() {
    let bench = Bench::new(Limits { parallel_runs_max: 1, ..Limits::default() }).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let first = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    let second = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    bench.running(first.id()).await;
    let view = soon(bench.engine.dismiss(&Viewer::Operator, second.id(), BY, Duration::ZERO)).await.unwrap();
    assert!(is_dismissed(&view));
    assert_eq!(bench.engine.counts().queued, 0);
    assert_eq!(bench.engine.results(&Viewer::Operator, second.id()).await.err(), Some(Error::Dismissed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_dismissed_when_its_work_has_ended_and_leaves_nothing() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(scripted("works", OnRestart::Fail, |execution| async move {
        execution.sink.write("data", bytes(vec![b'x'; 100_000])).await?;
        execution.sink.cancelled().await;
        assert!(execution.sink.write("text", text("late")).await.is_err());
        Err(Error::Dismissed)
    }));
    let job = bench.engine.submit(asynchronous("works"), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[1].chunks == 1).await;
    let view = soon(bench.engine.dismiss(&Viewer::Operator, job.id(), BY, DEADLINE)).await.unwrap();
    assert!(is_dismissed(&view));
    assert_eq!(view.outputs[1].chunks, 0);
    assert_eq!(
        bench.engine.chunks(&Viewer::Operator, job.id(), "data", 0, 1).await.err(),
        Some(Error::Dismissed)
    );
    let files = bench.folder.path().join("results").join(job.id().to_string());
    until(|| !files.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dismissed_is_never_said_of_work_that_goes_on() {
    let bench = Bench::new(Limits { dismiss_ms_max: 20, ..Limits::default() }).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("stubborn", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            execution.sink.started(None);
            gone.wait_for(|go| *go).await.unwrap();
            execution.sink.write("text", text("too late")).await
        }
    }));
    let job = bench.engine.submit(asynchronous("stubborn"), &Submitter::default()).await.unwrap();
    bench.running(job.id()).await;
    let view =
        soon(bench.engine.dismiss(&Viewer::Operator, job.id(), BY, Duration::from_millis(50))).await.unwrap();
    assert!(matches!(view.job.state, JobState::Running { dismissing: Some(BY), .. }));
    let mut lines = bench.engine.watch_log(&Viewer::Operator, job.id()).await.unwrap();
    soon(lines.wait_for(|lines| *lines > 0)).await.unwrap();
    let log = bench.engine.log(&Viewer::Operator, job.id(), 0, 1).await.unwrap();
    assert!(log.lines[0].text.contains("the work has not ended"), "{log:?}");
    go.send(true).unwrap();
    assert!(is_dismissed(&*bench.finished(job.id()).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_is_removed_once_with_all_it_left() {
    for cache_bytes_max in [0, 1 << 20] {
        let bench = Bench::new(Limits { cache_bytes_max, ..Limits::default() }).await;
        bench.engine.registry().publish(scripted("works", OnRestart::Fail, |execution| async move {
            execution.sink.write("data", bytes(vec![b'x'; 100_000])).await
        }));
        let mut job = bench.engine.submit(asynchronous("works"), &Submitter::default()).await.unwrap();
        soon(job.finished()).await;
        let files = bench.folder.path().join("results").join(job.id().to_string());
        assert!(files.exists());
        let view = soon(bench.engine.dismiss(&Viewer::Operator, job.id(), BY, Duration::ZERO)).await.unwrap();
        assert!(is_dismissed(&view));
        assert!(!files.exists());
        assert!(matches!(
            bench.engine.job(&Viewer::Operator, job.id()).await,
            Err(Error::Gone { why: Removal::Dismissed, .. })
        ));
        let again = bench.engine.dismiss(&Viewer::Operator, job.id(), BY, Duration::ZERO).await;
        assert!(matches!(again, Err(Error::Gone { why: Removal::Dismissed, .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_go_when_they_expire_or_are_too_many() {
    let keep = Limits { finished_jobs_max: 3, sweep_s: 3600, ..Limits::default() };
    let bench = Bench::new(keep).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let running = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let mut job = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
        soon(job.finished()).await;
        ids.push(job.id());
    }
    // That of the start may have come late, and have taken some of the two.
    assert!(bench.engine.0.sweep().await.unwrap() <= 2);
    assert!(bench.engine.job(&Viewer::Operator, ids[1]).await.is_err());
    assert!(bench.engine.job(&Viewer::Operator, ids[2]).await.is_ok());
    assert!(bench.engine.job(&Viewer::Operator, running.id()).await.is_ok());

    let bench = Bench::new(Limits { results_keep_s: 0, sweep_s: 1, ..Limits::default() }).await;
    let mut job = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    soon(async {
        while bench.engine.job(&Viewer::Operator, job.id()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
