//! The receiving half: orders, drops repetitions and remembers what to acknowledge.

use std::collections::BTreeMap;

use super::WINDOW_MESSAGES_MAX;

#[derive(Debug)]
pub(super) struct Inbox<M> {
    /// Number of the next message to be delivered.
    next: u64,
    /// Number of the last message that has taken effect; below `next`.
    done: u64,
    /// Came early: numbers from `next` on, below `done` + 1 + window.
    early: BTreeMap<u64, M>,
    owes_ack: bool,
}

impl<M> Inbox<M> {
    pub(super) fn starting_at(next: u64) -> Self {
        let next = next.max(1);
        Self { next, done: next - 1, early: BTreeMap::new(), owes_ack: false }
    }

    pub(super) fn accept(&mut self, seq: u64, message: M) {
        if seq <= self.done {
            // The acknowledgement was lost: say it again.
            self.owes_ack = true;
        } else if seq >= self.next && seq - self.done <= WINDOW_MESSAGES_MAX as u64 {
            self.early.entry(seq).or_insert(message);
        }
        // Between: delivered, and soon in effect. Beyond the window: no honest sender is there.
    }

    pub(super) fn pop(&mut self) -> Option<(u64, M)> {
        let seq = self.next;
        let message = self.early.remove(&seq)?;
        self.next += 1;
        Some((seq, message))
    }

    pub(super) fn done(&mut self, seq: u64) {
        if seq > self.done && seq < self.next {
            self.done = seq;
            self.owes_ack = true;
        }
    }

    pub(super) fn done_up_to(&self) -> u64 {
        self.done
    }

    pub(super) fn owes_ack(&self) -> bool {
        self.owes_ack
    }

    pub(super) fn owe_ack(&mut self) {
        self.owes_ack = true;
    }

    pub(super) fn take_ack(&mut self) -> u64 {
        self.owes_ack = false;
        self.done
    }
}
