//! What is said to a database, whichever it is: statements with their values, rows, faults.
//!
//! Placeholders are `?1`, `?2` ...; what a client says is only ever a value of a statement, never text of it.

use anabranch_model::{Error, JobId};
use std::borrow::Cow;
use std::path::PathBuf;

/// A value of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Param<'a> {
    Null,
    Int(i64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Param<'_> {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

impl From<bool> for Param<'_> {
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<usize> for Param<'_> {
    /// Counts beyond `i64` don't fit into a memory; as a limit, the largest one is none.
    fn from(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Param<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8; 16]> for Param<'a> {
    fn from(bytes: &'a [u8; 16]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement that writes.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Param<'a>>,
}

/// One row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(pub(super) &'a rusqlite::Row<'a>);

impl Row<'_> {
    /// An integer.
    pub(crate) fn int(self, column: usize) -> Result<i64, StoreError> {
        self.int_or_null(column)?.ok_or(StoreError::Null { column })
    }

    pub(crate) fn int_or_null(self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.0.get(column)?)
    }

    /// An integer that must be one of a narrower type.
    pub(crate) fn narrow<T: TryFrom<i64>>(self, column: usize) -> Result<T, StoreError> {
        let int = self.int(column)?;
        T::try_from(int).map_err(|_too_large| StoreError::Unknown { column, int })
    }

    /// A text.
    pub(crate) fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.text_or_null(column)?.ok_or(StoreError::Null { column })
    }

    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.0.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?)
    }

    /// The identifier of a job.
    pub(crate) fn id(self, column: usize) -> Result<JobId, StoreError> {
        Ok(JobId::from_bytes(self.0.get(column)?))
    }
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("column {column} is NULL")]
    Null { column: usize },
    #[error("column {column} holds {int}, which means nothing here")]
    Unknown { column: usize, int: i64 },
    #[error("column {column} can't be read: {error}")]
    Corrupt { column: usize, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("the folder '{}' can't be synced: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("a value can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let detail = format!("the job store: {error}");
        match &error {
            StoreError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                Self::NotEnoughStorage { detail }
            }
            _ => Self::Internal { detail },
        }
    }
}
