//! The servers: one, or the nodes of several that share their jobs.
//!
//! A server is named by its nickname, in however many rooms it is: the one that is configured, or that with `-` and the name of a node
//! behind it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anabranch_xmpp::Incoming;

use super::AgentSettings;
use super::home::Home;
use crate::post::bare;

/// Servers that are known at once: more nodes than anyone has, and whoever may enter the room under any name can't fill our memory.
const SERVERS_MAX: usize = 64;

/// Where the servers are.
pub(super) struct Homes {
    nick: String,
    account: Option<String>,
    started: Instant,
    homes: BTreeMap<String, Home>,
}

/// The nickname of an address in a room.
fn name(address: &str) -> &str {
    address.split_once('/').map_or("", |(_, nick)| nick)
}

impl Homes {
    pub(super) fn new(settings: &AgentSettings, now: Instant) -> Self {
        Self {
            nick: settings.orchestrator_nick.clone(),
            account: settings.orchestrator_account.clone(),
            started: now,
            homes: BTreeMap::new(),
        }
    }

    fn is_nick(&self, nick: &str) -> bool {
        nick.strip_prefix(&self.nick).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Whether an occupant is a server: by nickname, and by account where both sides of that are known.
    fn is_server(&self, nick: &str, real_jid: Option<&str>) -> bool {
        let account_fits = match (&self.account, real_jid) {
            (Some(account), Some(jid)) => bare(jid) == account,
            (None, _) | (_, None) => true,
        };
        if self.is_nick(nick) && !account_fits {
            tracing::warn!(nick, real_jid, "someone else uses a server's nickname");
        }
        self.is_nick(nick) && account_fits
    }

    fn home(&mut self, nick: &str, now: Instant) -> Option<&mut Home> {
        if !self.homes.contains_key(nick) && self.homes.len() >= SERVERS_MAX {
            tracing::error!(nick, SERVERS_MAX, "no more servers are taken");
            return None;
        }
        Some(self.homes.entry(nick.to_owned()).or_insert_with(|| Home::new(now)))
    }

    /// Someone is in a room.
    pub(super) fn joined(&mut self, room: &str, nick: &str, real_jid: Option<&str>, now: Instant) {
        if self.is_server(nick, real_jid)
            && let Some(home) = self.home(nick, now)
        {
            home.joined(format!("{room}/{nick}"), real_jid, now);
        }
    }

    /// Someone left a room.
    pub(super) fn left(&mut self, room: &str, nick: &str, now: Instant) {
        if let Some(home) = self.homes.get_mut(nick) {
            home.left(&format!("{room}/{nick}"), now);
        }
    }

    /// Our own session is down.
    pub(super) fn down(&mut self, now: Instant) {
        self.homes.values_mut().for_each(|home| home.down(now));
    }

    /// A server asks us to introduce ourselves; also one that is in no room with us.
    pub(super) fn invited(&mut self, from: &str, now: Instant) {
        if let Some(home) = self.home(name(from), now) {
            home.invited(from, now);
        }
    }

    /// What we say of ourselves has changed: servers that have greeted us are told anew.
    pub(super) fn introduce_again(&mut self, now: Instant) {
        self.homes.values_mut().for_each(|home| home.introduce_again(now));
    }

    /// Whether a message comes from a server that we may listen to.
    pub(super) fn listens_to(&self, incoming: &Incoming) -> bool {
        let by_account = match (&self.account, &incoming.real_jid) {
            (Some(account), Some(jid)) => bare(jid) == account,
            (None, _) | (_, None) => false,
        };
        by_account || self.homes.get(name(&incoming.from)).is_some_and(|home| home.is_seen_at(&incoming.from))
    }

    /// A server answered `Hello`; true where it had done so before, and has not gone since.
    pub(super) fn greeted(&mut self, from: &str, load_interval: Duration, now: Instant) -> bool {
        let again = self.greeted_by(from).is_some();
        if let Some(home) = self.home(name(from), now) {
            home.greeted(from, load_interval);
        }
        again
    }

    /// Addresses where `Hello` is to be said, if it is time.
    pub(super) fn hello_due(&mut self, now: Instant) -> Vec<String> {
        self.homes.values_mut().filter_map(|home| home.hello_due(now)).collect()
    }

    /// The name of the server that has greeted us from this address.
    pub(super) fn greeted_by<'a>(&self, address: &'a str) -> Option<&'a str> {
        let name = name(address);
        (self.address(name) == Some(address)).then_some(name)
    }

    /// The address of a server that has greeted us.
    pub(super) fn address(&self, name: &str) -> Option<&str> {
        self.homes.get(name)?.greeted_at()
    }

    /// Servers that have greeted us: name and address.
    pub(super) fn greeted_all(&self) -> Vec<(String, String)> {
        let greeted = |(name, home): (&String, &Home)| Some((name.clone(), home.greeted_at()?.to_owned()));
        self.homes.iter().filter_map(greeted).collect()
    }

    /// A server has greeted us.
    pub(super) fn is_greeted(&self) -> bool {
        self.homes.values().any(|home| home.greeted_at().is_some())
    }

    /// The shortest that a server asks for.
    pub(super) fn load_interval(&self) -> Option<Duration> {
        self.homes.values().filter_map(Home::load_interval).min()
    }

    /// Since when there has been no server.
    pub(super) fn away_since(&self) -> Option<Instant> {
        if self.is_greeted() {
            return None;
        }
        self.homes.values().filter_map(Home::away_since).chain([self.started]).max()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.homes.values().filter_map(Home::deadline).min()
    }
}
