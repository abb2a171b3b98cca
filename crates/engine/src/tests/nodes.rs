//! Several engines on one PostgreSQL: any answers for any job, and a dead one's jobs go on.

use super::*;
use crate::{JobFilter, Quota, Quotas, Submitter, UsageOf};
use anabranch_model::{DismissedBy, JobState, LimitKind, Outcome, UserName, Viewer};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longest time from a death to the end of the job of the dead, as it is promised.
const TAKEN_OVER: Duration = Duration::from_secs(15);

/// A folder that nodes share, with a database.
struct Cluster(TempDir);

impl Cluster {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self, node: &str) -> crate::PostgresStore {
        postgres::store(self.0.path(), node)
    }

    async fn node(&self, name: &str) -> Engine {
        self.node_by(self.store(name), Quotas::default()).await
    }

    async fn node_by(&self, store: crate::PostgresStore, quotas: Quotas) -> Engine {
        let config =
            EngineConfig { data: self.0.path().join(&store.node), limits: Limits::default(), quotas };
        let engine = Engine::open_node(config, store, Egress::new(Policy::default())).await.unwrap();
        engine.registry().publish(echo());
        engine.recover().await.unwrap();
        engine
    }

    /// A node whose way to the database can be cut.
    async fn node_with_a_link(&self, name: &str) -> (Engine, CancellationToken) {
        let cut = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, until) = (postgres::port(), cut.clone());
        tokio::spawn(async move {
            while let Some(Ok((mut here, _))) = until.run_until_cancelled(listener.accept()).await {
                let until = until.clone();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    // Cut as a cable is: neither end is told.
                    if until.run_until_cancelled(copy_bidirectional(&mut here, &mut there)).await.is_none() {
                        std::mem::forget((here.into_std(), there.into_std()));
                    }
                });
            }
        });
        let mut store = self.store(name);
        store.access = postgres::access(port, &postgres::name(self.0.path()));
        (self.node_by(store, Quotas::default()).await, cut)
    }
}

async fn end(engine: &Engine, id: JobId) -> Arc<JobView> {
    let mut views = engine.watch(&Viewer::Operator, id).await.unwrap();
    let view = soon(views.wait_for(|view| view.job.is_finished())).await.unwrap();
    Arc::clone(&view)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_for_any_job() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a").await, cluster.node("b").await);
    let (go, gone) = tokio::sync::watch::channel(false);
    a.registry().publish(scripted("gated", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            execution.sink.started(None);
            execution.sink.write("data", bytes(vec![b'x'; 50_000])).await?;
            execution.sink.log(anabranch_model::LogLine {
                source: anabranch_model::LogSource::Stdout,
                text: "half".into(),
            });
            gone.wait_for(|go| *go).await.unwrap();
            execution.sink.write("text", text("whole")).await
        }
    }));
    let job = a.submit(asynchronous("gated"), &Submitter::default()).await.unwrap().id();
    let mut views = b.watch(&Viewer::Operator, job).await.unwrap();
    soon(views.wait_for(|view| view.outputs[1].chunks == 1)).await.unwrap();
    let page = b.chunks(&Viewer::Operator, job, "data", 0, 10).await.unwrap();
    let Value::Complex(chunk) = &page.chunks[0] else { panic!("complex") };
    assert_eq!(chunk.data.read_all(1 << 20).unwrap().len(), 50_000);
    let mut lines = b.watch_log(&Viewer::Operator, job).await.unwrap();
    soon(lines.wait_for(|lines| *lines == 1)).await.unwrap();
    assert_eq!(b.log(&Viewer::Operator, job, 0, 10).await.unwrap().lines[0].text, "half");
    assert!(matches!(b.results(&Viewer::Operator, job).await, Err(Error::ResultNotReady(_))));
    assert_eq!(b.jobs(&Viewer::Operator, JobFilter::all()).await.unwrap().jobs[0].job.id, job);
    go.send(true).unwrap();
    let view = soon(views.wait_for(|view| view.job.is_finished())).await.unwrap().clone();
    assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
    assert_eq!(b.results(&Viewer::Operator, job).await.unwrap().outputs[0].chunks, [text("whole")]);
    assert!(
        soon(lines.changed()).await.is_err() || soon(lines.changed()).await.is_err(),
        "the log is closed"
    );
    // Removed by one, it is gone for the other.
    b.dismiss(&Viewer::Operator, job, DismissedBy::Client, Duration::ZERO).await.unwrap();
    assert!(matches!(a.job(&Viewer::Operator, job).await, Err(Error::Gone { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_dismissed_through_another_node() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a").await, cluster.node("b").await);
    a.registry().publish(endless("endless", OnRestart::Fail));
    let job = a.submit(asynchronous("endless"), &Submitter::default()).await.unwrap().id();
    let view = b.dismiss(&Viewer::Operator, job, DismissedBy::Operator, DEADLINE).await.unwrap();
    assert_eq!(view.job.state, JobState::Finished(Outcome::Dismissed(DismissedBy::Operator)));
    assert_eq!(a.job(&Viewer::Operator, job).await.unwrap().job.state, view.job.state);
}

/// Jobs of every kind on a node that is then cut from the database: what its successor makes of them, and that it writes nothing
/// any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_node_that_is_cut_off_go_on_and_it_writes_nothing_more() {
    let cluster = Cluster::new();
    let (a, cut) = cluster.node_with_a_link("a").await;
    let b = cluster.node("b").await;
    let begun = Arc::new(AtomicU32::new(0));
    let (go, gone) = tokio::sync::watch::channel(false);
    for engine in [&a, &b] {
        let (begun, gone) = (Arc::clone(&begun), gone.clone());
        engine.registry().publish(scripted("repeated", OnRestart::Requeue, move |execution| {
            let (first, mut gone) = (begun.fetch_add(1, Ordering::SeqCst) == 0, gone.clone());
            async move {
                execution.sink.started(None);
                if first {
                    gone.wait_for(|go| *go).await.unwrap();
                }
                let which = if first { b'1' } else { b'2' };
                execution.sink.write("data", bytes(vec![which; 50_000])).await
            }
        }));
        engine.registry().publish(endless("once", OnRestart::Fail));
    }
    let repeated = a.submit(asynchronous("repeated"), &Submitter::default()).await.unwrap().id();
    let once = a.submit(asynchronous("once"), &Submitter::default()).await.unwrap().id();
    for job in [repeated, once] {
        let mut views = a.watch(&Viewer::Operator, job).await.unwrap();
        let is_running = |view: &Arc<JobView>| matches!(view.job.state, JobState::Running { .. });
        soon(views.wait_for(is_running)).await.unwrap();
    }
    cut.cancel();
    let died = std::time::Instant::now();
    let view = end(&b, repeated).await;
    assert_eq!((&view.job.state, view.job.attempt), (&JobState::Finished(Outcome::Succeeded), 2));
    end(&b, once).await;
    assert!(died.elapsed() < TAKEN_OVER, "{:?}", died.elapsed());
    assert!(matches!(b.results(&Viewer::Operator, once).await, Err(Error::Interrupted { .. })));
    // What the first run does now reaches nothing: neither the row nor the file of the second.
    go.send(true).unwrap();
    until(|| begun.load(Ordering::SeqCst) == 2).await;
    let results = b.results(&Viewer::Operator, repeated).await.unwrap();
    let Value::Complex(chunk) = &results.outputs[0].chunks[0] else { panic!("complex") };
    assert_eq!(chunk.data.read_all(1 << 20).unwrap().to_vec(), vec![b'2'; 50_000]);
    assert!(
        !a.job(&Viewer::Operator, once).await.is_ok_and(|view| view.job.is_finished()),
        "a was never told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_under_the_same_name_ends_the_node_before_it() {
    let cluster = Cluster::new();
    let first = cluster.node("a").await;
    first.registry().publish(endless("again", OnRestart::Requeue));
    let job = first.submit(asynchronous("again"), &Submitter::default()).await.unwrap();
    soon(job.watch().wait_for(|view| matches!(view.job.state, JobState::Running { .. }))).await.unwrap();
    let mut store = cluster.store("a");
    let data = tempfile::tempdir().unwrap();
    store.node = "a".into();
    let config =
        EngineConfig { data: data.path().to_owned(), limits: Limits::default(), quotas: Quotas::default() };
    let second = Engine::open_node(config, store, Egress::new(Policy::default())).await.unwrap();
    second.registry().publish(scripted("again", OnRestart::Requeue, |execution| async move {
        execution.sink.write("text", text("second")).await
    }));
    assert_eq!(second.recover().await.unwrap().queued, 1);
    assert_eq!(end(&second, job.id()).await.job.attempt, 2);
    soon(first.lost()).await;
    assert!(!first.is_store_writable() && second.is_store_writable());
    assert!(soon(first.submit(asynchronous("echo"), &Submitter::default())).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_hands_its_waiting_jobs_over() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a").await, cluster.node("b").await);
    a.registry().publish(endless("busy", OnRestart::Requeue));
    b.registry().publish(scripted("busy", OnRestart::Requeue, |execution| async move {
        execution.sink.write("text", text("done")).await
    }));
    let mut jobs = Vec::new();
    for _ in 0..600 {
        jobs.push(a.submit(asynchronous("busy"), &Submitter::default()).await.unwrap().id());
    }
    soon(a.shutdown(Duration::ZERO)).await;
    for job in jobs {
        assert_eq!(end(&b, job).await.job.state, JobState::Finished(Outcome::Succeeded));
    }
}

fn used(engine: &Engine, of: &UsageOf) -> crate::Usage {
    engine.usage().into_iter().find(|usage| usage.of == *of).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_user_hold_for_all_nodes_together() {
    let cluster = Cluster::new();
    let quota = Quota {
        parallel_jobs_max: Some(1),
        queued_jobs_max: Some(1),
        hourly_jobs_max: Some(3),
        ..Quota::default()
    };
    let quotas = Quotas { each_user: quota, ..Quotas::default() };
    let a = cluster.node_by(cluster.store("a"), quotas.clone()).await;
    let b = cluster.node_by(cluster.store("b"), quotas).await;
    a.registry().publish(endless("endless", OnRestart::Fail));
    let name = UserName::new("anna").unwrap();
    let (anna, of) =
        (Submitter { owner: Some(name.clone()), ..Submitter::default() }, UsageOf::User(Some(name)));
    let runs = a.submit(asynchronous("endless"), &anna).await.unwrap();
    until(|| b.usage().iter().any(|usage| usage.of == of && usage.running == 1)).await;
    let waits = b.submit(asynchronous("echo"), &anna).await.unwrap();
    until(|| a.usage().iter().any(|usage| usage.of == of && usage.queued == 1)).await;
    // Another user has a queue of their own; hers is full, whichever node she asks.
    let ben = Submitter { owner: Some(UserName::new("ben").unwrap()), ..Submitter::default() };
    end(&b, b.submit(asynchronous("echo"), &ben).await.unwrap().id()).await;
    for node in [&a, &b] {
        let Err(Error::OverLimit { limit, .. }) = node.submit(asynchronous("echo"), &anna).await else {
            panic!("her queue is full")
        };
        assert_eq!(limit.kind, LimitKind::QueuedJobs);
    }
    assert_eq!(b.job(&Viewer::Operator, waits.id()).await.unwrap().job.state, JobState::Accepted);
    a.dismiss(&Viewer::Operator, runs.id(), DismissedBy::Operator, DEADLINE).await.unwrap();
    assert_eq!(end(&b, waits.id()).await.job.state, JobState::Finished(Outcome::Succeeded));
    until(|| used(&a, &of).hourly == 2 && used(&a, &of).running == 0).await;
    end(&a, a.submit(asynchronous("echo"), &anna).await.unwrap().id()).await;
    until(|| used(&b, &of).hourly == 3).await;
    let Err(Error::OverLimit { limit, .. }) = b.submit(asynchronous("echo"), &anna).await else {
        panic!("three within the hour")
    };
    assert_eq!(limit.kind, LimitKind::HourlyJobs);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_turns_for_a_process_whichever_node_they_ask() {
    let cluster = Cluster::new();
    let quota = Quota { parallel_jobs_max: Some(1), ..Quota::default() };
    let quotas = Quotas { processes: [("gated".to_owned(), quota)].into(), ..Quotas::default() };
    let a = cluster.node_by(cluster.store("a"), quotas.clone()).await;
    let b = cluster.node_by(cluster.store("b"), quotas).await;
    let places = Arc::new(tokio::sync::Semaphore::new(0));
    let began = Arc::new(std::sync::Mutex::new(Vec::new()));
    for (node, engine) in [("a", &a), ("b", &b)] {
        let (places, began) = (Arc::clone(&places), Arc::clone(&began));
        engine.registry().publish(scripted("gated", OnRestart::Fail, move |execution| {
            let (places, began) = (Arc::clone(&places), Arc::clone(&began));
            async move {
                began.lock().unwrap().push(node);
                execution.sink.started(None);
                places.acquire().await.unwrap().forget();
                execution.sink.write("text", text("done")).await
            }
        }));
    }
    let [anna, ben] = ["anna", "ben"]
        .map(|name| Submitter { owner: Some(UserName::new(name).unwrap()), ..Submitter::default() });
    let mut of_anna = Vec::new();
    for _ in 0..6 {
        of_anna.push(a.submit(asynchronous("gated"), &anna).await.unwrap().id());
    }
    until(|| began.lock().unwrap().len() == 1).await;
    let process = UsageOf::Process(ProcessId::new("gated").unwrap());
    let knows_waiting = |engine: &Engine, jobs| {
        engine.usage().iter().any(|usage| usage.of == process && usage.queued == jobs && usage.running == 1)
    };
    until(|| knows_waiting(&b, 5)).await;
    let of_ben = b.submit(asynchronous("gated"), &ben).await.unwrap().id();
    until(|| knows_waiting(&a, 6)).await;
    places.add_permits(1);
    until(|| began.lock().unwrap().len() == 2).await;
    assert_eq!(*began.lock().unwrap(), ["a", "b"], "five jobs of anna waited longer");
    // Once more there is nobody to wait for.
    places.add_permits(6);
    assert_eq!(end(&b, of_ben).await.job.state, JobState::Finished(Outcome::Succeeded));
    for job in of_anna {
        assert_eq!(end(&a, job).await.job.state, JobState::Finished(Outcome::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_removes_is_not_counted_any_more() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a").await, cluster.node("b").await);
    a.registry().publish(large());
    let job = a.submit(asynchronous("large"), &Submitter::default()).await.unwrap().id();
    end(&a, job).await;
    let all = UsageOf::Server;
    let kept = used(&a, &all).stored_bytes;
    assert!(kept >= 50_000, "{kept}");
    let recount = async |engine: &Engine| {
        engine.0.recount(engine.0.nodes.as_ref().unwrap().node).await.unwrap();
        used(engine, &all).stored_bytes
    };
    assert_eq!((recount(&a).await, recount(&b).await), (kept, kept));
    b.dismiss(&Viewer::Operator, job, DismissedBy::Client, Duration::ZERO).await.unwrap();
    assert_eq!((recount(&a).await, recount(&b).await), (0, 0));
}

/// Puts out a file.
fn large() -> Arc<dyn Process> {
    scripted("large", OnRestart::Requeue, |execution| async move {
        execution.sink.write("data", bytes(vec![b'x'; 50_000])).await?;
        execution.sink.write("text", text("done")).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_the_folder_after_it_hold_every_job_whole() {
    const JOBS: u32 = 20;
    let cluster = Cluster::new();
    let a = cluster.node("a").await;
    a.registry().publish(large());
    let (ended, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
    let load = tokio::spawn({
        let (engine, ended, stop) = (a.clone(), Arc::clone(&ended), stop.clone());
        async move {
            while !stop.is_cancelled() {
                let mut job = engine.submit(asynchronous("large"), &Submitter::default()).await.unwrap();
                soon(job.finished()).await;
                ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    until(|| ended.load(Ordering::SeqCst) > JOBS).await;
    let copy = Cluster::new();
    let [from, to] = [&cluster, &copy].map(|cluster| cluster.0.path().to_owned());
    crate::folders::blocking(move || postgres::copy(&from, &to)).await.unwrap();
    let (dumped, mut whole) = (ended.load(Ordering::SeqCst), 0);
    until(|| ended.load(Ordering::SeqCst) > dumped + JOBS).await;
    let [from, to] = [&cluster, &copy].map(|cluster| cluster.0.path().join("shared"));
    crate::folders::blocking(move || copy_folder(&from, &to)).await.unwrap();
    stop.cancel();
    soon(load).await.unwrap();
    let b = copy.node("b").await;
    let mut filter = JobFilter::all();
    loop {
        let page = b.jobs(&Viewer::Operator, filter.clone()).await.unwrap();
        for view in page.jobs.iter().filter(|view| view.job.state == JobState::Finished(Outcome::Succeeded)) {
            let results = b.results(&Viewer::Operator, view.job.id).await.unwrap();
            let Value::Complex(data) = &results.output("data").unwrap().chunks[0] else { panic!("complex") };
            assert_eq!(data.data.read_all(1 << 20).unwrap().len(), 50_000);
            whole += 1;
        }
        filter.page = page.next;
        if filter.page.is_none() {
            break;
        }
    }
    assert!(whole >= JOBS, "{whole} jobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_data_folder_without_its_jobs_it_is_said_where_they_are() {
    let cluster = Cluster::new();
    let a = cluster.node("a").await;
    a.shutdown(DEADLINE).await;
    let data = cluster.0.path().join("a");
    // One from earlier times is not taken for today's.
    std::fs::write(data.join("jobs.sqlite"), "").unwrap();
    let checked = crate::check_store(&data).err().unwrap().to_string();
    let copied = crate::back_up(&data, &cluster.0.path().join("copy")).err().unwrap().to_string();
    for error in [checked, copied] {
        assert!(error.contains("PostgreSQL") && error.contains("pg_dump"), "{error}");
    }
    std::fs::remove_file(data.join("jobs.sqlite")).unwrap();
    // In a copy: tasks of the node may hold its lock for a moment yet.
    let copy = cluster.0.path().join("copy");
    copy_folder(&data, &copy);
    let data = copy;
    let config = EngineConfig { data: data.clone(), limits: Limits::default(), quotas: Quotas::default() };
    let again = Engine::open(config, Egress::new(Policy::default())).await.unwrap();
    assert!(crate::check_store(&data).unwrap().findings.is_empty(), "its jobs are here again");
    again.shutdown(DEADLINE).await;
}
