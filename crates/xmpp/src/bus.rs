//! What a session looks like to the program that uses it, whether the server is in-process or far away.

use std::collections::VecDeque;
use std::fmt;

use minidom::Element;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::ClientError;

/// Commands a [`BusSender`] may have under way. When it is full, [`BusSender::send`] waits and
/// [`BusSender::try_send`] refuses: enough for a burst, small enough to be lost without regret on a dead link.
pub const COMMANDS_MAX: usize = 256;

/// Events that wait for the program. When it is full, the session stops reading (a client is then disconnected by its
/// server as a slow reader), because dropping events silently would make the roster of occupants lie.
pub const EVENTS_MAX: usize = 1024;

/// One session on an XMPP server: a sending half that clones, and one receiving half.
///
/// Both [`ServerHandle::local_session`](crate::server::ServerHandle::local_session) and
/// [`client::connect`](crate::client::connect) give a `Bus`; tests use [`Bus::pair`] or [`Bus::channel`].
///
/// The session ends when every sender or the receiver is dropped, on [`BusSender::close`], or after
/// [`BusEvent::Fatal`]; [`next`](Self::next) then gives `None`.
#[derive(Debug)]
pub struct Bus {
    sender: BusSender,
    receiver: BusReceiver,
}

/// The sending half of a [`Bus`].
#[derive(Debug, Clone)]
pub struct BusSender {
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<bool>,
}

/// The receiving half of a [`Bus`].
#[derive(Debug)]
pub struct BusReceiver {
    events: mpsc::Receiver<BusEvent>,
}

/// What happens on a [`Bus`].
///
/// Order: `Up`, then per room the `Occupant`s already there (ourselves included) and `Joined`, then anything. After
/// `Down` all occupants are to be forgotten; the next `Up` tells them anew. `Fatal` is the last event.
#[derive(Debug, Clone, PartialEq)]
pub enum BusEvent {
    /// Logged in with this full JID. Rooms are being (re)joined; what is sent now leaves once they are.
    Up { jid: String },
    /// The link is lost, and is being restored. Messages are refused until the next `Up`.
    Down { reason: String },
    /// The session has stopped for good.
    Fatal(ClientError),
    /// Someone entered or left a room. A change of nickname is a `Left` and a `Joined`; a change of role is a second
    /// `Joined`.
    Occupant {
        /// Bare JID of the room.
        room: String,
        nick: String,
        /// Full JID as told by the server, if the room shows it.
        real_jid: Option<String>,
        role: Role,
        change: OccupantChange,
    },
    /// We are in the room, under this nickname (which may have got a suffix).
    Joined { room: String, nick: String },
    /// A live message; replayed history is never shown.
    Message(Incoming),
    /// A message accepted by [`BusSender::send`] will not leave, because the link broke or it cannot be written as
    /// XML. A message that had left the process when the link broke is not reported: acknowledge in your own protocol.
    Dropped { to: String, id: Option<String>, reason: String },
}

/// Whether an occupant came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OccupantChange {
    Joined,
    Left,
}

/// Role of an occupant in a room (XEP-0045 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    None,
    Visitor,
    Participant,
    Moderator,
}

/// Type of a message (RFC 6121 §5.2.2); an unknown one counts as `Normal`, as the RFC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Chat,
    Normal,
    Groupchat,
    Error,
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Occupant JID (`room@domain/nick`) or full JID of the sender.
    pub from: String,
    /// Bare JID of the room, if the message came through one.
    pub room: Option<String>,
    /// Nickname of the sender in that room.
    pub nick: Option<String>,
    /// Who really sent it, as vouched for by the server: for messages through a room looked up among its occupants
    /// (none in an anonymous room), for direct ones the `from` itself. Base authority on this and nothing else.
    pub real_jid: Option<String>,
    pub kind: MessageKind,
    pub id: Option<String>,
    /// The first `<body/>`.
    pub body: Option<String>,
    /// Every other child element; of `kind` `Error`, `<error/>` is among them.
    pub payloads: Vec<Element>,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Occupant JID, full or bare JID of an account, or (for groupchat) bare JID of the room.
    pub to: String,
    pub kind: MessageKind,
    pub id: Option<String>,
    pub body: Option<String>,
    pub payloads: Vec<Element>,
}

/// A room to be in.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomJoin {
    /// Bare JID of the room.
    pub room: String,
    pub nick: String,
    pub password: Option<String>,
}

impl fmt::Debug for RoomJoin {
    /// Leaves the password out, so that it cannot reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomJoin").field("room", &self.room).field("nick", &self.nick).finish_non_exhaustive()
    }
}

/// What a [`BusSender`] asks of its session.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Send(Outgoing),
    /// Enter a room and re-enter it after every reconnect.
    Join(RoomJoin),
    /// Leave a room and forget it.
    Leave {
        room: String,
    },
    /// Put an occupant out of a room (XEP-0045 §8.2); needs the role of a moderator.
    Kick {
        room: String,
        nick: String,
        reason: String,
    },
    /// Log out and end the session.
    Close,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// Nothing is kept for later while the link is down: the sender knows best whether it still matters then.
    #[error("not connected to the XMPP server")]
    Down,
    #[error("{COMMANDS_MAX} messages wait already")]
    Full,
    #[error("the XMPP session has ended")]
    Closed,
}

impl Bus {
    /// A bus whose other side is in the caller's hands: how sessions are built, and test doubles.
    pub fn channel() -> (Self, BusDriver) {
        let (command_tx, command_rx) = mpsc::channel(COMMANDS_MAX);
        let (event_tx, event_rx) = mpsc::channel(EVENTS_MAX);
        let (link_tx, link_rx) = watch::channel(false);
        let sender = BusSender { commands: command_tx, link: link_rx };
        let driver =
            BusDriver { commands: command_rx, kept: VecDeque::new(), events: event_tx, link: link_tx };
        (Self { sender, receiver: BusReceiver { events: event_rx } }, driver)
    }

    /// Two buses without a server, for tests: what one sends, whatever the address, comes in at the other as a direct
    /// message from the sender's JID. Both start with [`BusEvent::Up`]. Must be called within a Tokio runtime.
    pub fn pair(left_jid: &str, right_jid: &str) -> (Self, Self) {
        let (left, left_driver) = Self::channel();
        let (right, right_driver) = Self::channel();
        tokio::spawn(cross(left_driver, left_jid.to_owned(), right_driver, right_jid.to_owned()));
        (left, right)
    }

    /// A further sending half.
    pub fn sender(&self) -> BusSender {
        self.sender.clone()
    }

    /// Both halves, for two tasks.
    pub fn split(self) -> (BusSender, BusReceiver) {
        (self.sender, self.receiver)
    }

    /// The next event; `None` when the session has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<BusEvent> {
        self.receiver.next().await
    }

    /// See [`BusSender::send`].
    pub async fn send(&self, message: Outgoing) -> Result<(), SendError> {
        self.sender.send(message).await
    }
}

impl BusReceiver {
    /// The next event; `None` when the session has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<BusEvent> {
        self.events.recv().await
    }
}

impl BusSender {
    /// Hands a message to the session, waiting while its queue is full. `Ok` means accepted, not delivered.
    ///
    /// Events must be read meanwhile, by another task or in a `select!`: a session that cannot get rid of its events
    /// takes no messages either.
    pub async fn send(&self, message: Outgoing) -> Result<(), SendError> {
        self.check_link()?;
        self.command(Command::Send(message)).await
    }

    /// Like [`send`](Self::send), but never waits.
    pub fn try_send(&self, message: Outgoing) -> Result<(), SendError> {
        self.check_link()?;
        self.commands.try_send(Command::Send(message)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Whether [`try_send`](Self::try_send) would find room in the queue now.
    pub fn has_room(&self) -> bool {
        self.commands.capacity() > 0
    }

    /// Waits until [`try_send`](Self::try_send) finds room in the queue, or the session has ended. Keeps nothing: whoever sends first
    /// gets it. Cancel-safe.
    pub async fn room(&self) {
        // That the session has ended is told by its receiver.
        let _given_back = self.commands.reserve().await;
    }

    /// Enters a room now or when the link is up, and again after every reconnect.
    pub async fn join(&self, room: RoomJoin) -> Result<(), SendError> {
        self.command(Command::Join(room)).await
    }

    /// Leaves a room for good.
    pub async fn leave(&self, room: &str) -> Result<(), SendError> {
        self.command(Command::Leave { room: room.to_owned() }).await
    }

    /// Puts an occupant out of a room where we are a moderator.
    pub async fn kick(&self, room: &str, nick: &str, reason: &str) -> Result<(), SendError> {
        let (room, nick, reason) = (room.to_owned(), nick.to_owned(), reason.to_owned());
        self.command(Command::Kick { room, nick, reason }).await
    }

    /// Logs out; the receiver then gives `None`.
    pub async fn close(&self) -> Result<(), SendError> {
        self.command(Command::Close).await
    }

    /// Waits until the link is up.
    pub async fn ready(&self) -> Result<(), SendError> {
        match self.link.clone().wait_for(|up| *up).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SendError::Closed),
        }
    }

    /// Whether the link is up, as far as is known.
    pub fn is_up(&self) -> bool {
        *self.link.borrow()
    }

    fn check_link(&self) -> Result<(), SendError> {
        match (self.commands.is_closed(), self.is_up()) {
            (true, _) => Err(SendError::Closed),
            (false, false) => Err(SendError::Down),
            (false, true) => Ok(()),
        }
    }

    async fn command(&self, command: Command) -> Result<(), SendError> {
        // The send error means that the session's task is gone; what it carries is the command itself.
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError::Closed),
        }
    }
}

/// The session's side of a [`Bus`].
#[derive(Debug)]
pub struct BusDriver {
    commands: mpsc::Receiver<Command>,
    /// Commands that survived the loss of a link: rooms to enter or leave, the end.
    kept: VecDeque<Command>,
    events: mpsc::Sender<BusEvent>,
    link: watch::Sender<bool>,
}

impl BusDriver {
    /// The next command; `None` when every sender or the receiver is gone. Cancel-safe.
    pub async fn next_command(&mut self) -> Option<Command> {
        match self.kept.pop_front() {
            Some(command) => Some(command),
            None => tokio::select! {
                biased;
                command = self.commands.recv() => command,
                () = self.events.closed() => None,
            },
        }
    }

    /// Like [`next_command`](Self::next_command) if commands can be served now; else only the end is waited for.
    pub(crate) async fn next_command_if(&mut self, ready: bool) -> Option<Command> {
        if ready {
            return self.next_command().await;
        }
        self.events.closed().await;
        None
    }

    /// A command that waits already, if there is one.
    pub fn try_next_command(&mut self) -> Option<Command> {
        self.kept.pop_front().or_else(|| self.commands.try_recv().ok())
    }

    /// Tells the program that the link is lost, and which of its messages are lost with it.
    pub async fn link_lost(&mut self, reason: String) -> bool {
        // From here on messages are refused; what was accepted before is named, in order.
        self.link.send_replace(false);
        let mut open = self.emit(BusEvent::Down { reason }).await;
        let mut kept = Vec::new();
        while let Some(command) = self.try_next_command() {
            match command {
                Command::Send(Outgoing { to, id, .. }) => {
                    let reason = "the link was lost".to_owned();
                    open = self.emit(BusEvent::Dropped { to, id, reason }).await;
                }
                other => kept.push(other),
            }
        }
        self.kept.extend(kept);
        open
    }

    /// Tells the program, waiting while it is behind. `Up`, `Down` and `Fatal` also open or close the way for
    /// messages. Gives `false` when nobody listens any more.
    pub async fn emit(&mut self, event: BusEvent) -> bool {
        match &event {
            BusEvent::Up { .. } => _ = self.link.send_replace(true),
            BusEvent::Down { .. } | BusEvent::Fatal(_) => _ = self.link.send_replace(false),
            _ => {}
        }
        self.events.send(event).await.is_ok()
    }
}

impl Incoming {
    /// Condition of an error message, such as `item-not-found` (RFC 6120 §8.3.3).
    pub fn error_condition(&self) -> Option<&str> {
        let error = self.payloads.iter().find(|p| p.name() == "error")?;
        error
            .children()
            .find(|c| c.ns() == "urn:ietf:params:xml:ns:xmpp-stanzas" && c.name() != "text")
            .map(Element::name)
    }
}

impl Outgoing {
    /// A message with a text body and no id.
    pub fn text(to: &str, kind: MessageKind, body: &str) -> Self {
        Self { to: to.to_owned(), kind, id: None, body: Some(body.to_owned()), payloads: Vec::new() }
    }
}

impl MessageKind {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Normal => "normal",
            Self::Groupchat => "groupchat",
            Self::Error => "error",
        }
    }

    pub(crate) fn parse(value: Option<&str>) -> Self {
        match value {
            Some("chat") => Self::Chat,
            Some("groupchat") => Self::Groupchat,
            Some("error") => Self::Error,
            _ => Self::Normal,
        }
    }
}

impl Role {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Visitor => "visitor",
            Self::Participant => "participant",
            Self::Moderator => "moderator",
        }
    }

    pub(crate) fn parse(value: Option<&str>) -> Self {
        match value {
            Some("visitor") => Self::Visitor,
            Some("participant") => Self::Participant,
            Some("moderator") => Self::Moderator,
            _ => Self::None,
        }
    }
}

/// Carries messages between the two drivers of [`Bus::pair`] until one side is gone.
async fn cross(mut left: BusDriver, left_jid: String, mut right: BusDriver, right_jid: String) {
    left.emit(BusEvent::Up { jid: left_jid.clone() }).await;
    right.emit(BusEvent::Up { jid: right_jid.clone() }).await;
    loop {
        let open = tokio::select! {
            command = left.next_command() => carry(command, &left_jid, &mut right).await,
            command = right.next_command() => carry(command, &right_jid, &mut left).await,
        };
        if !open {
            return;
        }
    }
}

async fn carry(command: Option<Command>, from: &str, to: &mut BusDriver) -> bool {
    match command {
        Some(Command::Send(message)) => {
            let Outgoing { kind, id, body, payloads, .. } = message;
            let (from, real_jid) = (from.to_owned(), Some(from.to_owned()));
            to.emit(BusEvent::Message(Incoming {
                from,
                room: None,
                nick: None,
                real_jid,
                kind,
                id,
                body,
                payloads,
            }))
            .await
        }
        Some(Command::Join(_) | Command::Leave { .. } | Command::Kick { .. }) => true,
        Some(Command::Close) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pair_carries_messages_both_ways() {
        let (mut left, mut right) = Bus::pair("a@x/1", "b@x/1");
        assert_eq!(left.next().await, Some(BusEvent::Up { jid: "a@x/1".into() }));
        assert_eq!(right.next().await, Some(BusEvent::Up { jid: "b@x/1".into() }));
        left.send(Outgoing::text("b@x/1", MessageKind::Chat, "hello")).await.unwrap();
        let Some(BusEvent::Message(got)) = right.next().await else { panic!("no message") };
        assert_eq!((got.from.as_str(), got.body.as_deref()), ("a@x/1", Some("hello")));
        drop(right);
        assert_eq!(left.next().await, None);
    }

    #[tokio::test]
    async fn nothing_is_accepted_while_the_link_is_down() {
        let (bus, mut driver) = Bus::channel();
        let message = Outgoing::text("b@x/1", MessageKind::Chat, "hello");
        assert_eq!(bus.send(message.clone()).await, Err(SendError::Down));
        driver.emit(BusEvent::Up { jid: "a@x/1".into() }).await;
        assert_eq!(bus.send(message.clone()).await, Ok(()));
        assert_eq!(driver.next_command().await, Some(Command::Send(message.clone())));
        drop(driver);
        assert_eq!(bus.send(message).await, Err(SendError::Closed));
    }
    #[tokio::test]
    async fn a_full_queue_tells_when_there_is_room_again() {
        let (bus, mut driver) = Bus::channel();
        driver.emit(BusEvent::Up { jid: "a@x/1".into() }).await;
        let message = Outgoing::text("b@x/1", MessageKind::Chat, "hello");
        let sender = bus.sender();
        while sender.try_send(message.clone()).is_ok() {}
        assert_eq!((sender.has_room(), sender.try_send(message.clone())), (false, Err(SendError::Full)));
        let room = sender.room();
        tokio::pin!(room);
        let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(room.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        assert!(driver.next_command().await.is_some());
        room.await;
        assert_eq!((sender.has_room(), sender.try_send(message)), (true, Ok(())));
        drop(driver);
        sender.room().await;
    }
}
