//! Who runs next, fairly: a queue that knows no clock, no lock and no jobs.
//!
//! What waits lies in lanes, one for each owner and process. A slot goes to the highest priority first; among equals to the owner with
//! the fewest runs under way; among those to the one who was served longest ago; and of an owner's to what was accepted first. So
//! whoever comes newly gets the next slot that is free, however many of others wait.
//!
//! A decision costs O(k log n), where k is the number of processes that its owner waits for.
//!
//! Several queues may share what owners and processes may have at once. Each knows of the others what is in [`Elsewhere`]: it counts
//! their runs, and leaves a place to them where one of them has what goes before that which waits here.

mod room;

use anabranch_model::Priority;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

#[cfg(test)]
use room::LEFT_LOOKS_MAX;
pub(crate) use room::Others;
use room::Room;

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
    /// How many have been served, by all queues as far as is known: a clock that only decisions move (Lamport 1978).
    served: u64,
    owners: HashMap<O, Share<P>>,
    gates: HashMap<P, Gate<O>>,
    lanes: HashMap<(O, P), BTreeMap<(Priority, i64), J>>,
    /// The best lane of every process that may begin one more run.
    open: BTreeSet<(Rank, P)>,
    elsewhere: Elsewhere<O, P>,
}

/// What other queues have, all of them together. Their runs count towards what owners and processes may have at once, and take no
/// slot here.
pub(crate) struct Elsewhere<O, P> {
    pub(crate) owners: HashMap<O, Others>,
    pub(crate) processes: HashMap<P, Others>,
}

impl<O, P> Default for Elsewhere<O, P> {
    fn default() -> Self {
        Self { owners: HashMap::new(), processes: HashMap::new() }
    }
}

/// What a queue has of an owner or a process, as it tells others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Runs under way.
    pub(crate) running: usize,
    /// Of owners: when they were served last.
    pub(crate) served: u64,
    /// What it would begin next if it had a place of these: nothing where that is not all it needs, or they are not limited.
    pub(crate) first: Option<Rank>,
}

/// An owner who waits or runs.
struct Share<P> {
    room: Room,
    served: u64,
    /// What they wait for.
    processes: BTreeSet<P>,
}

/// A process that is waited for, or runs.
struct Gate<O> {
    room: Room,
    /// Owners who wait for it.
    waiting: usize,
    /// Lanes whose owners may begin one more run.
    lanes: BTreeSet<(Rank, O)>,
    /// Where it stands in [`FairQueue::open`].
    listed: Option<Rank>,
}

/// The order of lanes, those of all queues: the least is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rank {
    priority: Priority,
    /// Runs of its owner, in all queues.
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

    /// What other queues have now. To be said again and again: it is counted how often a place is left to them.
    pub(crate) fn set_elsewhere(&mut self, elsewhere: Elsewhere<O, P>) {
        let concerned = |room: &Room, is_known| is_known || room.has_others();
        let owners: Vec<O> = (self.owners.iter())
            .filter(|(owner, share)| concerned(&share.room, elsewhere.owners.contains_key(owner)))
            .map(|(owner, _)| owner.clone())
            .collect();
        let processes: Vec<P> = (self.gates.iter())
            .filter(|(process, gate)| concerned(&gate.room, elsewhere.processes.contains_key(process)))
            .map(|(process, _)| process.clone())
            .collect();
        owners.iter().for_each(|owner| self.unlist(owner));
        self.served = elsewhere.owners.values().map(|others| others.served).fold(self.served, u64::max);
        self.elsewhere = elsewhere;
        for process in &processes {
            if let Some(gate) = self.gates.get_mut(process) {
                gate.room.set_others(self.elsewhere.processes.get(process));
            }
        }
        for owner in &owners {
            let others = self.elsewhere.owners.get(owner);
            if let Some(share) = self.owners.get_mut(owner) {
                share.served = others.map_or(share.served, |others| share.served.max(others.served));
                share.room.set_others(others);
            }
            let best = self.best_of(owner);
            if let Some(share) = self.owners.get_mut(owner) {
                share.room.look(best);
            }
            self.list(owner);
        }
        for process in &processes {
            if let Some(gate) = self.gates.get_mut(process) {
                let best = gate.lanes.first().map(|(rank, _)| *rank);
                gate.room.look(best);
            }
            self.refresh(process);
        }
    }

    /// What this queue has of an owner, for others.
    pub(crate) fn told_of_owner(&self, owner: &O) -> Told {
        let Some(share) = self.owners.get(owner) else { return Told::default() };
        let first = self.best_of(owner).filter(|_| share.room.is_limited() && self.running < self.runs_max);
        Told { running: share.room.running, served: share.served, first }
    }

    /// What this queue has of a process, for others.
    pub(crate) fn told_of_process(&self, process: &P) -> Told {
        let Some(gate) = self.gates.get(process) else { return Told::default() };
        let may = gate.room.is_limited() && self.has_slot(gate) && self.running < self.runs_max;
        let first = gate.lanes.first().map(|(rank, _)| *rank).filter(|_| may);
        Told { running: gate.room.running, served: 0, first }
    }

    /// Whether something waits here for what others have, or elsewhere for what this queue has.
    pub(crate) fn is_contended(&self) -> bool {
        self.owners.values().any(|share| share.room.is_contended(!share.processes.is_empty()))
            || self.gates.values().any(|gate| gate.room.is_contended(gate.waiting > 0))
    }

    /// Puts something into its lane. The slots are those that its owner and process have from now on.
    pub(crate) fn push(&mut self, place: Place<O, P>, slots: Slots, job: J) {
        let Place { owner, process, priority, sequence } = place;
        self.unlist(&owner);
        let share = self.owners.entry(owner.clone()).or_insert_with(|| {
            let others = self.elsewhere.owners.get(&owner);
            let served = others.map_or(0, |others| others.served);
            Share { room: Room::new(others), served, processes: BTreeSet::new() }
        });
        share.room.runs_max = slots.owner.max(1);
        let is_new = share.processes.insert(process.clone());
        let gate = self.gates.entry(process.clone()).or_insert_with(|| Gate {
            room: Room::new(self.elsewhere.processes.get(&process)),
            waiting: 0,
            lanes: BTreeSet::new(),
            listed: None,
        });
        gate.room.runs_max = slots.process.max(1);
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
            share.room.begun();
            share.served = self.served;
        }
        if let Some(gate) = self.gates.get_mut(&process) {
            gate.room.begun();
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
            share.room.running -= 1;
        }
        if let Some(gate) = self.gates.get_mut(process) {
            gate.room.running -= 1;
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
        self.owners.get(owner).map_or(0, |share| share.room.running)
    }

    /// Runs of a process under way.
    pub(crate) fn running_process(&self, process: &P) -> usize {
        self.gates.get(process).map_or(0, |gate| gate.room.running)
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
        let Some(share) = self.owners.get(owner).filter(|share| share.room.free() > 0) else { return };
        let ranks: Vec<(P, Rank)> = share
            .processes
            .iter()
            .filter_map(|process| Some((process.clone(), self.rank(owner, share, process)?)))
            .filter(|(_, rank)| share.room.may_begin(*rank))
            .collect();
        for (process, rank) in ranks {
            if let Some(gate) = self.gates.get_mut(&process) {
                change(gate, rank, owner);
            }
            self.refresh(&process);
        }
    }

    /// Where the lane of an owner and a process stands.
    fn rank(&self, owner: &O, share: &Share<P>, process: &P) -> Option<Rank> {
        let lane = self.lanes.get(&(owner.clone(), process.clone()))?;
        let (&(priority, sequence), _) = lane.first_key_value()?;
        Some(Rank { priority, running: share.room.running_of_all(), served: share.served, sequence })
    }

    /// The best lane of an owner whose process may begin one more run.
    fn best_of(&self, owner: &O) -> Option<Rank> {
        let share = self.owners.get(owner)?;
        let may = |process: &&P| {
            self.gates.get(process).is_some_and(|gate| self.has_slot(gate) && gate.room.free() > 0)
        };
        share.processes.iter().filter(may).filter_map(|process| self.rank(owner, share, process)).min()
    }

    /// Whether one more run of a process may begin here, whatever other queues have.
    fn has_slot(&self, gate: &Gate<O>) -> bool {
        gate.room.running < self.process_runs_max
    }

    /// Puts a process where it belongs among the open ones.
    fn refresh(&mut self, process: &P) {
        let has_slot = self.gates.get(process).is_some_and(|gate| self.has_slot(gate));
        let Some(gate) = self.gates.get_mut(process) else { return };
        let first = gate.lanes.first().map(|(rank, _)| *rank);
        let best = first.filter(|best| has_slot && gate.room.may_begin(*best));
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
        if self.owners.get(owner).is_some_and(|share| share.room.running == 0 && share.processes.is_empty()) {
            self.owners.remove(owner);
        }
        if self.gates.get(process).is_some_and(|gate| gate.room.running == 0 && gate.waiting == 0) {
            self.gates.remove(process);
        }
    }
}

#[cfg(test)]
mod tests;
