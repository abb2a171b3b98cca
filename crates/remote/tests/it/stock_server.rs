//! A stand-in for GeoServer's orchestrator, and our agent as it serves one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_remote::*;
use anabranch_xmpp::{
    Bus, BusEvent, BusSender, ClientError, MessageKind, OccupantChange, Outgoing, RoomJoin,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{eventually, services};
use crate::doubles::{Idle, Script};
use crate::room::{ROOM, Room};

/// As GeoServer's module calls itself.
pub(crate) const NICK: &str = "admin@geoserver.org";

/// The orchestrator's end of the room.
pub(crate) struct StockServer {
    sender: BusSender,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Who is there, by nickname.
    present: Vec<String>,
    /// Who has come, in this order.
    arrivals: Vec<String>,
    /// Nickname and body, in the order heard.
    heard: Vec<(String, String)>,
}

impl Drop for StockServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StockServer {
    pub(crate) async fn enter(room: &Room) -> Self {
        Self::enter_as(room, "admin", NICK).await
    }

    pub(crate) async fn enter_as(room: &Room, account: &str, nick: &str) -> Self {
        let mut bus = room.connect(account);
        let sender = bus.sender();
        sender.join(RoomJoin { room: ROOM.into(), nick: nick.into(), password: None }).await.unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let log = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Some(event) = bus.next().await {
                let mut state = log.lock().unwrap();
                match event {
                    BusEvent::Occupant { nick, change: OccupantChange::Joined, .. } => {
                        state.arrivals.push(nick.clone());
                        state.present.push(nick);
                    }
                    BusEvent::Occupant { nick, .. } => state.present.retain(|other| *other != nick),
                    BusEvent::Message(incoming) => {
                        state.heard.push((incoming.nick.unwrap(), incoming.body.unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        });
        let server = Self { sender, state, task };
        server.sees_come(nick).await;
        server
    }

    pub(crate) async fn say(&self, nick: &str, body: &str) {
        let to = format!("{ROOM}/{nick}");
        self.sender.send(Outgoing::text(&to, MessageKind::Chat, body)).await.unwrap();
    }

    pub(crate) fn sees(&self, nick: &str) -> bool {
        self.state.lock().unwrap().present.iter().any(|other| other == nick)
    }

    pub(crate) async fn sees_come(&self, nick: &str) {
        eventually(&format!("{nick} comes"), || self.sees(nick)).await;
    }

    /// Waits until someone has come so often.
    pub(crate) async fn has_seen(&self, nick: &str, times: usize) {
        let arrivals = || self.state.lock().unwrap().arrivals.iter().filter(|other| *other == nick).count();
        eventually(&format!("{nick} comes {times} times"), || arrivals() >= times).await;
    }

    pub(crate) async fn sees_go(&self, nick: &str) {
        eventually(&format!("{nick} goes"), || !self.sees(nick)).await;
    }

    /// All bodies of a topic from an occupant.
    pub(crate) fn heard(&self, nick: &str, topic: &str) -> Vec<String> {
        let begins = format!("topic={topic}&");
        let state = self.state.lock().unwrap();
        let of = state.heard.iter().filter(|(from, body)| from == nick && body.starts_with(&begins));
        of.map(|(_, body)| body.clone()).collect()
    }

    pub(crate) async fn hears(&self, nick: &str, topic: &str, times: usize) -> String {
        let what = format!("'{topic}' of {nick} is heard {times} times");
        eventually(&what, || self.heard(nick, topic).len() >= times).await;
        self.heard(nick, topic).swap_remove(times - 1)
    }
}

/// Sessions at the room in memory.
struct RoomSessions {
    room: Room,
    account: String,
}

impl Sessions for RoomSessions {
    fn open(&self, _resource: &str, room: RoomJoin) -> Result<Bus, ClientError> {
        let bus = self.room.connect(&self.account);
        let sender = bus.sender();
        tokio::spawn(async move { sender.join(room).await });
        Ok(bus)
    }
}

/// Our agent.
pub(crate) struct StockAgent {
    pub(crate) task: JoinHandle<Result<(), AgentError>>,
    pub(crate) services: watch::Sender<Vec<AgentService>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) runs: tempfile::TempDir,
    pub(crate) shared: tempfile::TempDir,
}

impl StockAgent {
    pub(crate) fn start(room: &Room, capacity: u32, scripts: Vec<Arc<Script>>) -> Self {
        Self::start_for(room, "admin@test", capacity, scripts)
    }

    pub(crate) fn start_for(
        room: &Room,
        orchestrator: &str,
        capacity: u32,
        scripts: Vec<Arc<Script>>,
    ) -> Self {
        let (runs, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settings = WpsRemoteSettings {
            rooms: vec![ROOM.into()],
            room_password: None,
            domain: "geoserver.org".into(),
            host: "vm".into(),
            orchestrator: orchestrator.into(),
            capacity,
            folder: runs.path().into(),
            shared_folder: Some(shared.path().into()),
            shared_keep: None,
            shutdown: Duration::from_secs(10),
        };
        let (services, offered) = watch::channel(services(scripts));
        let shutdown = CancellationToken::new();
        let run = WpsRemoteAgent::run(
            Arc::new(RoomSessions { room: room.clone(), account: "default.dummy".into() }),
            offered,
            settings,
            Arc::new(Idle),
            shutdown.clone(),
        );
        Self { task: tokio::spawn(run), services, shutdown, runs, shared }
    }

    pub(crate) async fn has_folders(&self, count: usize) {
        let folders = || std::fs::read_dir(self.runs.path()).unwrap().count();
        eventually(&format!("{count} folders of runs"), || folders() == count).await;
    }
}

/// Values of the JSON objects in a `completed`, by output and member.
pub(crate) fn outputs(completed: &str) -> BTreeMap<String, serde_json::Value> {
    let fields =
        completed.split('&').skip(4).map(|field| field.split_once('=').expect("GeoServer needs a value"));
    fields
        .map(|(name, value)| {
            let json = String::from_utf8(percent_decode(value)).unwrap();
            (name.to_owned(), serde_json::from_str(&json).unwrap())
        })
        .collect()
}

/// As `java.net.URLDecoder` does, where `+` is a space.
fn percent_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).collect()
}
