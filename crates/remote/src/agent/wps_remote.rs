//! An agent for an orchestrator of GeoServer's WPS Remote.
//!
//! There every service is an occupant of the room of its namespace, and so is every run, each with a session of its own,
//! because the orchestrator knows them by their nicknames: `<service>@<domain>/master@<host>` takes requests, and
//! `<service>@<domain>/<execution>@<host>` runs one. What is said is [`Message`]s in the form of [`wps_remote`].
//!
//! Other than the original's agents: a run says nothing before its occupant is in the room, an abort ends the process tree
//! before the occupant leaves, one error is said and not three, defaults are applied, all faults of a request come at once.

mod run;
mod shared_folder;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch_model::{DataDescription, JobId, ProcessDescription, ProcessId};
use anabranch_xmpp::{Bus, BusEvent, BusSender, ClientError, Incoming, MessageKind, RoomJoin};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AgentError, AgentService};
use crate::load::{Load, LoadSource};
use crate::message::{CannotExecute, Execute, LoadReport, Message, Register};
use crate::post::{bare, log_out, post_body};
use crate::recent::Recent;
use crate::run_id::RunId;
use crate::wire::wps_remote::{self, Body, ExecutionId};
use run::Run;

/// Requests remembered as taken: one that is repeated must not start a run again.
const REMEMBERED_MAX: usize = 4096;

/// Time between two looks for old results in the shared folder, which are kept for hours at least.
const SWEEP_PERIOD: Duration = Duration::from_secs(15 * 60);

/// Opens sessions of one account.
pub trait Sessions: Send + Sync {
    /// A session with this resource that enters the room.
    ///
    /// # Errors
    /// Where what is configured can't be used.
    fn open(&self, resource: &str, room: RoomJoin) -> Result<Bus, ClientError>;
}

/// How a [`WpsRemoteAgent`] behaves.
#[derive(Clone)]
pub struct WpsRemoteSettings {
    /// Bare JIDs of rooms; the local part of each is the namespace of the services that go there.
    pub rooms: Vec<String>,
    pub room_password: Option<String>,
    /// XMPP domain of the account, for nicknames.
    pub domain: String,
    /// This machine, for nicknames.
    pub host: String,
    /// Bare JID of the orchestrator's account: nobody else is heard. Where the room hides accounts, who has it, or its
    /// local part, as nickname.
    pub orchestrator: String,
    /// Slots for runs, all services together.
    pub capacity: u32,
    /// Each run gets a folder of its own below; what earlier incarnations left there is removed at the start.
    pub folder: PathBuf,
    /// Where results that are no texts are left for the orchestrator, which has the folder under the same path.
    /// GeoServer publishes them where they are.
    pub shared_folder: Option<PathBuf>,
    /// How long they stay there; for ever where absent.
    pub shared_keep: Option<Duration>,
    /// How long a shutdown waits for runs to end.
    pub shutdown: Duration,
}

/// Why a service can't be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WpsRemoteError {
    #[error(
        "service '{service}' needs the room of its namespace, '{namespace}@…', and there is none among the rooms"
    )]
    NoRoom { service: String, namespace: String },
    #[error(
        "service '{service}' has output '{output}', which is no text: that needs a shared_folder, or an upload"
    )]
    NoSharedFolder { service: String, output: String },
    #[error("service '{service}' has a '.' in its name, and GeoServer cuts names there")]
    Dot { service: String },
}

impl WpsRemoteSettings {
    /// Whether a service can be offered; `uploaded` are its outputs that need no shared folder.
    ///
    /// # Errors
    /// Why it can't.
    pub fn check(&self, description: &ProcessDescription, uploaded: &[String]) -> Result<(), WpsRemoteError> {
        let (namespace, name) = names(description);
        let service = description.id.to_string();
        if name.contains('.') || namespace.contains('.') {
            return Err(WpsRemoteError::Dot { service });
        }
        if self.room(namespace).is_none() {
            return Err(WpsRemoteError::NoRoom { service, namespace: namespace.to_owned() });
        }
        let mut not_uploaded = description.outputs.iter().filter(|output| !uploaded.contains(&output.id));
        let file = not_uploaded.find(|output| matches!(output.data, DataDescription::Complex(_)));
        match file {
            Some(output) if self.shared_folder.is_none() => {
                Err(WpsRemoteError::NoSharedFolder { service, output: output.id.clone() })
            }
            _ => Ok(()),
        }
    }

    fn room(&self, namespace: &str) -> Option<&str> {
        let local = |room: &str| room.split_once('@').is_some_and(|(local, _)| local == namespace);
        self.rooms.iter().map(String::as_str).find(|room| local(room))
    }

    /// Whether a message is from the orchestrator.
    fn is_orchestrator(&self, incoming: &Incoming) -> bool {
        match (&incoming.real_jid, &incoming.nick) {
            (Some(jid), _) => bare(jid) == self.orchestrator,
            (None, Some(nick)) => {
                *nick == self.orchestrator || self.orchestrator.split('@').next() == Some(nick.as_str())
            }
            (None, None) => false,
        }
    }
}

/// Namespace and name of a service.
fn names(description: &ProcessDescription) -> (&str, &str) {
    let id = description.id.as_str();
    id.split_once(':').unwrap_or(("default", id))
}

/// An agent for an orchestrator of WPS Remote.
pub struct WpsRemoteAgent;

impl WpsRemoteAgent {
    /// Serves until `shutdown` is cancelled: then it takes no more runs, ends those under way, says so, and leaves. A change of
    /// `services` is followed at once; runs under way are not touched. Services that [`WpsRemoteSettings::check`] refuses are
    /// left out, which is logged.
    ///
    /// # Errors
    /// Where a session ends for good or the folder can't be used.
    pub async fn run(
        sessions: Arc<dyn Sessions>,
        mut services: watch::Receiver<Vec<AgentService>>,
        settings: WpsRemoteSettings,
        load: Arc<dyn LoadSource>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        super::runs::clear_folder(&settings.folder).await?;
        let stop = shutdown.child_token();
        let slots = Arc::new(Semaphore::new(settings.capacity as usize));
        let live = Mutex::default();
        let shared = Arc::new(Shared { sessions, settings, load, slots, live, stop: stop.clone() });
        let mut sweeping = tokio::time::interval(SWEEP_PERIOD);
        let mut offers = Offers { shared, offered: BTreeMap::new(), masters: JoinSet::new() };
        offers.replace(&services.borrow_and_update());
        let (mut fixed, mut result) = (false, Ok(()));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = sweeping.tick() => offers.shared.sweep(),
                changed = services.changed(), if !fixed => match changed {
                    Ok(()) => offers.replace(&services.borrow_and_update()),
                    Err(_nobody_changes_them) => fixed = true,
                },
                Some(ended) = offers.masters.join_next() => {
                    let ended = ended.unwrap_or(Err(AgentError::Session(None)));
                    result = result.and(ended);
                    // Without one of its services an agent is not what it was started as.
                    if result.is_err() {
                        stop.cancel();
                    }
                }
            }
        }
        while let Some(ended) = offers.masters.join_next().await {
            let ended = ended.unwrap_or(Err(AgentError::Session(None)));
            result = result.and(ended);
        }
        result
    }
}

/// The services of an agent as they are offered.
struct Offers {
    shared: Arc<Shared>,
    offered: BTreeMap<ProcessId, Offered>,
    masters: JoinSet<Result<(), AgentError>>,
}

struct Offered {
    description: Arc<ProcessDescription>,
    service: watch::Sender<AgentService>,
    leave: CancellationToken,
    /// Cancelled when its occupant has gone.
    left: CancellationToken,
}

impl Offers {
    /// These are the services now.
    fn replace(&mut self, services: &[AgentService]) {
        let stays = |id: &ProcessId, offered: &Offered| {
            services.iter().any(|service| {
                let description = service.process.description();
                description.id == *id && description == offered.description
            })
        };
        let mut leaving = BTreeMap::new();
        self.offered.retain(|id, offered| {
            let stays = stays(id, offered);
            if !stays {
                offered.leave.cancel();
                leaving.insert(id.clone(), offered.left.clone());
            }
            stays
        });
        for service in services {
            let description = service.process.description();
            match self.offered.get(&description.id) {
                // The process behind an unchanged description may still be a new one.
                Some(offered) => drop(offered.service.send_replace(service.clone())),
                // GeoServer takes a changed description only when the old one has left.
                None => {
                    let after = leaving.remove(&description.id);
                    self.offer(service.clone(), description, after);
                }
            }
        }
    }

    fn offer(
        &mut self,
        service: AgentService,
        description: Arc<ProcessDescription>,
        after: Option<CancellationToken>,
    ) {
        let room = match self.shared.settings.check(&description, &service.uploaded) {
            Ok(()) => self.shared.settings.room(names(&description).0).unwrap_or_default().to_owned(),
            Err(error) => {
                tracing::error!(%error, "a service is not offered");
                return;
            }
        };
        let (leave, left) = (self.shared.stop.child_token(), CancellationToken::new());
        let (service, current) = watch::channel(service);
        let master = Master {
            shared: Arc::clone(&self.shared),
            service: current,
            description: Arc::clone(&description),
            room,
            leave: leave.clone(),
            left: left.clone().drop_guard(),
            runs: JoinSet::new(),
            taken: Recent::keeping(REMEMBERED_MAX),
        };
        self.masters.spawn(async move {
            if let Some(after) = after {
                after.cancelled().await;
            }
            master.serve().await
        });
        self.offered.insert(description.id.clone(), Offered { description, service, leave, left });
    }
}

/// What all services and runs of an agent share.
struct Shared {
    sessions: Arc<dyn Sessions>,
    settings: WpsRemoteSettings,
    load: Arc<dyn LoadSource>,
    slots: Arc<Semaphore>,
    /// Runs that are not over yet, for their orchestrator either.
    live: Mutex<BTreeSet<RunId>>,
    stop: CancellationToken,
}

impl Shared {
    /// Removes what is old in the shared folder, in the background.
    fn sweep(self: &Arc<Self>) {
        let WpsRemoteSettings { shared_folder: Some(folder), shared_keep: Some(keep), .. } =
            self.settings.clone()
        else {
            return;
        };
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::task::spawn_blocking(move || {
            let removed = shared_folder::sweep(&folder, keep, &live);
            if removed > 0 {
                tracing::info!(folder = %folder.display(), removed, "old results were removed");
            }
        });
    }

    /// A session in the room of a service, for the service itself or one of its runs.
    fn enter(&self, room: &str, service: &str, who: &str, resource: &str) -> Result<Bus, ClientError> {
        let WpsRemoteSettings { domain, host, room_password, .. } = &self.settings;
        let nick = format!("{service}@{domain}/{who}@{host}");
        let room = RoomJoin { room: room.to_owned(), nick, password: room_password.clone() };
        self.sessions.open(&format!("{resource}@{host}"), room)
    }
}

/// One service: what takes requests for it.
struct Master {
    shared: Arc<Shared>,
    service: watch::Receiver<AgentService>,
    description: Arc<ProcessDescription>,
    room: String,
    /// It is no longer offered.
    leave: CancellationToken,
    /// Tells when the occupant has gone.
    left: DropGuard,
    runs: JoinSet<()>,
    taken: Recent<ExecutionId>,
}

impl Master {
    async fn serve(mut self) -> Result<(), AgentError> {
        let name = names(&self.description).1;
        let bus = self.shared.enter(&self.room, name, "master", &format!("master.{name}"));
        let bus = bus.map_err(|error| AgentError::Session(Some(error)))?;
        let (sender, mut session) = bus.split();
        let (leave, mut fatal) = (self.leave.clone(), None);
        let result = loop {
            tokio::select! {
                () = leave.cancelled() => break Ok(()),
                event = session.next() => match event {
                    Some(BusEvent::Message(incoming)) => self.on_message(&sender, &incoming),
                    Some(BusEvent::Joined { room, nick }) => tracing::info!(room, nick, "in the room"),
                    Some(BusEvent::Fatal(error)) => fatal = Some(error),
                    Some(_) => {}
                    None => {
                        self.shared.stop.cancel();
                        break Err(AgentError::Session(fatal));
                    }
                },
                Some(_ended) = self.runs.join_next() => {}
            }
        };
        // Whoever leaves is no longer asked.
        log_out(&sender, &mut session).await;
        drop(self.left);
        end_runs(&mut self.runs, &self.shared).await;
        result
    }

    fn on_message(&mut self, sender: &BusSender, incoming: &Incoming) {
        if incoming.kind == MessageKind::Error || !self.shared.settings.is_orchestrator(incoming) {
            return;
        }
        let Some(body) = incoming.body.as_deref() else { return };
        let body = match wps_remote::decode(body, Some(&self.description.id)) {
            None => return,
            Some(Ok(body)) => body,
            // Not answered: the orchestrator could make nothing of it, and its request has no name to fail it by.
            Some(Err(error)) => {
                tracing::warn!(from = incoming.from, %error, "a message was not understood");
                return;
            }
        };
        let Body { execution, base_url, mut messages, .. } = body;
        match (messages.pop(), execution) {
            (Some(Message::Invite), _) => self.register(sender, &incoming.from),
            (Some(Message::LoadQuery), _) => {
                let load = self.load();
                let report = LoadReport { load, running: 0, slots: 0, draining: false, full: None };
                self.say(sender, &incoming.from, &Body::session(Message::Load(report)));
            }
            (Some(Message::Execute(execute)), Some(execution)) => {
                self.request(sender, &incoming.from, execution, base_url, *execute);
            }
            // Of a run, which has an occupant of its own, or what only agents say.
            _ => tracing::debug!(from = incoming.from, "a message that is not for us"),
        }
    }

    /// As measured; with 100 % of all where no run would be taken: there is no other word for it in this form.
    fn load(&self) -> Load {
        let load = self.shared.load.load();
        match self.shared.load.full() {
            Some(_) => Load { cpu_percent: 100.0, memory_percent: 100.0, ..load },
            None => load,
        }
    }

    fn register(&self, sender: &BusSender, to: &str) {
        let (runs_max, weight) = {
            let service = self.service.borrow();
            (service.runs_max, service.weight)
        };
        let (description, preferred_labels) = (Arc::clone(&self.description), Vec::new());
        let register = Register { revision: 0, description, runs_max, weight, preferred_labels };
        self.say(sender, to, &Body::session(Message::Register(register)));
    }

    /// A run is asked for.
    fn request(
        &mut self,
        sender: &BusSender,
        from: &str,
        execution: ExecutionId,
        base_url: String,
        execute: Execute,
    ) {
        if self.taken.has(&execution) {
            return;
        }
        let service = self.service.borrow().clone();
        let weight = service.weight.max(1);
        let slots = Arc::clone(&self.shared.slots).try_acquire_many_owned(weight);
        let full = self.shared.load.full();
        let (Ok(slots), None, true) = (slots, &full, self.runs.len() < service.runs_max as usize) else {
            let reason = full.unwrap_or_else(|| "no slot is free".into());
            tracing::info!(%execution, reason, "a run was refused");
            let refusal = CannotExecute { offer: 1, reason, never: false };
            return self.say(sender, from, &Body::run(execution, Message::CannotExecute(refusal)));
        };
        self.taken.note(execution.clone());
        let run = Run {
            id: RunId::whole(JobId::random(), 1),
            execution,
            base_url,
            orchestrator: from.to_owned(),
            room: self.room.clone(),
            process: service.process,
            inputs: execute.inputs,
            shared: Arc::clone(&self.shared),
        };
        self.runs.spawn(run.follow(slots));
    }

    fn say(&self, sender: &BusSender, to: &str, body: &Body) {
        let sent = match wps_remote::encode(body) {
            Ok(text) => post_body(sender, to, text, None),
            Err(error) => {
                tracing::error!(process = %self.description.id, %error, "a message can't be sent");
                return;
            }
        };
        if let Err(error) = sent {
            // The orchestrator asks again.
            tracing::debug!(to, %error, "a message did not leave");
        }
    }
}

/// Runs go on while the agent does, and end by themselves when it stops; dropping one drops its process tree.
async fn end_runs(runs: &mut JoinSet<()>, shared: &Shared) {
    let all = async { while runs.join_next().await.is_some() {} };
    let too_long = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(shared.settings.shutdown).await;
    };
    tokio::select! {
        () = all => {}
        () = too_long => tracing::warn!("stopped before every run had ended"),
    }
    runs.shutdown().await;
}
