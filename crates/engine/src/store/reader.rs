//! Reading the store: a few connections on blocking threads.

use super::page;
use super::row::{self, StoredJob, read_request, read_value, read_view};
use super::schema::open_reader;
use super::writer::store_error;
use crate::folders::{Folders, blocking};
use crate::list::JobFilter;
use crate::view::StoredRequest;
use anabranch_model::{CallbackEvent, Error, JobId, Timestamp, Value};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The readers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Shared>);

struct Shared {
    database: PathBuf,
    root: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Who waits here when full: requests that read jobs that are no longer in memory.
    slots: Semaphore,
}

impl Readers {
    pub(crate) fn new(folders: &Folders, readers_max: usize) -> Self {
        let slots = Semaphore::new(readers_max.max(1));
        let (database, root) = (folders.database(), folders.root().to_owned());
        Self(Arc::new(Shared { database, root, idle: Mutex::default(), slots }))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Path) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = |_closed| Error::internal("the store is closed");
        let _slot = self.0.slots.acquire().await.map_err(closed)?;
        let shared = Arc::clone(&self.0);
        let idle = move || -> rusqlite::Result<T> {
            let idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&shared.database)?,
            };
            let read = work(&connection, &shared.root);
            shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            read
        };
        blocking(idle).await?.map_err(|error| store_error(&error))
    }

    /// A job by its identifier.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<StoredJob>, Error> {
        self.read(move |connection, _| {
            let sql = format!("SELECT {} FROM jobs WHERE id=?1", row::COLUMNS);
            connection.prepare_cached(&sql)?.query_row([id.as_bytes()], read_view).optional()
        })
        .await
    }

    /// The request of a job.
    pub(crate) async fn request(&self, sequence: i64) -> Result<StoredRequest, Error> {
        self.read(move |connection, root| request(connection, root, sequence)).await
    }

    /// All chunks of a job, by output.
    pub(crate) async fn all_chunks(&self, sequence: i64, outputs: usize) -> Result<Vec<Vec<Value>>, Error> {
        self.read(move |connection, root| all_chunks(connection, root, sequence, outputs)).await
    }

    /// Some chunks of one output.
    pub(crate) async fn chunks(
        &self,
        sequence: i64,
        output: usize,
        first: u64,
        chunks_max: usize,
    ) -> Result<Vec<Value>, Error> {
        self.read(move |connection, root| {
            let sql = "SELECT value FROM chunks WHERE sequence=?1 AND output=?2 AND number>=?3 ORDER BY number LIMIT ?4";
            let first = i64::try_from(first).unwrap_or(i64::MAX);
            let chunks_max = i64::try_from(chunks_max).unwrap_or(i64::MAX);
            connection
                .prepare_cached(sql)?
                .query_map(params![sequence, output, first, chunks_max], |row| {
                    read_value(0, row.get_ref(0)?.as_str()?, root)
                })?
                .collect()
        })
        .await
    }

    /// A page of jobs, from its cursor on, and one job more where there is one behind it.
    pub(crate) async fn page(&self, filter: JobFilter, now: Timestamp) -> Result<Vec<StoredJob>, Error> {
        self.read(move |connection, _| page::read(connection, &filter, now)).await
    }

    /// Jobs that have not finished, in order of acceptance, with their requests and chunks.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(StoredJob, StoredRequest, Vec<Vec<Value>>)>, Error> {
        self.read(|connection, root| {
            let sql = format!("SELECT {} FROM jobs WHERE state IN (0,1) ORDER BY sequence", row::COLUMNS);
            let jobs: Vec<StoredJob> =
                connection.prepare_cached(&sql)?.query_map([], read_view)?.collect::<Result<_, _>>()?;
            let with_parts = jobs.into_iter().map(|job| {
                let request = request(connection, root, job.sequence)?;
                let chunks = all_chunks(connection, root, job.sequence, request.outputs.len())?;
                Ok((job, request, chunks))
            });
            with_parts.collect()
        })
        .await
    }

    /// Finished jobs to be removed: expired ones, then the oldest above `kept_max`; at most `limit`.
    pub(crate) async fn removable(
        &self,
        now: Timestamp,
        kept_max: u64,
        limit: usize,
    ) -> Result<Vec<(i64, JobId)>, Error> {
        self.read(move |connection, _| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, JobId::from_bytes(row.get(1)?)));
            let sql = "SELECT sequence, id FROM jobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
            let expired: Vec<_> = connection
                .prepare_cached(sql)?
                .query_map(params![now.as_microsecond(), limit], read)?
                .collect::<rusqlite::Result<_>>()?;
            if !expired.is_empty() {
                return Ok(expired);
            }
            let finished: u64 = connection
                .prepare_cached("SELECT count(*) FROM jobs WHERE expires IS NOT NULL")?
                .query_row([], |row| row.get(0))?;
            let over = usize::try_from(finished.saturating_sub(kept_max)).unwrap_or(usize::MAX).min(limit);
            let sql = "SELECT sequence, id FROM jobs WHERE expires IS NOT NULL ORDER BY expires LIMIT ?1";
            connection.prepare_cached(sql)?.query_map([over], read)?.collect()
        })
        .await
    }

    /// Callbacks that are still due, by job in order of acceptance.
    pub(crate) async fn due_callbacks(&self) -> Result<Vec<(JobId, CallbackEvent)>, Error> {
        self.read(|connection, _| {
            let sql = "SELECT jobs.id, callbacks.event FROM callbacks JOIN jobs USING (sequence) \
                       ORDER BY callbacks.sequence, callbacks.event";
            let read =
                |row: &rusqlite::Row<'_>| Ok((JobId::from_bytes(row.get(0)?), row::read_event(row, 1)?));
            connection.prepare_cached(sql)?.query_map([], read)?.collect()
        })
        .await
    }

    /// The highest row number.
    pub(crate) async fn last_sequence(&self) -> Result<i64, Error> {
        self.read(|connection, _| {
            connection.query_row("SELECT coalesce(max(sequence), 0) FROM jobs", [], |row| row.get(0))
        })
        .await
    }

    /// Which of these jobs have a row.
    pub(crate) async fn known(&self, ids: Vec<JobId>) -> Result<Vec<bool>, Error> {
        self.read(move |connection, _| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM jobs WHERE id=?1")?;
            ids.iter().map(|id| statement.exists([id.as_bytes()])).collect()
        })
        .await
    }
}

fn request(connection: &Connection, root: &Path, sequence: i64) -> rusqlite::Result<StoredRequest> {
    let sql = "SELECT request FROM requests WHERE sequence=?1";
    connection
        .prepare_cached(sql)?
        .query_row([sequence], |row| read_request(0, row.get_ref(0)?.as_str()?, root))
}

fn all_chunks(
    connection: &Connection,
    root: &Path,
    sequence: i64,
    outputs: usize,
) -> rusqlite::Result<Vec<Vec<Value>>> {
    let sql = "SELECT output, value FROM chunks WHERE sequence=?1 ORDER BY output, number";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([sequence])?;
    let mut logs = vec![Vec::new(); outputs];
    while let Some(row) = rows.next()? {
        let output: usize = row.get(0)?;
        if let Some(log) = logs.get_mut(output) {
            log.push(read_value(1, row.get_ref(1)?.as_str()?, root)?);
        }
    }
    Ok(logs)
}
