//! SQLite: one file, one connection that writes.
//!
//! The write-ahead log is synced before anything durable is acknowledged, and at latest [`SYNC_AFTER`](super::SYNC_AFTER) after
//! anything else.

use super::schema;
use super::sql::{Param, Row, Statement, StoreError};
use super::sync::Syncer;
use crate::engine::OpenError;
use prometheus_client::metrics::histogram::Histogram;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params_from_iter};
use std::path::Path;
use std::time::Instant;

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(int) => ToSqlOutput::Owned(Value::Integer(*int)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// Every row of an answer, read.
pub(super) fn query<T>(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
    mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(Row::Sqlite(row))?);
    }
    Ok(all)
}

/// The connection that writes.
pub(super) struct Sqlite {
    connection: Connection,
    /// `PRAGMA synchronous` is FULL at present.
    full: Option<bool>,
    /// When the oldest commit was made that a power failure could still undo.
    unsynced: Option<Instant>,
    syncer: Syncer,
}

impl Sqlite {
    /// Opens the database, makes or migrates it.
    pub(super) fn open(path: &Path, sync_time: Histogram) -> Result<Self, OpenError> {
        let connection = schema::open(path)?;
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        let syncer = Syncer::start(path, sync_time).map_err(failed)?;
        Ok(Self { connection, full: None, unsynced: None, syncer })
    }

    pub(super) fn unsynced(&self) -> Option<Instant> {
        self.unsynced
    }

    /// Has the log synced, elsewhere.
    pub(super) fn sync_soon(&mut self) {
        self.syncer.ask();
        self.unsynced = None;
    }

    /// Writes all of it or nothing; tells how many rows each statement changed.
    pub(super) fn commit(
        &mut self,
        statements: &[Statement<'_>],
        durable: bool,
    ) -> Result<Vec<usize>, StoreError> {
        self.set_full(durable)?;
        let transaction = self.connection.transaction()?;
        let mut counts = Vec::with_capacity(statements.len());
        for Statement { sql, params } in statements {
            counts.push(transaction.prepare_cached(sql)?.execute(params_from_iter(params))?);
        }
        transaction.commit()?;
        if durable {
            self.unsynced = None;
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(counts)
    }

    /// A last commit, which syncs all before it. An empty one would not touch the disk.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.set_full(true)?;
        self.connection.execute("UPDATE syncs SET count = count + 1", [])?;
        Ok(())
    }

    fn set_full(&mut self, full: bool) -> Result<(), StoreError> {
        if self.full != Some(full) {
            let level = if full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            self.connection.execute_batch(level)?;
            self.full = Some(full);
        }
        Ok(())
    }
}
