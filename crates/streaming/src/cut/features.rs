//! Cuts GeoJSON into collections of whole features, in document order and byte for byte.

use super::buffers::{Buffer, Buffers};
use super::{Cut, Cutter};
use anabranch_formats::geojson::{self, Piece, Place, Splitter};
use anabranch_model::description::media_type_essence;
use anabranch_model::{ComplexValue, Data, Error, Fault, FaultKind, Format, OutputSink, Subject};
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

/// The first chunk where no number of chunks is asked for, in bytes: read, run and shown within a few milliseconds.
const FIRST_CHUNK_BYTES: usize = 64 << 10;

/// Chunks double up to here, in bytes: some ten milliseconds of work for a fast process, beside which what each costs (to be made safe on the disk
/// above all) is little; some seconds for a slow one.
pub(super) const CHUNK_BYTES_MAX: usize = 2 << 20;

/// Chunks up to here stay in memory, in bytes; larger ones, which come from small numbers of chunks, are files.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// Features between two looks at whether the stream was ended.
const FEATURES_BETWEEN_LOOKS: u64 = 10_000;

/// Longest head of a document that is searched for its coordinate reference system, in bytes: heads are names and titles.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Before a bare geometry: a sequence may hold such, a collection may not.
const WRAP_BEFORE: &[u8] = br#"{"type":"Feature","properties":null,"geometry":"#;

/// How many features come into which chunk.
pub(super) enum Plan {
    /// This many into each.
    Counts(Vec<u64>),
    /// So many that the first chunk is small and each is twice as large as the one before, up to a limit. Sizes depend on nothing but the
    /// data, so that a stream that is gone on with after a restart is cut in the same places.
    Growing,
}

/// Counts the features of a document. Blocking.
///
/// # Errors
/// Where it is no GeoJSON, or the stream was ended.
pub(super) fn count_features(id: &str, data: &Data, sink: &dyn OutputSink) -> Result<u64, Error> {
    let mut splitter = Splitter::new(open(id, data)?);
    while let Some(piece) = splitter.next().map_err(|error| unreadable(id, error))? {
        if let Piece::Feature(feature) = piece
            && feature.number.is_multiple_of(FEATURES_BETWEEN_LOOKS)
            && sink.is_cancelled()
        {
            return Err(Error::Dismissed);
        }
    }
    Ok(splitter.features())
}

/// Cuts one document.
pub(super) struct Features {
    id: String,
    format: Format,
    splitter: Splitter<Box<dyn Read + Send>>,
    plan: Plan,
    sink: Arc<dyn OutputSink>,
    /// What each chunk begins with.
    head: Vec<u8>,
    /// All that stands before the first feature, until that is there.
    before: Option<Vec<u8>>,
    chunks: u64,
    buffers: Buffers,
}

impl Features {
    /// What is read from `reader` is of this format.
    pub(super) fn new(
        id: String,
        format: &Format,
        reader: Box<dyn Read + Send>,
        plan: Plan,
        sink: Arc<dyn OutputSink>,
        buffers: Buffers,
    ) -> Self {
        let splitter = Splitter::new(reader);
        // Where coordinates may be in any system, they may be so in the chunks.
        let is_in_any_crs = media_type_essence(&format.media_type) == Format::GEOJSON_2008;
        let format = Format::new(if is_in_any_crs { Format::GEOJSON_2008 } else { Format::GEOJSON });
        let (head, before, chunks) = (Vec::new(), Some(Vec::new()), 0);
        Self { id, format, splitter, plan, sink, head, before, chunks, buffers }
    }
}

impl Plan {
    /// Chunk number `chunk`, from 0, has all it is to have.
    fn is_full(&self, chunk: u64, features: u64, bytes: usize) -> bool {
        match self {
            Self::Counts(sizes) => {
                let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
                sizes.get(chunk).is_none_or(|size| features >= *size)
            }
            Self::Growing => {
                let doublings = u32::try_from(chunk.min(20)).unwrap_or(20);
                bytes >= (FIRST_CHUNK_BYTES << doublings).min(CHUNK_BYTES_MAX)
            }
        }
    }
}

impl Cutter for Features {
    fn next(&mut self) -> Result<Option<Cut>, Error> {
        let path = self.sink.scratch().join(format!("cut-{}", self.chunks + 1));
        let mut chunk = ChunkWriter::new(path, self.buffers.take());
        let mut features = 0;
        while let Some(piece) = self.splitter.next().map_err(|error| unreadable(&self.id, error))? {
            let feature = match (piece, &mut self.before) {
                (Piece::Feature(feature), _) => feature,
                (Piece::Between(bytes), Some(before)) if before.len() + bytes.len() <= HEAD_BYTES_MAX => {
                    before.extend_from_slice(bytes);
                    continue;
                }
                (Piece::Between(_), _) => continue,
            };
            if let Some(before) = self.before.take() {
                self.head = head(&before);
            }
            let is_wrapped = feature.place == Place::Root && is_geometry(feature.bytes);
            let (before, after): (&[u8], &[u8]) = if is_wrapped { (WRAP_BEFORE, b"}") } else { (b"", b"") };
            let separator = if features == 0 { self.head.as_slice() } else { b",\n" };
            chunk.write(&[separator, before, feature.bytes, after])?;
            features += 1;
            if self.plan.is_full(self.chunks, features, chunk.bytes) {
                break;
            }
            if features.is_multiple_of(FEATURES_BETWEEN_LOOKS) && self.sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
        }
        if features == 0 {
            return Ok(None);
        }
        self.chunks += 1;
        chunk.write(&[b"\n]}\n"])?;
        let value = ComplexValue::new(chunk.finish()?, self.format.clone());
        Ok(Some(Cut { values: vec![(self.id.clone(), value)], place: None }))
    }

    fn total(&self) -> Option<u64> {
        match &self.plan {
            Plan::Counts(sizes) => Some(sizes.len() as u64),
            Plan::Growing => None,
        }
    }
}

fn is_geometry(object: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    serde_json::from_slice::<Typed<'_>>(object).is_ok_and(|typed| typed.kind != "Feature")
}

/// The beginning of a collection, with the coordinate reference system of the whole (GeoJSON of 2008) where it is named before the features.
fn head(before: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        crs: Option<&'a serde_json::value::RawValue>,
    }
    let whole = [before, b"]}"].concat();
    let crs = serde_json::from_slice::<Named<'_>>(&whole).ok().and_then(|named| named.crs);
    let crs = crs.map_or_else(String::new, |crs| format!(r#""crs":{},"#, crs.get()));
    format!("{{\"type\":\"FeatureCollection\",{crs}\"features\":[\n").into_bytes()
}

/// Opens data that is all there.
///
/// # Errors
/// Where it can't be.
pub(super) fn open(id: &str, data: &Data) -> Result<Box<dyn Read + Send>, Error> {
    data.open().map_err(|error| unread(id, error))
}

/// What a reader says: of data that was arriving, why no more comes.
pub(super) fn unread(id: &str, error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::internal(format!("input '{id}': {error}")))
}

fn unreadable(id: &str, error: geojson::Error) -> Error {
    if let geojson::Error::Read(cause) = error {
        return unread(id, cause);
    }
    let rule = format!("must be GeoJSON that can be cut: {error}");
    Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::Malformed, rule))
}

/// A chunk that is being put together: in memory as long as it is small.
struct ChunkWriter {
    path: PathBuf,
    file: Option<File>,
    buffer: Buffer,
    bytes: usize,
}

impl ChunkWriter {
    /// `buffer` is empty.
    fn new(path: PathBuf, buffer: Buffer) -> Self {
        Self { path, file: None, buffer, bytes: 0 }
    }

    fn write(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        for part in parts {
            self.bytes += part.len();
            self.buffer.bytes.extend_from_slice(part);
        }
        if self.buffer.bytes.len() > MEMORY_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let lost = |error: io::Error| super::lost(&self.path, &error);
        let file = match &mut self.file {
            Some(file) => file,
            empty @ None => empty.insert(File::create(&self.path).map_err(lost)?),
        };
        file.write_all(&self.buffer.bytes).map_err(lost)?;
        self.buffer.bytes.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Data, Error> {
        if self.file.is_none() {
            return Ok(Data::Bytes(self.buffer.lend()));
        }
        self.flush()?;
        Data::file(&self.path).map_err(|error| super::lost(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_the_reference_system() {
        let named = br#"{"name":"x","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::25832"}},"features":["#;
        assert!(String::from_utf8(head(named)).unwrap().contains("EPSG::25832"));
        for other in [&b"{\"type\":\"FeatureCollection\",\"features\":["[..], b"", b"\x1e"] {
            assert_eq!(head(other), b"{\"type\":\"FeatureCollection\",\"features\":[\n");
        }
    }
}
