//! What an owner or a process may have at once, where several queues share it.

use super::{Rank, Told};

/// How often a place is seen free that is left to other queues, before it is taken here nevertheless: they may stand still, or be gone. Nodes
/// that wait for each other look four times a second, so these are two seconds.
pub(super) const LEFT_LOOKS_MAX: u8 = 8;

/// What other queues have of an owner or a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    running: usize,
    /// Of owners: when one of them was served last.
    pub(super) served: u64,
    /// What each of them would begin next if it had a place.
    firsts: Vec<Rank>,
}

impl Others {
    /// One of them has told this.
    pub(crate) fn add(&mut self, told: Told) {
        self.running = self.running.saturating_add(told.running);
        self.served = self.served.max(told.served);
        self.firsts.extend(told.first);
    }
}

/// Places of an owner or a process.
pub(super) struct Room {
    /// Here.
    pub(super) running: usize,
    /// In all queues.
    pub(super) runs_max: usize,
    others: Others,
    /// How often it has been seen by now that a place is left to others.
    left_looks: u8,
}

impl Room {
    pub(super) fn new(others: Option<&Others>) -> Self {
        Self { running: 0, runs_max: usize::MAX, others: others.cloned().unwrap_or_default(), left_looks: 0 }
    }

    /// Whether so many at once are not all that anybody could want.
    pub(super) fn is_limited(&self) -> bool {
        self.runs_max < usize::MAX
    }

    pub(super) fn running_of_all(&self) -> usize {
        self.running.saturating_add(self.others.running)
    }

    /// Places that nobody has.
    pub(super) fn free(&self) -> usize {
        self.runs_max.saturating_sub(self.running_of_all())
    }

    /// Whether one of these places is there for what stands so.
    pub(super) fn may_begin(&self, rank: Rank) -> bool {
        self.free() > 0 && (self.left_looks >= LEFT_LOOKS_MAX || !self.is_left(rank))
    }

    /// Whether as many others have something that goes before it as there are places.
    fn is_left(&self, rank: Rank) -> bool {
        let free = self.free();
        free > 0 && self.others.firsts.iter().filter(|first| **first < rank).count() >= free
    }

    pub(super) fn has_others(&self) -> bool {
        self.others != Others::default()
    }

    pub(super) fn set_others(&mut self, others: Option<&Others>) {
        self.others = others.cloned().unwrap_or_default();
    }

    /// Looks whether others have taken what was left to them; `best` is what waits here.
    pub(super) fn look(&mut self, best: Option<Rank>) {
        let is_left = best.is_some_and(|best| self.is_left(best));
        self.left_looks = if is_left { self.left_looks.saturating_add(1) } else { 0 };
    }

    /// One more has begun.
    pub(super) fn begun(&mut self) {
        self.running += 1;
        self.left_looks = 0;
    }

    /// Whether what waits, here or elsewhere, waits for others of these queues.
    pub(super) fn is_contended(&self, waits_here: bool) -> bool {
        self.is_limited()
            && (waits_here && self.others.running > 0
                || !self.others.firsts.is_empty() && (self.running > 0 || waits_here))
    }
}
