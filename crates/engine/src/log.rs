//! The log of a job: numbered lines in one file.
//!
//! A line is taken without waiting and written by one thread for all jobs. What waits is bounded by the size that a log
//! may have at all.

use crate::clock;
use crate::folders::{self, io_error};
use anabranch_model::{Error, LogLine, LogSource, Timestamp};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Longest line, characters; longer ones are cut there, so that one line can't be the whole log.
const LINE_CHARS_MAX: usize = 8192;

/// One line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// From 0, without gaps.
    pub number: u64,
    /// When the engine got it.
    pub at: Timestamp,
    /// Who said it.
    pub source: LogSource,
    /// What was said, without line end.
    pub text: String,
}

/// Some lines of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// In order.
    pub lines: Vec<LogEntry>,
    /// Number of the line after the last one here: where to go on.
    pub next: u64,
    /// Lines written so far.
    pub total: u64,
}

/// The log of one job that is in memory.
pub(crate) struct JobLog {
    path: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    /// Held while the file is written, so that lines stay in order.
    file: Mutex<()>,
    /// Lines written; `None` once the job has finished. Holds one value: nobody ever waits to send.
    written: Mutex<Option<watch::Sender<u64>>>,
}

#[derive(Default)]
struct State {
    /// Lines on their way to the file, at most `bytes_max` of them.
    pending: String,
    pending_lines: u64,
    bytes: u64,
    lines: u64,
    queued: bool,
    full: bool,
    removed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JobLog {
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        let (state, file, written) = Default::default();
        Self { path, bytes_max, state, file, written }
    }

    /// Goes on with a log of an earlier server. Blocking.
    pub(crate) fn resume(path: PathBuf, bytes_max: u64) -> Self {
        let log = Self::new(path, bytes_max);
        if let Ok(text) = fs::read_to_string(&log.path) {
            let mut state = lock(&log.state);
            state.lines = text.lines().count() as u64;
            state.bytes = text.len() as u64;
        }
        log
    }

    /// Takes a line. True where the writer has to be told.
    fn append(&self, line: &LogLine) -> bool {
        let mut state = lock(&self.state);
        if state.full || state.removed {
            return false;
        }
        let mut text = String::with_capacity(line.text.len() + 40);
        format_line(&mut text, line.source, &line.text);
        if state.bytes + text.len() as u64 > self.bytes_max {
            state.full = true;
            text.clear();
            let cut = format!("the log ends here: it reached the limit of {} bytes", self.bytes_max);
            format_line(&mut text, LogSource::System, &cut);
        }
        state.bytes += text.len() as u64;
        state.pending_lines += 1;
        state.pending.push_str(&text);
        !std::mem::replace(&mut state.queued, true)
    }

    /// Takes a line and writes it. Blocking.
    pub(crate) fn append_now(&self, line: &LogLine) {
        self.append(line);
        self.flush();
    }

    /// Writes what waits. Blocking.
    pub(crate) fn flush(&self) {
        let _ordered = lock(&self.file);
        let (text, lines) = {
            let mut state = lock(&self.state);
            state.queued = false;
            if state.removed {
                return;
            }
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.pending_lines))
        };
        if text.is_empty() {
            return;
        }
        if let Err(error) = self.append_file(&text) {
            // A log is no reason to fail a job.
            tracing::warn!(path = %self.path.display(), %error, "a job's log can't be written");
            return;
        }
        let total = {
            let mut state = lock(&self.state);
            state.lines += lines;
            state.lines
        };
        if let Some(written) = lock(&self.written).as_ref() {
            written.send_replace(total);
        }
    }

    fn append_file(&self, text: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            folders::make(folder)?;
        }
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(text.as_bytes())
    }

    /// Follows the number of lines.
    pub(crate) fn watch(&self, finished: bool) -> watch::Receiver<u64> {
        let mut written = lock(&self.written);
        let lines = lock(&self.state).lines;
        if finished {
            return watch::Sender::new(lines).subscribe();
        }
        written.get_or_insert_with(|| watch::Sender::new(lines)).subscribe()
    }

    /// The job has finished: whoever follows learns the end by the closed channel.
    pub(crate) fn finish(&self) {
        let sender = lock(&self.written).take();
        if let Some(sender) = sender {
            let state = lock(&self.state);
            sender.send_replace(state.lines + state.pending_lines);
        }
    }

    /// The job is removed: nothing may be written any more.
    pub(crate) fn remove(&self) {
        let _ordered = lock(&self.file);
        lock(&self.state).removed = true;
    }
}

fn format_line(to: &mut String, source: LogSource, text: &str) {
    let source = match source {
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
        LogSource::System => "system",
    };
    // Infallible: it writes to a string.
    let _ = write!(to, "{} {source} ", clock::now());
    let cut = text.char_indices().nth(LINE_CHARS_MAX).map_or(text, |(end, _)| &text[..end]);
    to.extend(cut.chars().map(|c| if c == '\n' || c == '\r' { ' ' } else { c }));
    if cut.len() < text.len() {
        to.push('…');
    }
    to.push('\n');
}

/// Lines of a log's file. Blocking.
pub(crate) fn read_page(path: &std::path::Path, from_line: u64, lines_max: usize) -> Result<LogPage, Error> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io_error("can't read", path, &error)),
    };
    let numbered = (0..).zip(text.lines());
    let lines: Vec<LogEntry> = numbered
        .skip(usize::try_from(from_line).unwrap_or(usize::MAX))
        .take(lines_max)
        .map(|(number, line)| parse_line(number, line))
        .collect();
    let total = text.lines().count() as u64;
    Ok(LogPage {
        next: lines.last().map_or_else(|| from_line.min(total), |line| line.number + 1),
        lines,
        total,
    })
}

fn parse_line(number: u64, line: &str) -> LogEntry {
    let mut parts = line.splitn(3, ' ');
    let (at, source, text) = (parts.next(), parts.next(), parts.next());
    let source = match source {
        Some("stdout") => LogSource::Stdout,
        Some("stderr") => LogSource::Stderr,
        _ => LogSource::System,
    };
    // A line that a power failure cut short keeps its number and whatever is left of it.
    let at = at.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    LogEntry { number, at, source, text: text.unwrap_or_default().to_owned() }
}

/// The thread that writes logs.
pub(crate) struct LogWriter {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Each job in memory at most once.
    logs: Vec<Arc<JobLog>>,
    /// Those that are being written now.
    writing: Vec<Arc<JobLog>>,
    closed: bool,
}

impl LogWriter {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let writer = Arc::new(Self { queue: Mutex::default(), wake: Condvar::new() });
        let thread = Arc::clone(&writer);
        std::thread::Builder::new().name("anabranch-logs".into()).spawn(move || thread.run())?;
        Ok(writer)
    }

    /// Takes a line for a job's log.
    pub(crate) fn append(&self, log: &Arc<JobLog>, line: &LogLine) {
        if log.append(line) {
            #[cfg(test)]
            if crate::tests::simulation::is_on() {
                return log.flush();
            }
            lock(&self.queue).logs.push(Arc::clone(log));
            self.wake.notify_one();
        }
    }

    /// These logs are removed: nothing that is on its way to them may make them anew. Blocking.
    pub(crate) fn forget(&self, paths: &[PathBuf]) {
        let on_their_way: Vec<_> = {
            let queue = lock(&self.queue);
            let all = queue.logs.iter().chain(&queue.writing);
            all.filter(|log| paths.contains(&log.path)).cloned().collect()
        };
        on_their_way.iter().for_each(|log| log.remove());
    }

    /// Ends the thread when all is written.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_one();
    }

    fn run(&self) {
        loop {
            let logs = {
                let mut queue = lock(&self.queue);
                queue.writing.clear();
                while queue.logs.is_empty() && !queue.closed {
                    queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                if queue.logs.is_empty() {
                    return;
                }
                queue.writing = std::mem::take(&mut queue.logs);
                queue.writing.clone()
            };
            for log in logs {
                log.flush();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { source: LogSource::Stderr, text: text.into() }
    }

    #[test]
    fn lines_are_numbered_and_the_log_is_cut_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job/log");
        let log = JobLog::new(path.clone(), 200);
        for n in 0..20 {
            log.append(&line(&format!("line {n}\nstill {n}")));
        }
        log.flush();
        let page = read_page(&path, 0, 100).unwrap();
        assert_eq!((page.lines[1].number, page.lines[1].text.as_str()), (1, "line 1 still 1"));
        assert_eq!(page.lines[1].source, LogSource::Stderr);
        assert!(page.lines.last().unwrap().text.contains("limit of 200 bytes"));
        assert_eq!(page.lines.iter().filter(|line| line.text.contains("limit")).count(), 1);
        assert_eq!(page.total, page.lines.len() as u64);
        let rest = read_page(&path, 2, 1).unwrap();
        assert_eq!((rest.lines.len(), rest.lines[0].number, rest.next), (1, 2, 3));
        assert_eq!(read_page(&path, 99, 1).unwrap().next, page.total);
    }

    #[test]
    fn nothing_is_written_after_the_removal() {
        let folder = tempfile::tempdir().unwrap();
        let log = JobLog::new(folder.path().join("log"), 1000);
        log.append(&line("x"));
        log.remove();
        log.flush();
        assert!(!folder.path().join("log").exists());
    }
}
