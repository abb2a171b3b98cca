//! Executables that are fed on standard input.

use super::support::{Run, assert_dead, until};
use anabranch_model::{BoxFuture, ChunkReader, ComplexValue, Data, Error, Format};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

const FILE: &str = "[chunking]\ninputs = ['data']\noutput = 'out'\ncut = 'features'\nstdin = 'ndjson'
[inputs.data]\ntype = 'complex'\nformats = ['application/geo+json']
[outputs.out]\ntype = 'complex'\nformats = ['application/geo+json-seq']\nstdout = true\nrecords = { max = 1 }
[command]\ngrace = '1 s'\n";

fn piece(features: &[&str]) -> ComplexValue {
    let text = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(",\n"));
    ComplexValue::new(Data::Bytes(text.into()), Format::new(Format::GEOJSON))
}

/// A stream that a test writes.
struct Sent(mpsc::Receiver<Result<ComplexValue, Error>>);

impl ChunkReader for Sent {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(async { self.0.recv().await.transpose() })
    }
}

/// A stream without end: one feature after the other, each of a thousand bytes, and how many were asked for.
struct Endless(Arc<AtomicU64>);

impl ChunkReader for Endless {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let feature = format!(r#"{{"a":"{}"}}"#, "x".repeat(1000));
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(Some(piece(&[&feature])))
        })
    }
}

#[tokio::test]
async fn a_value_is_read_from_standard_input_record_by_record() {
    let run = Run::new("cat", FILE);
    let data = "{\"type\":\"FeatureCollection\",\"features\":[{\"a\":\n1}, {\"a\":2}]}";
    run.execute_with(&[("data", data)]).await.unwrap();
    assert_eq!(run.sink.chunk("out"), "{\"a\": 1}\n|{\"a\":2}\n");
    let sequence = Run::new("cat", &FILE.replace("ndjson", "geojsonseq"));
    sequence.execute_with(&[("data", data)]).await.unwrap();
    assert_eq!(sequence.sink.chunk("out"), "\u{1e}{\"a\": 1}\n|\u{1e}{\"a\":2}\n");
}

#[tokio::test]
async fn one_run_takes_the_pieces_as_they_come() {
    let run = Run::new("echo $$ >> {folder}/runs; while read -r line; do echo \"[$line]\"; done", FILE);
    let (sender, receiver) = mpsc::channel(1);
    let source = async {
        for (number, expected) in [(1, "[{\"a\":1}]\n"), (2, "[{\"a\":1}]\n|[{\"a\":2}]\n")] {
            sender.send(Ok(piece(&[&format!("{{\"a\":{number}}}")]))).await.unwrap();
            // The next piece comes after what the one before has become: nothing waits for the end.
            until("its chunk", || (run.sink.chunk("out") == expected).then_some(())).await;
        }
        drop(sender);
    };
    let (result, ()) = tokio::join!(run.execute_fed(Sent(receiver)), source);
    result.unwrap();
    assert_eq!(std::fs::read_to_string(run.folder.path().join("runs")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn who_has_seen_enough_ends_an_endless_stream() {
    let run = Run::new("head -n 2", FILE);
    run.execute_fed(Endless(Arc::default())).await.unwrap();
    assert_eq!(run.sink.chunk("out").lines().count(), 2);
    assert!(run.sink.log_text().contains("before it had read all"), "{}", run.sink.log_text());
}

#[tokio::test]
async fn who_reads_nothing_slows_the_source_and_can_be_dismissed() {
    let run = Run::new("echo $$ > {folder}/pid; sleep 1000 & echo $! > {folder}/child; wait", FILE);
    let asked = Arc::new(AtomicU64::new(0));
    let dismiss = async {
        let pids = run.pids(&["pid", "child"]).await;
        // A pipe holds 64 records of a thousand bytes.
        until("the pipe is full", || (asked.load(Ordering::Relaxed) > 60).then_some(())).await;
        run.sink.cancel();
        pids
    };
    let (result, pids) = tokio::join!(run.execute_fed(Endless(Arc::clone(&asked))), dismiss);
    assert_eq!(result, Err(Error::Dismissed));
    assert_dead(&pids);
    assert!(asked.load(Ordering::Relaxed) < 200, "{asked:?}");
}

#[tokio::test]
async fn an_endless_stream_goes_through_until_it_is_dismissed() {
    let run = Run::new("echo $$ > {folder}/pid; cat", &FILE.replace("max = 1", "max = 100"));
    let dismiss = async {
        let pids = run.pids(&["pid"]).await;
        until("chunks", || (run.sink.chunks.lock().unwrap().len() > 3).then_some(())).await;
        run.sink.cancel();
        pids
    };
    let (result, pids) = tokio::join!(run.execute_fed(Endless(Arc::default())), dismiss);
    assert_eq!(result, Err(Error::Dismissed));
    assert_dead(&pids);
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_let_through_is_empty() {
    let run = Run::new("cat > {folder}/read", FILE);
    let (sender, receiver) = mpsc::channel(1);
    sender.send(Ok(piece(&["{\"a\":1}"]))).await.unwrap();
    drop(sender);
    run.execute_fed(Sent(receiver)).await.unwrap();
    assert_eq!(run.sink.chunk("out"), "");
    assert_eq!(std::fs::read_to_string(run.folder.path().join("read")).unwrap(), "{\"a\":1}\n");
}

#[tokio::test]
async fn what_is_wrong_with_the_stream_ends_the_run() {
    for (bad, expected) in [
        (Err(Error::process_failed("the source has died")), "the source has died"),
        (
            Ok(ComplexValue::new(Data::Bytes("<html>".into()), Format::new(Format::GEOJSON))),
            "piece 2 of input 'data' is not GeoJSON",
        ),
    ] {
        let run = Run::new("echo $$ > {folder}/pid; cat", FILE);
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(piece(&["{\"a\":1}"]))).await.unwrap();
        let source = async {
            let pids = run.pids(&["pid"]).await;
            until("its chunk", || (run.sink.chunk("out") == "{\"a\":1}\n").then_some(())).await;
            sender.send(bad).await.unwrap();
            pids
        };
        let (result, pids) = tokio::join!(run.execute_fed(Sent(receiver)), source);
        let Err(Error::ProcessFailed { message, .. }) = result else { panic!("{result:?}") };
        assert!(message.starts_with(expected), "{message}");
        assert_dead(&pids);
    }
}

#[tokio::test]
async fn an_executable_that_fails_in_the_middle_fails_the_run() {
    let run = Run::new("read -r line; echo \"$line\"; echo 'no memory' >&2; exit 3", FILE);
    let result = run.execute_fed(Endless(Arc::default())).await;
    let Err(Error::ProcessFailed { message, .. }) = result else { panic!("{result:?}") };
    assert!(message.contains("exited with code 3"), "{message}");
    assert_eq!(run.sink.chunk("out").lines().count(), 1, "what was put out stays");
}
