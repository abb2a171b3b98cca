//! Many at once, and a store that fails.

use super::*;
use crate::JobFilter;
use crate::Submitter;
use anabranch_model::{DismissedBy, Outcome, Viewer};
use anabranch_model::{Job, JobEvent, JobState};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_jobs_at_once_none_is_lost() {
    let bench = Bench::new(Limits { parallel_runs_max: 50, ..Limits::default() }).await;
    let submit = |mode| {
        let engine = bench.engine.clone();
        tokio::spawn(async move {
            let mut job = engine.submit(request("echo", mode), &Submitter::default()).await.unwrap();
            soon(job.finished()).await;
            assert_eq!(job.results().unwrap().outputs[0].chunks, [text("hello")]);
            job.id()
        })
    };
    let modes = (0..1000).map(|n| if n % 2 == 0 { ExecutionMode::Sync } else { ExecutionMode::Async });
    let jobs: Vec<_> = modes.map(submit).collect();
    for job in jobs {
        job.await.unwrap();
    }
    let page =
        bench.engine.jobs(&Viewer::Operator, JobFilter { limit: 2000, ..JobFilter::all() }).await.unwrap();
    assert_eq!(page.jobs.len(), 1000);
    assert!(page.jobs.iter().all(|view| view.job.state == JobState::Finished(Outcome::Succeeded)));
    until(|| bench.engine.counts().running == 0).await;
    assert_eq!(bench.engine.counts().queued, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_refuses_new_jobs_and_delays_the_rest() {
    let bench = Bench::new(Limits::default()).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("gated", OnRestart::Requeue, move |execution| {
        let mut gone = gone.clone();
        async move {
            execution.sink.started(None);
            gone.wait_for(|go| *go).await.unwrap();
            execution.sink.write("data", bytes(vec![b'x'; 50_000])).await?;
            execution.sink.write("text", text("kept")).await
        }
    }));
    let mut job = bench.engine.submit(asynchronous("gated"), &Submitter::default()).await.unwrap();
    bench.running(job.id()).await;
    bench.engine.0.board.faults.store(u32::MAX, Ordering::SeqCst);
    let refused = soon(bench.engine.submit(asynchronous("echo"), &Submitter::default())).await;
    assert!(matches!(refused, Err(Error::NotEnoughStorage { .. })));
    let refused = soon(bench.engine.submit(synchronous("echo"), &Submitter::default())).await;
    assert!(matches!(refused, Err(Error::NotEnoughStorage { .. })));
    go.send(true).unwrap();
    until(|| bench.engine.counts().running == 0).await;
    assert!(!job.view().job.is_finished(), "its end is not written down, so it is not told");
    bench.engine.0.board.faults.store(0, Ordering::SeqCst);
    let view = soon(job.finished()).await;
    assert_eq!((view.outputs[0].chunks, view.outputs[1].chunks), (1, 1));
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits::default()).await;
    assert_eq!(engine.job(&Viewer::Operator, job.id()).await.unwrap(), view);
    assert_eq!(engine.jobs(&Viewer::Operator, JobFilter::all()).await.unwrap().jobs.len(), 1);
}

/// Random events, a crash at a random moment: the store holds what was last shown, or later.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_never_lags_behind_what_was_shown() {
    for seed in 1..=20_u64 {
        let bench = Bench::new(Limits { progress_write_ms_min: 0, ..Limits::default() }).await;
        bench.engine.registry().publish(scripted(
            "random",
            OnRestart::Requeue,
            move |execution| async move {
                let mut random = seed * 7919 + u64::from(execution.attempt);
                let mut next = |below: u64| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) % below
                };
                for _ in 0..next(60) {
                    match next(6) {
                        0 => execution.sink.started(Some("a")),
                        1 => execution.sink.progress(next(100) as f32, None),
                        2 => execution.sink.write("text", text("t")).await?,
                        3 => execution.sink.write("data", bytes(vec![b'x'; next(40_000) as usize])).await?,
                        4 => execution.sink.sleep(Duration::from_millis(next(6))).await,
                        _ => tokio::task::yield_now().await,
                    }
                }
                match next(4) {
                    0 => Err(Error::process_failed("by chance")),
                    1 => Err(Error::AgentLost { reason: "by chance".into() }),
                    _ => Ok(()),
                }
            },
        ));
        let mut jobs = Vec::new();
        for _ in 0..8 {
            jobs.push(bench.engine.submit(asynchronous("random"), &Submitter::default()).await.unwrap());
        }
        if seed % 2 == 0 {
            let first = jobs.remove(0);
            let view = bench
                .engine
                .dismiss(&Viewer::Operator, first.id(), DismissedBy::Client, Duration::ZERO)
                .await
                .unwrap();
            // One that had finished before has been removed.
            if bench.engine.job(&Viewer::Operator, view.job.id).await.is_ok() {
                jobs.push(first);
            }
        }
        bench.engine.0.board.faults.store(seed as u32 % 3, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(seed * 2)).await; // the moment of the crash
        let shown: Vec<_> = jobs.iter().map(crate::JobHandle::view).collect();
        let copy = bench.crash().await;
        let engine = open(copy.path(), Limits::default()).await;
        for view in shown {
            let stored = engine.job(&Viewer::Operator, view.job.id).await.unwrap();
            if view.job.is_finished() {
                assert_eq!(stored, view, "seed {seed}");
            }
            assert!(stored.job.attempt >= view.job.attempt, "seed {seed}");
            if stored.job.attempt == view.job.attempt && !stored.job.is_finished() {
                let counts = stored.outputs.iter().zip(view.outputs.iter());
                assert!(
                    counts.into_iter().all(|(stored, shown)| stored.chunks >= shown.chunks),
                    "seed {seed}"
                );
                assert!(rank(&stored.job) >= rank(&view.job), "seed {seed}");
            }
        }
        engine.registry().publish(scripted("random", OnRestart::Requeue, |execution| async move {
            execution.sink.write("text", text("t")).await
        }));
        engine.recover().await.unwrap();
        for job in &jobs {
            let mut receiver = engine.watch(&Viewer::Operator, job.id()).await.unwrap();
            soon(receiver.wait_for(|view| view.job.is_finished())).await.unwrap();
        }
    }
}

fn rank(job: &Job) -> u8 {
    match job.state {
        JobState::Accepted => 0,
        JobState::Running { .. } => 1,
        JobState::Finished(_) => 2,
    }
}

/// Whatever comes in whatever order, a job ends once, and its percentage never falls within an attempt.
#[test]
fn random_events_keep_the_rules_of_a_job() {
    let mut random = 42_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..2000 {
        let id = ProcessId::new("p").unwrap();
        let mut job = Job::new(JobId::random(), id, anabranch_model::Timestamp::UNIX_EPOCH);
        for _ in 0..20 {
            let before = job.clone();
            let now = anabranch_model::Timestamp::from_second(i64::try_from(next(1000)).unwrap()).unwrap();
            let event = match next(7) {
                0 => JobEvent::Started { agent: None },
                1 => JobEvent::Progress { percent: next(200) as f32 - 50.0, message: None },
                2 => JobEvent::DismissRequested(DismissedBy::Client),
                3 => JobEvent::Requeued { reason: "lost".into() },
                4 => JobEvent::Ended(Ok(())),
                5 => JobEvent::Waiting { reason: "all draining".into() },
                _ => JobEvent::Ended(Err(Error::process_failed("x"))),
            };
            job.apply(event, now);
            assert!(job.updated >= before.updated);
            if before.is_finished() {
                assert_eq!(job, before);
            } else if job.attempt == before.attempt && !job.is_finished() {
                assert!(job.percent() >= before.percent());
            }
        }
    }
}
