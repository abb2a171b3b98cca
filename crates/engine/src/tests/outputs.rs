//! Outputs: logs of chunks, files, limits; the job's log; large inputs.

use super::*;
use crate::Submitter;
use anabranch_model::{Limit, LimitKind, LimitOf, LogLine, LogSource, Viewer};
use std::sync::Mutex;

/// Writes chunks until told to stop, and hands out what it met.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_seen_while_the_job_runs_in_order_and_whole() {
    let bench = Bench::new(Limits::default()).await;
    let (go, gone) = tokio::sync::watch::channel(0_usize);
    bench.engine.registry().publish(scripted("chunks", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            for n in 0..4_usize {
                gone.wait_for(|go| *go > n).await.unwrap();
                let size = if n.is_multiple_of(2) { 10 } else { 100_000 };
                execution.sink.write("data", bytes(n.to_string().repeat(size))).await?;
            }
            Ok(())
        }
    }));
    let mut job = bench.engine.submit(asynchronous("chunks"), &Submitter::default()).await.unwrap();
    for n in 1..=4_u64 {
        go.send(n as usize).unwrap();
        bench.view_when(job.id(), |view| view.outputs[1].chunks == n).await;
        let page = bench.engine.chunks(&Viewer::Operator, job.id(), "data", n - 1, 10).await.unwrap();
        assert_eq!((page.first, page.total, page.chunks.len()), (n - 1, n, 1));
        let Value::Complex(chunk) = &page.chunks[0] else { panic!("complex") };
        let read = chunk.data.read_all(1 << 20).unwrap();
        assert!(read.iter().all(|byte| *byte == b'0' + (n - 1) as u8), "chunk {n} is whole");
        assert_eq!(chunk.data.path().is_some(), n.is_multiple_of(2), "large ones are files");
    }
    soon(job.finished()).await;
    assert_eq!(job.results().unwrap().outputs[0].chunks.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_chunks_become_files_once_a_job_has_many() {
    let limits = Limits { inline_job_bytes_max: 1000, ..Limits::default() };
    let bench = Bench::new(limits).await;
    bench.engine.registry().publish(scripted("many", OnRestart::Fail, |execution| async move {
        for _ in 0..10 {
            execution.sink.write("data", bytes(vec![b'x'; 300])).await?;
        }
        Ok(())
    }));
    let mut job = bench.engine.submit(synchronous("many"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let results = job.results().unwrap();
    let is_file = |value: &Value| matches!(value, Value::Complex(c) if c.data.path().is_some());
    let files: Vec<_> = results.outputs[0].chunks.iter().map(is_file).collect();
    assert_eq!(files, [false, false, false, true, true, true, true, true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_wrong_names_are_told_to_the_process() {
    let limits = Limits { output_bytes_max: 1000, chunks_max: 5, ..Limits::default() };
    let bench = Bench::new(limits).await;
    let met = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&met);
    bench.engine.registry().publish(scripted("greedy", OnRestart::Fail, move |execution| {
        let seen = Arc::clone(&seen);
        async move {
            let sink = &execution.sink;
            let results = [
                sink.write("nonsense", text("x")).await,
                sink.write("data", bytes(vec![b'x'; 900])).await,
                sink.write("text", bytes(vec![b'x'; 101])).await,
            ];
            seen.lock().unwrap().extend(results);
            for _ in 0..9 {
                sink.write("text", text("y")).await?;
            }
            Ok(())
        }
    }));
    let mut job = bench.engine.submit(synchronous("greedy"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let Err(Error::ProcessFailed { message, .. }) = job.results() else { panic!("too many chunks") };
    assert!(message.contains("5 chunks"), "{message}");
    let met = met.lock().unwrap();
    assert!(matches!(&met[0], Err(Error::Internal { detail }) if detail.contains("nonsense")));
    assert_eq!(met[1], Ok(()));
    assert_eq!(
        met[2],
        Err(Error::over(Limit { kind: LimitKind::OutputBytes, max: 1000, of: LimitOf::Server }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_nobody_asked_for_are_dropped() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(scripted("both", OnRestart::Fail, |execution| async move {
        assert_eq!(execution.outputs.len(), 1);
        execution.sink.write("data", bytes("unwanted")).await?;
        execution.sink.write("text", text("wanted")).await
    }));
    let mut job = bench.engine.submit(asynchronous("echo"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    let mut request = synchronous("both");
    request.outputs = job.request().outputs[..1].to_vec();
    let mut job = bench.engine.submit(request, &Submitter::default()).await.unwrap();
    let view = soon(job.finished()).await;
    assert_eq!(view.outputs.len(), 1);
    assert_eq!(job.results().unwrap().outputs[0].chunks, [text("wanted")]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_scratch_folder_leads_nowhere() {
    let bench = Bench::new(Limits::default()).await;
    let secret = bench.folder.path().join("secret");
    std::fs::write(&secret, "x".repeat(100_000)).unwrap();
    let target = secret.clone();
    bench.engine.registry().publish(scripted("sly", OnRestart::Fail, move |execution| {
        let target = target.clone();
        async move {
            let link = execution.sink.scratch().join("link");
            std::os::unix::fs::symlink(&target, &link).unwrap();
            let data = Data::file(&link).unwrap();
            execution
                .sink
                .write("data", Value::Complex(ComplexValue::new(data, Format::new("text/plain"))))
                .await
        }
    }));
    let mut job = bench.engine.submit(synchronous("sly"), &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert!(matches!(job.results(), Err(Error::Internal { .. })));
    assert!(secret.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_inputs_become_files_of_the_job() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(scripted("sizes", OnRestart::Fail, |execution| async move {
        let sizes = execution.inputs.all("data").iter().map(|value| match value {
            Value::Complex(c) => format!("{}:{}", c.data.len(), c.data.path().is_some()),
            _ => "?".into(),
        });
        execution.sink.write("text", text(&sizes.collect::<Vec<_>>().join(" "))).await
    }));
    let spooled = bench.engine.spool().join("body");
    std::fs::write(&spooled, "abc").unwrap();
    let mut request = asynchronous("sizes");
    request.inputs = vec![item("data", "small"), item("data", &"x".repeat(100_000)), item("data", "")];
    request.inputs[2].data = InputData::Bytes(Data::file(&spooled).unwrap());
    let mut job = bench.engine.submit(request, &Submitter::default()).await.unwrap();
    soon(job.finished()).await;
    assert_eq!(job.results().unwrap().outputs[0].chunks, [text("5:false 100000:true 3:true")]);
    assert!(!spooled.exists(), "it was moved");
    let request = bench.engine.request(&Viewer::Operator, job.id()).await.unwrap();
    let InputData::Bytes(Data::File(file)) = &request.request.inputs[1].data else { panic!("a file") };
    assert_eq!(std::fs::metadata(&file.path).unwrap().len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_followed_and_ends_with_the_job() {
    let bench = Bench::new(Limits { log_bytes_max: 2000, ..Limits::default() }).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    bench.engine.registry().publish(scripted("talks", OnRestart::Fail, move |execution| {
        let mut gone = gone.clone();
        async move {
            let say = |text: String| execution.sink.log(LogLine { source: LogSource::Stdout, text });
            say("first".into());
            gone.wait_for(|go| *go).await.unwrap();
            (0..1000).for_each(|n| say(format!("line {n}")));
            execution.sink.write("text", text("x")).await
        }
    }));
    let job = bench.engine.submit(asynchronous("talks"), &Submitter::default()).await.unwrap();
    let mut lines = bench.engine.watch_log(&Viewer::Operator, job.id()).await.unwrap();
    soon(lines.wait_for(|lines| *lines >= 1)).await.unwrap();
    let page = bench.engine.log(&Viewer::Operator, job.id(), 0, 10).await.unwrap();
    assert_eq!((page.lines[0].text.as_str(), page.next), ("first", 1));
    go.send(true).unwrap();
    soon(async { while lines.changed().await.is_ok() {} }).await;
    let page = bench.engine.log(&Viewer::Operator, job.id(), page.next, 10_000).await.unwrap();
    assert_eq!((page.lines[0].number, page.lines[0].text.as_str()), (1, "line 0"));
    assert!(page.lines.last().unwrap().text.contains("limit of 2000 bytes"));
    assert_eq!(page.total, *lines.borrow());
}
