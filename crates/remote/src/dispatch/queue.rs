//! The runs of one process that wait, by when they came and by whose turn it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::lane::Ticket;
use super::owners::{OwnerNumber, Owners, Turn};
use crate::run_id::RunId;

/// Bounded by [`OrchestratorSettings::queue_runs_max`](crate::OrchestratorSettings::queue_runs_max).
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Who was next the last time, where nothing has come between: agents look here 100 times for each run that they take.
    head: Option<Head>,
    runs: BTreeMap<Ticket, (RunId, OwnerNumber)>,
    owners: HashMap<OwnerNumber, Share>,
    /// Owners by the turns that they had when they were last looked at here. Turns only grow, so that nobody stands too far behind;
    /// who was served meanwhile, elsewhere too, is put in their place when they come first. That costs once for many runs served.
    order: BTreeSet<(Turn, OwnerNumber)>,
}

/// The run that is next as long as its owner has this turn: those of others only grow, and who comes is noticed.
#[derive(Clone, Copy, Debug)]
struct Head {
    owner: OwnerNumber,
    turn: Turn,
    ticket: Ticket,
    /// Nobody else has anything here, so that it is next whatever the turn.
    is_alone: bool,
}

/// What an owner has here.
#[derive(Debug)]
struct Share {
    /// As in the order.
    turn: Turn,
    tickets: BTreeSet<Ticket>,
}

/// Of two runs the lesser goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Next {
    turn: Turn,
    pub(super) ticket: Ticket,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Runs with later tickets, in their order; tickets begin at 1.
    pub(super) fn after(&self, ticket: Ticket) -> impl Iterator<Item = (Ticket, RunId)> {
        self.runs.range(ticket.saturating_add(1)..).map(|(ticket, (run, _))| (*ticket, *run))
    }

    /// Whose run it is.
    pub(super) fn owner(&self, ticket: Ticket) -> Option<OwnerNumber> {
        self.runs.get(&ticket).map(|(_, owner)| *owner)
    }

    /// The oldest run of an owner.
    pub(super) fn oldest_of(&self, owner: OwnerNumber) -> Option<Ticket> {
        self.owners.get(&owner)?.tickets.first().copied()
    }

    /// The ticket must be of no run that waits.
    pub(super) fn insert(&mut self, ticket: Ticket, run: RunId, owner: OwnerNumber, turn: Turn) {
        self.head = None;
        self.runs.insert(ticket, (run, owner));
        let share = self.owners.entry(owner).or_insert_with(|| {
            self.order.insert((turn, owner));
            Share { turn, tickets: BTreeSet::new() }
        });
        share.tickets.insert(ticket);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<(RunId, OwnerNumber)> {
        let (run, owner) = self.runs.remove(&ticket)?;
        self.head = self.head.filter(|head| head.ticket != ticket);
        if let Some(share) = self.owners.get_mut(&owner) {
            share.tickets.remove(&ticket);
            if share.tickets.is_empty() {
                self.order.remove(&(share.turn, owner));
                self.owners.remove(&owner);
            }
        }
        Some((run, owner))
    }

    /// The run whose turn it is: of the owner who has waited longest for theirs, the oldest.
    pub(super) fn next(&mut self, owners: &Owners) -> Option<Next> {
        let is_next = |head: &Head| head.is_alone || owners.turn(head.owner) == head.turn;
        let head = match self.head.filter(is_next) {
            Some(head) => head,
            None => self.first(owners)?,
        };
        self.head = Some(head);
        Some(Next { turn: owners.turn(head.owner), ticket: head.ticket })
    }

    fn first(&mut self, owners: &Owners) -> Option<Head> {
        loop {
            let (listed, owner) = *self.order.first()?;
            let (turn, is_alone) = (owners.turn(owner), self.order.len() == 1);
            let share = self.owners.get_mut(&owner)?;
            if is_alone || turn == listed {
                return Some(Head { owner, turn, ticket: *share.tickets.first()?, is_alone });
            }
            self.order.remove(&(listed, owner));
            self.order.insert((turn, owner));
            share.turn = turn;
        }
    }
}
