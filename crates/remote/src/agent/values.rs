//! Values on their way: the agent's half of [`carry`](crate::carry).

use std::path::Path;
use std::time::Duration;

use anabranch_model::{BoundingBox, ComplexValue, Data, Error, Inputs, LiteralValue, Value};
use tokio_util::sync::CancellationToken;

use super::{AgentData, DataError};
use crate::carry::{LITERAL_BYTES_MAX, carried_box, checked_box, small, text_of};
use crate::message::{CarriedValue, Payload};

/// Tries to fetch an input; with the waits between them about a minute, in which a server restarts.
const FETCH_TRIES_MAX: u32 = 8;

/// First and longest wait between tries.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Gets the inputs of a run; what is not inline becomes a file in its folder.
pub(super) async fn fetch_inputs(
    inputs: Vec<(String, Vec<CarriedValue>)>,
    folder: &Path,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<Inputs, Error> {
    let (mut fetched, mut files) = (Vec::with_capacity(inputs.len()), 0_u32);
    for (id, values) in inputs {
        let mut ones = Vec::with_capacity(values.len());
        for value in values {
            files += 1;
            // Named by us: names that come over the network are no file names.
            let file = folder.join(format!("input-{files}"));
            ones.push(fetch_value(&id, value, &file, data, cancel).await?);
        }
        fetched.push((id, ones));
    }
    Ok(Inputs::new(fetched))
}

pub(super) async fn fetch_value(
    id: &str,
    value: CarriedValue,
    file: &Path,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<Value, Error> {
    Ok(match value {
        CarriedValue::Literal { text, data_type, uom } => {
            let fetched = fetch(id, text, file, data, cancel).await?;
            if fetched.len() > LITERAL_BYTES_MAX {
                return Err(Error::TooLarge { what: format!("input '{id}'"), bytes_max: LITERAL_BYTES_MAX });
            }
            Value::Literal(LiteralValue { text: text_of(fetched).await?, data_type, uom })
        }
        CarriedValue::BoundingBox { crs, lower, upper } => {
            Value::BoundingBox(checked_box(BoundingBox { crs, lower, upper })?)
        }
        CarriedValue::Complex { data: payload, format } => {
            Value::Complex(ComplexValue::new(fetch(id, payload, file, data, cancel).await?, format))
        }
    })
}

async fn fetch(
    id: &str,
    payload: Payload,
    file: &Path,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<Data, Error> {
    let not_accessible = |reason: String| Error::DataNotAccessible { input: id.to_owned(), reason };
    match payload {
        Payload::Inline(bytes) => Ok(Data::Bytes(bytes)),
        Payload::Url(url) => {
            retry(cancel, Some(FETCH_TRIES_MAX), || data.fetch(&url, file))
                .await?
                .map_err(|e| not_accessible(e.reason))?;
            let file = file.to_owned();
            let opened = tokio::task::spawn_blocking(move || Data::file(file));
            opened.await.map_err(Error::internal)?.map_err(Error::internal)
        }
        Payload::Uploaded { .. } | Payload::Shared(_) => {
            Err(not_accessible("the server gave it in a way that is meant for outputs".into()))
        }
    }
}

/// Where the chunks of one output go.
pub(super) struct Upload<'a> {
    pub(super) output: &'a str,
    pub(super) url: Option<&'a str>,
    /// Number of this chunk.
    pub(super) n: u64,
    /// Folder of the run: for data that is in memory, and to see what may be removed.
    pub(super) folder: &'a Path,
}

/// Makes an output ready for its message: what does not go inline is uploaded, however long the server is away.
pub(super) async fn upload_output(
    upload: &Upload<'_>,
    value: Value,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<CarriedValue, Error> {
    Ok(match value {
        Value::Literal(literal) => CarriedValue::Literal {
            text: send(upload, Data::Bytes(literal.text.into()), data, cancel).await?,
            data_type: literal.data_type,
            uom: literal.uom,
        },
        Value::BoundingBox(bbox) => carried_box(&checked_box(bbox)?),
        Value::Complex(complex) => CarriedValue::Complex {
            data: send(upload, complex.data, data, cancel).await?,
            format: complex.format,
        },
    })
}

async fn send(
    upload: &Upload<'_>,
    bytes: Data,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<Payload, Error> {
    let payload = match small(&bytes).await.map_err(Error::internal)? {
        Some(inline) => Payload::Inline(inline),
        None => put(upload, &bytes, data, cancel).await?,
    };
    // A file given as data is moved away, as [`OutputSink::write`](anabranch_model::OutputSink::write) says.
    if let Some(path) = bytes.path().filter(|path| path.starts_with(upload.folder)) {
        drop(tokio::fs::remove_file(path).await);
    }
    Ok(payload)
}

async fn put(
    upload: &Upload<'_>,
    bytes: &Data,
    data: &dyn AgentData,
    cancel: &CancellationToken,
) -> Result<Payload, Error> {
    let Upload { output, n, folder, .. } = upload;
    let Some(url) = upload.url else {
        return Err(Error::process_failed(format!(
            "output '{output}' is too large for a message, and the server takes no uploads"
        )));
    };
    let url = format!("{url}/{n}");
    let result = match bytes {
        Data::File(file) => retry(cancel, None, || data.upload(&url, &file.path)).await?,
        Data::Bytes(bytes) => {
            let file = folder.join(format!(".upload-{}", anabranch_model::JobId::random()));
            tokio::fs::write(&file, bytes).await.map_err(Error::internal)?;
            let result = retry(cancel, None, || data.upload(&url, &file)).await?;
            drop(tokio::fs::remove_file(&file).await);
            result
        }
    };
    match result {
        Ok(()) => Ok(Payload::Uploaded { n: *n, bytes: bytes.len() }),
        Err(DataError { reason, .. }) => {
            Err(Error::process_failed(format!("output '{output}' could not be uploaded: {reason}")))
        }
    }
}

/// Tries until it works, fails for good, or the run is cancelled (the outer error).
async fn retry<F: Future<Output = Result<(), DataError>>>(
    cancel: &CancellationToken,
    tries_max: Option<u32>,
    attempt: impl Fn() -> F,
) -> Result<Result<(), DataError>, Error> {
    let mut wait = RETRY_MIN;
    for tries in 1.. {
        let result = tokio::select! {
            result = attempt() => result,
            () = cancel.cancelled() => return Err(Error::Dismissed),
        };
        match result {
            Err(error) if error.transient && tries_max.is_none_or(|max| tries < max) => {
                tracing::warn!(%error, tries, "a transfer failed, and is tried again");
            }
            result => return Ok(result),
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Err(Error::Dismissed),
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
    Err(Error::Dismissed)
}
