//! Who waits because the session had no room for what they say: first come, first served, each once.

use std::collections::{HashSet, VecDeque};

use super::timers::Timer;

/// Bounded by the runs that the pool has, and those that are over until their agents know: it holds each of them at most once.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    order: VecDeque<Timer>,
    all: HashSet<Timer>,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// To be looked at when there is room.
    pub(super) fn push(&mut self, waiting: Timer) {
        if self.all.insert(waiting.clone()) {
            self.order.push_back(waiting);
        }
    }

    /// Who has waited longest.
    pub(super) fn pop(&mut self) -> Option<Timer> {
        let waiting = self.order.pop_front()?;
        self.all.remove(&waiting);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_once_and_in_the_order_they_came() {
        let mut unsent = Unsent::default();
        for timer in [Timer::News, Timer::Info, Timer::News] {
            unsent.push(timer);
        }
        assert_eq!(unsent.pop(), Some(Timer::News));
        unsent.push(Timer::News);
        assert_eq!((unsent.pop(), unsent.pop()), (Some(Timer::Info), Some(Timer::News)));
        assert!(unsent.is_empty() && unsent.pop().is_none());
    }
}
