//! What is due when. A timer may ring too early, never too late: who is rung for looks at what is true, and sets it again.
//! So what moves with every message (when an agent was heard, what is acknowledged) costs nothing here.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use anabranch_model::ProcessId;

use crate::dispatch::AgentKey;
use crate::run_id::RunId;

/// Whom to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    Agent(AgentKey),
    Offer(ProcessId),
    Run(RunId),
    /// Of an agent, from before our start.
    Unclaimed(RunId),
    /// Agents are asked again for runs that are awaited.
    Invite,
    /// Over here, until its agent knows.
    Closing(AgentKey, RunId),
    /// Over here, to be acknowledged to an agent of WPS Remote.
    Finish(RunId),
    /// Runs that are to be told why they wait.
    News,
    /// The list of agents is to be published.
    Info,
}

/// All timers, at most one for each.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Timer)>,
    set: HashMap<Timer, Instant>,
}

impl Timers {
    /// To ring at that time at the latest.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.set.get_mut(&timer) {
            if *before <= at {
                return;
            }
            let before = std::mem::replace(before, at);
            self.order.remove(&(before, timer.clone()));
        } else {
            self.set.insert(timer.clone(), at);
        }
        self.order.insert((at, timer));
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// One that rings.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.set.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_rings_once_and_the_earliest_time_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        assert_eq!((timers.next(), timers.pop(at(9))), (None, None));
        timers.set(Timer::News, at(5));
        timers.set(Timer::Info, at(4));
        timers.set(Timer::News, at(6));
        assert_eq!(timers.next(), Some(at(4)));
        timers.set(Timer::News, at(3));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(4)), Some(Timer::News));
        assert_eq!(timers.pop(at(4)), Some(Timer::Info));
        assert_eq!(timers.pop(at(9)), None);
        timers.set(Timer::News, at(9));
        assert_eq!(timers.pop(at(9)), Some(Timer::News), "set again after it rang");
    }
}
