//! Runs at agents of WPS Remote: sent, refused, found again, followed, acknowledged.

use std::time::Instant;

use anabranch_model::{DataDescription, Error, ProcessId};
use anabranch_xmpp::Incoming;

use super::nick::Nick;
use super::run::{Due, WpsRun};
use super::{FINISH_DELAY, Finish, Occupant, REFUSED};
use crate::dispatch::AgentKey;
use crate::message::{CarriedValue, Execute, Message};
use crate::pool::command::{Ending, RunEvent};
use crate::pool::owner::{Phase, Pool, Run};
use crate::pool::runs::tell;
use crate::pool::timers::Timer;
use crate::post::post_body;
use crate::run_id::RunId;
use crate::wire::wps_remote::{self, Body, ExecutionId};
use crate::wire::{BODY_BYTES_MAX, EncodeError};

impl Pool {
    /// A run, or the agent about it, speaks.
    pub(super) fn on_wps_run(
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
                self.wps_say(from, &Body::session(Message::Finish));
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
                    self.wps_say(from, &Body::session(Message::Finish));
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

    /// Sends a run that is noted.
    pub(in crate::pool) fn wps_send_to(
        &mut self,
        id: RunId,
        key: &AgentKey,
        execute: Box<Execute>,
        now: Instant,
    ) {
        let request = match self.wps_request(id, &execute) {
            Ok(request) => request,
            Err(error) => return self.cannot_be_sent(id, key, error),
        };
        let Some(address) = self.wps_run_address(key, id) else {
            return self.cannot_be_sent(id, key, Error::internal("the agent has no address"));
        };
        let Some(run) = self.runs.get_mut(&id) else { return };
        let wps_run = Box::new(WpsRun::requested(address, request, now));
        run.phase = Phase::WpsRemote { agent: key.clone(), run: wps_run, execute: Some(execute) };
        tell(&run.mailbox, RunEvent::Sent { agent: key.to_string(), reattached: false });
        tracing::debug!(run = %id, agent = %key, "run sent");
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
        self.spare(&agent, now + REFUSED);
        self.queue_again(id, &agent, execute, now);
        true
    }

    /// A message of ours came back.
    pub(in crate::pool) fn on_wps_bounce(&mut self, incoming: &Incoming, now: Instant) {
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
    pub(super) fn wps_run_is_here(&mut self, id: RunId, now: Instant) {
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
            None if self.ended.has(&id) => self.wps_say(&address, &Body::session(Message::Abort)),
            // From before our start: someone may still ask for it.
            None => {}
        }
    }

    /// Goes on with a run from before our start, if its occupant is there.
    pub(in crate::pool) fn wps_resume(&mut self, id: RunId, now: Instant) {
        if self.wps.occupants.contains_key(&id) {
            self.wps_run_is_here(id, now);
        }
    }

    fn wps_find_again(&mut self, id: RunId, key: &AgentKey, from: &str, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let offers = self.dispatch.worker(key).is_some_and(|worker| worker.service(&run.process).is_some());
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
        self.dispatch.change(key, |worker| worker.take_slot(id, &process));
        self.agents_changed(now);
    }

    /// Changes a run, and does what follows from that.
    pub(in crate::pool) fn with_wps_run(
        &mut self,
        id: RunId,
        now: Instant,
        change: impl FnOnce(&mut WpsRun),
    ) {
        if let Some(Run { phase: Phase::WpsRemote { run, .. }, .. }) = self.runs.get_mut(&id) {
            change(run);
            self.flush_wps_run(id, now);
        }
    }

    /// Says and tells all that is due of a run.
    pub(in crate::pool) fn flush_wps_run(&mut self, id: RunId, now: Instant) {
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
            gone |= !tell(mailbox, RunEvent::Message { seq, message: Box::new(message) });
        }
        self.watch_run(id, sent);
        match due {
            _ if gone => self.abandon(id, now),
            Some(Due::Abort) => self.wps_say(&address, &Body::session(Message::Abort)),
            Some(Due::Lost(how)) => self.lose_run(id, how, now),
            None => {}
        }
    }

    /// A run is over here: its agent is told, where it waits for that.
    pub(in crate::pool) fn wps_close(
        &mut self,
        id: RunId,
        run: &WpsRun,
        ending: Option<Ending>,
        now: Instant,
    ) {
        match ending {
            Some(Ending::Completed) => {
                let finish = Finish { address: run.address.clone(), at: now + FINISH_DELAY };
                self.timers.set(Timer::Finish(id), finish.at);
                self.wps.finishes.insert(id, finish);
            }
            // It ends by itself.
            Some(Ending::Failed) => {}
            None if run.is_here() => self.wps_say(&run.address, &Body::session(Message::Abort)),
            // Told when it comes.
            None => {}
        }
    }
}
