//! Files that were closed by whoever wrote them: inotify(7).

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes of events read at once: about a hundred names.
const EVENTS_BYTES: usize = 16 << 10;

/// The files of a folder that are closed after they were written, or moved into it.
pub(crate) struct ClosedFiles(OwnedFd);

impl ClosedFiles {
    /// From now on. Where more files are closed than the system remembers (16,384 as a rule) some are not told.
    pub(crate) fn watch(folder: &Path) -> std::io::Result<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(
            &events,
            folder,
            WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR,
        )?;
        Ok(Self(events))
    }

    /// Names of files closed since the last call.
    pub(crate) fn closed(&mut self) -> Vec<OsString> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut names = Vec::new();
        // It ends with an error: that nothing is there yet.
        while let Ok(event) = reader.next() {
            if !event.events().contains(ReadFlags::ISDIR) {
                names.extend(event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()));
            }
        }
        names
    }
}
