//! Room on the disk of the data folder: what is free, what is promised, and who is refused for it.

use crate::limits::Limits;
use anabranch_model::{Error, Limit, LimitKind, LimitOf};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a look at the disk counts. What is written meanwhile is counted here, so that it is never more wrong than by what others
/// write in a second.
const LOOK_COUNTS: Duration = Duration::from_secs(1);

/// The disk of the data folder.
pub(crate) struct Disk {
    look: Box<dyn Fn() -> io::Result<Room> + Send + Sync>,
    /// New jobs are refused where less would stay free.
    free_bytes_min: u64,
    /// The same as a share of the disk.
    free_percent_min: u64,
    /// Running jobs fail where less would stay free: what is left is for the database and its log.
    stop_bytes: u64,
    state: Mutex<State>,
}

/// A disk at one moment, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free for this server.
    pub free_bytes: u64,
    /// Free and taken.
    pub total_bytes: u64,
}

#[derive(Default)]
struct State {
    looked: Option<(Instant, Room)>,
    /// Since that look.
    written_bytes: u64,
    /// Promised to those who have not written yet.
    promised_bytes: u64,
}

/// Bytes promised to someone, until this is dropped.
pub struct Reservation {
    disk: Arc<Disk>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.disk.state().promised_bytes -= self.bytes;
    }
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, limits: &Limits) -> Self {
        Self::looking(limits, move || {
            let found = rustix::fs::statvfs(&folder)?;
            Ok(Room {
                free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
                total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            })
        })
    }

    fn looking(limits: &Limits, look: impl Fn() -> io::Result<Room> + Send + Sync + 'static) -> Self {
        Self {
            look: Box::new(look),
            free_bytes_min: limits.free_bytes_min,
            free_percent_min: limits.free_percent_min.min(100),
            stop_bytes: limits.free_bytes_stop,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises bytes to someone who is about to write them for a new job.
    ///
    /// # Errors
    /// [`Error::OverLimit`] where too little would stay free.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, now: Instant) -> Result<Reservation, Error> {
        let mut state = self.state();
        if let Some(room) = self.room(&mut state, now) {
            let min = self.free_bytes_min.max(room.total_bytes / 100 * self.free_percent_min);
            let wanted = min.saturating_add(state.promised_bytes).saturating_add(bytes);
            if room.free_bytes < wanted {
                return Err(over(min));
            }
        }
        state.promised_bytes += bytes;
        drop(state);
        Ok(Reservation { disk: Arc::clone(self), bytes })
    }

    /// A job that runs is about to write bytes.
    ///
    /// # Errors
    /// [`Error::OverLimit`] where the little that would stay free is for the server itself.
    pub(crate) fn write(&self, bytes: u64, now: Instant) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(room) = self.room(&mut state, now)
            && room.free_bytes < self.stop_bytes.saturating_add(bytes)
        {
            return Err(over(self.stop_bytes));
        }
        state.written_bytes = state.written_bytes.saturating_add(bytes);
        Ok(())
    }

    /// The disk as it is; `None` where it can't be looked at, which then refuses nobody.
    pub(crate) fn now(&self, now: Instant) -> Option<Room> {
        self.room(&mut self.state(), now)
    }

    fn room(&self, state: &mut State, now: Instant) -> Option<Room> {
        let fresh = state.looked.filter(|(at, _)| now.saturating_duration_since(*at) < LOOK_COUNTS);
        let (_, room) = match fresh {
            Some(looked) => looked,
            None => {
                let found = (self.look)();
                let found = found.inspect_err(|error| tracing::warn!(%error, "the disk can't be looked at"));
                let looked = (now, found.ok()?);
                (state.looked, state.written_bytes) = (Some(looked), 0);
                looked
            }
        };
        Some(Room { free_bytes: room.free_bytes.saturating_sub(state.written_bytes), ..room })
    }
}

fn over(min: u64) -> Error {
    Error::over(Limit { kind: LimitKind::FreeBytes, max: min, of: LimitOf::Server })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn disk(free: u64, free_percent_min: u64) -> (Arc<Disk>, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(free));
        let limits =
            Limits { free_bytes_min: 100, free_percent_min, free_bytes_stop: 10, ..Limits::default() };
        let shown = Arc::clone(&free);
        let look = move || Ok(Room { free_bytes: shown.load(Ordering::Relaxed), total_bytes: 10_000 });
        (Arc::new(Disk::looking(&limits, look)), free)
    }

    fn refused(result: Result<impl Sized, Error>) -> u64 {
        match result {
            Err(Error::OverLimit { limit, .. }) if limit.kind == LimitKind::FreeBytes => limit.max,
            _ => panic!("it should have been refused"),
        }
    }

    #[test]
    fn what_is_promised_is_not_promised_twice() {
        let (disk, _) = disk(1000, 0);
        let now = Instant::now();
        let first = disk.reserve(600, now).unwrap();
        assert_eq!(refused(disk.reserve(301, now)), 100);
        let second = disk.reserve(300, now).unwrap();
        assert_eq!(refused(disk.reserve(1, now)), 100);
        drop(first);
        disk.reserve(600, now).unwrap();
        drop(second);
        assert_eq!(disk.state().promised_bytes, 0);
    }

    #[test]
    fn what_is_written_counts_at_once_and_what_others_write_soon() {
        let (disk, free) = disk(1000, 0);
        let now = Instant::now();
        disk.write(900, now).unwrap();
        assert_eq!(refused(disk.reserve(1, now)), 100);
        disk.write(90, now).unwrap();
        assert_eq!(refused(disk.write(1, now)), 10);
        free.store(500, Ordering::Relaxed);
        assert_eq!(refused(disk.write(1, now)), 10);
        disk.write(1, now + LOOK_COUNTS).unwrap();
        free.store(0, Ordering::Relaxed);
        assert_eq!(refused(disk.write(1, now + 2 * LOOK_COUNTS)), 10);
    }

    #[test]
    fn a_share_of_the_disk_can_be_kept_free() {
        let (disk, _) = disk(1000, 9);
        assert_eq!(refused(disk.reserve(101, Instant::now())), 900);
        disk.reserve(100, Instant::now()).unwrap();
    }

    #[test]
    fn a_disk_that_cannot_be_looked_at_refuses_nobody() {
        let disk = Disk::looking(&Limits::default(), || Err(io::Error::other("gone")));
        assert!(Arc::new(disk).reserve(u64::MAX / 2, Instant::now()).is_ok());
    }
}
