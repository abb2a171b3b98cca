//! Linux: sessions, subreapers, rlimits, `/proc`.

mod cgroup;
mod closed;
mod spawn;
mod supervise;
mod tree;

pub use cgroup::RunGroups;
pub(crate) use closed::ClosedFiles;
pub(crate) use spawn::{Streams, Supervised};
pub use supervise::supervise_main;

use super::Stamp;
use rustix::fs::Access;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A file that this account may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// How a file is.
pub(crate) fn stamp(metadata: &Metadata) -> Stamp {
    Stamp { inode: metadata.ino(), bytes: metadata.len(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
}

/// Makes a folder known under another path too.
pub(crate) fn link_folder(folder: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(folder, link)
}

/// Orders on the command line of the supervisor, one argument: numbers in this order, `-` for none.
///
/// `grace in ms, address space, file size, open files, processor seconds, processes, new privileges, patience, fed`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    grace_ms: u64,
    memory_bytes: Option<u64>,
    file_bytes: Option<u64>,
    open_files: Option<u64>,
    cpu_seconds: Option<u64>,
    processes: Option<u64>,
    new_privileges: bool,
    /// The grace holds also where nobody waits for the run any more.
    is_patient: bool,
    /// The first thing said on the control socket brings standard input along.
    is_fed: bool,
}

impl Orders {
    fn to_text(self) -> String {
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        [
            self.grace_ms.to_string(),
            number(self.memory_bytes),
            number(self.file_bytes),
            number(self.open_files),
            number(self.cpu_seconds),
            number(self.processes),
            u8::from(self.new_privileges).to_string(),
            u8::from(self.is_patient).to_string(),
            u8::from(self.is_fed).to_string(),
        ]
        .join(",")
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(|part| match part {
            "-" => Some(None),
            number => number.parse::<u64>().ok().map(Some),
        });
        let mut next = || parts.next().flatten();
        Some(Self {
            grace_ms: next()??,
            memory_bytes: next()?,
            file_bytes: next()?,
            open_files: next()?,
            cpu_seconds: next()?,
            processes: next()?,
            new_privileges: next()?? == 1,
            is_patient: next()?? == 1,
            is_fed: next()?? == 1,
        })
    }
}

/// What the supervisor says on the control socket, one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Started,
    /// With the number of the error.
    NotStarted(i32),
    /// Code, processes left, and processor time of all, in milliseconds.
    Exited(i32, usize, u64),
    /// Signal, and the same.
    Killed(i32, usize, u64),
}

impl Word {
    fn to_line(self) -> String {
        match self {
            Self::Started => "started\n".to_owned(),
            Self::NotStarted(error) => format!("failed {error} 0 0\n"),
            Self::Exited(code, left, cpu_ms) => format!("exited {code} {left} {cpu_ms}\n"),
            Self::Killed(signal, left, cpu_ms) => format!("killed {signal} {left} {cpu_ms}\n"),
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.trim_end().split(' ');
        let word = parts.next()?;
        if word == "started" {
            return Some(Self::Started);
        }
        let number = parts.next()?.parse().ok()?;
        let left = parts.next()?.parse().ok()?;
        let cpu_ms = parts.next()?.parse().ok()?;
        Some(match word {
            "failed" => Self::NotStarted(number),
            "exited" => Self::Exited(number, left, cpu_ms),
            "killed" => Self::Killed(number, left, cpu_ms),
            _ => return None,
        })
    }
}

/// What the parent says on the control socket, with the descriptor of standard input, before anything else.
const STDIN: u8 = b'I';

/// What the parent says on the control socket: end the run politely. Closing the socket means: at once.
const TERMINATE: u8 = b'T';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_words_round_trip() {
        let orders =
            Orders { grace_ms: 3000, memory_bytes: Some(1 << 31), new_privileges: true, ..Orders::default() };
        assert_eq!(Orders::from_text(&orders.to_text()), Some(orders));
        assert_eq!(Orders::from_text("1,2"), None);
        for word in [Word::Started, Word::NotStarted(2), Word::Exited(3, 0, 70), Word::Killed(9, 1, 0)] {
            assert_eq!(Word::from_line(&word.to_line()), Some(word));
        }
        assert_eq!(Word::from_line("nonsense"), None);
    }
}
