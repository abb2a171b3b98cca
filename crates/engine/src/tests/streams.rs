//! Outputs asked for as playlists: what they have shown is never taken back.

use super::*;
use crate::Submitter;
use anabranch_model::{DismissedBy, JobState, Outcome, OutputRequest, Removal, Transmission, Viewer};

const PLAYLIST: &str = "application/x-ogc-playlist+text/plain";

/// Puts out three chunks, the first attempt the first two only; goes on after those that are there.
fn stream(on_restart: OnRestart) -> Arc<dyn Process> {
    let mut description = describe("stream", true);
    if let DataDescription::Complex(domain) = &mut description.outputs[1].data {
        domain.formats.insert(0, Format::new(PLAYLIST));
    }
    let script = |execution: Execution| async move {
        execution.sink.started(None);
        for chunk in execution.written..3 {
            if chunk == 2 && execution.attempt == 1 {
                execution.sink.cancelled().await;
                return Err(Error::Dismissed);
            }
            execution
                .sink
                .write("data", bytes(format!("chunk {chunk} of attempt {}", execution.attempt)))
                .await?;
        }
        Ok(())
    };
    Arc::new(Scripted {
        description: Arc::new(description),
        on_restart,
        script: Box::new(move |execution| Box::pin(script(execution))),
    })
}

fn as_stream() -> ExecuteRequest {
    let format = FormatHint { media_type: Some(PLAYLIST.into()), ..FormatHint::default() };
    let output =
        OutputRequest { id: "data".into(), format, transmission: Transmission::Reference, uom: None };
    ExecuteRequest { outputs: vec![output], ..asynchronous("stream") }
}

/// Puts out ten chunks and keeps three, the first attempt six only; goes on after those that were there.
fn sliding() -> Arc<dyn Process> {
    let mut description = describe("stream", true);
    if let DataDescription::Complex(domain) = &mut description.outputs[1].data {
        domain.formats.insert(0, Format::new(PLAYLIST));
    }
    let script = |execution: Execution| async move {
        execution.sink.keep(3);
        execution.sink.started(None);
        for chunk in execution.written..10 {
            if chunk == 6 && execution.attempt == 1 {
                execution.sink.cancelled().await;
                return Err(Error::Dismissed);
            }
            execution.sink.write("data", bytes(format!("chunk {chunk}"))).await?;
        }
        Ok(())
    };
    Arc::new(Scripted {
        description: Arc::new(description),
        on_restart: OnRestart::Continue,
        script: Box::new(move |execution| Box::pin(script(execution))),
    })
}

/// The number of the first chunk, those from there, and how many there have been.
async fn window(engine: &Engine, id: JobId, first: u64) -> (u64, usize, u64, bool) {
    let page = engine.chunks(&Viewer::Operator, id, "data", first, 100).await.unwrap();
    (page.first, page.chunks.len(), page.total, page.slides)
}

/// Files of a job's results.
fn files(folder: &Path, id: JobId) -> usize {
    let outputs = std::fs::read_dir(folder.join("results").join(id.to_string()));
    let outputs = outputs.map_or_else(|_| Vec::new(), |outputs| outputs.flatten().collect::<Vec<_>>());
    outputs.iter().map(|output| std::fs::read_dir(output.path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_slides_keeps_its_last_chunks_also_over_a_crash() {
    let limits = Limits { inline_chunk_bytes_max: 0, ..Limits::default() };
    let bench = Bench::new(limits.clone()).await;
    bench.engine.registry().publish(sliding());
    let job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap().id();
    bench.view_when(job, |view| view.outputs[0].chunks == 6 && view.outputs[0].removed == 3).await;
    assert_eq!(window(&bench.engine, job, 0).await, (3, 3, 6, true));
    assert_eq!(window(&bench.engine, job, 5).await, (5, 1, 6, true));
    assert_eq!(chunks(&bench.engine, job).await, ["chunk 3", "chunk 4", "chunk 5"]);
    let copy = bench.crash().await;
    let engine = open(copy.path(), limits).await;
    engine.registry().publish(sliding());
    assert_eq!(window(&engine, job, 0).await, (3, 3, 6, true), "before recovery too");
    engine.recover().await.unwrap();
    let mut watch = engine.watch(&Viewer::Operator, job).await.unwrap();
    let end = soon(watch.wait_for(|view| view.job.is_finished())).await.unwrap().job.state.clone();
    assert_eq!(end, JobState::Finished(Outcome::Succeeded));
    assert_eq!(window(&engine, job, 0).await, (7, 3, 10, true));
    assert_eq!(chunks(&engine, job).await, ["chunk 7", "chunk 8", "chunk 9"]);
    let summary = engine.job(&Viewer::Operator, job).await.unwrap().outputs[0].clone();
    assert_eq!((summary.removed, summary.kept_max), (7, Some(3)));
    assert_eq!(engine.output(&Viewer::Operator, job, "data").await.unwrap().chunks.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_removed_chunks_leave_the_disk() {
    let bench = Bench::new(Limits { inline_chunk_bytes_max: 0, ..Limits::default() }).await;
    let mut description = describe("stream", true);
    if let DataDescription::Complex(domain) = &mut description.outputs[1].data {
        domain.formats.insert(0, Format::new(PLAYLIST));
    }
    let script = |execution: Execution| async move {
        execution.sink.keep(2);
        for chunk in 0..200 {
            execution.sink.write("data", bytes(format!("chunk {chunk}"))).await?;
        }
        Ok(())
    };
    bench.engine.registry().publish(Arc::new(Scripted {
        description: Arc::new(description),
        on_restart: OnRestart::Continue,
        script: Box::new(move |execution| Box::pin(script(execution))),
    }));
    let mut job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap();
    let view = soon(job.finished()).await;
    assert_eq!(view.outputs[0].bytes, 2 * "chunk 199".len() as u64, "what is gone counts no more");
    assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
    assert_eq!(window(&bench.engine, job.id(), 0).await, (198, 2, 200, true));
    // The end is told first, then the disk is tidied.
    until(|| (2..=18).contains(&files(bench.folder.path(), job.id()))).await;
}

async fn chunks(engine: &Engine, id: JobId) -> Vec<String> {
    let page = engine.chunks(&Viewer::Operator, id, "data", 0, 100).await.unwrap();
    let text = |value: Value| match value {
        Value::Complex(value) => String::from_utf8(value.data.read_all(100).unwrap().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    page.chunks.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_crash_where_it_was() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(stream(OnRestart::Continue));
    let job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[0].chunks == 2).await;
    let shown = chunks(&bench.engine, job.id()).await;
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits::default()).await;
    engine.registry().publish(stream(OnRestart::Continue));
    assert_eq!(chunks(&engine, job.id()).await, shown, "before recovery too");
    engine.recover().await.unwrap();
    let mut watch = engine.watch(&Viewer::Operator, job.id()).await.unwrap();
    let end = soon(watch.wait_for(|view| view.job.is_finished())).await.unwrap().job.state.clone();
    assert_eq!(end, JobState::Finished(Outcome::Succeeded));
    let all = chunks(&engine, job.id()).await;
    assert_eq!(all, ["chunk 0 of attempt 1", "chunk 1 of attempt 1", "chunk 2 of attempt 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_may_not_go_on_fails_after_a_crash_and_keeps_what_it_has_shown() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(stream(OnRestart::Fail));
    let job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap();
    bench.view_when(job.id(), |view| view.outputs[0].chunks == 2).await;
    let copy = bench.crash().await;
    let engine = open(copy.path(), Limits::default()).await;
    engine.registry().publish(stream(OnRestart::Fail));
    engine.recover().await.unwrap();
    let mut watch = engine.watch(&Viewer::Operator, job.id()).await.unwrap();
    let end = soon(watch.wait_for(|view| view.job.is_finished())).await.unwrap().job.state.clone();
    assert!(matches!(end, JobState::Finished(Outcome::Failed(Error::Interrupted { .. }))), "{end:?}");
    assert_eq!(chunks(&engine, job.id()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_stream_keeps_what_it_has_shown_until_it_is_removed() {
    let bench = Bench::new(Limits { inline_chunk_bytes_max: 0, ..Limits::default() }).await;
    bench.engine.registry().publish(stream(OnRestart::Continue));
    let job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap().id();
    bench.view_when(job, |view| view.outputs[0].chunks == 2).await;
    bench.engine.dismiss(&Viewer::Operator, job, DismissedBy::Client, DEADLINE).await.unwrap();
    assert_eq!(chunks(&bench.engine, job).await.len(), 2);
    assert!(matches!(bench.engine.results(&Viewer::Operator, job).await, Err(Error::Dismissed)));
    bench.engine.dismiss(&Viewer::Operator, job, DismissedBy::Client, DEADLINE).await.unwrap();
    assert!(matches!(
        bench.engine.chunks(&Viewer::Operator, job, "data", 0, 1).await,
        Err(Error::Gone { why: Removal::Dismissed, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_empty() {
    let bench = Bench::new(Limits::default()).await;
    let mut description = describe("stream", true);
    if let DataDescription::Complex(domain) = &mut description.outputs[1].data {
        domain.formats.insert(0, Format::new(PLAYLIST));
    }
    bench.engine.registry().publish(Arc::new(Scripted {
        description: Arc::new(description),
        on_restart: OnRestart::Continue,
        script: Box::new(|_| Box::pin(std::future::ready(Ok(())))),
    }));
    let mut job = bench.engine.submit(as_stream(), &Submitter::default()).await.unwrap();
    let view = soon(job.finished()).await;
    assert_eq!(view.job.state, JobState::Finished(Outcome::Succeeded));
    assert!(chunks(&bench.engine, job.id()).await.is_empty());
    assert!(bench.engine.output(&Viewer::Operator, job.id(), "data").await.unwrap().chunks.is_empty());
}

/// Puts out a chunk for each permit, and tells of progress once, each time a little later after that.
fn restless(permits: Arc<tokio::sync::Semaphore>) -> Arc<dyn Process> {
    let script = |execution: Execution, permits: Arc<tokio::sync::Semaphore>| async move {
        for round in 0_u16.. {
            tokio::select! {
                permit = permits.acquire() => permit.unwrap().forget(),
                () = execution.sink.cancelled() => break,
            }
            let since = std::time::Instant::now();
            let progress = async {
                while since.elapsed() < Duration::from_micros(u64::from(round) * 40) {
                    tokio::task::yield_now().await;
                }
                execution.sink.progress(f32::from(round) / 10.0, None);
            };
            let (written, ()) = tokio::join!(execution.sink.write("data", bytes("chunk")), progress);
            written?;
        }
        Err(Error::Dismissed)
    };
    Arc::new(Scripted {
        description: Arc::new(describe("restless", true)),
        on_restart: OnRestart::Fail,
        script: Box::new(move |execution| Box::pin(script(execution, Arc::clone(&permits)))),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_shown_also_where_progress_was_shown_while_it_was_stored() {
    let bench = Bench::new(Limits::default()).await;
    let permits = Arc::new(tokio::sync::Semaphore::new(0));
    bench.engine.registry().publish(restless(Arc::clone(&permits)));
    let job = bench.engine.submit(asynchronous("restless"), &Submitter::default()).await.unwrap().id();
    let chunks = |view: &JobView| view.outputs.iter().map(|output| output.chunks).max();
    for count in 1..=250 {
        permits.add_permits(1);
        bench.view_when(job, |view| chunks(view) == Some(count)).await;
    }
    bench.engine.dismiss(&Viewer::Operator, job, DismissedBy::Client, DEADLINE).await.unwrap();
}
