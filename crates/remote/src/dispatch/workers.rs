//! All agents, at places that stay theirs: what is kept of them elsewhere names them by number.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use super::worker::{AgentKey, Worker};

/// Where an agent is, as long as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorkerNumber(pub(super) u32);

#[derive(Debug, Default)]
pub(super) struct Workers {
    all: Vec<Worker>,
    /// The lowest is given first.
    unused: BTreeSet<WorkerNumber>,
    numbers: HashMap<Arc<AgentKey>, WorkerNumber>,
}

impl Workers {
    pub(super) fn number(&self, agent: &AgentKey) -> Option<WorkerNumber> {
        self.numbers.get(agent).copied()
    }

    pub(super) fn get(&self, agent: &AgentKey) -> Option<&Worker> {
        self.number(agent).map(|number| &self[number])
    }

    pub(super) fn get_mut(&mut self, agent: &AgentKey) -> Option<&mut Worker> {
        self.number(agent).map(|number| &mut self[number])
    }

    /// The number of an agent, which is made where it is not known.
    pub(super) fn open(&mut self, agent: &AgentKey) -> WorkerNumber {
        if let Some(number) = self.number(agent) {
            return number;
        }
        let key = Arc::new(agent.clone());
        let worker = Worker::new(Arc::clone(&key));
        let number = match self.unused.pop_first() {
            Some(number) => {
                self[number] = worker;
                number
            }
            None => {
                self.all.push(worker);
                // The pool takes 20,000 agents.
                WorkerNumber(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.numbers.insert(key, number);
        number
    }

    /// Forgets an agent; its number is given to another one.
    pub(super) fn close(&mut self, agent: &AgentKey) -> Option<WorkerNumber> {
        let number = self.numbers.remove(agent)?;
        self.unused.insert(number);
        Some(number)
    }
}

impl Index<WorkerNumber> for Workers {
    type Output = Worker;

    fn index(&self, number: WorkerNumber) -> &Worker {
        &self.all[number.0 as usize]
    }
}

impl IndexMut<WorkerNumber> for Workers {
    fn index_mut(&mut self, number: WorkerNumber) -> &mut Worker {
        &mut self.all[number.0 as usize]
    }
}
