//! What a run has to say and its link has no room for yet: merged where it may be, never lost where it may not.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anabranch_model::LogLine;
use tokio::sync::Semaphore;

use crate::message::{CarriedValue, Log, Message, Output, Progress, Want, text_cost};

/// Outputs of a run that wait for the link or for their acknowledgement, together, in KiB: 46 of the largest that go inline,
/// or thousands of small ones while there is no server. When they are used up, the process waits in `write`.
pub(super) const OUTPUTS_WAITING_KIB_MAX: usize = 4096;

/// Log lines that wait; the oldest beyond are dropped and counted.
const LOG_LINES_MAX: usize = 1000;

/// Longest log line, in characters; the rest is cut.
const LOG_LINE_CHARS_MAX: usize = 4 * 1024;

/// Log lines of one message together, as they stand in the XML, in bytes; one line costs at most 28 KiB.
const LOG_COST_MAX: usize = 64 * 1024;

/// Shortest time between two messages of progress, or two of log lines: five a second are enough for eyes.
const THROTTLE: Duration = Duration::from_millis(200);

/// What a run has to say. Written by the run's sink, emptied by the agent's task.
pub(super) struct RunBuffer {
    waiting: Mutex<Waiting>,
    /// What of [`OUTPUTS_WAITING_KIB_MAX`] is left; given back when an output is acknowledged.
    pub(super) outputs_kib_free: Semaphore,
}

#[derive(Default)]
struct Waiting {
    accepted: bool,
    started: bool,
    /// Outputs, and the piece that is wanted, in the order in which the run came to them: where the feed ends badly, the server ends the
    /// run, and takes no output that comes later.
    in_order: VecDeque<Message>,
    progress: Option<Progress>,
    /// As it was last told.
    percent: f32,
    progress_after: Option<Instant>,
    log: VecDeque<LogLine>,
    log_dropped: u64,
    log_after: Option<Instant>,
    end: Option<Message>,
}

impl RunBuffer {
    /// Of a run just accepted.
    pub(super) fn accepted() -> Self {
        let waiting = Waiting { accepted: true, ..Waiting::default() };
        Self { waiting: Mutex::new(waiting), outputs_kib_free: Semaphore::new(OUTPUTS_WAITING_KIB_MAX) }
    }

    pub(super) fn started(&self) {
        let mut waiting = self.lock();
        waiting.started = true;
        waiting.progress.take_if(|progress| progress.waiting);
    }

    /// Why it has not begun.
    pub(super) fn waiting(&self, reason: &str) {
        let progress =
            Progress { percent: 0.0, message: Some(cut(reason.to_owned())), waiting: true, cpu_ms: None };
        self.lock().progress = Some(progress);
    }

    /// The run wants that piece of its feed.
    pub(super) fn want(&self, n: u64) {
        let (wanted, mut waiting) = (Message::Want(Want { n }), self.lock());
        // Wanted again where it was not waited for: once is enough.
        if waiting.in_order.back() != Some(&wanted) {
            waiting.in_order.push_back(wanted);
        }
    }

    pub(super) fn progress(&self, percent: f32, message: Option<&str>) {
        if !percent.is_finite() {
            return;
        }
        let mut waiting = self.lock();
        // A message not said yet is not overwritten by silence.
        let unsaid = waiting.progress.take().filter(|progress| !progress.waiting);
        let cpu_ms = unsaid.as_ref().and_then(|progress| progress.cpu_ms);
        let unsaid = unsaid.and_then(|progress| progress.message);
        let message = message.map(|text| cut(text.to_owned())).or(unsaid);
        waiting.percent = percent;
        waiting.progress = Some(Progress { percent, message, waiting: false, cpu_ms });
    }

    /// So much processor time has been used so far. It goes with the next progress: a server that does not know of it sees nothing new there.
    pub(super) fn used_cpu(&self, cpu_ms: u64) {
        let mut waiting = self.lock();
        let same = Progress { percent: waiting.percent, message: None, waiting: false, cpu_ms: None };
        waiting.progress.get_or_insert(same).cpu_ms = Some(cpu_ms);
    }

    pub(super) fn log(&self, line: LogLine) {
        let mut waiting = self.lock();
        waiting.log.push_back(LogLine { source: line.source, text: cut(line.text) });
        if waiting.log.len() > LOG_LINES_MAX {
            waiting.log.pop_front();
            waiting.log_dropped += 1;
        }
    }

    pub(super) fn output(&self, output: Output) {
        self.lock().in_order.push_back(Message::Output(output));
    }

    /// Nothing comes after it, and everything before it is said first.
    pub(super) fn end(&self, message: Message) {
        self.lock().end.get_or_insert(message);
    }

    /// What to say next, if anything may be said now.
    pub(super) fn next(&self, now: Instant) -> Option<Message> {
        let waiting = &mut *self.lock();
        if std::mem::take(&mut waiting.accepted) {
            return Some(Message::Accepted);
        }
        if std::mem::take(&mut waiting.started) {
            return Some(Message::Started);
        }
        if let Some(message) = waiting.in_order.pop_front() {
            return Some(message);
        }
        let ending = waiting.end.is_some();
        let may = |after: Option<Instant>| ending || after.is_none_or(|after| after <= now);
        if may(waiting.log_after) && (!waiting.log.is_empty() || waiting.log_dropped > 0) {
            waiting.log_after = Some(now + THROTTLE);
            return Some(Message::Log(waiting.batch()));
        }
        if may(waiting.progress_after)
            && let Some(progress) = waiting.progress.take()
        {
            waiting.progress_after = Some(now + THROTTLE);
            return Some(Message::Progress(progress));
        }
        waiting.end.take()
    }

    /// When something that is held back may be said.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.lock();
        let log = waiting.log_after.filter(|_| !waiting.log.is_empty());
        let progress = waiting.progress_after.filter(|_| waiting.progress.is_some());
        log.into_iter().chain(progress).min()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an output takes of [`OUTPUTS_WAITING_KIB_MAX`].
pub(super) fn kib(output: &Output) -> u32 {
    let bytes = match &output.value {
        CarriedValue::Literal { text, .. } => text.cost(),
        CarriedValue::BoundingBox { .. } => 0,
        CarriedValue::Complex { data, .. } => data.cost(),
    };
    // At least one, for what is around the bytes.
    u32::try_from(bytes / 1024).unwrap_or(u32::MAX).saturating_add(1)
}

impl Waiting {
    /// As many lines as fit into a message.
    fn batch(&mut self) -> Log {
        let (mut lines, mut cost) = (Vec::new(), 0);
        while let Some(line) = self.log.front() {
            cost += text_cost(&line.text) + 64;
            if cost > LOG_COST_MAX && !lines.is_empty() {
                break;
            }
            lines.extend(self.log.pop_front());
        }
        Log { dropped: std::mem::take(&mut self.log_dropped), lines }
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LOG_LINE_CHARS_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use anabranch_model::LogSource;

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { source: LogSource::Stdout, text: text.into() }
    }

    fn drain(buffer: &RunBuffer, now: Instant) -> Vec<Message> {
        std::iter::from_fn(|| buffer.next(now)).collect()
    }

    #[test]
    fn progress_is_merged_and_the_end_comes_last() {
        let (buffer, now) = (RunBuffer::accepted(), Instant::now());
        buffer.started();
        buffer.progress(1.0, Some("a"));
        assert_eq!(drain(&buffer, now).len(), 3);
        buffer.progress(2.0, Some("b"));
        buffer.progress(f32::NAN, None);
        buffer.progress(3.0, None);
        assert_eq!(drain(&buffer, now), [], "within 200 ms");
        assert_eq!(buffer.deadline(), Some(now + THROTTLE));
        buffer.used_cpu(1200);
        buffer.end(Message::Completed);
        let merged = Message::Progress(Progress {
            percent: 3.0,
            message: Some("b".into()),
            waiting: false,
            cpu_ms: Some(1200),
        });
        assert_eq!(drain(&buffer, now), [merged, Message::Completed]);
    }

    #[test]
    fn why_it_waits_is_said_until_it_has_begun() {
        let (buffer, now) = (RunBuffer::accepted(), Instant::now());
        let progress = |message: Option<&str>, waiting| {
            let message = message.map(str::to_owned);
            Message::Progress(Progress { percent: 0.0, message, waiting, cpu_ms: None })
        };
        buffer.waiting("position 2");
        assert_eq!(drain(&buffer, now), [Message::Accepted, progress(Some("position 2"), true)]);
        buffer.waiting("position 1");
        buffer.started();
        assert_eq!(drain(&buffer, now + THROTTLE), [Message::Started]);
        buffer.waiting("position 1");
        buffer.progress(0.0, None);
        assert_eq!(drain(&buffer, now + THROTTLE), [progress(None, false)]);
    }

    #[test]
    fn a_piece_is_wanted_after_what_was_put_out_before() {
        let (buffer, now) = (RunBuffer::accepted(), Instant::now());
        let value = CarriedValue::BoundingBox { crs: None, lower: vec![0.0], upper: vec![1.0] };
        let output = |n| Output { id: "out".into(), n, value: value.clone() };
        buffer.want(0);
        buffer.want(0);
        buffer.output(output(0));
        buffer.want(1);
        let want = |n| Message::Want(Want { n });
        let said = [Message::Accepted, want(0), Message::Output(output(0)), want(1)];
        assert_eq!(drain(&buffer, now), said);
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let (buffer, now) = (RunBuffer::accepted(), Instant::now());
        for n in 0..LOG_LINES_MAX + 5 {
            buffer.log(line(&n.to_string()));
        }
        buffer.end(Message::Completed);
        let logs: Vec<Log> = drain(&buffer, now)
            .into_iter()
            .filter_map(|message| if let Message::Log(log) = message { Some(log) } else { None })
            .collect();
        assert_eq!(logs[0].dropped, 5);
        assert_eq!(logs[0].lines[0], line("5"));
        assert_eq!(logs.iter().map(|log| log.lines.len()).sum::<usize>(), LOG_LINES_MAX);
        assert!(logs.len() > 1, "one message would be too large");
    }
}
