//! A job's life, happy and not.

use super::*;
use crate::Submitter;
use anabranch_model::{
    Algorithm, AlgorithmSink, FaultKind, Inputs, JobState, Limit, LimitKind, LimitOf, LogLine, LogSource,
    Outcome, Viewer,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_and_its_results_stay() {
    let bench = Bench::new(Limits::default()).await;
    for mode in [ExecutionMode::Sync, ExecutionMode::Async] {
        let mut job = bench.engine.submit(request("echo", mode), &Submitter::default()).await.unwrap();
        let view = soon(job.finished()).await;
        assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
        assert_eq!((view.outputs[0].chunks, view.outputs[1].chunks), (1, 0));
        assert!(view.expires.unwrap() > view.job.created);
        let results = job.results().unwrap();
        assert_eq!(results.output("text").unwrap().chunks, [text("hello")]);
        assert_eq!(results.outputs.len(), 1, "what the process had nothing for is absent");
        let output = bench.engine.output(&Viewer::Operator, job.id(), "text").await.unwrap();
        assert_eq!(output.chunks, [text("hello")]);
        let missing = bench.engine.output(&Viewer::Operator, job.id(), "data").await;
        assert!(matches!(missing, Err(Error::NoSuchOutput { .. })));
    }
    let made = std::fs::read_dir(bench.folder.path().join("jobs")).map(Iterator::count).unwrap_or(0);
    assert_eq!(made, 0, "small jobs touch no files");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_looks_the_same_from_memory_and_from_the_store() {
    let bench = Bench::new(Limits { cache_bytes_max: 0, ..Limits::default() }).await;
    let mut job = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    let view = soon(job.finished()).await;
    until(|| bench.engine.0.board.find(job.id()).is_none()).await;
    assert_eq!(bench.engine.job(&Viewer::Operator, job.id()).await.unwrap(), view);
    assert_eq!(bench.engine.results(&Viewer::Operator, job.id()).await.unwrap(), job.results().unwrap());
    assert_eq!(bench.engine.request(&Viewer::Operator, job.id()).await.unwrap(), job.request());
    let receiver = bench.engine.watch(&Viewer::Operator, job.id()).await.unwrap();
    assert_eq!(*receiver.borrow(), view);
    let page = bench.engine.chunks(&Viewer::Operator, job.id(), "text", 0, 10).await.unwrap();
    assert_eq!((page.chunks.len(), page.total), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_found_before_acceptance_all_at_once() {
    let bench = Bench::new(Limits::default()).await;
    let unknown = bench.engine.submit(asynchronous("nothing"), &Submitter::default()).await.err().unwrap();
    assert_eq!(unknown, Error::NoSuchProcess("nothing".into()));
    let mut request = asynchronous("echo");
    request.inputs.push(item("text", "twice"));
    request.inputs.push(item("wrong", "x"));
    let Err(Error::Invalid(faults)) = bench.engine.submit(request, &Submitter::default()).await else {
        panic!("it has faults")
    };
    let kinds: Vec<_> = faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [FaultKind::Unknown, FaultKind::TooMany]);
    assert_eq!(bench.engine.counts().queued, 0);
    let no_job = bench.engine.job(&Viewer::Operator, JobId::random()).await.err().unwrap();
    assert!(matches!(no_job, Error::NoSuchJob(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_keep_their_reason_and_panics_are_internal() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(scripted("fails", OnRestart::Fail, |execution| async move {
        execution.sink.log(LogLine { source: LogSource::Stderr, text: "no more disk".into() });
        Err(Error::process_failed("exit code 3"))
    }));
    bench.engine.registry().publish(scripted("panics", OnRestart::Fail, |_| async { panic!("at line 7") }));
    bench.engine.registry().publish(scripted("lies", OnRestart::Fail, |_| async { Err(Error::Dismissed) }));
    bench.engine.registry().publish(scripted("silent", OnRestart::Fail, |_| async { Ok(()) }));
    let mut fails = bench.engine.submit(synchronous("fails"), &Submitter::default()).await.unwrap();
    soon(fails.finished()).await;
    assert_eq!(fails.results().err(), Some(Error::process_failed("exit code 3")));
    let log = bench.engine.log(&Viewer::Operator, fails.id(), 0, 10).await.unwrap();
    assert_eq!((log.lines[0].text.as_str(), log.lines[0].source), ("no more disk", LogSource::Stderr));
    assert_eq!(log.lines[1].text, "failed: exit code 3");
    let mut panics = bench.engine.submit(asynchronous("panics"), &Submitter::default()).await.unwrap();
    soon(panics.finished()).await;
    let Err(Error::Internal { detail }) = panics.results() else { panic!("it panicked") };
    assert!(detail.contains("at line 7"));
    let mut lies = bench.engine.submit(asynchronous("lies"), &Submitter::default()).await.unwrap();
    soon(lies.finished()).await;
    assert!(matches!(lies.results(), Err(Error::Interrupted { .. })));
    let mut request = asynchronous("silent");
    request.outputs = bench.engine.request(&Viewer::Operator, lies.id()).await.unwrap().outputs.to_vec();
    let mut silent = bench.engine.submit(request, &Submitter::default()).await.unwrap();
    soon(silent.finished()).await;
    let Err(Error::ProcessFailed { message, .. }) = silent.results() else { panic!("it wrote nothing") };
    assert!(message.contains("'text', 'data'"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_and_results_wait_for_the_end() {
    let bench = Bench::new(Limits::default()).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("slow", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            execution.sink.started(Some("agent 7"));
            execution.sink.progress(40.0, Some("reading"));
            execution.sink.progress(30.0, None);
            gone.wait_for(|go| *go).await.unwrap();
            execution.sink.write("text", text("done")).await
        }
    }));
    let mut job = bench.engine.submit(asynchronous("slow"), &Submitter::default()).await.unwrap();
    let view = bench.view_when(job.id(), |view| view.job.percent() > 39.0).await;
    assert_eq!(view.job.agent.as_deref(), Some("agent 7"));
    assert_eq!(bench.engine.counts().running, 1);
    assert_eq!(
        bench.engine.results(&Viewer::Operator, job.id()).await.err(),
        Some(Error::ResultNotReady(job.id()))
    );
    go.send(true).unwrap();
    let view = soon(job.finished()).await;
    assert!((view.job.percent() - 100.0).abs() < f32::EPSILON);
    let counts = bench.engine.counts();
    let slow = counts.processes[&ProcessId::new("slow").unwrap()];
    assert_eq!((slow.accepted, slow.succeeded, slow.failed), (1, 1, 0));
}

struct Double;

impl Algorithm for Double {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::new(describe("double", true))
    }

    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let said = inputs.text("text").unwrap_or_default();
        if said == "panic" {
            panic!("as asked");
        }
        sink.progress(50.0, None);
        sink.log("doubling");
        let path = sink.scratch().join("large");
        std::fs::write(&path, said.repeat(20_000)).map_err(Error::internal)?;
        let data = Data::file(&path).map_err(Error::internal)?;
        sink.write("data", Value::Complex(ComplexValue::new(data, Format::new("text/plain"))))?;
        assert!(!path.exists(), "it was moved, not copied");
        sink.write("text", text(&format!("{said}{said}")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn algorithms_run_on_the_pool_and_may_panic() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish_algorithm(Arc::new(Double));
    let mut job = bench.engine.submit(synchronous("double"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let results = job.results().unwrap();
    assert_eq!(results.output("text").unwrap().chunks, [text("hellohello")]);
    let Value::Complex(large) = &results.output("data").unwrap().chunks[0] else { panic!("complex") };
    let path = large.data.path().unwrap();
    assert!(path.ends_with(format!("results/{}/data/0", job.id())), "{path:?}");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 100_000);
    assert!(!bench.folder.path().join("jobs").join(job.id().to_string()).join("scratch").exists());
    let mut request = synchronous("double");
    request.inputs = vec![item("text", "panic")];
    let mut job = bench.engine.submit(request, &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert!(matches!(job.results(), Err(Error::Internal { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_runs_of_idempotent_processes_are_repeated_others_fail() {
    let bench = Bench::new(Limits::default()).await;
    let lost = || Error::AgentLost { reason: "agent 1 vanished".into() };
    bench.engine.registry().publish(scripted("twice", OnRestart::Requeue, move |execution| async move {
        execution.sink.started(None);
        execution.sink.write("text", text(&format!("attempt {}", execution.attempt))).await?;
        if execution.attempt < 2 { Err(lost()) } else { Ok(()) }
    }));
    bench.engine.registry().publish(scripted(
        "never",
        OnRestart::Requeue,
        move |_| async move { Err(lost()) },
    ));
    bench.engine.registry().publish(scripted("once", OnRestart::Fail, move |_| async move { Err(lost()) }));
    let mut twice = bench.engine.submit(asynchronous("twice"), &Submitter::default()).await.unwrap();
    let mut never = bench.engine.submit(asynchronous("never"), &Submitter::default()).await.unwrap();
    let mut once = bench.engine.submit(asynchronous("once"), &Submitter::default()).await.unwrap();
    let view = soon(twice.finished()).await;
    assert_eq!(view.job.attempt, 2);
    assert!(view.job.requeued.as_ref().unwrap().contains("agent 1 vanished"));
    let results = bench.engine.results(&Viewer::Operator, twice.id()).await.unwrap();
    assert_eq!(results.outputs[0].chunks, [text("attempt 2")], "what was lost is forgotten");
    assert_eq!(soon(once.finished()).await.job.attempt, 1);
    let view = soon(never.finished()).await;
    assert_eq!(view.job.attempt, Limits::default().attempts_max);
    assert!(matches!(never.results(), Err(Error::AgentLost { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_ended() {
    let bench = Bench::new(Limits { run_s_max: 0, ..Limits::default() }).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let mut job = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert_eq!(
        job.results().err(),
        Some(Error::over(Limit { kind: LimitKind::RunSeconds, max: 0, of: LimitOf::Server }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_refuses_by_name_and_the_queue_keeps_its_order() {
    let limits = Limits { jobs_queued_max: 2, parallel_runs_max: 1, ..Limits::default() };
    let bench = Bench::new(limits).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("gated", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            gone.wait_for(|go| *go).await.unwrap();
            execution.sink.write("text", text("x")).await
        }
    }));
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(bench.engine.submit(asynchronous("gated"), &Submitter::default()).await.unwrap());
    }
    for mode in [ExecutionMode::Sync, ExecutionMode::Async] {
        let Err(Error::OverLimit { limit, retry_after_s: Some(1..) }) =
            bench.engine.submit(request("gated", mode), &Submitter::default()).await
        else {
            panic!("the queue is full")
        };
        assert_eq!(limit, Limit { kind: LimitKind::QueuedJobs, max: 2, of: LimitOf::Server });
    }
    go.send(true).unwrap();
    let mut ends = Vec::new();
    for job in &mut jobs {
        ends.push(soon(job.finished()).await.job.finished.unwrap());
    }
    assert!(ends.is_sorted());
    assert!(bench.engine.submit(asynchronous("gated"), &Submitter::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_runs_wait_leaves_slots_to_the_others() {
    let limits = Limits { parallel_runs_max: 4, process_runs_max: 2, ..Limits::default() };
    let bench = Bench::new(limits).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    bench.engine.registry().publish(scripted("quick", OnRestart::Fail, |execution| async move {
        execution.sink.write("text", text("x")).await
    }));
    let mut endless = Vec::new();
    for _ in 0..6 {
        endless.push(bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap());
    }
    for _ in 0..3 {
        let mut quick = bench.engine.submit(asynchronous("quick"), &Submitter::default()).await.unwrap();
        assert_eq!(soon(quick.finished()).await.job.state, JobState::Finished(Outcome::Succeeded));
    }
    bench.running(endless[1].id()).await;
    // A run gives its slot back a moment after its job has finished.
    let counted = async {
        loop {
            let counts = bench.engine.counts();
            if (counts.running, counts.queued) == (2, 4) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_refuses_drains_and_interrupts() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let mut job = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    let mut waits = bench.engine.submit(synchronous("endless"), &Submitter::default()).await.unwrap();
    bench.running(job.id()).await;
    soon(bench.engine.shutdown(Duration::from_millis(10))).await;
    soon(job.finished()).await;
    assert!(matches!(job.results(), Err(Error::Interrupted { .. })));
    soon(waits.finished()).await;
    assert!(matches!(waits.results(), Err(Error::Interrupted { .. })));
    assert!(matches!(
        bench.engine.submit(asynchronous("echo"), &Submitter::default()).await,
        Err(Error::Busy { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_engine() {
    let bench = Bench::new(Limits::default()).await;
    let config = EngineConfig {
        data: bench.folder.path().into(),
        limits: Limits::default(),
        quotas: Quotas::default(),
    };
    let second = Engine::open(config, Egress::new(Policy::default())).await;
    assert!(matches!(second.err(), Some(crate::OpenError::InUse(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_is_listed_first_and_changes_can_be_watched() {
    let bench = Bench::new(Limits::default()).await;
    let registry = bench.engine.registry();
    let mut changes = registry.watch();
    registry.publish(endless("a", OnRestart::Fail));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let ids: Vec<_> = registry.list().iter().map(|process| process.description().id.to_string()).collect();
    assert_eq!(ids, ["echo", "a"]);
    assert!(registry.withdraw(&ProcessId::new("a").unwrap()));
    assert!(!registry.withdraw(&ProcessId::new("a").unwrap()));
    assert!(matches!(registry.get(&ProcessId::new("a").unwrap()), Err(Error::NoSuchProcess(_))));
}
