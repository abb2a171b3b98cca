//! The task that owns agents and runs. It never waits for anyone but its own three sources: session, runs, time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anabranch_model::ProcessId;
use anabranch_xmpp::{BusEvent, BusReceiver, BusSender, SendError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::agents::{AgentEntry, AgentKey};
use super::command::{Ending, PoolCommand, PoolHandle, RunEvent};
use super::wps_remote::{WpsRemote, WpsRun};
use super::{AgentInfo, Counters, OrchestratorSettings, Publisher, WaitingRuns};
use crate::link::Link;
use crate::message::{Execute, HeldRun, Message};
use crate::post::{envelope, now, post};
use crate::proxy::RemoteProcess;
use crate::recent::Recent;
use crate::run_id::RunId;
use crate::wire::Envelope;

/// Wait before the session is tried again when its queue was full.
const RETRY_SEND: Duration = Duration::from_millis(20);

/// Shortest time between two publications of the list of agents.
const INFO_INTERVAL: Duration = Duration::from_millis(200);

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
    /// Runs that wait for an agent, oldest first; bounded by `queue_runs_max`.
    pub(super) queues: HashMap<ProcessId, VecDeque<RunId>>,
    /// Runs that agents hold from before our start, and nobody has asked for yet.
    pub(super) unclaimed: HashMap<RunId, Unclaimed>,
    /// Runs that are over here, until their agents know.
    pub(super) closing: HashMap<(AgentKey, RunId), Closing>,
    pub(super) ended: Recent<RunId>,
    /// When strangers were last asked to introduce themselves.
    pub(super) invited: Recent<(String, u64)>,
    /// What is known of agents of WPS Remote besides.
    pub(super) wps: WpsRemote,
    pub(super) counters: Counters,
    pub(super) started: Instant,
    retry_send: Option<Instant>,
    /// Why the runs of a queue wait, as they have been told.
    pub(super) reasons: HashMap<ProcessId, String>,
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
    pub(super) mailbox: mpsc::Sender<RunEvent>,
    pub(super) phase: Phase,
}

/// Where a run is.
pub(super) enum Phase {
    /// In the queue of its process.
    Queued { execute: Box<Execute> },
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
        Self {
            settings,
            publisher,
            handle,
            sender,
            agents: BTreeMap::new(),
            sessions: HashMap::new(),
            offers: BTreeMap::new(),
            runs: HashMap::new(),
            queues: HashMap::new(),
            unclaimed: HashMap::new(),
            closing: HashMap::new(),
            ended: Recent::keeping(ENDED_RUNS_MAX),
            invited: Recent::keeping(super::agents::AGENTS_MAX),
            wps: WpsRemote::default(),
            counters: Counters::default(),
            started: now(),
            retry_send: None,
            reasons: HashMap::new(),
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
        loop {
            let wake = self.deadline();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = session.next() => match event {
                    Some(event) => self.on_session(event, now()),
                    None => break,
                },
                // The pool holds a sender itself, so there is always someone to listen to.
                Some(command) = commands.recv() => self.on_command(command, now()),
                () = tokio::time::sleep_until(wake.into()) => self.sweep(now()),
            }
            self.publish_info(now());
        }
        // What runs said before they went matters to the next server.
        while let Ok(command) = commands.try_recv() {
            self.on_command(command, now());
        }
        tracing::info!(runs = self.runs.len(), "the agent pool stops; runs go on at their agents");
    }

    fn on_session(&mut self, event: BusEvent, now: Instant) {
        match event {
            BusEvent::Up { jid } => self.session_up(&jid, now),
            BusEvent::Down { reason } => self.session_down(&reason),
            BusEvent::Fatal(error) => tracing::error!(%error, "the XMPP session has ended for good"),
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
        self.note_send(sent, now);
    }

    /// Sends what is due on the link of a run that is over here.
    pub(super) fn flush_closing(&mut self, key: &(AgentKey, RunId), now: Instant) {
        let Some(closing) = self.closing.get_mut(key) else { return };
        let Some(entry) = self.agents.get(&key.0).filter(|entry| entry.is_here()) else { return };
        let sent = flush(&self.sender, &entry.address, key.1, &mut closing.link, now, &mut self.counters);
        self.note_send(sent, now);
    }

    /// Says something outside of links: whoever needs it to arrive, repeats it.
    pub(super) fn say(&mut self, address: &str, envelope: &Envelope, now: Instant) {
        let sent = post(&self.sender, address, envelope);
        self.note_send(sent, now);
    }

    pub(super) fn note_send(&mut self, sent: Result<(), SendError>, now: Instant) {
        if sent == Err(SendError::Full) {
            self.retry_send = Some(now + RETRY_SEND);
        }
    }

    /// When the session may have room again.
    pub(super) fn retry_send(&mut self) -> &mut Option<Instant> {
        &mut self.retry_send
    }

    /// Seconds since the start, for what is limited to once a second.
    pub(super) fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    /// The list of agents has changed.
    pub(super) fn agents_changed(&mut self, now: Instant) {
        let earliest = self.info_published.map_or(now, |at| at + INFO_INTERVAL);
        self.info_due.get_or_insert_with(|| earliest.max(now));
    }

    pub(super) fn info_due(&self) -> Option<Instant> {
        self.info_due
    }

    fn publish_info(&mut self, now: Instant) {
        self.counters.runs_waiting = self.queues.values().map(|queue| queue.len() as u64).sum();
        let counters = self.counters;
        self.shown.counters.send_if_modified(|shown| std::mem::replace(shown, counters) != counters);
        if self.info_due.is_some_and(|due| due <= now) {
            self.info_due = None;
            self.info_published = Some(now);
            let agents = self.agents.iter().map(|(key, agent)| agent.info(key, &self.settings));
            self.shown.agents.send_replace(agents.collect());
            let waiting = self.waiting();
            self.shown.waiting.send_if_modified(|shown| std::mem::replace(shown, waiting.clone()) != waiting);
        }
    }

    fn waiting(&self) -> Vec<WaitingRuns> {
        let waiting = |(process, queue): (&ProcessId, &VecDeque<RunId>)| WaitingRuns {
            process: process.clone(),
            runs: queue.len(),
            reason: self.reasons.get(process).cloned().unwrap_or_default(),
        };
        let mut all: Vec<_> =
            self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(waiting).collect();
        all.sort_by(|a, b| a.process.cmp(&b.process));
        all
    }

    /// A run that takes a slot from now on.
    pub(super) fn take_slot(&mut self, agent: &AgentKey, run: RunId, process: &ProcessId) {
        if let Some(entry) = self.agents.get_mut(agent) {
            let slot = entry.slot(process);
            entry.runs.insert(run, slot);
        }
    }

    /// A run that takes no slot any more, and is no business of ours.
    pub(super) fn free_slot(&mut self, agent: &AgentKey, run: RunId) {
        if let Some(entry) = self.agents.get_mut(agent) {
            entry.runs.remove(&run);
        }
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
