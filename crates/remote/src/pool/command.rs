//! What runs and the pool say to each other.

use std::sync::Arc;

use anabranch_model::{Error, ProcessId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{DrainError, ServerData};
use crate::dispatch::Claim;
use crate::link::WINDOW_MESSAGES_MAX;
use crate::message::{Execute, Message, Piece};
use crate::run_id::RunId;

/// Commands that may wait for the pool: a burst of acknowledgements of all runs. When it is full, runs wait, and the
/// agents' windows fill up behind them.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// Events that may wait for a run: a whole window of messages, and what the pool itself says about a run. It can't
/// overflow, because messages beyond the window are not taken off the link.
pub(crate) const MAILBOX_MAX: usize = WINDOW_MESSAGES_MAX + 8;

/// How runs reach the pool.
#[derive(Clone)]
pub(crate) struct PoolHandle {
    pub(crate) commands: mpsc::Sender<PoolCommand>,
    /// Cancelled when runs are to be left to the next server.
    pub(crate) detached: CancellationToken,
    pub(crate) data: Arc<dyn ServerData>,
}

/// From a run to the pool.
pub(crate) enum PoolCommand {
    Submit(Submission),
    /// The message has taken effect.
    Done {
        run: RunId,
        seq: u64,
    },
    /// What it wanted of its feed.
    Piece {
        run: RunId,
        piece: Piece,
    },
    /// Have the agent end it. Answered by `NeverSent`, by the message that it ended, or by `Lost`.
    Abort {
        run: RunId,
    },
    /// The run took the message that it ended; the mailbox is gone.
    Ended {
        run: RunId,
        seq: u64,
        ending: Ending,
    },
    /// Forget it here, and leave it at its agent.
    Detach {
        run: RunId,
    },
    /// Nobody wants it any more.
    Abandoned {
        run: RunId,
    },
    /// They may be sent, or this is why not.
    Noted {
        runs: Vec<RunId>,
        noted: Result<(), Error>,
    },
    /// No job of any server waits for it.
    Unwanted {
        run: RunId,
    },
    /// Of an operator: see [`Orchestrator::drain`](crate::Orchestrator::drain).
    Drain {
        agent: String,
        on: bool,
        answer: oneshot::Sender<Result<String, DrainError>>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Failed,
}

/// A run that wants an agent.
pub(crate) struct Submission {
    pub(crate) run: RunId,
    pub(crate) process: ProcessId,
    /// Whose job it is.
    pub(crate) claim: Claim,
    pub(crate) task: Task,
    pub(crate) mailbox: mpsc::Sender<RunEvent>,
}

/// What a run wants of an agent.
pub(crate) enum Task {
    Start(Box<Execute>),
    /// It was started before the server was.
    Resume,
}

/// From the pool to a run. Small, because a mailbox has room for 32 of these from the start, and each run that waits has one.
pub(crate) enum RunEvent {
    /// No agent takes it at present. Told again when the reason changes.
    Waiting {
        reason: Arc<str>,
    },
    /// An agent has it.
    Sent {
        agent: String,
        reattached: bool,
    },
    /// It is not taken. The last event.
    Refused(Box<Error>),
    /// It was aborted before any agent had it. The last event.
    NeverSent,
    /// Its agent is gone, or does not have it any more. The last event.
    Lost {
        reason: String,
    },
    Message {
        seq: u64,
        message: Box<Message>,
    },
}

/// Five words.
const _: () = assert!(size_of::<RunEvent>() <= 40);

impl PoolHandle {
    pub(crate) async fn send(&self, command: PoolCommand) -> Result<(), Error> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_pool_gone) => Err(crate::proxy::stopped()),
        }
    }

    /// Without waiting here: where the queue is full, a task waits, one for each run at most.
    pub(crate) fn send_soon(&self, command: PoolCommand) {
        if let Err(TrySendError::Full(command)) = self.commands.try_send(command)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let commands = self.commands.clone();
            runtime.spawn(async move { drop(commands.send(command).await) });
        }
    }
}
