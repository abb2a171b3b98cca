//! Output streaming: cutting, order, failures, ends.

use crate::doubles::{Base, Sink, collection, describe, execution, geojson, ids, literal, run, streaming};
use anabranch_model::{
    Arriving, ArrivingData, BoxFuture, Data, Error, Execution, Format, LiteralType, LiteralValue, Value,
};
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinHandle;

const PLAYLIST: &str = "application/x-ogc-playlist+application/geo+json";

fn count(count: u64) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::Integer, count.to_string()))
}

#[tokio::test]
async fn features_are_cut_into_as_many_chunks_as_asked_for() {
    for (features, chunks, sizes) in [(10, 4, vec![3, 3, 2, 2]), (7, 7, vec![1; 7]), (5, 1, vec![5])] {
        let (base, sink) = (Base::giving(), Sink::new());
        let process = streaming(&base, "OutputStreaming", &[]);
        let inputs = vec![("data", geojson(&collection(0, features))), ("NumberOfChunks", count(chunks))];
        run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
        let cut: Vec<_> = sink.chunks().iter().map(|chunk| ids(chunk)).collect();
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert_eq!(cut.concat(), (0..features).collect::<Vec<_>>(), "document order");
        assert_eq!(base.prepared.load(Ordering::SeqCst), 1, "what chunks share is prepared once");
    }
}

#[tokio::test]
async fn more_chunks_than_features_are_refused_before_the_stream_opens() {
    let (base, sink) = (Base::giving(), Sink::new());
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 3))), ("NumberOfChunks", count(4))];
    let error = run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap_err().to_string();
    assert!(
        error.contains("'NumberOfChunks' must be at most 3, the number of features, not \"4\""),
        "{error}"
    );
    assert!(!sink.is_started());
}

#[tokio::test]
async fn without_a_number_chunks_grow_and_nothing_is_lost() {
    let (base, sink) = (Base::giving(), Sink::new());
    let process = streaming(&base, "OutputStreaming", &[]);
    run(&process, vec![("data", geojson(&collection(0, 5000)))], PLAYLIST, 0, &sink).await.unwrap();
    let sizes: Vec<_> = sink.chunks().iter().map(String::len).collect();
    assert!(sizes.len() > 2 && sizes[0] < 80_000 && sizes[1] > sizes[0] * 3 / 2, "{sizes:?}");
    let all: Vec<_> = sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect();
    assert_eq!(all, (0..5000).collect::<Vec<_>>());
    let empty = Sink::new();
    run(&process, vec![("data", geojson(&collection(0, 0)))], PLAYLIST, 0, &empty).await.unwrap();
    assert!(empty.is_started() && empty.chunks().is_empty());
}

/// The next of the text, or why no more comes.
type Part = Result<String, Error>;

/// Data whose parts come through a channel; an error is its last.
struct Parts(Mutex<Option<mpsc::Receiver<Part>>>);

struct PartReader {
    parts: mpsc::Receiver<Part>,
    part: Cursor<Vec<u8>>,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.part.read(buffer)? {
                0 => match self.parts.recv() {
                    Ok(part) => self.part = Cursor::new(part.map_err(io::Error::other)?.into_bytes()),
                    Err(_all) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

impl ArrivingData for Parts {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let parts = self.0.lock().unwrap().take().expect("it is opened once");
        Ok(Box::new(PartReader { parts, part: Cursor::default() }))
    }

    fn complete(&self) -> BoxFuture<'_, Result<Data, Error>> {
        let mut reader = self.open().unwrap();
        Box::pin(async move {
            let read = move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_length| Data::Bytes(all.into()))
            };
            let read = tokio::task::spawn_blocking(read).await.unwrap();
            read.map_err(|error| error.downcast::<Error>().unwrap())
        })
    }
}

/// Begins a stream over data that is arriving.
fn begin(
    sink: &Arc<Sink>,
    inputs: Vec<(&str, Value)>,
) -> (mpsc::Sender<Part>, JoinHandle<Result<(), Error>>) {
    let process = streaming(&Base::giving(), "OutputStreaming", &[]);
    assert_eq!(process.reads_arriving().as_deref(), Some("data"));
    let (sender, parts) = mpsc::channel();
    let data = Arc::new(Parts(Mutex::new(Some(parts))));
    let arriving = Arriving { input: "data".into(), format: Format::new(Format::GEOJSON), data };
    let execution = Execution { arriving: Some(arriving), ..execution(inputs, PLAYLIST, 0, sink) };
    (sender, tokio::spawn(process.execute(execution)))
}

#[tokio::test]
async fn features_are_cut_while_the_data_arrives() {
    let sink = Sink::new();
    let (parts, stream) = begin(&sink, Vec::new());
    let text = collection(0, 5000);
    let (first, rest) = text.split_at(text.len() / 2);
    parts.send(Ok(first.to_owned())).unwrap();
    sink.has(1).await;
    assert!(!stream.is_finished());
    parts.send(Ok(rest.to_owned())).unwrap();
    drop(parts);
    stream.await.unwrap().unwrap();
    let all: Vec<_> = sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect();
    assert_eq!(all, (0..5000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_ends_the_arrival_ends_the_stream_and_chunks_stay() {
    let sink = Sink::new();
    let (parts, stream) = begin(&sink, Vec::new());
    let text = collection(0, 5000);
    parts.send(Ok(text[..text.len() / 2].to_owned())).unwrap();
    sink.has(1).await;
    let gone = Error::DataNotAccessible { input: "data".into(), reason: "the connection broke".into() };
    parts.send(Err(gone.clone())).unwrap();
    assert_eq!(stream.await.unwrap(), Err(gone));
    assert!(!sink.chunks().is_empty());
}

#[tokio::test]
async fn a_number_of_chunks_waits_for_all_of_the_data() {
    for (asked, ends_well) in [(4, true), (6000, false)] {
        let sink = Sink::new();
        let (parts, stream) = begin(&sink, vec![("NumberOfChunks", count(asked))]);
        let text = collection(0, 5000);
        for half in [&text[..text.len() / 2], &text[text.len() / 2..]] {
            assert!(!sink.is_started());
            parts.send(Ok(half.to_owned())).unwrap();
        }
        drop(parts);
        assert_eq!(stream.await.unwrap().is_ok(), ends_well);
        assert_eq!(sink.chunks().len(), if ends_well { 4 } else { 0 });
    }
}

#[tokio::test]
async fn sequences_and_bare_geometries_become_collections() {
    let (base, sink) = (Base::giving(), Sink::new());
    let process = streaming(&base, "OutputStreaming", &[]);
    let sequence = "\u{1e}{\"type\":\"Point\",\"coordinates\":[1,2]}\n\u{1e}{\"type\":\"Feature\",\"id\":7,\"geometry\":null,\"properties\":{}}\n";
    run(&process, vec![("data", geojson(sequence))], PLAYLIST, 0, &sink).await.unwrap();
    let chunk: serde_json::Value = serde_json::from_str(&sink.chunks()[0]).unwrap();
    assert_eq!(chunk["features"][0]["geometry"]["coordinates"], serde_json::json!([1, 2]));
    assert_eq!(chunk["features"][1]["id"], 7);
}

#[tokio::test]
async fn order_is_kept_however_long_chunks_take() {
    // Each chunk waits for the one behind it, so that all end in reverse order.
    let gates: Arc<Vec<Semaphore>> = Arc::new((0..=8).map(|_| Semaphore::new(0)).collect());
    gates[8].add_permits(1);
    let base = Base::new(move |chunk| {
        let gates = Arc::clone(&gates);
        async move {
            let number = usize::try_from(ids(&chunk.text)[0]).unwrap();
            gates[number + 1].acquire().await.unwrap().forget();
            chunk.give().await?;
            gates[number].add_permits(1);
            Ok(())
        }
    });
    let sink = Sink::new();
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 8))), ("NumberOfChunks", count(8))];
    run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
    let order: Vec<_> = sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect();
    assert_eq!(order, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_more_chunks_are_under_way_than_the_process_can_use() {
    for (runs_max, at_once) in [(Some(2), 2), (None, 3)] {
        // None ends before so many are there.
        let (there, most) = (Arc::new(Barrier::new(at_once)), Arc::new(AtomicUsize::new(0)));
        let (running, seen) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&most));
        let base = Base::new(move |chunk| {
            let (there, running, most) = (Arc::clone(&there), Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                there.wait().await;
                running.fetch_sub(1, Ordering::SeqCst);
                chunk.give().await
            }
        });
        runs_max.into_iter().for_each(|runs_max| base.runs_max.set(runs_max).unwrap());
        let sink = Sink::new();
        let process = streaming(&base, "OutputStreaming", &[]);
        let inputs = vec![("data", geojson(&collection(0, 12))), ("NumberOfChunks", count(12))];
        run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
        assert_eq!(sink.chunks().len(), 12);
        let most = seen.load(Ordering::SeqCst);
        assert!(runs_max.map_or(most >= at_once, |runs_max| most == runs_max), "{runs_max:?}: {most}");
    }
}

#[tokio::test]
async fn a_failed_chunk_ends_the_stream_and_what_came_before_stays() {
    let base = Base::new(|chunk| async move {
        match ids(&chunk.text)[0] {
            0 | 1 => chunk.give().await,
            2 => Err(Error::process_failed("no")),
            _ => {
                chunk.execution.sink.cancelled().await;
                Err(Error::Dismissed)
            }
        }
    });
    let sink = Sink::new();
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 20))), ("NumberOfChunks", count(20))];
    let error = run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap_err();
    assert_eq!(error.client_text(), "chunk 3: no");
    assert_eq!(sink.chunks().len(), 2);
    assert_eq!(base.running.load(Ordering::SeqCst), 0, "nothing goes on after the end");
}

#[tokio::test]
async fn a_lost_chunk_is_run_again_where_that_does_no_harm() {
    let lost = || Error::AgentLost { reason: "gone".into() };
    for (idempotent, ends_well) in [(true, true), (false, false)] {
        let runs = Arc::new(AtomicUsize::new(0));
        let mut description = describe(&["data"]);
        description.idempotent = idempotent;
        let base = Base::of(description, move |chunk| {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err(lost()) } else { chunk.give().await } }
        });
        let sink = Sink::new();
        let process = streaming(&base, "OutputStreaming", &[]);
        let inputs = vec![("data", geojson(&collection(0, 3))), ("NumberOfChunks", count(3))];
        let ended = run(&process, inputs, PLAYLIST, 0, &sink).await;
        assert_eq!(ended.is_ok(), ends_well, "{ended:?}");
        assert_eq!(sink.chunks().len(), if ends_well { 3 } else { 0 });
    }
}

#[tokio::test]
async fn a_dismissed_stream_ends_with_all_its_runs() {
    let base = Base::new(|chunk| async move {
        if ids(&chunk.text)[0] == 0 {
            return chunk.give().await;
        }
        chunk.execution.sink.cancelled().await;
        Err(Error::Dismissed)
    });
    let sink = Sink::new();
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 30))), ("NumberOfChunks", count(30))];
    let cancel = async {
        sink.has(1).await;
        sink.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(run(&process, inputs, PLAYLIST, 0, &sink), cancel);
    assert_eq!(ended, Err(Error::Dismissed));
    assert_eq!(base.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_goes_on_after_what_is_there() {
    let (base, sink) = (Base::giving(), Sink::new());
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 6))), ("NumberOfChunks", count(3))];
    run(&process, inputs, PLAYLIST, 2, &sink).await.unwrap();
    assert_eq!(sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn every_chunk_is_given_what_all_share_and_no_parameter_of_the_streaming() {
    let base = Base::new(|chunk| async move {
        assert_eq!(chunk.execution.inputs.text("note"), Some("shared"));
        assert!(chunk.execution.inputs.all("NumberOfChunks").is_empty());
        chunk.give().await
    });
    let sink = Sink::new();
    let process = streaming(&base, "OutputStreaming", &[]);
    let data = geojson(&collection(0, 4));
    let inputs = vec![("data", data), ("note", literal("shared")), ("NumberOfChunks", count(2))];
    run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
    assert_eq!(sink.chunks().len(), 2);
}

#[tokio::test]
async fn asked_for_as_a_whole_the_chunks_are_joined() {
    let (base, sink) = (Base::giving(), Sink::new());
    let process = streaming(&base, "OutputStreaming", &[]);
    let inputs = vec![("data", geojson(&collection(0, 9))), ("NumberOfChunks", count(4))];
    run(&process, inputs, "application/geo+json", 0, &sink).await.unwrap();
    let [whole] = sink.chunks().try_into().unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(parsed["features"].as_array().unwrap().len(), 9);
    assert_eq!(ids(&whole), (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_process_that_puts_out_nothing_or_too_much_fails_its_chunk() {
    for (values, expected) in [(0, "ended without an output"), (2, "several values"), (40, "more than 16")] {
        let base = Base::new(move |chunk| async move {
            for _ in 0..values {
                chunk.give().await?;
            }
            Ok(())
        });
        let sink = Sink::new();
        let process = streaming(&base, "OutputStreaming", &[]);
        let error = run(&process, vec![("data", geojson(&collection(0, 1)))], PLAYLIST, 0, &sink).await;
        let error = error.unwrap_err().client_text();
        assert!(error.starts_with("chunk 1: ") && error.contains(expected), "{error}");
    }
}
