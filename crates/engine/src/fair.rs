//! Who runs next, fairly: a queue that knows no clock, no lock and no jobs.
//!
//! What waits lies in lanes, one for each owner and process. A slot goes to the highest priority first; among equals to the owner with
//! the fewest runs under way; among those to the one who was served longest ago; and of an owner's to what was accepted first. So
//! whoever comes newly gets the next slot that is free, however many of others wait.
//!
//! A decision costs O(k log n), where k is the number of processes that its owner waits for.

use anabranch_model::Priority;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// What is known of something that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<O, P> {
    pub(crate) owner: O,
    pub(crate) process: P,
    pub(crate) priority: Priority,
    /// Order of acceptance; unique.
    pub(crate) sequence: i64,
}

/// Most runs under way at once, those at other nodes among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    /// Of this owner.
    pub(crate) owner: usize,
    /// Of this process.
    pub(crate) process: usize,
}

/// The queue.
pub(crate) struct FairQueue<O, P, J> {
    runs_max: usize,
    /// Of each process, here.
    process_runs_max: usize,
    running: usize,
    waiting: usize,
    /// How many have been served: a clock that only decisions move.
    served: u64,
    owners: HashMap<O, Share<P>>,
    gates: HashMap<P, Gate<O>>,
    lanes: HashMap<(O, P), BTreeMap<(Priority, i64), J>>,
    /// The best lane of every process that may begin one more run.
    open: BTreeSet<(Rank, P)>,
    /// Runs under way at other nodes.
    elsewhere: Elsewhere<O, P>,
}

/// Runs under way at other nodes. They count towards what owners and processes may have at once, and take no slot here.
pub(crate) struct Elsewhere<O, P> {
    pub(crate) owners: HashMap<O, usize>,
    pub(crate) processes: HashMap<P, usize>,
}

impl<O, P> Default for Elsewhere<O, P> {
    fn default() -> Self {
        Self { owners: HashMap::new(), processes: HashMap::new() }
    }
}

/// An owner who waits or runs.
struct Share<P> {
    running: usize,
    runs_max: usize,
    served: u64,
    /// What they wait for.
    processes: BTreeSet<P>,
}

/// A process that is waited for, or runs.
struct Gate<O> {
    running: usize,
    runs_max: usize,
    /// Owners who wait for it.
    waiting: usize,
    /// Lanes whose owners may begin one more run.
    lanes: BTreeSet<(Rank, O)>,
    /// Where it stands in [`FairQueue::open`].
    listed: Option<Rank>,
}

/// The order of lanes: the least is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Priority,
    running: usize,
    served: u64,
    sequence: i64,
}

impl<O, P, J> FairQueue<O, P, J>
where
    O: Clone + Ord + Hash,
    P: Clone + Ord + Hash,
{
    pub(crate) fn new(runs_max: usize) -> Self {
        Self {
            runs_max,
            process_runs_max: usize::MAX,
            elsewhere: Elsewhere::default(),
            running: 0,
            waiting: 0,
            served: 0,
            owners: HashMap::new(),
            gates: HashMap::new(),
            lanes: HashMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// With so many runs of each process at once, here.
    pub(crate) fn with_process_runs_max(self, process_runs_max: usize) -> Self {
        Self { process_runs_max, ..self }
    }

    /// Other nodes have these runs under way now.
    pub(crate) fn set_elsewhere(&mut self, elsewhere: Elsewhere<O, P>) {
        let (now, before) = (&elsewhere.owners, &self.elsewhere.owners);
        let owners: Vec<O> =
            self.owners.keys().filter(|owner| now.get(owner) != before.get(owner)).cloned().collect();
        let (now, before) = (&elsewhere.processes, &self.elsewhere.processes);
        let processes: Vec<P> =
            self.gates.keys().filter(|process| now.get(process) != before.get(process)).cloned().collect();
        owners.iter().for_each(|owner| self.unlist(owner));
        self.elsewhere = elsewhere;
        owners.iter().for_each(|owner| self.list(owner));
        processes.iter().for_each(|process| self.refresh(process));
    }

    /// Puts something into its lane. The slots are those that its owner and process have from now on.
    pub(crate) fn push(&mut self, place: Place<O, P>, slots: Slots, job: J) {
        let Place { owner, process, priority, sequence } = place;
        self.unlist(&owner);
        let share = self.owners.entry(owner.clone()).or_insert_with(|| Share {
            running: 0,
            runs_max: 0,
            served: 0,
            processes: BTreeSet::new(),
        });
        share.runs_max = slots.owner.max(1);
        let is_new = share.processes.insert(process.clone());
        let gate = self.gates.entry(process.clone()).or_insert_with(|| Gate {
            running: 0,
            runs_max: 0,
            waiting: 0,
            lanes: BTreeSet::new(),
            listed: None,
        });
        gate.runs_max = slots.process.max(1);
        gate.waiting += usize::from(is_new);
        let lane = self.lanes.entry((owner.clone(), process.clone())).or_default();
        lane.insert((priority, sequence), job);
        self.waiting += 1;
        self.list(&owner);
        self.refresh(&process);
    }

    /// Takes out what runs next, where there is a slot for it; [`FairQueue::ended`] gives the slot back.
    pub(crate) fn pop(&mut self) -> Option<J> {
        if self.running >= self.runs_max {
            return None;
        }
        let process = self.open.first()?.1.clone();
        let owner = self.gates.get(&process)?.lanes.first()?.1.clone();
        self.unlist(&owner);
        let job = self.take_first(&owner, &process);
        self.running += 1;
        self.served += 1;
        if let Some(share) = self.owners.get_mut(&owner) {
            share.running += 1;
            share.served = self.served;
        }
        if let Some(gate) = self.gates.get_mut(&process) {
            gate.running += 1;
        }
        self.list(&owner);
        self.refresh(&process);
        job
    }

    /// A run has ended.
    pub(crate) fn ended(&mut self, owner: &O, process: &P) {
        self.unlist(owner);
        self.running -= 1;
        if let Some(share) = self.owners.get_mut(owner) {
            share.running -= 1;
        }
        if let Some(gate) = self.gates.get_mut(process) {
            gate.running -= 1;
        }
        self.list(owner);
        self.refresh(process);
        self.forget(owner, process);
    }

    /// Takes out what is wanted no more, where it waits here.
    pub(crate) fn remove(&mut self, place: &Place<O, P>) -> Option<J> {
        let lane = (place.owner.clone(), place.process.clone());
        let key = (place.priority, place.sequence);
        if !self.lanes.get(&lane)?.contains_key(&key) {
            return None;
        }
        self.unlist(&place.owner);
        let job = self.lanes.get_mut(&lane)?.remove(&key);
        self.left(&place.owner, &place.process);
        self.list(&place.owner);
        self.forget(&place.owner, &place.process);
        job
    }

    /// What waits here.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Runs under way.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Runs of an owner under way.
    pub(crate) fn running_of(&self, owner: &O) -> usize {
        self.owners.get(owner).map_or(0, |share| share.running)
    }

    /// Runs of a process under way.
    pub(crate) fn running_process(&self, process: &P) -> usize {
        self.gates.get(process).map_or(0, |gate| gate.running)
    }

    fn take_first(&mut self, owner: &O, process: &P) -> Option<J> {
        let lane = self.lanes.get_mut(&(owner.clone(), process.clone()))?;
        let (_, job) = lane.pop_first()?;
        self.left(owner, process);
        Some(job)
    }

    /// Something has left a lane, which may be empty now.
    fn left(&mut self, owner: &O, process: &P) {
        self.waiting -= 1;
        let lane = (owner.clone(), process.clone());
        if self.lanes.get(&lane).is_some_and(BTreeMap::is_empty) {
            self.lanes.remove(&lane);
            if let Some(share) = self.owners.get_mut(owner) {
                share.processes.remove(process);
            }
            if let Some(gate) = self.gates.get_mut(process) {
                gate.waiting -= 1;
            }
        }
    }

    /// Takes the lanes of an owner out of the order, before what they are ordered by changes.
    fn unlist(&mut self, owner: &O) {
        self.each_lane(owner, |gate, rank, owner| {
            gate.lanes.remove(&(rank, owner.clone()));
        });
    }

    /// Puts them back.
    fn list(&mut self, owner: &O) {
        self.each_lane(owner, |gate, rank, owner| {
            gate.lanes.insert((rank, owner.clone()));
        });
    }

    fn each_lane(&mut self, owner: &O, change: impl Fn(&mut Gate<O>, Rank, &O)) {
        let Some(share) = self.owners.get(owner) else { return };
        let elsewhere = self.elsewhere.owners.get(owner).copied().unwrap_or(0);
        if share.running.saturating_add(elsewhere) >= share.runs_max {
            return;
        }
        let (running, served) = (share.running, share.served);
        let processes: Vec<P> = share.processes.iter().cloned().collect();
        for process in processes {
            let lane = self.lanes.get(&(owner.clone(), process.clone()));
            let first = lane.and_then(|lane| lane.first_key_value()).map(|(key, _)| *key);
            if let (Some((priority, sequence)), Some(gate)) = (first, self.gates.get_mut(&process)) {
                change(gate, Rank { priority, running, served, sequence }, owner);
            }
            self.refresh(&process);
        }
    }

    /// Puts a process where it belongs among the open ones.
    fn refresh(&mut self, process: &P) {
        let Some(gate) = self.gates.get_mut(process) else { return };
        let elsewhere = self.elsewhere.processes.get(process).copied().unwrap_or(0);
        let is_open =
            gate.running < self.process_runs_max && gate.running.saturating_add(elsewhere) < gate.runs_max;
        let best = gate.lanes.first().map(|(rank, _)| *rank).filter(|_| is_open);
        if best == gate.listed {
            return;
        }
        if let Some(listed) = gate.listed.take() {
            self.open.remove(&(listed, process.clone()));
        }
        if let Some(best) = best {
            self.open.insert((best, process.clone()));
            gate.listed = Some(best);
        }
    }

    /// Owners and processes that neither wait nor run are forgotten.
    fn forget(&mut self, owner: &O, process: &P) {
        if self.owners.get(owner).is_some_and(|share| share.running == 0 && share.processes.is_empty()) {
            self.owners.remove(owner);
        }
        if self.gates.get(process).is_some_and(|gate| gate.running == 0 && gate.waiting == 0) {
            self.gates.remove(process);
        }
    }
}

#[cfg(test)]
mod tests;
