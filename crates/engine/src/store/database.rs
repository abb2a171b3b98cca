//! Which database the store has.

use super::schema;
use super::sql::{Param, Row, Statement, StoreError};
use super::sqlite::{self, Sqlite};
use crate::engine::OpenError;
use prometheus_client::metrics::histogram::Histogram;
use std::path::PathBuf;
use std::time::Instant;

/// Where the jobs are.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// A file.
    Sqlite(PathBuf),
}

impl Database {
    /// The connection that writes: one, of the one thread that does. Makes or migrates the tables. Blocking.
    /// `sync_time` gets the seconds of syncs that nobody waits for.
    pub(super) fn open(&self, sync_time: Histogram) -> Result<Writing, OpenError> {
        match self {
            Self::Sqlite(path) => Sqlite::open(path, sync_time).map(Writing::Sqlite),
        }
    }

    /// A connection that reads. Blocking.
    pub(super) fn open_reader(&self) -> Result<Reading, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Reading::Sqlite(schema::open_reader(path)?)),
        }
    }
}

/// A connection that reads.
pub(super) enum Reading {
    Sqlite(rusqlite::Connection),
}

impl Reading {
    /// Every row of an answer, read. Blocking, as all here.
    pub(super) fn query<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(connection) => sqlite::query(connection, sql, params, read),
        }
    }

    /// The only row of an answer, or none.
    pub(super) fn query_one<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.query(sql, params, read)?.pop())
    }
}

/// The connection that writes.
pub(super) enum Writing {
    Sqlite(Sqlite),
}

impl Writing {
    /// Writes all of it or nothing; tells how many rows each statement changed. `durable` is on the disk when it returns, all else is
    /// from [`Writing::sync_soon`] on.
    pub(super) fn commit(
        &mut self,
        statements: &[Statement<'_>],
        durable: bool,
    ) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.commit(statements, durable),
        }
    }

    /// When the oldest commit was made that a power failure could still undo, and that [`Writing::sync_soon`] would save.
    pub(super) fn unsynced(&self) -> Option<Instant> {
        match self {
            Self::Sqlite(sqlite) => sqlite.unsynced(),
        }
    }

    /// Has synced what has been committed, without waiting for it.
    pub(super) fn sync_soon(&mut self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.sync_soon(),
        }
    }

    /// The end: what has been committed is on the disk.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.close(),
        }
    }
}
