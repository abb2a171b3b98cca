//! What the pool knows of each agent besides what the [dispatcher](crate::dispatch) does: how it is reached, and since when.

use std::time::Instant;

use jiff::Timestamp;

use super::AgentInfo;
use super::owner::Pool;
use super::sweep::silent_after;
use super::timers::Timer;
use crate::dispatch::{self, AgentKey, Dispatcher, Obstacle, Worker};

/// Agents kept, present or away: more are a mistake or an attack. One with 100 services takes some 15 KB.
pub(super) const AGENTS_MAX: usize = 20_000;

/// Processes taken of one agent.
pub(super) const SERVICES_MAX: usize = 500;

/// Which wire form an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Native,
    /// That of WPS Remote: it tells its load only when it is asked, the next time then.
    WpsRemote {
        ask: Instant,
    },
}

/// One agent. What it offers, takes and runs is the dispatcher's.
pub(super) struct AgentEntry {
    pub(super) wire: Wire,
    pub(super) address: String,
    pub(super) incarnation: String,
    pub(super) version: String,
    pub(super) since: Timestamp,
    pub(super) last_seen: Timestamp,
    presence: Presence,
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

impl AgentEntry {
    /// Seen for the first time; of no use until its presence is noted.
    pub(super) fn new(wire: Wire, stamp: Timestamp, now: Instant) -> Self {
        Self {
            wire,
            address: String::new(),
            incarnation: String::new(),
            version: String::new(),
            since: stamp,
            last_seen: stamp,
            presence: Presence::Lost { forgotten: now },
        }
    }

    pub(super) fn presence(&self) -> Presence {
        self.presence
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here { .. })
    }

    pub(super) fn info(&self, key: &AgentKey, dispatch: &Dispatcher) -> Option<AgentInfo> {
        let worker = dispatch.worker(key)?;
        Some(AgentInfo {
            name: key.to_string(),
            address: self.address.clone(),
            services: worker.listed(),
            capacity: worker.capacity,
            running: u32::try_from(worker.slots.runs().len()).unwrap_or(u32::MAX),
            load: worker.load,
            version: self.version.clone(),
            since: self.since,
            last_seen: self.last_seen,
            connected: self.is_here(),
            labels: worker.labels().iter().cloned().collect(),
            draining: worker.is_draining(),
            obstacle: obstacle(worker, dispatch),
        })
    }
}

/// What is in the way of any run, for operators.
fn obstacle(worker: &Worker, dispatch: &Dispatcher) -> Option<String> {
    Some(match (dispatch::obstacle(worker, dispatch.rules())?, &worker.full) {
        (Obstacle::Draining, _) if worker.slots.runs().len() == 0 => "drained".into(),
        (Obstacle::Full, Some(reason)) => reason.clone(),
        (obstacle, _) => obstacle.text(dispatch.rules()),
    })
}

impl Pool {
    pub(super) fn is_here(&self, agent: &AgentKey) -> bool {
        self.agents.get(agent).is_some_and(AgentEntry::is_here)
    }

    /// Something has been heard of an agent.
    pub(super) fn heard(&mut self, key: &AgentKey, now: Instant) {
        if let Some(agent) = self.agents.get_mut(key) {
            agent.last_seen = Timestamp::now();
        }
        self.set_presence(key, Presence::Here { heard: now }, now);
    }

    /// Whether an agent is there, from now on.
    pub(super) fn set_presence(&mut self, key: &AgentKey, presence: Presence, now: Instant) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let was_here = agent.is_here();
        agent.presence = presence;
        let is_here = agent.is_here();
        if was_here && is_here {
            return;
        }
        self.watch_agent(key);
        self.dispatch.change(key, |worker| worker.here = is_here);
        self.agents_changed(now);
        if is_here {
            self.resume_links(key, now);
        }
    }

    /// What waited for an agent to be here again is due.
    fn resume_links(&mut self, key: &AgentKey, now: Instant) {
        for run in self.runs_at(key) {
            self.timers.set(Timer::Run(run), now);
        }
        for run in self.closing.of(key) {
            self.timers.set(Timer::Closing(key.clone(), run), now);
        }
    }

    /// Sets the timer of an agent for what is due next.
    pub(super) fn watch_agent(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let presence = match agent.presence {
            Presence::Here { heard } => Some(heard + silent_after(&self.settings, agent.wire)),
            Presence::Away { lost } => lost,
            Presence::Lost { forgotten } => Some(forgotten),
        };
        let ask = match agent.wire {
            Wire::WpsRemote { ask } if agent.is_here() => Some(ask),
            Wire::WpsRemote { .. } | Wire::Native => None,
        };
        let refusal = self.dispatch.worker(key).and_then(|worker| worker.refuses_until);
        if let Some(first) = [presence, ask, refusal].into_iter().flatten().min() {
            self.timers.set(Timer::Agent(key.clone()), first);
        }
    }

    /// An agent that refused a run, or left one unanswered, gets none until then.
    pub(super) fn spare(&mut self, key: &AgentKey, until: Instant) {
        self.dispatch.change(key, |worker| worker.refuses_until = Some(until));
        self.watch_agent(key);
    }
}
