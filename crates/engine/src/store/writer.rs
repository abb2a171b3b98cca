//! The one thread that writes: it owns the connection, nobody else writes.

use super::inbox::{Inbox, Removal, Rows, Work};
use super::row::{detail, event_code, on_restart_code, to_json, write_value};
use super::sync::Syncer;
use crate::board::Board;
use crate::list::StateName;
use crate::live::{Live, Snapshot};
use anabranch_model::{Error, Subscriber, Timestamp};
use rusqlite::{Connection, Transaction, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rest after a failed write, which is then tried again: a full disk does not empty faster by asking.
const RETRY: Duration = Duration::from_millis(500);

const INSERT: &str = "INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, \
                      attempt, sync, on_restart, agent, requeued, detail, outputs) \
                      VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)";
const UPDATE: &str = "UPDATE jobs SET state=?2, started=?3, finished=?4, updated=?5, expires=?6, attempt=?7, \
                      on_restart=?8, agent=?9, requeued=?10, detail=?11, outputs=?12 WHERE sequence=?1";
const INSERT_REQUEST: &str = "INSERT INTO requests (sequence, request) VALUES (?1,?2)";
const INSERT_CHUNK: &str = "INSERT INTO chunks (sequence, output, number, value) VALUES (?1,?2,?3,?4)";
const CLEAR_CHUNKS: &str = "DELETE FROM chunks WHERE sequence=?1";
const INSERT_CALLBACK: &str = "INSERT INTO callbacks (sequence, event) VALUES (?1,?2)";
const REMOVE_CALLBACK: &str = "DELETE FROM callbacks WHERE sequence=?1 AND event=?2";
const REMOVE_CALLBACKS: &str = "DELETE FROM callbacks WHERE sequence=?1";
const REMOVE_REQUEST: &str = "DELETE FROM requests WHERE sequence=?1";
/// Only what has finished: nobody may lose a job that still goes on.
const REMOVE: &str = "DELETE FROM jobs WHERE sequence=?1 AND finished IS NOT NULL";

/// The writer's state.
pub(crate) struct Writer {
    connection: Connection,
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    root: PathBuf,
    /// `PRAGMA synchronous` is FULL at present.
    full: Option<bool>,
    /// When the oldest commit was made that a power failure could still undo.
    unsynced: Option<Instant>,
    syncer: Syncer,
}

type Snapshots = Vec<(Arc<Live>, Snapshot)>;

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        inbox: Arc<Inbox>,
        board: Arc<Board>,
        root: PathBuf,
        syncer: Syncer,
    ) -> Self {
        Self { connection, inbox, board, root, full: None, unsynced: None, syncer }
    }

    /// Writes until the inbox is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            match self.inbox.next(self.unsynced) {
                Work::Write { changed, removals, durable } => {
                    if !self.write(changed, removals, durable) {
                        return;
                    }
                }
                Work::Sync => {
                    self.syncer.ask();
                    self.unsynced = None;
                }
                Work::End => {
                    self.sync();
                    return;
                }
            }
        }
    }

    /// False where the store is closed and can't be written: what is left is lost, as by a crash.
    fn write(&mut self, changed: Vec<Arc<Live>>, removals: Vec<Removal>, durable: bool) -> bool {
        let snapshots: Snapshots = changed
            .into_iter()
            .map(|live| {
                let snapshot = live.take_pending();
                (live, snapshot)
            })
            .collect();
        let durable = durable || snapshots.iter().any(|(_, snapshot)| snapshot.durable);
        match self.commit(&snapshots, &removals, durable) {
            Ok(counts) => {
                self.board.set_failing(false);
                for (removal, count) in removals.into_iter().zip(counts) {
                    // Who asked may have gone; the rows are removed all the same.
                    let _ = removal.done.send(Ok(count));
                }
                for (live, snapshot) in snapshots {
                    self.board.finishes(&snapshot.view.job);
                    if live.committed(snapshot) {
                        self.board.finished(&live);
                    }
                }
                true
            }
            Err(error) => self.failed(snapshots, removals, &error),
        }
    }

    fn failed(&mut self, snapshots: Snapshots, removals: Vec<Removal>, error: &rusqlite::Error) -> bool {
        tracing::error!(%error, jobs = snapshots.len(), "the job store can't be written; it is tried again");
        self.board.set_failing(true);
        let error = store_error(error);
        for removal in removals {
            let _ = removal.done.send(Err(error.clone()));
        }
        for (live, snapshot) in snapshots {
            live.not_committed(snapshot, &error);
        }
        !self.inbox.rest(RETRY)
    }

    fn commit(
        &mut self,
        snapshots: &Snapshots,
        removals: &[Removal],
        durable: bool,
    ) -> rusqlite::Result<Vec<usize>> {
        self.set_full(durable)?;
        self.board.fault()?;
        let transaction = self.connection.transaction()?;
        for (live, snapshot) in snapshots {
            write_job(&transaction, live, snapshot, &self.root)?;
        }
        let mut counts = Vec::with_capacity(removals.len());
        for removal in removals {
            counts.push(remove(&transaction, &removal.rows)?);
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
    fn sync(&mut self) {
        let synced = self
            .set_full(true)
            .and_then(|()| self.connection.prepare_cached("UPDATE syncs SET count = count + 1")?.execute([]));
        if let Err(error) = synced {
            tracing::error!(%error, "the job store can't be synced to the disk");
        }
    }

    fn set_full(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.full != Some(full) {
            let level = if full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            self.connection.execute_batch(level)?;
            self.full = Some(full);
        }
        Ok(())
    }
}

/// A fault of the database as the client's error.
pub(crate) fn store_error(error: &rusqlite::Error) -> Error {
    let detail = format!("the job store: {error}");
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Error::NotEnoughStorage { detail },
        _ => Error::Internal { detail },
    }
}

fn write_job(
    transaction: &Transaction<'_>,
    live: &Live,
    snapshot: &Snapshot,
    root: &Path,
) -> rusqlite::Result<()> {
    let sequence = live.sequence;
    let job = &snapshot.view.job;
    let state = StateName::of(&job.state).code();
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    let (started, finished, expires) =
        (micros(job.started), micros(job.finished), micros(snapshot.view.expires));
    let updated = job.updated.as_microsecond();
    let on_restart = snapshot.on_restart.map(on_restart_code);
    let (detail, outputs) = (detail(&job.state)?, to_json(&snapshot.view.outputs)?);
    if snapshot.insert {
        transaction.prepare_cached(INSERT)?.execute(params![
            sequence,
            job.id.as_bytes(),
            job.process.as_str(),
            state,
            job.created.as_microsecond(),
            started,
            finished,
            updated,
            expires,
            job.attempt,
            live.sync,
            on_restart,
            job.agent,
            job.requeued,
            detail,
            outputs
        ])?;
        transaction
            .prepare_cached(INSERT_REQUEST)?
            .execute(params![sequence, snapshot.request_json.as_deref().unwrap_or("{}")])?;
        for (event, _) in live.request.request.subscriber.iter().flat_map(Subscriber::addresses) {
            transaction.prepare_cached(INSERT_CALLBACK)?.execute(params![sequence, event_code(event)])?;
        }
    } else {
        transaction.prepare_cached(UPDATE)?.execute(params![
            sequence,
            state,
            started,
            finished,
            updated,
            expires,
            job.attempt,
            on_restart,
            job.agent,
            job.requeued,
            detail,
            outputs
        ])?;
    }
    if snapshot.clear {
        transaction.prepare_cached(CLEAR_CHUNKS)?.execute([sequence])?;
    }
    for (output, number, value) in &snapshot.chunks {
        let value = write_value(value, root)?;
        transaction.prepare_cached(INSERT_CHUNK)?.execute(params![sequence, output, number, value])?;
    }
    Ok(())
}

fn remove(transaction: &Transaction<'_>, rows: &Rows) -> rusqlite::Result<usize> {
    match rows {
        Rows::Jobs(sequences) => {
            let mut count = 0;
            for sequence in sequences {
                count += remove_job(transaction, *sequence)?;
            }
            Ok(count)
        }
        Rows::Callbacks { sequence, event: None } => {
            transaction.prepare_cached(REMOVE_CALLBACKS)?.execute([sequence])
        }
        Rows::Callbacks { sequence, event: Some(event) } => {
            transaction.prepare_cached(REMOVE_CALLBACK)?.execute(params![sequence, event_code(*event)])
        }
    }
}

fn remove_job(transaction: &Transaction<'_>, sequence: i64) -> rusqlite::Result<usize> {
    let count = transaction.prepare_cached(REMOVE)?.execute([sequence])?;
    if count > 0 {
        transaction.prepare_cached(CLEAR_CHUNKS)?.execute([sequence])?;
        transaction.prepare_cached(REMOVE_REQUEST)?.execute([sequence])?;
        transaction.prepare_cached(REMOVE_CALLBACKS)?.execute([sequence])?;
    }
    Ok(count)
}
