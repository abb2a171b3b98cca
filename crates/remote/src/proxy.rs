//! A process that runs on agents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anabranch_model::{
    BoxFuture, Error, Execution, JobId, LogLine, LogSource, OnRestart, OutputSink, Process,
    ProcessDescription,
};
use tokio::sync::mpsc;

use crate::carry;
use crate::dispatch::Claim;
use crate::feed::{Feeding, WantedPiece};
use crate::message::{Execute, Log, Message, Output};
use crate::pool::command::{Ending, MAILBOX_MAX, PoolCommand, PoolHandle, RunEvent, Submission, Task};
use crate::run_id::RunId;
use crate::wire::{self, Envelope};

/// Longest text of an agent that is passed on to clients, in characters: exit code and the last lines.
const AGENT_TEXT_CHARS_MAX: usize = 8 * 1024;

/// Reasons for waiting that a job's log gets.
const REASONS_LOGGED_MAX: usize = 20;

/// A process that runs on agents: made by the [`Orchestrator`](crate::Orchestrator) for what they announce.
pub struct RemoteProcess {
    description: Arc<ProcessDescription>,
    pool: PoolHandle,
}

impl RemoteProcess {
    pub(crate) fn new(description: Arc<ProcessDescription>, pool: PoolHandle) -> Self {
        Self { description, pool }
    }

    pub(crate) fn published(&self) -> &ProcessDescription {
        &self.description
    }
}

impl Process for RemoteProcess {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn on_restart(&self) -> OnRestart {
        OnRestart::Reattach
    }

    fn may_live_on(&self, job: JobId, attempt: u32) -> bool {
        self.pool.data.was_sent(RunId::whole(job, attempt))
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let mut run = Run::submit(&self, execution).await?;
            let result = run.follow().await;
            if !matches!(result, Err(Error::Interrupted { .. })) {
                run.pool.data.release(run.id);
            }
            result
        })
    }
}

/// One run as the server's job sees it: reads its mailbox, writes the sink.
struct Run {
    id: RunId,
    pool: PoolHandle,
    sink: Arc<dyn OutputSink>,
    mailbox: mpsc::Receiver<RunEvent>,
    /// What it is fed.
    feed: Option<Feeding>,
    /// The agent it was sent to.
    agent: Option<String>,
    /// Outputs asked for: what else an agent gives is taken from nowhere.
    outputs: Vec<String>,
    /// Where it was found again after a restart: chunks of each output that were stored before.
    stored: Option<BTreeMap<String, u64>>,
    /// Why it waits, as it was last told.
    reason: Arc<str>,
    /// Reasons for waiting in the log.
    reasons_logged: usize,
    /// It is being ended, and this is what the job ends with.
    ending: Option<Error>,
    /// Processor time that it has used, as far as it was told.
    cpu_ms: u64,
    /// The pool has been told how it ended.
    closed: bool,
}

/// What an event means for the run.
enum Step {
    GoOn,
    End(Result<(), Error>),
}

impl Run {
    async fn submit(process: &RemoteProcess, mut execution: Execution) -> Result<Self, Error> {
        let pool = process.pool.clone();
        let id = RunId::of(&execution);
        let process = process.description.id.clone();
        let task = if execution.resume {
            Task::Resume
        } else {
            let execute =
                Box::new(carry::execute(process.clone(), id, &execution, pool.data.as_ref()).await?);
            check_size(id, &execute)?;
            Task::Start(execute)
        };
        let feed = execution.feed.take().map(Feeding::new);
        // Holds a whole window, so that the pool never has to wait for a run.
        let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
        let (owner, priority) = (execution.sink.owner().cloned(), execution.sink.priority());
        let claim = Claim { owner, priority };
        let submission = Submission { run: id, process, claim, task, mailbox: sender };
        pool.send(PoolCommand::Submit(submission)).await?;
        Ok(Self {
            id,
            pool,
            sink: execution.sink,
            mailbox,
            feed,
            agent: None,
            outputs: execution.outputs.into_iter().map(|request| request.id).collect(),
            stored: None,
            reason: "".into(),
            reasons_logged: 0,
            ending: None,
            cpu_ms: 0,
            closed: false,
        })
    }

    /// Follows the run to its end.
    async fn follow(&mut self) -> Result<(), Error> {
        let sink = Arc::clone(&self.sink);
        loop {
            let event = tokio::select! {
                event = self.mailbox.recv() => event,
                piece = Feeding::next(&mut self.feed), if self.ending.is_none() => {
                    self.give(piece).await?;
                    continue;
                }
                () = sink.cancelled(), if self.ending.is_none() => {
                    if self.pool.detached.is_cancelled() {
                        return self.detach().await;
                    }
                    self.end_early(Error::Dismissed).await?;
                    continue;
                }
                () = self.pool.detached.cancelled(), if sink.is_cancelled() => return self.detach().await,
            };
            let Some(event) = event else { return Err(stopped()) };
            if let Step::End(result) = self.apply(event).await? {
                self.closed = true;
                return result;
            }
        }
    }

    async fn apply(&mut self, event: RunEvent) -> Result<Step, Error> {
        match event {
            RunEvent::Waiting { reason } => self.wait(reason),
            RunEvent::Sent { agent, reattached } => {
                if reattached {
                    self.say(&format!("found again at agent {agent}"));
                    self.sink.started(Some(&agent));
                    self.stored = Some(BTreeMap::new());
                }
                self.agent = Some(agent);
            }
            RunEvent::Refused(error) => return Ok(Step::End(Err(*error))),
            RunEvent::NeverSent => {
                return Ok(Step::End(Err(self.ending.take().unwrap_or(Error::Dismissed))));
            }
            RunEvent::Lost { reason } => return Ok(Step::End(Err(self.lost(reason)))),
            RunEvent::Message { seq, message } => return self.take(seq, *message).await,
        }
        Ok(Step::GoOn)
    }

    /// The effect of one message; acknowledged when it is over.
    async fn take(&mut self, seq: u64, message: Message) -> Result<Step, Error> {
        if let Message::Progress(progress) = &message {
            self.used_cpu(progress.cpu_ms.unwrap_or(0));
        }
        match message {
            Message::Started => self.sink.started(self.agent.as_deref()),
            Message::Progress(progress) if progress.waiting => {
                self.sink.waiting(progress.message.as_deref().unwrap_or_default());
            }
            Message::Progress(progress) => self.sink.progress(progress.percent, progress.message.as_deref()),
            Message::Log(log) => self.take_log(log),
            Message::Want(want) => {
                if let Some(feed) = &mut self.feed {
                    feed.want(want.n);
                }
            }
            Message::Output(output) if self.ending.is_none() && self.outputs.contains(&output.id) => {
                if let Err(error) = self.take_output(output).await {
                    if self.pool.detached.is_cancelled() {
                        // Not acknowledged: the next server gets it again.
                        self.detach().await?;
                    }
                    let error = if self.sink.is_cancelled() { Error::Dismissed } else { error };
                    self.end_early(error).await?;
                }
            }
            Message::Completed => return self.close(seq, Ok(())).await,
            Message::Failed(error) => {
                let error = agent_error(error, self.agent.as_deref().unwrap_or_default());
                return self.close(seq, Err(error)).await;
            }
            Message::Aborted => return self.close(seq, Err(Error::Dismissed)).await,
            // Outputs of a run that is being ended, or that nobody asked for, are of no use; anything else is no message about a
            // run.
            _ => {}
        }
        self.pool.send(PoolCommand::Done { run: self.id, seq }).await?;
        Ok(Step::GoOn)
    }

    /// Sends what was wanted of the feed; what is wrong with that ends the run.
    async fn give(&mut self, piece: WantedPiece) -> Result<(), Error> {
        let WantedPiece { input, n, value } = piece;
        let piece = match value {
            Ok(value) => carry::piece(self.id, &input, n, value, self.pool.data.as_ref()).await,
            Err(error) => Err(error),
        };
        match piece {
            Ok(piece) => self.pool.send(PoolCommand::Piece { run: self.id, piece }).await,
            Err(error) => self.end_early(error).await,
        }
    }

    async fn take_output(&mut self, output: Output) -> Result<(), Error> {
        if self.is_stored(&output).await {
            return Ok(());
        }
        let value = carry::take_output(self.id, &output.id, output.value, self.pool.data.as_ref()).await?;
        self.sink.write(&output.id, value).await
    }

    /// Whether a server before us stored it, and died before it said so.
    async fn is_stored(&mut self, output: &Output) -> bool {
        let Some(stored) = &mut self.stored else { return false };
        if let Some(chunks) = stored.get(&output.id) {
            return output.n < *chunks;
        }
        let chunks = self.pool.data.chunks_stored(self.id, &output.id).await.unwrap_or(0);
        stored.insert(output.id.clone(), chunks);
        output.n < chunks
    }

    /// It has used so much processor time so far, as its agent says.
    fn used_cpu(&mut self, cpu_ms: u64) {
        let more = cpu_ms.saturating_sub(self.cpu_ms);
        if more > 0 {
            self.cpu_ms = cpu_ms;
            self.sink.used_cpu(Duration::from_millis(more));
        }
    }

    fn take_log(&self, log: Log) {
        if log.dropped > 0 {
            self.say(&format!("{} lines are missing here: there were more than could be kept", log.dropped));
        }
        for line in log.lines {
            self.sink.log(line);
        }
    }

    /// The agent said how it ended.
    async fn close(&mut self, seq: u64, result: Result<(), Error>) -> Result<Step, Error> {
        let ending = if result.is_ok() { Ending::Completed } else { Ending::Failed };
        self.pool.send(PoolCommand::Ended { run: self.id, seq, ending }).await?;
        Ok(Step::End(match (self.ending.take(), result) {
            (Some(error), Err(_)) => Err(error),
            // An output was not stored: whatever the agent says, this is no success.
            (Some(error), Ok(())) if error != Error::Dismissed => Err(error),
            (_, result) => result,
        }))
    }

    /// Has the agent end it; `error` is what the job ends with when that is confirmed.
    async fn end_early(&mut self, error: Error) -> Result<(), Error> {
        self.ending = Some(error);
        self.pool.send(PoolCommand::Abort { run: self.id }).await
    }

    /// Leaves it running at its agent, for the next server.
    async fn detach(&mut self) -> Result<(), Error> {
        self.closed = true;
        self.pool.send(PoolCommand::Detach { run: self.id }).await?;
        Err(stopped())
    }

    fn lost(&mut self, reason: String) -> Error {
        match self.ending.take() {
            Some(error) => {
                self.say(&format!("{reason}; the supervisor on that machine ends what is left of the run"));
                error
            }
            None => Error::AgentLost { reason },
        }
    }

    /// In the job's log as well, but not without end: an agent may be on the verge of a threshold for days.
    fn wait(&mut self, reason: Arc<str>) {
        if self.reason == reason {
            return;
        }
        let text = format!("waiting for an agent: {reason}");
        self.reason = reason;
        self.sink.waiting(&text);
        if self.reasons_logged < REASONS_LOGGED_MAX {
            self.reasons_logged += 1;
            self.say(&text);
        }
    }

    fn say(&self, text: &str) {
        self.sink.log(LogLine { source: LogSource::System, text: text.to_owned() });
    }
}

impl Drop for Run {
    /// Whoever drops a run that has not ended does not want it any more.
    fn drop(&mut self) {
        if !self.closed {
            let run = self.id;
            let command = if self.pool.detached.is_cancelled() {
                PoolCommand::Detach { run }
            } else {
                PoolCommand::Abandoned { run }
            };
            self.pool.send_soon(command);
        }
    }
}

/// Thousands of small values don't fit into a message, though each goes inline or by URL.
fn check_size(run: RunId, execute: &Execute) -> Result<(), Error> {
    let message = Message::Execute(Box::new(execute.clone()));
    match wire::encode(&Envelope { run: Some(run), seq: 1, ack: 0, message }) {
        Ok(_) => Ok(()),
        Err(wire::EncodeError::TooLarge { .. }) => Err(Error::TooLarge {
            what: "the list of all inputs of the remote process".into(),
            bytes_max: wire::BODY_BYTES_MAX as u64,
        }),
        Err(error) => Err(Error::internal(error)),
    }
}

pub(crate) fn stopped() -> Error {
    Error::Interrupted { reason: "the run goes on at its agent, for the next server".into() }
}

/// What an agent says about a failure, in the words of the model. Sorts of error that only a server can mean become
/// failures of the process.
fn agent_error(error: Error, agent: &str) -> Error {
    let cut = |text: String| match text.char_indices().nth(AGENT_TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    };
    match error {
        Error::Invalid(faults) if faults.is_empty() => Error::process_failed("the agent refused the inputs"),
        Error::Invalid(_)
        | Error::TooLarge { .. }
        | Error::DataNotAccessible { .. }
        | Error::TimedOut { .. } => error,
        Error::ProcessFailed { message, detail } => {
            Error::ProcessFailed { message: cut(message), detail: cut(detail) }
        }
        Error::AgentLost { reason } | Error::Interrupted { reason } => {
            Error::AgentLost { reason: cut(format!("{agent}: {reason}")) }
        }
        Error::NotEnoughStorage { detail } => {
            Error::NotEnoughStorage { detail: cut(format!("agent {agent}: {detail}")) }
        }
        Error::Internal { detail } => Error::Internal { detail: cut(format!("agent {agent}: {detail}")) },
        Error::NoSuchProcess(_)
        | Error::NoSuchJob(_)
        | Error::Gone { .. }
        | Error::NoSuchOutput { .. }
        | Error::OutputGone { .. }
        | Error::ResultNotReady(_)
        | Error::Dismissed
        | Error::NoSuchMode { .. }
        | Error::OverLimit { .. }
        | Error::LoginRequired
        | Error::NotAllowed
        | Error::Busy { .. } => Error::process_failed(cut(error.client_text())),
    }
}
