//! Chunks as a map shows them: features as GeoJSON, whatever they are written in, and rasters as their outline.

use crate::app::App;
use crate::http::answer;
use anabranch_formats::raster::{self, Grid, GridReader, RasterFormat};
use anabranch_formats::vector::VectorFormat;
use anabranch_formats::{Convertible, DETECT_BYTES, FormatError, Room, convert, detect};
use anabranch_model::{ComplexValue, Data, Error, Fault, FaultKind, Format, Subject, Value};
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use std::io::{self, BufReader, Read, Seek as _};
use tokio::sync::Semaphore;

/// Largest chunk that is converted for a look at it, bytes, before and after: a map of more would stall the browser.
const VIEW_BYTES_MAX: u64 = 64 << 20;
/// Conversions for looks at once: jobs come first.
const VIEWS_PARALLEL_MAX: usize = 2;

/// Bytes handed over at once.
const BLOCK_BYTES: usize = 64 * 1024;

static VIEWS: Semaphore = Semaphore::const_new(VIEWS_PARALLEL_MAX);

/// How a chunk is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    GeoJson,
    Png,
}

impl View {
    /// By `?f=`; `None` where the chunk is wanted as it is.
    pub(super) fn asked(query: Option<&str>) -> Result<Option<Self>, Error> {
        match query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("f=")) {
            None => Ok(None),
            Some("geojson") => Ok(Some(Self::GeoJson)),
            Some("png") => Ok(Some(Self::Png)),
            Some(other) => {
                let rule = "must be geojson or png, or left out";
                let fault = Fault::new(Subject::Parameter("f".into()), FaultKind::NotAllowed, rule);
                Err(Error::invalid(fault.with_value(other)))
            }
        }
    }

    pub(super) async fn answer(self, app: &App, chunk: &Value) -> Result<Response, Error> {
        let Value::Complex(chunk) = chunk else {
            return Err(Error::process_failed("the chunk is no data that can be shown"));
        };
        if let Some(Convertible::Raster(format)) = Convertible::of(&chunk.format.media_type) {
            let data = chunk.data.clone();
            return Ok(match self {
                Self::GeoJson => {
                    let outline = of_raster(format, data, |reader| Ok(outline_of(reader.grid()))).await?;
                    answer::with_type(StatusCode::OK, Format::GEOJSON, outline.to_string())
                }
                Self::Png => {
                    let picture = of_raster(format, data, |mut reader| raster::picture(&mut *reader)).await?;
                    answer::with_type(StatusCode::OK, "image/png", picture)
                }
            });
        }
        if self == Self::Png {
            return Err(Error::process_failed("only rasters are shown as pictures"));
        }
        let body = Body::from_stream(blocks(geojson(app, chunk).await?));
        Ok(answer::with_type(StatusCode::OK, Format::GEOJSON, body))
    }
}

/// Block by block, so that a slow client holds no thread.
fn blocks(reader: Box<dyn Read + Send>) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(reader, |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            reader.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
            Ok::<_, io::Error>((block, reader))
        });
        let (block, reader) = read.await.map_err(io::Error::other)??;
        Ok((!block.is_empty()).then(|| (Bytes::from(block), reader)))
    })
}

/// What is made of a raster, on a thread that may block.
async fn of_raster<T: Send + 'static>(
    format: RasterFormat,
    data: Data,
    make: impl FnOnce(Box<dyn GridReader>) -> Result<T, FormatError> + Send + 'static,
) -> Result<T, Error> {
    let _turn = VIEWS.acquire().await.map_err(Error::internal)?;
    let made = tokio::task::spawn_blocking(move || make(raster::open(format, &data, &|| false)?));
    let unsound = |error| Error::process_failed(format!("the chunk can't be shown: {error}"));
    made.await.map_err(Error::internal)?.map_err(unsound)
}

/// Where the cells of a raster lie, as a feature; of one in an unknown system without a geometry.
fn outline_of(grid: &Grid) -> serde_json::Value {
    let geometry =
        grid.outline_in_degrees().map(|corners| json!({ "type": "Polygon", "coordinates": [corners] }));
    json!({
        "type": "Feature",
        "geometry": geometry,
        "properties": { "width": grid.width, "height": grid.height, "bands": grid.bands.len() },
    })
}

/// Data of this type can be shown on a map.
pub(super) fn can_be_shown(media_type: &str) -> bool {
    has_features(media_type) || matches!(Convertible::of(media_type), Some(Convertible::Raster(_)))
}

/// Data of this type can be shown as features.
pub(super) fn has_features(media_type: &str) -> bool {
    matches!(Convertible::of(media_type), Some(Convertible::Vector(_)))
        || anabranch_model::description::media_type_essence(media_type) == "text/xml"
}

/// A chunk as GeoJSON of any framing: as it is, or converted into a file without a name.
pub(super) async fn geojson(app: &App, chunk: &ComplexValue) -> Result<Box<dyn Read + Send>, Error> {
    let named = Convertible::of(&chunk.format.media_type);
    let data = chunk.data.clone();
    if matches!(named, Some(Convertible::Vector(VectorFormat::GeoJson | VectorFormat::GeoJsonSeq))) {
        let opened = tokio::task::spawn_blocking(move || data.open()).await;
        return opened.map_err(Error::internal)?.map_err(Error::internal);
    }
    if data.len() > VIEW_BYTES_MAX {
        return Err(Error::TooLarge { what: "the chunk to be shown".into(), bytes_max: VIEW_BYTES_MAX });
    }
    let scratch = app.engine.spool().to_owned();
    let _turn = VIEWS.acquire().await.map_err(Error::internal)?;
    let converted = tokio::task::spawn_blocking(move || {
        // `text/xml` alone says nothing: the content does.
        let from = named.or_else(|| detected(&data)).filter(|from| matches!(from, Convertible::Vector(_)));
        let from =
            from.ok_or_else(|| Error::process_failed("the chunk holds no features that can be shown"))?;
        let mut file = tempfile::tempfile_in(&scratch).map_err(Error::internal)?;
        let room = Room { scratch: &scratch, bytes_max: VIEW_BYTES_MAX };
        let to = Convertible::Vector(VectorFormat::GeoJson);
        let mut out = io::BufWriter::new(&mut file);
        convert(&data, from, to, &room, &mut out, &|| false)
            .map_err(|error| Error::process_failed(format!("the chunk can't be shown: {error}")))?;
        drop(out);
        file.rewind().map_err(Error::internal)?;
        Ok(Box::new(BufReader::new(file)) as Box<dyn Read + Send>)
    });
    converted.await.map_err(Error::internal)?
}

/// What the data is, by how it begins.
fn detected(data: &Data) -> Option<Convertible> {
    Convertible::of(&detected_type(data)?)
}

/// Its media type, by how it begins.
pub(super) fn detected_type(data: &Data) -> Option<String> {
    let mut first = Vec::new();
    data.open().ok()?.take(DETECT_BYTES as u64).read_to_end(&mut first).ok()?;
    detect(&first).map(str::to_owned)
}
