//! The sink of a run for an orchestrator of WPS Remote: outputs are kept for the one message at the end, texts as they are,
//! everything else as files in the shared folder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch_model::description::media_type_essence;
use anabranch_model::{BoxFuture, Data, Error, Format, LogLine, OutputSink, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::agent::buffer::RunBuffer;
use crate::carry::carried_box;
use crate::message::{CarriedValue, Output, Payload};

pub(super) struct WpsSink {
    pub(super) buffer: Arc<RunBuffer>,
    pub(super) wake: Arc<Notify>,
    pub(super) cancel: CancellationToken,
    /// The run's own.
    pub(super) folder: PathBuf,
    /// In the shared folder, for this run; `None` where there is no shared folder.
    pub(super) shared: Option<PathBuf>,
    pub(super) outputs: Arc<Mutex<Vec<Output>>>,
}

impl WpsSink {
    /// `uploaded` is the path of a copy that the orchestrator finds too.
    async fn take(&self, id: &str, value: Value, uploaded: Option<String>) -> Result<(), Error> {
        let known = |outputs: &[Output]| outputs.iter().any(|output| output.id == id);
        if known(&self.outputs.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Err(Error::process_failed(format!(
                "output '{id}' comes in several chunks, and WPS Remote carries one value of each"
            )));
        }
        let value = match value {
            Value::Literal(literal) => CarriedValue::Literal {
                text: Payload::Inline(literal.text.into()),
                data_type: literal.data_type,
                uom: literal.uom,
            },
            Value::BoundingBox(bbox) => carried_box(&bbox),
            Value::Complex(complex) => {
                let path = match uploaded {
                    Some(path) => path,
                    None => self.share(id, &complex.data, &complex.format).await?,
                };
                CarriedValue::Complex { data: Payload::Shared(path), format: complex.format }
            }
        };
        let output = Output { id: id.to_owned(), n: 0, value };
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push(output);
        Ok(())
    }

    /// Leaves data in the shared folder; gives its path.
    async fn share(&self, id: &str, data: &Data, format: &Format) -> Result<String, Error> {
        let Some(folder) = &self.shared else {
            return Err(Error::process_failed(format!(
                "output '{id}' is no text, and there is no shared folder"
            )));
        };
        let failed = |error: std::io::Error| {
            Error::process_failed(format!("output '{id}' can't be put into the shared folder: {error}"))
        };
        tokio::fs::create_dir_all(folder).await.map_err(failed)?;
        // Identifiers of outputs are no paths: letters, digits and `_ - . : ~`.
        let path = folder.join(format!("{id}.{}", extension(format)));
        match data {
            Data::Bytes(bytes) => tokio::fs::write(&path, bytes).await.map_err(failed)?,
            Data::File(file) if file.path.starts_with(&self.folder) => {
                // Not on the same file system, mostly.
                if tokio::fs::rename(&file.path, &path).await.is_err() {
                    tokio::fs::copy(&file.path, &path).await.map_err(failed)?;
                }
            }
            Data::File(file) => {
                tokio::fs::copy(&file.path, &path).await.map_err(failed)?;
            }
        }
        match path.to_str() {
            Some(path) => Ok(path.to_owned()),
            None => Err(Error::process_failed("the path of the shared folder is no UTF-8")),
        }
    }
}

/// As GeoServer's table has them.
fn extension(format: &Format) -> &'static str {
    match media_type_essence(&format.media_type).as_str() {
        "application/zip" => "zip",
        "image/tiff" | "image/geotiff" => "tif",
        "application/x-netcdf" | "application/netcdf" => "nc",
        "video/mp4" => "mp4",
        _ if format.is_json() => "json",
        _ if format.is_xml() => "xml",
        _ => "bin",
    }
}

impl OutputSink for WpsSink {
    fn started(&self, _on: Option<&str>) {}

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let output = output.to_owned();
        Box::pin(async move { self.take(&output, chunk, None).await })
    }

    fn write_uploaded(&self, output: &str, chunk: Value, path: &str) -> BoxFuture<'_, Result<(), Error>> {
        let (output, path) = (output.to_owned(), path.to_owned());
        Box::pin(async move { self.take(&output, chunk, Some(path)).await })
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.buffer.progress(percent, message);
        self.wake.notify_one();
    }

    fn log(&self, line: LogLine) {
        self.buffer.log(line);
        self.wake.notify_one();
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.cancel.cancelled())
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        &self.folder
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = self.cancel.cancelled() => {}
            }
        })
    }
}
