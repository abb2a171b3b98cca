//! What the pool knows of each agent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Instant;

use anabranch_model::ProcessId;
use jiff::Timestamp;

use super::choose::{Obstacle, standing};
use super::{AgentInfo, OrchestratorSettings};
use crate::load::Load;
use crate::post::bare;
use crate::run_id::RunId;

/// Agents kept, present or away: more are a mistake or an attack.
pub(super) const AGENTS_MAX: usize = 1000;

/// Processes taken of one agent.
pub(super) const SERVICES_MAX: usize = 500;

/// Longest instance name, in characters: a host name has at most 253.
const INSTANCE_CHARS_MAX: usize = 253;

/// Who an agent is. The account is vouched for by the XMPP server; the instance is the agent's own word and tells apart
/// only agents of one account, which trust each other as they share its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AgentKey {
    pub(super) account: String,
    pub(super) instance: String,
}

impl AgentKey {
    /// `None` where nobody vouches for the account.
    pub(super) fn new(real_jid: Option<&str>, instance: &str) -> Option<Self> {
        let account = bare(real_jid?);
        let instance = instance.chars().filter(|c| !c.is_control()).take(INSTANCE_CHARS_MAX).collect();
        Some(Self { account: account.to_owned(), instance })
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance.as_str() {
            "" => f.write_str(&self.account),
            instance => write!(f, "{}/{instance}", self.account),
        }
    }
}

/// Which wire form an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Native,
    /// That of WPS Remote: it tells its load only when it is asked, the next time then.
    WpsRemote {
        ask: Instant,
    },
}

/// One agent.
pub(super) struct AgentEntry {
    pub(super) wire: Wire,
    pub(super) address: String,
    pub(super) incarnation: String,
    pub(super) version: String,
    pub(super) capacity: u32,
    pub(super) services: BTreeMap<ProcessId, Service>,
    /// Runs that take its slots: sent to it, or held by it from before our start.
    pub(super) runs: HashMap<RunId, Slot>,
    pub(super) load: Option<Load>,
    pub(super) labels: BTreeSet<String>,
    /// It takes no new runs, by its own word.
    pub(super) draining: bool,
    /// What we told it of draining and it has not confirmed.
    pub(super) drain_order: Option<bool>,
    /// Why it takes no new runs by its own rules.
    pub(super) full: Option<String>,
    pub(super) since: Timestamp,
    pub(super) last_seen: Timestamp,
    pub(super) presence: Presence,
    /// It refused a run: ask again then, or when it tells its load.
    pub(super) refuses_until: Option<Instant>,
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Greeted, and last heard then.
    Here { heard: Instant },
    /// Left; its runs are lost then, unless it is back. `None` while our own session is down, and nothing is known.
    Away { lost: Option<Instant> },
    /// Its runs are lost; it is shown for a while, and forgotten then.
    Lost { forgotten: Instant },
}

/// A process as one agent offers it.
pub(super) struct Service {
    pub(super) revision: u64,
    pub(super) runs_max: u32,
    pub(super) weight: u32,
}

/// What a run takes of an agent.
pub(super) struct Slot {
    pub(super) process: ProcessId,
    pub(super) weight: u32,
}

impl AgentEntry {
    /// Seen for the first time.
    pub(super) fn new(wire: Wire, stamp: Timestamp, now: Instant) -> Self {
        Self {
            wire,
            address: String::new(),
            incarnation: String::new(),
            version: String::new(),
            capacity: 0,
            services: BTreeMap::new(),
            runs: HashMap::new(),
            load: None,
            labels: BTreeSet::new(),
            draining: false,
            drain_order: None,
            full: None,
            since: stamp,
            last_seen: stamp,
            presence: Presence::Here { heard: now },
            refuses_until: None,
        }
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here { .. })
    }

    /// What we told it counts before it has confirmed; some have no word for it.
    pub(super) fn is_draining(&self) -> bool {
        self.drain_order.unwrap_or(self.draining)
    }

    pub(super) fn slots_taken(&self) -> u32 {
        self.runs.values().fold(0, |sum, slot| sum.saturating_add(slot.weight))
    }

    pub(super) fn runs_of(&self, process: &ProcessId) -> usize {
        self.runs.values().filter(|slot| slot.process == *process).count()
    }

    /// What a run of the process takes of this agent.
    pub(super) fn slot(&self, process: &ProcessId) -> Slot {
        let weight = self.services.get(process).map_or(1, |service| service.weight);
        Slot { process: process.clone(), weight }
    }

    /// What is in the way of any run, for operators.
    fn obstacle(&self, settings: &OrchestratorSettings) -> Option<String> {
        Some(match (standing(self, settings)?, &self.full) {
            (Obstacle::Draining, _) if self.runs.is_empty() => "drained".into(),
            (Obstacle::Full, Some(reason)) => reason.clone(),
            (obstacle, _) => obstacle.text(),
        })
    }

    pub(super) fn info(&self, key: &AgentKey, settings: &OrchestratorSettings) -> AgentInfo {
        AgentInfo {
            name: key.to_string(),
            address: self.address.clone(),
            services: self.services.keys().cloned().collect(),
            capacity: self.capacity,
            running: u32::try_from(self.runs.len()).unwrap_or(u32::MAX),
            load: self.load,
            version: self.version.clone(),
            since: self.since,
            last_seen: self.last_seen,
            connected: self.is_here(),
            labels: self.labels.iter().cloned().collect(),
            draining: self.is_draining(),
            obstacle: self.obstacle(settings),
        }
    }
}
