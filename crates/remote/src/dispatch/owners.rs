//! Whose runs wait, and whose turn it is.

use std::collections::HashMap;

use anabranch_model::UserName;

/// Whoever was served longest ago, or has waited longest since they came, has the lowest one. No two are the same.
pub(super) type Turn = u64;

/// An owner, as long as runs of theirs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OwnerNumber(u32);

/// Everyone of whom something waits. Runs of nobody are as those of one user.
#[derive(Debug, Default)]
pub(super) struct Owners {
    all: Vec<Owner>,
    unused: Vec<OwnerNumber>,
    numbers: HashMap<Option<UserName>, OwnerNumber>,
    turns: Turn,
}

#[derive(Debug)]
struct Owner {
    name: Option<UserName>,
    turn: Turn,
    /// Runs that wait, of all processes.
    waiting: usize,
}

impl Owners {
    /// One more run of theirs waits. Who has had none behind them comes last in the round: so whoever sends one run after another
    /// does not go before those whose runs wait all the time.
    pub(super) fn enter(&mut self, name: Option<UserName>) -> OwnerNumber {
        if let Some(number) = self.numbers.get(&name).copied() {
            self.all[number.0 as usize].waiting += 1;
            return number;
        }
        let owner = Owner { name: name.clone(), turn: self.next_turn(), waiting: 1 };
        let number = match self.unused.pop() {
            Some(number) => {
                self.all[number.0 as usize] = owner;
                number
            }
            None => {
                self.all.push(owner);
                // Not more than runs that wait, of which memory holds far fewer.
                OwnerNumber(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.numbers.insert(name, number);
        number
    }

    /// A run of theirs waits no more; they are forgotten with the last one.
    pub(super) fn leave(&mut self, number: OwnerNumber) {
        let owner = &mut self.all[number.0 as usize];
        owner.waiting -= 1;
        if owner.waiting == 0 {
            self.numbers.remove(&owner.name);
            self.unused.push(number);
        }
    }

    /// An agent got a run of theirs: the others come first now.
    pub(super) fn served(&mut self, number: OwnerNumber) {
        self.all[number.0 as usize].turn = self.next_turn();
    }

    pub(super) fn turn(&self, number: OwnerNumber) -> Turn {
        self.all[number.0 as usize].turn
    }

    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        self.turns
    }
}
