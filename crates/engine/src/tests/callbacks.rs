//! Callbacks, taken by a receiver on the loopback. Pauses are set to a millisecond: what is awaited is the next request.

use super::*;
use crate::{CallbackBody, CallbackSettings, RenderCallback, Submitter};
use anabranch_model::{CallbackEvent, DismissedBy, JobState, Subscriber, Viewer};
use hmac::{Hmac, Mac as _};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const SECRET: &[u8] = b"a secret of the tests";

/// A callback as it arrived.
#[derive(Debug)]
struct Received {
    head: String,
    body: String,
}

impl Received {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Takes callbacks; a script says how each is answered: a status line, and more header lines.
struct Receiver {
    address: String,
    received: UnboundedReceiver<Received>,
}

impl Receiver {
    fn start(script: impl Fn(&Received) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, received) = unbounded_channel();
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender, script) = (stream.unwrap(), sender.clone(), Arc::clone(&script));
                std::thread::spawn(move || take(&mut stream, &sender, script.as_ref()));
            }
        });
        Self { address, received }
    }

    async fn next(&mut self) -> Received {
        soon(self.received.recv()).await.unwrap()
    }

    fn url(&self, path: &str) -> Option<String> {
        Some(format!("http://{}{path}", self.address))
    }

    fn subscriber(&self) -> Option<Subscriber> {
        let (succeeded, in_progress, failed) =
            (self.url("/succeeded"), self.url("/in-progress"), self.url("/failed"));
        Some(Subscriber { succeeded, in_progress, failed })
    }

    /// An asynchronous request with all addresses.
    fn request(&self, process: &str) -> ExecuteRequest {
        ExecuteRequest { subscriber: self.subscriber(), ..asynchronous(process) }
    }
}

fn take(
    stream: &mut TcpStream,
    sender: &UnboundedSender<Received>,
    script: &dyn Fn(&Received) -> &'static str,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    let mut received = Received { head: String::from_utf8(head).unwrap(), body: String::new() };
    let length: usize = received.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    received.body = String::from_utf8(body).unwrap();
    let answer = script(&received);
    // Noted before it is answered: a test that has seen the effect finds the request.
    let _test_is_over = sender.send(received);
    let _gone = stream
        .write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}

/// Bodies that tell the event, and the first output.
struct Plain;

impl RenderCallback for Plain {
    fn render<'a>(
        &'a self,
        engine: &'a Engine,
        view: &'a JobView,
        event: CallbackEvent,
    ) -> BoxFuture<'a, Result<CallbackBody, Error>> {
        Box::pin(async move {
            let said = match event {
                CallbackEvent::Succeeded => {
                    format!("{:?}", engine.results(&Viewer::Operator, view.job.id).await?.outputs[0].chunks)
                }
                CallbackEvent::InProgress | CallbackEvent::Failed => format!("{event:?}"),
            };
            Ok(CallbackBody { media_type: "text/plain", bytes: said.into_bytes() })
        })
    }
}

fn quick() -> Limits {
    Limits { callback_pause_ms_min: 1, callback_pause_ms_max: 1, ..Limits::default() }
}

async fn open_at(folder: &Path, receiver: &Receiver, limits: Limits) -> Engine {
    let policy = Policy { allow: vec![receiver.address.parse().unwrap()], ..Policy::default() };
    let config = EngineConfig { data: folder.to_owned(), limits, quotas: Quotas::default() };
    let engine = Engine::open(config, Egress::new(policy)).await.unwrap();
    engine.registry().publish(echo());
    engine.registry().publish(endless("endless", OnRestart::Fail));
    engine.offer_callbacks(CallbackSettings { renderer: Arc::new(Plain), secret: Some(SECRET.to_vec()) });
    engine.recover().await.unwrap();
    engine
}

async fn bench(receiver: &Receiver, limits: Limits) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_at(folder.path(), receiver, limits).await;
    Bench { engine, folder }
}

async fn nothing_is_due(engine: &Engine) {
    soon(async {
        while !engine.0.store.readers.with_callbacks().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Runs until it is told to end.
fn gated(gate: &Arc<Notify>) -> Arc<dyn Process> {
    let gate = Arc::clone(gate);
    scripted("gated", OnRestart::Fail, move |execution| {
        let gate = Arc::clone(&gate);
        async move {
            execution.sink.started(None);
            gate.notified().await;
            execution.sink.write("text", text("done")).await
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_told_in_order_signed_and_once() {
    let mut receiver = Receiver::start(|_| "204 No Content");
    let bench = bench(&receiver, quick()).await;
    let gate = Arc::new(Notify::new());
    bench.engine.registry().publish(gated(&gate));
    let job = bench.engine.submit(receiver.request("gated"), &Submitter::default()).await.unwrap().id();
    let running = receiver.next().await;
    assert_eq!((running.path(), running.body.as_str()), ("/in-progress", "InProgress"));
    assert_eq!(running.header("anabranch-delivery"), Some(format!("{job}-in-progress").as_str()));
    gate.notify_one();
    let end = receiver.next().await;
    assert_eq!(end.path(), "/succeeded");
    assert!(end.body.contains("done"), "{end:?}");
    assert_eq!(end.header("content-type"), Some("text/plain"));
    assert_eq!(end.header("anabranch-delivery"), Some(format!("{job}-succeeded").as_str()));

    let signature = end.header("anabranch-signature").unwrap();
    let (time, code) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(format!("{time}.{}", end.body).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(code, expected);

    nothing_is_due(&bench.engine).await;
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_can_not_take_now_is_sent_again() {
    let count = AtomicUsize::new(0);
    let mut receiver = Receiver::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => "503 Service Unavailable\r\nRetry-After: 0",
        1 => "500 Internal Server Error",
        _ => "200 OK",
    });
    let bench = bench(&receiver, quick()).await;
    let mut request = receiver.request("echo");
    request.subscriber.as_mut().unwrap().in_progress = None;
    bench.engine.submit(request, &Submitter::default()).await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        let received = receiver.next().await;
        assert!(received.body.contains("hello"), "{received:?}");
        deliveries.push(received.header("anabranch-delivery").unwrap().to_owned());
    }
    assert!(deliveries.iter().all(|delivery| *delivery == deliveries[0]), "{deliveries:?}");
    nothing_is_due(&bench.engine).await;
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_or_redirects_is_given_up_and_said_so() {
    for answer in ["404 Not Found", "302 Found\r\nLocation: /elsewhere", "304 Not Modified"] {
        let mut receiver = Receiver::start(move |_| answer);
        let bench = bench(&receiver, quick()).await;
        let mut request = receiver.request("echo");
        request.subscriber.as_mut().unwrap().in_progress = None;
        let job = bench.engine.submit(request, &Submitter::default()).await.unwrap().id();
        assert_eq!(receiver.next().await.path(), "/succeeded");
        nothing_is_due(&bench.engine).await;
        assert!(receiver.received.try_recv().is_err(), "{answer}");
        let log = bench.engine.log(&Viewer::Operator, job, 0, 100).await.unwrap();
        let line = &log.lines.last().unwrap().text;
        assert!(line.starts_with("the callback subscriber.successUri was given up"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted() {
    let mut receiver = Receiver::start(|_| "503 Service Unavailable");
    let bench = bench(&receiver, Limits { callback_attempts_max: 3, ..quick() }).await;
    let mut request = receiver.request("echo");
    request.subscriber.as_mut().unwrap().in_progress = None;
    bench.engine.submit(request, &Submitter::default()).await.unwrap();
    for _ in 0..3 {
        receiver.next().await;
    }
    nothing_is_due(&bench.engine).await;
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_is_told_of_jobs_that_fail_and_of_jobs_that_are_dismissed() {
    let mut receiver = Receiver::start(|_| "200 OK");
    let bench = bench(&receiver, quick()).await;
    bench.engine.registry().publish(scripted("fails", OnRestart::Fail, |_| async move {
        Err(Error::process_failed("as it was told"))
    }));
    let mut request = ExecuteRequest { mode: ExecutionMode::Sync, ..receiver.request("fails") };
    request.subscriber.as_mut().unwrap().in_progress = None;
    bench.engine.submit(request, &Submitter::default()).await.unwrap();
    assert_eq!(receiver.next().await.path(), "/failed");

    let job = bench.engine.submit(receiver.request("endless"), &Submitter::default()).await.unwrap().id();
    assert_eq!(receiver.next().await.path(), "/in-progress");
    bench.engine.dismiss(&Viewer::Operator, job, DismissedBy::Client, DEADLINE).await.unwrap();
    let end = receiver.next().await;
    assert_eq!(end.header("anabranch-delivery"), Some(format!("{job}-failed").as_str()));
    nothing_is_due(&bench.engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_progress_is_dropped_once_the_end_is_known() {
    let mut receiver = Receiver::start(|received| match received.path() {
        "/in-progress" => "503 Service Unavailable",
        _ => "200 OK",
    });
    let bench = bench(&receiver, Limits { callback_attempts_max: u32::MAX, ..quick() }).await;
    let gate = Arc::new(Notify::new());
    bench.engine.registry().publish(gated(&gate));
    bench.engine.submit(receiver.request("gated"), &Submitter::default()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(receiver.next().await.path(), "/in-progress");
    }
    gate.notify_one();
    let mut last = receiver.next().await;
    while last.path() == "/in-progress" {
        last = receiver.next().await;
    }
    assert_eq!(last.path(), "/succeeded");
    nothing_is_due(&bench.engine).await;
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_survives_a_crash_and_what_was_delivered_is_not_repeated() {
    let up = Arc::new(AtomicUsize::new(0));
    let is_up = Arc::clone(&up);
    let mut receiver = Receiver::start(move |_| match is_up.load(Ordering::SeqCst) {
        0 => "503 Service Unavailable",
        _ => "200 OK",
    });
    let bench = bench(&receiver, Limits { callback_pause_ms_min: 3_600_000, ..Limits::default() }).await;
    let mut request = receiver.request("echo");
    request.subscriber.as_mut().unwrap().in_progress = None;
    let job = bench.engine.submit(request, &Submitter::default()).await.unwrap().id();
    let first = receiver.next().await;
    let copy = bench.crash().await;
    up.store(1, Ordering::SeqCst);
    let engine = open_at(copy.path(), &receiver, quick()).await;
    let again = receiver.next().await;
    assert_eq!(first.header("anabranch-delivery"), again.header("anabranch-delivery"));
    assert!(again.body.contains("hello"), "{again:?}");
    nothing_is_due(&engine).await;
    assert_eq!(
        engine.job(&Viewer::Operator, job).await.unwrap().job.state,
        JobState::Finished(anabranch_model::Outcome::Succeeded)
    );
    soon(engine.shutdown(Duration::from_secs(1))).await;
    drop(engine);

    let engine = open_at(copy.path(), &receiver, quick()).await;
    assert!(engine.0.store.readers.with_callbacks().await.unwrap().is_empty());
    assert!(receiver.received.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_the_attempt_under_way() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(std::sync::Barrier::new(2)));
    let (is_asked, goes) = (Arc::clone(&asked), Arc::clone(&go));
    let receiver = Receiver::start(move |_| {
        is_asked.notify_one();
        goes.wait();
        "200 OK"
    });
    let bench = bench(&receiver, quick()).await;
    let mut request = receiver.request("echo");
    request.subscriber.as_mut().unwrap().in_progress = None;
    bench.engine.submit(request, &Submitter::default()).await.unwrap();
    soon(asked.notified()).await;
    let engine = bench.engine.clone();
    let shutdown = tokio::spawn(async move { engine.shutdown(DEADLINE).await });
    soon(bench.engine.0.stop.cancelled()).await;
    go.wait();
    soon(shutdown).await.unwrap();
    assert!(bench.engine.0.store.readers.with_callbacks().await.unwrap().is_empty(), "written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_may_not_be_called_are_refused_by_name_before_acceptance() {
    let receiver = Receiver::start(|_| "200 OK");
    let bench = bench(&receiver, quick()).await;
    let mut request = receiver.request("echo");
    let subscriber = request.subscriber.as_mut().unwrap();
    subscriber.succeeded = Some("http://169.254.169.254/latest".into());
    subscriber.failed = Some("no url".into());
    let Err(Error::Invalid(faults)) = bench.engine.submit(request, &Submitter::default()).await.map(|_| ())
    else {
        panic!("it must be refused")
    };
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "parameter 'subscriber.successUri' can't be called: the reference 'http://169.254.169.254/latest' may not be fetched: the address is not allowed by this server's policy",
            "parameter 'subscriber.failedUri' can't be called: the reference 'no url' may not be fetched: it is not an absolute URL",
        ]
    );
    assert!(bench.engine.jobs(&Viewer::Operator, crate::JobFilter::all()).await.unwrap().jobs.is_empty());

    let none = Bench::new(Limits::default()).await;
    let request = ExecuteRequest { subscriber: receiver.subscriber(), ..asynchronous("echo") };
    let refused = none.engine.submit(request, &Submitter::default()).await.err().unwrap();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_with_callbacks_due_are_bounded() {
    let mut receiver = Receiver::start(|_| "200 OK");
    let bench = bench(&receiver, Limits { callback_jobs_max: 1, ..quick() }).await;
    let first = bench.engine.submit(receiver.request("endless"), &Submitter::default()).await.unwrap().id();
    receiver.next().await;
    let refused = bench.engine.submit(receiver.request("echo"), &Submitter::default()).await.err().unwrap();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    bench.engine.dismiss(&Viewer::Operator, first, DismissedBy::Client, DEADLINE).await.unwrap();
    receiver.next().await;
    soon(async {
        while bench.engine.submit(receiver.request("echo"), &Submitter::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
