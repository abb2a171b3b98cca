//! The agent's side: announces processes and runs them for the server.

mod buffer;
mod feed;
mod home;
mod homes;
mod owner;
mod registrations;
mod runs;
mod sink;
mod values;
pub mod wps_remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anabranch_model::{BoxFuture, Process};
use anabranch_xmpp::{Bus, ClientError, RoomJoin};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{Drain, LoadSource};

/// A process that an agent offers.
#[derive(Clone)]
pub struct AgentService {
    /// Its identifier must have a namespace (`default:GdalContour`).
    pub process: Arc<dyn Process>,
    /// Runs of it that are taken at once.
    pub runs_max: u32,
    /// Slots of [`Profile::capacity`] that one run takes.
    pub weight: u32,
    /// Agents with these labels are preferred for it: see [`is_label`](crate::message::is_label).
    pub preferred_labels: Vec<String>,
    /// Outputs that its process uploads ([`OutputSink::write_uploaded`](anabranch_model::OutputSink::write_uploaded)).
    pub uploaded: Vec<String>,
}

/// The data plane as an agent sees it.
pub trait AgentData: Send + Sync {
    /// Downloads an input into a file, replacing what an earlier try may have left there.
    fn fetch<'a>(&'a self, url: &'a str, to: &'a Path) -> BoxFuture<'a, Result<(), DataError>>;
    /// Uploads a chunk by PUT. May be repeated: the last one counts.
    fn upload<'a>(&'a self, url: &'a str, file: &'a Path) -> BoxFuture<'a, Result<(), DataError>>;
}

/// Why bytes did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DataError {
    /// For the client; says nothing about what is behind refused addresses.
    pub reason: String,
    /// Trying again may help: no connection, a server that is being restarted.
    pub transient: bool,
}

/// What its owner says of an agent's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Slots for runs, all services together.
    pub capacity: u32,
    /// What is special about it, e.g. the data that it holds: see [`is_label`](crate::message::is_label).
    pub labels: Vec<String>,
}

/// How an [`Agent`] behaves.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Rooms to be in; may be empty where the session joins them itself.
    pub rooms: Vec<RoomJoin>,
    /// Nickname of the server in those rooms. Several servers that share their jobs have it with `-` and a name behind it.
    pub orchestrator_nick: String,
    /// Bare JID of the server's account, checked where the room shows real addresses; `None` trusts the nickname.
    pub orchestrator_account: Option<String>,
    /// Tells agents of one account apart, e.g. the host name.
    pub instance: String,
    /// Version of the agent program.
    pub version: String,
    /// What its owner says of the machine; a change is told at once, and touches no run under way.
    pub profile: watch::Sender<Profile>,
    /// For maintenance; the server can turn it too.
    pub drain: Drain,
    /// Each run gets a folder of its own below; what earlier incarnations left there is removed at the start.
    pub folder: PathBuf,
    /// See [`AgentSettings::ORPHAN`].
    pub orphan: Duration,
    /// See [`AgentSettings::SHUTDOWN`].
    pub shutdown: Duration,
}

impl AgentSettings {
    /// Default nickname of the server.
    pub const ORCHESTRATOR_NICK: &'static str = "orchestrator";
    /// How long runs go on without a server: a weekend's repair is longer, but so is a machine kept busy for nobody.
    pub const ORPHAN: Duration = Duration::from_secs(24 * 3600);
    /// How long a shutdown waits for runs to end and for the server to hear of it.
    pub const SHUTDOWN: Duration = Duration::from_secs(10);

    /// With the constants above, one slot, no labels, and no account to check.
    #[must_use]
    pub fn new(rooms: Vec<RoomJoin>, instance: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            rooms,
            orchestrator_nick: Self::ORCHESTRATOR_NICK.into(),
            orchestrator_account: None,
            instance: instance.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            profile: watch::Sender::new(Profile { capacity: 1, labels: Vec::new() }),
            drain: Drain::default(),
            folder: folder.into(),
            orphan: Self::ORPHAN,
            shutdown: Self::SHUTDOWN,
        }
    }
}

/// Why an agent stopped.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The XMPP session has ended for good.
    #[error("the XMPP session has ended")]
    Session(#[source] Option<ClientError>),
    /// The folder for runs can't be used.
    #[error("the folder for runs '{}' can't be used", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
}

/// An agent.
pub struct Agent;

impl Agent {
    /// Serves until `shutdown` is cancelled: then it takes no more runs, ends those under way (their process trees die with
    /// them), tells the server, and leaves. A change of `services` is announced at once; runs under way are not touched.
    ///
    /// # Errors
    /// Where the session ends for good or the folder can't be used.
    pub async fn run(
        bus: Bus,
        services: watch::Receiver<Vec<AgentService>>,
        settings: AgentSettings,
        data: Arc<dyn AgentData>,
        load: Arc<dyn LoadSource>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        runs::clear_folder(&settings.folder).await?;
        let (sender, receiver) = bus.split();
        owner::Owner::new(sender, settings, data, load).serve(receiver, services, shutdown).await
    }
}
