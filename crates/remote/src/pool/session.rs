//! What happens on the session: agents come, introduce themselves, register, and go.

use std::sync::Arc;
use std::time::Instant;

use anabranch_model::group::{GROUP_DEPTH_MAX, groups_around};
use anabranch_model::{DataDescription, ProcessDescription, ProcessId, id::check_identifier};
use anabranch_xmpp::{Incoming, MessageKind, OccupantChange};
use jiff::Timestamp;

use super::agents::{AGENTS_MAX, AgentEntry, Presence, SERVICES_MAX, Wire};
use super::owner::{Offer, Pool};
use super::wps_remote::nick::Nick;
use crate::dispatch::{AgentKey, Service};
use crate::message::{
    Hello, LABELS_MAX, LoadReport, Message, RUNS_HELD_MAX, Register, Registered, Unregister, Welcome,
    is_label,
};
use crate::proxy::RemoteProcess;
use crate::wire::{self, Envelope};

/// Longest text in which an agent says why it is full, in characters.
const FULL_CHARS_MAX: usize = 200;

/// Most inputs, most outputs and most groups of a process.
const PARAMETERS_MAX: usize = 500;

impl Pool {
    pub(super) fn session_up(&mut self, jid: &str, now: Instant) {
        tracing::info!(jid, "connected to the XMPP server");
        self.counters.online = true;
        let away = Presence::Away { lost: Some(now + self.settings.agent_lost) };
        self.set_presences(away, now, |presence| presence == Presence::Away { lost: None });
        self.wps_session_up(now);
    }

    /// Nothing is known of agents while our own session is down, so their clocks stand still.
    pub(super) fn session_down(&mut self, reason: &str, now: Instant) {
        tracing::warn!(reason, "disconnected from the XMPP server");
        self.counters.online = false;
        self.sessions.clear();
        self.wps_session_down();
        self.set_presences(Presence::Away { lost: None }, now, |presence| {
            matches!(presence, Presence::Here { .. } | Presence::Away { .. })
        });
    }

    fn set_presences(&mut self, presence: Presence, now: Instant, of: impl Fn(Presence) -> bool) {
        let agents = self.agents.iter().filter(|(_, agent)| of(agent.presence()));
        for key in agents.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.set_presence(&key, presence, now);
        }
    }

    pub(super) fn occupant(
        &mut self,
        room: &str,
        nick: &str,
        real_jid: Option<&str>,
        change: OccupantChange,
        now: Instant,
    ) {
        let address = &format!("{room}/{nick}");
        if let Some(nick) = Nick::parse(nick) {
            self.wps_occupant(address, nick, real_jid, change, now);
        }
        match change {
            // It introduces itself when it sees us.
            OccupantChange::Joined => {}
            OccupantChange::Left => {
                let Some(key) = self.sessions.remove(address) else { return };
                let lost = now + self.settings.agent_lost;
                let agent = self.agents.get(&key).filter(|agent| agent.address == *address);
                if agent.is_some_and(AgentEntry::is_here) {
                    tracing::info!(agent = %key, "agent left the room");
                    self.set_presence(&key, Presence::Away { lost: Some(lost) }, now);
                }
            }
        }
    }

    pub(super) fn on_message(&mut self, incoming: &Incoming, now: Instant) {
        if incoming.kind == MessageKind::Error {
            // What could not be delivered is repeated, or its receiver has left.
            tracing::debug!(
                from = incoming.from,
                condition = incoming.error_condition(),
                "a message bounced"
            );
            self.on_wps_bounce(incoming, now);
            return;
        }
        match wire::find(&incoming.payloads) {
            None => {
                if let Some(body) =
                    incoming.body.as_deref().and_then(|text| wire::wps_remote::decode(text, None))
                {
                    self.on_wps_body(incoming, body, now);
                }
            }
            Some(Ok(envelope)) => {
                self.counters.messages_received += 1;
                self.on_envelope(incoming, envelope, now);
            }
            Some(Err(error)) => {
                self.counters.messages_rejected += 1;
                tracing::warn!(from = incoming.from, %error, "a message was not understood");
                self.say(&incoming.from, &Envelope::session(error.answer()));
            }
        }
    }

    fn on_envelope(&mut self, incoming: &Incoming, envelope: Envelope, now: Instant) {
        if let Message::Hello(hello) = envelope.message {
            return self.hello(incoming, hello, now);
        }
        let Some(key) = self.known(incoming) else { return self.invite(&incoming.from, now) };
        self.heard(&key, now);
        match envelope.message {
            Message::Register(register) => self.register(&key, register, now),
            Message::Unregister(unregister) => self.unregister(&key, unregister, now),
            Message::Load(report) => self.load(&key, report, now),
            Message::Goodbye => self.goodbye(&key, now),
            Message::NotUnderstood(answer) => {
                tracing::warn!(agent = %key, what = answer.what, reason = answer.reason, "agent did not understand");
            }
            message => match envelope.run {
                Some(run) => self.on_run_message(&key, run, Envelope { message, ..envelope }, now),
                None => self.counters.messages_rejected += 1,
            },
        }
    }

    /// Who said it: the agent that introduced itself from there, if the XMPP server still vouches for the same account.
    fn known(&self, incoming: &Incoming) -> Option<AgentKey> {
        let key = self.sessions.get(&incoming.from)?;
        let said_by = AgentKey::new(incoming.real_jid.as_deref(), &key.instance)?;
        (said_by == *key).then(|| key.clone())
    }

    /// Asks a stranger to introduce itself, at most once a second.
    fn invite(&mut self, address: &str, now: Instant) {
        self.counters.messages_rejected += 1;
        if self.invited.note((address.to_owned(), self.second(now))) {
            self.say(address, &Envelope::session(Message::Invite));
        }
    }

    fn hello(&mut self, incoming: &Incoming, hello: Hello, now: Instant) {
        let Some(key) = AgentKey::new(incoming.real_jid.as_deref(), &hello.instance) else {
            self.counters.messages_rejected += 1;
            tracing::warn!(
                from = incoming.from,
                "an agent whose account the room does not show is not taken"
            );
            return;
        };
        if !hello.wires.iter().any(|wire| wire == wire::NATIVE) {
            self.counters.messages_rejected += 1;
            tracing::warn!(agent = %key, wires = ?hello.wires, "an agent speaks no wire form known here");
            let error = wire::DecodeError::Version { namespace: hello.wires.join(", ") };
            return self.say(&incoming.from, &Envelope::session(error.answer()));
        }
        if !self.agents.contains_key(&key) && self.agents.len() >= AGENTS_MAX {
            self.counters.messages_rejected += 1;
            tracing::error!(agent = %key, AGENTS_MAX, "no more agents are taken");
            return;
        }
        self.greet(&key, &incoming.from, &hello, now);
        self.reconcile(&key, hello, now);
        self.agents_changed(now);
    }

    /// The agent is here, at this address.
    fn greet(&mut self, key: &AgentKey, address: &str, hello: &Hello, now: Instant) {
        let stamp = Timestamp::now();
        let new = || AgentEntry::new(Wire::Native, stamp, now);
        let agent = self.agents.entry(key.clone()).or_insert_with(new);
        if agent.address != address {
            self.sessions.remove(&agent.address);
            address.clone_into(&mut agent.address);
        }
        self.sessions.insert(address.to_owned(), key.clone());
        agent.wire = Wire::Native;
        agent.version.clone_from(&hello.version);
        self.heard(key, now);
        self.dispatch.change(key, |worker| worker.capacity = hello.capacity);
        let labels = hello.labels.iter().filter(|label| is_label(label)).take(LABELS_MAX);
        self.dispatch.label(key, labels.cloned().collect());
        let welcome = Message::Welcome(Welcome {
            incarnation: hello.incarnation.clone(),
            version: self.settings.version.clone(),
            wire: wire::NATIVE.into(),
            load_interval_ms: u64::try_from(self.settings.load_interval.as_millis()).unwrap_or(u64::MAX),
        });
        self.say(address, &Envelope::session(welcome));
    }

    /// Makes what we think of the agent's runs agree with what it holds.
    fn reconcile(&mut self, key: &AgentKey, mut hello: Hello, now: Instant) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let restarted = agent.incarnation != hello.incarnation;
        if restarted {
            tracing::info!(agent = %key, version = hello.version, runs = hello.runs.len(), "agent introduced itself");
            agent.incarnation.clone_from(&hello.incarnation);
            agent.since = agent.last_seen;
            self.dispatch.retain(key, |_| false);
            self.dispatch.change(key, |worker| {
                worker.refuses_until = None;
                (worker.draining, worker.drain_order, worker.full) = (false, None, None);
            });
        }
        hello.runs.truncate(RUNS_HELD_MAX);
        self.lose_runs_not_held(key, &hello, restarted, now);
        for held in hello.runs {
            self.on_held_run(key, held, now);
        }
    }

    fn register(&mut self, key: &AgentKey, register: Register, now: Instant) {
        let (process, revision) = (register.description.id.clone(), register.revision);
        let refused = self.take_registration(key, register, now);
        self.answer_registration(key, Registered { revision, process, refused });
    }

    /// Publishes what an agent offers; gives the reason where it is not taken.
    pub(super) fn take_registration(
        &mut self,
        key: &AgentKey,
        register: Register,
        now: Instant,
    ) -> Option<String> {
        let process = register.description.id.clone();
        let refused = match self.take_service(key, register) {
            Ok(description) => {
                self.offer(&process, description);
                None
            }
            Err(reason) => {
                tracing::warn!(agent = %key, %process, reason, "a process is not published");
                Some(reason)
            }
        };
        self.agents_changed(now);
        refused
    }

    /// Notes the service; gives the description where it is to be published.
    fn take_service(
        &mut self,
        key: &AgentKey,
        register: Register,
    ) -> Result<Option<Arc<ProcessDescription>>, String> {
        check_description(&register.description)?;
        let id = &register.description.id;
        if !self.publisher.may_offer(&key.account, id) {
            return Err(format!("agents of {} may not offer it", key.account));
        }
        let Some(worker) = self.dispatch.worker(key) else { return Ok(None) };
        if worker.service(id).is_some_and(|service| service.revision > register.revision) {
            return Ok(None);
        }
        if register.weight > worker.capacity {
            return Err(format!(
                "a run takes {} slots, and the agent has {}",
                register.weight, worker.capacity
            ));
        }
        if worker.processes().len() >= SERVICES_MAX && worker.service(id).is_none() {
            return Err(format!("an agent may offer at most {SERVICES_MAX} processes"));
        }
        let service = Service {
            revision: register.revision,
            runs_max: register.runs_max,
            weight: register.weight.max(1),
            preferred: preferred(register.preferred_labels),
        };
        self.dispatch.offer(key, id, service);
        Ok(Some(register.description))
    }

    /// Publishes a process, or again where its description has changed: the newest one wins.
    fn offer(&mut self, process: &ProcessId, description: Option<Arc<ProcessDescription>>) {
        let Some(description) = description else { return };
        if let Some(offer) = self.offers.get_mut(process) {
            offer.withdraw = None;
            if *offer.process.published() == *description {
                return;
            }
            tracing::warn!(%process, "the description of a process has changed; the newest one is published");
        } else {
            tracing::info!(%process, "published");
        }
        let remote = Arc::new(RemoteProcess::new(description, self.handle.clone()));
        self.offers.insert(process.clone(), Offer { process: Arc::clone(&remote), withdraw: None });
        self.publisher.publish(remote);
    }

    fn unregister(&mut self, key: &AgentKey, unregister: Unregister, now: Instant) {
        let Unregister { revision, process } = unregister;
        let service = self.dispatch.worker(key).and_then(|worker| worker.service(&process));
        if service.is_some_and(|service| service.revision < revision) {
            self.dispatch.unoffer(key, &process);
            tracing::info!(agent = %key, %process, "agent offers a process no more");
        }
        self.answer_registration(key, Registered { revision, process, refused: None });
        self.agents_changed(now);
    }

    fn answer_registration(&self, key: &AgentKey, registered: Registered) {
        if let Some(address) = self.agents.get(key).map(|agent| agent.address.clone()) {
            self.say(&address, &Envelope::session(Message::Registered(registered)));
        }
    }

    fn load(&mut self, key: &AgentKey, report: LoadReport, now: Instant) {
        self.dispatch.change(key, |worker| {
            worker.load = Some(report.load);
            worker.refuses_until = None;
            worker.draining = report.draining;
            worker.full = report.full.map(|text| text.chars().take(FULL_CHARS_MAX).collect());
        });
        self.repeat_drain_order(key);
        self.agents_changed(now);
    }

    /// It left in good order: nothing of it goes on, so nobody waits for it.
    fn goodbye(&mut self, key: &AgentKey, now: Instant) {
        tracing::info!(agent = %key, "agent said goodbye");
        self.dispatch.retain(key, |_| false);
        self.lose_agent(key, "was stopped", now);
    }
}

fn preferred(labels: Vec<String>) -> Option<Arc<[String]>> {
    let labels: Vec<_> = labels.into_iter().filter(|label| is_label(label)).take(LABELS_MAX).collect();
    (!labels.is_empty()).then(|| labels.into())
}

/// What everything behind relies on, because descriptions of our own are made that way.
fn check_description(description: &ProcessDescription) -> Result<(), String> {
    if !description.id.as_str().contains(':') {
        return Err("the identifier of a remote process needs a namespace, as in 'default:Name'".into());
    }
    if description.outputs.is_empty() {
        return Err("a process needs an output".into());
    }
    let described = description.inputs.len().max(description.outputs.len()).max(description.groups.len());
    if described > PARAMETERS_MAX {
        return Err(format!("a process may have at most {PARAMETERS_MAX} inputs, outputs and groups"));
    }
    check_groups(description)?;
    let inputs = description.inputs.iter().map(|input| (&input.id, &input.data));
    let outputs = description.outputs.iter().map(|output| (&output.id, &output.data));
    check_parameters(inputs)?;
    check_parameters(outputs)?;
    match description.inputs.iter().find(|input| input.occurs.max.is_some_and(|max| max < input.occurs.min)) {
        Some(input) => Err(format!("input '{}' has to be given more often than it may be", input.id)),
        None => Ok(()),
    }
}

fn check_groups(description: &ProcessDescription) -> Result<(), String> {
    for group in &description.groups {
        check_identifier(&group.id).map_err(|error| error.to_string())?;
        if groups_around(&description.groups, &group.id).len() >= GROUP_DEPTH_MAX {
            return Err(format!("group '{}' lies in more than {} groups", group.id, GROUP_DEPTH_MAX - 1));
        }
        if let Some(unknown) = group.needs.iter().find(|id| description.input(id).is_none()) {
            return Err(format!("group '{}' needs '{unknown}', which is no input", group.id));
        }
    }
    Ok(())
}

fn check_parameters<'a>(
    parameters: impl Iterator<Item = (&'a String, &'a DataDescription)>,
) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for (id, data) in parameters {
        check_identifier(id).map_err(|e| e.to_string())?;
        if !seen.insert(id) {
            return Err(format!("'{id}' is described twice"));
        }
        let empty = match data {
            DataDescription::Literal(_) => false,
            DataDescription::BoundingBox(domain) => domain.crs.is_empty(),
            DataDescription::Complex(domain) => domain.formats.is_empty(),
        };
        if empty {
            return Err(format!("'{id}' has no format or coordinate reference system"));
        }
    }
    Ok(())
}
