//! A room of an XMPP server in memory, which delays, loses, repeats and cuts as told. Per sender and receiver it keeps the
//! order, as XMPP servers do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_xmpp::{
    Bus, BusDriver, BusEvent, Command, Element, Incoming, MessageKind, OccupantChange, Outgoing, Role,
    RoomJoin,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) const ROOM: &str = "default@rooms.test";

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) delay: Duration,
    /// Every n-th message is lost; 0 for none.
    pub(crate) lose_every: u64,
    /// Every n-th message comes twice; 0 for none.
    pub(crate) repeat_every: u64,
}

/// A handle on the room.
#[derive(Clone, Default)]
pub(crate) struct Room {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    weather: Weather,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    next_resource: u64,
    messages: u64,
    /// Local parts of accounts whose messages of this type vanish.
    swallowed: Vec<(String, String)>,
    /// How many have vanished so.
    messages_swallowed: u64,
}

struct Session {
    account: String,
    jid: String,
    /// While in the room.
    nick: Option<String>,
    /// To be in the room again after a cut.
    wants: Option<String>,
    up: bool,
    events: mpsc::UnboundedSender<(Instant, BusEvent)>,
}

impl Room {
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.lock().unwrap().weather = weather;
    }

    /// From now on messages of this type from this account vanish.
    pub(crate) fn swallow(&self, account: &str, kind: &str) {
        self.state.lock().unwrap().swallowed.push((account.to_owned(), kind.to_owned()));
    }

    pub(crate) fn messages_swallowed(&self) -> u64 {
        self.state.lock().unwrap().messages_swallowed
    }

    pub(crate) fn stop_swallowing(&self) {
        self.state.lock().unwrap().swallowed.clear();
    }

    /// Logs an account in; it is in the room when it joins.
    pub(crate) fn connect(&self, account: &str) -> Bus {
        let (bus, driver) = Bus::channel();
        let (events, inbox) = mpsc::unbounded_channel();
        let id = {
            let mut state = self.state.lock().unwrap();
            let id = state.next_session;
            state.next_session += 1;
            let jid = state.new_jid(account);
            let session = Session { account: account.into(), jid, nick: None, wants: None, up: true, events };
            session.tell(BusEvent::Up { jid: session.jid.clone() }, Duration::ZERO);
            state.sessions.insert(id, session);
            id
        };
        tokio::spawn(serve(self.clone(), id, driver, inbox));
        bus
    }

    /// Cuts the connection of an account; everyone sees it leave.
    pub(crate) fn cut(&self, account: &str) {
        let mut state = self.state.lock().unwrap();
        for id in state.sessions_of(account) {
            state.leave(id);
            if let Some(session) = state.sessions.get_mut(&id) {
                session.up = false;
                session.tell(BusEvent::Down { reason: "cut".into() }, Duration::ZERO);
            }
        }
    }

    /// Restores it; it enters the room again by itself.
    pub(crate) fn restore(&self, account: &str) {
        let mut state = self.state.lock().unwrap();
        for id in state.sessions_of(account) {
            let jid = state.new_jid(account);
            let Some(session) = state.sessions.get_mut(&id) else { continue };
            session.up = true;
            session.jid.clone_from(&jid);
            session.tell(BusEvent::Up { jid }, Duration::ZERO);
            if let Some(nick) = session.wants.clone() {
                state.enter(id, &nick);
            }
        }
    }

    /// A message as anyone in the room could send it.
    pub(crate) fn inject(&self, from_account: &str, to_nick: &str, payload: Element) {
        let mut state = self.state.lock().unwrap();
        let id = state.sessions_of(from_account)[0];
        let to = format!("{ROOM}/{to_nick}");
        let kind = MessageKind::Chat;
        state.route(id, Outgoing { to, kind, id: None, body: None, payloads: vec![payload] });
    }

    fn command(&self, id: u64, command: Command) {
        let mut state = self.state.lock().unwrap();
        match command {
            Command::Join(RoomJoin { nick, .. }) => {
                if let Some(session) = state.sessions.get_mut(&id) {
                    session.wants = Some(nick.clone());
                    if session.up {
                        state.enter(id, &nick);
                    }
                }
            }
            Command::Send(message) => state.route(id, message),
            Command::Leave { .. } | Command::Close => state.leave(id),
            Command::Kick { .. } => {}
        }
    }

    fn gone(&self, id: u64) {
        let mut state = self.state.lock().unwrap();
        state.leave(id);
        state.sessions.remove(&id);
    }
}

impl State {
    fn new_jid(&mut self, account: &str) -> String {
        self.next_resource += 1;
        format!("{account}@test/r{}", self.next_resource)
    }

    fn sessions_of(&self, account: &str) -> Vec<u64> {
        self.sessions.iter().filter(|(_, session)| session.account == account).map(|(id, _)| *id).collect()
    }

    fn enter(&mut self, id: u64, nick: &str) {
        let delay = self.weather.delay;
        let Some(jid) = self.sessions.get(&id).map(|session| session.jid.clone()) else { return };
        let here: Vec<_> =
            self.sessions.values().filter_map(|s| Some((s.nick.clone()?, s.jid.clone()))).collect();
        for session in self.sessions.values().filter(|session| session.nick.is_some()) {
            session.tell(occupant(nick, &jid, OccupantChange::Joined), delay);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.nick = Some(nick.to_owned());
        for (other, other_jid) in here {
            session.tell(occupant(&other, &other_jid, OccupantChange::Joined), delay);
        }
        session.tell(occupant(nick, &jid, OccupantChange::Joined), delay);
        session.tell(BusEvent::Joined { room: ROOM.into(), nick: nick.into() }, delay);
    }

    fn leave(&mut self, id: u64) {
        let delay = self.weather.delay;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(nick) = session.nick.take() else { return };
        let jid = session.jid.clone();
        for other in self.sessions.values().filter(|other| other.nick.is_some()) {
            other.tell(occupant(&nick, &jid, OccupantChange::Left), delay);
        }
    }

    fn route(&mut self, from: u64, message: Outgoing) {
        let Some(sender) = self.sessions.get(&from).filter(|sender| sender.up) else { return };
        let Some(nick) = sender.nick.clone() else { return };
        let (account, real_jid) = (sender.account.clone(), sender.jid.clone());
        self.messages += 1;
        let Weather { delay, lose_every, repeat_every } = self.weather;
        let every = |n: u64| n > 0 && self.messages.is_multiple_of(n);
        let payloads: Vec<Element> = message.payloads.iter().map(over_the_wire).collect();
        let kind = payloads.first().and_then(|payload| payload.attr("type")).unwrap_or_default();
        if self.swallowed.iter().any(|(who, what)| *who == account && what == kind) {
            self.messages_swallowed += 1;
            return;
        }
        if every(lose_every) {
            return;
        }
        let to = message.to.strip_prefix(&format!("{ROOM}/")).expect("addressed to an occupant");
        let Some(receiver) = self.sessions.values().find(|s| s.nick.as_deref() == Some(to)) else {
            if let Some(sender) = self.sessions.get(&from).filter(|_| message.id.is_some()) {
                sender.tell(BusEvent::Message(bounce(to, message.id)), delay);
            }
            return;
        };
        let incoming = Incoming {
            from: format!("{ROOM}/{nick}"),
            room: Some(ROOM.into()),
            nick: Some(nick),
            real_jid: Some(real_jid),
            kind: message.kind,
            id: message.id,
            body: message.body,
            payloads,
        };
        receiver.tell(BusEvent::Message(incoming.clone()), delay);
        if every(repeat_every) {
            receiver.tell(BusEvent::Message(incoming), delay);
        }
    }
}

impl Session {
    fn tell(&self, event: BusEvent, delay: Duration) {
        // A session whose task has gone hears nothing any more.
        let _ = self.events.send((Instant::now() + delay, event));
    }
}

/// As text and back, within what XMPP servers take.
fn over_the_wire(payload: &Element) -> Element {
    let text = String::from(payload);
    assert!(text.len() < 256 * 1024, "{} bytes are too large for a stanza", text.len());
    text.parse().expect("well-formed")
}

/// A message to someone who is not in the room (XEP-0045 §7.5).
fn bounce(to: &str, id: Option<String>) -> Incoming {
    let error = "<error xmlns='jabber:client' type='cancel'><item-not-found \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    Incoming {
        from: format!("{ROOM}/{to}"),
        room: Some(ROOM.into()),
        nick: Some(to.into()),
        real_jid: None,
        kind: MessageKind::Error,
        id,
        body: None,
        payloads: vec![error.parse().expect("well-formed")],
    }
}

fn occupant(nick: &str, jid: &str, change: OccupantChange) -> BusEvent {
    let (room, nick, real_jid) = (ROOM.to_owned(), nick.to_owned(), Some(jid.to_owned()));
    BusEvent::Occupant { room, nick, real_jid, role: Role::Participant, change }
}

async fn serve(
    room: Room,
    id: u64,
    mut driver: BusDriver,
    mut inbox: mpsc::UnboundedReceiver<(Instant, BusEvent)>,
) {
    let mut waiting: VecDeque<(Instant, BusEvent)> = VecDeque::new();
    loop {
        let next = waiting.front().map(|(at, _)| *at);
        tokio::select! {
            command = driver.next_command() => match command {
                Some(Command::Close) | None => break,
                Some(command) => room.command(id, command),
            },
            Some(event) = inbox.recv() => waiting.push_back(event),
            () = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                if let Some((_, event)) = waiting.pop_front() && !driver.emit(event).await {
                    break;
                }
            }
        }
    }
    room.gone(id);
}
