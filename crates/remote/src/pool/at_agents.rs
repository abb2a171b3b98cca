//! What is known of runs at agents: what concerns one agent goes through its own runs, and not through those of all.

use std::collections::{BTreeMap, HashMap};

use super::owner::Unclaimed;
use crate::dispatch::AgentKey;
use crate::run_id::RunId;

/// Something of each run, by agent. Bounded by whoever fills it: an agent holds 400 runs.
pub(super) struct AtAgents<T> {
    all: HashMap<AgentKey, BTreeMap<RunId, T>>,
}

impl<T> Default for AtAgents<T> {
    fn default() -> Self {
        Self { all: HashMap::new() }
    }
}

impl<T> AtAgents<T> {
    pub(super) fn contains(&self, (agent, run): &(AgentKey, RunId)) -> bool {
        self.all.get(agent).is_some_and(|runs| runs.contains_key(run))
    }

    pub(super) fn get_mut(&mut self, (agent, run): &(AgentKey, RunId)) -> Option<&mut T> {
        self.all.get_mut(agent)?.get_mut(run)
    }

    pub(super) fn insert(&mut self, (agent, run): (AgentKey, RunId), thing: T) {
        self.all.entry(agent).or_default().insert(run, thing);
    }

    pub(super) fn remove(&mut self, (agent, run): &(AgentKey, RunId)) {
        if let Some(runs) = self.all.get_mut(agent) {
            runs.remove(run);
            if runs.is_empty() {
                self.all.remove(agent);
            }
        }
    }

    /// The runs at one agent.
    pub(super) fn of(&self, agent: &AgentKey) -> Vec<RunId> {
        self.all.get(agent).map_or_else(Vec::new, |runs| runs.keys().copied().collect())
    }
}

/// Runs that agents hold and nobody here has asked for.
#[derive(Default)]
pub(super) struct UnclaimedRuns {
    all: HashMap<RunId, Unclaimed>,
    at: AtAgents<()>,
}

impl UnclaimedRuns {
    pub(super) fn get(&self, run: RunId) -> Option<&Unclaimed> {
        self.all.get(&run)
    }

    pub(super) fn insert(&mut self, run: RunId, unclaimed: Unclaimed) {
        self.remove(run);
        self.at.insert((unclaimed.agent.clone(), run), ());
        self.all.insert(run, unclaimed);
    }

    pub(super) fn remove(&mut self, run: RunId) -> Option<Unclaimed> {
        let unclaimed = self.all.remove(&run)?;
        self.at.remove(&(unclaimed.agent.clone(), run));
        Some(unclaimed)
    }

    /// The runs at one agent.
    pub(super) fn of(&self, agent: &AgentKey) -> Vec<RunId> {
        self.at.of(agent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use anabranch_model::{JobId, ProcessId};

    use super::*;
    use crate::message::HeldRun;

    #[test]
    fn each_agent_has_its_own_and_a_run_is_at_one() {
        let agent = |name: &str| AgentKey { account: name.into(), instance: "host".into() };
        let run = RunId::whole(JobId::random(), 1);
        let unclaimed = |name| {
            let process = ProcessId::new("default:Echo").unwrap();
            let held = HeldRun { run, process, oldest: 1, next: 1, received: 0, ended: false };
            Unclaimed { agent: agent(name), held, until: Instant::now() }
        };
        let mut runs = UnclaimedRuns::default();
        runs.insert(run, unclaimed("a"));
        assert_eq!((runs.of(&agent("a")), runs.of(&agent("b"))), (vec![run], vec![]));
        runs.insert(run, unclaimed("b"));
        assert_eq!((runs.of(&agent("a")), runs.of(&agent("b"))), (vec![], vec![run]));
        assert!(runs.remove(run).is_some() && runs.get(run).is_none() && runs.remove(run).is_none());
        assert!(runs.of(&agent("b")).is_empty() && runs.at.all.is_empty());
    }
}
