//! A job as a row, a value as JSON.

use super::reader::Removable;
use super::sql::{Row, StoreError};
use crate::list::StateName;
use crate::view::StoredRequest;
use crate::view::{JobView, OutputSummary};
use anabranch_model::{
    CallbackEvent, Data, InputData, Job, JobState, OnRestart, Outcome, ProcessId, Removal, Timestamp,
    UserName, Value,
};
use std::path::Path;

/// The columns that [`read_view`] reads, in order.
pub(crate) const COLUMNS: &str = "sequence, id, process, state, created, started, finished, updated, expires, \
                                  attempt, sync, on_restart, agent, requeued, detail, outputs, owner, stored_bytes";

/// A job as stored.
pub(crate) struct StoredJob {
    pub(crate) sequence: i64,
    pub(crate) view: JobView,
    pub(crate) sync: bool,
    pub(crate) on_restart: Option<OnRestart>,
    /// Bytes of its inputs and outputs.
    pub(crate) stored_bytes: u64,
}

impl StoredJob {
    /// As one that is to be removed.
    pub(crate) fn removable(&self) -> Removable {
        Removable {
            sequence: self.sequence,
            id: self.view.job.id,
            owner: self.view.job.owner.clone(),
            process: self.view.job.process.clone(),
            stored_bytes: self.stored_bytes,
        }
    }
}

impl StateName {
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::Running => 1,
            Self::Succeeded => 2,
            Self::Failed => 3,
            Self::Dismissed => 4,
        }
    }

    pub(crate) fn of(state: &JobState) -> Self {
        match state {
            JobState::Accepted => Self::Accepted,
            JobState::Running { .. } => Self::Running,
            JobState::Finished(Outcome::Succeeded) => Self::Succeeded,
            JobState::Finished(Outcome::Failed(_)) => Self::Failed,
            JobState::Finished(Outcome::Dismissed(_)) => Self::Dismissed,
        }
    }
}

pub(crate) fn on_restart_code(on_restart: OnRestart) -> i64 {
    match on_restart {
        OnRestart::Fail => 0,
        OnRestart::Requeue => 1,
        OnRestart::Reattach => 2,
        OnRestart::Continue => 3,
    }
}

pub(crate) fn removal_code(why: Removal) -> i64 {
    match why {
        Removal::Expired => 0,
        Removal::Dismissed => 1,
        Removal::Quota => 2,
        Removal::Operator => 3,
    }
}

/// The reverse of [`removal_code`].
pub(crate) fn read_removal(row: Row<'_>, column: usize) -> Result<Removal, StoreError> {
    let all = [Removal::Expired, Removal::Dismissed, Removal::Quota, Removal::Operator];
    let int = row.int(column)?;
    let why = all.into_iter().find(|why| removal_code(*why) == int);
    why.ok_or(StoreError::Unknown { column, int })
}

pub(crate) fn event_code(event: CallbackEvent) -> i64 {
    match event {
        CallbackEvent::InProgress => 0,
        CallbackEvent::Succeeded => 1,
        CallbackEvent::Failed => 2,
    }
}

/// The reverse of [`event_code`].
pub(crate) fn read_event(row: Row<'_>, column: usize) -> Result<CallbackEvent, StoreError> {
    let int = row.int(column)?;
    let event = CallbackEvent::ALL.into_iter().find(|event| event_code(*event) == int);
    event.ok_or(StoreError::Unknown { column, int })
}

/// The part of a state that its code does not say.
pub(crate) fn detail(state: &JobState) -> Result<Option<String>, StoreError> {
    match state {
        JobState::Accepted | JobState::Finished(Outcome::Succeeded) => Ok(None),
        JobState::Running { .. } | JobState::Finished(_) => to_json(state).map(Some),
    }
}

/// Reads a row of [`COLUMNS`].
pub(crate) fn read_view(row: Row<'_>) -> Result<StoredJob, StoreError> {
    let job = Job {
        id: row.id(1)?,
        process: read_process(row, 2)?,
        owner: read_owner(row, 16)?,
        state: read_state(row)?,
        created: read_time(row, 4)?,
        started: time(row, 5)?,
        finished: time(row, 6)?,
        updated: read_time(row, 7)?,
        attempt: row.narrow(9)?,
        agent: row.text_or_null(12)?.map(str::to_owned),
        requeued: row.text_or_null(13)?.map(str::to_owned),
        waiting: None,
    };
    let outputs: Vec<OutputSummary> = from_json(15, row.text(15)?)?;
    let on_restart = match row.int_or_null(11)? {
        None => None,
        Some(0) => Some(OnRestart::Fail),
        Some(1) => Some(OnRestart::Requeue),
        Some(2) => Some(OnRestart::Reattach),
        Some(3) => Some(OnRestart::Continue),
        Some(int) => return Err(StoreError::Unknown { column: 11, int }),
    };
    let view = JobView { job, outputs: outputs.into(), expires: time(row, 8)? };
    Ok(StoredJob {
        sequence: row.int(0)?,
        view,
        sync: row.int(10)? != 0,
        on_restart,
        stored_bytes: row.narrow(17)?,
    })
}

pub(crate) fn read_owner(row: Row<'_>, column: usize) -> Result<Option<UserName>, StoreError> {
    let read = |name: &str| UserName::new(name).map_err(|error| corrupt(column, error));
    row.text_or_null(column)?.map(read).transpose()
}

pub(crate) fn read_process(row: Row<'_>, column: usize) -> Result<ProcessId, StoreError> {
    ProcessId::new(row.text(column)?.to_owned()).map_err(|error| corrupt(column, error))
}

/// A time that is always there.
pub(crate) fn read_time(row: Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    time(row, column)?.ok_or(StoreError::Null { column })
}

fn read_state(row: Row<'_>) -> Result<JobState, StoreError> {
    match row.text_or_null(14)? {
        Some(detail) => from_json(14, detail),
        None if row.int(3)? == StateName::Accepted.code() => Ok(JobState::Accepted),
        None => Ok(JobState::Finished(Outcome::Succeeded)),
    }
}

fn time(row: Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    let read = |micros| Timestamp::from_microsecond(micros).map_err(|error| corrupt(column, error));
    row.int_or_null(column)?.map(read).transpose()
}

fn corrupt(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Corrupt { column, error: Box::new(error) }
}

pub(crate) fn to_json(value: &(impl serde::Serialize + ?Sized)) -> Result<String, StoreError> {
    Ok(serde_json::to_string(value)?)
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(column, error))
}

/// A value as it is stored: files by their path below the data folder, which may be moved between two starts.
pub(crate) fn write_value(value: &Value, root: &Path) -> Result<String, StoreError> {
    match value {
        Value::Complex(complex) if complex.data.path().is_some() => {
            let mut complex = complex.clone();
            unroot(&mut complex.data, root);
            to_json(&Value::Complex(complex))
        }
        value => to_json(value),
    }
}

/// The reverse of [`write_value`].
pub(crate) fn read_value(column: usize, text: &str, root: &Path) -> Result<Value, StoreError> {
    let mut value = from_json(column, text)?;
    if let Value::Complex(complex) = &mut value {
        reroot(&mut complex.data, root);
    }
    Ok(value)
}

/// A request as it is stored.
pub(crate) fn write_request(request: &StoredRequest, root: &Path) -> Result<String, StoreError> {
    let has_files =
        request.request.inputs.iter().any(|item| matches!(item.data, InputData::Bytes(Data::File(_))));
    if !has_files {
        return to_json(request);
    }
    let mut request = request.clone();
    for item in &mut request.request.inputs {
        if let InputData::Bytes(data) = &mut item.data {
            unroot(data, root);
        }
    }
    to_json(&request)
}

/// The reverse of [`write_request`].
pub(crate) fn read_request(column: usize, text: &str, root: &Path) -> Result<StoredRequest, StoreError> {
    let mut request: StoredRequest = from_json(column, text)?;
    for item in &mut request.request.inputs {
        if let InputData::Bytes(data) = &mut item.data {
            reroot(data, root);
        }
    }
    Ok(request)
}

fn unroot(data: &mut Data, root: &Path) {
    if let Data::File(file) = data
        && let Ok(below) = file.path.strip_prefix(root)
    {
        file.path = below.to_owned();
    }
}

fn reroot(data: &mut Data, root: &Path) {
    if let Data::File(file) = data {
        file.path = root.join(&file.path);
    }
}
