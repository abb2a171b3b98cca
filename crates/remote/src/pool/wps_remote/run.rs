//! One run at an agent of WPS Remote, as a state machine without IO.
//!
//! The agent starts an occupant of its own for each run, some seconds after the request; what the run says before is lost.
//! That occupant is the run, as far as anyone can see: it repeats its end until it is told to finish, and leaves when it is
//! told to, or when it dies.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anabranch_model::{LogLine, LogSource};

use crate::link::WINDOW_MESSAGES_MAX;
use crate::message::{Log, Message};

/// How long the occupant of a run may take to come: the original's takes five seconds on an idle machine.
pub(super) const COMES: Duration = Duration::from_secs(60);

/// How long after its occupant has left a run may still be heard of: the agent tells of a death at once, and an occupant that
/// was cut off comes back.
pub(super) const LEFT: Duration = Duration::from_secs(15);

/// How long to wait before an occupant that stays is told again to end.
const ABORT_AGAIN: Duration = Duration::from_secs(10);

/// Messages of a run that wait for its job; progress and log lines beyond are dropped, an end never is.
const WAITING_MAX: usize = 64;

/// A run.
pub(in crate::pool) struct WpsRun {
    /// Where its occupant is, or will be.
    pub(super) address: String,
    /// The request, until the session has taken it.
    pub(in crate::pool) request: Option<String>,
    occupant: Occupant,
    /// It has been seen or heard.
    begun: bool,
    /// What its end is has been heard: nothing counts after it.
    ended: bool,
    abort: Option<Abort>,
    waiting: VecDeque<Message>,
    /// Number of the next message told to the job, and of the last that has taken effect.
    next: u64,
    done: u64,
}

/// Where the occupant of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occupant {
    /// Not here (yet, or any more): the run is lost then. `None` while nothing is known, because we are not there ourselves.
    Away {
        lost: Option<Instant>,
    },
    Here,
}

/// It is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Abort {
    /// Said (again) then, if the occupant is there.
    at: Instant,
}

/// What time brings to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Tell its occupant to end it.
    Abort,
    /// Nothing has been heard of it for too long.
    Lost(&'static str),
}

impl WpsRun {
    /// Asked for by a request that is still to be sent.
    pub(super) fn requested(address: String, request: String, now: Instant) -> Self {
        Self { request: Some(request), ..Self::at(address, Occupant::Away { lost: Some(now + COMES) }) }
    }

    /// Found again after a restart of the server.
    pub(super) fn found(address: String) -> Self {
        Self { begun: true, ..Self::at(address, Occupant::Here) }
    }

    fn at(address: String, occupant: Occupant) -> Self {
        Self {
            address,
            request: None,
            occupant,
            begun: false,
            ended: false,
            abort: None,
            waiting: VecDeque::new(),
            next: 1,
            done: 0,
        }
    }

    /// Its occupant is in the room.
    pub(in crate::pool) fn is_here(&self) -> bool {
        self.occupant == Occupant::Here
    }

    /// It has been seen or heard: the agent took it.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn joined(&mut self) {
        self.occupant = Occupant::Here;
        self.begin();
    }

    pub(super) fn left(&mut self, now: Instant) {
        self.occupant = Occupant::Away { lost: Some(now + LEFT) };
        if self.abort.is_some() {
            self.aborted();
        }
    }

    /// Our own session is down: nobody can be seen.
    pub(super) fn link_down(&mut self) {
        self.occupant = Occupant::Away { lost: None };
    }

    /// Our own session is up again: whoever is there is told of at once.
    pub(super) fn link_up(&mut self, now: Instant) {
        if self.occupant == (Occupant::Away { lost: None }) {
            self.occupant = Occupant::Away { lost: Some(now + COMES) };
        }
    }

    /// The run, or the agent about it, has said something.
    pub(super) fn heard(&mut self, messages: Vec<Message>) {
        for message in messages {
            if self.ended {
                return;
            }
            self.begin();
            let is_end = matches!(message, Message::Completed | Message::Failed(_));
            if is_end || matches!(message, Message::Output(_)) || self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(message);
            }
            self.ended = is_end;
        }
    }

    /// It is to be ended; what it says of itself until then counts.
    pub(in crate::pool) fn abort(&mut self, now: Instant) {
        self.abort.get_or_insert(Abort { at: now });
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.ended {
            return None;
        }
        match (self.occupant, &mut self.abort) {
            (Occupant::Here, Some(abort)) if abort.at <= now => {
                abort.at = now + ABORT_AGAIN;
                Some(Due::Abort)
            }
            (Occupant::Away { lost: Some(at) }, abort) if at <= now => {
                if abort.is_some() {
                    self.aborted();
                    return None;
                }
                Some(Due::Lost(if self.begun { "lost its process" } else { "did not begin it" }))
            }
            _ => None,
        }
    }

    /// When something may be due.
    pub(in crate::pool) fn deadline(&self) -> Option<Instant> {
        match (self.occupant, self.abort) {
            _ if self.ended => None,
            (Occupant::Here, Some(abort)) => Some(abort.at),
            (Occupant::Away { lost }, _) => lost,
            (Occupant::Here, None) => None,
        }
    }

    /// The next message for its job, with its number; as many may be under way as on a link.
    pub(super) fn deliver(&mut self) -> Option<(u64, Message)> {
        if self.next - self.done > WINDOW_MESSAGES_MAX as u64 {
            return None;
        }
        let message = self.waiting.pop_front()?;
        self.next += 1;
        Some((self.next - 1, message))
    }

    /// Everything up to this number has taken effect.
    pub(in crate::pool) fn done(&mut self, seq: u64) {
        self.done = self.done.max(seq);
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.waiting.push_back(Message::Started);
        }
    }

    /// The occupant has left, or never came: that is all that can be known.
    fn aborted(&mut self) {
        if self.ended {
            return;
        }
        let text = "the agent has ended the run; agents of WPS Remote may leave an executable that prints nothing running to its end";
        let line = LogLine { source: LogSource::System, text: text.into() };
        self.waiting.push_back(Message::Log(Log { dropped: 0, lines: vec![line] }));
        self.waiting.push_back(Message::Aborted);
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use anabranch_model::Error;

    use super::*;
    use crate::message::Progress;

    fn requested(now: Instant) -> WpsRun {
        WpsRun::requested("room/bot".into(), "topic=request".into(), now)
    }

    fn said(run: &mut WpsRun) -> Vec<Message> {
        std::iter::from_fn(|| run.deliver().map(|(_, message)| message)).collect()
    }

    fn progress(percent: f32) -> Message {
        Message::Progress(Progress { percent, message: None, waiting: false, cpu_ms: None })
    }

    #[test]
    fn the_first_end_counts_and_nothing_after_it() {
        let mut run = requested(Instant::now());
        run.heard(vec![progress(1.0)]);
        run.heard(vec![Message::Failed(Error::process_failed("a"))]);
        run.heard(vec![Message::Failed(Error::process_failed("b"))]);
        run.heard(vec![Message::Completed]);
        let failed = Message::Failed(Error::process_failed("a"));
        assert_eq!(said(&mut run), [Message::Started, progress(1.0), failed]);
    }

    #[test]
    fn a_run_whose_occupant_does_not_come_or_leaves_is_lost() {
        let now = Instant::now();
        let mut run = requested(now);
        assert_eq!(run.due(now), None);
        assert_eq!(run.due(now + COMES), Some(Due::Lost("did not begin it")));
        run.joined();
        assert_eq!((run.deadline(), run.due(now + COMES)), (None, None));
        run.left(now);
        run.joined();
        assert_eq!(run.due(now + LEFT), None, "it came back");
        run.left(now);
        assert_eq!(run.due(now + LEFT), Some(Due::Lost("lost its process")));
    }

    #[test]
    fn an_abort_waits_for_the_occupant_and_is_over_when_it_leaves() {
        let now = Instant::now();
        let mut run = requested(now);
        run.abort(now);
        assert_eq!(run.due(now), None);
        run.joined();
        assert_eq!(run.due(now), Some(Due::Abort));
        assert_eq!(run.due(now), None);
        assert_eq!(run.due(now + ABORT_AGAIN), Some(Due::Abort));
        run.left(now);
        assert_eq!(said(&mut run).last(), Some(&Message::Aborted));
        let mut never = requested(now);
        never.abort(now);
        assert_eq!(never.due(now + COMES), None);
        assert_eq!(said(&mut never).last(), Some(&Message::Aborted));
    }

    #[test]
    fn no_more_is_under_way_than_a_mailbox_holds_and_progress_beyond_is_dropped() {
        let mut run = requested(Instant::now());
        run.heard(vec![progress(1.0); 1000]);
        run.heard(vec![Message::Completed]);
        assert_eq!(said(&mut run).len(), WINDOW_MESSAGES_MAX);
        run.done(32);
        let rest = said(&mut run);
        assert_eq!(rest.len(), WINDOW_MESSAGES_MAX);
        run.done(64);
        assert_eq!(said(&mut run), [Message::Completed]);
    }

    #[test]
    fn while_we_are_away_nothing_is_lost() {
        let now = Instant::now();
        let mut run = requested(now);
        run.link_down();
        assert_eq!((run.deadline(), run.due(now + 2 * COMES)), (None, None));
        run.link_up(now);
        assert_eq!(run.due(now + COMES), Some(Due::Lost("did not begin it")));
    }
}
