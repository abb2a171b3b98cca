//! The audit log: who did what from where, one JSON object a line. Nothing in it is a secret: neither passwords nor tokens nor inputs.
//!
//! A line is written before the answer leaves, by one `write` to a file opened for appending, so that the command line may write to it
//! while the server does. That takes microseconds and needs no thread of its own.

use crate::http::Caller;
use anabranch_model::{JobId, ProcessId, Timestamp};
use anyhow::Context as _;
use serde_json::{Map, Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where the log is cut: it is renamed to `….1`, and those before to `….2` and so on.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Old logs that are kept.
const FILES_MAX: u32 = 5;

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
    file: Mutex<File>,
}

impl Audit {
    /// Opens it, for its owner only.
    ///
    /// # Errors
    /// Names the file.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = Mutex::new(open(&path).with_context(|| format!("can't write {}", path.display()))?);
        Ok(Self { path, file })
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
        let mut line = Map::new();
        line.insert("time".into(), Timestamp::now().to_string().into());
        line.insert("user".into(), user.into());
        line.insert("from".into(), from.into());
        line.extend(fields(event));
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = cut(&self.path, &mut file).and_then(|()| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the audit log can't be written");
        }
    }
}

fn fields(event: Event<'_>) -> Map<String, Value> {
    let fields = match event {
        Event::LoginFailed { why } => json!({ "event": "login", "outcome": why }),
        Event::Submitted { process, job, outcome } => {
            let job = job.map(|job| job.to_string());
            json!({ "event": "submit", "process": process.as_str(), "job": job, "outcome": outcome })
        }
        Event::Dismissed { job, outcome } => {
            json!({ "event": "dismiss", "job": job.to_string(), "outcome": outcome })
        }
        Event::Drained { agent, drain, outcome } => {
            json!({ "event": if drain { "drain" } else { "undrain" }, "agent": agent, "outcome": outcome })
        }
        Event::Changed { what, name } => json!({ "event": what, "name": name, "outcome": "done" }),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Begins a new file where the old one is full, or has been moved away by somebody else.
fn cut(path: &Path, file: &mut File) -> std::io::Result<()> {
    let is_there = path.exists();
    if is_there && file.metadata()?.len() < FILE_BYTES_MAX {
        return Ok(());
    }
    if is_there {
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

    #[test]
    fn lines_are_json_and_a_moved_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(path.clone()).unwrap();
        audit.record_local(Event::Changed { what: "user added", name: "a\"nna\n" });
        let line: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&line["event"], &line["name"]), (&"user added".into(), &"a\"nna\n".into()));
        fs::rename(&path, folder.path().join("moved")).unwrap();
        audit.record_local(Event::LoginFailed { why: "wrong" });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
