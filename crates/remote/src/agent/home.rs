//! Where a server is: in which room it was seen, and whether it has greeted us.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long to wait for `Welcome` before `Hello` is said again.
const HELLO_AGAIN: Duration = Duration::from_secs(2);

/// Where one server is.
pub(super) struct Home {
    /// Where it was seen: address, and real address where the room shows it.
    seen: BTreeMap<String, Option<String>>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not to be seen since then.
    Away {
        since: Instant,
    },
    /// Seen, not greeted yet; away since then.
    Calling {
        address: String,
        again: Instant,
        since: Instant,
    },
    Greeted {
        address: String,
        load_interval: Duration,
    },
}

impl Home {
    pub(super) fn new(now: Instant) -> Self {
        Self { seen: BTreeMap::new(), state: State::Away { since: now } }
    }

    /// It is in a room.
    pub(super) fn joined(&mut self, address: String, real_jid: Option<&str>, now: Instant) {
        let real_jid = real_jid.map(str::to_owned);
        let new_session = self.seen.insert(address.clone(), real_jid.clone()) != Some(real_jid);
        let elsewhere = self.address().is_some_and(|at| at != address);
        // A change of role is told like an arrival; a new session behind the same nickname is a new server.
        if !elsewhere && (new_session || self.address().is_none()) {
            self.call(address, now);
        }
    }

    /// It left a room.
    pub(super) fn left(&mut self, address: &str, now: Instant) {
        self.seen.remove(address);
        if self.address() != Some(address) {
            return;
        }
        self.state = State::Away { since: self.away_since().unwrap_or(now) };
        if let Some(other) = self.seen.keys().next().cloned() {
            self.call(other, now);
        }
    }

    /// Our own session is down.
    pub(super) fn down(&mut self, now: Instant) {
        self.seen.clear();
        self.state = State::Away { since: self.away_since().unwrap_or(now) };
    }

    /// The server asks us to introduce ourselves; also one that is in no room with us.
    pub(super) fn invited(&mut self, from: &str, now: Instant) {
        self.call(from.to_owned(), now);
    }

    /// What we say of ourselves has changed: a server that has greeted us is told anew.
    pub(super) fn introduce_again(&mut self, now: Instant) {
        if let Some(address) = self.greeted_at().map(str::to_owned) {
            self.call(address, now);
        }
    }

    /// It has been seen at this address.
    pub(super) fn is_seen_at(&self, address: &str) -> bool {
        self.seen.contains_key(address)
    }

    /// The server answered `Hello`.
    pub(super) fn greeted(&mut self, from: &str, load_interval: Duration) {
        self.state = State::Greeted { address: from.to_owned(), load_interval };
    }

    /// Where `Hello` is to be said, if it is time.
    pub(super) fn hello_due(&mut self, now: Instant) -> Option<String> {
        match &mut self.state {
            State::Calling { address, again, .. } if *again <= now => {
                *again = now + HELLO_AGAIN;
                Some(address.clone())
            }
            State::Away { .. } | State::Calling { .. } | State::Greeted { .. } => None,
        }
    }

    /// The address of a server that has greeted us.
    pub(super) fn greeted_at(&self) -> Option<&str> {
        match &self.state {
            State::Greeted { address, .. } => Some(address),
            State::Away { .. } | State::Calling { .. } => None,
        }
    }

    pub(super) fn load_interval(&self) -> Option<Duration> {
        match &self.state {
            State::Greeted { load_interval, .. } => Some(*load_interval),
            State::Away { .. } | State::Calling { .. } => None,
        }
    }

    /// Since when there has been no server.
    pub(super) fn away_since(&self) -> Option<Instant> {
        match &self.state {
            State::Away { since } | State::Calling { since, .. } => Some(*since),
            State::Greeted { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Calling { again, .. } => Some(*again),
            State::Away { .. } | State::Greeted { .. } => None,
        }
    }

    fn address(&self) -> Option<&str> {
        match &self.state {
            State::Calling { address, .. } | State::Greeted { address, .. } => Some(address),
            State::Away { .. } => None,
        }
    }

    fn call(&mut self, address: String, now: Instant) {
        let since = self.away_since().unwrap_or(now);
        self.state = State::Calling { address, again: now, since };
    }
}
