//! Runs at agents that are fed their input while they go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anabranch_model::*;
use bytes::Bytes;

use crate::cluster::{Cluster, eventually, holds_for};
use crate::doubles::*;
use crate::room::Weather;

/// Writes each piece in upper case as it comes, after so long.
fn upper(each: Duration) -> Arc<Script> {
    Script::new("default:Upper", move |execution: Execution| async move {
        let sink = execution.sink;
        sink.started(None);
        let feed = execution.feed.expect("it is fed");
        assert_eq!((feed.input.as_str(), execution.inputs.iter().count()), ("text", 0));
        let mut pieces = feed.into_pieces();
        while let Some(piece) = pieces.next().await? {
            sink.sleep(each).await;
            let bytes = piece.data.read_all(1 << 20).unwrap();
            sink.write("out", text(bytes.to_ascii_uppercase())).await?;
        }
        Ok(())
    })
}

/// Gives pieces until `count`, then ends as it is to; counts how often it was asked.
struct Source {
    asked: Arc<AtomicU64>,
    count: u64,
    bytes: usize,
    end: Option<Error>,
}

impl ChunkReader for Source {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        let piece = match &self.end {
            _ if n < self.count => {
                let bytes = format!("{n}:{}", "x".repeat(self.bytes));
                Ok(Some(ComplexValue::new(Data::Bytes(Bytes::from(bytes)), Format::new("text/plain"))))
            }
            Some(error) => Err(error.clone()),
            None => Ok(None),
        };
        Box::pin(std::future::ready(piece))
    }
}

fn source(count: u64, bytes: usize, end: Option<Error>) -> (Source, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    (Source { asked: Arc::clone(&asked), count, bytes, end }, asked)
}

#[tokio::test(start_paused = true)]
async fn pieces_arrive_in_order_once_each_over_a_bad_network() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![upper(Duration::ZERO)]);
    server.registry.published("default:Upper").await;
    cluster.room.set_weather(Weather { delay: Duration::from_millis(80), lose_every: 5, repeat_every: 3 });
    // Some of them too large for a message.
    for bytes in [10, 100_000] {
        let (pieces, _) = source(20, bytes, None);
        let job = server.execute_fed("default:Upper", pieces).await;
        let sink = Arc::clone(&job.sink);
        assert_eq!(job.end().await, Ok(()));
        let out = sink.seen().outputs;
        assert_eq!(out.len(), 20);
        for (n, (_, chunk)) in out.iter().enumerate() {
            assert_eq!(*chunk, Bytes::from(format!("{n}:{}", "X".repeat(bytes))), "piece {n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_slow_slows_the_source_and_its_run_can_be_dismissed() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let _agent = cluster.agent("a1", 1, vec![upper(Duration::from_secs(1))]);
    let (pieces, asked) = source(u64::MAX, 10, None);
    let job = server.execute_fed("default:Upper", pieces).await;
    job.sink.until(|seen| seen.outputs.len() == 10).await;
    let count = asked.load(Ordering::SeqCst);
    assert!((10..=12).contains(&count), "{count} pieces for 10 chunks");
    job.sink.cancel.cancel();
    assert_eq!(job.end().await, Err(Error::Dismissed));
    let count = asked.load(Ordering::SeqCst);
    holds_for(Duration::from_secs(60), "nobody asks any more", || asked.load(Ordering::SeqCst) == count)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_source_ends_with_ends_the_run() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![upper(Duration::ZERO)]);
    let (pieces, _) = source(3, 10, Some(Error::process_failed("the source was idle")));
    let job = server.execute_fed("default:Upper", pieces).await;
    let sink = Arc::clone(&job.sink);
    assert_eq!(job.end().await, Err(Error::process_failed("the source was idle")));
    assert_eq!(sink.seen().outputs.len(), 3, "what was put out stays");
    agent.has_folders(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_early_leaves_the_rest() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let first = Script::new("default:First", |execution: Execution| async move {
        let mut pieces = execution.feed.unwrap().into_pieces();
        let piece = pieces.next().await?.unwrap();
        execution.sink.write("out", Value::Complex(piece)).await
    });
    let _agent = cluster.agent("a1", 1, vec![first]);
    let (pieces, asked) = source(u64::MAX, 10, None);
    let job = server.execute_fed("default:First", pieces).await;
    assert_eq!(job.end().await, Ok(()));
    eventually("one piece was asked for", || asked.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_fed_run_that_dies_with_its_agent_is_lost() {
    let cluster = Cluster::new();
    let server = cluster.server();
    let agent = cluster.agent("a1", 1, vec![upper(Duration::from_secs(1))]);
    let (pieces, _) = source(u64::MAX, 10, None);
    let job = server.execute_fed("default:Upper", pieces).await;
    job.sink.until(|seen| seen.outputs.len() == 2).await;
    drop(agent);
    cluster.room.cut("a1");
    assert!(matches!(job.end().await, Err(Error::AgentLost { .. })));
}
