//! Agents of GeoServer's WPS Remote, beside those that speak our own form: found by their nicknames, known by what they
//! register, asked for their load, given runs, and followed to the end of each.
//!
//! What they are not told: which runs they hold (their occupants show it), and that a run was taken (it shows by itself).
//! A run is bound to the account to which it was sent, and heard only from that agent's two addresses.

pub(super) mod nick;
mod run;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anabranch_model::{DataDescription, Error, ProcessId};
use anabranch_xmpp::{Incoming, OccupantChange};
use jiff::Timestamp;

use super::agents::{AGENTS_MAX, AgentEntry, AgentKey, Presence, Wire};
use super::command::{Ending, RunEvent};
use super::owner::{Phase, Pool, Run};
use super::runs::tell;
use crate::message::{CarriedValue, Execute, Message};
use crate::post::post_body;
use crate::run_id::RunId;
use crate::wire::wps_remote::{self, Body, ExecutionId, RUNS_MAX};
use crate::wire::{BODY_BYTES_MAX, DecodeError, EncodeError};
use nick::Nick;
use run::Due;
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
                    self.wps_say(address, &Body::session(Message::Invite), now);
                    self.wps_say(address, &Body::session(Message::LoadQuery), now);
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
        agent.capacity = RUNS_MAX;
        agent.last_seen = stamp;
        agent.presence = Presence::Here { heard: now };
        self.agents_changed(now);
        self.review_offers(now);
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
        if let Some(agent) = self.agents.get_mut(key) {
            agent.presence = Presence::Here { heard: now };
            agent.last_seen = Timestamp::now();
        }
        for message in messages {
            match message {
                Message::Register(register) => {
                    // One agent runs one service: an earlier one of another name is gone.
                    if let Some(agent) = self.agents.get_mut(key) {
                        agent.services.retain(|process, _| *process == register.description.id);
                    }
                    self.take_registration(key, register, now);
                    self.review_offers(now);
                }
                Message::Load(report) => {
                    if let Some(agent) = self.agents.get_mut(key) {
                        agent.load = Some(report.load);
                    }
                    self.agents_changed(now);
                    self.dispatch_all(now);
                }
                Message::Goodbye => {
                    if let Some(agent) = self.agents.get_mut(key) {
                        agent.services.clear();
                    }
                    self.agents_changed(now);
                    self.review_offers(now);
                }
                _ => return false,
            }
        }
        true
    }

    /// A run, or the agent about it, speaks.
    fn on_wps_run(
        &mut self,
        key: &AgentKey,
        from: &str,
        execution: &ExecutionId,
        messages: Vec<Message>,
        now: Instant,
    ) -> bool {
        let is_end = messages.last() == Some(&Message::Completed);
        let Ok(id) = execution.as_str().parse::<RunId>() else {
            // Of an orchestrator before us, under our nickname: it repeats its end until it is acknowledged.
            if is_end {
                self.wps_say(from, &Body::session(Message::Finish), now);
            }
            return is_end;
        };
        if matches!(self.runs.get(&id).map(|run| &run.phase), Some(Phase::Awaiting { .. })) {
            self.wps_find_again(id, key, from, now);
        }
        let master = self.agents.get(key).map(|agent| agent.address.as_str());
        match self.runs.get(&id) {
            Some(Run { phase: Phase::WpsRemote { agent, run, .. }, process, .. })
                if agent == key && (from == run.address || Some(from) == master) =>
            {
                if matches!(messages.first(), Some(Message::CannotExecute(_))) {
                    return self.wps_refused(id, now);
                }
                let process = process.clone();
                let messages = self.as_published(&process, messages);
                if let Some(Run { phase: Phase::WpsRemote { execute, .. }, .. }) = self.runs.get_mut(&id) {
                    *execute = None;
                }
                self.with_wps_run(id, now, |run| run.heard(messages));
                true
            }
            Some(_) => {
                tracing::warn!(agent = %key, run = %id, from, "an agent spoke about a run that it does not have");
                false
            }
            // Over here: said again by an agent that has not heard so. What a job may still ask for is left alone.
            None if is_end => {
                let waited = now.saturating_duration_since(self.started) >= self.settings.unclaimed;
                if (waited || self.ended.has(&id)) && !self.wps.finishes.contains_key(&id) {
                    self.wps_say(from, &Body::session(Message::Finish), now);
                }
                true
            }
            None => self.ended.has(&id),
        }
    }

    /// Outputs with the formats that are published: on the wire there is the declared type only. Without what is not published.
    fn as_published(&self, process: &ProcessId, messages: Vec<Message>) -> Vec<Message> {
        let Some(offer) = self.offers.get(process) else { return messages };
        let published = offer.process.published();
        let fit = |message| {
            let Message::Output(mut output) = message else { return Some(message) };
            let described = published.output(&output.id)?;
            if let (CarriedValue::Complex { format, .. }, DataDescription::Complex(domain)) =
                (&mut output.value, &described.data)
                && let Some(first) = domain.formats.first()
            {
                format.clone_from(first);
            }
            Some(Message::Output(output))
        };
        messages.into_iter().filter_map(fit).collect()
    }

    /// Sends a queued run to an agent.
    pub(super) fn wps_send_to(&mut self, id: RunId, key: &AgentKey, now: Instant) {
        let Some(Run { phase: Phase::Queued { execute }, .. }) = self.runs.get(&id) else { return };
        let execute = execute.clone();
        let request = match self.wps_request(id, &execute) {
            Ok(request) => request,
            Err(error) => return self.wps_cannot_be_sent(id, error),
        };
        let Some(address) = self.wps_run_address(key, id) else { return };
        self.handle.data.note_sent(id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let wps_run = Box::new(WpsRun::requested(address, request, now));
        run.phase = Phase::WpsRemote { agent: key.clone(), run: wps_run, execute: Some(execute) };
        tell(&run.mailbox, RunEvent::Sent { agent: key.to_string(), reattached: false });
        tracing::debug!(run = %id, agent = %key, "run sent");
        let process = run.process.clone();
        self.take_slot(key, id, &process);
        self.counters.runs_sent += 1;
        self.flush_wps_run(id, now);
        self.agents_changed(now);
    }

    fn wps_request(&self, id: RunId, execute: &Execute) -> Result<String, Error> {
        let message = Message::Execute(Box::new(execute.clone()));
        let body = Body { base_url: self.settings.base_url.clone(), ..Body::run(id.into(), message) };
        wps_remote::encode(&body).map_err(|error| match error {
            EncodeError::TooLarge { .. } => Error::TooLarge {
                what: "the list of all inputs of the remote process".into(),
                bytes_max: BODY_BYTES_MAX as u64,
            },
            EncodeError::Unwritable(reason) => Error::process_failed(reason),
        })
    }

    /// No agent of this form can be told: the end of the run.
    fn wps_cannot_be_sent(&mut self, id: RunId, error: Error) {
        self.ended.note(id);
        if let Some(run) = self.take_run(id) {
            self.counters.runs_failed += 1;
            tell(&run.mailbox, RunEvent::Refused(error));
        }
    }

    /// Where the occupant of a run is, or will be.
    fn wps_run_address(&self, key: &AgentKey, id: RunId) -> Option<String> {
        let (room, nick) = self.agents.get(key)?.address.split_once('/')?;
        Some(format!("{room}/{}", Nick::parse(nick)?.runs(&id.into())))
    }

    fn wps_refused(&mut self, id: RunId, now: Instant) -> bool {
        let Some(Run { phase: Phase::WpsRemote { agent, execute: Some(execute), .. }, .. }) =
            self.runs.get(&id)
        else {
            return false;
        };
        let (agent, execute) = (agent.clone(), execute.clone());
        tracing::info!(run = %id, %agent, "an agent refused a run");
        if let Some(entry) = self.agents.get_mut(&agent) {
            entry.refuses_until = Some(now + REFUSED);
        }
        self.queue_again(id, &agent, execute, now);
        true
    }

    /// A message of ours came back.
    pub(super) fn on_wps_bounce(&mut self, incoming: &Incoming, now: Instant) {
        let Some(id) = incoming.id.as_deref().and_then(|id| id.parse::<RunId>().ok()) else { return };
        let Some(Run { phase: Phase::WpsRemote { agent, run, execute: Some(_) }, .. }) = self.runs.get(&id)
        else {
            return;
        };
        let sent_there = self.agents.get(agent).is_some_and(|entry| entry.address == incoming.from);
        if sent_there && !run.is_begun() {
            self.wps_refused(id, now);
        }
    }

    /// The occupant of a run is in the room.
    fn wps_run_is_here(&mut self, id: RunId, now: Instant) {
        let Some(Occupant { agent, address }) = self.wps.occupants.get(&id) else { return };
        let (agent, address) = (agent.clone(), address.clone());
        match self.runs.get(&id).map(|run| &run.phase) {
            Some(Phase::WpsRemote { agent: sent_to, run, .. })
                if *sent_to == agent && run.address == address =>
            {
                self.with_wps_run(id, now, WpsRun::joined);
            }
            Some(Phase::Awaiting { .. }) => self.wps_find_again(id, &agent, &address, now),
            Some(_) => {
                tracing::warn!(run = %id, %agent, "an occupant is named as a run that its agent does not have")
            }
            None if self.ended.has(&id) => self.wps_say(&address, &Body::session(Message::Abort), now),
            // From before our start: someone may still ask for it.
            None => {}
        }
    }

    /// Goes on with a run from before our start, if its occupant is there.
    pub(super) fn wps_resume(&mut self, id: RunId, now: Instant) {
        if self.wps.occupants.contains_key(&id) {
            self.wps_run_is_here(id, now);
        }
    }

    fn wps_find_again(&mut self, id: RunId, key: &AgentKey, from: &str, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let offers = self.agents.get(key).is_some_and(|agent| agent.services.contains_key(&run.process));
        if !offers {
            return;
        }
        run.phase = Phase::WpsRemote {
            agent: key.clone(),
            run: Box::new(WpsRun::found(from.to_owned())),
            execute: None,
        };
        tell(&run.mailbox, RunEvent::Sent { agent: key.to_string(), reattached: true });
        tracing::info!(run = %id, agent = %key, "run found again");
        self.counters.runs_reattached += 1;
        let process = run.process.clone();
        self.take_slot(key, id, &process);
        self.agents_changed(now);
    }

    /// Changes a run, and does what follows from that.
    pub(super) fn with_wps_run(&mut self, id: RunId, now: Instant, change: impl FnOnce(&mut WpsRun)) {
        if let Some(Run { phase: Phase::WpsRemote { run, .. }, .. }) = self.runs.get_mut(&id) {
            change(run);
            self.flush_wps_run(id, now);
        }
    }

    /// Says and tells all that is due of a run.
    pub(super) fn flush_wps_run(&mut self, id: RunId, now: Instant) {
        let Some(Run { phase: Phase::WpsRemote { agent, run, .. }, mailbox, .. }) = self.runs.get_mut(&id)
        else {
            return;
        };
        let mut sent = Ok(());
        if let Some(request) = &run.request
            && let Some(entry) = self.agents.get(agent).filter(|entry| entry.is_here())
        {
            sent = post_body(&self.sender, &entry.address, request.clone(), Some(id.to_string()));
            if sent.is_ok() {
                run.request = None;
            }
        }
        let due = run.due(now);
        let address = run.address.clone();
        let mut gone = false;
        while let Some((seq, message)) = run.deliver() {
            gone |= !tell(mailbox, RunEvent::Message { seq, message });
        }
        self.note_send(sent, now);
        match due {
            _ if gone => self.abandon(id, now),
            Some(Due::Abort) => self.wps_say(&address, &Body::session(Message::Abort), now),
            Some(Due::Lost(how)) => self.lose_run(id, how, now),
            None => {}
        }
    }

    /// A run is over here: its agent is told, where it waits for that.
    pub(super) fn wps_close(&mut self, id: RunId, run: &WpsRun, ending: Option<Ending>, now: Instant) {
        match ending {
            Some(Ending::Completed) => {
                let finish = Finish { address: run.address.clone(), at: now + FINISH_DELAY };
                self.wps.finishes.insert(id, finish);
            }
            // It ends by itself.
            Some(Ending::Failed) => {}
            None if run.is_here() => self.wps_say(&run.address, &Body::session(Message::Abort), now),
            // Told when it comes.
            None => {}
        }
    }

    /// Does what is due.
    pub(super) fn wps_sweep(&mut self, now: Instant) {
        let due: Vec<_> = self.wps.finishes.extract_if(|_, finish| finish.at <= now).collect();
        for (_, finish) in due {
            self.wps_say(&finish.address, &Body::session(Message::Finish), now);
        }
        let mut asked = Vec::new();
        for agent in self.agents.values_mut().filter(|agent| agent.is_here()) {
            if let Wire::WpsRemote { ask } = &mut agent.wire
                && *ask <= now
            {
                *ask = now + ASK;
                asked.push((agent.address.clone(), agent.services.is_empty()));
            }
        }
        for (address, invite) in asked {
            if invite {
                self.wps_say(&address, &Body::session(Message::Invite), now);
            }
            self.wps_say(&address, &Body::session(Message::LoadQuery), now);
        }
    }

    /// When something is due.
    pub(super) fn wps_deadline(&self) -> Option<Instant> {
        let finishes = self.wps.finishes.values().map(|finish| finish.at);
        let asks =
            self.agents.values().filter(|agent| agent.is_here()).filter_map(|agent| match agent.wire {
                Wire::WpsRemote { ask } => Some(ask),
                Wire::Native => None,
            });
        finishes.chain(asks).min()
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
        for run in self.runs.values_mut() {
            if let Phase::WpsRemote { run, .. } = &mut run.phase {
                run.link_up(now);
            }
        }
    }

    /// Says something that nobody repeats but who says it.
    fn wps_say(&mut self, address: &str, body: &Body, now: Instant) {
        let sent = match wps_remote::encode(body) {
            Ok(text) => post_body(&self.sender, address, text, None),
            Err(error) => {
                tracing::error!(%error, "a message can't be sent");
                Ok(())
            }
        };
        self.note_send(sent, now);
    }
}
