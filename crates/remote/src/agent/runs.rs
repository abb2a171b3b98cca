//! Runs on an agent: admitted, run, told of, forgotten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anabranch_model::{Error, Execution, Feed, Process, ProcessId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::buffer::{RunBuffer, kib};
use super::feed::{AgentFeed, PIECES_MAX};
use super::owner::Owner;
use super::sink::AgentSink;
use super::values::fetch_inputs;
use super::{AgentData, AgentError};
use crate::link::{Link, Segment};
use crate::message::{CannotExecute, Execute, Message, Piece, RUNS_HELD_MAX};
use crate::post::{envelope, now};
use crate::run_id::RunId;
use crate::wire::Envelope;

/// Longest text of an error for the log, in characters.
const DETAIL_CHARS_MAX: usize = 8 * 1024;

/// One run.
pub(super) struct Run {
    pub(super) process: ProcessId,
    /// The server that is told of it: the one that sent it, or that has taken it over since.
    pub(super) home: String,
    weight: u32,
    pub(super) link: Link<Message>,
    buffer: Arc<RunBuffer>,
    /// Where pieces of its feed go.
    pieces: Option<mpsc::Sender<Piece>>,
    cancel: CancellationToken,
    /// Its process has ended; messages may be left.
    ended: bool,
    /// The server wants nothing more of it: it is forgotten when it has ended.
    unwanted: bool,
    /// The server asked for its end.
    aborting: bool,
    /// Why we ended it ourselves.
    interrupted: Option<String>,
}

impl Run {
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The server has taken all that was to be said.
    pub(super) fn is_settled(&self) -> bool {
        self.is_ended() && self.link.is_settled()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let throttled = self.buffer.deadline().filter(|_| self.link.has_room());
        self.link.deadline().into_iter().chain(throttled).min()
    }
}

impl Owner {
    /// A message about a run, by a server that greeted us.
    pub(super) fn on_run_message(&mut self, from: &str, id: RunId, envelope: Envelope, now: Instant) {
        if let Message::Execute(execute) = &envelope.message
            && !self.runs.contains_key(&id)
            && !(envelope.seq == 1 && self.admit(from, id, execute, now))
        {
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else {
            if envelope.message.is_sequenced() {
                self.forgotten(from, id);
            }
            return;
        };
        if !run.is_heard_from(self.homes.greeted_by(from).unwrap_or_default(), &envelope) {
            tracing::debug!(run = %id, from, "a server speaks of a run that another one has");
            return;
        }
        let message = envelope.message.is_sequenced().then_some((envelope.seq, envelope.message));
        let freed = run.link.handle(Segment { ack: envelope.ack, message });
        for message in freed {
            if let Message::Output(output) = message {
                run.buffer.outputs_kib_free.add_permits(kib(&output) as usize);
            }
        }
        while let Some((seq, message)) = self.runs.get_mut(&id).and_then(|run| run.link.deliver()) {
            self.apply(id, message, now);
            if let Some(run) = self.runs.get_mut(&id) {
                run.link.done(seq);
            }
        }
        self.drop_unwanted(id, now);
    }

    fn apply(&mut self, id: RunId, message: Message, now: Instant) {
        match message {
            Message::Execute(execute) => self.start(id, *execute, now),
            Message::Attach => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.link.resend_all();
                }
            }
            Message::Piece(piece) => {
                // One that nobody waits for was wanted by nobody.
                let pieces = self.runs.get(&id).and_then(|run| run.pieces.as_ref());
                if pieces.is_none_or(|pieces| pieces.try_send(piece).is_err()) {
                    tracing::warn!(run = %id, "the server gave a piece that was not wanted");
                }
            }
            Message::Abort => {
                if let Some(run) = self.runs.get_mut(&id) {
                    tracing::info!(run = %id, "the server ends the run");
                    run.aborting = true;
                    run.cancel.cancel();
                }
            }
            Message::Finish => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.unwanted = true;
                    run.cancel.cancel();
                }
            }
            _ => tracing::warn!(run = %id, "the server said what only agents say"),
        }
    }

    /// Whether a run that is new here is taken; says why where it is not.
    fn admit(&mut self, from: &str, id: RunId, execute: &Execute, now: Instant) -> bool {
        if self.over.has(&id) {
            self.forgotten(from, id);
            return false;
        }
        let Some(refusal) = self.refusal(id, execute) else {
            let service = self.registrations.service(&execute.process);
            let weight = service.map_or(1, |service| service.weight.max(1));
            let home = self.homes.greeted_by(from).unwrap_or_default().to_owned();
            self.runs.insert(id, Run::new(execute.process.clone(), home, weight));
            self.load_changed(now);
            return true;
        };
        self.refused.note((id, execute.offer));
        tracing::info!(run = %id, reason = refusal.reason, "a run was refused");
        if self.settings.drain.is_on() || self.load.full().is_some() {
            // It may not know yet, and would ask again and again.
            self.load_changed(now);
        }
        let message = Message::CannotExecute(refusal);
        self.say_to(from, &Envelope { run: Some(id), seq: 0, ack: 0, message });
        false
    }

    fn refusal(&self, id: RunId, execute: &Execute) -> Option<CannotExecute> {
        let refuse =
            |reason: String, never: bool| Some(CannotExecute { offer: execute.offer, reason, never });
        if self.refused.has(&(id, execute.offer)) {
            return refuse("it was refused before".into(), false);
        }
        if self.stopping {
            return refuse("the agent stops".into(), true);
        }
        if self.settings.drain.is_on() {
            return refuse("the agent is being drained".into(), false);
        }
        if let Some(reason) = self.load.full() {
            return refuse(reason, false);
        }
        let Some(service) = self.registrations.service(&execute.process) else {
            return refuse(format!("process '{}' is not offered here", execute.process), true);
        };
        let same = self.runs.values().filter(|run| !run.is_ended() && run.process == execute.process).count();
        let slots = self.slots_taken().saturating_add(service.weight.max(1));
        let capacity = self.settings.profile.borrow().capacity;
        if slots > capacity || same >= service.runs_max as usize {
            return refuse(format!("{} of {capacity} slots are taken", self.slots_taken()), false);
        }
        if self.runs.len() >= RUNS_HELD_MAX {
            return refuse(format!("{RUNS_HELD_MAX} runs are kept already"), false);
        }
        None
    }

    pub(super) fn slots_taken(&self) -> u32 {
        let live = self.runs.values().filter(|run| !run.is_ended());
        live.fold(0, |sum, run| sum.saturating_add(run.weight))
    }

    fn start(&mut self, id: RunId, execute: Execute, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(process) =
            self.registrations.service(&execute.process).map(|service| Arc::clone(&service.process))
        else {
            return;
        };
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        run.pieces = execute.fed.is_some().then_some(sender);
        let task = RunTask {
            id,
            process,
            execute,
            pieces,
            folder: self.settings.folder.join(id.to_string()),
            data: Arc::clone(&self.data),
            buffer: Arc::clone(&run.buffer),
            wake: Arc::clone(&self.wake),
            cancel: run.cancel.clone(),
        };
        let handle = self.tasks.spawn(task.run());
        self.task_runs.insert(handle.id(), id);
        self.pump_run(id, now);
    }

    /// A process has ended, by itself or because we wanted it.
    pub(super) fn on_task_ended(&mut self, ended: Result<(tokio::task::Id, Result<(), Error>), JoinError>) {
        let (task, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(Error::internal(format!("the process panicked: {error}")))),
        };
        let Some(id) = self.task_runs.remove(&task) else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.ended = true;
        run.buffer.end(run.ending(result));
        self.load_changed(now());
        self.drop_unwanted(id, now());
    }

    /// Ends all runs of our own accord.
    pub(super) fn cancel_runs(&mut self, reason: &str) {
        for run in self.runs.values_mut().filter(|run| !run.ended && run.interrupted.is_none()) {
            run.interrupted = Some(reason.to_owned());
            run.cancel.cancel();
        }
    }

    /// Moves what a run has to say onto its link, and its link's messages onto the session.
    pub(super) fn pump_run(&mut self, id: RunId, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        while run.link.has_room()
            && let Some(message) = run.buffer.next(now)
        {
            // There is room, so it is taken.
            let _ = run.link.send(message);
        }
        let Some(address) = self.homes.address(&run.home).map(str::to_owned) else { return };
        while let Some(segment) = self.runs.get_mut(&id).and_then(|run| run.link.poll(now)) {
            if !self.say_to(&address, &envelope(id, segment.clone())) {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.link.refused(&segment);
                }
                return;
            }
        }
    }

    /// Forgets a run that nobody wants and that is over.
    fn drop_unwanted(&mut self, id: RunId, now: Instant) {
        if self.runs.get(&id).is_none_or(|run| !(run.ended && run.unwanted)) {
            self.pump_run(id, now);
            return;
        }
        if let Some(mut run) = self.runs.remove(&id)
            && let Some(address) = self.homes.address(&run.home).map(str::to_owned)
        {
            // The last acknowledgement; where it is lost, the server asks again and hears that the run is forgotten.
            while let Some(segment) = run.link.poll(now) {
                self.say_to(&address, &envelope(id, Segment { message: None, ..segment }));
            }
        }
        self.over.note(id);
        let folder = self.settings.folder.join(id.to_string());
        tokio::task::spawn_blocking(move || remove_folder(&folder));
    }

    fn forgotten(&mut self, from: &str, id: RunId) {
        self.say_to(from, &Envelope { run: Some(id), seq: 0, ack: 0, message: Message::Forgotten });
    }
}

impl Run {
    fn new(process: ProcessId, home: String, weight: u32) -> Self {
        Self {
            process,
            home,
            weight,
            link: Link::default(),
            buffer: Arc::new(RunBuffer::accepted()),
            pieces: None,
            cancel: CancellationToken::new(),
            ended: false,
            unwanted: false,
            aborting: false,
            interrupted: None,
        }
    }

    /// Whether a server is the one that is told of the run, or becomes it: by a message that is new on the link and says that it has
    /// the job now, or that nobody has. What the server before it still says is not heard from then on.
    fn is_heard_from(&mut self, server: &str, envelope: &Envelope) -> bool {
        let takes_over = matches!(envelope.message, Message::Attach | Message::Finish)
            && envelope.seq == self.link.received() + 1;
        if takes_over && self.home != server {
            tracing::info!(server, before = self.home, "another server has taken over a run");
            server.clone_into(&mut self.home);
        }
        self.home == server
    }

    /// What the server is told about the end.
    fn ending(&self, result: Result<(), Error>) -> Message {
        match (result, &self.interrupted) {
            (Ok(()), _) => Message::Completed,
            (Err(_), Some(reason)) => Message::Failed(Error::Interrupted { reason: reason.clone() }),
            (Err(_), None) if self.aborting => Message::Aborted,
            (Err(error), None) => Message::Failed(shortened(error)),
        }
    }
}

/// A run's work.
struct RunTask {
    id: RunId,
    process: Arc<dyn Process>,
    execute: Execute,
    pieces: mpsc::Receiver<Piece>,
    folder: PathBuf,
    data: Arc<dyn AgentData>,
    buffer: Arc<RunBuffer>,
    wake: Arc<Notify>,
    cancel: CancellationToken,
}

impl RunTask {
    async fn run(self) -> Result<(), Error> {
        tokio::fs::create_dir_all(&self.folder).await.map_err(Error::internal)?;
        let Execute { inputs, outputs, fed, cpu_s_max, .. } = self.execute;
        let inputs = fetch_inputs(inputs, &self.folder, self.data.as_ref(), &self.cancel).await?;
        let uploads: BTreeMap<_, _> =
            outputs.iter().map(|wanted| (wanted.request.id.clone(), wanted.upload_url.clone())).collect();
        let feed = fed.map(|input| {
            let reader = AgentFeed {
                input: input.clone(),
                pieces: self.pieces,
                n: 0,
                buffer: Arc::clone(&self.buffer),
                wake: Arc::clone(&self.wake),
                cancel: self.cancel.clone(),
                data: Arc::clone(&self.data),
                folder: self.folder.clone(),
            };
            Feed::new(input, Box::new(reader))
        });
        let sink = AgentSink {
            buffer: self.buffer,
            wake: self.wake,
            cancel: self.cancel,
            data: self.data,
            folder: self.folder,
            uploads,
            chunks: Mutex::new(BTreeMap::new()),
            cpu_s_max,
            cpu_ms: AtomicU64::new(0),
        };
        let execution = Execution {
            job: self.id.job,
            attempt: self.id.attempt,
            part: self.id.part,
            resume: false,
            written: 0,
            feed,
            arriving: None,
            inputs,
            outputs: outputs.into_iter().map(|wanted| wanted.request).collect(),
            sink: Arc::new(sink),
        };
        self.process.execute(execution).await
    }
}

/// An error that fits into a message whatever a process puts into its texts.
pub(super) fn shortened(error: Error) -> Error {
    let cut = |text: String| match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    match error {
        Error::ProcessFailed { message, detail } => {
            Error::ProcessFailed { message: cut(message), detail: cut(detail) }
        }
        Error::Internal { detail } => Error::Internal { detail: cut(detail) },
        Error::NotEnoughStorage { detail } => Error::NotEnoughStorage { detail: cut(detail) },
        Error::DataNotAccessible { input, reason } => Error::DataNotAccessible { input, reason: cut(reason) },
        other => other,
    }
}

/// Removes what earlier incarnations left; only folders named as runs are.
pub(super) async fn clear_folder(folder: &Path) -> Result<(), AgentError> {
    let unusable = |source| AgentError::Folder { folder: folder.to_owned(), source };
    tokio::fs::create_dir_all(folder).await.map_err(unusable)?;
    let mut entries = tokio::fs::read_dir(folder).await.map_err(unusable)?;
    while let Some(entry) = entries.next_entry().await.map_err(unusable)? {
        if entry.file_name().to_str().is_some_and(|name| name.parse::<RunId>().is_ok()) {
            let left = entry.path();
            let removed = tokio::task::spawn_blocking(move || remove_folder(&left));
            drop(removed.await);
        }
    }
    Ok(())
}

fn remove_folder(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        // A run that failed before it had one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(folder = %folder.display(), %error, "a run's folder can't be removed"),
    }
}
