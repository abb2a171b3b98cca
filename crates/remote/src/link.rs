//! Reliable delivery over a transport that loses, repeats and reorders: without IO and without a clock.
//!
//! One [`Link`] for each run at each end. Messages are numbered from 1, acknowledged cumulatively *after they have taken
//! effect*, and sent again until acknowledged: on a timer, and at once after [`Link::resend_all`]. They are delivered once
//! and in order. What is under way is bounded by [`WINDOW_MESSAGES_MAX`] at both ends; there is no further queue here, so
//! who has more to say keeps it, and may merge it meanwhile.
//!
//! A receiver that has lost its state goes on from what the sender tells it ([`Link::resume`]): the sender keeps
//! everything unacknowledged, so nothing is lost; the one message whose effect came before the receiver's death and whose
//! acknowledgement did not may take effect twice.

mod inbox;
mod outbox;

#[cfg(test)]
mod tests;

use std::time::Instant;

use inbox::Inbox;
use outbox::Outbox;

/// Messages sent and not acknowledged, and messages received and not yet in effect, each at most this many: 32 chunks of
/// 64 KiB fill a link of 10 ms and 1.6 Gbit/s, and hold 3 MiB for each run in the worst case.
pub const WINDOW_MESSAGES_MAX: usize = 32;

/// What goes over the transport: a message, or an acknowledgement alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<M> {
    /// Everything up to this number has taken effect here.
    pub ack: u64,
    /// Number (from 1) and message.
    pub message: Option<(u64, M)>,
}

/// Both directions of one run at one end.
#[derive(Debug)]
pub struct Link<M> {
    outbox: Outbox<M>,
    inbox: Inbox<M>,
}

impl<M: Clone> Default for Link<M> {
    fn default() -> Self {
        Self::resume(1, 1)
    }
}

impl<M: Clone> Link<M> {
    /// Goes on where an earlier end stopped: `next_out` numbers the next message to be sent, `next_in` is the first that
    /// has not taken effect yet.
    pub fn resume(next_out: u64, next_in: u64) -> Self {
        Self { outbox: Outbox::starting_at(next_out), inbox: Inbox::starting_at(next_in) }
    }

    /// Whether [`send`](Self::send) takes another message.
    pub fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Takes a message to be sent; gives it back where the window is full.
    ///
    /// # Errors
    /// The message itself.
    pub fn send(&mut self, message: M) -> Result<u64, M> {
        self.outbox.push(message)
    }

    /// Takes what came over the transport; gives the messages that are now known to have taken effect at the other end.
    pub fn handle(&mut self, segment: Segment<M>) -> Vec<M> {
        if let Some((seq, message)) = segment.message {
            self.inbox.accept(seq, message);
        }
        self.outbox.acknowledge(segment.ack)
    }

    /// The next message in order. [`done`](Self::done) is to be called with its number when it has taken effect.
    pub fn deliver(&mut self) -> Option<(u64, M)> {
        self.inbox.pop()
    }

    /// Everything delivered up to this number has taken effect.
    pub fn done(&mut self, seq: u64) {
        self.inbox.done(seq);
    }

    /// What to send now, if anything; to be called until it gives nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Segment<M>> {
        if let Some((seq, message)) = self.outbox.poll(now) {
            return Some(Segment { ack: self.inbox.take_ack(), message: Some((seq, message)) });
        }
        self.inbox.owes_ack().then(|| Segment { ack: self.inbox.take_ack(), message: None })
    }

    /// The transport did not take a segment given by [`poll`](Self::poll): it is still to be sent.
    pub fn refused(&mut self, segment: &Segment<M>) {
        match &segment.message {
            Some((seq, _)) => self.outbox.refused(*seq),
            None => self.inbox.owe_ack(),
        }
    }

    /// When [`poll`](Self::poll) has to be called again at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.outbox.deadline()
    }

    /// The transport is back: whatever was under way may be lost, so all of it is sent again.
    pub fn resend_all(&mut self) {
        self.outbox.resend_all();
    }

    /// First number that the other end has not acknowledged; equal to [`next`](Self::next) where there is none.
    pub fn oldest(&self) -> u64 {
        self.outbox.oldest()
    }

    /// Number of the next message to be sent.
    pub fn next(&self) -> u64 {
        self.outbox.next()
    }

    /// Number of the last message that has taken effect here.
    pub fn received(&self) -> u64 {
        self.inbox.done_up_to()
    }

    /// Everything sent has taken effect at the other end.
    pub fn is_settled(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Messages sent more than once, in all.
    pub fn resent(&self) -> u64 {
        self.outbox.resent()
    }
}
