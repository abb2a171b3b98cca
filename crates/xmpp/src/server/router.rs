//! The [`Domain`] behind a lock, with a bounded queue for each session: where the state machine meets tasks.
//!
//! Deliveries are queued under the lock, so that everyone sees what happens in a room in the same order. Queueing never
//! waits: a session whose queue is full is ended. Before it comes to that, whoever sends to a session whose queue is
//! half full is held up for a moment ([`Hold`]), so that many fast senders do not cost a busy receiver its session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use minidom::Element;
use tokio::sync::{mpsc, oneshot};

use super::Limits;
use super::domain::{BindError, Domain, Effect, SessionId};

/// Memory that a queued stanza takes besides its text.
const STANZA_OVERHEAD_BYTES: usize = 256;

/// A session as told by [`ServerHandle::sessions`](super::ServerHandle::sessions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub user: String,
    pub resource: String,
    /// `None` for a session within this process.
    pub address: Option<SocketAddr>,
    pub since: SystemTime,
}

/// What happened since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    pub connections_accepted: u64,
    /// Over a limit of connections.
    pub connections_refused: u64,
    /// Did not get as far as a bound session.
    pub negotiations_failed: u64,
    pub logins: u64,
    pub logins_failed: u64,
    pub stanzas_received: u64,
    pub stanzas_delivered: u64,
    /// Sessions ended because they did not take what was sent to them.
    pub slow_readers_ended: u64,
    /// Streams ended for a stanza too deep, too long or not well formed.
    pub bad_streams_ended: u64,
}

macro_rules! tallies {
    ($($name:ident),*) => {
        #[derive(Debug, Default)]
        pub(super) struct Tallies { $(pub(super) $name: AtomicU64),* }
        impl Tallies {
            fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}
tallies!(
    connections_accepted,
    connections_refused,
    negotiations_failed,
    logins,
    logins_failed,
    stanzas_received,
    stanzas_delivered,
    slow_readers_ended,
    bad_streams_ended
);

pub(super) fn tally(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug)]
pub(super) struct Router {
    state: Mutex<State>,
    pub(super) tallies: Tallies,
    queue_stanzas_max: usize,
    queue_bytes_max: usize,
    congestion_pause_max: Duration,
}

#[derive(Debug)]
struct State {
    domain: Domain,
    sessions: HashMap<SessionId, Entry>,
    /// After shutdown no session begins.
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    queue: mpsc::Sender<Queued>,
    load: Arc<Load>,
    end: oneshot::Sender<&'static str>,
    info: SessionInfo,
}

/// What waits in a queue.
#[derive(Debug, Default)]
struct Load {
    stanzas: AtomicUsize,
    bytes: AtomicUsize,
    /// Rooms of whose occupants the session has not been told to the end.
    rooms_untold: AtomicUsize,
}

/// A sender has to wait a moment, because someone it sent to is behind.
#[derive(Debug)]
pub(super) struct Hold {
    load: Arc<Load>,
    stanzas_max: usize,
    bytes_max: usize,
    until: Instant,
}

impl Hold {
    /// How often the receiver's queue is looked at: far less than the shortest pause that anyone would notice, and
    /// simpler than waking those who wait.
    const LOOK_EVERY: Duration = Duration::from_millis(2);

    /// Waits until the receiver has caught up or the time is over. Cancel-safe.
    pub(super) async fn over(&self) {
        while self.is_needed() && Instant::now() < self.until {
            tokio::time::sleep(Self::LOOK_EVERY).await;
        }
    }

    fn is_needed(&self) -> bool {
        let stanzas = self.load.stanzas.load(Ordering::Relaxed);
        stanzas > self.stanzas_max / 2 || self.load.bytes.load(Ordering::Relaxed) > self.bytes_max / 2
    }
}

/// Waits for the end of a hold, or for ever if there is none.
pub(super) async fn hold_over(hold: Option<&Hold>) {
    match hold {
        Some(hold) => hold.over().await,
        None => std::future::pending().await,
    }
}

#[derive(Debug)]
struct Queued {
    what: What,
    bytes: usize,
}

#[derive(Debug)]
enum What {
    Stanza(Arc<Element>),
    /// Of one room. Counts as one stanza, for it takes a pointer for each, and the one who entered asked for it.
    Occupants(Vec<Arc<Element>>),
}

impl Queued {
    fn stanzas(&self) -> usize {
        match &self.what {
            What::Stanza(_) => 1,
            What::Occupants(presences) => presences.len(),
        }
    }
}

/// Occupants of a room that the session is being told of.
#[derive(Debug)]
struct Telling {
    presences: std::vec::IntoIter<Arc<Element>>,
    bytes: usize,
}

/// A bound session. Dropping it unbinds it, however its task ended, and its rooms are told at once.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) jid: String,
    id: SessionId,
    router: Arc<Router>,
    queue: mpsc::Receiver<Queued>,
    telling: Option<Telling>,
    load: Arc<Load>,
    end: oneshot::Receiver<&'static str>,
}

/// What a session has to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// It may lack its `to`: see [`Effect::Deliver`].
    Stanza(Arc<Element>),
    /// Close the stream with this condition.
    End(&'static str),
}

impl Router {
    pub(super) fn new(domain: Domain, limits: &Limits) -> Arc<Self> {
        let state = State { domain, sessions: HashMap::new(), closed: false };
        Arc::new(Self {
            state: Mutex::new(state),
            tallies: Tallies::default(),
            queue_stanzas_max: limits.queue_stanzas_max,
            queue_bytes_max: limits.queue_bytes_max,
            congestion_pause_max: limits.congestion_pause_max,
        })
    }

    pub(super) fn attach(
        self: &Arc<Self>,
        user: &str,
        resource: &str,
        address: Option<SocketAddr>,
    ) -> Result<Attached, BindError> {
        let mut effects = Vec::new();
        let mut state = self.lock();
        if state.closed {
            return Err(BindError::Closed);
        }
        let bound = state.domain.bind(user, resource, &mut effects);
        self.apply(&mut state, effects, 0);
        let (id, jid) = bound?;
        // Full means that the session is ended by `apply`.
        let (queue_tx, queue) = mpsc::channel(self.queue_stanzas_max);
        let (end_tx, end) = oneshot::channel();
        let load = Arc::new(Load::default());
        let (bare, resource) = jid.split_once('/').unwrap_or((&jid, ""));
        let user = bare.split_once('@').map_or(bare, |(user, _)| user).to_owned();
        let info = SessionInfo { user, resource: resource.to_owned(), address, since: SystemTime::now() };
        let entry = Entry { queue: queue_tx, load: Arc::clone(&load), end: end_tx, info };
        state.sessions.insert(id, entry);
        Ok(Attached { jid, id, router: Arc::clone(self), queue, telling: None, load, end })
    }

    /// Ends the sessions of an account; gives how many there were.
    pub(super) fn disconnect(&self, user: &str) -> usize {
        let mut state = self.lock();
        let mut effects = Vec::new();
        let sessions = state.domain.sessions_of(user);
        for session in &sessions {
            state.domain.end(*session, "not-authorized", &mut effects);
        }
        self.apply(&mut state, effects, 0);
        sessions.len()
    }

    /// Ends all sessions, and lets no more begin.
    pub(super) fn shut_down(&self) {
        let mut state = self.lock();
        state.closed = true;
        for (_, entry) in std::mem::take(&mut state.sessions) {
            // A session that is ending already needs no reason.
            let _ = entry.end.send("system-shutdown");
        }
    }

    pub(super) fn sessions(&self) -> Vec<SessionInfo> {
        self.lock().sessions.values().map(|entry| entry.info.clone()).collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.tallies.read()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out effects, and the effects of those: a session that is ended leaves its rooms, which tell others.
    /// That comes to an end, because each round but the last ends a session.
    /// Gives the load of a receiver that is behind, if there is one.
    fn apply(&self, state: &mut State, mut effects: Vec<Effect>, stanza_bytes: usize) -> Option<Hold> {
        let mut hold = None;
        while !effects.is_empty() {
            let mut further = Vec::new();
            for effect in effects {
                let (to, what, bytes) = match effect {
                    Effect::Deliver { to, stanza } => (to, What::Stanza(stanza), stanza_bytes),
                    Effect::TellOccupants { to, presences } => {
                        let bytes = presences.len() * size_of::<Arc<Element>>();
                        (to, What::Occupants(presences), bytes)
                    }
                    Effect::End { session, condition } => {
                        if let Some(entry) = state.sessions.remove(&session) {
                            tracing::info!(session = %entry.info.user, condition, "ending a session");
                            let _ = entry.end.send(condition);
                        }
                        continue;
                    }
                };
                match self.enqueue(state, to, Queued { what, bytes: bytes + STANZA_OVERHEAD_BYTES }) {
                    Enqueued::Behind(load) => hold = Some(self.hold(load)),
                    Enqueued::Fine => {}
                    Enqueued::Full => {
                        tally(&self.tallies.slow_readers_ended);
                        state.domain.end(to, "resource-constraint", &mut further);
                    }
                }
            }
            effects = further;
        }
        hold
    }

    fn hold(&self, load: Arc<Load>) -> Hold {
        let until = Instant::now() + self.congestion_pause_max;
        Hold { load, stanzas_max: self.queue_stanzas_max, bytes_max: self.queue_bytes_max, until }
    }

    fn enqueue(&self, state: &State, to: SessionId, queued: Queued) -> Enqueued {
        // Gone since the effect was made.
        let Some(entry) = state.sessions.get(&to) else { return Enqueued::Fine };
        let bytes = entry.load.bytes.fetch_add(queued.bytes, Ordering::Relaxed) + queued.bytes;
        let stanzas = entry.load.stanzas.fetch_add(1, Ordering::Relaxed) + 1;
        if bytes > self.queue_bytes_max {
            return Enqueued::Full;
        }
        let delivered = queued.stanzas() as u64;
        if matches!(queued.what, What::Occupants(_)) {
            entry.load.rooms_untold.fetch_add(1, Ordering::Relaxed);
        }
        match entry.queue.try_send(queued) {
            Ok(()) => drop(self.tallies.stanzas_delivered.fetch_add(delivered, Ordering::Relaxed)),
            Err(mpsc::error::TrySendError::Full(_)) => return Enqueued::Full,
            // Its task has ended and is about to unbind it.
            Err(mpsc::error::TrySendError::Closed(_)) => return Enqueued::Fine,
        }
        if stanzas > self.queue_stanzas_max / 2 || bytes > self.queue_bytes_max / 2 {
            return Enqueued::Behind(Arc::clone(&entry.load));
        }
        Enqueued::Fine
    }
}

enum Enqueued {
    Fine,
    /// More than half full.
    Behind(Arc<Load>),
    /// The session does not keep up.
    Full,
}

impl Attached {
    /// Routes a stanza of this session; `bytes` is its size. The next one may have to wait.
    pub(super) fn route(&self, stanza: Element, bytes: usize) -> Option<Hold> {
        tally(&self.router.tallies.stanzas_received);
        let mut effects = Vec::new();
        let mut state = self.router.lock();
        state.domain.handle(self.id, stanza, &mut effects);
        self.router.apply(&mut state, effects, bytes)
    }

    /// What to do next, with the end before all that waits. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            let queued = tokio::select! {
                biased;
                condition = &mut self.end => return Next::End(condition.unwrap_or("undefined-condition")),
                () = std::future::ready(()), if self.telling.is_some() => None,
                queued = self.queue.recv() => match queued {
                    Some(queued) => Some(queued),
                    // The queue is closed only together with the end.
                    None => return Next::End((&mut self.end).await.unwrap_or("undefined-condition")),
                },
            };
            let stanza = match queued {
                Some(queued) => self.taken(queued),
                None => self.next_told(),
            };
            if let Some(stanza) = stanza {
                return Next::Stanza(stanza);
            }
        }
    }

    /// A further stanza that waits already.
    pub(super) fn try_next(&mut self) -> Option<Arc<Element>> {
        loop {
            if let Some(stanza) = self.next_told() {
                return Some(stanza);
            }
            let queued = self.queue.try_recv().ok()?;
            if let Some(stanza) = self.taken(queued) {
                return Some(stanza);
            }
        }
    }

    /// Whether this session is still being told who is in a room that it has entered. Whoever makes it enter others
    /// meanwhile has to wait, so that what waits is bounded by one room's occupants however fast it asks.
    pub(super) fn is_being_told(&self) -> bool {
        self.load.rooms_untold.load(Ordering::Relaxed) > 0
    }

    /// Waits for the end alone. Cancel-safe, but not to be called again after it came.
    pub(super) async fn ended(&mut self) -> &'static str {
        (&mut self.end).await.unwrap_or("undefined-condition")
    }

    /// The stanza, or nothing if it is many: then `telling` has them.
    fn taken(&mut self, queued: Queued) -> Option<Arc<Element>> {
        match queued.what {
            What::Stanza(stanza) => {
                self.load.bytes.fetch_sub(queued.bytes, Ordering::Relaxed);
                self.load.stanzas.fetch_sub(1, Ordering::Relaxed);
                Some(stanza)
            }
            What::Occupants(presences) => {
                self.telling = Some(Telling { presences: presences.into_iter(), bytes: queued.bytes });
                None
            }
        }
    }

    /// The next occupant that this session has to be told of.
    fn next_told(&mut self) -> Option<Arc<Element>> {
        let telling = self.telling.as_mut()?;
        let presence = telling.presences.next();
        if presence.is_none() {
            self.load.bytes.fetch_sub(telling.bytes, Ordering::Relaxed);
            self.load.stanzas.fetch_sub(1, Ordering::Relaxed);
            self.load.rooms_untold.fetch_sub(1, Ordering::Relaxed);
            self.telling = None;
        }
        presence
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut effects = Vec::new();
        let mut state = self.router.lock();
        state.sessions.remove(&self.id);
        state.domain.unbind(self.id, &mut effects);
        self.router.apply(&mut state, effects, 0);
    }
}

#[cfg(test)]
mod tests;
