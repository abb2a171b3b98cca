//! What a session says and hears once it is bound, without IO and with time as a parameter: rooms, occupants, pings,
//! and the translation between stanzas and [`BusEvent`]s. Sessions over TCP and within the process share it.

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use minidom::Element;

use self::room::Room;
use super::ClientError;
use crate::bus::{BusEvent, Command, Incoming, MessageKind, Outgoing, RoomJoin};
use crate::wire::ns;
use crate::wire::scram::nonce;
use crate::wire::stanza::{
    BareJid, Condition, ElementExt, Jid, bounce, error_condition, iq, iq_result, size_estimate, unwritable,
};

/// When a conversation does things by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often a dead link is looked for (30 s); `None` where there is no link that could die.
    pub ping_every: Option<Duration>,
    /// Time for the answer (10 s); then the link counts as dead.
    pub ping_timeout: Duration,
    /// How often we ask a room whether we are still in it (5 min): servers lose occupants silently (XEP-0410).
    pub self_ping_every: Duration,
    /// Time for entering a room (10 s), counted anew from each occupant that it tells of. Until every room is entered or this is over, messages wait.
    pub join_timeout: Duration,
    /// Pause before another try to enter a room where our nickname is taken, most often by our own dead session (2 s).
    pub nick_retry_after: Duration,
    /// Pause before another try to enter a room that is closed to us for now: full, not there, we were put out (10 s).
    pub room_retry_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_every: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(10),
            self_ping_every: Duration::from_secs(300),
            join_timeout: Duration::from_secs(10),
            nick_retry_after: Duration::from_secs(2),
            room_retry_after: Duration::from_secs(10),
        }
    }
}

/// What the session's task has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Send(Element),
    Emit(BusEvent),
    /// The link is dead or useless: close it and connect anew.
    Reconnect(String),
    Fatal(ClientError),
    /// The program wants to end the session.
    Close,
}

#[derive(Debug)]
pub(crate) struct Conversation {
    timing: Timing,
    /// Bytes of a message at most; a longer one would cost us the connection.
    stanza_bytes_max: usize,
    /// Rooms to be in, by bare JID.
    rooms: BTreeMap<String, Room>,
    /// Domains of all rooms we ever were in: what comes from there names an occupant, never a person.
    rooms_domains: BTreeSet<String>,
    link: Option<Link>,
    pings_sent: u64,
}

/// What is true while the session is bound.
#[derive(Debug)]
struct Link {
    /// Until then messages wait for the rooms.
    settled_by: Instant,
    ping: Ping,
}

#[derive(Debug)]
enum Ping {
    Off,
    Next(Instant),
    Unanswered { since: Instant, by: Instant },
}

impl Conversation {
    pub(crate) fn new(
        timing: Timing,
        stanza_bytes_max: usize,
        rooms: Vec<RoomJoin>,
    ) -> Result<Self, ClientError> {
        let (no_rooms, no_domains) = (BTreeMap::new(), BTreeSet::new());
        let mut conversation = Self {
            timing,
            stanza_bytes_max,
            rooms: no_rooms,
            rooms_domains: no_domains,
            link: None,
            pings_sent: 0,
        };
        for join in rooms {
            conversation.add_room(join).map_err(|(value, reason)| ClientError::Config {
                what: "room",
                value,
                reason,
            })?;
        }
        Ok(conversation)
    }

    /// The session is bound.
    pub(crate) fn link_up(&mut self, jid: String, now: Instant) -> Vec<Action> {
        let mut actions = vec![
            Action::Emit(BusEvent::Up { jid }),
            // Makes us an available resource, so that messages to the bare JID arrive on servers other than ours.
            Action::Send(Element::bare("presence", ns::CLIENT)),
        ];
        let ping = self.timing.ping_every.map_or(Ping::Off, |every| Ping::Next(now + every));
        self.link = Some(Link { settled_by: now + self.timing.join_timeout, ping });
        for room in self.rooms.values_mut() {
            room.enter(now, &self.timing, &mut actions);
        }
        actions
    }

    /// The session is lost; nothing of what we knew about others holds.
    pub(crate) fn link_down(&mut self) {
        self.link = None;
        for room in self.rooms.values_mut() {
            room.forget();
        }
    }

    /// Whether the rooms are entered, so that messages may leave.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| now >= link.settled_by || self.rooms.values().all(Room::is_settled))
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_timer(&self, now: Instant) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let ping = match link.ping {
            Ping::Off => None,
            Ping::Next(at) | Ping::Unanswered { by: at, .. } => Some(at),
        };
        let settle = (!self.is_settled(now)).then_some(link.settled_by);
        self.rooms.values().filter_map(Room::next_timer).chain(ping).chain(settle).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(link) = &mut self.link else { return actions };
        match link.ping {
            Ping::Next(at) if at <= now => {
                actions.push(Action::Send(ping(self.pings_sent)));
                self.pings_sent += 1;
                link.ping = Ping::Unanswered { since: now, by: now + self.timing.ping_timeout };
            }
            Ping::Unanswered { since, by } if by <= now => {
                let waited = now.duration_since(since).as_secs_f32();
                actions.push(Action::Reconnect(format!("no answer to a ping for {waited:.1} s")));
            }
            _ => {}
        }
        for room in self.rooms.values_mut() {
            room.tick(now, &self.timing, &mut actions);
        }
        actions
    }

    /// Takes a stanza from the server.
    pub(crate) fn handle(&mut self, stanza: &Element, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let (Some(link), Some(every)) = (&mut self.link, self.timing.ping_every) {
            // Anything heard proves that the link lives.
            link.ping = Ping::Next(now + every);
        }
        match stanza.name() {
            "message" => {
                self.of_room(stanza, now, &mut actions);
                actions.extend(self.message(stanza));
            }
            "presence" => self.presence(stanza, now, &mut actions),
            "iq" => self.iq(stanza, now, &mut actions),
            _ => {}
        }
        actions
    }

    /// Takes a wish of the program.
    pub(crate) fn command(&mut self, command: Command, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match command {
            Command::Send(message) => actions.push(self.outgoing(message)),
            Command::Join(join) => match self.add_room(join) {
                Ok(room) if self.link.is_some() => {
                    if let Some(room) = self.rooms.get_mut(&room) {
                        room.enter(now, &self.timing, &mut actions);
                    }
                }
                Ok(_) => {}
                Err((to, reason)) => actions.push(Action::Emit(BusEvent::Dropped { to, id: None, reason })),
            },
            Command::Leave { room } => {
                if let Some(room) = self.rooms.remove(&bare(&room)) {
                    room.leave(&mut actions);
                }
            }
            Command::Kick { room, nick, reason } => actions.push(Action::Send(kick(&room, &nick, &reason))),
            Command::Close => actions.push(Action::Close),
        }
        actions
    }

    /// A question to the server that has to be answered.
    pub(crate) fn ping(&mut self) -> Element {
        self.pings_sent += 1;
        ping(self.pings_sent - 1)
    }

    fn add_room(&mut self, join: RoomJoin) -> Result<String, (String, String)> {
        let jid = BareJid::new(&join.room).map_err(|e| (join.room.clone(), e.to_string()))?;
        if jid.node().is_none() {
            return Err((join.room, "a room needs a name before the \"@\"".to_owned()));
        }
        let occupant = jid.with_resource_str(&join.nick).map_err(|e| (join.nick.clone(), e.to_string()))?;
        let room = jid.to_string();
        let nick = occupant.resource().as_str().to_owned();
        self.rooms_domains.insert(jid.domain().as_str().to_owned());
        self.rooms.insert(room.clone(), Room::new(room.clone(), nick, join.password));
        Ok(room)
    }

    fn outgoing(&self, message: Outgoing) -> Action {
        let stanza = message_stanza(&message);
        let size = size_estimate(&stanza);
        let reason = match (Jid::new(&message.to), unwritable(&stanza, 1)) {
            (Err(e), _) => format!("address is not valid: {e}"),
            (_, Some(reason)) => reason.to_owned(),
            _ if size > self.stanza_bytes_max => {
                format!("{size} bytes are more than {}", self.stanza_bytes_max)
            }
            _ => return Action::Send(stanza),
        };
        Action::Emit(BusEvent::Dropped { to: message.to, id: message.id, reason })
    }

    /// What a room says about itself (XEP-0045 §10.2.1).
    fn of_room(&mut self, stanza: &Element, now: Instant, actions: &mut Vec<Action>) {
        let (room, nick) = split(stanza.attr("from").unwrap_or_default());
        if let (Some(room), None) = (self.rooms.get_mut(room), nick) {
            room.configured(stanza, now, &self.timing, actions);
        }
    }

    fn message(&self, stanza: &Element) -> Option<Action> {
        // Replayed history and messages kept while we were away (XEP-0203) look like news, and are none.
        if stanza.has_child("delay", ns::DELAY) || stanza.has_child("x", ns::LEGACY_DELAY) {
            return None;
        }
        let from = stanza.attr("from")?.to_owned();
        let kind = MessageKind::parse(stanza.attr("type"));
        let has_body = stanza.has_child("body", ns::CLIENT);
        let (room_jid, nick) = split(&from);
        // The subject, and what the room says about itself, such as a change of its configuration (XEP-0045 §10.2.1).
        let is_about_room = nick.is_none() || stanza.has_child("subject", ns::CLIENT);
        if kind == MessageKind::Groupchat && !has_body && is_about_room {
            return None;
        }
        let (room, nick, real_jid) = match self.rooms.get(room_jid) {
            Some(room) => (Some(room_jid.to_owned()), nick, nick.and_then(|nick| room.real_jid(nick))),
            // From a room that we just left: not an identity either.
            None if self.is_rooms_domain(room_jid) => (Some(room_jid.to_owned()), nick, None),
            None => (None, None, Some(from.clone())),
        };
        let own = self.rooms.get(room_jid).and_then(Room::nick);
        if kind == MessageKind::Groupchat && own.is_some() && own == nick {
            return None;
        }
        let nick = nick.map(str::to_owned);
        let id = stanza.attr("id").map(str::to_owned);
        let body = stanza.get_child("body", ns::CLIENT).map(Element::text);
        let payloads = stanza.children().filter(|c| !c.is("body", ns::CLIENT)).cloned().collect();
        Some(Action::Emit(BusEvent::Message(Incoming {
            from,
            room,
            nick,
            real_jid,
            kind,
            id,
            body,
            payloads,
        })))
    }

    fn is_rooms_domain(&self, jid: &str) -> bool {
        jid.split_once('@').is_some_and(|(_, domain)| self.rooms_domains.contains(domain))
    }

    fn presence(&mut self, stanza: &Element, now: Instant, actions: &mut Vec<Action>) {
        let Some(from) = stanza.attr("from") else { return };
        let (room, nick) = split(from);
        if let Some(room) = self.rooms.get_mut(room) {
            room.presence(nick, stanza, now, &self.timing, actions);
        }
    }

    fn iq(&mut self, stanza: &Element, now: Instant, actions: &mut Vec<Action>) {
        let query = stanza.children().next();
        match (stanza.attr("type"), query.map(Element::ns).as_deref()) {
            (Some("get"), Some(ns::PING)) => actions.push(Action::Send(iq_result(stanza))),
            (Some("get" | "set"), _) => {
                actions.extend(bounce(stanza, Condition::ServiceUnavailable).map(Action::Send));
            }
            (Some(kind @ ("result" | "error")), _) => {
                let (room, _) = split(stanza.attr("from").unwrap_or_default());
                let failure = (kind == "error").then(|| error_condition(stanza));
                if let (Some(room), Some(id)) = (self.rooms.get_mut(room), stanza.attr("id")) {
                    room.self_ping_answer(id, failure.as_deref(), now, &self.timing, actions);
                }
            }
            _ => {}
        }
    }
}

/// XEP-0199 §4.2: to the server that holds our account.
fn ping(number: u64) -> Element {
    iq("get", &format!("ping-{number}"), None).with_child(Element::bare("ping", ns::PING))
}

/// XEP-0045 §8.2.
fn kick(room: &str, nick: &str, reason: &str) -> Element {
    let reason = Element::bare("reason", ns::MUC_ADMIN).with_text(reason);
    let item =
        Element::bare("item", ns::MUC_ADMIN).with("nick", nick).with("role", "none").with_child(reason);
    iq("set", &nonce(), Some(room)).with_child(Element::bare("query", ns::MUC_ADMIN).with_child(item))
}

fn message_stanza(message: &Outgoing) -> Element {
    let mut stanza = Element::bare("message", ns::CLIENT)
        .with("to", &message.to)
        .with("type", message.kind.as_str())
        .with_opt("id", message.id.as_deref());
    if let Some(body) = &message.body {
        stanza.append_child(Element::bare("body", ns::CLIENT).with_text(body));
    }
    for payload in &message.payloads {
        stanza.append_child(payload.clone());
    }
    stanza
}

/// Bare JID and resource; a resource may contain more slashes.
fn split(jid: &str) -> (&str, Option<&str>) {
    match jid.split_once('/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (jid, None),
    }
}

/// A bare JID in its normal form, if it has one.
fn bare(jid: &str) -> String {
    BareJid::new(jid).map_or_else(|_| jid.to_owned(), |jid| jid.to_string())
}

#[cfg(test)]
mod tests;
