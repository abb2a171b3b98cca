//! Puts the chunks of a stream together.

use crate::chunks::{self, Chunk};
use crate::cut::lost;
use anabranch_formats::geojson::{Piece, Splitter};
use anabranch_formats::raster::geotiff::{self, Compression};
use anabranch_formats::raster::{Mosaic, Tile};
use anabranch_formats::{FormatError, Room};
use anabranch_model::{ComplexValue, Cut, Data, Error, Format, OutputSink, Value};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
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
        let scratch = sink.scratch().to_owned();
        let folders: Vec<PathBuf> = self.chunks.iter().map(|chunk| chunk.folder.clone()).collect();
        let chunks = self.chunks;
        let joined = tokio::task::spawn_blocking(move || match cut {
            Cut::Features => features(&chunks, &path),
            Cut::Tiles => tiles(chunks, &scratch, &path),
        });
        let data = joined.await.map_err(Error::internal)??;
        sink.write(&self.output, Value::Complex(ComplexValue::new(data, format))).await?;
        for folder in folders {
            chunks::remove(folder).await;
        }
        Ok(())
    }
}

/// One collection of the features of all. Blocking.
fn features(chunks: &[Chunk], path: &Path) -> Result<Data, Error> {
    let lost = |error: io::Error| lost(path, &error);
    let mut out = BufWriter::new(File::create(path).map_err(lost)?);
    out.write_all(br#"{"type":"FeatureCollection","features":["#).map_err(lost)?;
    let mut is_first = true;
    for (chunk, number) in chunks.iter().zip(1..) {
        let broken = |error: anabranch_formats::geojson::Error| {
            Error::process_failed(format!("chunk {number} of the result is not GeoJSON: {error}"))
        };
        let mut splitter = Splitter::new(chunk.value.data.open().map_err(lost)?);
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

/// Largest raster that tiles are joined to, in bytes: what lies on the disk on its way, beside the tiles.
const JOINED_BYTES_MAX: u64 = 64 << 30;

/// One raster of the tiles of all, in the layout of a Cloud Optimized GeoTIFF. Blocking.
fn tiles(chunks: Vec<Chunk>, scratch: &Path, path: &Path) -> Result<Data, Error> {
    let tile = |chunk: Chunk| {
        let window = chunk.window.ok_or_else(|| Error::internal("a tile has no place in its raster"))?;
        Ok::<_, Error>(Tile { window, data: chunk.value.data })
    };
    let tiles = chunks.into_iter().map(tile).collect::<Result<Vec<_>, _>>()?;
    let width = tiles.iter().map(|tile| tile.window.column + tile.window.width).max().unwrap_or(0);
    let height = tiles.iter().map(|tile| tile.window.row + tile.window.height).max().unwrap_or(0);
    let broken = |error: FormatError| match error {
        FormatError::Io(error) => lost(path, &error),
        error => Error::process_failed(format!("the tiles of the result can't be joined: {error}")),
    };
    let mosaic = Mosaic::open(width, height, tiles).map_err(broken)?;
    let mut out = BufWriter::new(File::create(path).map_err(|error| lost(path, &error))?);
    let room = Room { scratch, bytes_max: JOINED_BYTES_MAX };
    geotiff::join(mosaic, Compression::Deflate, &room, &mut out, &|| false).map_err(broken)?;
    out.flush().and_then(|()| Data::file(path)).map_err(|error| lost(path, &error))
}
