//! Reading the store: a few connections on blocking threads.

use super::database::{Database, Reading};
use super::page;
use super::row::{self, StoredJob, read_request, read_value, read_view};
use super::sql::{Param, Row, StoreError};
use crate::folders::{Folders, blocking};
use crate::ledger::Recalled;
use crate::list::JobFilter;
use crate::view::StoredRequest;
use anabranch_model::{CallbackEvent, Error, JobId, ProcessId, Removal, Timestamp, UserName, Value};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Row numbers that a node takes at once where there are several: a question for each job would double the time of its acceptance.
const SEQUENCES_AT_ONCE: i64 = 1000;

/// A job with its request, and its chunks by output.
pub(crate) type WholeJob = (StoredJob, StoredRequest, Vec<Vec<Value>>);

/// The readers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Shared>);

struct Shared {
    database: Database,
    root: PathBuf,
    idle: Mutex<Vec<Reading>>,
    /// Who waits here when full: requests that read jobs that are no longer in memory.
    slots: Semaphore,
}

impl Readers {
    pub(crate) fn new(database: Database, folders: &Folders, readers_max: usize) -> Self {
        let slots = Semaphore::new(readers_max.max(1));
        let root = folders.root().to_owned();
        Self(Arc::new(Shared { database, root, idle: Mutex::default(), slots }))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reading, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = |_closed| Error::internal("the store is closed");
        let _slot = self.0.slots.acquire().await.map_err(closed)?;
        let shared = Arc::clone(&self.0);
        let idle = move || -> Result<T, StoreError> {
            let idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => shared.database.open_reader()?,
            };
            let read = work(&connection, &shared.root);
            shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            read
        };
        Ok(blocking(idle).await??)
    }

    /// A job by its identifier.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<StoredJob>, Error> {
        self.read(move |database, _| {
            let sql = format!("SELECT {} FROM jobs WHERE id=?1", row::COLUMNS);
            database.query_one(&sql, &[id.as_bytes().into()], read_view)
        })
        .await
    }

    /// The request of a job.
    pub(crate) async fn request(&self, sequence: i64) -> Result<StoredRequest, Error> {
        let read = self.read(move |database, root| request(database, root, sequence));
        read.await?.ok_or_else(|| Error::internal("the job has been removed"))
    }

    /// All chunks of a job, by output.
    pub(crate) async fn all_chunks(&self, sequence: i64, outputs: usize) -> Result<Vec<Vec<Value>>, Error> {
        self.read(move |database, root| all_chunks(database, root, sequence, outputs)).await
    }

    /// Some chunks of one output.
    pub(crate) async fn chunks(
        &self,
        sequence: i64,
        output: usize,
        first: u64,
        chunks_max: usize,
    ) -> Result<Vec<Value>, Error> {
        self.read(move |database, root| {
            let sql = "SELECT value FROM chunks WHERE sequence=?1 AND output=?2 AND number>=?3 ORDER BY number LIMIT ?4";
            let first = i64::try_from(first).unwrap_or(i64::MAX);
            let params = [sequence.into(), output.into(), first.into(), chunks_max.into()];
            database.query(sql, &params, |row| read_value(0, row.text(0)?, root))
        })
        .await
    }

    /// A page of jobs, from its cursor on, and one job more where there is one behind it.
    pub(crate) async fn page(&self, filter: JobFilter, now: Timestamp) -> Result<Vec<StoredJob>, Error> {
        self.read(move |database, _| page::read(database, &filter, now)).await
    }

    /// Jobs that have not finished, in order of acceptance.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(i64, JobId)>, Error> {
        let sql = "SELECT sequence, id FROM jobs WHERE state IN (0,1) ORDER BY sequence";
        self.read(move |database, _| database.query(sql, &[], |row| Ok((row.int(0)?, row.id(1)?)))).await
    }

    /// A job with its request and chunks; `None` where it has been removed.
    pub(crate) async fn whole(&self, sequence: i64) -> Result<Option<WholeJob>, Error> {
        self.read(move |database, root| {
            let sql = format!("SELECT {} FROM jobs WHERE sequence=?1", row::COLUMNS);
            let Some(job) = database.query_one(&sql, &[sequence.into()], read_view)? else { return Ok(None) };
            let Some(request) = request(database, root, sequence)? else { return Ok(None) };
            let chunks = all_chunks(database, root, sequence, request.outputs.len())?;
            Ok(Some((job, request, chunks)))
        })
        .await
    }

    /// Finished jobs to be removed, and why: expired ones, then the oldest above `kept_max`; at most `limit`.
    pub(crate) async fn removable(
        &self,
        now: Timestamp,
        kept_max: u64,
        limit: usize,
    ) -> Result<(Removal, Vec<Removable>), Error> {
        self.read(move |database, _| {
            let jobs = |sql: &str, params: &[Param<'_>]| database.query(sql, params, read_removable);
            let sql = "SELECT sequence, id, owner, process, stored_bytes FROM jobs WHERE expires <= ?1 \
                       ORDER BY expires LIMIT ?2";
            let expired = jobs(sql, &[now.as_microsecond().into(), limit.into()])?;
            if !expired.is_empty() {
                return Ok((Removal::Expired, expired));
            }
            let sql = "SELECT count(*) FROM jobs WHERE expires IS NOT NULL";
            let finished = database.query_one(sql, &[], |row| row.narrow::<u64>(0))?.unwrap_or(0);
            let over = usize::try_from(finished.saturating_sub(kept_max)).unwrap_or(usize::MAX).min(limit);
            let sql = "SELECT sequence, id, owner, process, stored_bytes FROM jobs WHERE expires IS NOT NULL \
                       ORDER BY expires LIMIT ?1";
            Ok((Removal::Quota, jobs(sql, &[over.into()])?))
        })
        .await
    }

    /// Finished jobs with outputs whose time is over, or whose files may still be there; at most `limit`. Their outputs as they are stored.
    pub(crate) async fn outputs_due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Removable, String)>, Error> {
        self.read(move |database, _| {
            let sql = "SELECT sequence, id, owner, process, stored_bytes, outputs FROM jobs \
                       WHERE outputs_expire <= ?1 ORDER BY outputs_expire LIMIT ?2";
            let params = [now.as_microsecond().into(), limit.into()];
            database.query(sql, &params, |row| Ok((read_removable(row)?, row.text(5)?.to_owned())))
        })
        .await
    }

    /// What is remembered of a job that was removed: its owner, why, and when.
    pub(crate) async fn tombstone(
        &self,
        id: JobId,
    ) -> Result<Option<(Option<UserName>, Removal, Timestamp)>, Error> {
        self.read(move |database, _| {
            let sql = "SELECT owner, why, at FROM tombstones WHERE id=?1";
            database.query_one(sql, &[id.as_bytes().into()], |row| {
                Ok((row::read_owner(row, 0)?, row::read_removal(row, 1)?, row::read_time(row, 2)?))
            })
        })
        .await
    }

    /// What all nodes keep, but for unfinished jobs of this one.
    pub(crate) async fn stored_by_all(
        &self,
        node: i64,
    ) -> Result<Vec<(Option<UserName>, ProcessId, u64)>, Error> {
        self.read(move |database, _| {
            let sql = "SELECT owner, process, CAST(sum(stored_bytes) AS BIGINT) FROM jobs \
                       WHERE finished IS NOT NULL OR node <> ?1 GROUP BY owner, process";
            database.query(sql, &[node.into()], |row| {
                Ok((row::read_owner(row, 0)?, row::read_process(row, 1)?, row.narrow(2)?))
            })
        })
        .await
    }

    /// What the jobs before this one have kept, and how many of them came after `hour_ago`, by the minute: other nodes that live tell
    /// themselves how many came to them.
    pub(crate) async fn recalled(&self, before: i64, hour_ago: Timestamp) -> Result<Recalled, Error> {
        self.read(move |database, _| {
            let stored = "SELECT owner, process, CAST(sum(stored_bytes) AS BIGINT) FROM jobs \
                          WHERE sequence < ?1 AND finished IS NOT NULL GROUP BY owner, process";
            let stored = database.query(stored, &[before.into()], |row| {
                Ok((row::read_owner(row, 0)?, row::read_process(row, 1)?, row.narrow(2)?))
            })?;
            let hourly = format!(
                "SELECT owner, process, created / 60000000 AS minute, count(*) FROM jobs \
                 WHERE created >= ?1 AND sequence < ?2 {} GROUP BY owner, process, minute ORDER BY minute",
                database.and_of_no_other_node()
            );
            let bounds = [hour_ago.as_microsecond().into(), before.into()];
            let hourly = database.query(&hourly, &bounds, |row| {
                let at = Timestamp::from_second(row.int(2)?.saturating_mul(60)).unwrap_or(hour_ago);
                Ok((row::read_owner(row, 0)?, row::read_process(row, 1)?, at, row.narrow(3)?))
            })?;
            Ok(Recalled { stored, hourly })
        })
        .await
    }

    /// Jobs of which callbacks are still due, in order of acceptance.
    pub(crate) async fn with_callbacks(&self) -> Result<Vec<(i64, JobId)>, Error> {
        let sql =
            "SELECT DISTINCT sequence, jobs.id FROM callbacks JOIN jobs USING (sequence) ORDER BY sequence";
        self.read(move |database, _| database.query(sql, &[], |row| Ok((row.int(0)?, row.id(1)?)))).await
    }

    /// Callbacks of a job that are still due.
    pub(crate) async fn due_callbacks(&self, sequence: i64) -> Result<Vec<CallbackEvent>, Error> {
        self.read(move |database, _| {
            let sql = "SELECT event FROM callbacks WHERE sequence=?1 ORDER BY event";
            database.query(sql, &[sequence.into()], |row| row::read_event(row, 0))
        })
        .await
    }

    /// Row numbers that nobody else gives to a job.
    pub(crate) async fn free_sequences(&self) -> Result<Range<i64>, Error> {
        self.read(|database, _| {
            let first =
                |sql| Ok::<i64, StoreError>(database.query_one(sql, &[], |row| row.int(0))?.unwrap_or(0));
            match database {
                Reading::Sqlite(_) => Ok(first("SELECT coalesce(max(sequence), 0) FROM jobs")? + 1..i64::MAX),
                Reading::Postgres(..) => {
                    let block = first("SELECT nextval('sequences')")?;
                    Ok(block * SEQUENCES_AT_ONCE..(block + 1) * SEQUENCES_AT_ONCE)
                }
            }
        })
        .await
    }

    /// Which of these jobs have a row.
    pub(crate) async fn known(&self, ids: Vec<JobId>) -> Result<Vec<bool>, Error> {
        self.read(move |database, _| {
            let sql = "SELECT sequence FROM jobs WHERE id=?1";
            let known = |id: &JobId| database.query_one(sql, &[id.as_bytes().into()], |row| row.int(0));
            ids.iter().map(|id| Ok(known(id)?.is_some())).collect()
        })
        .await
    }
}

/// A finished job that is to be removed.
pub(crate) struct Removable {
    pub(crate) sequence: i64,
    pub(crate) id: JobId,
    pub(crate) owner: Option<UserName>,
    pub(crate) process: ProcessId,
    pub(crate) stored_bytes: u64,
}

fn read_removable(row: Row<'_>) -> Result<Removable, StoreError> {
    Ok(Removable {
        sequence: row.int(0)?,
        id: row.id(1)?,
        owner: row::read_owner(row, 2)?,
        process: row::read_process(row, 3)?,
        stored_bytes: row.narrow(4)?,
    })
}

fn request(database: &Reading, root: &Path, sequence: i64) -> Result<Option<StoredRequest>, StoreError> {
    let sql = "SELECT request FROM requests WHERE sequence=?1";
    database.query_one(sql, &[sequence.into()], |row| read_request(0, row.text(0)?, root))
}

fn all_chunks(
    database: &Reading,
    root: &Path,
    sequence: i64,
    outputs: usize,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let sql = "SELECT output, value FROM chunks WHERE sequence=?1 ORDER BY output, number";
    let mut logs = vec![Vec::new(); outputs];
    database.query(sql, &[sequence.into()], |row| {
        if let Some(log) = logs.get_mut(row.narrow::<usize>(0)?) {
            log.push(read_value(1, row.text(1)?, root)?);
        }
        Ok(())
    })?;
    Ok(logs)
}
