//! Agents of GeoServer's WPS Remote, beside those that speak our own form: found by their nicknames, known by what they
//! register, asked for their load, given runs, and followed to the end of each.
//!
//! What they are not told: which runs they hold (their occupants show it), and that a run was taken (it shows by itself).
//! A run is bound to the account to which it was sent, and heard only from that agent's two addresses.

pub(super) mod nick;
mod run;
mod runs;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anabranch_xmpp::{Incoming, OccupantChange};
use jiff::Timestamp;

use super::agents::{AGENTS_MAX, AgentEntry, Wire};
use super::owner::{Phase, Pool};
use super::timers::Timer;
use crate::dispatch::AgentKey;
use crate::load::Load;
use crate::message::Message;
use crate::post::post_body;
use crate::run_id::RunId;
use crate::wire::DecodeError;
use crate::wire::wps_remote::{self, Body, RUNS_MAX};
use nick::Nick;
pub(super) use run::WpsRun;

/// How often agents are asked for their load, and those that have registered nothing for that.
const ASK: Duration = Duration::from_secs(10);

/// How long an agent may say nothing at all: it answers while it starts runs, but a busy machine is slow.
pub(super) const SILENT: Duration = Duration::from_secs(60);

/// How long an agent that refused a run is not asked: each refusal leaves a file behind at the original's.
const REFUSED: Duration = Duration::from_secs(10);

/// How long an end is kept at its agent: the engine has to write it down first, for a server that dies in between hears it again.
const FINISH_DELAY: Duration = Duration::from_secs(2);

/// Occupants of runs that are known of: as many as all agents may run.
const OCCUPANTS_MAX: usize = AGENTS_MAX * RUNS_MAX as usize;

/// What the pool knows besides its agents and runs.
#[derive(Default)]
pub(super) struct WpsRemote {
    /// Who runs what, as seen in the rooms.
    occupants: HashMap<RunId, Occupant>,
    /// Ends that are to be acknowledged.
    finishes: HashMap<RunId, Finish>,
}

struct Occupant {
    agent: AgentKey,
    address: String,
}

struct Finish {
    address: String,
    at: Instant,
}

impl Pool {
    /// Someone with a nickname as agents of WPS Remote have.
    pub(super) fn wps_occupant(
        &mut self,
        address: &str,
        nick: Nick<'_>,
        real_jid: Option<&str>,
        change: OccupantChange,
        now: Instant,
    ) {
        let execution = nick.execution().and_then(|execution| execution.as_str().parse::<RunId>().ok());
        match (change, execution) {
            (OccupantChange::Joined, Some(run)) => {
                let Some(agent) = AgentKey::new(real_jid, &nick.instance()) else { return };
                if self.wps.occupants.len() < OCCUPANTS_MAX {
                    let occupant = Occupant { agent, address: address.to_owned() };
                    self.wps.occupants.insert(run, occupant);
                }
                self.wps_run_is_here(run, now);
            }
            (OccupantChange::Left, Some(run)) => {
                if self.wps.occupants.get(&run).is_some_and(|occupant| occupant.address == address) {
                    self.wps.occupants.remove(&run);
                    self.with_wps_run(run, now, |run| run.left(now));
                }
            }
            (OccupantChange::Joined, None) if nick.is_master() => {
                let Some(key) = AgentKey::new(real_jid, &nick.instance()) else {
                    tracing::warn!(address, "an agent whose account the room does not show is not taken");
                    return;
                };
                if self.wps_meet(&key, address, now) {
                    self.wps_say(address, &Body::session(Message::Invite));
                    self.wps_say(address, &Body::session(Message::LoadQuery));
                }
            }
            // That a master has left is seen as with any agent; others run what is not ours.
            (OccupantChange::Left | OccupantChange::Joined, None) => {}
        }
    }

    /// An agent is here, at this address; `false` where it is not taken.
    fn wps_meet(&mut self, key: &AgentKey, address: &str, now: Instant) -> bool {
        if !self.agents.contains_key(key) && self.agents.len() >= AGENTS_MAX {
            self.counters.messages_rejected += 1;
            tracing::error!(agent = %key, AGENTS_MAX, "no more agents are taken");
            return false;
        }
        let stamp = Timestamp::now();
        let agent = self.agents.entry(key.clone()).or_insert_with(|| {
            tracing::info!(agent = %key, "an agent of WPS Remote is here");
            AgentEntry::new(Wire::WpsRemote { ask: now }, stamp, now)
        });
        if agent.address != address {
            self.sessions.remove(&agent.address);
            address.clone_into(&mut agent.address);
        }
        self.sessions.insert(address.to_owned(), key.clone());
        "of WPS Remote".clone_into(&mut agent.version);
        agent.wire = Wire::WpsRemote { ask: now + ASK };
        self.heard(key, now);
        self.watch_agent(key);
        self.dispatch.change(key, |worker| worker.capacity = RUNS_MAX);
        self.agents_changed(now);
        true
    }

    /// A message with a body of WPS Remote.
    pub(super) fn on_wps_body(&mut self, incoming: &Incoming, body: Result<Body, DecodeError>, now: Instant) {
        self.counters.messages_received += 1;
        let nick = incoming.nick.as_deref().and_then(Nick::parse);
        let key = nick.and_then(|nick| AgentKey::new(incoming.real_jid.as_deref(), &nick.instance()));
        let taken = match (body, nick, key) {
            (Ok(body), Some(nick), Some(key)) => match body.execution {
                Some(execution) => self.on_wps_run(&key, &incoming.from, &execution, body.messages, now),
                None if nick.is_master() => self.on_wps_master(&key, &incoming.from, body.messages, now),
                None => false,
            },
            (Err(error), ..) => {
                // Not answered: an agent of WPS Remote could make nothing of it.
                tracing::warn!(from = incoming.from, %error, "a message was not understood");
                false
            }
            (Ok(_), ..) => false,
        };
        if !taken {
            self.counters.messages_rejected += 1;
        }
    }

    /// An agent speaks of itself.
    fn on_wps_master(&mut self, key: &AgentKey, from: &str, messages: Vec<Message>, now: Instant) -> bool {
        let known = self.sessions.get(from) == Some(key);
        if !known && !self.wps_meet(key, from, now) {
            return false;
        }
        self.heard(key, now);
        for message in messages {
            match message {
                Message::Register(register) => {
                    // One agent runs one service: an earlier one of another name is gone.
                    self.dispatch.retain(key, |process| *process == register.description.id);
                    self.take_registration(key, register, now);
                }
                Message::Load(report) => {
                    // So the original's agents say that a program on their blacklist runs, and ours that they are full.
                    let Load { cpu_percent, memory_percent, .. } = report.load;
                    let is_full = cpu_percent >= 100.0 && memory_percent >= 100.0;
                    self.dispatch.change(key, |worker| {
                        worker.load = Some(report.load);
                        worker.full = is_full.then(|| "full: says 100 % of processors and memory".into());
                    });
                    self.agents_changed(now);
                }
                Message::Goodbye => {
                    self.dispatch.retain(key, |_| false);
                    self.agents_changed(now);
                }
                _ => return false,
            }
        }
        true
    }

    /// Acknowledges an end, when it is time.
    pub(super) fn wps_finish_due(&mut self, run: RunId, now: Instant) {
        let Some(finish) = self.wps.finishes.get(&run) else { return };
        if finish.at > now {
            return self.timers.set(Timer::Finish(run), finish.at);
        }
        if let Some(finish) = self.wps.finishes.remove(&run) {
            self.wps_say(&finish.address, &Body::session(Message::Finish));
        }
    }

    /// Asks an agent for its load, when it is time.
    pub(super) fn wps_ask(&mut self, key: &AgentKey, now: Instant) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let Wire::WpsRemote { ask } = &mut agent.wire else { return };
        if *ask > now {
            return;
        }
        *ask = now + ASK;
        let address = agent.address.clone();
        if self.dispatch.worker(key).is_some_and(|worker| worker.processes().len() == 0) {
            self.wps_say(&address, &Body::session(Message::Invite));
        }
        self.wps_say(&address, &Body::session(Message::LoadQuery));
    }

    /// Our own session is down: nobody can be seen.
    pub(super) fn wps_session_down(&mut self) {
        self.wps.occupants.clear();
        for run in self.runs.values_mut() {
            if let Phase::WpsRemote { run, .. } = &mut run.phase {
                run.link_down();
            }
        }
    }

    pub(super) fn wps_session_up(&mut self, now: Instant) {
        for (id, run) in &mut self.runs {
            if let Phase::WpsRemote { run, .. } = &mut run.phase {
                run.link_up(now);
                self.timers.set(Timer::Run(*id), now);
            }
        }
    }

    /// Says something that nobody repeats but who says it.
    fn wps_say(&self, address: &str, body: &Body) {
        match wps_remote::encode(body) {
            Ok(text) => {
                let _repeated = post_body(&self.sender, address, text, None);
            }
            Err(error) => tracing::error!(%error, "a message can't be sent"),
        }
    }
}
