//! The sending half: numbers, keeps and repeats.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::WINDOW_MESSAGES_MAX;

/// First wait for an acknowledgement: far above a round trip with a store's write in it. After a reconnect nobody waits
/// for it, so it only bridges single stanzas lost by a server.
pub(super) const RESEND_MIN: Duration = Duration::from_secs(3);

/// Longest wait: the wait doubles with each try, so that a receiver which is slow to take effect is not flooded.
pub(super) const RESEND_MAX: Duration = Duration::from_secs(24);

#[derive(Debug)]
pub(super) struct Outbox<M> {
    next: u64,
    /// In order of their numbers, the last one being `next - 1`.
    unacknowledged: VecDeque<Entry<M>>,
    resent: u64,
}

#[derive(Debug)]
struct Entry<M> {
    message: M,
    state: EntryState,
    tries: u32,
}

#[derive(Debug)]
enum EntryState {
    /// To be sent at once.
    Due,
    /// Sent, and to be sent again then.
    Sent { again: Instant },
}

impl<M: Clone> Outbox<M> {
    pub(super) fn starting_at(next: u64) -> Self {
        Self { next: next.max(1), unacknowledged: VecDeque::new(), resent: 0 }
    }

    pub(super) fn has_room(&self) -> bool {
        self.unacknowledged.len() < WINDOW_MESSAGES_MAX
    }

    pub(super) fn push(&mut self, message: M) -> Result<u64, M> {
        if !self.has_room() {
            return Err(message);
        }
        let seq = self.next;
        self.next += 1;
        self.unacknowledged.push_back(Entry { message, state: EntryState::Due, tries: 0 });
        Ok(seq)
    }

    pub(super) fn acknowledge(&mut self, ack: u64) -> Vec<M> {
        if ack >= self.next {
            // Never sent: an acknowledgement meant for someone else, or made up.
            return Vec::new();
        }
        let count = usize::try_from((ack + 1).saturating_sub(self.oldest())).unwrap_or(0);
        self.unacknowledged.drain(..count).map(|entry| entry.message).collect()
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<(u64, M)> {
        let oldest = self.oldest();
        let (index, entry) =
            self.unacknowledged.iter_mut().enumerate().find(|(_, entry)| entry.is_due(now))?;
        let wait = (RESEND_MIN * 2_u32.saturating_pow(entry.tries.min(8))).min(RESEND_MAX);
        if entry.tries > 0 {
            self.resent += 1;
        }
        entry.tries += 1;
        entry.state = EntryState::Sent { again: now + wait };
        Some((oldest + index as u64, entry.message.clone()))
    }

    pub(super) fn refused(&mut self, seq: u64) {
        let index = seq.checked_sub(self.oldest()).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.unacknowledged.get_mut(index)) {
            entry.state = EntryState::Due;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let times = self.unacknowledged.iter().filter_map(|entry| match entry.state {
            EntryState::Due => None,
            EntryState::Sent { again } => Some(again),
        });
        times.min()
    }

    pub(super) fn resend_all(&mut self) {
        for entry in &mut self.unacknowledged {
            entry.state = EntryState::Due;
            entry.tries = entry.tries.min(1);
        }
    }

    pub(super) fn oldest(&self) -> u64 {
        self.next - self.unacknowledged.len() as u64
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    pub(super) fn resent(&self) -> u64 {
        self.resent
    }
}

impl<M> Entry<M> {
    fn is_due(&self, now: Instant) -> bool {
        match self.state {
            EntryState::Due => true,
            EntryState::Sent { again } => again <= now,
        }
    }
}
