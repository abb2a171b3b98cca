//! What time brings: agents are lost, processes withdrawn, messages sent again.

use std::time::{Duration, Instant};

use anabranch_model::ProcessId;

use super::OrchestratorSettings;
use super::agents::{AgentKey, Presence, Wire};
use super::command::RunEvent;
use super::owner::{Offer, Phase, Pool};
use super::runs::tell;
use super::wps_remote;
use crate::post::now;

/// How long a lost agent is shown to operators.
const SHOWN: Duration = Duration::from_secs(15 * 60);

/// Longest sleep: closed mailboxes of runs whose farewell did not fit into the queue are found then.
const IDLE: Duration = Duration::from_secs(5);

/// Silence is measured against what agents are asked to say.
fn silent_after(settings: &OrchestratorSettings, wire: Wire) -> Duration {
    match wire {
        Wire::Native => settings.agent_silent.max(settings.load_interval * 3),
        Wire::WpsRemote { .. } => wps_remote::SILENT,
    }
}

impl Pool {
    /// When the next thing is due.
    pub(super) fn deadline(&mut self) -> Instant {
        let idle = now() + IDLE;
        let settings = &self.settings;
        let agents = self.agents.values().filter_map(|agent| match agent.presence {
            Presence::Here { heard } => Some(heard + silent_after(settings, agent.wire)),
            Presence::Away { lost } => lost,
            Presence::Lost { forgotten } => Some(forgotten),
        });
        let refusals = self.agents.values().filter_map(|agent| agent.refuses_until);
        let offers = self.offers.values().filter_map(|offer| offer.withdraw);
        let runs = self.runs.values().filter_map(|run| match &run.phase {
            Phase::Queued { .. } => None,
            Phase::Awaiting { until } => Some(*until),
            Phase::Sent { agent, link, .. } => link.deadline().filter(|_| self.is_here(agent)),
            Phase::WpsRemote { run, .. } => run.deadline(),
        });
        let unclaimed = self.unclaimed.values().map(|unclaimed| unclaimed.until);
        let closing = self.closing.iter().filter_map(|((agent, _), closing)| match closing.finish {
            Some(finish) => Some(finish.at),
            None => closing.link.deadline().filter(|_| self.is_here(agent)),
        });
        let first = agents
            .chain(self.wps_deadline())
            .chain(refusals)
            .chain(offers)
            .chain(runs)
            .chain(unclaimed)
            .chain(closing)
            .min();
        let own = [*self.retry_send(), self.info_due()].into_iter().flatten().min();
        first.into_iter().chain(own).fold(idle, Instant::min)
    }

    fn is_here(&self, agent: &AgentKey) -> bool {
        self.agents.get(agent).is_some_and(super::agents::AgentEntry::is_here)
    }

    /// Does all that is due.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.retry_send().is_some_and(|at| at <= now) {
            *self.retry_send() = None;
        }
        self.sweep_agents(now);
        self.sweep_runs(now);
        self.sweep_closing(now);
        self.wps_sweep(now);
        self.review_offers(now);
        self.dispatch_all(now);
    }

    fn sweep_agents(&mut self, now: Instant) {
        let mut lost = Vec::new();
        for (key, agent) in &mut self.agents {
            let silent = silent_after(&self.settings, agent.wire);
            if agent.refuses_until.is_some_and(|until| until <= now) {
                agent.refuses_until = None;
            }
            match agent.presence {
                Presence::Here { heard } if heard + silent <= now => {
                    lost.push((key.clone(), "says nothing any more"));
                }
                Presence::Away { lost: Some(at) } if at <= now => lost.push((key.clone(), "is gone")),
                Presence::Here { .. } | Presence::Away { .. } | Presence::Lost { .. } => {}
            }
        }
        for (key, how) in lost {
            self.lose_agent(&key, how, now);
        }
        let count = self.agents.len();
        self.agents.retain(|_, agent| match agent.presence {
            Presence::Lost { forgotten } => forgotten > now,
            Presence::Here { .. } | Presence::Away { .. } => true,
        });
        if self.agents.len() != count {
            self.agents_changed(now);
        }
    }

    /// Nothing more is expected of an agent: its runs are lost.
    pub(super) fn lose_agent(&mut self, key: &AgentKey, how: &str, now: Instant) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        tracing::warn!(agent = %key, how, "agent lost");
        agent.presence = Presence::Lost { forgotten: now + SHOWN };
        self.sessions.retain(|_, at| at != key);
        let held = |phase: &Phase| match phase {
            Phase::Sent { agent, .. } => agent == key,
            // What has an occupant of its own goes on without the agent.
            Phase::WpsRemote { agent, run, .. } => agent == key && !run.is_here(),
            Phase::Queued { .. } | Phase::Awaiting { .. } => false,
        };
        let runs: Vec<_> = self.runs.iter().filter(|(_, run)| held(&run.phase)).map(|(id, _)| *id).collect();
        for run in runs {
            self.lose_run(run, how, now);
        }
        self.unclaimed.retain(|_, unclaimed| unclaimed.agent != *key);
        // Said again, should it come back, because the runs are noted as ended.
        self.closing.retain(|(agent, _), _| agent != key);
        if let Some(agent) = self.agents.get_mut(key) {
            agent.runs.clear();
        }
        self.agents_changed(now);
        self.review_offers(now);
    }

    fn sweep_runs(&mut self, now: Instant) {
        let (mut late, mut unwanted, mut sent, mut unanswered) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, run) in &self.runs {
            match &run.phase {
                _ if run.mailbox.is_closed() => unwanted.push(*id),
                Phase::Awaiting { until } if *until <= now => late.push(*id),
                // One that is away has its own time to come back.
                Phase::Sent { agent, execute: Some(_), answer_by, .. }
                    if *answer_by <= now && self.is_here(agent) =>
                {
                    unanswered.push(*id);
                }
                Phase::Sent { .. } | Phase::WpsRemote { .. } => sent.push(*id),
                Phase::Queued { .. } | Phase::Awaiting { .. } => {}
            }
        }
        for id in unwanted {
            if !self.handle.detached.is_cancelled() {
                self.abandon(id, now);
            }
        }
        for id in unanswered {
            self.lose_unanswered(id, now);
        }
        for id in late {
            self.ended.note(id);
            if let Some(run) = self.runs.remove(&id) {
                self.counters.runs_lost += 1;
                let reason = "no agent has told of the run since the server was restarted".into();
                tell(&run.mailbox, RunEvent::Lost { reason });
            }
        }
        for id in sent {
            self.flush_run(id, now);
            self.flush_wps_run(id, now);
        }
    }

    fn sweep_closing(&mut self, now: Instant) {
        let late = self.unclaimed.extract_if(|_, unclaimed| unclaimed.until <= now);
        let late: Vec<_> = late.collect();
        for (id, unclaimed) in late {
            self.ended.note(id);
            self.finish_held(&unclaimed.agent, &unclaimed.held, now);
        }
        let closing: Vec<_> = self.closing.keys().cloned().collect();
        for key in closing {
            self.finish_due(&key, now);
        }
    }

    /// Publishes and withdraws as agents come and go.
    pub(super) fn review_offers(&mut self, now: Instant) {
        let (agents, grace) = (&self.agents, self.settings.withdraw);
        let mut gone: Vec<ProcessId> = Vec::new();
        for (process, offer) in &mut self.offers {
            let mut offering =
                agents.values().filter(|agent| agent.services.contains_key(process)).peekable();
            let said_no = offering.peek().is_none();
            if offering.any(super::agents::AgentEntry::is_here) {
                offer.withdraw = None;
            } else if said_no || now >= *offer.withdraw.get_or_insert(now + grace) {
                gone.push(process.clone());
            }
        }
        for process in gone {
            self.withdraw(&process, now);
        }
    }

    fn withdraw(&mut self, process: &ProcessId, now: Instant) {
        if let Some(Offer { .. }) = self.offers.remove(process) {
            tracing::info!(%process, "withdrawn: no agent offers it");
            self.publisher.withdraw(process);
        }
        for agent in self.agents.values_mut().filter(|agent| !agent.is_here()) {
            agent.services.remove(process);
        }
        for id in self.queues.remove(process).unwrap_or_default() {
            if let Some(run) = self.runs.remove(&id) {
                self.counters.runs_lost += 1;
                let reason = format!("no agent offers '{process}' any more");
                tell(&run.mailbox, RunEvent::Lost { reason });
            }
        }
        self.agents_changed(now);
    }
}
