//! Whose a job is: what others find is what they find of a job that never was.

use super::*;
use crate::{JobFilter, OwnAddresses, Submitter};
use anabranch_model::{DismissedBy, Reference, UserName, Viewer};

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn of(owner: &str) -> Submitter {
    Submitter { owner: Some(name(owner)), ..Submitter::default() }
}

/// What a viewer finds by every question there is, as text; the identifier is left out.
async fn asked(engine: &Engine, viewer: &Viewer, id: JobId) -> Vec<String> {
    let found = [
        format!("{:?}", engine.job(viewer, id).await.map(|view| view.job.process.clone())),
        format!("{:?}", engine.watch(viewer, id).await.map(|_| ())),
        format!("{:?}", engine.results(viewer, id).await.map(|_| ())),
        format!("{:?}", engine.output(viewer, id, "text").await.map(|_| ())),
        format!("{:?}", engine.chunks(viewer, id, "text", 0, 1).await.map(|_| ())),
        format!("{:?}", engine.request(viewer, id).await.map(|_| ())),
        format!("{:?}", engine.log(viewer, id, 0, 1).await.map(|_| ())),
        format!("{:?}", engine.watch_log(viewer, id).await.map(|_| ())),
        format!("{:?}", engine.dismiss(viewer, id, DismissedBy::Client, Duration::ZERO).await.map(|_| ())),
    ];
    found.into_iter().map(|text| text.replace(&id.to_string(), "ID")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_job_is_as_one_that_never_was() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(endless("endless", OnRestart::Fail));
    let live = bench.engine.submit(asynchronous("endless"), &of("anna")).await.unwrap().id();
    let done = bench.engine.submit(asynchronous("echo"), &of("anna")).await.unwrap().id();
    bench.running(live).await;
    bench.finished(done).await;
    let again = open(bench.crash().await.path(), Limits::default()).await;
    for (engine, job) in [(&bench.engine, live), (&bench.engine, done), (&again, done)] {
        for viewer in [Viewer::User(name("ben")), Viewer::Anonymous] {
            let never = asked(engine, &viewer, JobId::random()).await;
            assert!(never.iter().all(|found| found.contains("NoSuchJob")), "{never:?}");
            assert_eq!(asked(engine, &viewer, job).await, never);
        }
        let view = engine.job(&Viewer::User(name("anna")), job).await.unwrap();
        assert_eq!(view.job.owner, Some(name("anna")));
    }
    let anna = asked(&bench.engine, &Viewer::User(name("anna")), done).await;
    assert!(anna.iter().all(|found| found.starts_with("Ok")), "{anna:?}");
    let operator = Viewer::Operator;
    bench.engine.dismiss(&operator, live, DismissedBy::Operator, DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_what_a_viewer_may_see() {
    let bench = Bench::new(Limits::default()).await;
    let mut jobs = Vec::new();
    for submitter in [of("anna"), of("ben"), Submitter::default(), of("anna")] {
        let mut job = bench.engine.submit(synchronous("echo"), &submitter).await.unwrap();
        soon(job.finished()).await;
        jobs.push(job.id());
    }
    let listed = async |viewer: Viewer, owner: Option<&str>| {
        let filter = JobFilter { owner: owner.map(name), ..JobFilter::all() };
        let page = bench.engine.jobs(&viewer, filter).await.unwrap();
        page.jobs.iter().map(|view| view.job.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(Viewer::User(name("anna")), None).await, [jobs[3], jobs[0]]);
    assert_eq!(listed(Viewer::User(name("anna")), Some("ben")).await, []);
    assert_eq!(listed(Viewer::Operator, Some("ben")).await, [jobs[1]]);
    assert_eq!(listed(Viewer::Operator, None).await.len(), 4);
    assert_eq!(listed(Viewer::Anonymous, None).await, []);
    bench.engine.job(&Viewer::Anonymous, jobs[2]).await.unwrap();
}

/// `http://own/JOB`
struct Own;

impl OwnAddresses for Own {
    fn place(&self, href: &str) -> Option<(JobId, Option<String>)> {
        Some((href.strip_prefix("http://own/")?.parse().ok()?, Some("data".into())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_an_input_of_its_owner_only() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.know_own_addresses(Arc::new(Own));
    bench.engine.registry().publish(scripted("data", OnRestart::Fail, |execution| async move {
        let given = execution.inputs.complex("data").cloned();
        let data = given.map_or_else(|_none| bytes("secret"), Value::Complex);
        execution.sink.write("data", data).await
    }));
    let source = bench.engine.submit(asynchronous("data"), &of("anna")).await.unwrap().id();
    bench.finished(source).await;
    let mut request = asynchronous("data");
    let reference = InputData::Reference(Reference::get(format!("http://own/{source}")));
    request.inputs = vec![InputItem { data: reference, ..item("data", "") }];
    for (submitter, is_read) in [(of("anna"), true), (of("ben"), false), (Submitter::default(), false)] {
        let job = bench.engine.submit(request.clone(), &submitter).await.unwrap().id();
        let state = bench.finished(job).await.job.state.clone();
        let succeeded =
            matches!(state, anabranch_model::JobState::Finished(anabranch_model::Outcome::Succeeded));
        assert_eq!(succeeded, is_read, "{submitter:?}: {state:?}");
    }
}
