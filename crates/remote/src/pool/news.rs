//! What runs that wait are told. However many wait, and however often the reason changes: telling takes a bounded share of the
//! pool's time, and of the disk behind it, because jobs write down why they wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anabranch_model::ProcessId;

use super::command::{MAILBOX_MAX, RunEvent};
use super::owner::{Phase, Pool, Run};
use super::runs::tell;
use super::timers::Timer;
use crate::run_id::RunId;

/// Time that goes by for each run told of a change: 2,000 a second, so that 100,000 that wait hear of one within a minute.
const TELL: Duration = Duration::from_micros(500);

/// So much of it may be saved up: 200 runs are told at once.
const TELL_SAVED: Duration = Duration::from_millis(100);

/// Runs told in one go.
const TOLD_MAX: usize = 200;

/// Places in a run's mailbox that reasons for waiting leave alone.
const MAILBOX_KEPT: usize = MAILBOX_MAX - 5;

impl Pool {
    /// Tells runs why they wait where that has changed; later where it was done a moment ago.
    pub(super) fn tell_news(&mut self, now: Instant) {
        while self.dispatch.has_news() {
            if self.news_next > now {
                return self.timers.set(Timer::News, self.news_next);
            }
            let Some(news) = self.dispatch.next_news(TOLD_MAX) else { return };
            for run in &news.runs {
                self.tell_reason(*run, &news.reason);
            }
            let told = u32::try_from(news.runs.len()).unwrap_or(u32::MAX);
            let saved = now.checked_sub(TELL_SAVED).unwrap_or(now);
            self.news_next = self.news_next.max(saved) + TELL * told.saturating_add(1);
            self.agents_changed(now);
        }
    }

    /// Tells a run that has just begun to wait why it does.
    pub(super) fn tell_newcomer(&mut self, run: RunId, process: &ProcessId) {
        if matches!(self.runs.get(&run), Some(Run { phase: Phase::Queued { .. }, .. })) {
            let reason = self.dispatch.reason(process);
            self.tell_reason(run, &reason);
        }
    }

    /// Where it does not listen, it is not told: its mailbox has room for a window of messages, which reasons must not take.
    fn tell_reason(&self, run: RunId, reason: &Arc<str>) {
        if let Some(Run { phase: Phase::Queued { .. }, mailbox, .. }) = self.runs.get(&run)
            && mailbox.capacity() > MAILBOX_KEPT
        {
            tell(mailbox, RunEvent::Waiting { reason: Arc::clone(reason) });
        }
    }
}
