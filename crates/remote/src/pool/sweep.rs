//! What time brings: agents are lost, processes withdrawn, messages sent again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anabranch_model::ProcessId;

use super::OrchestratorSettings;
use super::agents::{Presence, Wire};
use super::command::RunEvent;
use super::owner::{Phase, Pool};
use super::runs::tell;
use super::timers::Timer;
use super::wps_remote;
use crate::dispatch::AgentKey;
use crate::run_id::RunId;

/// How long a lost agent is shown to operators.
const SHOWN: Duration = Duration::from_secs(15 * 60);

/// Silence is measured against what agents are asked to say.
pub(super) fn silent_after(settings: &OrchestratorSettings, wire: Wire) -> Duration {
    match wire {
        Wire::Native => settings.agent_silent.max(settings.load_interval * 3),
        Wire::WpsRemote { .. } => wps_remote::SILENT,
    }
}

impl Pool {
    /// Does all that is due.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop(now) {
            self.ring(timer, now);
        }
    }

    /// Looks at whoever it is for, and does what is due there.
    pub(super) fn ring(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Agent(key) => self.agent_due(&key, now),
            Timer::Offer(process) => self.review_offer(&process, now),
            Timer::Run(run) => self.run_due(run, now),
            Timer::Unclaimed(run) => self.unclaimed_due(run, now),
            Timer::Invite => self.ask_for_awaited(now),
            Timer::Closing(agent, run) => self.finish_due(&(agent, run), now),
            Timer::Finish(run) => self.wps_finish_due(run, now),
            // Done after every event.
            Timer::News | Timer::Info => {}
        }
    }

    /// Does all that follows from what has changed.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            self.pump(now);
            self.forget_withdrawn();
            let reviews = self.dispatch.take_reviews();
            if reviews.is_empty() {
                break;
            }
            for process in reviews {
                self.review_offer(&process, now);
            }
        }
        self.note_waiting();
        self.tell_news(now);
    }

    fn agent_due(&mut self, key: &AgentKey, now: Instant) {
        let Some(agent) = self.agents.get(key) else { return };
        if self.dispatch.worker(key).and_then(|worker| worker.refuses_until).is_some_and(|until| until <= now)
        {
            self.dispatch.change(key, |worker| worker.refuses_until = None);
        }
        match agent.presence() {
            Presence::Here { heard } if heard + silent_after(&self.settings, agent.wire) <= now => {
                self.lose_agent(key, "says nothing any more", now);
            }
            Presence::Away { lost: Some(at) } if at <= now => self.lose_agent(key, "is gone", now),
            Presence::Lost { forgotten } if forgotten <= now => {
                self.agents.remove(key);
                self.dispatch.forget(key);
                self.agents_changed(now);
            }
            Presence::Here { .. } => self.wps_ask(key, now),
            Presence::Away { .. } | Presence::Lost { .. } => {}
        }
        self.watch_agent(key);
    }

    /// Nothing more is expected of an agent: its runs are lost.
    pub(super) fn lose_agent(&mut self, key: &AgentKey, how: &str, now: Instant) {
        let Some(agent) = self.agents.get(key) else { return };
        tracing::warn!(agent = %key, how, "agent lost");
        if self.sessions.get(&agent.address) == Some(key) {
            self.sessions.remove(&agent.address);
        }
        self.set_presence(key, Presence::Lost { forgotten: now + SHOWN }, now);
        let lost = |run: &RunId| match self.runs.get(run).map(|run| &run.phase) {
            Some(Phase::Sent { .. }) => true,
            // What has an occupant of its own goes on without the agent.
            Some(Phase::WpsRemote { run, .. }) => !run.is_here(),
            // Once it is noted it goes back in the queue.
            Some(Phase::Queued { .. } | Phase::Noting { .. } | Phase::Awaiting { .. }) | None => false,
        };
        let runs: Vec<_> = self.runs_at(key).into_iter().filter(lost).collect();
        for run in runs {
            self.lose_run(run, how, now);
        }
        for run in self.unclaimed.of(key) {
            self.unclaimed.remove(run);
        }
        // Said again, should it come back, because the runs are noted as ended.
        for run in self.closing.of(key) {
            self.closing.remove(&(key.clone(), run));
        }
        let runs = &self.runs;
        self.dispatch.change(key, |worker| worker.slots.retain(|run| runs.contains_key(run)));
    }

    fn run_due(&mut self, id: RunId, now: Instant) {
        match self.runs.get(&id).map(|run| &run.phase) {
            Some(Phase::Awaiting { until }) if *until <= now => self.lose_awaited(id),
            // One that is away has its own time to come back.
            Some(Phase::Sent { agent, execute: Some(_), answer_by, .. })
                if *answer_by <= now && self.is_here(agent) =>
            {
                self.lose_unanswered(id, now);
            }
            Some(Phase::Sent { .. }) => self.flush_run(id, now),
            Some(Phase::WpsRemote { .. }) => self.flush_wps_run(id, now),
            Some(Phase::Awaiting { .. }) => self.watch_run(id, Ok(())),
            Some(Phase::Queued { .. } | Phase::Noting { .. }) | None => {}
        }
    }

    /// No agent has come with a run from before our start.
    pub(super) fn lose_awaited(&mut self, id: RunId) {
        self.ended.note(id);
        if let Some(run) = self.runs.remove(&id) {
            self.counters.runs_lost += 1;
            let reason = "no agent has told of the run since the server was restarted".into();
            tell(&run.mailbox, RunEvent::Lost { reason });
        }
    }

    fn unclaimed_due(&mut self, id: RunId, now: Instant) {
        let Some(unclaimed) = self.unclaimed.get(id) else { return };
        if self.settings.shared || unclaimed.until > now {
            self.ask_whether_wanted(id, now);
        } else if let Some(unclaimed) = self.unclaimed.remove(id) {
            self.ended.note(id);
            self.finish_held(&unclaimed.agent, &unclaimed.held, now);
        }
    }

    /// Goes on publishing a process, or not, as agents come and go.
    fn review_offer(&mut self, process: &ProcessId, now: Instant) {
        let offering = self.dispatch.offering(process);
        let Some(offer) = self.offers.get_mut(process) else { return };
        if offering.here > 0 {
            offer.withdraw = None;
            return;
        }
        let withdraw = *offer.withdraw.get_or_insert(now + self.settings.withdraw);
        if offering.all > 0 && withdraw > now {
            return self.timers.set(Timer::Offer(process.clone()), withdraw);
        }
        self.withdraw(process, now);
    }

    fn withdraw(&mut self, process: &ProcessId, now: Instant) {
        self.offers.remove(process);
        self.withdrawn.insert(process.clone());
        tracing::info!(%process, "withdrawn: no agent offers it");
        self.publisher.withdraw(process);
        for id in self.dispatch.unqueue_all(process) {
            if let Some(run) = self.runs.remove(&id) {
                self.counters.runs_lost += 1;
                let reason = format!("no agent offers '{process}' any more");
                tell(&run.mailbox, RunEvent::Lost { reason });
            }
        }
        self.agents_changed(now);
    }

    /// Agents that are away offer no more what is withdrawn: they say it again when they come.
    fn forget_withdrawn(&mut self) {
        let withdrawn: BTreeSet<ProcessId> = std::mem::take(&mut self.withdrawn);
        if withdrawn.is_empty() {
            return;
        }
        for (key, _) in self.agents.iter().filter(|(_, agent)| !agent.is_here()) {
            self.dispatch.retain(key, |process| !withdrawn.contains(process));
        }
    }
}
