//! One room as a state machine.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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
    /// Nicknames by session, as every stanza to the room asks for one.
    nicks: HashMap<SessionId, String>,
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
    /// What the others are told of it: nickname, role, and what its last presence carried, as `<show/>`, `<status/>`,
    /// capabilities. Shared by all who are told.
    told: Arc<Element>,
}

impl Occupant {
    fn affiliation(&self) -> &'static str {
        affiliation(self.is_owner)
    }

    fn role(&self) -> &'static str {
        role(self.is_owner)
    }

    /// What the others are told, as the occupant itself gets it.
    fn own_presence(&self, statuses: &[&str], id: Option<&str>) -> Element {
        let mut own = Element::clone(&self.told).with_opt("id", id);
        if let Some(user) = own.get_child_mut("x", ns::MUC_USER) {
            for code in statuses {
                user.append_child(status(code));
            }
        }
        own
    }
}

fn affiliation(is_owner: bool) -> &'static str {
    if is_owner { "owner" } else { "none" }
}

/// Never below participant: agents ignore visitors.
fn role(is_owner: bool) -> &'static str {
    if is_owner { "moderator" } else { "participant" }
}

impl Room {
    pub(super) fn new(jid: BareJid, config: RoomConfig) -> Self {
        Self { jid, config, occupants: BTreeMap::new(), nicks: HashMap::new(), subject: None, entered: false }
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
        let Some(gone) = self.take_out(&nick) else { return };
        let item = item("none", gone.affiliation(), Some(&gone.jid));
        let user = Element::bare("x", ns::MUC_USER).with_child(item);
        let presence = Arc::new(self.presence_of(&nick, Some("unavailable")).with_child(user));
        for to in self.occupants.values() {
            deliver(to, &presence, effects);
        }
    }

    fn nick_of(&self, session: SessionId) -> Option<&str> {
        self.nicks.get(&session).map(String::as_str)
    }

    fn put_in(&mut self, nick: &str, occupant: Occupant) {
        self.nicks.insert(occupant.session, nick.to_owned());
        self.occupants.insert(nick.to_owned(), occupant);
    }

    fn take_out(&mut self, nick: &str) -> Option<Occupant> {
        let occupant = self.occupants.remove(nick)?;
        self.nicks.remove(&occupant.session);
        Some(occupant)
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
                if !sender.is_owner && self.is_full() {
                    return Err(Condition::RoomFull);
                }
                self.enter(sender, nick, stanza, payload, effects);
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let members_max = self.config.members_max;
        self.occupants.len() >= members_max
            && self.occupants.values().filter(|o| !o.is_owner).count() >= members_max
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
        let told = Arc::new(self.presence_told(nick, &jid, is_owner, payload));
        let newcomer = Occupant { session, jid, is_owner, told };
        let others = || self.occupants.values().filter(|o| o.session != session);
        let presences: Vec<_> = others().map(|o| Arc::clone(&o.told)).collect();
        if !presences.is_empty() {
            effects.push(Effect::TellOccupants { to: session, presences });
        }
        for other in others() {
            deliver(other, &newcomer.told, effects);
        }
        let statuses = [STATUS_NON_ANONYMOUS, STATUS_SELF, STATUS_CREATED];
        let statuses = if created { &statuses[..] } else { &statuses[..2] };
        deliver(&newcomer, &Arc::new(newcomer.own_presence(statuses, stanza.attr("id"))), effects);
        deliver(&newcomer, &Arc::new(self.subject_message()), effects);
        self.put_in(nick, newcomer);
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
        let Some(occupant) = self.occupants.get(nick) else { return };
        let told = Arc::new(self.presence_told(nick, &occupant.jid, occupant.is_owner, payload));
        let Some(occupant) = self.occupants.get_mut(nick) else { return };
        occupant.told = told;
        let occupant = occupant.clone();
        let own = Arc::new(occupant.own_presence(&[STATUS_NON_ANONYMOUS, STATUS_SELF], id));
        for to in self.occupants.values() {
            let is_self = to.session == occupant.session;
            deliver(to, if is_self { &own } else { &occupant.told }, effects);
        }
    }

    /// §7.6: gone under the old name, there under the new one.
    fn rename(&mut self, old: &str, new: &str, payload: Vec<Element>, effects: &mut Vec<Effect>) {
        let Some(occupant) = self.take_out(old) else { return };
        let session = occupant.session;
        let item = item(occupant.role(), occupant.affiliation(), Some(&occupant.jid)).with("nick", new);
        self.put_in(new, occupant);
        self.tell_gone(old, session, item, STATUS_NICK_CHANGED, effects);
        self.announce(new, payload, None, effects);
    }

    /// Tells everyone in the room that the nickname is gone, and why.
    fn tell_gone(&self, nick: &str, session: SessionId, item: Element, why: &str, effects: &mut Vec<Effect>) {
        let gone = self.presence_of(nick, Some("unavailable"));
        let user = Element::bare("x", ns::MUC_USER).with_child(item).with_child(status(why));
        let own = Arc::new(gone.clone().with_child(user.clone().with_child(status(STATUS_SELF))));
        let told = Arc::new(gone.with_child(user));
        for to in self.occupants.values() {
            deliver(to, if to.session == session { &own } else { &told }, effects);
        }
    }

    fn presence_told(&self, nick: &str, jid: &FullJid, is_owner: bool, payload: Vec<Element>) -> Element {
        let item = item(role(is_owner), affiliation(is_owner), Some(jid));
        let user = Element::bare("x", ns::MUC_USER).with_child(item);
        payload.into_iter().fold(self.presence_of(nick, None), ElementExt::with_child).with_child(user)
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
        deliver(&gone, &Arc::new(own), effects);
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
        message.put("to", None);
        let message = Arc::new(message);
        for to in self.occupants.values() {
            deliver(to, &message, effects);
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
        message.put("to", None);
        message.append_child(Element::bare("x", ns::MUC_USER));
        deliver(to, &Arc::new(message), effects);
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
        iq.put("to", None);
        deliver(to, &Arc::new(iq), effects);
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
        self.tell_gone(nick, kicked.session, item, STATUS_KICKED, effects);
        self.take_out(nick);
        Ok(())
    }
}

/// `stanza` has no `to`: it is the same for all.
fn deliver(to: &Occupant, stanza: &Arc<Element>, effects: &mut Vec<Effect>) {
    effects.push(Effect::Deliver { to: to.session, stanza: Arc::clone(stanza) });
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
