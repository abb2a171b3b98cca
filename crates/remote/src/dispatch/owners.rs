//! Whose runs wait, and whose turn it is.

use std::collections::{BTreeSet, HashMap};

use anabranch_model::{Priority, UserName};

use super::lane::{LaneNumber, Ticket};
use super::numbered::{Number, Numbered};

/// Whose a run is, and what it goes before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Runs of nobody are as those of one user.
    pub owner: Option<UserName>,
    pub priority: Priority,
}

/// Of the highest priority, whoever was served longest ago, or has waited longest since they came, has the lowest one. No two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    priority: Priority,
    number: u64,
}

pub(super) type OwnerNumber = Number<Owner>;

/// Owners and lanes looked at to find out whose turn it is, before the lanes are asked themselves: some tens of microseconds. In tests so few
/// that both ways are gone.
const LOOKS_MAX: usize = if cfg!(test) { 3 } else { 1_000 };

/// Everyone of whom something waits. Whoever has runs of several priorities stands in each of their lines.
#[derive(Debug, Default)]
pub(super) struct Owners {
    all: Numbered<Claim, Owner>,
    /// Whose turn it is, of all.
    order: BTreeSet<(Turn, OwnerNumber)>,
    turns: u64,
}

#[derive(Debug)]
pub(super) struct Owner {
    claim: Claim,
    turn: Turn,
    /// Runs that wait, of all processes.
    waiting: usize,
    /// The oldest one in each lane.
    oldest: HashMap<LaneNumber, Ticket>,
}

impl Owners {
    /// One more run of theirs waits. Who has had none behind them comes last in the round: so whoever sends one run after another
    /// does not go before those whose runs wait all the time.
    pub(super) fn enter(&mut self, claim: Claim) -> OwnerNumber {
        match self.all.number(&claim) {
            Some(number) => {
                self.all[number].waiting += 1;
                number
            }
            None => {
                let turn = Turn { priority: claim.priority, number: self.next_turn() };
                let owner = Owner { claim: claim.clone(), turn, waiting: 1, oldest: HashMap::new() };
                let number = self.all.insert(claim, owner);
                self.order.insert((turn, number));
                number
            }
        }
    }

    /// A run of theirs waits no more; they are forgotten with the last one.
    pub(super) fn leave(&mut self, number: OwnerNumber) {
        let owner = &mut self.all[number];
        owner.waiting -= 1;
        if owner.waiting == 0 {
            let (claim, turn) = (std::mem::take(&mut owner.claim), owner.turn);
            self.all.remove(&claim);
            self.order.remove(&(turn, number));
        }
    }

    /// An agent got a run of theirs: the others of each priority come first now.
    pub(super) fn served(&mut self, number: OwnerNumber) {
        let next = self.next_turn();
        let mut claim = self.all[number].claim.clone();
        for priority in Priority::ALL {
            claim.priority = priority;
            let Some(number) = self.all.number(&claim) else { continue };
            let turn = Turn { priority, number: next };
            let before = std::mem::replace(&mut self.all[number].turn, turn);
            self.order.remove(&(before, number));
            self.order.insert((turn, number));
        }
    }

    /// The oldest run of theirs that waits in a lane; `None` where none does any more.
    pub(super) fn set_oldest(&mut self, number: OwnerNumber, lane: LaneNumber, oldest: Option<Ticket>) {
        let all = &mut self.all[number].oldest;
        match oldest {
            Some(ticket) => all.insert(lane, ticket),
            None => all.remove(&lane),
        };
    }

    /// Of all who have runs in any of these lanes, which are in order, the oldest one of whose turn it is. `None` also where that would
    /// take too long to find out.
    pub(super) fn next_in(&self, lanes: &[LaneNumber]) -> Option<(Ticket, LaneNumber)> {
        let mut looks = 0;
        for (_, number) in &self.order {
            let oldest = &self.all[*number].oldest;
            let found = if oldest.len() < lanes.len() {
                let theirs = oldest.iter().filter(|(lane, _)| lanes.binary_search(lane).is_ok());
                theirs.map(|(lane, ticket)| (*ticket, *lane)).min()
            } else {
                lanes.iter().filter_map(|lane| Some((*oldest.get(lane)?, *lane))).min()
            };
            looks += 1 + oldest.len().min(lanes.len());
            if found.is_some() || looks > LOOKS_MAX {
                return found;
            }
        }
        None
    }

    pub(super) fn turn(&self, number: OwnerNumber) -> Turn {
        self.all[number].turn
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}
