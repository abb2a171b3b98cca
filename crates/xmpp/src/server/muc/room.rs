//! One room as a state machine.

use std::collections::BTreeMap;

use minidom::Element;
use subtle::ConstantTimeEq;

use super::{RoomConfig, given_password};
use crate::server::disco;
use crate::server::domain::{Effect, Sender, SessionId, request};
use crate::server::ping;
use crate::wire::ns;
use crate::wire::stanza::{BareJid, Condition, ElementExt, FullJid, ResourcePart, iq_result};

/// XEP-0045 §15.6: everyone sees real JIDs, this is about you, the room is new, you were kicked, a nickname changes.
const STATUS_NON_ANONYMOUS: &str = "100";
const STATUS_SELF: &str = "110";
const STATUS_CREATED: &str = "201";
const STATUS_NICK_CHANGED: &str = "303";
const STATUS_KICKED: &str = "307";

#[derive(Debug)]
pub(super) struct Room {
    jid: BareJid,
    config: RoomConfig,
    /// By nickname.
    occupants: BTreeMap<String, Occupant>,
    /// The last subject and the occupant JID that set it.
    subject: Option<(String, String)>,
    /// A temporary room is over when it is empty, but not before its first occupant.
    entered: bool,
}

#[derive(Debug, Clone)]
struct Occupant {
    session: SessionId,
    jid: FullJid,
    is_owner: bool,
    /// What the last presence carried: `<show/>`, `<status/>`, capabilities.
    presence: Vec<Element>,
}

impl Occupant {
    fn affiliation(&self) -> &'static str {
        if self.is_owner { "owner" } else { "none" }
    }

    /// Never below participant: agents ignore visitors.
    fn role(&self) -> &'static str {
        if self.is_owner { "moderator" } else { "participant" }
    }
}

impl Room {
    pub(super) fn new(jid: BareJid, config: RoomConfig) -> Self {
        Self { jid, config, occupants: BTreeMap::new(), subject: None, entered: false }
    }

    pub(super) fn jid(&self) -> &BareJid {
        &self.jid
    }

    pub(super) fn config(&self) -> &RoomConfig {
        &self.config
    }

    pub(super) fn has(&self, session: SessionId) -> bool {
        self.nick_of(session).is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        // A room whose first visitor was refused has no occupant either.
        self.config.temporary && self.occupants.is_empty()
    }

    /// Takes a stanza to the room (`nick` is `None`) or to an occupant.
    pub(super) fn handle(
        &mut self,
        sender: &Sender,
        nick: Option<&str>,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) {
        let done = match (stanza.name(), stanza.attr("type"), nick) {
            (_, Some("error"), None) | ("presence", Some("error"), _) => Ok(()),
            ("presence", Some("unavailable"), _) => self.leave(sender, stanza, effects),
            ("presence", None, Some(nick)) => self.presence(sender, nick, stanza, effects),
            ("presence", None, None) => Err(Condition::JidMalformed),
            ("message", Some("groupchat"), None) => self.groupchat(sender, stanza, effects),
            ("message", Some("groupchat"), Some(_)) => Err(Condition::BadRequest),
            ("message", _, Some(nick)) => self.private(sender, nick, stanza, effects),
            ("message", _, None) => Err(Condition::NotAcceptable),
            ("iq", _, Some(nick)) => self.iq_to_occupant(sender, nick, stanza, effects),
            ("iq", _, None) => self.iq(sender, stanza, effects),
            _ => Ok(()),
        };
        if let Err(condition) = done {
            sender.refuse_in_room(stanza, condition, effects);
        }
    }

    /// A session was lost: the others learn it at once.
    pub(super) fn session_gone(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        let Some(nick) = self.nick_of(session).map(str::to_owned) else { return };
        let Some(gone) = self.occupants.remove(&nick) else { return };
        let item = item("none", gone.affiliation(), Some(&gone.jid));
        let presence = self.presence_of(&nick, Some("unavailable"));
        for to in self.occupants.values() {
            let user = Element::bare("x", ns::MUC_USER).with_child(item.clone());
            deliver(to, presence.clone().with_child(user), effects);
        }
    }

    fn nick_of(&self, session: SessionId) -> Option<&str> {
        self.occupants.iter().find(|(_, o)| o.session == session).map(|(nick, _)| nick.as_str())
    }

    fn occupant_jid(&self, nick: &str) -> String {
        format!("{}/{nick}", self.jid)
    }

    fn presence_of(&self, nick: &str, kind: Option<&str>) -> Element {
        Element::bare("presence", ns::CLIENT).with("from", &self.occupant_jid(nick)).with_opt("type", kind)
    }

    /// Available presence to an occupant JID: entering, another nickname, or another status (§7.2, §7.6, §7.7).
    fn presence(
        &mut self,
        sender: &Sender,
        nick: &str,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Condition> {
        if ResourcePart::new(nick).is_err() {
            return Err(Condition::JidMalformed);
        }
        if self.occupants.get(nick).is_some_and(|o| o.session != sender.session) {
            return Err(Condition::Conflict);
        }
        let payload = payload_of(stanza);
        match self.nick_of(sender.session).map(str::to_owned) {
            Some(old) if old != nick => self.rename(&old, nick, payload, effects),
            Some(old) if !stanza.has_child("x", ns::MUC) => {
                self.announce(&old, payload, stanza.attr("id"), effects)
            }
            // Someone who is in and enters again has lost track (§7.2.2): tell everything once more.
            Some(_) => self.enter(sender, nick, stanza, payload, effects),
            None => {
                self.check_password(stanza)?;
                if self.occupants.len() >= self.config.members_max && !sender.is_owner {
                    return Err(Condition::RoomFull);
                }
                self.enter(sender, nick, stanza, payload, effects);
            }
        }
        Ok(())
    }

    /// §7.2.5. In constant time, as guessing one is all that keeps strangers with an account out.
    fn check_password(&self, stanza: &Element) -> Result<(), Condition> {
        let Some(password) = &self.config.password else { return Ok(()) };
        let given = given_password(stanza).unwrap_or_default();
        if bool::from(given.as_bytes().ct_eq(password.as_bytes())) {
            Ok(())
        } else {
            Err(Condition::NotAuthorized)
        }
    }

    /// The order is what clients wait for (§7.2): who is there, the newcomer itself, the subject even if there is none.
    fn enter(
        &mut self,
        sender: &Sender,
        nick: &str,
        stanza: &Element,
        payload: Vec<Element>,
        effects: &mut Vec<Effect>,
    ) {
        let created = self.config.temporary && !self.entered;
        self.entered = true;
        let (session, jid, is_owner) = (sender.session, sender.jid.clone(), sender.is_owner);
        let newcomer = Occupant { session, jid, is_owner, presence: payload };
        for (other, occupant) in self.occupants.iter().filter(|(_, o)| o.session != session) {
            deliver(&newcomer, self.full_presence(other, occupant, &[]), effects);
        }
        self.occupants.insert(nick.to_owned(), newcomer.clone());
        for occupant in self.occupants.values().filter(|o| o.session != session) {
            deliver(occupant, self.full_presence(nick, &newcomer, &[]), effects);
        }
        let statuses = [STATUS_NON_ANONYMOUS, STATUS_SELF, STATUS_CREATED];
        let statuses = if created { &statuses[..] } else { &statuses[..2] };
        let own = self.full_presence(nick, &newcomer, statuses).with_opt("id", stanza.attr("id"));
        deliver(&newcomer, own, effects);
        deliver(&newcomer, self.subject_message(), effects);
    }

    fn subject_message(&self) -> Element {
        let (text, from) = match &self.subject {
            Some((text, from)) => (text.as_str(), from.clone()),
            None => ("", self.jid.to_string()),
        };
        Element::bare("message", ns::CLIENT)
            .with("type", "groupchat")
            .with("from", &from)
            .with_child(Element::bare("subject", ns::CLIENT).with_text(text))
    }

    /// Tells everyone about a new status of an occupant.
    fn announce(&mut self, nick: &str, payload: Vec<Element>, id: Option<&str>, effects: &mut Vec<Effect>) {
        let Some(occupant) = self.occupants.get_mut(nick) else { return };
        occupant.presence = payload;
        let occupant = occupant.clone();
        for to in self.occupants.values() {
            let is_self = to.session == occupant.session;
            let statuses: &[&str] = if is_self { &[STATUS_NON_ANONYMOUS, STATUS_SELF] } else { &[] };
            let id = if is_self { id } else { None };
            deliver(to, self.full_presence(nick, &occupant, statuses).with_opt("id", id), effects);
        }
    }

    /// §7.6: gone under the old name, there under the new one.
    fn rename(&mut self, old: &str, new: &str, payload: Vec<Element>, effects: &mut Vec<Effect>) {
        let Some(occupant) = self.occupants.remove(old) else { return };
        let gone = self.presence_of(old, Some("unavailable"));
        let item = item(occupant.role(), occupant.affiliation(), Some(&occupant.jid)).with("nick", new);
        self.occupants.insert(new.to_owned(), occupant.clone());
        for to in self.occupants.values() {
            let mut user = Element::bare("x", ns::MUC_USER)
                .with_child(item.clone())
                .with_child(status(STATUS_NICK_CHANGED));
            if to.session == occupant.session {
                user.append_child(status(STATUS_SELF));
            }
            deliver(to, gone.clone().with_child(user), effects);
        }
        self.announce(new, payload, None, effects);
    }

    fn full_presence(&self, nick: &str, occupant: &Occupant, statuses: &[&str]) -> Element {
        let mut presence = self.presence_of(nick, None);
        for child in &occupant.presence {
            presence.append_child(child.clone());
        }
        let mut user = Element::bare("x", ns::MUC_USER);
        user.append_child(item(occupant.role(), occupant.affiliation(), Some(&occupant.jid)));
        for code in statuses {
            user.append_child(status(code));
        }
        presence.with_child(user)
    }

    /// §7.14. Whoever is not in the room has nothing to leave, and is not told so.
    fn leave(
        &mut self,
        sender: &Sender,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Condition> {
        let Some(nick) = self.nick_of(sender.session).map(str::to_owned) else { return Ok(()) };
        let Some(gone) = self.occupants.get(&nick).cloned() else { return Ok(()) };
        let user =
            Element::bare("x", ns::MUC_USER).with_child(item("none", gone.affiliation(), Some(&gone.jid)));
        let mut own = self.presence_of(&nick, Some("unavailable")).with_opt("id", stanza.attr("id"));
        own.append_child(user.with_child(status(STATUS_SELF)));
        deliver(&gone, own, effects);
        self.session_gone(sender.session, effects);
        Ok(())
    }

    /// §7.4, and §8.1 for a message that has a subject and nothing else.
    fn groupchat(
        &mut self,
        sender: &Sender,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Condition> {
        let nick = self.nick_of(sender.session).ok_or(Condition::NotAcceptable)?.to_owned();
        let from = self.occupant_jid(&nick);
        let subject = stanza.get_child("subject", ns::CLIENT).map(Element::text);
        if let Some(text) = subject.filter(|_| !stanza.has_child("body", ns::CLIENT)) {
            if !sender.is_owner {
                return Err(Condition::Forbidden);
            }
            self.subject = Some((text, from.clone()));
        }
        let mut message = without_claims(stanza);
        message.put("from", Some(&from));
        for to in self.occupants.values() {
            deliver(to, message.clone(), effects);
        }
        Ok(())
    }

    /// §7.5: chat or normal, to one occupant.
    fn private(
        &self,
        sender: &Sender,
        nick: &str,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Condition> {
        let own = self.nick_of(sender.session).ok_or(Condition::NotAcceptable)?;
        let to = self.occupants.get(nick).ok_or(Condition::ItemNotFound)?;
        let mut message = without_claims(stanza);
        message.put("from", Some(&self.occupant_jid(own)));
        message.append_child(Element::bare("x", ns::MUC_USER));
        deliver(to, message, effects);
        Ok(())
    }

    /// XEP-0410 §3 for a ping to oneself, which the room answers; everything else goes to the other occupant.
    fn iq_to_occupant(
        &self,
        sender: &Sender,
        nick: &str,
        stanza: &Element,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Condition> {
        let own = self.nick_of(sender.session).ok_or(Condition::NotAcceptable)?;
        let to = self.occupants.get(nick).ok_or(Condition::ItemNotFound)?;
        let is_ping = request(stanza).is_some_and(|query| query.is("ping", ns::PING));
        if is_ping && own == nick {
            sender.answer(ping::answer(stanza), effects);
            return Ok(());
        }
        let mut iq = stanza.clone();
        iq.put("from", Some(&self.occupant_jid(own)));
        deliver(to, iq, effects);
        Ok(())
    }

    fn iq(&mut self, sender: &Sender, iq: &Element, effects: &mut Vec<Effect>) -> Result<(), Condition> {
        let Some(query) = request(iq) else { return Ok(()) };
        let answer = match (iq.attr("type"), query.ns().as_str()) {
            (Some("get"), ns::DISCO_INFO) => disco::room_info(iq, query, &self.config)?,
            (Some("get"), ns::DISCO_ITEMS) => self.occupants_for(sender, iq),
            (Some("get"), ns::PING) => ping::answer(iq),
            (Some("set"), ns::MUC_ADMIN) => {
                self.kick(sender, query, effects)?;
                iq_result(iq)
            }
            (_, ns::MUC_ADMIN | ns::MUC_OWNER) if !sender.is_owner => return Err(Condition::Forbidden),
            // §10.1.2: an instant room takes the defaults, and those are all there is.
            (Some("set"), ns::MUC_OWNER) if is_empty_submission(query) => iq_result(iq),
            (_, ns::MUC_OWNER) => return Err(Condition::FeatureNotImplemented),
            _ => return Err(Condition::ServiceUnavailable),
        };
        sender.answer(answer, effects);
        Ok(())
    }

    /// §6.5: occupants may know each other, strangers may not.
    fn occupants_for(&self, sender: &Sender, iq: &Element) -> Element {
        let visible = self.has(sender.session);
        let nicks = self.occupants.keys().filter(|_| visible);
        disco::items(iq, nicks.map(|nick| (self.occupant_jid(nick), None)))
    }

    /// §8.2: the one change of role on offer is to none.
    fn kick(&mut self, sender: &Sender, query: &Element, effects: &mut Vec<Effect>) -> Result<(), Condition> {
        let actor = self.nick_of(sender.session).ok_or(Condition::NotAcceptable)?.to_owned();
        if !sender.is_owner {
            return Err(Condition::Forbidden);
        }
        let wish = query.get_child("item", ns::MUC_ADMIN).ok_or(Condition::BadRequest)?;
        let nick = wish.attr("nick").ok_or(Condition::BadRequest)?;
        if wish.attr("role") != Some("none") {
            return Err(Condition::FeatureNotImplemented);
        }
        let kicked = self.occupants.get(nick).ok_or(Condition::ItemNotFound)?.clone();
        if kicked.is_owner {
            return Err(Condition::NotAllowed);
        }
        let mut item = item("none", kicked.affiliation(), Some(&kicked.jid));
        item.append_child(Element::bare("actor", ns::MUC_USER).with("nick", &actor));
        if let Some(reason) = wish.get_child("reason", ns::MUC_ADMIN) {
            item.append_child(Element::bare("reason", ns::MUC_USER).with_text(&reason.text()));
        }
        let presence = self.presence_of(nick, Some("unavailable"));
        for to in self.occupants.values() {
            let mut user =
                Element::bare("x", ns::MUC_USER).with_child(item.clone()).with_child(status(STATUS_KICKED));
            if to.session == kicked.session {
                user.append_child(status(STATUS_SELF));
            }
            deliver(to, presence.clone().with_child(user), effects);
        }
        self.occupants.remove(nick);
        Ok(())
    }
}

fn deliver(to: &Occupant, mut stanza: Element, effects: &mut Vec<Effect>) {
    stanza.put("to", Some(to.jid.as_str()));
    effects.push(Effect::Deliver { to: to.session, stanza });
}

fn item(role: &str, affiliation: &str, jid: Option<&FullJid>) -> Element {
    Element::bare("item", ns::MUC_USER)
        .with("affiliation", affiliation)
        .with("role", role)
        .with_opt("jid", jid.map(|jid| jid.as_str()))
}

fn status(code: &str) -> Element {
    Element::bare("status", ns::MUC_USER).with("code", code)
}

/// A stanza without what only the room may say.
fn without_claims(stanza: &Element) -> Element {
    let mut stanza = stanza.clone();
    while stanza.remove_child("x", ns::MUC_USER).is_some() {}
    stanza
}

/// What a presence tells the others: everything but words between the occupant and the room.
fn payload_of(presence: &Element) -> Vec<Element> {
    presence.children().filter(|c| !c.has_ns(ns::MUC) && !c.has_ns(ns::MUC_USER)).cloned().collect()
}

fn is_empty_submission(query: &Element) -> bool {
    query
        .get_child("x", ns::DATA_FORM)
        .is_some_and(|x| x.attr("type") == Some("submit") && x.children().count() == 0)
}
