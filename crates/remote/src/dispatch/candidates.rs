//! The agents that offer one process, and what each is worth for its next run.

use super::standing::Rank;
use super::worker::WorkerNumber;

/// Where an agent stands among the candidates, until another one that goes makes room; see [`Candidates::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// What an agent that can take nothing is worth.
const NOTHING: u128 = u128::MAX;

/// Without an order: to go through 20,000 numbers side by side takes less time than to keep 100 orders for every run that is sent.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Rank, then the agent's number: of equal ones the lowest number is taken.
    worth: Vec<u128>,
    agents: Vec<WorkerNumber>,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.agents.len()
    }

    /// An agent that is worth nothing yet.
    pub(super) fn add(&mut self, agent: WorkerNumber) -> Place {
        self.worth.push(NOTHING);
        self.agents.push(agent);
        // At most as many as there are agents, whose numbers have 32 bits.
        Place(u32::try_from(self.agents.len() - 1).unwrap_or(u32::MAX))
    }

    /// Takes one out; gives the agent that has got its place, if any.
    pub(super) fn remove(&mut self, place: Place) -> Option<WorkerNumber> {
        let at = place.0 as usize;
        self.worth.swap_remove(at);
        self.agents.swap_remove(at);
        self.agents.get(at).copied()
    }

    pub(super) fn set(&mut self, place: Place, agent: WorkerNumber, rank: Option<Rank>) {
        self.worth[place.0 as usize] = rank.map_or(NOTHING, |rank| rank.then(agent.as_u32()));
    }

    /// The best one that can take a run.
    pub(super) fn best(&self) -> Option<WorkerNumber> {
        let best = self.worth.iter().copied().min().filter(|best| *best != NOTHING)?;
        // The lower 32 bits.
        Some(WorkerNumber::from_u32(best as u32))
    }
}
