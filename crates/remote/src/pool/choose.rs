//! Which agent gets a run: the one whose slots are the least taken, then the least busy machine.
//!
//! Runs already sent count at once, so a burst spreads although load reports come seconds later.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

use anabranch_model::ProcessId;

use super::OrchestratorSettings;
use super::agents::{AgentEntry, AgentKey};
use crate::load::Load;

/// The best agent that has a slot for a run of the process now.
pub(super) fn choose<'a>(
    process: &ProcessId,
    agents: &'a BTreeMap<AgentKey, AgentEntry>,
    settings: &OrchestratorSettings,
    now: Instant,
) -> Option<&'a AgentKey> {
    let free = agents.iter().filter(|(_, agent)| is_free(process, agent, settings, now));
    // `min_by` takes the first of equals, so ties go by name.
    free.min_by(|(_, a), (_, b)| rank(process, a, b)).map(|(key, _)| key)
}

fn is_free(process: &ProcessId, agent: &AgentEntry, settings: &OrchestratorSettings, now: Instant) -> bool {
    let Some(service) = agent.services.get(process) else { return false };
    agent.is_here()
        && agent.refuses_until.is_none_or(|until| until <= now)
        && agent.slots_taken().saturating_add(service.weight) <= agent.capacity
        && agent.runs_of(process) < service.runs_max as usize
        && agent.load.is_none_or(|load| !is_overloaded(load, settings))
}

fn is_overloaded(load: Load, settings: &OrchestratorSettings) -> bool {
    settings.cpu_percent_max.is_some_and(|max| load.cpu_percent >= max)
        || settings.memory_percent_max.is_some_and(|max| load.memory_percent >= max)
}

fn rank(process: &ProcessId, a: &AgentEntry, b: &AgentEntry) -> Ordering {
    let taken = |agent: &AgentEntry| {
        let weight = agent.slot(process).weight;
        f64::from(agent.slots_taken().saturating_add(weight)) / f64::from(agent.capacity.max(1))
    };
    let load = |agent: &AgentEntry| agent.load.unwrap_or_default();
    taken(a)
        .total_cmp(&taken(b))
        .then(load(a).cpu_percent.total_cmp(&load(b).cpu_percent))
        .then(load(a).memory_percent.total_cmp(&load(b).memory_percent))
}
