//! Threads that help with a run of an algorithm while a processor has nothing else to do.

use super::*;
use crate::{Quota, Submitter};
use anabranch_model::{Algorithm, AlgorithmSink, HelperSink, Inputs, LimitKind, UserName};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// Says what its helper does, and ends when it is told to.
struct Shared {
    said: Sender<&'static str>,
    /// What [`Shared::run`] waits for; it ends with the sender.
    go: Mutex<Receiver<()>>,
    help: Help,
}

/// Is told once the work is done.
type Help = fn(&dyn HelperSink, &AtomicBool);

/// Published as `shared`; -> what it says, and what it waits for.
fn shared(bench: &Bench, help: Help) -> (Receiver<&'static str>, Sender<()>) {
    let ((said, says), (go, waits)) = (channel(), channel());
    bench.engine.registry().publish_algorithm(Arc::new(Shared { said, go: Mutex::new(waits), help }));
    (says, go)
}

impl Algorithm for Shared {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::new(describe("shared", false))
    }

    fn run(&self, _: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let said = Mutex::new(self.said.clone());
        let say = |what| {
            // Nobody listens any more where the test has failed.
            let _ = said.lock().unwrap_or_else(PoisonError::into_inner).send(what);
        };
        let is_done = AtomicBool::new(false);
        let mut work = || {
            say("works");
            let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
            while !sink.is_cancelled() && go.recv_timeout(Duration::from_millis(20)).is_err() {}
            is_done.store(true, Ordering::Release);
            if sink.is_cancelled() { Err(Error::Dismissed) } else { Ok(()) }
        };
        let help = |helper: &dyn HelperSink| {
            say("helps");
            (self.help)(helper, &is_done);
            say("has helped");
        };
        sink.share(&mut work, &help)?;
        sink.write("text", text("done"))
    }
}

/// Computes until the processor is needed elsewhere, or nothing is left to do.
fn spin(helper: &dyn HelperSink, is_done: &AtomicBool) {
    while !is_done.load(Ordering::Acquire) && !helper.is_needed_elsewhere() && !helper.is_cancelled() {
        std::hint::spin_loop();
    }
}

/// The next thing that is said.
async fn next(says: Receiver<&'static str>) -> (&'static str, Receiver<&'static str>) {
    let next =
        tokio::task::spawn_blocking(move || (says.recv_timeout(Duration::from_secs(30)).unwrap(), says));
    next.await.unwrap()
}

/// The next two things, which are said in any order.
async fn both(says: Receiver<&'static str>) -> ([&'static str; 2], Receiver<&'static str>) {
    let (one, says) = next(says).await;
    let (two, says) = next(says).await;
    let mut both = [one, two];
    both.sort_unstable();
    (both, says)
}

fn two_threads() -> Limits {
    Limits { cpu_threads: 2, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_helped_until_another_one_needs_the_processor() {
    let bench = Bench::new(two_threads()).await;
    let (says, go) = shared(&bench, spin);
    let mut first = bench.engine.submit(asynchronous("shared"), &Submitter::default()).await.unwrap();
    let (said, says) = both(says).await;
    assert_eq!(said, ["helps", "works"]);
    let mut second = bench.engine.submit(asynchronous("shared"), &Submitter::default()).await.unwrap();
    let (said, says) = both(says).await;
    assert_eq!(said, ["has helped", "works"], "the first one's helper has gone, and the second has none");
    for job in [&mut first, &mut second] {
        go.send(()).unwrap();
        soon(job.finished()).await;
        assert!(job.results().is_ok());
    }
    let mut third = bench.engine.submit(asynchronous("shared"), &Submitter::default()).await.unwrap();
    let (said, _says) = both(says).await;
    assert_eq!(said, ["helps", "works"], "there is room again");
    go.send(()).unwrap();
    soon(third.finished()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_processor_helps_nobody() {
    let bench = Bench::new(Limits { cpu_threads: 1, ..Limits::default() }).await;
    let (says, go) = shared(&bench, spin);
    let mut job = bench.engine.submit(asynchronous("shared"), &Submitter::default()).await.unwrap();
    go.send(()).unwrap();
    soon(job.finished()).await;
    assert!(job.results().is_ok());
    assert_eq!(says.try_iter().collect::<Vec<_>>(), ["works"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_panics_fails_its_run() {
    let bench = Bench::new(two_threads()).await;
    let (_says, go) = shared(&bench, |_helper, _is_done| panic!("on purpose"));
    go.send(()).unwrap();
    let mut job = bench.engine.submit(asynchronous("shared"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let error = job.results().unwrap_err();
    assert!(error.to_string().contains("the process panicked: on purpose"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_of_helpers_counts() {
    let quotas = Quotas { each_user: Quota { cpu_s_max: Some(1), ..Quota::default() }, ..Quotas::default() };
    let bench = Bench::with(two_threads(), quotas).await;
    let (_says, _go) = shared(&bench, spin);
    let anna = Submitter { owner: Some(UserName::new("anna").unwrap()), ..Submitter::default() };
    let mut job = bench.engine.submit(asynchronous("shared"), &anna).await.unwrap();
    soon(job.finished()).await;
    match job.results() {
        Err(Error::OverLimit { limit, .. }) => assert_eq!(limit.kind, LimitKind::CpuSeconds),
        other => panic!("{other:?}"),
    }
}
