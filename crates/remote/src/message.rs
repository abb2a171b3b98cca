//! All that agents and server ever say to each other, without wire syntax.
//!
//! `S→A` is said by the server, `A→S` by an agent. Messages of a run (all with a [`RunId`] in their
//! [`Envelope`](crate::wire::Envelope)) are sequenced and repeated until acknowledged, except where noted; the others are
//! repeated by whoever waits for the answer.

use std::sync::Arc;

use anabranch_model::{Error, Format, LiteralType, LogLine, OutputRequest, ProcessDescription, ProcessId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use anabranch_model::id::{LABEL_CHARS_MAX, LABELS_MAX, is_label};

use crate::load::Load;
use crate::run_id::RunId;
use crate::wire::{INLINE_BYTES_MAX, escaped_len};

/// One thing said.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// S→A: introduce yourself; answered by `Hello`.
    Invite,
    /// A→S: who I am; repeated until `Welcome`.
    Hello(Hello),
    /// S→A: answer to `Hello`; from now on register.
    Welcome(Welcome),
    /// A→S: I run this process; repeated until `Registered`.
    Register(Register),
    /// A→S: I no longer take new runs of it; repeated until `Registered`.
    Unregister(Unregister),
    /// S→A: answer to `Register` and `Unregister`.
    Registered(Registered),
    /// S→A: tell your load now.
    LoadQuery,
    /// A→S: how busy I am; never repeated, the next one is newer.
    Load(LoadReport),
    /// S→A: take no new runs, finish those you have; answered by a `Load` that says so.
    Drain,
    /// S→A: take runs again; answered by a `Load` that says so.
    Undrain,
    /// A→S: I leave in good order: no run of mine goes on.
    Goodbye,

    /// S→A, run: run this. A repeated one is answered by the state of the run.
    Execute(Box<Execute>),
    /// S→A, run: I am a new server and take the run over; say again what I have not acknowledged.
    Attach,
    /// S→A, run: a piece of what it is fed, as it was wanted.
    Piece(Piece),
    /// S→A, run: end it; answered by `Aborted`, or by the end that was quicker.
    Abort,
    /// S→A, run: nothing more is wanted of it: end it if it is alive, forget it and its folder.
    Finish,

    /// A→S, run: taken; it starts now.
    Accepted,
    /// A→S, run, not sequenced, because the agent keeps no trace of it: not taken.
    CannotExecute(CannotExecute),
    /// A→S, run: the work itself has begun.
    Started,
    /// A→S, run.
    Progress(Progress),
    /// A→S, run: lines for the job's log.
    Log(Log),
    /// A→S, run: the next piece of what it is fed is wanted; answered by `Piece`. One is wanted at a time.
    Want(Want),
    /// A→S, run: one chunk of one output.
    Output(Output),
    /// A→S, run: ended well; all outputs have been said before.
    Completed,
    /// A→S, run: ended, with this error; its texts may be shown to clients as [`Error::client_text`] does.
    Failed(Error),
    /// A→S, run: ended because of `Abort`, and nothing of it is alive.
    Aborted,
    /// A→S, run, not sequenced: I have no such run (any more).
    Forgotten,

    /// Run, not sequenced: nothing but the acknowledgement in the envelope.
    Acknowledge,
    /// Answer to something that could not be understood.
    NotUnderstood(NotUnderstood),
}

/// Runs that an agent keeps, live or ended and not yet finished: what fits into one [`Hello`], with the longest
/// identifiers there are.
pub const RUNS_HELD_MAX: usize = 400;

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Tells agents of one account apart, e.g. the host name; stays the same over restarts.
    pub instance: String,
    /// New each time the agent process starts: runs of an older incarnation are dead.
    pub incarnation: String,
    /// Version of the agent program.
    pub version: String,
    /// Wire forms spoken, best first.
    pub wires: Vec<String>,
    /// Slots for runs, all services together.
    pub capacity: u32,
    /// What its owner says of the machine (`landsat`, `gpu`): agents may be preferred by them.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Every run the agent keeps, live or ended and not yet finished.
    pub runs: Vec<HeldRun>,
}

/// A run that an agent keeps, with where its link stands, so that a server which has forgotten can go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRun {
    pub run: RunId,
    pub process: ProcessId,
    /// First sequence number that the server has not acknowledged; equal to `next` where there is none.
    pub oldest: u64,
    /// Sequence number of the agent's next message.
    pub next: u64,
    /// Last sequence number that the agent has taken from the server.
    pub received: u64,
    /// It has ended; only messages are left.
    pub ended: bool,
}

/// What the server answers to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The incarnation greeted, so that an answer to an earlier life is not taken for one to this.
    pub incarnation: String,
    /// Version of the server program.
    pub version: String,
    /// The wire form to be spoken, out of [`Hello::wires`].
    pub wire: String,
    /// How often the server wants [`LoadReport`]s, in milliseconds.
    pub load_interval_ms: u64,
}

/// A process that an agent runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Grows with every [`Register`] and [`Unregister`] of one incarnation; older ones are ignored.
    pub revision: u64,
    pub description: Arc<ProcessDescription>,
    /// Runs of this process that the agent takes at once.
    pub runs_max: u32,
    /// Slots of [`Hello::capacity`] that one run takes.
    pub weight: u32,
    /// Agents with these labels are preferred for it, beside those that the server prefers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_labels: Vec<String>,
}

/// A process that an agent runs no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unregister {
    pub revision: u64,
    pub process: ProcessId,
}

/// What the server makes of a [`Register`] or [`Unregister`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub revision: u64,
    pub process: ProcessId,
    /// Why the process is not taken; `None` where all is well.
    pub refused: Option<String>,
}

/// How busy an agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    pub load: Load,
    /// Runs under way.
    pub running: u32,
    /// Slots taken.
    pub slots: u32,
    /// It takes no new runs until it is told otherwise.
    #[serde(default)]
    pub draining: bool,
    /// Why it takes no new runs by its own rules, for operators.
    #[serde(default)]
    pub full: Option<String>,
}

/// A run to be begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execute {
    pub process: ProcessId,
    /// Which offer of the run to an agent this is, from 1: a repetition of a refused offer must not be taken later, when
    /// another agent has the run.
    pub offer: u32,
    /// In the order of the description.
    pub inputs: Vec<(String, Vec<CarriedValue>)>,
    pub outputs: Vec<WantedOutput>,
    /// The input that is fed piece by piece, and not among `inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fed: Option<String>,
    /// Processor time that it may use, in seconds; only where there is a limit is it to be told what was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s_max: Option<u64>,
}

/// Which piece of its feed a run wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// From 0.
    pub n: u64,
}

/// A piece of a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// As it was wanted.
    pub n: u64,
    /// `None` where no more will come.
    pub value: Option<CarriedValue>,
}

/// An output asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WantedOutput {
    pub request: OutputRequest,
    /// Chunk `n` that is too large for a message is PUT to `<upload_url>/<n>`, `n` counting all chunks of the output
    /// from 0. `None` where the server takes no uploads.
    pub upload_url: Option<String>,
}

/// A value as it is carried: its bytes inline where they are few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarriedValue {
    Literal { text: Payload, data_type: LiteralType, uom: Option<String> },
    BoundingBox { crs: Option<String>, lower: Vec<f64>, upper: Vec<f64> },
    Complex { data: Payload, format: Format },
}

/// Where the bytes of a value are. Never a path of the receiver: what can name paths can read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PayloadForm", try_from = "PayloadForm")]
pub enum Payload {
    /// At most [`INLINE_BYTES_MAX`].
    Inline(Bytes),
    /// Of an input: to be fetched here.
    Url(String),
    /// Of an output: uploaded as chunk `n`, see [`WantedOutput::upload_url`].
    Uploaded { n: u64, bytes: u64 },
    /// Of an output: a file in the folder shared by server and agents; the server confines the path.
    Shared(String),
}

/// How a [`Payload`] is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PayloadForm {
    Text(String),
    Base64(String),
    Url(String),
    Uploaded { n: u64, bytes: u64 },
    Shared(String),
}

impl From<Payload> for PayloadForm {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Inline(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) if text_cost(text) <= base64_cost(bytes.len()) => Self::Text(text.to_owned()),
                _ => Self::Base64(STANDARD.encode(&bytes)),
            },
            Payload::Url(url) => Self::Url(url),
            Payload::Uploaded { n, bytes } => Self::Uploaded { n, bytes },
            Payload::Shared(path) => Self::Shared(path),
        }
    }
}

impl TryFrom<PayloadForm> for Payload {
    type Error = String;

    fn try_from(form: PayloadForm) -> Result<Self, String> {
        let inline = |bytes: Bytes| match bytes.len() {
            0..=INLINE_BYTES_MAX => Ok(Self::Inline(bytes)),
            len => Err(format!("a value of {len} bytes is larger than the {INLINE_BYTES_MAX} taken inline")),
        };
        match form {
            PayloadForm::Text(text) => inline(text.into()),
            PayloadForm::Base64(text) => inline(STANDARD.decode(text).map_err(|e| e.to_string())?.into()),
            PayloadForm::Url(url) => Ok(Self::Url(url)),
            PayloadForm::Uploaded { n, bytes } => Ok(Self::Uploaded { n, bytes }),
            PayloadForm::Shared(path) => Ok(Self::Shared(path)),
        }
    }
}

impl Payload {
    /// Bytes that it takes in a message, at most, without what is around it.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text_cost(text).min(base64_cost(bytes.len())),
                Err(_binary) => base64_cost(bytes.len()),
            },
            Self::Url(text) | Self::Shared(text) => text_cost(text),
            Self::Uploaded { .. } => 64,
        }
    }
}

/// Bytes that a text takes as a JSON string within XML text, at most.
pub(crate) fn text_cost(text: &str) -> usize {
    // JSON: `\"`, `\\` and `\u0000` for control characters; XML escapes are counted on top.
    let json: usize = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    let controls = text.bytes().filter(|byte| *byte < 0x20).count();
    escaped_len(text) + json + 5 * controls + 2 * text.matches(['\u{FFFE}', '\u{FFFF}']).count() * 3
}

fn base64_cost(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Why a run is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CannotExecute {
    /// See [`Execute::offer`].
    pub offer: u32,
    pub reason: String,
    /// The agent will never take it (unknown process), rather than not now (no slot).
    pub never: bool,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f32,
    pub message: Option<String>,
    /// It has not begun, and the message says why: it waits in the queue of a cluster. A server that does not know this shows it as a
    /// run that has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// Processor time used so far, in milliseconds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
}

/// Lines of a run's log, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Lines lost before these because nobody took them in time.
    pub dropped: u64,
    pub lines: Vec<LogLine>,
}

/// One chunk of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub id: String,
    /// Which chunk of the output this is, from 0: a server that stored it and died before it said so knows it again.
    pub n: u64,
    pub value: CarriedValue,
}

/// Something that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// The type of the message in question, shortened.
    pub what: String,
    pub reason: String,
}

impl Message {
    /// Whether it belongs to a run and is sequenced on the link of that run.
    #[must_use]
    pub fn is_sequenced(&self) -> bool {
        match self {
            Self::Invite
            | Self::Hello(_)
            | Self::Welcome(_)
            | Self::Register(_)
            | Self::Unregister(_)
            | Self::Registered(_)
            | Self::LoadQuery
            | Self::Load(_)
            | Self::Drain
            | Self::Undrain
            | Self::Goodbye
            | Self::CannotExecute(_)
            | Self::Forgotten
            | Self::Acknowledge
            | Self::NotUnderstood(_) => false,
            Self::Execute(_)
            | Self::Attach
            | Self::Piece(_)
            | Self::Want(_)
            | Self::Abort
            | Self::Finish
            | Self::Accepted
            | Self::Started
            | Self::Progress(_)
            | Self::Log(_)
            | Self::Output(_)
            | Self::Completed
            | Self::Failed(_)
            | Self::Aborted => true,
        }
    }
}
