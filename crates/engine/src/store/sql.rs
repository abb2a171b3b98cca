//! What is said to a database, whichever it is: statements with their values, rows, faults.
//!
//! Placeholders are `?1`, `?2` ...; what a client says is only ever a value of a statement, never text of it.

use anabranch_model::{Error, JobId};
use std::borrow::Cow;
use std::path::PathBuf;
use tokio_postgres::error::SqlState;

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
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// An integer.
    pub(crate) fn int(self, column: usize) -> Result<i64, StoreError> {
        self.int_or_null(column)?.ok_or(StoreError::Null { column })
    }

    pub(crate) fn int_or_null(self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
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
        Ok(match self {
            Self::Sqlite(row) => row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// The identifier of a job.
    pub(crate) fn id(self, column: usize) -> Result<JobId, StoreError> {
        let bytes = match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => {
                let bytes: &[u8] = row.try_get(column)?;
                bytes.try_into().map_err(|error| StoreError::Corrupt { column, error: Box::new(error) })?
            }
        };
        Ok(JobId::from_bytes(bytes))
    }
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", with_sources(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the database does not answer")]
    Silent,
    #[error("it is not known whether the last transaction was committed")]
    Unsure,
    #[error("the last transaction was not committed")]
    NotCommitted,
    #[error("the other nodes have taken this one for dead")]
    Lost,
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

/// What the library says of a fault is in its sources.
fn with_sources(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

impl StoreError {
    /// The connection is cut, so that it is not known what the database has done.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                error.as_db_error().is_none_or(|error| is_about_the_session(error.code()))
            }
            Self::Silent => true,
            _ => false,
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Postgres(error) => error.code() == Some(&SqlState::DISK_FULL),
            _ => false,
        }
    }
}

/// The database ends the session: it stops, or the session was idle within a transaction.
fn is_about_the_session(code: &SqlState) -> bool {
    // Class 57: operator intervention; 08: connection; 25P03: idle in a transaction.
    code.code().starts_with("57P") || code.code().starts_with("08") || code.code() == "25P03"
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let detail = format!("the job store: {error}");
        if error.is_full() { Self::NotEnoughStorage { detail } } else { Self::Internal { detail } }
    }
}
