//! Streams that one run takes.

use crate::doubles::{Base, Server, Sink, complex, describe, ids, run, streaming, variants};
use anabranch_model::{
    DataDescription, Error, Execution, Format, LiteralType, LiteralValue, OnRestart, ProcessDescription,
    Value,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const IN: &str = "application/x-ogc-playlist+application/geo+json";
const END: &str = "#PLAYLIST-END\n";

fn described() -> ProcessDescription {
    let mut description = describe(&["data"]);
    description.chunking.as_mut().unwrap().is_fed = true;
    description
}

fn number(number: u64) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::Integer, number.to_string()))
}

async fn pass(execution: Execution, pieces_max: usize) -> Result<(), Error> {
    let mut pieces = execution.feed.expect("it is fed").into_pieces();
    for _ in 0..pieces_max {
        let Some(piece) = pieces.next().await? else { break };
        execution.sink.write("other", Value::Complex(piece.clone())).await?;
        execution.sink.write("out", Value::Complex(piece)).await?;
    }
    Ok(())
}

/// Gives back the pieces as they come.
fn passing(pieces_max: usize) -> Arc<Base> {
    Base::of(described(), move |chunk| pass(chunk.execution, pieces_max))
}

async fn followed(base: &Arc<Base>, server: &Server, idle_ms: u64, sink: &Arc<Sink>) -> Result<(), Error> {
    let process = streaming(base, "FullStreaming", std::slice::from_ref(&server.authority));
    let inputs = vec![("data", complex(&server.at("/list"), IN)), ("MaxTimeIdle", number(idle_ms))];
    run(&process, inputs, IN, 0, sink).await
}

fn all_ids(sink: &Sink) -> Vec<u64> {
    sink.chunks().iter().flat_map(|chunk| ids(chunk)).collect()
}

#[tokio::test]
async fn one_run_gets_all_pieces_as_the_playlist_grows() {
    let (server, sink, base) = (Server::start().await, Sink::new(), passing(usize::MAX));
    server.list(1, "");
    let grow = async {
        sink.has(1).await;
        assert_eq!(base.running.load(Ordering::SeqCst), 1);
        server.list(3, "");
        sink.has(3).await;
        assert_eq!(base.running.load(Ordering::SeqCst), 1);
        server.list(4, END);
    };
    let (ended, ()) = tokio::join!(followed(&base, &server, 10_000, &sink), grow);
    ended.unwrap();
    assert_eq!(all_ids(&sink), [10, 11, 20, 21, 30, 31, 40, 41]);
    assert_eq!(base.prepared.load(Ordering::SeqCst), 1);
    let left = std::fs::read_dir(anabranch_model::OutputSink::scratch(sink.as_ref())).unwrap().count();
    assert_eq!(left, 0, "pieces are removed when they are used");
}

#[tokio::test]
async fn a_run_that_ends_early_ends_the_stream() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(3, "");
    followed(&passing(2), &server, 10_000, &sink).await.unwrap();
    assert_eq!(all_ids(&sink), [10, 11, 20, 21]);
}

#[tokio::test]
async fn a_source_that_stops_ends_the_run_and_what_was_put_out_stays() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(2, "");
    let error = followed(&passing(usize::MAX), &server, 150, &sink).await.unwrap_err().client_text();
    assert!(error.starts_with("Maximum time being idle has been exceeded."), "{error}");
    assert_eq!(sink.chunks().len(), 2);
    let sink = Sink::new();
    server
        .set("/list", (200, "text/plain", format!("#SPATIAL-DATA-PLAYLIST\n{}\n{END}", server.at("/none"))));
    let error = followed(&passing(usize::MAX), &server, 10_000, &sink).await.unwrap_err().client_text();
    assert!(error.starts_with("chunk 1: "), "{error}");
}

#[tokio::test]
async fn a_run_that_was_lost_is_not_fed_again() {
    let (server, sink) = (Server::start().await, Sink::new());
    server.list(2, END);
    let base = Base::of(described(), |chunk| async move {
        pass(chunk.execution, 1).await?;
        Err(Error::AgentLost { reason: "agent a1 is gone".into() })
    });
    let error = followed(&base, &server, 10_000, &sink).await.unwrap_err();
    assert_eq!(error.client_text(), "agent a1 is gone: what it had been fed can't be fed again");
    assert!(!error.is_transient());
    assert_eq!(sink.chunks().len(), 1);
}

#[test]
fn it_is_offered_as_what_it_can_be() {
    let all = variants(&passing(1));
    let ids: Vec<_> = all.iter().map(|process| process.description().id.to_string()).collect();
    assert_eq!(ids, ["FullStreamingBase"], "by itself it puts out chunks of data that is all there");
    let DataDescription::Complex(domain) = &all[0].description().outputs[0].data else { panic!() };
    assert!(domain.formats.iter().all(Format::is_playlist), "{:?}", domain.formats);
    assert_eq!(all[0].on_restart(), OnRestart::Fail, "though the process is idempotent");
}

#[tokio::test]
async fn streams_keep_so_many_chunks_as_is_asked_for() {
    for base in [passing(usize::MAX), Base::giving()] {
        let (server, sink) = (Server::start().await, Sink::new());
        server.list(2, END);
        let process = streaming(&base, "FullStreaming", std::slice::from_ref(&server.authority));
        let list = complex(&server.at("/list"), IN);
        run(&process, vec![("data", list), ("MaxChunksKept", number(7))], IN, 0, &sink).await.unwrap();
        assert_eq!((sink.kept.load(Ordering::SeqCst), sink.chunks().len()), (7, 2));
    }
}
