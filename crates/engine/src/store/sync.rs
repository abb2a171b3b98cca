//! Syncs the write-ahead log to the disk, away from the writer: a sync takes milliseconds in which it could write.

use crate::folders;
use prometheus_client::metrics::histogram::Histogram;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

/// The thread that syncs. It ends when this is dropped.
pub(crate) struct Syncer {
    /// Holds one request. Nobody waits when it is full: the request in it will be met later than now, and so covers this
    /// moment too.
    requests: SyncSender<()>,
}

impl Syncer {
    /// Starts it. `time` gets the seconds of each sync.
    pub(crate) fn start(database: &Path, time: Histogram) -> io::Result<Self> {
        let (requests, receiver) = sync_channel(1);
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let run = move || sync_each(&receiver, &PathBuf::from(log), &time);
        std::thread::Builder::new().name("anabranch-sync".into()).spawn(run)?;
        Ok(Self { requests })
    }

    /// Asks for all that has been committed to be synced.
    pub(crate) fn ask(&self) {
        // Full is fine, see above; the thread lives as long as `self`.
        let _ = self.requests.try_send(());
    }
}

fn sync_each(requests: &Receiver<()>, log: &Path, time: &Histogram) {
    let mut is_placed = false;
    while requests.recv().is_ok() {
        let begin = Instant::now();
        // SQLite locks the database and its index, never this file, so opening and closing it here releases nothing.
        let synced = File::open(log).and_then(|log| log.sync_data());
        let synced = synced.and_then(|()| match log.parent().filter(|_| !is_placed) {
            Some(folder) => folders::sync(folder),
            None => Ok(()),
        });
        is_placed |= synced.is_ok();
        time.observe(begin.elapsed().as_secs_f64());
        if let Err(error) = synced {
            tracing::error!(path = %log.display(), %error, "the job store's log can't be synced to the disk");
        }
    }
}
