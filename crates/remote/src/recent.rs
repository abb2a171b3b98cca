//! The last few things of a kind.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Remembers the last `max` things noted.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    order: VecDeque<T>,
    all: HashSet<T>,
    max: usize,
}

impl<T: Clone + Eq + Hash> Recent<T> {
    pub(crate) fn keeping(max: usize) -> Self {
        Self { order: VecDeque::new(), all: HashSet::new(), max }
    }

    /// Notes it; `false` where it was noted before.
    pub(crate) fn note(&mut self, thing: T) -> bool {
        if !self.all.insert(thing.clone()) {
            return false;
        }
        self.order.push_back(thing);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }

    pub(crate) fn has(&self, thing: &T) -> bool {
        self.all.contains(thing)
    }
}
