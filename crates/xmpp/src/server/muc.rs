//! Rooms: XEP-0045 version 1.34, the part that a message bus needs.
//!
//! Done: discovery, entering with and without a password, presence, nicknames, real JIDs, roles, private messages,
//! subject, kick, leaving, instant rooms. Not done, on purpose: history, configuration by clients, affiliations other
//! than owner and none, invitations, registration, voice requests.

mod room;

use std::collections::BTreeMap;

use minidom::Element;

use self::room::Room;
use super::disco;
use super::domain::{DomainConfig, DomainConfigError, Effect, Sender, SessionId, request};
use crate::wire::ns;
use crate::wire::stanza::{BareJid, Condition, ElementExt, Jid, bounce};

/// A room as the embedding program wants it.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomConfig {
    /// Local part of the room's address, in lower case.
    pub name: String,
    pub password: Option<String>,
    /// Occupants at most, owners not counted (XEP-0045 §7.2.9): the room must never be too full for the one who runs it.
    pub members_max: usize,
    /// Whether the room vanishes with its last occupant.
    pub temporary: bool,
}

impl RoomConfig {
    /// Occupants of a room if nothing is said (2,000): about as many as there are connections. Each message to all is
    /// written so many times.
    pub const MEMBERS_MAX: usize = 2000;

    /// A lasting room.
    pub fn new(name: &str, password: Option<&str>) -> Self {
        let password = password.map(str::to_owned);
        Self { name: name.to_owned(), password, members_max: Self::MEMBERS_MAX, temporary: false }
    }
}

impl std::fmt::Debug for RoomConfig {
    /// Leaves the password out, so that it cannot reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Muc {
    domain: BareJid,
    rooms: BTreeMap<String, Room>,
    create_rooms: bool,
    rooms_max: usize,
    rooms_per_session_max: usize,
}

impl Muc {
    pub(super) fn new(config: &DomainConfig) -> Result<Self, DomainConfigError> {
        let wrong =
            |what, value: &str, reason: String| DomainConfigError { what, value: value.to_owned(), reason };
        let domain = BareJid::new(&config.rooms_domain)
            .map_err(|e| wrong("domain of the rooms", &config.rooms_domain, e.to_string()))?;
        let mut rooms = BTreeMap::new();
        for room in &config.rooms {
            let jid = domain
                .domain()
                .with_node_str(&room.name)
                .map_err(|e| wrong("room", &room.name, e.to_string()))?;
            if jid.node().is_none_or(|n| n.as_str() != room.name) {
                return Err(wrong("room", &room.name, "it must be in lower case".to_owned()));
            }
            rooms.insert(room.name.clone(), Room::new(jid, room.clone()));
        }
        let DomainConfig { create_rooms, rooms_max, rooms_per_session_max, .. } = *config;
        Ok(Self { domain, rooms, create_rooms, rooms_max, rooms_per_session_max })
    }

    /// A session has ended or says that it is away.
    pub(super) fn session_gone(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        for room in self.rooms.values_mut() {
            room.session_gone(session, effects);
        }
        self.drop_empty();
    }

    /// Takes a stanza to the service, a room or an occupant.
    pub(super) fn handle(&mut self, sender: &Sender, to: &Jid, stanza: &Element, effects: &mut Vec<Effect>) {
        let Some(name) = to.node() else {
            return self.to_service(sender, stanza, effects);
        };
        let nick = to.resource().map(|r| r.as_str());
        let entering = stanza.name() == "presence" && stanza.attr("type").is_none();
        if entering && !self.may_enter(sender, name.as_str(), stanza, effects) {
            return;
        }
        match self.rooms.get_mut(name.as_str()) {
            Some(room) => room.handle(sender, nick, stanza, effects),
            None => sender.refuse_in_room(stanza, Condition::ItemNotFound, effects),
        }
        self.drop_empty();
    }

    /// Sees to it that the room exists, or refuses.
    fn may_enter(
        &mut self,
        sender: &Sender,
        name: &str,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let inside = self.rooms.values().filter(|room| room.has(sender.session)).count();
        let known = self.rooms.get(name);
        let stays = known.is_some_and(|room| room.has(sender.session));
        let refusal = match known {
            _ if !stays && inside >= self.rooms_per_session_max => Condition::NotAllowed,
            Some(_) => return true,
            None if !self.create_rooms && !sender.is_owner => Condition::NotAllowed,
            None if self.rooms.len() >= self.rooms_max => Condition::NotAllowed,
            None => match self.domain.domain().with_node_str(name) {
                Ok(jid) => {
                    // The password of the first occupant becomes the room's, as with Prosody.
                    let password = given_password(stanza).filter(|p| !p.is_empty());
                    let config = RoomConfig { temporary: true, ..RoomConfig::new(name, password.as_deref()) };
                    self.rooms.insert(name.to_owned(), Room::new(jid, config));
                    return true;
                }
                Err(_) => Condition::JidMalformed,
            },
        };
        sender.refuse_in_room(stanza, refusal, effects);
        false
    }

    fn drop_empty(&mut self) {
        self.rooms.retain(|_, room| !room.is_over());
    }

    fn to_service(&self, sender: &Sender, stanza: &Element, effects: &mut Vec<Effect>) {
        let query = match stanza.name() {
            "iq" => request(stanza),
            "message" => return sender.refuse(stanza, Condition::ServiceUnavailable, effects),
            _ => return,
        };
        let Some(query) = query else { return };
        let answer = match (stanza.attr("type"), query.ns().as_str()) {
            (Some("get"), ns::DISCO_INFO) => disco::rooms_info(stanza, query),
            (Some("get"), ns::DISCO_ITEMS) => {
                let rooms = self
                    .rooms
                    .values()
                    .map(|room| (room.jid().to_string(), Some(room.config().name.clone())));
                Ok(disco::items(stanza, rooms))
            }
            (Some("get"), ns::PING) => Ok(super::ping::answer(stanza)),
            _ => Err(Condition::ServiceUnavailable),
        };
        match answer {
            Ok(stanza) => sender.answer(stanza, effects),
            Err(condition) => sender.refuse(stanza, condition, effects),
        }
    }
}

/// The password in a request to enter (§7.2.5).
fn given_password(presence: &Element) -> Option<String> {
    Some(presence.get_child("x", ns::MUC)?.get_child("password", ns::MUC)?.text())
}

impl Sender {
    /// Bounces a stanza to a room. An error presence says that it comes from a room (§7.2): clients that wait for
    /// their entry look for nothing else.
    fn refuse_in_room(&self, stanza: &Element, condition: Condition, effects: &mut Vec<Effect>) {
        let Some(mut error) = bounce(stanza, condition) else { return };
        if stanza.name() == "presence" {
            if stanza.attr("type") == Some("unavailable") {
                return;
            }
            error = Element::bare("presence", ns::CLIENT)
                .with("type", "error")
                .with_opt("id", error.attr("id"))
                .with_opt("from", error.attr("from"))
                .with_opt("to", error.attr("to"))
                .with_child(Element::bare("x", ns::MUC))
                .with_child(condition.element());
        }
        self.answer(error, effects);
    }
}
