//! Puts the chunks of a stream together.

use crate::chunks::{self, Chunk};
use anabranch_formats::geojson::{Piece, Splitter};
use anabranch_model::{ComplexValue, Cut, Data, Error, Format, OutputSink, Value};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Chunks that wait to be put together, in order.
pub(crate) struct Joined {
    cut: Cut,
    output: String,
    format: Format,
    chunks: Vec<Chunk>,
}

impl Joined {
    /// Into the output of this name, in this format.
    pub(crate) fn new(cut: Cut, output: String, format: Format) -> Self {
        Self { cut, output, format, chunks: Vec::new() }
    }

    /// One more.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    /// Puts them together and out.
    ///
    /// # Errors
    /// Where a chunk is not what its format says, or the result can't be written.
    pub(crate) async fn finish(self, sink: &dyn OutputSink) -> Result<(), Error> {
        let path = sink.scratch().join("joined");
        let (cut, format) = (self.cut, self.format);
        let (data, folders): (Vec<Data>, Vec<PathBuf>) =
            self.chunks.into_iter().map(|chunk| (chunk.value.data, chunk.folder)).unzip();
        let joined = tokio::task::spawn_blocking(move || match cut {
            Cut::Features => features(&data, &path),
            Cut::Tiles => Err(Error::internal("tiles can't be joined")),
        });
        let data = joined.await.map_err(Error::internal)??;
        sink.write(&self.output, Value::Complex(ComplexValue { data, format })).await?;
        for folder in folders {
            chunks::remove(folder).await;
        }
        Ok(())
    }
}

/// One collection of the features of all. Blocking.
fn features(chunks: &[Data], path: &Path) -> Result<Data, Error> {
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::NotEnoughStorage { detail: format!("{}: {error}", path.display()) }
        }
        _ => Error::internal(format!("{}: {error}", path.display())),
    };
    let mut out = BufWriter::new(File::create(path).map_err(lost)?);
    out.write_all(br#"{"type":"FeatureCollection","features":["#).map_err(lost)?;
    let mut is_first = true;
    for (chunk, number) in chunks.iter().zip(1..) {
        let broken = |error: anabranch_formats::geojson::Error| {
            Error::process_failed(format!("chunk {number} of the result is not GeoJSON: {error}"))
        };
        let mut splitter = Splitter::new(chunk.open().map_err(lost)?);
        while let Some(piece) = splitter.next().map_err(broken)? {
            let Piece::Feature(feature) = piece else { continue };
            out.write_all(if is_first { b"\n" } else { b",\n" }).map_err(lost)?;
            out.write_all(feature.bytes).map_err(lost)?;
            is_first = false;
        }
    }
    out.write_all(b"\n]}\n").and_then(|()| out.flush()).map_err(lost)?;
    Data::file(path).map_err(lost)
}
