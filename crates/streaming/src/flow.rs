//! From pieces to chunks: the process is run for several at a time, and what comes out is put out in the order of the pieces.
//!
//! Back-pressure goes all the way: one chunk is stored at a time, and those that wait for that keep the places of runs, so that a slow disk
//! slows the runs, and runs slow the one that cuts or polls. Nothing waits that is not counted: at most `chunks_parallel_max` pieces are under
//! way, of those that are cut here no more than the process says that it can use
//! ([`Process::runs_max`](anabranch_model::Process::runs_max)); one chunk is being stored, and one piece is at hand.

use crate::chunks::{self, Chunk, Runner};
use crate::join::Joined;
use crate::source::{Piece, Source};
use anabranch_model::{BoxFuture, Error, OutputSink, Value};
use futures_util::StreamExt as _;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesOrdered;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Where chunks go.
pub(crate) enum Delivery {
    /// Each is a chunk of the output of this name.
    Chunks(String),
    /// They are put together first.
    Joined(Joined),
}

/// How far a stream is.
struct Progress {
    done: u64,
    total: Option<u64>,
}

impl Progress {
    fn tell(&self, sink: &dyn OutputSink) {
        let percent = self.total.map_or(0.0, |total| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // for people
            let percent = (100.0 * self.done as f64 / total.max(1) as f64) as f32;
            percent
        });
        let message = match self.total {
            Some(total) => format!("{} of {total} chunks", self.done),
            None => format!("{} chunks", self.done),
        };
        sink.progress(percent.min(100.0), Some(&message));
    }
}

/// Runs a stream to its end. When it returns, no run goes on.
///
/// # Errors
/// The first error in the order in which errors came; what was put out before stays.
pub(crate) async fn flow(
    runner: Arc<Runner>,
    source: Box<dyn Source>,
    first: u64,
    mut delivery: Delivery,
) -> Result<(), Error> {
    let sink = Arc::clone(&runner.sink);
    let (sender, mut pieces) = mpsc::channel(1);
    let _ends_with_the_stream = AbortOnDropHandle::new(tokio::spawn(pump(source, sender)));
    // Runs that are still going on when this future is dropped are told to end.
    let _cancelled_when_dropped = runner.cancel.clone().drop_guard();
    let mut running = FuturesOrdered::new();
    let mut storing: Option<BoxFuture<'static, Result<(), Error>>> = None;
    let mut runs_max = runner.context.settings.chunks_parallel_max;
    let mut progress = Progress { done: first, total: None };
    let mut failure = None;
    let mut is_ended = false;
    while !running.is_empty() || storing.is_some() || (failure.is_none() && !is_ended) {
        let takes = !is_ended && failure.is_none() && running.len() < runs_max;
        let error = tokio::select! {
            piece = pieces.recv(), if takes => match piece {
                Some(Ok((piece, total))) => {
                    progress.total = total;
                    if piece.is_here() {
                        runs_max = runner.runs_max();
                    }
                    if piece.position >= first {
                        let runner = Arc::clone(&runner);
                        let run = tokio::spawn(async move { runner.run(piece).await });
                        running.push_back(AbortOnDropHandle::new(run));
                    }
                    continue;
                }
                Some(Err(error)) => error,
                None => {
                    is_ended = true;
                    continue;
                }
            },
            Some(ended) = running.next(), if storing.is_none() && !running.is_empty() => {
                let chunk = ended.unwrap_or_else(|lost| Err(Error::internal(format!("a chunk's run was lost: {lost}"))));
                match (chunk, failure.is_some()) {
                    (Ok(chunk), false) => {
                        storing = Some(deliver(&mut delivery, chunk, &sink));
                        continue;
                    }
                    (Ok(chunk), true) => {
                        chunks::remove(chunk.folder).await;
                        continue;
                    }
                    (Err(error), _) => error,
                }
            }
            Some(stored) = OptionFuture::from(storing.as_mut()), if storing.is_some() => {
                storing = None;
                match stored {
                    Ok(()) => {
                        progress.done += 1;
                        progress.tell(sink.as_ref());
                        continue;
                    }
                    Err(error) => error,
                }
            }
            () = sink.cancelled(), if failure.is_none() => Error::Dismissed,
        };
        // What was cancelled because another had failed tells nothing new.
        failure.get_or_insert(error);
        runner.cancel.cancel();
    }
    match (failure, delivery) {
        (Some(_), _) if sink.is_cancelled() => Err(Error::Dismissed),
        (Some(error), _) => Err(error),
        (None, Delivery::Joined(joined)) => joined.finish(sink.as_ref()).await,
        (None, Delivery::Chunks(_)) => Ok(()),
    }
}

/// Asks the source again and again, in a task of its own: what it waits for is not forgotten while chunks are stored.
async fn pump(mut source: Box<dyn Source>, pieces: mpsc::Sender<Result<(Piece, Option<u64>), Error>>) {
    loop {
        // Nothing is cut that has no place yet: a piece in the hand would be one more in memory.
        let Ok(place) = pieces.reserve().await else { return };
        let next = match source.next().await {
            Ok(Some(piece)) => Ok((piece, source.total())),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_over = next.is_err();
        place.send(next);
        if is_over {
            return;
        }
    }
}

/// The chunk is where it belongs when the future that this gives has ended.
fn deliver(
    delivery: &mut Delivery,
    chunk: Chunk,
    sink: &Arc<dyn OutputSink>,
) -> BoxFuture<'static, Result<(), Error>> {
    match delivery {
        Delivery::Chunks(output) => {
            let (output, sink) = (output.clone(), Arc::clone(sink));
            Box::pin(async move {
                let written = sink.write(&output, Value::Complex(chunk.value)).await;
                chunks::remove(chunk.folder).await;
                written
            })
        }
        Delivery::Joined(joined) => {
            joined.push(chunk);
            Box::pin(std::future::ready(Ok(())))
        }
    }
}
