//! Values on their way: inline where they are small, else over the data plane. The server's half; the agent's is
//! `agent/values.rs`.

use anabranch_model::{
    BoundingBox, ComplexValue, Data, Error, Execution, Inputs, LiteralValue, ProcessId, Value,
};
use bytes::Bytes;

use crate::message::{CarriedValue, Execute, Payload, Piece, WantedOutput};
use crate::pool::ServerData;
use crate::run_id::RunId;
use crate::wire::{BODY_BYTES_MAX, INLINE_BYTES_MAX};

/// Inline values of one `Execute` together, as they stand in the XML; what is beyond goes by URL. The rest of
/// [`BODY_BYTES_MAX`] is for identifiers, formats and URLs.
const INLINE_TOTAL_MAX: usize = BODY_BYTES_MAX * 2 / 3;

/// Largest literal fetched or uploaded, in bytes: literals are held in memory.
pub(crate) const LITERAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Most axes of a bounding box: three of space and one of time.
const AXES_MAX: usize = 4;

/// What an agent needs to run it.
pub(crate) async fn execute(
    process: ProcessId,
    run: RunId,
    execution: &Execution,
    data: &dyn ServerData,
) -> Result<Execute, Error> {
    let inputs = offer_inputs(run, &execution.inputs, data).await?;
    let outputs = execution.outputs.iter().map(|request| WantedOutput {
        request: request.clone(),
        upload_url: data.upload_url(run, &request.id),
    });
    let fed = execution.feed.as_ref().map(|feed| feed.input.clone());
    let cpu_s_max = execution.sink.cpu_s_max();
    Ok(Execute { process, offer: 1, inputs, outputs: outputs.collect(), fed, cpu_s_max })
}

/// Piece number `n` of what a run is fed.
pub(crate) async fn piece(
    run: RunId,
    input: &str,
    n: u64,
    value: Option<ComplexValue>,
    data: &dyn ServerData,
) -> Result<Piece, Error> {
    let Some(value) = value else { return Ok(Piece { n, value: None }) };
    // Who wants a piece has the one before it: two places are enough.
    let place = usize::from(n % 2 == 1);
    let mut left = INLINE_TOTAL_MAX;
    let value = offer(run, input, place, &Value::Complex(value), &mut left, data).await?;
    Ok(Piece { n, value: Some(value) })
}

async fn offer_inputs(
    run: RunId,
    inputs: &Inputs,
    data: &dyn ServerData,
) -> Result<Vec<(String, Vec<CarriedValue>)>, Error> {
    let mut left = INLINE_TOTAL_MAX;
    let mut carried = Vec::new();
    for (id, values) in inputs.iter() {
        let mut ones = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            ones.push(offer(run, id, index, value, &mut left, data).await?);
        }
        carried.push((id.to_owned(), ones));
    }
    Ok(carried)
}

async fn offer(
    run: RunId,
    id: &str,
    index: usize,
    value: &Value,
    left: &mut usize,
    data: &dyn ServerData,
) -> Result<CarriedValue, Error> {
    let payload = async |bytes: &Data, left: &mut usize| -> Result<Payload, Error> {
        if let Some(inline) = small(bytes).await.map_err(Error::internal)? {
            let payload = Payload::Inline(inline);
            if payload.cost() <= *left {
                *left -= payload.cost();
                return Ok(payload);
            }
        }
        data.offer_input(run, id, index, bytes).await.map(Payload::Url)
    };
    Ok(match value {
        Value::Literal(literal) => CarriedValue::Literal {
            text: payload(&Data::Bytes(literal.text.clone().into()), left).await?,
            data_type: literal.data_type,
            uom: literal.uom.clone(),
        },
        Value::BoundingBox(bbox) => carried_box(bbox),
        Value::Complex(complex) => CarriedValue::Complex {
            data: payload(&complex.data, left).await?,
            format: complex.format.clone(),
        },
    })
}

/// The bytes of data that may go inline.
pub(crate) async fn small(data: &Data) -> std::io::Result<Option<Bytes>> {
    if data.len() > INLINE_BYTES_MAX as u64 {
        return Ok(None);
    }
    match data {
        Data::Bytes(bytes) => Ok(Some(bytes.clone())),
        Data::File(file) => {
            let bytes = tokio::fs::read(&file.path).await?;
            // The size was taken earlier; a file that grew since goes by URL.
            Ok((bytes.len() <= INLINE_BYTES_MAX).then(|| bytes.into()))
        }
    }
}

pub(crate) fn carried_box(bbox: &BoundingBox) -> CarriedValue {
    CarriedValue::BoundingBox { crs: bbox.crs.clone(), lower: bbox.lower.clone(), upper: bbox.upper.clone() }
}

/// An output as the server keeps it.
pub(crate) async fn take_output(
    run: RunId,
    output: &str,
    value: CarriedValue,
    data: &dyn ServerData,
) -> Result<Value, Error> {
    Ok(match value {
        CarriedValue::Literal { text, data_type, uom } => {
            let text = text_of(take(run, output, text, data).await?).await?;
            Value::Literal(LiteralValue { text, data_type, uom })
        }
        CarriedValue::BoundingBox { crs, lower, upper } => {
            Value::BoundingBox(checked_box(BoundingBox { crs, lower, upper })?)
        }
        CarriedValue::Complex { data: payload, format } => {
            Value::Complex(ComplexValue::new(take(run, output, payload, data).await?, format))
        }
    })
}

async fn take(run: RunId, output: &str, payload: Payload, data: &dyn ServerData) -> Result<Data, Error> {
    match payload {
        Payload::Inline(bytes) => Ok(Data::Bytes(bytes)),
        Payload::Uploaded { n, bytes } => {
            let taken = data.take_upload(run, output, n).await?;
            if taken.len() == bytes {
                return Ok(taken);
            }
            Err(Error::process_failed(format!(
                "chunk {n} of output '{output}' has {} bytes, and the agent uploaded {bytes}",
                taken.len()
            )))
        }
        Payload::Shared(path) => data.take_shared(run, output, &path).await,
        Payload::Url(_) => {
            Err(Error::process_failed(format!("the agent gave output '{output}' in a way not allowed")))
        }
    }
}

/// A literal's text, of data that may be a file.
pub(crate) async fn text_of(data: Data) -> Result<String, Error> {
    let bytes = match data {
        Data::Bytes(bytes) => bytes,
        Data::File(_) => {
            let read = tokio::task::spawn_blocking(move || data.read_all(LITERAL_BYTES_MAX));
            read.await.map_err(Error::internal)?.map_err(Error::internal)?
        }
    };
    String::from_utf8(bytes.into()).map_err(|_| Error::process_failed("a literal is not UTF-8"))
}

/// A box that came over the network.
pub(crate) fn checked_box(bbox: BoundingBox) -> Result<BoundingBox, Error> {
    let axes = bbox.lower.len();
    let finite = bbox.lower.iter().chain(&bbox.upper).all(|number| number.is_finite());
    if axes == bbox.upper.len() && (1..=AXES_MAX).contains(&axes) && finite {
        return Ok(bbox);
    }
    Err(Error::process_failed(format!("a bounding box must have 1 to {AXES_MAX} finite numbers a corner")))
}
