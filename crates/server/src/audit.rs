//! The audit log: who did what from where, one JSON object a line. Nothing in it is a secret: neither passwords nor tokens nor inputs.
//!
//! A line is written before the answer leaves, by one `write` to a file opened for appending, so that many threads may write to it at once,
//! and the command line while the server does. That takes microseconds and needs no thread of its own.

use crate::http::Caller;
use anabranch_model::{JobId, ProcessId, Timestamp};
use anyhow::Context as _;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Where the log is cut: it is renamed to `….1`, and those before to `….2` and so on.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Old logs that are kept.
const FILES_MAX: u32 = 5;
/// Between two looks whether the file is full or moved away: some thousand lines at most.
const LOOK: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// Somebody could not log in.
    LoginFailed { why: &'a str },
    /// A request was accepted as a job, or refused.
    Submitted { process: &'a ProcessId, job: Option<JobId>, outcome: &'a str },
    /// The end of a job was asked for.
    Dismissed { job: JobId, outcome: &'a str },
    /// An agent was drained, or let go again.
    Drained { agent: &'a str, drain: bool, outcome: &'a str },
    /// A user or an account was changed by the command line.
    Changed { what: &'a str, name: &'a str },
}

/// The log.
pub(crate) struct Audit {
    path: PathBuf,
    /// Only who puts another file there needs it alone.
    file: RwLock<File>,
    opened: Instant,
    /// When the next look is due, ms after it was opened.
    look_ms: AtomicU64,
}

impl Audit {
    /// Opens it, for its owner only.
    ///
    /// # Errors
    /// Names the file.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = RwLock::new(open(&path).with_context(|| format!("can't write {}", path.display()))?);
        Ok(Self { path, file, opened: Instant::now(), look_ms: AtomicU64::new(0) })
    }

    /// Something happened by a request.
    pub(crate) fn record(&self, caller: &Caller, event: Event<'_>) {
        let user = caller.user.as_ref().map(|user| user.as_str());
        self.write(user, &caller.address.to_string(), event);
    }

    /// Something happened by a command on this machine.
    pub(crate) fn record_local(&self, event: Event<'_>) {
        self.write(None, "command line", event);
    }

    fn write(&self, user: Option<&str>, from: &str, event: Event<'_>) {
        let line = Line { time: Timestamp::now(), user, from, what: What::from(event) };
        // Made of texts only.
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        text.push('\n');
        let written = self.look(Instant::now()).and_then(|()| {
            let mut file: &File = &self.file.read().unwrap_or_else(PoisonError::into_inner);
            file.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the audit log can't be written");
        }
    }

    /// Where it is time to, begins a new file if the old one is full or has been moved away.
    fn look(&self, now: Instant) -> std::io::Result<()> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, due) = (ms(now.duration_since(self.opened)), self.look_ms.load(Ordering::Relaxed));
        let next = now.saturating_add(ms(LOOK));
        // Of many who come at once one looks.
        let is_mine = now >= due
            && self.look_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            return cut(&self.path, &mut self.file.write().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    user: Option<&'a str>,
    from: &'a str,
    #[serde(flatten)]
    what: What<'a>,
}

/// What happened, with what it happened to.
#[derive(Default, Serialize)]
struct What<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    outcome: &'a str,
}

impl<'a> From<Event<'a>> for What<'a> {
    fn from(event: Event<'a>) -> Self {
        match event {
            Event::LoginFailed { why } => Self { event: "login", outcome: why, ..Self::default() },
            Event::Submitted { process, job, outcome } => {
                Self { event: "submit", process: Some(process.as_str()), job, outcome, ..Self::default() }
            }
            Event::Dismissed { job, outcome } => {
                Self { event: "dismiss", job: Some(job), outcome, ..Self::default() }
            }
            Event::Drained { agent, drain, outcome } => {
                let event = if drain { "drain" } else { "undrain" };
                Self { event, agent: Some(agent), outcome, ..Self::default() }
            }
            Event::Changed { what, name } => {
                Self { event: what, name: Some(name), outcome: "done", ..Self::default() }
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Begins a new file where the old one is full, or has been moved away by somebody else.
fn cut(path: &Path, file: &mut File) -> std::io::Result<()> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(|there| there.len() < FILE_BYTES_MAX) {
        return Ok(());
    }
    if there.is_some() {
        let old = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
        for n in (1..FILES_MAX).rev() {
            // Where there are not so many yet, there is nothing to rename.
            let _none_yet = fs::rename(old(n), old(n + 1));
        }
        fs::rename(path, old(1))?;
    }
    *file = open(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn lines_are_json_and_a_moved_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(path.clone()).unwrap();
        audit.record_local(Event::Changed { what: "user added", name: "a\"nna\n" });
        let line: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&line["event"], &line["name"]), (&"user added".into(), &"a\"nna\n".into()));
        fs::rename(&path, folder.path().join("moved")).unwrap();
        audit.look(Instant::now() + LOOK * 2).unwrap();
        audit.record_local(Event::LoginFailed { why: "wrong" });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
