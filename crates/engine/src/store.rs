//! The job store: a database, one writer thread, a few readers.
//!
//! Everything queued is written in one transaction, several changes of one job as one. It is on the disk before anything
//! durable is acknowledged, and at latest [`SYNC_AFTER`] after anything else.
//!
//! What is said to the database is the same for each (`writer`, `reader`, `row`), in the words of `sql`; what differs is behind
//! `database`: tables, pages of the list, and how a transaction becomes durable.

pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod inbox;
mod page;
pub(crate) mod postgres;
pub(crate) mod reader;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod sql;
mod sqlite;
mod sync;
pub(crate) mod writer;

use crate::board::Board;
use crate::engine::OpenError;
use crate::folders::Folders;
use anabranch_model::Error;
use database::Database;
use inbox::{Inbox, Rows};
use reader::Readers;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest time a change that nobody waits for lies in memory: short for watchers, long enough to become one row with
/// what follows.
pub(crate) const LAZY: Duration = Duration::from_millis(5);

/// Longest time a committed change is not safe from a power failure (it is safe from a crash of the server at once).
pub(crate) const SYNC_AFTER: Duration = Duration::from_millis(100);

/// The store, open.
pub(crate) struct Store {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer of a simulation, which has no thread of its own.
    #[cfg(test)]
    by_hand: Mutex<Option<writer::ByHand>>,
}

impl Store {
    /// Opens the database and starts the writer. Blocking.
    pub(crate) fn open(
        database: Database,
        folders: &Folders,
        board: Arc<Board>,
        readers_max: usize,
    ) -> Result<Self, OpenError> {
        let inbox = Arc::new(Inbox::default());
        let root = folders.root().to_owned();
        let writer =
            writer::Writer::new(database.open(board.metrics.sync_time())?, Arc::clone(&inbox), board, root);
        #[cfg(test)]
        if crate::tests::simulation::is_on() {
            let by_hand = Mutex::new(Some(writer.by_hand(&folders.database())));
            let readers = Readers::new(database, folders, readers_max);
            return Ok(Self { inbox, readers, writer: Mutex::default(), by_hand });
        }
        let thread = std::thread::Builder::new().name("anabranch-store".into()).spawn(move || writer.run());
        let thread =
            thread.map_err(|source| OpenError::Folder { path: folders.root().to_owned(), source })?;
        let readers = Readers::new(database, folders, readers_max);
        Ok(Self {
            inbox,
            readers,
            writer: Mutex::new(Some(thread)),
            #[cfg(test)]
            by_hand: Mutex::default(),
        })
    }

    /// Removes rows; tells how many jobs or callbacks that were.
    pub(crate) async fn remove(&self, rows: Rows) -> Result<usize, Error> {
        let (sender, receiver) = oneshot::channel();
        self.inbox.remove(rows, sender);
        receiver.await.map_err(|_closed| Error::internal("the store is closed"))?
    }

    /// Writes everything down, syncs, and ends the writer. Blocking.
    pub(crate) fn close(&self) {
        self.inbox.close();
        #[cfg(test)]
        while self.step() {}
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer has panicked");
        }
    }
}

#[cfg(test)]
impl Store {
    /// Writes what waits; false where nothing does, or this is no simulation.
    pub(crate) fn step(&self) -> bool {
        let mut writer = self.by_hand.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_mut().is_some_and(writer::ByHand::step)
    }

    /// How much of the write-ahead log a power failure leaves.
    pub(crate) fn synced_bytes(&self) -> u64 {
        let writer = self.by_hand.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().map_or(0, writer::ByHand::synced_bytes)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
