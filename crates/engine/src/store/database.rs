//! Which database the store has.

use super::postgres::Postgres;
use super::postgres::session::Session;
use super::schema;
use super::sql::{Param, Row, Statement, StoreError};
use super::sqlite::{self, Sqlite};
use crate::engine::OpenError;
use crate::nodes::Nodes;
use prometheus_client::metrics::histogram::Histogram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;

/// Where the jobs are.
#[derive(Clone)]
pub(crate) enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server, which other nodes may have too. `runtime` is for those who read.
    Postgres { nodes: Arc<Nodes>, runtime: Handle },
}

impl Database {
    /// The connection that writes: one, of the one thread that does. Makes or migrates the tables. Blocking.
    /// `sync_time` gets the seconds of syncs that nobody waits for.
    pub(super) fn open(&self, sync_time: Histogram) -> Result<Writing, OpenError> {
        match self {
            Self::Sqlite(path) => Sqlite::open(path, sync_time).map(Writing::Sqlite),
            Self::Postgres { nodes, .. } => Postgres::new(Arc::clone(nodes)).map(Writing::Postgres),
        }
    }

    /// A connection that reads. Blocking.
    pub(super) fn open_reader(&self) -> Result<Reading, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Reading::Sqlite(schema::open_reader(path)?)),
            Self::Postgres { nodes, runtime } => {
                Ok(Reading::Postgres(Mutex::new(nodes.session()), runtime.clone()))
            }
        }
    }
}

/// A connection that reads.
pub(super) enum Reading {
    Sqlite(rusqlite::Connection),
    /// Used by one thread at a time; the lock is never waited for.
    Postgres(Mutex<Session>, Handle),
}

impl Reading {
    /// A condition on jobs: that they are not those of another node that lives.
    pub(super) fn and_of_no_other_node(&self) -> String {
        match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres(session, _) => {
                let node = session.lock().unwrap_or_else(PoisonError::into_inner).node();
                format!("AND node NOT IN (SELECT node FROM nodes WHERE dead=0 AND node<>{node})")
            }
        }
    }

    /// Every row of an answer, read. Blocking, as all here.
    pub(super) fn query<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(connection) => sqlite::query(connection, sql, params, read),
            Self::Postgres(session, runtime) => {
                let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                runtime.block_on(session.query(sql, params, read))
            }
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
    Postgres(Postgres),
}

impl Writing {
    /// Writes all of it or nothing; tells how many rows each statement changed. `durable` is on the disk when it returns, all else is
    /// from [`Writing::sync_soon`] on.
    ///
    /// # Errors
    /// After [`StoreError::Unsure`] nothing else may be done before [`Writing::outcome`] has told what became of it.
    pub(super) fn commit(
        &mut self,
        statements: &[Statement<'_>],
        durable: bool,
    ) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.commit(statements, durable),
            Self::Postgres(postgres) => postgres.commit(statements, durable),
        }
    }

    /// What became of a commit that ended with [`StoreError::Unsure`].
    pub(super) fn outcome(&mut self) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Sqlite(_) => Err(StoreError::NotCommitted),
            Self::Postgres(postgres) => postgres.outcome(),
        }
    }

    /// When the oldest commit was made that a power failure could still undo, and that [`Writing::sync_soon`] would save.
    pub(super) fn unsynced(&self) -> Option<Instant> {
        match self {
            Self::Sqlite(sqlite) => sqlite.unsynced(),
            // It syncs by itself, at latest after three times `wal_writer_delay`: 0.6 s.
            Self::Postgres(_) => None,
        }
    }

    /// Has synced what has been committed, without waiting for it.
    pub(super) fn sync_soon(&mut self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.sync_soon(),
            Self::Postgres(_) => {}
        }
    }

    /// The end: what has been committed is on the disk.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.close(),
            // A durable transaction syncs those before it.
            Self::Postgres(postgres) => postgres.commit(&[], true).map(|_none| ()),
        }
    }
}
