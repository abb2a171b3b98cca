//! Limits of users, roles and processes; who is told what, and what is remembered.

use super::*;
use crate::{Priority, Quota, Submitter, Usage, UsageOf};
use anabranch_model::{
    DismissedBy, Job, JobState, Limit, LimitKind, LimitOf, Outcome, Removal, UserName, Viewer,
};

fn user(name: &str) -> Submitter {
    Submitter { owner: Some(UserName::new(name).unwrap()), ..Submitter::default() }
}

fn seen_by(name: &str) -> Viewer {
    Viewer::User(UserName::new(name).unwrap())
}

fn each_user(quota: Quota) -> Quotas {
    Quotas { each_user: quota, ..Quotas::default() }
}

/// Runs until it is told to go.
fn gated(bench: &Bench) -> tokio::sync::watch::Sender<bool> {
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("gated", OnRestart::Requeue, move |execution| {
        let mut gone = gone.clone();
        async move {
            execution.sink.started(None);
            let go = async { gone.wait_for(|go| *go).await.is_ok() };
            let is_cancelled = tokio::select! {
                go = go => !go,
                () = execution.sink.cancelled() => true,
            };
            if is_cancelled {
                return Err(Error::Dismissed);
            }
            execution.sink.write("text", text("x")).await
        }
    }));
    go
}

/// Writes as many bytes as its text says.
fn writes(bench: &Bench) {
    bench.engine.registry().publish(scripted("writes", OnRestart::Requeue, |execution| async move {
        let count = execution.inputs.text("text").unwrap().parse().unwrap();
        execution.sink.write("data", bytes(vec![b'x'; count])).await
    }));
}

fn writing(count: usize) -> ExecuteRequest {
    ExecuteRequest { inputs: vec![item("text", &count.to_string())], ..asynchronous("writes") }
}

fn limit_of(result: Result<impl Sized, Error>) -> Limit {
    match result {
        Err(Error::OverLimit { limit, .. }) => limit,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it should have been refused"),
    }
}

fn usage_of(engine: &Engine, name: &str) -> Usage {
    let of = UsageOf::User(Some(UserName::new(name).unwrap()));
    engine.usage().into_iter().find(|usage| usage.of == of).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_at_their_limit_is_refused_and_others_are_not() {
    let guest = Quota { queued_jobs_max: Some(2), parallel_jobs_max: Some(1), ..Quota::default() };
    let quotas = Quotas { roles: [("guest".into(), guest)].into(), ..Quotas::default() };
    let bench = Bench::with(Limits::default(), quotas).await;
    let go = gated(&bench);
    let anna = Submitter { roles: vec!["guest".into()], ..user("anna") };
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(bench.engine.submit(asynchronous("gated"), &anna).await.unwrap());
    }
    for mode in [ExecutionMode::Sync, ExecutionMode::Async] {
        let refused = bench.engine.submit(request("gated", mode), &anna).await.err().unwrap();
        assert!(matches!(refused, Error::OverLimit { retry_after_s: Some(1..), .. }));
        let of = LimitOf::Role("guest".into());
        assert_eq!(limit_of(Err::<(), _>(refused)), Limit { kind: LimitKind::QueuedJobs, max: 2, of });
    }
    bench.running(jobs[0].id()).await;
    let usage = usage_of(&bench.engine, "anna");
    assert_eq!((usage.running, usage.queued, usage.hourly), (1, 2, 3));
    let queued = usage.limits.iter().find(|limit| limit.kind == LimitKind::QueuedJobs).unwrap();
    assert_eq!((usage.used(queued.kind), queued.max), (Some(2), 2), "it is used up");
    let refused =
        bench.engine.0.board.metrics.refused.get_or_create(&[("limit", "queued_jobs_max".into())]).get();
    assert_eq!(refused, 2);
    // What she may not run at once leaves the slots to others.
    let bens = bench.engine.submit(asynchronous("gated"), &user("ben")).await.unwrap();
    bench.running(bens.id()).await;
    assert_eq!(jobs[1].view().job.state, JobState::Accepted);
    go.send(true).unwrap();
    for job in &mut jobs {
        assert_eq!(soon(job.finished()).await.job.state, JobState::Finished(Outcome::Succeeded));
    }
    assert!(bench.engine.submit(asynchronous("echo"), &anna).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_counted_refused_and_given_back() {
    let quota = Quota {
        input_bytes_max: Some(1000),
        output_bytes_max: Some(40_000),
        stored_bytes_max: Some(100_000),
        ..Quota::default()
    };
    let bench = Bench::with(Limits { cache_bytes_max: 0, ..Limits::default() }, each_user(quota)).await;
    writes(&bench);
    let anna = user("anna");
    let large = ExecuteRequest { inputs: vec![item("text", &"1".repeat(1001))], ..writing(0) };
    let limit = limit_of(bench.engine.submit(large, &anna).await);
    assert_eq!((limit.kind, limit.max), (LimitKind::InputBytes, 1000));
    let mut kept = Vec::new();
    for (count, expected) in [
        (40_001, Some(LimitKind::OutputBytes)),
        (40_000, None),
        (40_000, None),
        (30_000, Some(LimitKind::StoredBytes)),
    ] {
        let mut job = bench.engine.submit(writing(count), &anna).await.unwrap();
        let view = soon(job.finished()).await;
        let failed = match &view.job.state {
            JobState::Finished(Outcome::Failed(Error::OverLimit { limit, .. })) => Some(limit.kind),
            _ => None,
        };
        assert_eq!(failed, expected, "{count}: {:?}", view.job.state);
        kept.push(job.id());
    }
    // Each request came with five bytes of text.
    until(|| usage_of(&bench.engine, "anna").stored_bytes == 80_020).await;
    soon(bench.engine.dismiss(&seen_by("anna"), kept[1], DismissedBy::Client, DEADLINE)).await.unwrap();
    assert_eq!(usage_of(&bench.engine, "anna").stored_bytes, 40_015);
    let mut again = bench.engine.submit(writing(30_000), &anna).await.unwrap();
    assert_eq!(soon(again.finished()).await.job.state, JobState::Finished(Outcome::Succeeded));
    assert!(
        bench.engine.submit(writing(40_000), &user("ben")).await.is_ok(),
        "others have room of their own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_neither_bytes_nor_the_last_hour_nor_terms() {
    let quota = Quota { hourly_jobs_max: Some(3), stored_bytes_max: Some(50_000), ..Quota::default() };
    let slow = Quota { run_s_max: Some(1), ..Quota::default() };
    let quotas = Quotas { processes: [("gated".into(), slow)].into(), ..each_user(quota) };
    let bench = Bench::with(Limits::default(), quotas.clone()).await;
    writes(&bench);
    let _never = gated(&bench);
    let anna = user("anna");
    let mut first = bench.engine.submit(writing(30_000), &anna).await.unwrap();
    soon(first.finished()).await;
    let runs = bench.engine.submit(asynchronous("gated"), &anna).await.unwrap();
    bench.running(runs.id()).await;
    let copy = bench.crash().await;
    let engine = open_with(copy.path(), Limits::default(), quotas).await;
    let bench = Bench { engine, folder: copy };
    writes(&bench);
    let _never = gated(&bench);
    bench.engine.recover().await.unwrap();
    let recalled =
        || bench.engine.usage().into_iter().any(|usage| usage.stored_bytes > 0 && usage.hourly == 2);
    until(recalled).await;
    let mut third = bench.engine.submit(writing(30_000), &anna).await.unwrap();
    let state = soon(third.finished()).await.job.state.clone();
    let JobState::Finished(Outcome::Failed(error)) = state else { panic!("{state:?}") };
    assert_eq!(limit_of(Err::<(), _>(error)).kind, LimitKind::StoredBytes);
    let refused = bench.engine.submit(writing(1), &anna).await.err().unwrap();
    assert!(matches!(refused, Error::OverLimit { retry_after_s: Some(1..=3660), .. }), "{refused}");
    let view = bench.finished(runs.id()).await;
    let JobState::Finished(Outcome::Failed(error)) = &view.job.state else { panic!("{:?}", view.job) };
    let of = LimitOf::Process("gated".into());
    assert_eq!(*error, Error::over(Limit { kind: LimitKind::RunSeconds, max: 1, of }));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_and_working_have_clocks_of_their_own() {
    let slots = Limits { parallel_runs_max: 1, ..Limits::default() };
    let quota = Quota { queue_s_max: Some(1), run_s_max: Some(2), ..Quota::default() };
    let bench = Bench::with(slots, each_user(quota)).await;
    // Waits for an agent longer than it may work, as far as it knows.
    bench.engine.registry().publish(scripted("patient", OnRestart::Requeue, |execution| async move {
        execution.sink.cancelled().await;
        Err(Error::Dismissed)
    }));
    let go = gated(&bench);
    let mut works = bench.engine.submit(asynchronous("gated"), &user("anna")).await.unwrap();
    bench.running(works.id()).await;
    let mut queued = bench.engine.submit(asynchronous("echo"), &user("anna")).await.unwrap();
    let over = |kind, max| Some(Error::over(Limit { kind, max, of: LimitOf::EachUser }));
    soon(queued.finished()).await;
    assert_eq!(queued.results().err(), over(LimitKind::QueueSeconds, 1));
    let Job { started, finished, .. } = &queued.view().job;
    assert_eq!(started, finished, "it never began");
    soon(works.finished()).await;
    assert_eq!(works.results().err(), over(LimitKind::RunSeconds, 2));
    let mut patient = bench.engine.submit(asynchronous("patient"), &user("anna")).await.unwrap();
    soon(patient.finished()).await;
    assert_eq!(patient.results().err(), over(LimitKind::QueueSeconds, 1));
    until(|| bench.engine.counts().running == 0).await;
    assert_eq!(bench.engine.counts().queued, 0);
    drop(go);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_low_wait_for_the_others_and_nobody_raises_themselves() {
    let night = Quota { priority: Some(Priority::Low), ..Quota::default() };
    let quotas = Quotas { roles: [("night".into(), night)].into(), ..Quotas::default() };
    let bench = Bench::with(Limits { parallel_runs_max: 1, ..Limits::default() }, quotas).await;
    let go = gated(&bench);
    let first = bench.engine.submit(asynchronous("gated"), &user("anna")).await.unwrap();
    bench.running(first.id()).await;
    let low = Submitter { priority: Some(Priority::Low), ..user("anna") };
    let night = Submitter { roles: vec!["night".into()], priority: Some(Priority::High), ..user("ben") };
    let mut jobs = Vec::new();
    for submitter in [low, night, user("cleo")] {
        jobs.push(bench.engine.submit(asynchronous("echo"), &submitter).await.unwrap());
    }
    go.send(true).unwrap();
    let mut began = Vec::new();
    for job in &mut jobs {
        began.push(soon(job.finished()).await.job.started.unwrap());
    }
    assert!(began[2] <= began[0] && began[2] <= began[1], "{began:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_removed_job_it_is_said_why_and_to_strangers_nothing() {
    let limits = Limits { finished_jobs_max: 1, sweep_s: 3600, ..Limits::default() };
    let bench = Bench::new(limits.clone()).await;
    // Each is dismissed before the next one ends: the sweep at the start, which may come late, finds one finished job at most.
    let mut ids = Vec::new();
    for dismissed_by in [Some(DismissedBy::Client), Some(DismissedBy::Operator), None, None] {
        let mut job = bench.engine.submit(asynchronous("echo"), &user("anna")).await.unwrap();
        soon(job.finished()).await;
        ids.push(job.id());
        if let Some(by) = dismissed_by {
            bench.engine.dismiss(&Viewer::Operator, job.id(), by, DEADLINE).await.unwrap();
        }
    }
    bench.engine.0.sweep().await.unwrap();
    let copy = bench.crash().await;
    let again = open(copy.path(), limits).await;
    for engine in [&bench.engine, &again] {
        for (id, expected) in
            [(ids[0], Removal::Dismissed), (ids[1], Removal::Operator), (ids[2], Removal::Quota)]
        {
            let gone = engine.results(&seen_by("anna"), id).await;
            assert!(
                matches!(gone, Err(Error::Gone { job, why, .. }) if job == id && why == expected),
                "{gone:?}"
            );
            assert!(matches!(engine.job(&seen_by("ben"), id).await, Err(Error::NoSuchJob(_))));
        }
        assert!(engine.job(&seen_by("anna"), ids[3]).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_kept_as_long_as_their_process_says_also_over_a_restart() {
    let limits = Limits { results_keep_s: 3600, sweep_s: 3600, ..Limits::default() };
    let keep = |results_keep_s| Quota { results_keep_s: Some(results_keep_s), ..Quota::default() };
    let quotas = Quotas {
        roles: [("archive".into(), keep(7200))].into(),
        processes: [("gat*".into(), keep(0))].into(),
        ..Quotas::default()
    };
    let bench = Bench::with(limits.clone(), quotas).await;
    let go = gated(&bench);
    go.send(true).unwrap();
    let archive = Submitter { roles: vec!["archive".into()], ..user("anna") };
    let mut ids = Vec::new();
    for (process, keep_s) in [("echo", 7200), ("gated", 0)] {
        let mut job = bench.engine.submit(asynchronous(process), &archive).await.unwrap();
        let view = soon(job.finished()).await;
        let kept = view.expires.unwrap().duration_since(view.job.finished.unwrap());
        assert_eq!(kept.as_secs(), keep_s, "{process}");
        ids.push(job.id());
    }
    bench.engine.0.sweep().await.unwrap();
    let copy = bench.crash().await;
    let again = open(copy.path(), limits).await;
    for engine in [&bench.engine, &again] {
        assert!(engine.job(&seen_by("anna"), ids[0]).await.unwrap().expires.is_some());
        let gone = engine.job(&seen_by("anna"), ids[1]).await;
        assert!(matches!(gone, Err(Error::Gone { why: Removal::Expired, .. })), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_removed_jobs_is_bounded_by_time_and_number() {
    for (keep_s, max, expected) in [(3600, 2, 2), (3600, 9, 5), (0, 9, 0)] {
        let limits = Limits {
            results_keep_s: 0,
            tombstones_keep_s: keep_s,
            tombstones_max: max,
            sweep_s: 3600,
            ..Limits::default()
        };
        let bench = Bench::new(limits).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            let mut job = bench.engine.submit(asynchronous("echo"), &user("anna")).await.unwrap();
            soon(job.finished()).await;
            ids.push(job.id());
            bench.engine.0.sweep().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // so that zero seconds are over
        bench.engine.0.sweep().await.unwrap();
        let mut remembered = 0;
        for id in ids {
            let gone = bench.engine.job(&seen_by("anna"), id).await;
            remembered += usize::from(matches!(gone, Err(Error::Gone { why: Removal::Expired, .. })));
        }
        assert_eq!(remembered, expected, "{keep_s} s, {max}");
    }
}

/// Computes until it is told to stop.
struct Spins;

impl anabranch_model::Algorithm for Spins {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::new(describe("spins", false))
    }

    fn run(
        &self,
        _: &anabranch_model::Inputs,
        sink: &dyn anabranch_model::AlgorithmSink,
    ) -> Result<(), Error> {
        let mut turns = 0_u64;
        while !sink.is_cancelled() {
            turns = std::hint::black_box(turns + 1);
        }
        Err(Error::Dismissed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_computes_too_long_is_ended() {
    let bench =
        Bench::with(Limits::default(), each_user(Quota { cpu_s_max: Some(1), ..Quota::default() })).await;
    bench.engine.registry().publish_algorithm(Arc::new(Spins));
    let mut job = bench.engine.submit(asynchronous("spins"), &user("anna")).await.unwrap();
    soon(job.finished()).await;
    assert_eq!(limit_of(job.results()).kind, LimitKind::CpuSeconds);
}
