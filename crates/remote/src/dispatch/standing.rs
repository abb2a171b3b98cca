//! What is in the way of a run at an agent, and which of two agents is better.
//!
//! Of the agents that could take a run: first those below the thresholds, then those with the most preferred labels, then the
//! one that would be the least busy with it, counted as its share of slots taken plus what it last told of processors or
//! memory, whichever is scarcer. Runs already sent take slots at once, so a burst spreads although load reports come seconds
//! later.

use std::collections::{BTreeMap, BTreeSet};

use anabranch_model::ProcessId;

use super::worker::{Service, Worker};

/// How agents are judged; see the fields of the same names of
/// [`OrchestratorSettings`](crate::OrchestratorSettings).
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub cpu_percent_max: Option<f32>,
    pub memory_percent_max: Option<f32>,
    pub force: bool,
    pub preferred_labels: BTreeMap<ProcessId, BTreeSet<String>>,
}

/// Why an agent gets no run. Clients are shown these, and nothing that tells agents apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Away,
    Draining,
    /// By its own rules.
    Full,
    /// At or above the threshold.
    Memory,
    /// At or above the threshold.
    Cpu,
    Slots,
    /// It was offered one and did not take it: asked again soon.
    Refused,
}

impl Obstacle {
    pub(super) const ALL: [Self; 7] =
        [Self::Away, Self::Draining, Self::Full, Self::Memory, Self::Cpu, Self::Slots, Self::Refused];

    /// As it is said of several agents, after their number or after "all".
    #[must_use]
    pub fn text(self, rules: &Rules) -> String {
        let above = |max: Option<f32>, what| format!("above {} % {what}", max.unwrap_or_default());
        match self {
            Self::Away => "out of reach".into(),
            Self::Draining => "draining".into(),
            Self::Full => "full by their own rules".into(),
            Self::Memory => above(rules.memory_percent_max, "memory"),
            Self::Cpu => above(rules.cpu_percent_max, "cpu"),
            Self::Slots => "without free capacity".into(),
            Self::Refused => "refusing for the moment".into(),
        }
    }
}

/// How good an agent is for a run of one process: the least is taken. In the 96 lower bits, from the top: whether it is above a
/// threshold (1 bit), how many preferred labels it lacks (31), the bits of the share that would be taken (64), which is never
/// negative, so that their order is that of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rank(u128);

/// Labels told apart: an agent has a few dozen at most.
const MATCHING_MAX: u32 = (1 << 31) - 1;

impl Rank {
    fn new(above: bool, matching: u32, busy: f64) -> Self {
        let lacking = u128::from(MATCHING_MAX - matching.min(MATCHING_MAX));
        Self(u128::from(above) << 95 | lacking << 64 | u128::from(busy.to_bits()))
    }

    /// The order of ranks, with 32 bits to tell equal ones apart.
    pub(super) fn then(self, number: u32) -> u128 {
        self.0 << 32 | u128::from(number)
    }
}

/// What all services of an agent have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    obstacle: Option<Obstacle>,
    above: bool,
    refusing: bool,
    slots_taken: u64,
    capacity: u32,
    /// Of processors and memory, the scarcer, 0 to 1.
    scarcer: f64,
}

impl Situation {
    pub(super) fn of(worker: &Worker, rules: &Rules) -> Self {
        let threshold = above(worker, rules);
        let load = worker.load.unwrap_or_default();
        let scarcer = load.cpu_percent.max(load.memory_percent);
        Self {
            obstacle: closed(worker).or_else(|| threshold.filter(|_| !rules.force)),
            above: threshold.is_some(),
            refusing: worker.refuses_until.is_some(),
            slots_taken: worker.slots.taken(),
            capacity: worker.capacity,
            scarcer: if scarcer.is_nan() { 1.0 } else { f64::from(scarcer.clamp(0.0, 100.0)) / 100.0 },
        }
    }

    /// Nothing more can be sent to it, whatever it is.
    pub(super) fn takes_nothing(&self) -> bool {
        self.obstacle.is_some() || self.refusing || self.slots_taken >= u64::from(self.capacity)
    }

    /// How good it is for one more run of a service; `is_full` tells whether as many as it allows are under way.
    pub(super) fn standing(
        &self,
        service: &Service,
        matching: u32,
        is_full: impl FnOnce() -> bool,
    ) -> Result<Rank, Obstacle> {
        if let Some(obstacle) = self.obstacle {
            return Err(obstacle);
        }
        let slots = self.slots_taken + u64::from(service.weight);
        if slots > u64::from(self.capacity) || is_full() {
            return Err(Obstacle::Slots);
        }
        if self.refusing {
            return Err(Obstacle::Refused);
        }
        // 0 for an idle agent without any, 1 and more for one that has all it can do.
        let busy = slots as f64 / f64::from(self.capacity.max(1)) + self.scarcer;
        Ok(Rank::new(self.above, matching, busy))
    }
}

/// What is in the way of any run, for operators: thresholds also where they are no hard ones.
#[must_use]
pub fn obstacle(worker: &Worker, rules: &Rules) -> Option<Obstacle> {
    closed(worker).or_else(|| above(worker, rules))
}

fn closed(worker: &Worker) -> Option<Obstacle> {
    if !worker.here {
        Some(Obstacle::Away)
    } else if worker.is_draining() {
        Some(Obstacle::Draining)
    } else {
        worker.full.as_ref().map(|_| Obstacle::Full)
    }
}

fn above(worker: &Worker, rules: &Rules) -> Option<Obstacle> {
    let load = worker.load?;
    let reaches = |percent: f32, max: Option<f32>| max.is_some_and(|max| percent >= max);
    if reaches(load.memory_percent, rules.memory_percent_max) {
        return Some(Obstacle::Memory);
    }
    reaches(load.cpu_percent, rules.cpu_percent_max).then_some(Obstacle::Cpu)
}
