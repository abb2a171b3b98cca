//! The one thread that writes: it owns the connection, nobody else writes.

use super::database::Writing;
use super::inbox::{Inbox, Removal, Rows, Work};
use super::row::{detail, event_code, on_restart_code, removal_code, to_json, write_request, write_value};
use super::sql::{Param, Statement, StoreError};
use crate::board::Board;
use crate::folders;
use crate::list::StateName;
use crate::live::{Live, Snapshot, file_of, value_bytes};
use anabranch_model::{Error, Subscriber, Timestamp, UserName};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rest after a failed write, which is then tried again: a full disk does not empty faster by asking.
const RETRY: Duration = Duration::from_millis(500);

const INSERT: &str = "INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, \
                      attempt, sync, on_restart, agent, requeued, detail, outputs, owner, stored_bytes, outputs_expire) \
                      VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)";
const UPDATE: &str = "UPDATE jobs SET state=?2, started=?3, finished=?4, updated=?5, expires=?6, attempt=?7, \
                      on_restart=?8, agent=?9, requeued=?10, detail=?11, outputs=?12, stored_bytes=?13, \
                      outputs_expire=?14 WHERE sequence=?1";
const INSERT_REQUEST: &str = "INSERT INTO requests (sequence, request) VALUES (?1,?2)";
/// What a finished job came from, without what only its run needed.
const UPDATE_REQUEST: &str = "UPDATE requests SET request=?2 WHERE sequence=?1";
const INSERT_CHUNK: &str = "INSERT INTO chunks (sequence, output, number, value) VALUES (?1,?2,?3,?4)";
const REMOVE_CHUNKS: &str = "DELETE FROM chunks WHERE sequence=?1 AND output=?2 AND number<?3";
const CLEAR_CHUNKS: &str = "DELETE FROM chunks WHERE sequence=?1";
const INSERT_CALLBACK: &str = "INSERT INTO callbacks (sequence, event) VALUES (?1,?2)";
const REMOVE_CALLBACK: &str = "DELETE FROM callbacks WHERE sequence=?1 AND event=?2";
const REMOVE_CALLBACKS: &str = "DELETE FROM callbacks WHERE sequence=?1";
/// Only what has finished, as it is to be removed then.
const REMEMBER: &str = "INSERT INTO tombstones (id, owner, why, at) \
                        SELECT id, owner, ?2, ?3 FROM jobs WHERE sequence=?1 AND finished IS NOT NULL \
                        ON CONFLICT (id) DO NOTHING";
const FORGET: &str = "DELETE FROM tombstones WHERE at < ?1 \
                      OR at <= (SELECT at FROM tombstones ORDER BY at DESC LIMIT 1 OFFSET ?2)";
/// Only what has finished: nobody may lose a job that still goes on.
const REMOVE: &str = "DELETE FROM jobs WHERE sequence=?1 AND finished IS NOT NULL";
/// Only as they were when their time was found to be over: another node may have been quicker.
const EXPIRE_OUTPUTS: &str =
    "UPDATE jobs SET outputs=?2, stored_bytes=?3 WHERE sequence=?1 AND outputs=?4 AND finished IS NOT NULL";
const EXPIRE_CHUNKS: &str = "DELETE FROM chunks WHERE sequence=?1 AND output=?2";
const NEXT_OUTPUTS: &str = "UPDATE jobs SET outputs_expire=?2 WHERE sequence=?1 AND outputs=?3";
/// What belongs to a job, once it has no row any more.
const REMOVE_PARTS: [&str; 3] = [
    "DELETE FROM chunks WHERE sequence=?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE sequence=?1)",
    "DELETE FROM requests WHERE sequence=?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE sequence=?1)",
    "DELETE FROM callbacks WHERE sequence=?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE sequence=?1)",
];

/// The writer's state.
pub(crate) struct Writer {
    database: Writing,
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    root: PathBuf,
}

type Snapshots = Vec<(Arc<Live>, Snapshot)>;

impl Writer {
    pub(super) fn new(database: Writing, inbox: Arc<Inbox>, board: Arc<Board>, root: PathBuf) -> Self {
        Self { database, inbox, board, root }
    }

    /// Writes until the inbox is closed and empty, or closed and can't be written: what is left then is lost, as by a crash.
    pub(crate) fn run(mut self) {
        loop {
            match self.inbox.next(self.database.unsynced()) {
                Work::Write { changed, removals, durable } => {
                    if !self.write(changed, removals, durable) && self.inbox.rest(RETRY) {
                        return;
                    }
                }
                Work::Sync => self.database.sync_soon(),
                Work::End => {
                    if let Err(error) = self.database.close() {
                        tracing::error!(%error, "the job store can't be synced to the disk");
                    }
                    return;
                }
            }
        }
    }

    /// False where the store can't be written; all but new jobs is in the inbox again.
    fn write(&mut self, changed: Vec<Arc<Live>>, removals: Vec<Removal>, durable: bool) -> bool {
        let snapshots: Snapshots = changed
            .into_iter()
            .map(|live| {
                let snapshot = live.take_pending();
                (live, snapshot)
            })
            .collect();
        let durable = durable || snapshots.iter().any(|(_, snapshot)| snapshot.durable);
        let begin = Instant::now();
        match self.commit(&snapshots, &removals, durable) {
            Ok(counts) => {
                self.board.metrics.committed(begin.elapsed(), durable);
                self.board.set_failing(false);
                for (removal, count) in removals.into_iter().zip(counts) {
                    // Who asked may have gone; the rows are removed all the same.
                    let _ = removal.done.send(Ok(count));
                }
                for (live, snapshot) in snapshots {
                    let bytes = snapshot.chunks.iter().map(|(_, _, value)| value_bytes(value)).sum();
                    self.board.metrics.stored(snapshot.chunks.len() as u64, bytes);
                    self.board.finishes(&snapshot.view.job);
                    if live.committed(snapshot) {
                        self.board.finished(&live);
                    }
                }
                true
            }
            Err(StoreError::Lost) => {
                // Nothing of what waits is this node's to write any more, nor to tell.
                self.inbox.close();
                false
            }
            Err(error) => {
                self.failed(snapshots, removals, error);
                false
            }
        }
    }

    fn failed(&mut self, snapshots: Snapshots, removals: Vec<Removal>, error: StoreError) {
        tracing::error!(%error, jobs = snapshots.len(), "the job store can't be written; it is tried again");
        self.board.set_failing(true);
        self.board.metrics.commit_failed();
        let error = Error::from(error);
        for removal in removals {
            let _ = removal.done.send(Err(error.clone()));
        }
        for (live, snapshot) in snapshots {
            live.not_committed(snapshot, &error);
        }
    }

    fn commit(
        &mut self,
        snapshots: &Snapshots,
        removals: &[Removal],
        durable: bool,
    ) -> Result<Vec<usize>, StoreError> {
        self.board.fault()?;
        sync_places(snapshots)?;
        let mut statements = Vec::with_capacity(snapshots.len() * 2);
        for (live, snapshot) in snapshots {
            write_job(&mut statements, live, snapshot, &self.root)?;
        }
        let mut places = Vec::with_capacity(removals.len());
        for removal in removals {
            let first = statements.len();
            places.push(first..first + remove(&mut statements, &removal.rows));
        }
        let mut counts = self.database.commit(&statements, durable);
        while let Err(StoreError::Unsure) = counts {
            self.board.set_failing(true);
            if self.inbox.rest(RETRY) {
                break;
            }
            counts = self.database.outcome();
        }
        let counts = counts?;
        Ok(places.into_iter().map(|place| counts[place].iter().sum()).collect())
    }
}

/// Syncs the folders in which files of new chunks have got their numbers: an entry must not be on the disk before its file is.
fn sync_places(snapshots: &Snapshots) -> Result<(), StoreError> {
    let values = snapshots.iter().flat_map(|(_, snapshot)| &snapshot.chunks).map(|(_, _, value)| value);
    let places: BTreeSet<&Path> = values.filter_map(|value| file_of(value)?.path.parent()).collect();
    for place in places {
        let synced = folders::sync(place);
        // Gone with its job, which has been removed meanwhile, or is about to be repeated.
        let synced = if place.exists() { synced } else { Ok(()) };
        synced.map_err(|error| StoreError::Folder { path: place.to_owned(), error })?;
    }
    Ok(())
}

fn write_job<'a>(
    statements: &mut Vec<Statement<'a>>,
    live: &'a Live,
    snapshot: &'a Snapshot,
    root: &Path,
) -> Result<(), StoreError> {
    let sequence = live.sequence;
    let mut say = |sql, params| statements.push(Statement { sql, params });
    if snapshot.insert {
        say(INSERT, inserted(live, snapshot)?);
        let request = snapshot.request_json.as_deref().unwrap_or("{}");
        say(INSERT_REQUEST, vec![sequence.into(), request.into()]);
        for (event, _) in live.request.request.subscriber.iter().flat_map(Subscriber::addresses) {
            say(INSERT_CALLBACK, vec![sequence.into(), event_code(event).into()]);
        }
    } else {
        say(UPDATE, updated(live, snapshot)?);
    }
    if snapshot.view.job.is_finished()
        && let Some(request) = live.request.without_credentials()
    {
        say(UPDATE_REQUEST, vec![sequence.into(), write_request(&request, root)?.into()]);
    }
    if snapshot.clear {
        say(CLEAR_CHUNKS, vec![sequence.into()]);
    }
    for (output, number, value) in &snapshot.chunks {
        let value = write_value(value, root)?;
        say(INSERT_CHUNK, vec![sequence.into(), (*output).into(), (*number).into(), value.into()]);
    }
    for (output, first) in &snapshot.removed {
        say(REMOVE_CHUNKS, vec![sequence.into(), (*output).into(), (*first).into()]);
    }
    Ok(())
}

fn micros(time: Option<Timestamp>) -> Param<'static> {
    time.map(Timestamp::as_microsecond).into()
}

/// The values of [`INSERT`].
fn inserted<'a>(live: &'a Live, snapshot: &'a Snapshot) -> Result<Vec<Param<'a>>, StoreError> {
    let job = &snapshot.view.job;
    Ok(vec![
        live.sequence.into(),
        job.id.as_bytes().into(),
        job.process.as_str().into(),
        StateName::of(&job.state).code().into(),
        job.created.as_microsecond().into(),
        micros(job.started),
        micros(job.finished),
        job.updated.as_microsecond().into(),
        micros(snapshot.view.expires),
        job.attempt.into(),
        live.sync.into(),
        snapshot.on_restart.map(on_restart_code).into(),
        job.agent.as_deref().into(),
        job.requeued.as_deref().into(),
        detail(&job.state)?.into(),
        to_json(&*snapshot.view.outputs)?.into(),
        job.owner.as_ref().map(UserName::as_str).into(),
        stored_bytes(live, snapshot),
        outputs_expire(snapshot),
    ])
}

/// The values of [`UPDATE`].
fn updated<'a>(live: &Live, snapshot: &'a Snapshot) -> Result<Vec<Param<'a>>, StoreError> {
    let job = &snapshot.view.job;
    Ok(vec![
        live.sequence.into(),
        StateName::of(&job.state).code().into(),
        micros(job.started),
        micros(job.finished),
        job.updated.as_microsecond().into(),
        micros(snapshot.view.expires),
        job.attempt.into(),
        snapshot.on_restart.map(on_restart_code).into(),
        job.agent.as_deref().into(),
        job.requeued.as_deref().into(),
        detail(&job.state)?.into(),
        to_json(&*snapshot.view.outputs)?.into(),
        stored_bytes(live, snapshot),
        outputs_expire(snapshot),
    ])
}

fn outputs_expire(snapshot: &Snapshot) -> Param<'static> {
    micros(snapshot.view.outputs.iter().filter_map(|output| output.expires).min())
}

fn stored_bytes(live: &Live, snapshot: &Snapshot) -> Param<'static> {
    i64::try_from(live.stored_bytes_as_of(&snapshot.view)).unwrap_or(i64::MAX).into()
}

/// Says what removes the rows; how many jobs or callbacks that were is the sum of what the first so many statements change.
fn remove(statements: &mut Vec<Statement<'_>>, rows: &Rows) -> usize {
    let mut say = |sql, params| statements.push(Statement { sql, params });
    match rows {
        Rows::Jobs { sequences, why, at } => {
            for sequence in sequences {
                let (why, at) = (removal_code(*why), at.as_microsecond());
                say(REMEMBER, vec![(*sequence).into(), why.into(), at.into()]);
            }
            for sequence in sequences {
                say(REMOVE, vec![(*sequence).into()]);
                REMOVE_PARTS.iter().for_each(|sql| say(sql, vec![(*sequence).into()]));
            }
            sequences.len()
        }
        Rows::Outputs(jobs) => {
            for job in jobs.iter() {
                let stored = i64::try_from(job.stored_bytes_left).unwrap_or(i64::MAX);
                let (sequence, outputs) = (job.job.sequence, job.outputs_left.clone());
                say(
                    EXPIRE_OUTPUTS,
                    vec![sequence.into(), outputs.into(), stored.into(), job.outputs.clone().into()],
                );
            }
            for job in jobs.iter() {
                for output in &job.expired {
                    say(EXPIRE_CHUNKS, vec![job.job.sequence.into(), (*output).into()]);
                }
            }
            jobs.len()
        }
        Rows::OutputFiles(jobs) => {
            for job in jobs.iter() {
                let outputs = job.outputs_left.clone();
                say(NEXT_OUTPUTS, vec![job.job.sequence.into(), micros(job.next), outputs.into()]);
            }
            jobs.len()
        }
        Rows::Tombstones { before, kept_max } => {
            let kept_max = i64::try_from(*kept_max).unwrap_or(i64::MAX);
            say(FORGET, vec![before.as_microsecond().into(), kept_max.into()]);
            1
        }
        Rows::Callbacks { sequence, event: None } => {
            say(REMOVE_CALLBACKS, vec![(*sequence).into()]);
            1
        }
        Rows::Callbacks { sequence, event: Some(event) } => {
            say(REMOVE_CALLBACK, vec![(*sequence).into(), event_code(*event).into()]);
            1
        }
    }
}

/// A writer that writes when it is told to.
#[cfg(test)]
pub(crate) struct ByHand {
    writer: Writer,
    log: PathBuf,
    synced_bytes: u64,
}

#[cfg(test)]
impl Writer {
    pub(super) fn by_hand(self, database: &Path) -> ByHand {
        let log = database.with_extension("sqlite-wal");
        let mut by_hand = ByHand { writer: self, log, synced_bytes: 0 };
        by_hand.note_synced();
        by_hand
    }
}

#[cfg(test)]
impl ByHand {
    /// Writes what waits; false where nothing does.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Work::Write { changed, removals, durable }) = self.writer.inbox.take() else { return false };
        self.writer.write(changed, removals, durable);
        self.note_synced();
        true
    }

    /// How much of the write-ahead log a power failure leaves.
    pub(crate) fn synced_bytes(&self) -> u64 {
        self.synced_bytes
    }

    fn note_synced(&mut self) {
        if self.writer.database.unsynced().is_none() {
            self.synced_bytes = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        }
    }
}
