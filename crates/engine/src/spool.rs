//! Large input values that came with the request become files of the job.

use crate::folders::{self, Folders, io_error};
use anabranch_model::{
    BoundRequest, BoundValue, Data, DataFile, Error, ExecuteRequest, InputData, JobId, Value,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// There is something to do: a value in memory above `bytes_max`, or a file that is not the job's own.
pub(crate) fn is_needed(bound: &BoundRequest, bytes_max: u64) -> bool {
    let values = bound.inputs.iter().flat_map(|(_, values)| values);
    values.into_iter().any(|value| moves(value, bytes_max))
}

fn moves(value: &BoundValue, bytes_max: u64) -> bool {
    match value {
        BoundValue::Value(Value::Complex(complex)) => match &complex.data {
            Data::Bytes(bytes) => bytes.len() as u64 > bytes_max,
            Data::File(_) => true,
        },
        BoundValue::Value(Value::Literal(_) | Value::BoundingBox(_)) | BoundValue::Reference { .. } => false,
    }
}

/// Puts such values into the job's folder, in the bound request and in the request as asked alike. Blocking.
///
/// With `durable` they are on the disk when it returns, for the job may be run after a power failure.
pub(crate) fn spool(
    folders: &Folders,
    job: JobId,
    request: &mut ExecuteRequest,
    bound: &mut BoundRequest,
    bytes_max: u64,
    durable: bool,
) -> Result<(), Error> {
    let folder = folders.inputs(job);
    let made = if durable { folders::make_synced(&folder) } else { folders::make(&folder) };
    made.map_err(|error| io_error("can't make", &folder, &error))?;
    let mut count = 0;
    for (id, values) in &mut bound.inputs {
        // Binding keeps the order of an input's values, so the n-th of both is the same one.
        let items = request.inputs.iter_mut().filter(|item| item.id == *id);
        for (value, item) in values.iter_mut().zip(items) {
            if !moves(value, bytes_max) {
                continue;
            }
            if let BoundValue::Value(Value::Complex(complex)) = value {
                let path = folder.join(count.to_string());
                count += 1;
                complex.data = store(&complex.data, path, &folders.spool(), durable)?;
                item.data = InputData::Bytes(complex.data.clone());
            }
        }
    }
    let synced = if durable { folders::sync(&folder) } else { Ok(()) };
    synced.map_err(|error| io_error("can't sync", &folder, &error))
}

fn store(data: &Data, path: PathBuf, spool: &Path, durable: bool) -> Result<Data, Error> {
    let stored = match data {
        Data::Bytes(bytes) => File::create_new(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        }),
        Data::File(file) if file.path.starts_with(spool) => {
            fs::rename(&file.path, &path).and_then(|()| File::open(&path))
        }
        Data::File(file) => fs::copy(&file.path, &path).and_then(|_| File::open(&path)),
    };
    let synced = stored.and_then(|file| if durable { file.sync_data() } else { Ok(()) });
    synced.map_err(|error| io_error("can't store", &path, &error))?;
    Ok(Data::File(DataFile { path, bytes: data.len() }))
}
