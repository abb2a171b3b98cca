//! Cuts data that is all there, or features of data that is arriving.

mod buffers;
mod features;
mod tiles;

use crate::Context;
use crate::parameters::{self, NUMBER_OF_CHUNKS, refused};
use crate::source::{Piece, PieceData, Source};
use crate::stream::Stream;
use crate::tile::TilePlace;
use anabranch_formats::{Spread, chunk_sizes};
use anabranch_model::{Arriving, BoxFuture, ComplexValue, Cut as Kind, Error};
pub(crate) use buffers::Buffers;
use features::{Features, Plan, count_features};
use std::path::Path;
use std::sync::Arc;
use tiles::Tiles;

/// Cuts one piece after the other. Blocking.
trait Cutter: Send {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> Result<Option<Cut>, Error>;

    /// How many pieces there will be, where that is known.
    fn total(&self) -> Option<u64>;
}

/// What was cut out.
struct Cut {
    /// A value for each input.
    values: Vec<(String, ComplexValue)>,
    /// Where it was, in a raster.
    place: Option<TilePlace>,
}

/// The pieces of a stream's inputs.
///
/// # Errors
/// What is wrong with the parameters of the cutting, or with the beginning of the data.
pub(crate) async fn open(stream: &mut Stream, context: &Context) -> Result<Box<dyn Source>, Error> {
    if let Some(Arriving { input, format, data }) = stream.take_arriving() {
        let (sink, buffers) = (Arc::clone(stream.sink()), context.buffers.clone());
        let opened = move || {
            let reader = data.open().map_err(|error| features::unread(&input, error))?;
            let cutter = Features::new(input, &format, reader, Plan::Growing, sink, buffers);
            Ok(Box::new(cutter) as Box<dyn Cutter>)
        };
        return cutting(opened).await;
    }
    let mut inputs = stream.cut_inputs()?;
    let (kind, overlap) = (stream.chunking.cut, stream.chunking.overlap);
    let legacy_cut = context.settings.legacy_cut;
    let (count, tiles) =
        (parameters::count(stream.inputs(), NUMBER_OF_CHUNKS)?, parameters::tiles(stream.inputs())?);
    let (sink, buffers) = (Arc::clone(stream.sink()), context.buffers.clone());
    let opened = move || -> Result<Box<dyn Cutter>, Error> {
        match kind {
            Kind::Features => {
                let (id, value) = inputs.pop().ok_or_else(|| Error::internal("no input is cut"))?;
                if !inputs.is_empty() {
                    return Err(Error::internal("several vector inputs can't be cut alike"));
                }
                let plan = match count {
                    Some(chunks) => {
                        let features = count_features(&id, &value.data, sink.as_ref())?;
                        if chunks > features {
                            let rule = format!("must be at most {features}, the number of features");
                            return Err(refused(NUMBER_OF_CHUNKS, &rule, &chunks.to_string()));
                        }
                        let spread = if legacy_cut { Spread::RestLast } else { Spread::Balanced };
                        Plan::Counts(chunk_sizes(features, chunks, spread))
                    }
                    None => Plan::Growing,
                };
                let reader = features::open(&id, &value.data)?;
                Ok(Box::new(Features::new(id, &value.format, reader, plan, sink, buffers)))
            }
            Kind::Tiles => Ok(Box::new(Tiles::new(inputs, tiles, overlap, sink)?)),
        }
    };
    cutting(opened).await
}

/// `opened` is blocking.
async fn cutting(
    opened: impl FnOnce() -> Result<Box<dyn Cutter>, Error> + Send + 'static,
) -> Result<Box<dyn Source>, Error> {
    let cutter = tokio::task::spawn_blocking(opened).await.map_err(Error::internal)??;
    let total = cutter.total();
    Ok(Box::new(Cutting { cutter: Some(cutter), position: 0, total }))
}

struct Cutting {
    /// Away while it is at work.
    cutter: Option<Box<dyn Cutter>>,
    position: u64,
    total: Option<u64>,
}

impl Source for Cutting {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Piece>, Error>> {
        Box::pin(async move {
            let Some(mut cutter) = self.cutter.take() else { return Ok(None) };
            // A thread for each piece, not for the whole stream: streams wait long, and threads are few.
            let cut = tokio::task::spawn_blocking(move || (cutter.next(), cutter)).await;
            let (cut, cutter) = cut.map_err(Error::internal)?;
            let Some(Cut { values, place }) = cut? else { return Ok(None) };
            self.cutter = Some(cutter);
            let position = self.position;
            self.position += 1;
            let inputs = values.into_iter().map(|(id, value)| (id, PieceData::Here(value))).collect();
            Ok(Some(Piece { position, inputs, place }))
        })
    }

    fn total(&self) -> Option<u64> {
        self.total
    }
}

/// A file of the stream's own that can't be written or read.
pub(crate) fn lost(path: &Path, error: &std::io::Error) -> Error {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::NotEnoughStorage { detail }
        }
        _ => Error::internal(detail),
    }
}
