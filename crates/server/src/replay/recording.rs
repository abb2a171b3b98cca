//! A file cut into the chunks of its replay, which lie in a file without a name.

use anabranch_formats::geojson::{Piece, Splitter};
use anabranch_formats::vector::{VectorFormat, convert};
use anabranch_formats::{DETECT_BYTES, Room, detect};
use anabranch_model::Data;
use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Chunks of a replay, at most: each is a line of the playlist, which clients fetch again and again.
pub(super) const CHUNKS_MAX: usize = 100_000;

/// Bytes of one chunk as GeoJSON, at most: it is made and answered in memory.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Bytes of all chunks, and of the file as GeoJSON, at most: they lie on the disk while it runs.
const RECORDING_BYTES_MAX: u64 = 8 << 30;

const HEAD: &[u8] = b"{\"type\":\"FeatureCollection\",\"features\":[\n";
const SEPARATOR: &[u8] = b",\n";
const TAIL: &[u8] = b"\n]}\n";

/// Which features go into one chunk.
pub(super) enum By {
    /// So many.
    Count(u64),
    /// All on end that have the same value of a property.
    Property(String),
}

/// A chunk in the recording's file.
pub(super) struct Chunk {
    start: u64,
    pub(super) bytes: u64,
    pub(super) features: u64,
    /// Features up to its end, over all chunks.
    pub(super) features_until: u64,
}

/// The chunks of a file; never empty.
pub(super) struct Recording {
    file: File,
    chunks: Vec<Chunk>,
    format: VectorFormat,
}

impl Recording {
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub(super) fn features(&self) -> u64 {
        self.chunks.last().map_or(0, |last| last.features_until)
    }

    pub(super) fn media_type(&self) -> &'static str {
        self.format.media_types()[0]
    }

    /// The bytes of a chunk; `None` where there is none at this place.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn read(&self, place: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(chunk) = self.chunks.get(place) else { return Ok(None) };
        // Written by `Cutter`, which held it in memory.
        let mut bytes = vec![0; chunk.bytes as usize];
        self.file.read_exact_at(&mut bytes, chunk.start)?;
        Ok(Some(bytes))
    }
}

/// Cuts a file into chunks of a format.
///
/// # Errors
/// The first fault of the file, or the limit that it breaks.
pub(super) fn cut(
    file: &Path,
    by: &By,
    format: VectorFormat,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<Recording> {
    let scratch = tempfile::tempdir().context("no folder for its chunks")?;
    let mut data = Data::File(data_file(file)?);
    let from = format_of(file, &data)?;
    if !matches!(from, VectorFormat::GeoJson | VectorFormat::GeoJsonSeq | VectorFormat::GeoJson2008) {
        let path = scratch.path().join("features");
        let mut out = BufWriter::new(File::create(&path)?);
        convert(&data, from, VectorFormat::GeoJson, &room(scratch.path()), &mut out, stop)?;
        out.flush()?;
        data = Data::file(path)?;
    }
    let mut splitter = Splitter::new(data.open()?);
    let mut cutter = Cutter {
        out: BufWriter::new(tempfile::tempfile().context("no file for its chunks")?),
        chunks: Vec::new(),
        format,
        scratch: scratch.path(),
        pending: Vec::new(),
        pending_features: 0,
        key: None,
    };
    while let Some(piece) = splitter.next()? {
        let Piece::Feature(feature) = piece else { continue };
        ensure!(!stop(), "stopped");
        cutter
            .add(feature.bytes, by)
            .with_context(|| format!("feature {} (at byte {})", feature.number, feature.offset))?;
    }
    cutter.flush()?;
    ensure!(!cutter.chunks.is_empty(), "it has no features");
    let file = cutter.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Recording { file, chunks: cutter.chunks, format })
}

fn data_file(path: &Path) -> anyhow::Result<anabranch_model::DataFile> {
    let metadata = std::fs::metadata(path)?;
    // A pipe or a device has no size, and can't be read twice.
    ensure!(metadata.is_file(), "it is no regular file");
    Ok(anabranch_model::DataFile { path: path.to_owned(), bytes: metadata.len() })
}

/// By content, where it tells; tables show nothing, so that their name has to.
fn format_of(file: &Path, data: &Data) -> anyhow::Result<VectorFormat> {
    let mut first = Vec::new();
    data.open()?.take(DETECT_BYTES as u64).read_to_end(&mut first)?;
    let media_type = match detect(&first) {
        // Its `type` may come after many members: whether it is, reading it tells.
        Some("application/json") => Some(VectorFormat::GeoJson.media_types()[0]),
        None if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) => {
            Some(VectorFormat::Csv.media_types()[0])
        }
        found => found,
    };
    if let Some(format) = media_type.and_then(VectorFormat::of_media_type) {
        return Ok(format);
    }
    let known = VectorFormat::ALL.map(VectorFormat::name).join(", ");
    match media_type {
        Some(other) => bail!("it is {other}, and must be one of {known}"),
        None => bail!("its content is none of {known}"),
    }
}

fn room(scratch: &Path) -> Room<'_> {
    Room { scratch, bytes_max: RECORDING_BYTES_MAX }
}

/// The members of a feature that are looked at.
#[derive(Deserialize)]
struct Members {
    #[serde(rename = "type")]
    kind: String,
    properties: Option<serde_json::Map<String, Value>>,
}

struct Cutter<'a> {
    out: BufWriter<File>,
    chunks: Vec<Chunk>,
    format: VectorFormat,
    scratch: &'a Path,
    /// The chunk that is being collected, as GeoJSON without its tail.
    pending: Vec<u8>,
    pending_features: u64,
    /// What its features have in common.
    key: Option<Value>,
}

impl Cutter<'_> {
    fn add(&mut self, feature: &[u8], by: &By) -> anyhow::Result<()> {
        let members: Members = serde_json::from_slice(feature)?;
        match by {
            By::Count(count) if self.pending_features >= *count => self.flush()?,
            By::Count(_) => {}
            By::Property(name) => {
                let value = members.properties.and_then(|mut properties| properties.remove(name));
                let value = value.with_context(|| format!("it has no property '{name}'"))?;
                if self.key.as_ref().is_some_and(|key| *key != value) {
                    self.flush()?;
                }
                self.key = Some(value);
            }
        }
        self.pending.extend_from_slice(if self.pending.is_empty() { HEAD } else { SEPARATOR });
        if members.kind == "Feature" {
            self.pending.extend_from_slice(feature);
        } else {
            // A geometry in the place of a feature.
            self.pending.extend_from_slice(b"{\"type\":\"Feature\",\"properties\":{},\"geometry\":");
            self.pending.extend_from_slice(feature);
            self.pending.push(b'}');
        }
        self.pending_features += 1;
        ensure!(
            self.pending.len() <= CHUNK_BYTES_MAX,
            "its chunk has more than {CHUNK_BYTES_MAX} bytes: fewer features in each (--chunk) make them smaller"
        );
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.pending_features == 0 {
            return Ok(());
        }
        ensure!(
            self.chunks.len() < CHUNKS_MAX,
            "it makes more than {CHUNKS_MAX} chunks: more features in each (--chunk) make them fewer"
        );
        self.pending.extend_from_slice(TAIL);
        let mut bytes = std::mem::take(&mut self.pending);
        if self.format != VectorFormat::GeoJson {
            let mut converted = Vec::new();
            let data = Data::Bytes(bytes.into());
            let room = room(self.scratch);
            convert(&data, VectorFormat::GeoJson, self.format, &room, &mut converted, &|| false)?;
            bytes = converted;
        }
        let (start, until) =
            self.chunks.last().map_or((0, 0), |last| (last.start + last.bytes, last.features_until));
        let chunk = Chunk {
            start,
            bytes: bytes.len() as u64,
            features: self.pending_features,
            features_until: until + self.pending_features,
        };
        ensure!(
            chunk.start + chunk.bytes <= RECORDING_BYTES_MAX,
            "its chunks have more than {RECORDING_BYTES_MAX} bytes"
        );
        self.out.write_all(&bytes).context("can't write its chunks")?;
        self.chunks.push(chunk);
        self.pending_features = 0;
        Ok(())
    }
}
