//! A room as one occupant sees it (XEP-0045 §7).

use std::collections::BTreeMap;
use std::time::Instant;

use minidom::Element;

use super::{Action, Timing};
use crate::bus::{BusEvent, OccupantChange, Role};
use crate::client::ClientError;
use crate::wire::ns;
use crate::wire::stanza::{ElementExt, error_condition, iq};

/// Tries with the wanted nickname before it gets a suffix: a server may need some seconds to notice that our own last
/// session is dead.
const TRIES_WITHOUT_SUFFIX: u32 = 2;

#[derive(Debug)]
pub(super) struct Room {
    jid: String,
    wanted_nick: String,
    password: Option<String>,
    stage: Stage,
    /// Refusals of our nickname in a row.
    conflicts: u32,
    occupants: BTreeMap<String, Seen>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Not asked to enter; at that time, if there is one.
    Outside {
        retry_at: Option<Instant>,
    },
    Entering {
        nick: String,
        by: Instant,
    },
    Inside {
        nick: String,
        self_ping_at: Instant,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    real_jid: Option<String>,
    role: Role,
}

impl Room {
    pub(super) fn new(jid: String, wanted_nick: String, password: Option<String>) -> Self {
        let stage = Stage::Outside { retry_at: None };
        Self { jid, wanted_nick, password, stage, conflicts: 0, occupants: BTreeMap::new() }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Inside { .. })
    }

    /// Our nickname, while we have one.
    pub(super) fn nick(&self) -> Option<&str> {
        match &self.stage {
            Stage::Inside { nick, .. } => Some(nick),
            _ => None,
        }
    }

    pub(super) fn real_jid(&self, nick: &str) -> Option<String> {
        self.occupants.get(nick).and_then(|seen| seen.real_jid.clone())
    }

    pub(super) fn forget(&mut self) {
        self.stage = Stage::Outside { retry_at: None };
        self.conflicts = 0;
        self.occupants.clear();
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Outside { retry_at } => *retry_at,
            Stage::Entering { by, .. } => Some(*by),
            Stage::Inside { self_ping_at, .. } => Some(*self_ping_at),
        }
    }

    pub(super) fn tick(&mut self, now: Instant, timing: &Timing, actions: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Outside { retry_at: Some(at) } if *at <= now => self.enter(now, timing, actions),
            Stage::Entering { by, .. } if *by <= now => self.enter(now, timing, actions),
            Stage::Inside { nick, self_ping_at } if *self_ping_at <= now => {
                *self_ping_at = now + timing.self_ping_every;
                let ping =
                    iq("get", &format!("self-ping-{}", self.jid), Some(&format!("{}/{nick}", self.jid)));
                actions.push(Action::Send(ping.with_child(Element::bare("ping", ns::PING))));
            }
            _ => {}
        }
    }

    /// Asks to enter, without history (§7.2.13).
    pub(super) fn enter(&mut self, now: Instant, timing: &Timing, actions: &mut Vec<Action>) {
        let nick = match self.conflicts {
            0..TRIES_WITHOUT_SUFFIX => self.wanted_nick.clone(),
            n => format!("{}-{}", self.wanted_nick, n - TRIES_WITHOUT_SUFFIX + 2),
        };
        let mut muc = Element::bare("x", ns::MUC)
            .with_child(Element::bare("history", ns::MUC).with("maxstanzas", "0").with("maxchars", "0"));
        if let Some(password) = &self.password {
            muc.append_child(Element::bare("password", ns::MUC).with_text(password));
        }
        let presence = Element::bare("presence", ns::CLIENT).with("to", &format!("{}/{nick}", self.jid));
        actions.push(Action::Send(presence.with_child(muc)));
        self.stage = Stage::Entering { nick, by: now + timing.join_timeout };
    }

    pub(super) fn leave(&self, actions: &mut Vec<Action>) {
        if let Stage::Inside { nick, .. } | Stage::Entering { nick, .. } = &self.stage {
            let presence = Element::bare("presence", ns::CLIENT).with("type", "unavailable");
            actions.push(Action::Send(presence.with("to", &format!("{}/{nick}", self.jid))));
        }
    }

    pub(super) fn presence(
        &mut self,
        nick: Option<&str>,
        stanza: &Element,
        now: Instant,
        timing: &Timing,
        actions: &mut Vec<Action>,
    ) {
        let user = stanza.get_child("x", ns::MUC_USER);
        let news = News {
            statuses: user.map(statuses).unwrap_or_default(),
            item: user.and_then(|x| x.get_child("item", ns::MUC_USER)),
        };
        match (stanza.attr("type"), nick) {
            (Some("error"), _) => self.refused(&error_condition(stanza), now, timing, actions),
            (Some("unavailable"), Some(nick)) => self.gone(nick, &news, now, timing, actions),
            (None, Some(nick)) => self.there(nick, &news, now, timing, actions),
            _ => {}
        }
    }

    /// Status 172: the room shows accounts from now on. Those of who was there before are only told to who enters. That happens where two
    /// enter a new room at once, of a server that does not lock it until its maker has configured it.
    pub(super) fn configured(
        &mut self,
        message: &Element,
        now: Instant,
        timing: &Timing,
        actions: &mut Vec<Action>,
    ) {
        let shows = message.get_child("x", ns::MUC_USER).is_some_and(|user| statuses(user).contains(&"172"));
        if shows && self.is_settled() && self.occupants.values().any(|seen| seen.real_jid.is_none()) {
            self.leave(actions);
            self.everyone_left(actions);
            self.enter(now, timing, actions);
        }
    }

    /// XEP-0410 §3: some errors prove that we are inside, one that we are not; the others prove nothing.
    pub(super) fn self_ping_answer(
        &mut self,
        id: &str,
        failure: Option<&str>,
        now: Instant,
        timing: &Timing,
        actions: &mut Vec<Action>,
    ) {
        let is_ours = id.strip_prefix("self-ping-") == Some(&self.jid);
        if is_ours && failure == Some("not-acceptable") && self.is_settled() {
            tracing::warn!(room = self.jid, "the server has lost us from a room, entering again");
            self.everyone_left(actions);
            self.enter(now, timing, actions);
        }
    }

    fn refused(&mut self, condition: &str, now: Instant, timing: &Timing, actions: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Entering { .. }) {
            return;
        }
        let room = self.jid.clone();
        let pause = match condition {
            "not-authorized" => return actions.push(Action::Fatal(ClientError::RoomPassword { room })),
            "forbidden" | "registration-required" => {
                let condition = condition.to_owned();
                return actions.push(Action::Fatal(ClientError::RoomRefused { room, condition }));
            }
            "conflict" => {
                self.conflicts += 1;
                timing.nick_retry_after
            }
            _ => timing.room_retry_after,
        };
        tracing::warn!(room, condition, "entry to a room refused, trying again later");
        self.stage = Stage::Outside { retry_at: Some(now + pause) };
    }

    fn there(
        &mut self,
        nick: &str,
        news: &News<'_>,
        now: Instant,
        timing: &Timing,
        actions: &mut Vec<Action>,
    ) {
        let seen = news.seen();
        if self.occupants.get(nick) != Some(&seen) {
            actions.push(self.event(nick, &seen, OccupantChange::Joined));
            self.occupants.insert(nick.to_owned(), seen);
        }
        let Stage::Entering { by, .. } = &mut self.stage else { return };
        // A room that is telling who is there has let us in; how long that takes is up to their number.
        *by = now + timing.join_timeout;
        if news.has("110") {
            self.conflicts = 0;
            if news.has("201") {
                actions.push(Action::Send(self.configuration()));
            }
            self.stage = Stage::Inside { nick: nick.to_owned(), self_ping_at: now + timing.self_ping_every };
            let (room, nick) = (self.jid.clone(), nick.to_owned());
            actions.push(Action::Emit(BusEvent::Joined { room, nick }));
        }
    }

    /// A room that we made is locked until its owner has configured it (§10.1.3); then it has our password and lasts.
    fn configuration(&self) -> Element {
        let mut form = Element::bare("x", ns::DATA_FORM)
            .with("type", "submit")
            .with_child(field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"))
            .with_child(field("muc#roomconfig_persistentroom", "1"))
            .with_child(field("muc#roomconfig_whois", "anyone"));
        if let Some(password) = &self.password {
            form.append_child(field("muc#roomconfig_passwordprotectedroom", "1"));
            form.append_child(field("muc#roomconfig_roomsecret", password));
        }
        let query = Element::bare("query", ns::MUC_OWNER).with_child(form);
        iq("set", &format!("configure-{}", self.jid), Some(&self.jid)).with_child(query)
    }

    fn gone(
        &mut self,
        nick: &str,
        news: &News<'_>,
        now: Instant,
        timing: &Timing,
        actions: &mut Vec<Action>,
    ) {
        let is_self = news.has("110") || self.nick() == Some(nick);
        if let Some(seen) = self.occupants.remove(nick) {
            actions.push(self.event(nick, &seen, OccupantChange::Left));
        }
        if !is_self {
            return;
        }
        let new_nick = news.item.and_then(|item| item.attr("nick")).filter(|_| news.has("303"));
        match (&mut self.stage, new_nick) {
            (Stage::Inside { nick, .. }, Some(new)) => new.clone_into(nick),
            (Stage::Inside { .. }, None) if news.has("301") => {
                let (room, condition) = (self.jid.clone(), "banned".to_owned());
                actions.push(Action::Fatal(ClientError::RoomRefused { room, condition }));
            }
            (Stage::Inside { .. }, None) => {
                tracing::warn!(room = self.jid, statuses = ?news.statuses, "put out of a room, entering again later");
                self.everyone_left(actions);
                self.stage = Stage::Outside { retry_at: Some(now + timing.room_retry_after) };
            }
            _ => {}
        }
    }

    fn everyone_left(&mut self, actions: &mut Vec<Action>) {
        for (nick, seen) in std::mem::take(&mut self.occupants) {
            actions.push(self.event(&nick, &seen, OccupantChange::Left));
        }
    }

    fn event(&self, nick: &str, seen: &Seen, change: OccupantChange) -> Action {
        let (room, nick) = (self.jid.clone(), nick.to_owned());
        let Seen { real_jid, role } = seen.clone();
        Action::Emit(BusEvent::Occupant { room, nick, real_jid, role, change })
    }
}

/// What a presence says through the room (§17.3).
struct News<'a> {
    statuses: Vec<&'a str>,
    item: Option<&'a Element>,
}

impl News<'_> {
    fn has(&self, status: &str) -> bool {
        self.statuses.contains(&status)
    }

    fn seen(&self) -> Seen {
        let attr = |name| self.item.and_then(|item| item.attr(name));
        // Rooms of old servers leave the item out; then everyone takes part.
        let role = if self.item.is_some() { Role::parse(attr("role")) } else { Role::Participant };
        Seen { real_jid: attr("jid").map(str::to_owned), role }
    }
}

/// XEP-0004 §3.2.
fn field(name: &str, value: &str) -> Element {
    let value = Element::bare("value", ns::DATA_FORM).with_text(value);
    Element::bare("field", ns::DATA_FORM).with("var", name).with_child(value)
}

fn statuses(user: &Element) -> Vec<&str> {
    user.children().filter(|c| c.is("status", ns::MUC_USER)).filter_map(|c| c.attr("code")).collect()
}
