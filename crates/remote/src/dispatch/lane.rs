//! One process: the runs that wait, the agents that could take one, and why the others can't.

use std::sync::Arc;

use anabranch_model::ProcessId;

use super::candidates::Candidates;
use super::numbered::Number;
use super::owners::OwnerNumber;
use super::queue::Queue;
use super::standing::{Obstacle, Rules};
use crate::run_id::RunId;

/// The place of a run in the queue: the lower one came first.
pub type Ticket = u64;

pub(super) type LaneNumber = Number<Lane>;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) process: ProcessId,
    pub(super) queue: Queue,
    /// Agents that offer it.
    pub(super) candidates: Candidates,
    /// How many of them have which obstacle.
    obstacles: [usize; Obstacle::ALL.len()],
    told: Told,
}

/// Why the runs wait, as they are told: all in turn, starting where it was last left.
#[derive(Debug, Default)]
struct Told {
    reason: Option<Arc<str>>,
    /// The last one told.
    last: Ticket,
    /// How many are still to be told.
    left: usize,
}

impl Lane {
    pub(super) fn new(process: ProcessId) -> Self {
        let (queue, candidates, told) = Default::default();
        Self { process, queue, candidates, obstacles: [0; Obstacle::ALL.len()], told }
    }

    /// Agents that could take a run.
    pub(super) fn free(&self) -> usize {
        self.candidates.len() - self.obstacles.iter().sum::<usize>()
    }

    /// Agents that offer it and are in reach.
    pub(super) fn here(&self) -> usize {
        self.candidates.len() - self.obstacles[Obstacle::Away as usize]
    }

    pub(super) fn is_idle(&self) -> bool {
        self.candidates.len() == 0 && self.queue.is_empty()
    }

    /// An agent that had the one obstacle has the other one now.
    pub(super) fn recount(&mut self, before: Option<Obstacle>, after: Option<Obstacle>) {
        if let Some(before) = before {
            self.obstacles[before as usize] -= 1;
        }
        if let Some(after) = after {
            self.obstacles[after as usize] += 1;
        }
    }

    pub(super) fn unqueue(&mut self, ticket: Ticket) -> Option<(RunId, OwnerNumber)> {
        let run = self.queue.remove(ticket);
        if self.queue.is_empty() {
            self.told = Told::default();
        }
        run
    }

    /// The same as [`text`](Self::text); from now on that is what they are told.
    pub(super) fn reason(&mut self, rules: &Rules) -> Arc<str> {
        let text = self.text(rules);
        match &self.told.reason {
            Some(told) if **told == *text => Arc::clone(told),
            _ => {
                let reason: Arc<str> = text.into();
                self.told.reason = Some(Arc::clone(&reason));
                self.told.left = self.queue.len();
                reason
            }
        }
    }

    /// Why no agent takes its runs now.
    pub(super) fn text(&self, rules: &Rules) -> String {
        let counts = Obstacle::ALL.map(|obstacle| (obstacle, self.obstacles[obstacle as usize]));
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut counts: Vec<_> = counts.map(|(obstacle, count)| (obstacle.text(rules), count)).collect();
        counts.sort();
        match counts.as_slice() {
            [] => "none offers the process".into(),
            [(text, _)] => format!("all {text}"),
            _ => counts.iter().map(|(text, count)| format!("{count} {text}")).collect::<Vec<_>>().join(", "),
        }
    }

    /// Some of those that are still to be told.
    pub(super) fn next_told(&mut self, runs_max: usize) -> Vec<RunId> {
        let count = self.told.left.min(runs_max).min(self.queue.len());
        let runs: Vec<_> = self.queue.after(self.told.last).chain(self.queue.after(0)).take(count).collect();
        self.told.left -= count;
        if let Some((last, _)) = runs.last() {
            self.told.last = *last;
        }
        runs.into_iter().map(|(_, run)| run).collect()
    }

    pub(super) fn has_untold(&self) -> bool {
        self.told.left > 0 && !self.queue.is_empty()
    }
}
