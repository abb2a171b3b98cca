//! The task that owns agents and runs. It never waits for anyone but its own three sources: session, runs, time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anabranch_model::ProcessId;
use anabranch_xmpp::{BusEvent, BusReceiver, BusSender, SendError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::agents::AgentEntry;
use super::at_agents::{AtAgents, UnclaimedRuns};
use super::command::{Ending, PoolCommand, PoolHandle, RunEvent};
use super::noting::Noting;
use super::timers::{Timer, Timers};
use super::unsent::Unsent;
use super::wps_remote::{WpsRemote, WpsRun};
use super::{AgentInfo, Counters, OrchestratorSettings, Publisher, WaitingRuns};
use crate::dispatch::{AgentKey, Claim, Dispatcher, Rules, Ticket};
use crate::link::Link;
use crate::message::{Execute, HeldRun, Message};
use crate::post::{envelope, now, post};
use crate::proxy::RemoteProcess;
use crate::recent::Recent;
use crate::run_id::RunId;
use crate::wire::Envelope;

/// Shortest time between two publications of the list of agents.
const INFO_INTERVAL: Duration = Duration::from_millis(200);

/// The same for each agent in the list: writing one down takes some microseconds, and that is to be a hundredth of the time.
const INFO_INTERVAL_PER_AGENT: Duration = Duration::from_micros(500);

/// Longest sleep.
const IDLE: Duration = Duration::from_secs(60);

/// Runs remembered as over, so that an agent which still holds one is told at once: a day of a busy server.
const ENDED_RUNS_MAX: usize = 16 * 1024;

/// Everything the server knows of agents and runs.
pub(super) struct Pool {
    pub(super) settings: OrchestratorSettings,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) handle: PoolHandle,
    pub(super) sender: BusSender,
    pub(super) agents: BTreeMap<AgentKey, AgentEntry>,
    /// Who says Hello from which address.
    pub(super) sessions: HashMap<String, AgentKey>,
    pub(super) offers: BTreeMap<ProcessId, Offer>,
    pub(super) runs: HashMap<RunId, Run>,
    /// Who takes runs, and which ones wait.
    pub(super) dispatch: Dispatcher,
    /// Given to the next run that waits.
    pub(super) tickets: Ticket,
    pub(super) timers: Timers,
    /// Who is looked at as soon as the session has room.
    unsent: Unsent,
    /// Runs that are sent when they are noted.
    pub(super) noting: Noting,
    /// Runs that agents hold from before our start, and nobody has asked for yet.
    pub(super) unclaimed: UnclaimedRuns,
    /// Runs that are over here, until their agents know.
    pub(super) closing: AtAgents<Closing>,
    pub(super) ended: Recent<RunId>,
    /// When strangers were last asked to introduce themselves.
    pub(super) invited: Recent<(String, u64)>,
    /// What is known of agents of WPS Remote besides.
    pub(super) wps: WpsRemote,
    pub(super) counters: Counters,
    pub(super) started: Instant,
    /// When agents were last asked for runs that are awaited; the start where they have not been.
    pub(super) asked_last: Instant,
    /// What agents that are away are still thought to offer.
    pub(super) withdrawn: BTreeSet<ProcessId>,
    /// When runs may be told again why they wait.
    pub(super) news_next: Instant,
    shown: Shown,
    info_due: Option<Instant>,
    info_published: Option<Instant>,
}

/// What others see.
pub(super) struct Shown {
    pub(super) agents: watch::Sender<Vec<AgentInfo>>,
    pub(super) waiting: watch::Sender<Vec<WaitingRuns>>,
    pub(super) counters: watch::Sender<Counters>,
}

/// A process that is published.
pub(super) struct Offer {
    pub(super) process: Arc<RemoteProcess>,
    /// No agent that offers it is here: withdrawn then.
    pub(super) withdraw: Option<Instant>,
}

/// A run that a job waits for.
pub(super) struct Run {
    pub(super) process: ProcessId,
    /// Whose job it is: where runs wait, priorities count and owners take turns.
    pub(super) claim: Claim,
    pub(super) mailbox: mpsc::Sender<RunEvent>,
    /// Its place among its owner's runs in the queue of its process, also of one that an agent gives back.
    pub(super) ticket: Ticket,
    pub(super) phase: Phase,
}

/// Where a run is.
pub(super) enum Phase {
    /// In the queue of its process.
    Queued { execute: Box<Execute> },
    /// An agent gets it, once that is noted.
    Noting { agent: AgentKey, execute: Box<Execute> },
    /// From before our start: its agent has not come yet.
    Awaiting { until: Instant },
    /// At an agent.
    Sent {
        agent: AgentKey,
        link: Box<Link<Message>>,
        /// Kept until the agent has accepted, for another one if it refuses.
        execute: Option<Box<Execute>>,
        /// When an agent that has not said by then whether it takes the run is no longer waited for.
        answer_by: Instant,
    },
    /// At an agent of WPS Remote.
    WpsRemote {
        agent: AgentKey,
        run: Box<WpsRun>,
        /// Kept until the run has shown itself, for another agent if this one refuses.
        execute: Option<Box<Execute>>,
    },
}

/// A run of an agent that nobody has asked for.
pub(super) struct Unclaimed {
    pub(super) agent: AgentKey,
    pub(super) held: HeldRun,
    pub(super) until: Instant,
}

/// A run that is over here.
pub(super) struct Closing {
    pub(super) link: Link<Message>,
    /// `Finish` is said then; `None` when it has been.
    pub(super) finish: Option<FinishAt>,
}

/// When the agent may forget a run, and what is acknowledged with that.
#[derive(Clone, Copy)]
pub(super) struct FinishAt {
    pub(super) at: Instant,
    pub(super) seq: u64,
}

impl Pool {
    pub(super) fn new(
        settings: OrchestratorSettings,
        publisher: Arc<dyn Publisher>,
        handle: PoolHandle,
        sender: BusSender,
        shown: Shown,
    ) -> Self {
        let rules = Rules {
            cpu_percent_max: settings.cpu_percent_max,
            memory_percent_max: settings.memory_percent_max,
            force: settings.force,
            preferred_labels: settings.preferred_labels.clone(),
        };
        Self {
            settings,
            publisher,
            handle,
            sender,
            agents: BTreeMap::new(),
            sessions: HashMap::new(),
            offers: BTreeMap::new(),
            runs: HashMap::new(),
            dispatch: Dispatcher::new(rules),
            tickets: 0,
            timers: Timers::default(),
            unsent: Unsent::default(),
            noting: Noting::default(),
            unclaimed: UnclaimedRuns::default(),
            closing: AtAgents::default(),
            ended: Recent::keeping(ENDED_RUNS_MAX),
            invited: Recent::keeping(super::agents::AGENTS_MAX),
            wps: WpsRemote::default(),
            counters: Counters::default(),
            started: now(),
            asked_last: now(),
            withdrawn: BTreeSet::new(),
            news_next: now(),
            shown,
            info_due: None,
            info_published: None,
        }
    }

    /// Serves until `shutdown`, or until the session has ended for good.
    pub(super) async fn serve(
        mut self,
        mut session: BusReceiver,
        mut commands: mpsc::Receiver<PoolCommand>,
        shutdown: CancellationToken,
    ) {
        for room in self.settings.rooms.clone() {
            if let Err(error) = self.sender.join(room.clone()).await {
                tracing::error!(room = room.room, %error, "can't enter a room: its agents will not be found");
            }
        }
        let sender = self.sender.clone();
        loop {
            let wake = self.timers.next().unwrap_or_else(|| now() + IDLE);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = session.next() => match event {
                    Some(event) => {
                        self.send_unsent(now());
                        self.on_session(event, now());
                    }
                    None => break,
                },
                // The pool holds a sender itself, so there is always someone to listen to.
                Some(command) = commands.recv() => {
                    // Who waits for room comes before who has something to say now.
                    self.send_unsent(now());
                    self.on_command(command, now());
                }
                () = sender.room(), if !self.unsent.is_empty() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.send_unsent(now());
            self.sweep(now());
            self.settle(now());
            self.publish_info(now());
        }
        // What runs said before they went matters to the next server; what comes from now on is refused.
        commands.close();
        while let Ok(command) = commands.try_recv() {
            self.on_command(command, now());
        }
        tracing::info!(runs = self.runs.len(), "the agent pool stops; runs go on at their agents");
    }

    fn on_session(&mut self, event: BusEvent, now: Instant) {
        match event {
            BusEvent::Up { jid } => self.session_up(&jid, now),
            BusEvent::Down { reason } => self.session_down(&reason, now),
            BusEvent::Fatal(error) => {
                tracing::error!(%error, "the XMPP session has ended for good");
                self.counters.online = false;
            }
            BusEvent::Occupant { room, nick, real_jid, change, .. } => {
                self.occupant(&room, &nick, real_jid.as_deref(), change, now)
            }
            BusEvent::Joined { room, nick } => tracing::info!(room, nick, "waiting for agents"),
            BusEvent::Message(incoming) => self.on_message(&incoming, now),
            BusEvent::Dropped { to, reason, .. } => tracing::debug!(to, reason, "a message did not leave"),
        }
    }

    /// Sends what is due on the link of a run that a job waits for.
    pub(super) fn flush_run(&mut self, run: RunId, now: Instant) {
        let Some(Run { phase: Phase::Sent { agent, link, .. }, .. }) = self.runs.get_mut(&run) else {
            return;
        };
        let Some(entry) = self.agents.get(agent).filter(|entry| entry.is_here()) else { return };
        let sent = flush(&self.sender, &entry.address, run, link, now, &mut self.counters);
        self.watch_run(run, sent);
    }

    /// Sets the timer of a run for what is due next, after something was sent, or not.
    pub(super) fn watch_run(&mut self, id: RunId, sent: Result<(), SendError>) {
        let due = match self.runs.get(&id).map(|run| &run.phase) {
            Some(Phase::Sent { link, execute, answer_by, .. }) => {
                let answer_by = execute.is_some().then_some(*answer_by);
                link.deadline().into_iter().chain(answer_by).min()
            }
            Some(Phase::WpsRemote { run, .. }) => run.deadline(),
            Some(Phase::Awaiting { until }) => Some(*until),
            Some(Phase::Queued { .. } | Phase::Noting { .. }) | None => None,
        };
        if let Some(at) = due {
            self.timers.set(Timer::Run(id), at);
        }
        self.note_unsent(Timer::Run(id), sent);
    }

    /// Sends what is due on the link of a run that is over here.
    pub(super) fn flush_closing(&mut self, key: &(AgentKey, RunId), now: Instant) {
        let Some(closing) = self.closing.get_mut(key) else { return };
        let Some(entry) = self.agents.get(&key.0).filter(|entry| entry.is_here()) else { return };
        let sent = flush(&self.sender, &entry.address, key.1, &mut closing.link, now, &mut self.counters);
        let due = closing.finish.map(|finish| finish.at);
        let timer = Timer::Closing(key.0.clone(), key.1);
        if let Some(at) = due.into_iter().chain(closing.link.deadline()).min() {
            self.timers.set(timer.clone(), at);
        }
        self.note_unsent(timer, sent);
    }

    /// Whoever found the session full goes on when there is room.
    fn note_unsent(&mut self, waiting: Timer, sent: Result<(), SendError>) {
        if sent == Err(SendError::Full) {
            self.unsent.push(waiting);
        }
    }

    /// Has those go on who found the session full, as far as there is room now.
    fn send_unsent(&mut self, now: Instant) {
        while self.sender.has_room()
            && let Some(waiting) = self.unsent.pop()
        {
            self.ring(waiting, now);
        }
    }

    /// Says something outside of links: whoever needs it to arrive, repeats it.
    pub(super) fn say(&self, address: &str, envelope: &Envelope) {
        let _repeated = post(&self.sender, address, envelope);
    }

    /// Seconds since the start, for what is limited to once a second.
    pub(super) fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    /// The list of agents has changed.
    pub(super) fn agents_changed(&mut self, now: Instant) {
        if self.info_due.is_none() {
            let agents = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
            let interval = INFO_INTERVAL.max(INFO_INTERVAL_PER_AGENT * agents);
            let due = self.info_published.map_or(now, |at| (at + interval).max(now));
            self.info_due = Some(due);
            self.timers.set(Timer::Info, due);
        }
    }

    fn publish_info(&mut self, now: Instant) {
        self.counters.runs_waiting = self.dispatch.queued() as u64;
        let counters = self.counters;
        self.shown.counters.send_if_modified(|shown| std::mem::replace(shown, counters) != counters);
        if self.info_due.is_some_and(|due| due <= now) {
            self.info_due = None;
            self.info_published = Some(now);
            let agents = self.agents.iter().filter_map(|(key, agent)| agent.info(key, &self.dispatch));
            self.shown.agents.send_replace(agents.collect());
            let waiting = self.dispatch.waiting();
            self.shown.waiting.send_if_modified(|shown| {
                let is_new = *shown != waiting;
                *shown = waiting;
                is_new
            });
        }
    }

    /// A run that takes no slot any more, and is no business of ours.
    pub(super) fn free_slot(&mut self, agent: &AgentKey, run: RunId) {
        if self.dispatch.worker(agent).is_some_and(|worker| worker.slots.has(run)) {
            self.dispatch.change(agent, |worker| worker.slots.remove(run));
        }
    }

    /// Runs of ours that are at an agent.
    pub(super) fn runs_at(&self, agent: &AgentKey) -> Vec<RunId> {
        let Some(worker) = self.dispatch.worker(agent) else { return Vec::new() };
        worker.slots.runs().filter(|run| self.runs.contains_key(run)).collect()
    }

    pub(super) fn count_ending(&mut self, ending: Ending) {
        match ending {
            Ending::Completed => self.counters.runs_completed += 1,
            Ending::Failed => self.counters.runs_failed += 1,
        }
    }
}

/// Sends all that is due on a link; stops where the session takes no more.
fn flush(
    sender: &BusSender,
    address: &str,
    run: RunId,
    link: &mut Link<Message>,
    now: Instant,
    counters: &mut Counters,
) -> Result<(), SendError> {
    let resent = link.resent();
    let mut result = Ok(());
    while let Some(segment) = link.poll(now) {
        result = post(sender, address, &envelope(run, segment.clone()));
        if result.is_err() {
            link.refused(&segment);
            break;
        }
    }
    counters.messages_resent += link.resent() - resent;
    result
}
