//! The whole server as a state machine without IO: sessions and stanzas in, deliveries out.
//!
//! Routing follows the class of the address (RFC 6121 §8): the server itself, an account, a session, the rooms. There
//! are no other servers, no subscriptions and nothing is stored: what cannot be delivered now is bounced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use minidom::Element;

use super::muc::{Muc, RoomConfig};
use super::{disco, ping, roster, storage, version};
use crate::wire::ns;
use crate::wire::stanza::{BareJid, Condition, ElementExt, FullJid, Jid, bounce, iq_result};

/// One bound session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// What the surroundings have to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// What goes to many is one allocation. It has no `to` then: whoever sends it puts in the receiver's JID.
    Deliver { to: SessionId, stanza: Arc<Element> },
    /// The others in a room as they were when `to` entered it, to be sent one by one, before all that is delivered
    /// later. It shares what the room keeps, however many they are.
    TellOccupants { to: SessionId, presences: Vec<Arc<Element>> },
    /// The session is no longer part of the domain; its stream is to be closed with this condition (RFC 6120 §4.9.3).
    End { session: SessionId, condition: &'static str },
}

/// What the domain serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainConfig {
    /// Domain of the accounts, such as `anabranch.local`.
    pub domain: String,
    /// Domain of the rooms, usually `conference.` and the above.
    pub rooms_domain: String,
    /// Rooms that exist from the beginning and stay when empty.
    pub rooms: Vec<RoomConfig>,
    /// Whether entering a room that does not exist makes it; it vanishes with its last occupant.
    pub create_rooms: bool,
    /// User names that are owners and moderators of every room.
    pub owners: Vec<String>,
    /// Told on request (XEP-0092).
    pub software_name: String,
    pub software_version: String,
    pub rooms_max: usize,
    pub rooms_per_session_max: usize,
    pub sessions_per_account_max: usize,
}

/// See the module's text.
#[derive(Debug)]
pub struct Domain {
    config: DomainConfig,
    sessions: BTreeMap<SessionId, FullJid>,
    /// By user, then by resource.
    accounts: HashMap<String, BTreeMap<String, SessionId>>,
    muc: Muc,
    sessions_made: u64,
}

/// A session that sends something.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) session: SessionId,
    pub(crate) jid: FullJid,
    pub(crate) is_owner: bool,
}

/// Why a session cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("user name or resource is not valid in a JID")]
    Malformed,
    #[error("account has too many sessions")]
    TooMany,
    #[error("the server is shutting down")]
    Closed,
}

/// Why a domain cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configured {what} \"{value}\" is not valid: {reason}")]
pub struct DomainConfigError {
    pub what: &'static str,
    pub value: String,
    pub reason: String,
}

impl Domain {
    /// A domain without sessions.
    pub fn new(config: DomainConfig) -> Result<Self, DomainConfigError> {
        for (what, value) in [("domain", &config.domain), ("domain of the rooms", &config.rooms_domain)] {
            check_domain(what, value)?;
        }
        if config.domain == config.rooms_domain {
            let reason = "the accounts have it already".to_owned();
            return Err(DomainConfigError {
                what: "domain of the rooms",
                value: config.rooms_domain,
                reason,
            });
        }
        let muc = Muc::new(&config)?;
        Ok(Self { config, sessions: BTreeMap::new(), accounts: HashMap::new(), muc, sessions_made: 0 })
    }

    /// Makes a session of a user who has logged in (RFC 6120 §7). A session with the same resource ends: the newest
    /// wins, because the older one is most often a dead connection of the same program (§7.7.2.2).
    pub fn bind(
        &mut self,
        user: &str,
        resource: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(SessionId, String), BindError> {
        let jid = self.account_jid(user).and_then(|jid| jid.with_resource_str(resource).ok());
        let jid = jid.ok_or(BindError::Malformed)?;
        let user = jid.node().map_or("", |n| n.as_str()).to_owned();
        let resource = jid.resource().as_str().to_owned();
        if let Some(old) = self.accounts.get(&user).and_then(|sessions| sessions.get(&resource)).copied() {
            self.end(old, "conflict", effects);
        }
        let sessions = self.accounts.entry(user).or_default();
        if sessions.len() >= self.config.sessions_per_account_max {
            return Err(BindError::TooMany);
        }
        self.sessions_made += 1;
        let id = SessionId(self.sessions_made);
        sessions.insert(resource, id);
        let text = jid.to_string();
        self.sessions.insert(id, jid);
        Ok((id, text))
    }

    /// Removes a session, however it ended; its rooms are told. Does nothing for one that is gone already.
    pub fn unbind(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let Some(jid) = self.sessions.remove(&session) else { return };
        let user = jid.node().map_or("", |n| n.as_str());
        if let Some(sessions) = self.accounts.get_mut(user) {
            sessions.remove(jid.resource().as_str());
            if sessions.is_empty() {
                self.accounts.remove(user);
            }
        }
        self.muc.session_gone(session, effects);
    }

    /// Removes a session and asks for its stream to be closed.
    pub fn end(&mut self, session: SessionId, condition: &'static str, effects: &mut Vec<Effect>) {
        self.unbind(session, effects);
        effects.push(Effect::End { session, condition });
    }

    /// Sessions of an account, by its user name.
    pub fn sessions_of(&self, user: &str) -> Vec<SessionId> {
        self.accounts.get(user).map(|sessions| sessions.values().copied().collect()).unwrap_or_default()
    }

    /// Takes a stanza from a session and routes it.
    pub fn handle(&mut self, session: SessionId, mut stanza: Element, effects: &mut Vec<Effect>) {
        let Some(jid) = self.sessions.get(&session).cloned() else { return };
        let is_owner = jid.node().is_some_and(|n| self.config.owners.iter().any(|o| o == n.as_str()));
        let sender = Sender { session, jid, is_owner };
        // Whatever the client claims, this is who it is (RFC 6120 §8.1.2.1).
        stanza.put("from", Some(sender.jid.as_str()));
        if stanza.name() == "iq" && !is_well_formed_iq(&stanza) {
            return sender.refuse(&stanza, Condition::BadRequest, effects);
        }
        let Ok(to) = stanza.attr("to").map(Jid::new).transpose() else {
            return sender.refuse(&stanza, Condition::JidMalformed, effects);
        };
        match to {
            None => self.route_to_own_account(&sender, &stanza, effects),
            Some(to) if to.domain().as_str() == self.config.rooms_domain => {
                self.muc.handle(&sender, &to, &stanza, effects);
            }
            Some(to) if to.domain().as_str() == self.config.domain => {
                self.route_to_domain(&sender, &to, stanza, effects)
            }
            Some(_) => sender.refuse(&stanza, Condition::RemoteServerNotFound, effects),
        }
    }

    fn account_jid(&self, user: &str) -> Option<BareJid> {
        let domain = BareJid::new(&self.config.domain).ok()?;
        domain.domain().with_node_str(user).ok()
    }

    fn route_to_domain(&mut self, sender: &Sender, to: &Jid, stanza: Element, effects: &mut Vec<Effect>) {
        let Some(user) = to.node() else {
            return self.route_to_server(sender, &stanza, effects);
        };
        match to.resource() {
            Some(resource) => {
                let sessions = self.accounts.get(user.as_str());
                match sessions.and_then(|sessions| sessions.get(resource.as_str())) {
                    Some(to) => effects.push(Effect::Deliver { to: *to, stanza: Arc::new(stanza) }),
                    None => sender.refuse_unless_presence(&stanza, effects),
                }
            }
            None if to.to_bare() == sender.jid.to_bare() && stanza.name() == "iq" => {
                self.route_to_own_account(sender, &stanza, effects);
            }
            None => self.route_to_account(sender, user.as_str(), &stanza, effects),
        }
    }

    /// RFC 6121 §8.5.2: messages reach every session of the account; for anything else there is nobody to answer. An
    /// account that does not exist looks like one that is not logged in.
    fn route_to_account(&self, sender: &Sender, user: &str, stanza: &Element, effects: &mut Vec<Effect>) {
        let kind = stanza.attr("type");
        match (stanza.name(), self.accounts.get(user)) {
            ("message", Some(sessions)) if !matches!(kind, Some("groupchat")) => {
                let stanza = Arc::new(stanza.clone());
                let copy = |to: &SessionId| Effect::Deliver { to: *to, stanza: Arc::clone(&stanza) };
                effects.extend(sessions.values().map(copy));
            }
            _ => sender.refuse_unless_presence(stanza, effects),
        }
    }

    /// To no one in particular (RFC 6120 §10.3): what the server does for an account.
    fn route_to_own_account(&mut self, sender: &Sender, stanza: &Element, effects: &mut Vec<Effect>) {
        match (stanza.name(), stanza.attr("type")) {
            // RFC 6121 §4.5.2: whoever goes away leaves the rooms too.
            ("presence", Some("unavailable")) => self.muc.session_gone(sender.session, effects),
            ("presence", _) => {}
            ("message", _) => {
                let user = sender.jid.node().map_or("", |n| n.as_str());
                self.route_to_account(sender, user, stanza, effects);
            }
            _ => self.iq(sender, stanza, effects),
        }
    }

    fn route_to_server(&self, sender: &Sender, stanza: &Element, effects: &mut Vec<Effect>) {
        match stanza.name() {
            "iq" => self.iq(sender, stanza, effects),
            _ => sender.refuse_unless_presence(stanza, effects),
        }
    }

    /// Requests to the server or to the sender's own account.
    fn iq(&self, sender: &Sender, iq: &Element, effects: &mut Vec<Effect>) {
        let Some(query) = request(iq) else { return };
        let answer = match (iq.attr("type"), query.ns().as_str()) {
            (Some("get"), ns::PING) => Ok(ping::answer(iq)),
            (Some("get"), ns::DISCO_INFO) => disco::server_info(iq, query),
            (Some("get"), ns::DISCO_ITEMS) => Ok(disco::server_items(iq, &self.config.rooms_domain)),
            (Some("get"), ns::VERSION) => Ok(version::answer(iq, &self.config)),
            (Some("get"), ns::ROSTER) => Ok(roster::empty(iq)),
            (Some("get"), ns::PRIVATE | ns::VCARD) => Ok(storage::nothing_stored(iq, query)),
            (Some("set"), ns::SESSION) => Ok(iq_result(iq)),
            (Some("set"), ns::ROSTER | ns::PRIVATE | ns::VCARD | ns::BIND) => Err(Condition::NotAllowed),
            _ => Err(Condition::ServiceUnavailable),
        };
        match answer {
            Ok(stanza) => sender.answer(stanza, effects),
            Err(condition) => sender.refuse(iq, condition, effects),
        }
    }
}

impl Sender {
    pub(crate) fn answer(&self, stanza: Element, effects: &mut Vec<Effect>) {
        effects.push(Effect::Deliver { to: self.session, stanza: Arc::new(stanza) });
    }

    /// Bounces a stanza; answers and errors are dropped instead.
    pub(crate) fn refuse(&self, stanza: &Element, condition: Condition, effects: &mut Vec<Effect>) {
        if let Some(stanza) = bounce(stanza, condition) {
            self.answer(stanza, effects);
        }
    }

    /// Presence to someone who is not there is dropped silently (RFC 6121 §8.5.3.2.2).
    fn refuse_unless_presence(&self, stanza: &Element, effects: &mut Vec<Effect>) {
        if stanza.name() != "presence" {
            self.refuse(stanza, Condition::ServiceUnavailable, effects);
        }
    }
}

/// The payload of an IQ request; `None` for answers, which need none from us.
pub(crate) fn request(iq: &Element) -> Option<&Element> {
    match iq.attr("type") {
        Some("get" | "set") => iq.children().next(),
        _ => None,
    }
}

/// RFC 6120 §8.2.3.
fn is_well_formed_iq(iq: &Element) -> bool {
    let id = iq.attr("id").is_some_and(|id| !id.is_empty());
    match iq.attr("type") {
        Some("get" | "set") => id && iq.children().count() == 1,
        Some("result" | "error") => id,
        _ => false,
    }
}

fn check_domain(what: &'static str, value: &str) -> Result<(), DomainConfigError> {
    let wrong = |reason: String| DomainConfigError { what, value: value.to_owned(), reason };
    let jid = Jid::new(value).map_err(|e| wrong(e.to_string()))?;
    if jid.node().is_some() || jid.resource().is_some() || jid.as_str() != value {
        return Err(wrong("it must be a host name in lower case".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
