//! Stand-ins for agents of WPS Remote: occupants who say what they are told to say, and remember what they hear.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_remote::wire::wps_remote::{Body, decode};
use anabranch_xmpp::{BusEvent, BusSender, MessageKind, Outgoing, RoomJoin};
use tokio::task::JoinHandle;

use crate::cluster::{eventually, holds_for};
use crate::room::{ROOM, Room};

/// The account of every agent in the transcripts, but of the one that runs GDAL.
pub(crate) const ACCOUNT: &str = "default.dummy";
pub(crate) const MASTER: &str = "Dummy@geoserver.org/master@vm";

/// A file under `testdata/wps-remote`.
pub(crate) fn testdata(path: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wps-remote");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// One occupant; it leaves when it is dropped.
pub(crate) struct Occupant {
    sender: BusSender,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Occupant {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Occupant {
    /// Enters the room.
    pub(crate) async fn enter(room: &Room, account: &str, nick: &str) -> Self {
        Self::answering(room, account, nick, vec![]).await
    }

    /// An agent that registers as it was caught doing, and tells its load.
    pub(crate) async fn master(room: &Room, account: &str, nick: &str) -> Self {
        let register = match nick.split('@').next().unwrap() {
            "GdalContour" => "gdalcontour",
            "Dummy2" => "files",
            _ => "dummy",
        };
        let answers = vec![
            ("topic=invite", testdata(&format!("bodies/02-register-{register}.txt"))),
            ("topic=getloadavg", testdata("bodies/04-loadavg.txt")),
        ];
        Self::answering(room, account, nick, answers).await
    }

    async fn answering(room: &Room, account: &str, nick: &str, answers: Vec<(&'static str, String)>) -> Self {
        let mut bus = room.connect(account);
        let sender = bus.sender();
        sender.join(RoomJoin { room: ROOM.into(), nick: nick.into(), password: None }).await.unwrap();
        crate::cluster::entered(&mut bus).await;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (log, replies) = (Arc::clone(&heard), sender.clone());
        let task = tokio::spawn(async move {
            while let Some(event) = bus.next().await {
                let BusEvent::Message(incoming) = event else { continue };
                let Some(body) = incoming.body else { continue };
                for (_, answer) in answers.iter().filter(|(asked, _)| *asked == body) {
                    replies.send(Outgoing::text(&incoming.from, MessageKind::Chat, answer)).await.unwrap();
                }
                log.lock().unwrap().push(body);
            }
        });
        Self { sender, heard, task }
    }

    /// Says something to the server.
    pub(crate) async fn say(&self, body: &str) {
        let to = format!("{ROOM}/orchestrator");
        self.sender.send(Outgoing::text(&to, MessageKind::Chat, body)).await.unwrap();
    }

    /// All bodies heard of a topic.
    pub(crate) fn heard(&self, topic: &str) -> Vec<String> {
        let exactly = format!("topic={topic}");
        let begins = format!("{exactly}&");
        let all = self.heard.lock().unwrap();
        all.iter().filter(|body| **body == exactly || body.starts_with(&begins)).cloned().collect()
    }

    /// Waits until a topic has been heard so often.
    pub(crate) async fn hears(&self, topic: &str, times: usize) {
        let what = format!("'{topic}' is heard {times} times");
        eventually(&what, || self.heard(topic).len() >= times).await;
    }

    pub(crate) async fn hears_no(&self, topic: &str, time: Duration) {
        holds_for(time, &format!("no '{topic}'"), || self.heard(topic).is_empty()).await;
    }

    /// The last request heard, once there are so many.
    pub(crate) async fn request(&self, times: usize) -> Body {
        self.hears("request", times).await;
        read(self.heard("request").last().unwrap())
    }
}

/// Reads a request.
pub(crate) fn read(body: &str) -> Body {
    let service = anabranch_model::ProcessId::new("default:Dummy").unwrap();
    decode(body, Some(&service)).unwrap().unwrap()
}
