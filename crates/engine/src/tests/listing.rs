//! Lists: filters, order, pages.

use super::*;
use crate::{JobFilter, StateName, Submitter};
use anabranch_model::Viewer;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_job_once_newest_first() {
    let bench = Bench::new(Limits::default()).await;
    bench
        .engine
        .registry()
        .publish(scripted("fails", OnRestart::Fail, |_| async { Err(Error::process_failed("no")) }));
    let mut jobs = Vec::new();
    for n in 0..3000 {
        let process = if n % 3 == 0 { "fails" } else { "echo" };
        jobs.push(bench.engine.submit(synchronous(process), &Submitter::default()).await.unwrap());
    }
    for job in &mut jobs {
        soon(job.finished()).await;
    }
    let mut filter = JobFilter { limit: 700, ..JobFilter::all() };
    let mut seen = Vec::new();
    loop {
        let page = bench.engine.jobs(&Viewer::Operator, filter.clone()).await.unwrap();
        assert!(page.jobs.len() <= 700);
        seen.extend(page.jobs.iter().map(|view| view.job.id));
        let Some(next) = page.next else { break };
        filter.page = Some(next.to_string().parse().unwrap());
    }
    let expected: Vec<_> = jobs.iter().rev().map(crate::JobHandle::id).collect();
    assert_eq!(seen, expected);

    // And back: each page ends where the one after it began.
    let mut back = Vec::new();
    let mut page = bench.engine.jobs(&Viewer::Operator, filter.clone()).await.unwrap();
    while let Some(previous) = page.previous {
        back.splice(0..0, page.jobs.iter().map(|view| view.job.id));
        filter.page = Some(previous.to_string().parse().unwrap());
        page = bench.engine.jobs(&Viewer::Operator, filter.clone()).await.unwrap();
        assert!(page.next.is_some());
    }
    back.splice(0..0, page.jobs.iter().map(|view| view.job.id));
    assert_eq!(back, expected);

    let fails = ProcessId::new("fails").unwrap();
    let some = JobFilter {
        processes: vec![fails.clone(), fails],
        states: vec![StateName::Failed, StateName::Running],
        limit: 5000,
        ..JobFilter::all()
    };
    let page = bench.engine.jobs(&Viewer::Operator, some).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (1000, None));
    let none = JobFilter { states: vec![StateName::Dismissed], ..JobFilter::all() };
    assert!(bench.engine.jobs(&Viewer::Operator, none).await.unwrap().jobs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_time_hold() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let mut quick = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    let view = soon(quick.finished()).await;
    let slow = bench.engine.submit(asynchronous("endless"), &Submitter::default()).await.unwrap();
    bench.running(slow.id()).await;
    let ids = async |filter: JobFilter| -> BTreeSet<JobId> {
        bench
            .engine
            .jobs(&Viewer::Operator, filter)
            .await
            .unwrap()
            .jobs
            .iter()
            .map(|view| view.job.id)
            .collect()
    };
    let created = view.job.created;
    let only = |ids: &[JobId]| ids.iter().copied().collect::<BTreeSet<_>>();
    let to = JobFilter { created_to: Some(created), ..JobFilter::all() };
    assert_eq!(ids(to).await, only(&[quick.id()]));
    let from = JobFilter { created_from: Some(created), ..JobFilter::all() };
    assert_eq!(ids(from).await, only(&[quick.id(), slow.id()]));
    tokio::time::sleep(Duration::from_millis(300)).await; // the duration under test
    let long = JobFilter { duration_min: Some(Duration::from_millis(250)), ..JobFilter::all() };
    assert_eq!(ids(long).await, only(&[slow.id()]), "running jobs last until now");
    let short = JobFilter { duration_max: Some(Duration::from_millis(250)), ..JobFilter::all() };
    assert_eq!(ids(short).await, only(&[quick.id()]));
    let many = (0..40).map(|n| ProcessId::new(format!("p{n}")).unwrap());
    let many = many.chain([ProcessId::new("echo").unwrap()]).collect();
    assert_eq!(ids(JobFilter { processes: many, ..JobFilter::all() }).await, only(&[quick.id()]));
}
