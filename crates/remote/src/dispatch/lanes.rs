//! All lanes, at places that stay theirs: what concerns all processes of an agent looks them up by number, not by name.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use anabranch_model::ProcessId;

use super::lane::Lane;

/// Where a lane is, as long as it is not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneNumber(u32);

#[derive(Debug, Default)]
pub(super) struct Lanes {
    all: Vec<Lane>,
    unused: Vec<LaneNumber>,
    numbers: HashMap<ProcessId, LaneNumber>,
}

impl Lanes {
    pub(super) fn number(&self, process: &ProcessId) -> Option<LaneNumber> {
        self.numbers.get(process).copied()
    }

    pub(super) fn get(&self, process: &ProcessId) -> Option<&Lane> {
        self.number(process).map(|number| &self[number])
    }

    pub(super) fn get_mut(&mut self, process: &ProcessId) -> Option<&mut Lane> {
        self.number(process).map(|number| &mut self[number])
    }

    /// The lane of a process, which is made where there is none.
    pub(super) fn open(&mut self, process: &ProcessId) -> LaneNumber {
        if let Some(number) = self.number(process) {
            return number;
        }
        let lane = Lane::new(process.clone());
        let number = match self.unused.pop() {
            Some(number) => {
                self[number] = lane;
                number
            }
            None => {
                self.all.push(lane);
                // As many processes as all agents together may offer, 10 million, are fewer.
                LaneNumber(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.numbers.insert(process.clone(), number);
        number
    }

    /// Gives up a lane of which nobody has anything.
    pub(super) fn close_idle(&mut self, process: &ProcessId) {
        if let Some(number) = self.number(process).filter(|number| self[*number].is_idle()) {
            self.numbers.remove(process);
            self.unused.push(number);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.numbers.values().map(|number| &self[*number])
    }
}

impl Index<LaneNumber> for Lanes {
    type Output = Lane;

    fn index(&self, number: LaneNumber) -> &Lane {
        &self.all[number.0 as usize]
    }
}

impl IndexMut<LaneNumber> for Lanes {
    fn index_mut(&mut self, number: LaneNumber) -> &mut Lane {
        &mut self.all[number.0 as usize]
    }
}
