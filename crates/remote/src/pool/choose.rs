//! Which agent gets a run, and why none does.
//!
//! Of the agents that could take it now: first those with the most preferred labels, then the one that would be the least
//! busy with it, counted as its share of slots taken plus what it last told of processors or memory, whichever is scarcer.
//! Runs already sent take slots at once, so a burst spreads although load reports come seconds later.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anabranch_model::ProcessId;

use super::OrchestratorSettings;
use super::agents::{AgentEntry, AgentKey, Service};
use crate::load::Load;

/// Why an agent gets no run. Clients are shown these, and nothing that tells agents apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Obstacle {
    Away,
    Draining,
    /// By its own rules.
    Full,
    /// It was offered one and did not take it: asked again soon.
    Refused,
    Cpu {
        percent_max: f32,
    },
    Memory {
        percent_max: f32,
    },
    Slots,
}

impl Obstacle {
    /// As it is said of several agents, after their number or after "all".
    pub(super) fn text(self) -> String {
        match self {
            Self::Away => "out of reach".into(),
            Self::Draining => "draining".into(),
            Self::Full => "full by their own rules".into(),
            Self::Refused => "refusing for the moment".into(),
            Self::Cpu { percent_max } => format!("above {percent_max} % cpu"),
            Self::Memory { percent_max } => format!("above {percent_max} % memory"),
            Self::Slots => "without free capacity".into(),
        }
    }
}

/// The best agent that has a slot for a run of the process now.
pub(super) fn choose<'a>(
    process: &ProcessId,
    agents: &'a BTreeMap<AgentKey, AgentEntry>,
    settings: &OrchestratorSettings,
    now: Instant,
) -> Option<&'a AgentKey> {
    let preferred = settings.preferred_labels.get(process);
    let best = |thresholds: Thresholds| {
        let free = agents.iter().filter_map(|(key, agent)| {
            let service = agent.services.get(process)?;
            obstacle(process, service, agent, thresholds, now).is_none().then_some((key, agent, service))
        });
        // `min_by` takes the first of equals, so ties go by name.
        free.min_by(|(_, a, of_a), (_, b, of_b)| rank(preferred, (a, of_a), (b, of_b))).map(|(key, ..)| key)
    };
    best(Thresholds::of(settings)).or_else(|| best(Thresholds::NONE).filter(|_| settings.force))
}

/// What an agent's load must be below, in percent.
#[derive(Clone, Copy)]
struct Thresholds {
    cpu: Option<f32>,
    memory: Option<f32>,
}

impl Thresholds {
    const NONE: Self = Self { cpu: None, memory: None };

    fn of(settings: &OrchestratorSettings) -> Self {
        Self { cpu: settings.cpu_percent_max, memory: settings.memory_percent_max }
    }
}

/// Why no agent has a slot for a run of the process now.
pub(super) fn why_none(
    process: &ProcessId,
    agents: &BTreeMap<AgentKey, AgentEntry>,
    settings: &OrchestratorSettings,
    now: Instant,
) -> String {
    // Where it is forced, being above them is in nobody's way.
    let thresholds = if settings.force { Thresholds::NONE } else { Thresholds::of(settings) };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for agent in agents.values() {
        let Some(service) = agent.services.get(process) else { continue };
        if let Some(obstacle) = obstacle(process, service, agent, thresholds, now) {
            *counts.entry(obstacle.text()).or_default() += 1;
        }
    }
    match counts.len() {
        0 => "none offers the process".into(),
        1 => counts.into_keys().map(|text| format!("all {text}")).collect(),
        _ => counts.iter().map(|(text, count)| format!("{count} {text}")).collect::<Vec<_>>().join(", "),
    }
}

/// What is in the way of a run of the process.
fn obstacle(
    process: &ProcessId,
    service: &Service,
    agent: &AgentEntry,
    thresholds: Thresholds,
    now: Instant,
) -> Option<Obstacle> {
    if let Some(obstacle) = of_any_run(agent, thresholds) {
        return Some(obstacle);
    }
    let taken = agent.slots_taken().saturating_add(service.weight) > agent.capacity;
    if taken || agent.runs_of(process) >= service.runs_max as usize {
        return Some(Obstacle::Slots);
    }
    agent.refuses_until.is_some_and(|until| until > now).then_some(Obstacle::Refused)
}

/// What is in the way of any run.
pub(super) fn standing(agent: &AgentEntry, settings: &OrchestratorSettings) -> Option<Obstacle> {
    of_any_run(agent, Thresholds::of(settings))
}

fn of_any_run(agent: &AgentEntry, thresholds: Thresholds) -> Option<Obstacle> {
    if !agent.is_here() {
        return Some(Obstacle::Away);
    }
    if agent.is_draining() {
        return Some(Obstacle::Draining);
    }
    if agent.full.is_some() {
        return Some(Obstacle::Full);
    }
    let load = agent.load?;
    let above = |percent: f32, max: Option<f32>| max.filter(|max| percent >= *max);
    if let Some(percent_max) = above(load.memory_percent, thresholds.memory) {
        return Some(Obstacle::Memory { percent_max });
    }
    above(load.cpu_percent, thresholds.cpu).map(|percent_max| Obstacle::Cpu { percent_max })
}

fn rank(
    preferred: Option<&BTreeSet<String>>,
    a: (&AgentEntry, &Service),
    b: (&AgentEntry, &Service),
) -> Ordering {
    let matching = |agent: &AgentEntry| {
        Reverse(preferred.map_or(0, |labels| labels.intersection(&agent.labels).count()))
    };
    matching(a.0).cmp(&matching(b.0)).then(busy_with(a).total_cmp(&busy_with(b)))
}

/// How busy an agent would be with one more run: 0 for an idle one without any, 1 and more for one that has all it can do.
fn busy_with((agent, service): (&AgentEntry, &Service)) -> f64 {
    let slots = agent.slots_taken().saturating_add(service.weight);
    let Load { cpu_percent, memory_percent, .. } = agent.load.unwrap_or_default();
    let scarcer = cpu_percent.max(memory_percent).clamp(0.0, 100.0);
    f64::from(slots) / f64::from(agent.capacity.max(1)) + f64::from(scarcer) / 100.0
}
