//! Whose runs wait, and whose turn it is.

use anabranch_model::UserName;

use super::numbered::{Number, Numbered};

/// Whoever was served longest ago, or has waited longest since they came, has the lowest one. No two are the same.
pub(super) type Turn = u64;

pub(super) type OwnerNumber = Number<Owner>;

/// Everyone of whom something waits. Runs of nobody are as those of one user.
#[derive(Debug, Default)]
pub(super) struct Owners {
    all: Numbered<Option<UserName>, Owner>,
    turns: Turn,
}

#[derive(Debug)]
pub(super) struct Owner {
    name: Option<UserName>,
    turn: Turn,
    /// Runs that wait, of all processes.
    waiting: usize,
}

impl Owners {
    /// One more run of theirs waits. Who has had none behind them comes last in the round: so whoever sends one run after another
    /// does not go before those whose runs wait all the time.
    pub(super) fn enter(&mut self, name: Option<UserName>) -> OwnerNumber {
        match self.all.number(&name) {
            Some(number) => {
                self.all[number].waiting += 1;
                number
            }
            None => {
                let owner = Owner { name: name.clone(), turn: self.next_turn(), waiting: 1 };
                self.all.insert(name, owner)
            }
        }
    }

    /// A run of theirs waits no more; they are forgotten with the last one.
    pub(super) fn leave(&mut self, number: OwnerNumber) {
        let owner = &mut self.all[number];
        owner.waiting -= 1;
        if owner.waiting == 0 {
            let name = owner.name.take();
            self.all.remove(&name);
        }
    }

    /// An agent got a run of theirs: the others come first now.
    pub(super) fn served(&mut self, number: OwnerNumber) {
        self.all[number].turn = self.next_turn();
    }

    pub(super) fn turn(&self, number: OwnerNumber) -> Turn {
        self.all[number].turn
    }

    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        self.turns
    }
}
