//! The task that owns everything an agent knows. It waits for the session, its runs, its services and time, and never for
//! one of them alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anabranch_model::{Error, JobId};
use anabranch_xmpp::{
    BusEvent, BusReceiver, BusSender, ClientError, Incoming, MessageKind, OccupantChange, SendError,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::homes::Homes;
use super::registrations::Registrations;
use super::runs::Run;
use super::{AgentData, AgentError, AgentService, AgentSettings, Profile};
use crate::load::{Load, LoadSource};
use crate::message::{HeldRun, Hello, LoadReport, Message, Welcome};
use crate::post::{log_out, now, post};
use crate::recent::Recent;
use crate::run_id::RunId;
use crate::wire::{self, Envelope};

/// Longest sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Bounds for the interval that a server may ask for.
const LOAD_INTERVAL_MIN: Duration = Duration::from_millis(100);
const LOAD_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Runs remembered as over, and offers as refused: late repetitions of an `Execute` must not start them again.
const REMEMBERED_MAX: usize = 4096;

/// Everything an agent knows.
pub(super) struct Owner {
    pub(super) settings: AgentSettings,
    pub(super) sender: BusSender,
    pub(super) data: Arc<dyn AgentData>,
    pub(super) load: Arc<dyn LoadSource>,
    incarnation: String,
    pub(super) homes: Homes,
    pub(super) registrations: Registrations,
    pub(super) runs: HashMap<RunId, Run>,
    /// Runs that are over and forgotten.
    pub(super) over: Recent<RunId>,
    /// Offers that were refused.
    pub(super) refused: Recent<(RunId, u32)>,
    /// Runs under way; they end with themselves.
    pub(super) tasks: JoinSet<Result<(), Error>>,
    pub(super) task_runs: HashMap<tokio::task::Id, RunId>,
    /// A run has something to say.
    pub(super) wake: Arc<Notify>,
    load_due: Option<Instant>,
    /// The session had no room for all that was to be said.
    is_session_full: bool,
    /// The run that comes first when there is room again, so that those behind it have their turn too.
    first_unsent: Option<RunId>,
    /// The switch as we have last seen it.
    draining: bool,
    /// It has been said that the agent is drained.
    drained: bool,
    /// No more runs are taken.
    pub(super) stopping: bool,
}

impl Owner {
    pub(super) fn new(
        sender: BusSender,
        settings: AgentSettings,
        data: Arc<dyn AgentData>,
        load: Arc<dyn LoadSource>,
    ) -> Self {
        let draining = settings.drain.is_on();
        Self {
            homes: Homes::new(&settings, now()),
            settings,
            sender,
            data,
            load,
            // Any 122 random bits will do.
            incarnation: JobId::random().to_string(),
            registrations: Registrations::default(),
            runs: HashMap::new(),
            over: Recent::keeping(REMEMBERED_MAX),
            refused: Recent::keeping(REMEMBERED_MAX),
            tasks: JoinSet::new(),
            task_runs: HashMap::new(),
            wake: Arc::new(Notify::new()),
            load_due: None,
            is_session_full: false,
            first_unsent: None,
            draining,
            drained: false,
            stopping: false,
        }
    }

    pub(super) async fn serve(
        mut self,
        mut session: BusReceiver,
        mut services: watch::Receiver<Vec<AgentService>>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        for room in self.settings.rooms.clone() {
            if self.sender.join(room).await.is_err() {
                return Err(AgentError::Session(None));
            }
        }
        self.registrations.replace(&services.borrow_and_update());
        let (mut fatal, mut fixed, mut drain) = (None, false, self.settings.drain.watch());
        let sender = self.sender.clone();
        let mut profile = self.settings.profile.subscribe();
        while !shutdown.is_cancelled() {
            let wake = self.deadline();
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = session.next() => match event {
                    Some(event) => fatal = self.on_session(event).or(fatal),
                    None => return Err(self.session_ended(fatal).await),
                },
                () = Arc::clone(&self.wake).notified_owned() => {}
                Some(ended) = self.tasks.join_next_with_id() => self.on_task_ended(ended),
                changed = services.changed(), if !fixed => match changed {
                    Ok(()) => self.registrations.replace(&services.borrow_and_update()),
                    Err(_nobody_changes_them) => fixed = true,
                },
                // There is always a sender of these: in our settings.
                Ok(()) = drain.changed() => self.drain_turned(now()),
                Ok(()) = profile.changed() => self.homes.introduce_again(now()),
                () = sender.room(), if self.is_session_full => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.tell_drained();
            self.pump(now());
        }
        self.stop(session).await;
        Ok(())
    }

    /// Ends runs, tells the server as far as it listens, and leaves.
    async fn stop(mut self, mut session: BusReceiver) {
        tracing::info!(runs = self.runs.len(), "the agent stops");
        self.stopping = true;
        let until = now() + self.settings.shutdown;
        self.cancel_runs("the agent was stopped");
        self.pump(now());
        let sender = self.sender.clone();
        while !self.is_settled() && now() < until {
            let wake = self.deadline().min(until);
            tokio::select! {
                event = session.next() => match event {
                    Some(event) => drop(self.on_session(event)),
                    None => break,
                },
                () = Arc::clone(&self.wake).notified_owned() => {}
                Some(ended) = self.tasks.join_next_with_id() => self.on_task_ended(ended),
                () = sender.room(), if self.is_session_full => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.pump(now());
        }
        if !self.is_settled() {
            tracing::warn!(runs = self.runs.len(), "stopped before every run had ended or been told of");
        }
        self.say(Message::Goodbye);
        log_out(&self.sender, &mut session).await;
        // Dropping the tasks drops what is left of the runs, and with them their process trees.
        self.tasks.shutdown().await;
    }

    /// The session can't be had any more: nothing that runs could be told of.
    async fn session_ended(&mut self, fatal: Option<ClientError>) -> AgentError {
        self.cancel_runs("the agent lost its XMPP session for good");
        let until = now() + self.settings.shutdown;
        while !self.tasks.is_empty() {
            tokio::select! {
                ended = self.tasks.join_next() => drop(ended),
                () = tokio::time::sleep_until(until.into()) => break,
            }
        }
        self.tasks.shutdown().await;
        AgentError::Session(fatal)
    }

    /// Every run has ended, and the server has taken all that was to be said.
    fn is_settled(&self) -> bool {
        let told = self.runs.values().all(|run| self.homes.address(&run.home).is_none() || run.is_settled());
        self.tasks.is_empty() && told
    }

    fn on_session(&mut self, event: BusEvent) -> Option<ClientError> {
        let now = now();
        match event {
            BusEvent::Up { jid } => tracing::info!(jid, "connected to the XMPP server"),
            BusEvent::Down { reason } => {
                tracing::warn!(reason, "disconnected from the XMPP server; runs go on");
                self.homes.down(now);
            }
            BusEvent::Fatal(error) => return Some(error),
            BusEvent::Occupant { room, nick, real_jid, change, .. } => match change {
                OccupantChange::Joined => self.homes.joined(&room, &nick, real_jid.as_deref(), now),
                OccupantChange::Left => self.homes.left(&room, &nick, now),
            },
            BusEvent::Joined { room, nick } => tracing::info!(room, nick, "in the room"),
            BusEvent::Message(incoming) => self.on_message(&incoming, now),
            BusEvent::Dropped { to, reason, .. } => tracing::debug!(to, reason, "a message did not leave"),
        }
        None
    }

    fn on_message(&mut self, incoming: &Incoming, now: Instant) {
        if incoming.kind == MessageKind::Error || !self.homes.listens_to(incoming) {
            return;
        }
        match wire::find(&incoming.payloads) {
            None => {}
            Some(Ok(envelope)) => self.on_envelope(&incoming.from, envelope, now),
            Some(Err(error)) => {
                tracing::warn!(from = incoming.from, %error, "a message was not understood");
                self.say_to(&incoming.from, &Envelope::session(error.answer()));
            }
        }
    }

    fn on_envelope(&mut self, from: &str, envelope: Envelope, now: Instant) {
        match envelope.message {
            Message::Invite => self.homes.invited(from, now),
            Message::Welcome(welcome) => self.welcome(from, &welcome, now),
            Message::Registered(registered) => {
                if let Some(server) = self.homes.greeted_by(from) {
                    self.registrations.confirmed(server, &registered, &self.homes.greeted_all());
                }
            }
            Message::LoadQuery => self.load_due = Some(now),
            Message::Drain | Message::Undrain if self.homes.greeted_by(from).is_some() => {
                self.settings.drain.set(envelope.message == Message::Drain);
                self.load_due = Some(now);
            }
            Message::NotUnderstood(answer) => {
                tracing::warn!(what = answer.what, reason = answer.reason, "the server did not understand");
            }
            message => match envelope.run {
                // Of a run only a server that greeted us may speak: it alone knows where our links stand.
                Some(run) if self.homes.greeted_by(from).is_some() => {
                    self.on_run_message(from, run, Envelope { message, ..envelope }, now);
                }
                Some(_) | None => tracing::debug!(from, "a message that is not for us"),
            },
        }
    }

    fn welcome(&mut self, from: &str, welcome: &Welcome, now: Instant) {
        if welcome.incarnation != self.incarnation {
            return;
        }
        let interval = Duration::from_millis(welcome.load_interval_ms);
        if self.homes.greeted(from, interval.clamp(LOAD_INTERVAL_MIN, LOAD_INTERVAL_MAX), now) {
            return;
        }
        let Some(server) = self.homes.greeted_by(from) else { return };
        tracing::info!(server = from, version = welcome.version, "greeted by the server");
        self.registrations.repeat_all(server);
        self.load_due = Some(now);
        for run in self.runs.values_mut().filter(|run| run.home == server) {
            run.link.resend_all();
        }
    }

    fn hello(&self) -> Message {
        let runs = self.runs.iter().map(|(id, run)| HeldRun {
            run: *id,
            process: run.process.clone(),
            oldest: run.link.oldest(),
            next: run.link.next(),
            received: run.link.received(),
            ended: run.is_ended(),
        });
        let Profile { capacity, labels } = self.settings.profile.borrow().clone();
        Message::Hello(Hello {
            instance: self.settings.instance.clone(),
            incarnation: self.incarnation.clone(),
            version: self.settings.version.clone(),
            wires: vec![wire::NATIVE.to_owned()],
            capacity,
            labels,
            runs: runs.collect(),
        })
    }

    /// Says all that is due.
    fn pump(&mut self, now: Instant) {
        self.is_session_full = false;
        for address in self.homes.hello_due(now) {
            let hello = self.hello();
            self.say_to(&address, &Envelope::session(hello));
        }
        if self.homes.away_since().is_some_and(|since| since + self.settings.orphan <= now) {
            self.cancel_runs("there was no server for too long");
        }
        if !self.stopping {
            for (server, address) in self.homes.greeted_all() {
                for message in self.registrations.due(&server, now) {
                    self.say_to(&address, &Envelope::session(message));
                }
            }
        }
        self.pump_runs(now);
        if let Some(interval) = self.homes.load_interval()
            && self.load_due.is_some_and(|due| due <= now)
        {
            self.load_due = Some(now + interval);
            self.say(Message::Load(self.load_report()));
        }
    }

    /// Says what runs have to say, from the one on that found the session full the last time.
    fn pump_runs(&mut self, now: Instant) {
        let mut ids: Vec<RunId> = self.runs.keys().copied().collect();
        if let Some(first) = self.first_unsent.take() {
            ids.sort_unstable();
            let at = ids.partition_point(|id| *id < first);
            ids.rotate_left(at);
        }
        for id in ids {
            self.pump_run(id, now);
            if self.is_session_full {
                self.first_unsent = Some(id);
                break;
            }
        }
    }

    fn load_report(&self) -> LoadReport {
        let number = |value: f32| if value.is_finite() { value } else { 0.0 };
        let load = self.load.load();
        let load = Load {
            cpu_percent: number(load.cpu_percent),
            memory_percent: number(load.memory_percent),
            load_average: number(load.load_average),
        };
        let running = self.runs.values().filter(|run| !run.is_ended()).count();
        LoadReport {
            load,
            running: u32::try_from(running).unwrap_or(u32::MAX),
            slots: self.slots_taken(),
            draining: self.settings.drain.is_on(),
            full: self.load.full(),
        }
    }

    fn drain_turned(&mut self, now: Instant) {
        let runs = self.runs.values().filter(|run| !run.is_ended()).count();
        self.draining = self.settings.drain.is_on();
        if self.draining {
            tracing::info!(runs, "draining: no new runs are taken");
        } else {
            tracing::info!(runs, "runs are taken again");
        }
        self.load_changed(now);
    }

    /// Says once that nothing is left which maintenance could disturb: no run is under way, and the server has all results.
    fn tell_drained(&mut self) {
        let drained = self.draining && self.runs.values().all(Run::is_settled);
        if drained && !self.drained {
            tracing::info!("drained: no run is left");
        }
        self.drained = drained;
    }

    /// The number of runs has changed: the server is told at once.
    pub(super) fn load_changed(&mut self, now: Instant) {
        self.load_due = Some(now);
    }

    fn deadline(&self) -> Instant {
        let now = now();
        let greeted = self.homes.greeted_all();
        let is_greeted = |run: &&Run| greeted.iter().any(|(server, _)| run.home == *server);
        let runs = self.runs.values().filter(is_greeted).filter_map(Run::deadline);
        let away = self.homes.away_since().map(|since| since + self.settings.orphan);
        let orphan = away.filter(|at| *at > now && !self.tasks.is_empty());
        let registrations = greeted.iter().filter_map(|(server, _)| self.registrations.deadline(server, now));
        let registrations = registrations.min().filter(|_| !self.stopping);
        let load = self.load_due.filter(|_| !greeted.is_empty());
        let own = [self.homes.deadline(), orphan, registrations, load];
        own.into_iter().flatten().chain(runs).fold(now + IDLE, Instant::min)
    }

    /// Says something to every server that has greeted us.
    pub(super) fn say(&mut self, message: Message) {
        let envelope = Envelope::session(message);
        for (_, address) in self.homes.greeted_all() {
            self.say_to(&address, &envelope);
        }
    }

    /// `false` where the session did not take it. Where it is down, what is to be said is said to the server that greets us next.
    pub(super) fn say_to(&mut self, address: &str, envelope: &Envelope) -> bool {
        let sent = post(&self.sender, address, envelope);
        self.is_session_full |= sent == Err(SendError::Full);
        sent.is_ok()
    }
}
