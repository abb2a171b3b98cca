//! Runs: queued, sent, followed, ended.

use std::time::{Duration, Instant};

use anabranch_model::Error;

use super::agents::Wire;
use super::command::{Ending, PoolCommand, RunEvent, Submission, Task};
use super::owner::{Closing, FinishAt, Phase, Pool, Run, Unclaimed};
use super::timers::Timer;
use crate::dispatch::AgentKey;
use crate::link::{Link, Segment};
use crate::message::{CannotExecute, Execute, HeldRun, Hello, Message};
use crate::run_id::RunId;
use crate::wire::Envelope;

/// How long a run that completed is kept at its agent: the engine has to write down the end first, for a server that dies
/// in between finds the run again at the agent.
const FINISH_DELAY: Duration = Duration::from_secs(2);

/// How long an agent that refused a run is not asked, unless it tells its load before.
const REFUSED: Duration = Duration::from_secs(1);

/// How long an agent that is here, and reports its load, may leave a run unanswered: it answers before it begins, so that this is its
/// connection and its disk; three times what an agent may be silent.
const UNANSWERED: Duration = Duration::from_secs(60);

/// Time between two questions of all agents for runs that are awaited.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The same, where more runs have come to be awaited meanwhile: a server that takes over another one's gets thousands at once.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// Time between two questions whether an unclaimed run is wanted, of a server that has its agents for itself: so long goes on what was
/// fed by a server that is dead, or was run for a client that is gone. A look at a row each.
const WANTED_AGAIN: Duration = Duration::from_secs(5);

/// When a client may try again that met a full queue, in seconds.
const BUSY_RETRY_S: u32 = 10;

impl Pool {
    pub(super) fn on_command(&mut self, command: PoolCommand, now: Instant) {
        match command {
            PoolCommand::Submit(submission) => self.submit(submission, now),
            PoolCommand::Done { run, seq } => {
                if let Some(Run { phase: Phase::Sent { link, .. }, .. }) = self.runs.get_mut(&run) {
                    link.done(seq);
                }
                self.deliver(run, now);
                self.flush_run(run, now);
                self.with_wps_run(run, now, |run| run.done(seq));
            }
            PoolCommand::Piece { run, piece } => {
                if let Some(Run { phase: Phase::Sent { link, .. }, .. }) = self.runs.get_mut(&run) {
                    // One at a time, so there is always room.
                    let _ = link.send(Message::Piece(piece));
                }
                self.flush_run(run, now);
            }
            PoolCommand::Abort { run } => self.abort(run, now),
            PoolCommand::Ended { run, seq, ending } => self.ended(run, seq, ending, now),
            PoolCommand::Detach { run } => self.detach(run),
            PoolCommand::Abandoned { run } => self.abandon(run, now),
            PoolCommand::Noted { runs, noted } => self.on_noted(runs, &noted, now),
            PoolCommand::Unwanted { run } => self.condemn(run),
            PoolCommand::Drain { agent, on, answer } => drop(answer.send(self.drain(&agent, on, now))),
        }
    }

    /// Forgets a run here, and leaves it where it is.
    fn detach(&mut self, id: RunId) {
        self.take_run(id);
    }

    fn submit(&mut self, submission: Submission, now: Instant) {
        let Submission { run, process, claim, task, mailbox } = submission;
        match task {
            // An agent has it from before our start, whatever the store says.
            Task::Start(_) if self.unclaimed.get(run).is_some() => {
                self.submit(Submission { run, process, claim, task: Task::Resume, mailbox }, now);
            }
            Task::Start(execute) => {
                if self.dispatch.queued_of(&process) >= self.settings.queue_runs_max {
                    let limit = format!(
                        "{} runs of '{process}' wait for an agent already",
                        self.settings.queue_runs_max
                    );
                    tell(
                        &mailbox,
                        RunEvent::Refused(Box::new(Error::Busy { limit, retry_after_s: BUSY_RETRY_S })),
                    );
                    return;
                }
                self.tickets += 1;
                let (ticket, phase) = (self.tickets, Phase::Queued { execute });
                let known = Run { process: process.clone(), claim: claim.clone(), mailbox, ticket, phase };
                self.runs.insert(run, known);
                self.dispatch.queue(&process, ticket, run, claim);
                self.pump(now);
                self.tell_newcomer(run, &process);
                self.agents_changed(now);
            }
            Task::Resume => {
                let phase = Phase::Awaiting { until: now + self.settings.reattach };
                self.runs.insert(run, Run { process, claim, mailbox, ticket: 0, phase });
                self.watch_run(run, Ok(()));
                let unclaimed = self.unclaimed.remove(run);
                if self.settings.shared {
                    // Another server has had it since the agents told of their runs: they are to tell again.
                    self.timers.set(Timer::Invite, now.max(self.asked_last + ASK_AGAIN_MIN));
                } else if let Some(unclaimed) = unclaimed {
                    self.reattach(&unclaimed.agent, &unclaimed.held, now);
                }
                self.wps_resume(run, now);
            }
        }
    }

    /// Sends runs that wait to agents that can take them; none that is left to the next server.
    pub(super) fn pump(&mut self, now: Instant) {
        if self.handle.detached.is_cancelled() {
            return;
        }
        while let Some(decision) = self.dispatch.decide() {
            self.note_then_send(decision.run, &decision.agent, now);
        }
    }

    /// Sends a run that is noted.
    pub(super) fn send_to(&mut self, id: RunId, agent: &AgentKey, execute: Box<Execute>, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let mut link = Box::new(Link::default());
        // An empty window always takes one.
        let _ = link.send(Message::Execute(execute.clone()));
        run.phase =
            Phase::Sent { agent: agent.clone(), link, execute: Some(execute), answer_by: now + UNANSWERED };
        tell(&run.mailbox, RunEvent::Sent { agent: agent.to_string(), reattached: false });
        tracing::debug!(run = %id, %agent, "run sent");
        self.counters.runs_sent += 1;
        self.flush_run(id, now);
        self.agents_changed(now);
    }

    /// It never left: the end of the run.
    pub(super) fn cannot_be_sent(&mut self, id: RunId, key: &AgentKey, error: Error) {
        self.ended.note(id);
        self.free_slot(key, id);
        if let Some(run) = self.take_run(id) {
            self.counters.runs_failed += 1;
            tell(&run.mailbox, RunEvent::Refused(Box::new(error)));
        }
    }

    /// A message about a run, by an agent that is known.
    pub(super) fn on_run_message(&mut self, key: &AgentKey, run: RunId, envelope: Envelope, now: Instant) {
        let closing = (key.clone(), run);
        if self.closing.contains(&closing) {
            return self.on_closing_message(&closing, &envelope, now);
        }
        let Some(Run { phase: Phase::Sent { agent, link, execute, .. }, .. }) = self.runs.get_mut(&run)
        else {
            return self.reject(key, run);
        };
        if agent != key {
            return self.reject(key, run);
        }
        match envelope.message {
            Message::CannotExecute(refusal) => return self.refused(run, &refusal, now),
            Message::Forgotten => return self.lose_run(run, "does not have the run any more", now),
            message => {
                let message = message.is_sequenced().then_some((envelope.seq, message));
                link.handle(Segment { ack: envelope.ack, message });
                if link.oldest() > 1 {
                    *execute = None;
                }
            }
        }
        self.deliver(run, now);
        self.flush_run(run, now);
    }

    fn on_closing_message(&mut self, key: &(AgentKey, RunId), envelope: &Envelope, now: Instant) {
        let Some(closing) = self.closing.get_mut(key) else { return };
        closing.link.handle(Segment { ack: envelope.ack, message: None });
        let finished = closing.finish.is_none() && closing.link.is_settled();
        if finished || envelope.message == Message::Forgotten {
            self.closing.remove(key);
        } else {
            self.flush_closing(key, now);
        }
    }

    /// Someone speaks about a run that is not theirs, or of which we know nothing.
    fn reject(&mut self, key: &AgentKey, run: RunId) {
        // The agent's own run from before our start, told of in its Hello: it says it again when we ask for it.
        if self.unclaimed.get(run).is_none_or(|unclaimed| unclaimed.agent != *key) {
            self.counters.messages_rejected += 1;
            tracing::warn!(agent = %key, %run, "an agent spoke about a run that it does not have");
        }
    }

    /// Hands over what is next in order.
    fn deliver(&mut self, id: RunId, now: Instant) {
        let Some(Run { mailbox, phase: Phase::Sent { link, .. }, .. }) = self.runs.get_mut(&id) else {
            return;
        };
        let mut gone = false;
        while let Some((seq, message)) = link.deliver() {
            match message {
                Message::Accepted => link.done(seq),
                message => gone |= !tell(mailbox, RunEvent::Message { seq, message: Box::new(message) }),
            }
        }
        if gone {
            self.abandon(id, now);
        }
    }

    /// The agent does not take it: back to the head of its owner's queue, or the end of the run where it never will.
    fn refused(&mut self, id: RunId, refusal: &CannotExecute, now: Instant) {
        let Some(run) = self.runs.get(&id) else { return };
        let Phase::Sent { agent, execute: Some(execute), .. } = &run.phase else { return };
        if execute.offer != refusal.offer {
            return;
        }
        let (agent, execute, process) = (agent.clone(), execute.clone(), run.process.clone());
        tracing::info!(run = %id, %agent, reason = refusal.reason, "an agent refused a run");
        if refusal.never {
            self.dispatch.unoffer(&agent, &process);
        } else {
            self.spare(&agent, now + REFUSED);
        }
        self.queue_again(id, &agent, execute, now);
    }

    /// Puts a run that its agent did not take back at the head of its owner's queue.
    pub(super) fn queue_again(
        &mut self,
        id: RunId,
        agent: &AgentKey,
        mut execute: Box<Execute>,
        now: Instant,
    ) {
        execute.offer += 1;
        self.counters.runs_refused += 1;
        self.put_back(id, agent, execute, now);
    }

    /// Puts a run that was for an agent back in its place.
    pub(super) fn put_back(&mut self, id: RunId, agent: &AgentKey, execute: Box<Execute>, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.phase = Phase::Queued { execute };
        let (process, claim, ticket) = (run.process.clone(), run.claim.clone(), run.ticket);
        self.free_slot(agent, id);
        self.dispatch.queue(&process, ticket, id, claim);
        self.pump(now);
        self.tell_newcomer(id, &process);
        self.agents_changed(now);
    }

    fn abort(&mut self, id: RunId, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match &mut run.phase {
            Phase::Sent { link, .. } => {
                // Said once and at most once beside Execute, Attach and Finish, so there is always room.
                let _ = link.send(Message::Abort);
                self.flush_run(id, now);
            }
            Phase::WpsRemote { run: wps_run, .. } if wps_run.request.is_none() => {
                wps_run.abort(now);
                self.flush_wps_run(id, now);
            }
            Phase::Queued { .. } | Phase::Noting { .. } | Phase::WpsRemote { .. } => {
                if let Some(run) = self.take_run(id) {
                    tell(&run.mailbox, RunEvent::NeverSent);
                }
            }
            Phase::Awaiting { .. } => {
                self.ended.note(id);
                if let Some(run) = self.take_run(id) {
                    let reason = "no agent has told of the run since the server was restarted".into();
                    tell(&run.mailbox, RunEvent::Lost { reason });
                }
            }
        }
    }

    /// The job has got the end of its run.
    fn ended(&mut self, id: RunId, seq: u64, ending: Ending, now: Instant) {
        self.count_ending(ending);
        self.close(id, Some((ending, seq)), now);
    }

    /// Nobody wants it: whoever has it is to end it.
    pub(super) fn abandon(&mut self, id: RunId, now: Instant) {
        self.counters.runs_aborted += 1;
        self.close(id, None, now);
    }

    /// Forgets a run here; `ended` is how it did, and the message that said so.
    fn close(&mut self, id: RunId, ended: Option<(Ending, u64)>, now: Instant) {
        self.ended.note(id);
        let Some(run) = self.take_run(id) else { return };
        match run.phase {
            Phase::Sent { agent, link, .. } => {
                let finish = match ended {
                    Some((Ending::Completed, seq)) => FinishAt { at: now + FINISH_DELAY, seq },
                    Some((Ending::Failed, seq)) => FinishAt { at: now, seq },
                    None => FinishAt { at: now, seq: 0 },
                };
                let key = (agent, id);
                self.closing.insert(key.clone(), Closing { link: *link, finish: Some(finish) });
                self.finish_due(&key, now);
            }
            Phase::WpsRemote { run, .. } => self.wps_close(id, &run, ended.map(|(ending, _)| ending), now),
            Phase::Queued { .. } | Phase::Noting { .. } | Phase::Awaiting { .. } => {}
        }
        self.agents_changed(now);
    }

    /// Tells the agent to forget a run, when it is time.
    pub(super) fn finish_due(&mut self, key: &(AgentKey, RunId), now: Instant) {
        if let Some(closing) = self.closing.get_mut(key)
            && let Some(finish) = closing.finish
            && finish.at <= now
            && closing.link.send(Message::Finish).is_ok()
        {
            closing.link.done(finish.seq);
            closing.finish = None;
        }
        self.flush_closing(key, now);
    }

    /// Takes a run off the tables; what is to be said of it is the caller's business.
    pub(super) fn take_run(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        match &run.phase {
            Phase::Queued { .. } => {
                self.dispatch.unqueue(&run.process, run.ticket);
            }
            Phase::Awaiting { .. } => {}
            Phase::Noting { agent, .. } | Phase::Sent { agent, .. } | Phase::WpsRemote { agent, .. } => {
                let agent = agent.clone();
                self.free_slot(&agent, id);
            }
        }
        Some(run)
    }

    /// The agent that had it has it no more.
    pub(super) fn lose_run(&mut self, id: RunId, how: &str, now: Instant) {
        let Some(run) = self.take_run(id) else { return };
        self.ended.note(id);
        self.counters.runs_lost += 1;
        if let Phase::Sent { agent, .. } | Phase::WpsRemote { agent, .. } = &run.phase {
            let reason = format!("agent {agent} {how}");
            tracing::warn!(run = %id, reason, "run lost");
            tell(&run.mailbox, RunEvent::Lost { reason });
        }
        self.agents_changed(now);
    }

    /// An agent that reports its load and does not say whether it takes a run: it may have begun it, so it is lost, and the agent gets
    /// nothing for a while.
    pub(super) fn lose_unanswered(&mut self, id: RunId, now: Instant) {
        if let Some(Run { phase: Phase::Sent { agent, .. }, .. }) = self.runs.get(&id) {
            let agent = agent.clone();
            self.spare(&agent, now + UNANSWERED);
        }
        self.lose_run(id, "does not answer", now);
    }

    /// Runs that we think the agent has, and it has not.
    pub(super) fn lose_runs_not_held(
        &mut self,
        key: &AgentKey,
        hello: &Hello,
        restarted: bool,
        now: Instant,
    ) {
        let held = |run: &RunId| hello.runs.iter().any(|held| held.run == *run);
        let is_lost = |id: &RunId| match self.runs.get(id).map(|run| &run.phase) {
            // Not accepted yet: a Hello on its way before the Execute can't name it.
            Some(Phase::Sent { execute, .. }) => !held(id) && (restarted || execute.is_none()),
            // Those have their own occupants, and say no Hello.
            Some(
                Phase::WpsRemote { .. }
                | Phase::Queued { .. }
                | Phase::Noting { .. }
                | Phase::Awaiting { .. },
            )
            | None => false,
        };
        let lost: Vec<RunId> = self.runs_at(key).into_iter().filter(is_lost).collect();
        for id in lost {
            self.lose_run(
                id,
                if restarted { "was restarted" } else { "does not have the run any more" },
                now,
            );
        }
        for id in self.unclaimed.of(key).into_iter().filter(|id| !held(id)) {
            self.unclaimed.remove(id);
        }
        for id in self.closing.of(key).into_iter().filter(|id| restarted && !held(id)) {
            self.closing.remove(&(key.clone(), id));
        }
        let known = &self.runs;
        self.dispatch.change(key, |worker| worker.slots.retain(|id| known.contains_key(id) || held(id)));
    }

    /// A run that an agent holds.
    pub(super) fn on_held_run(&mut self, key: &AgentKey, held: HeldRun, now: Instant) {
        let closing = (key.clone(), held.run);
        if let Some(closing_run) = self.closing.get_mut(&closing) {
            closing_run.link.resend_all();
            return self.flush_closing(&closing, now);
        }
        let Some(run) = self.runs.get_mut(&held.run) else {
            return match self.ended.has(&held.run) {
                true => self.finish_held(key, &held, now),
                false => self.note_unclaimed(key, held, now),
            };
        };
        match &mut run.phase {
            Phase::Sent { agent, link, .. } if agent == key => {
                link.resend_all();
                self.flush_run(held.run, now);
            }
            Phase::Awaiting { .. } => self.reattach(key, &held, now),
            Phase::Noting { agent, .. } => {
                let agent = agent.clone();
                self.free_slot(&agent, held.run);
                self.reattach(key, &held, now);
            }
            Phase::Queued { .. } => {
                self.dispatch.unqueue(&run.process, run.ticket);
                self.reattach(key, &held, now);
            }
            // With another agent now.
            Phase::Sent { .. } | Phase::WpsRemote { .. } => self.finish_held(key, &held, now),
        }
    }

    fn note_unclaimed(&mut self, key: &AgentKey, held: HeldRun, now: Instant) {
        // One of another server is that server's to count; where no slots are left the agent says so.
        if !held.ended && !self.settings.shared {
            self.dispatch.change(key, |worker| worker.take_slot(held.run, &held.process));
        }
        let until = match self.unclaimed.get(held.run) {
            Some(before) => before.until,
            None => now + self.settings.unclaimed,
        };
        self.timers.set(Timer::Unclaimed(held.run), self.asked_at(until, now));
        self.unclaimed.insert(held.run, Unclaimed { agent: key.clone(), held, until });
    }

    /// Asks all agents that are here for runs that are awaited: they introduce themselves again, with what they hold. Once for all runs that
    /// have come to be awaited meanwhile.
    pub(super) fn ask_for_awaited(&mut self, now: Instant) {
        self.asked_last = now;
        if !self.runs.values().any(|run| matches!(run.phase, Phase::Awaiting { .. })) {
            return;
        }
        self.timers.set(Timer::Invite, now + ASK_AGAIN);
        let second = self.second(now);
        for agent in self.agents.values() {
            let asks = agent.is_here() && matches!(agent.wire, Wire::Native);
            if asks && self.invited.note((agent.address.clone(), second)) {
                self.say(&agent.address, &Envelope::session(Message::Invite));
            }
        }
    }

    /// When it is asked whether a run that nobody here has asked for is wanted at all. Where there are other servers, most are theirs, and the
    /// question goes to the store that all share.
    fn asked_at(&self, until: Instant, now: Instant) -> Instant {
        if self.settings.shared { now + self.settings.unclaimed } else { until.min(now + WANTED_AGAIN) }
    }

    /// Nobody here has asked for a run that an agent holds; its job may have ended, or be another server's.
    pub(super) fn ask_whether_wanted(&mut self, id: RunId, now: Instant) {
        let Some(until) = self.unclaimed.get(id).map(|unclaimed| unclaimed.until) else { return };
        self.timers.set(Timer::Unclaimed(id), self.asked_at(until, now));
        let (wanted, handle) = (self.handle.data.is_wanted(id), self.handle.clone());
        tokio::spawn(async move {
            if !wanted.await {
                // Where the pool has gone, so has the question.
                let _ = handle.send(PoolCommand::Unwanted { run: id }).await;
            }
        });
    }

    /// No job of any server waits for a run that an agent holds: it is asked how far it is, and then told to forget it.
    fn condemn(&mut self, id: RunId) {
        let Some(unclaimed) = self.unclaimed.remove(id) else { return };
        self.ended.note(id);
        if let Some(agent) = self.agents.get(&unclaimed.agent) {
            self.say(&agent.address, &Envelope::session(Message::Invite));
        }
    }

    /// Tells an agent to end and forget a run that it holds in vain.
    pub(super) fn finish_held(&mut self, key: &AgentKey, held: &HeldRun, now: Instant) {
        tracing::info!(agent = %key, run = %held.run, "an agent holds a run that nobody wants");
        self.free_slot(key, held.run);
        let link = Link::resume(held.received.saturating_add(1), held.oldest);
        let closing = (key.clone(), held.run);
        self.closing.insert(closing.clone(), Closing { link, finish: Some(FinishAt { at: now, seq: 0 }) });
        self.finish_due(&closing, now);
    }

    /// Takes over a run from before our start.
    fn reattach(&mut self, key: &AgentKey, held: &HeldRun, now: Instant) {
        let Some(run) = self.runs.get_mut(&held.run) else { return };
        let mut link = Box::new(Link::resume(held.received.saturating_add(1), held.oldest));
        // An empty window always takes one.
        let _ = link.send(Message::Attach);
        run.phase = Phase::Sent { agent: key.clone(), link, execute: None, answer_by: now + UNANSWERED };
        tell(&run.mailbox, RunEvent::Sent { agent: key.to_string(), reattached: true });
        tracing::info!(run = %held.run, agent = %key, "run found again");
        self.counters.runs_reattached += 1;
        self.dispatch.change(key, |worker| worker.take_slot(held.run, &held.process));
        self.flush_run(held.run, now);
        self.agents_changed(now);
    }
}

/// Puts an event into a mailbox, which has room by construction; `false` where the run's future is gone.
pub(super) fn tell(mailbox: &tokio::sync::mpsc::Sender<RunEvent>, event: RunEvent) -> bool {
    mailbox.try_send(event).is_ok()
}
