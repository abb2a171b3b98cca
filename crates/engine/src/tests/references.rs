//! Inputs by reference, read from a server on the loopback.

use super::*;
use crate::Submitter;
use anabranch_model::{DismissedBy, HttpMethod, Reference, ReferenceBody, Viewer};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

/// Answers every request: `/missing` is not there, POST bodies come back, all else is the path.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    address
}

fn answer(stream: &mut std::net::TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let length =
        head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    let (status, body) = match path.as_str() {
        "/missing" => ("404 Not Found", Vec::new()),
        "/large" => ("200 OK", vec![b'x'; 200_000]),
        _ if !body.is_empty() => ("200 OK", body),
        path => ("200 OK", path.as_bytes().to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
}

async fn engine(folder: &Path, server: &str, allowed: bool) -> Engine {
    let address = server.strip_prefix("http://").unwrap();
    let mut policy = Policy::default();
    if allowed {
        policy.allow.push(address.parse().unwrap());
    }
    let config =
        EngineConfig { data: folder.to_owned(), limits: Limits::default(), quotas: Quotas::default() };
    let engine = Engine::open(config, Egress::new(policy)).await.unwrap();
    engine.registry().publish(scripted("reads", OnRestart::Fail, |execution| async move {
        let mut said = vec![execution.inputs.text("text").unwrap_or_default().to_owned()];
        for value in execution.inputs.all("data") {
            let Value::Complex(complex) = value else { panic!("complex") };
            let bytes = complex.data.read_all(1 << 20).unwrap();
            said.push(if bytes.len() < 100 {
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                bytes.len().to_string()
            });
        }
        execution.sink.write("text", text(&said.join(" "))).await
    }));
    engine
}

fn reference(id: &str, reference: Reference) -> InputItem {
    InputItem { data: InputData::Reference(reference), ..item(id, "") }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_read_in_order_and_removed_after() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path(), &server, true).await;
    let post = Reference {
        method: HttpMethod::Post,
        body: Some(ReferenceBody::Href(format!("{server}/body"))),
        ..Reference::get(format!("{server}/post"))
    };
    let mut request = asynchronous("reads");
    request.inputs = vec![
        reference("text", Reference::get(format!("{server}/literal"))),
        reference("data", Reference::get(format!("{server}/large"))),
        item("data", "inline"),
        reference("data", post),
    ];
    let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert_eq!(job.results().unwrap().outputs[0].chunks, [text("/literal 200000 inline /body")]);
    assert!(!folder.path().join("jobs").join(job.id().to_string()).join("fetched").exists());
    // It is removed after the end has been told.
    drop(job);
    engine.shutdown(DEADLINE).await;
    assert!(crate::folders::entries(&folder.path().join("spool")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_forgotten_when_the_job_has_finished() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path(), &server, true).await;
    let with_credentials = Reference {
        headers: vec![("Authorization".into(), "Bearer secret".into())],
        ..Reference::get(format!("{server}/literal"))
    };
    let mut request = asynchronous("reads");
    request.inputs = vec![reference("text", with_credentials)];
    let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
    let id = job.id();
    soon(job.finished()).await;
    assert_eq!(job.results().unwrap().outputs[0].chunks, [text("/literal")]);
    drop(job);
    engine.shutdown(DEADLINE).await;
    // In a copy: a run that has ended may hold the lock for a moment yet.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let again = open(copy.path(), Limits::default()).await;
    let kept = again.request(&Viewer::Operator, id).await.unwrap();
    let expected = reference("text", Reference::get(format!("{server}/literal")));
    assert_eq!(kept.request.inputs, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_fails_the_job_with_the_input_named() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path(), &server, true).await;
    let mut request = synchronous("reads");
    request.inputs = vec![reference("data", Reference::get(format!("{server}/missing")))];
    let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let Err(Error::DataNotAccessible { input, reason }) = job.results() else { panic!("it is not there") };
    assert_eq!(input, "data");
    assert!(reason.contains("404"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_refuses_is_refused_before_acceptance() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let engine = engine(folder.path(), &server, false).await;
    for href in [server.as_str(), "no url"] {
        let mut request = synchronous("reads");
        request.inputs = vec![reference("data", Reference::get(href))];
        let refused = engine.submit(request, &Submitter::default()).await.err().unwrap();
        assert!(matches!(refused, Error::DataNotAccessible { .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_every_fault_and_leaves_nothing() {
    let bench = Bench::new(Limits::default()).await;
    let by_reference =
        |href: &str| InputItem { data: InputData::Reference(Reference::get(href)), ..item("data", "") };
    let mut asked = asynchronous("echo");
    asked.inputs =
        vec![by_reference("http://127.0.0.1/"), by_reference("file:///etc/passwd"), item("typo", "x")];
    let Err(Error::Invalid(faults)) = bench.engine.validate(&asked) else { panic!("it has faults") };
    let names: Vec<_> = faults.iter().map(|fault| fault.subject.name()).collect();
    assert_eq!(names, ["typo", "data", "data"], "{faults:?}");
    asked.inputs = vec![item("text", "hello")];
    let bound = bench.engine.validate(&asked).unwrap();
    assert_eq!(bound.outputs.len(), 2);
    assert!(bench.engine.jobs(&Viewer::Operator, crate::JobFilter::all()).await.unwrap().jobs.is_empty());
}

/// A process that begins to read `data` before it is all there.
struct Early(Arc<ProcessDescription>, Arc<dyn Process>);

impl Process for Early {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.0)
    }

    fn reads_arriving(&self) -> Option<String> {
        Some("data".into())
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Arc::clone(&self.1).execute(execution)
    }
}

/// Puts out what it can read at once, then the length of all.
fn early(bytes_max: Option<u64>) -> Arc<dyn Process> {
    let mut description = describe("reads", false);
    if let DataDescription::Complex(domain) = &mut description.inputs[1].data {
        domain.bytes_max = bytes_max;
    }
    let script = scripted("reads", OnRestart::Fail, |execution| async move {
        let arriving = execution.arriving.expect("it has begun to arrive");
        assert!(execution.inputs.all("data").is_empty());
        execution.sink.started(None);
        let read = move || {
            let mut reader = arriving.data.open()?;
            let mut first = vec![0; 4000];
            reader.read_exact(&mut first)?;
            Ok::<_, std::io::Error>((reader, first))
        };
        let told = |error: std::io::Error| error.downcast::<Error>().unwrap();
        let (mut reader, first) = tokio::task::spawn_blocking(read).await.unwrap().map_err(told)?;
        execution.sink.write("data", bytes(first)).await?;
        let rest = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new())).await.unwrap();
        let rest = rest.map_err(told)?;
        execution.sink.write("text", text(&(4000 + rest).to_string())).await
    });
    Arc::new(Early(Arc::new(description), script))
}

/// Answers once with a head that announces so many bytes, and then what comes through the channel, until that is closed.
fn serve_in_parts(announced: usize) -> (String, mpsc::Sender<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, parts) = mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
            head.push(byte[0]);
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {announced}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // Who has heard enough has gone.
        while parts.recv().is_ok_and(|part| stream.write_all(&part).is_ok()) {}
    });
    (address, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reads_what_is_there_while_the_rest_is_fetched() {
    let ((server, parts), folder) = (serve_in_parts(300_000), tempfile::tempdir().unwrap());
    let engine = engine(folder.path(), &server, true).await;
    engine.registry().publish(early(None));
    let mut request = asynchronous("reads");
    request.inputs = vec![reference("data", Reference::get(format!("{server}/slowly")))];
    let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
    parts.send(vec![b'x'; 5000]).unwrap();
    let mut watch = engine.watch(&Viewer::Operator, job.id()).await.unwrap();
    let has_chunk = |view: &Arc<JobView>| view.outputs.iter().any(|output| output.chunks == 1);
    assert!(!soon(watch.wait_for(has_chunk)).await.unwrap().job.is_finished());
    parts.send(vec![b'y'; 295_000]).unwrap();
    soon(job.finished()).await;
    assert_eq!(job.results().unwrap().outputs[0].chunks, [text("300000")]);
    assert!(!folder.path().join("jobs").join(job.id().to_string()).join("fetched").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_or_is_too_large_fails_the_run_that_reads_it() {
    for (announced, bytes_max) in [(300_000, None), (300_000, Some(100_000))] {
        let ((server, parts), folder) = (serve_in_parts(announced), tempfile::tempdir().unwrap());
        let engine = engine(folder.path(), &server, true).await;
        engine.registry().publish(early(bytes_max));
        let mut request = asynchronous("reads");
        request.inputs = vec![reference("data", Reference::get(format!("{server}/breaks")))];
        let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
        parts.send(vec![b'x'; 5000]).unwrap();
        drop(parts);
        soon(job.finished()).await;
        match (job.results(), bytes_max) {
            (Err(Error::DataNotAccessible { input, .. }), None) => assert_eq!(input, "data"),
            (Err(Error::TooLarge { what, bytes_max }), Some(max)) => {
                assert_eq!((what.as_str(), bytes_max), ("input 'data'", max));
            }
            (other, _) => panic!("{other:?}"),
        }
        assert!(!folder.path().join("jobs").join(job.id().to_string()).join("fetched").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_input_can_be_dismissed() {
    for is_read in [false, true] {
        let ((server, parts), folder) = (serve_in_parts(300_000), tempfile::tempdir().unwrap());
        let engine = engine(folder.path(), &server, true).await;
        engine.registry().publish(early(None));
        let mut request = asynchronous("reads");
        request.inputs = vec![reference("data", Reference::get(format!("{server}/stalls")))];
        let mut job = engine.submit(request, &Submitter::default()).await.unwrap();
        let fetched = folder.path().join("jobs").join(job.id().to_string()).join("fetched");
        if is_read {
            parts.send(vec![b'x'; 5000]).unwrap();
            let mut watch = engine.watch(&Viewer::Operator, job.id()).await.unwrap();
            soon(watch.wait_for(|view| view.outputs.iter().any(|output| output.chunks == 1))).await.unwrap();
        } else {
            until(|| fetched.join("arriving").exists()).await;
        }
        engine.dismiss(&Viewer::Operator, job.id(), DismissedBy::Client, DEADLINE).await.unwrap();
        soon(job.finished()).await;
        assert_eq!(job.results().unwrap_err(), Error::Dismissed);
        until(|| !fetched.exists()).await;
    }
}
