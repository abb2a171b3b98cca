//! The one error that clients can meet, sorted by who has to act.
//!
//! Each protocol maps it in exactly one exhaustive function (the table stands in ARCHITECTURE.md). [`Error::client_text`] is what a
//! client may read; `Display` is for the log and may name paths, hosts and causes.

use crate::id::{JobId, ProcessId};
use crate::job::Removal;
use crate::limit::Limit;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a request or a job failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The client must change the request: every fault found, never only the first; not empty.
    #[error("invalid request: {}", faults_text(.0))]
    Invalid(Vec<Fault>),
    /// The client has to log in, or has done so with something that is wrong.
    #[error("a login is needed for this, or user, password or token are wrong")]
    LoginRequired,
    /// The client has logged in, and may not do that.
    #[error("the roles of this login do not allow this")]
    NotAllowed,
    /// The client named a process that is not published (any more), or is not theirs to know.
    #[error("no process '{0}'")]
    NoSuchProcess(String),
    /// The client named a job that never was, is gone, or is not theirs to see.
    #[error("no job '{0}'")]
    NoSuchJob(String),
    /// The client named a job that was removed, with its results.
    #[error("job {job} was removed at {at}: {why}")]
    Gone {
        /// The job.
        job: JobId,
        /// Why.
        why: Removal,
        /// When.
        at: Timestamp,
    },
    /// The client asked for an output that the finished job does not have.
    #[error("job {job} has no output '{output}'")]
    NoSuchOutput {
        /// The job.
        job: JobId,
        /// The output asked for.
        output: String,
    },
    /// The client asked for an output whose time was over before that of its job.
    #[error("output '{output}' of job {job} was removed at {at}: it is kept less long than its job")]
    OutputGone {
        /// The job, which is still there.
        job: JobId,
        /// The output.
        output: String,
        /// When.
        at: Timestamp,
    },
    /// The client asked for results too early.
    #[error("job {0} has not finished: its results are not ready")]
    ResultNotReady(JobId),
    /// The client asked for results of a job that was dismissed.
    #[error("the job was dismissed: it has no results")]
    Dismissed,
    /// The process cannot be executed that way (synchronously, asynchronously).
    #[error("process '{process}' can't be executed {mode}")]
    NoSuchMode {
        /// The process.
        process: ProcessId,
        /// `synchronously` or `asynchronously`.
        mode: String,
    },
    /// A body or value over a limit.
    #[error("{what} is larger than the {bytes_max} bytes allowed")]
    TooLarge {
        /// What is too large: `the request body`, `input 'dem'`.
        what: String,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// A reference could not be read. `reason` says nothing about what is behind refused addresses.
    #[error("input '{input}': {reason}")]
    DataNotAccessible {
        /// The input.
        input: String,
        /// For the client.
        reason: String,
    },
    /// The process ran and failed: whoever wrote the process, or the data, has to act.
    #[error("{message}{}", detail_text(.detail))]
    ProcessFailed {
        /// For the client: exit code, the last lines it said.
        message: String,
        /// For the log only; may be empty.
        detail: String,
    },
    /// The process ran longer than allowed and was ended.
    #[error("the process ran longer than the {seconds_max} s allowed and was ended")]
    TimedOut {
        /// The limit, in seconds.
        seconds_max: u64,
    },
    /// The machine that ran it is gone, or lost the run.
    #[error("the agent that ran the job was lost: {reason}")]
    AgentLost {
        /// What happened, with the agent's name.
        reason: String,
    },
    /// The server was restarted or stopped while the job ran.
    #[error("the server was stopped while the job ran: {reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
    /// The server is at a limit: try again later.
    #[error("{limit}; try again in {retry_after_s} s")]
    Busy {
        /// Which limit, with its number.
        limit: String,
        /// When it may be worth trying, in seconds.
        retry_after_s: u32,
    },
    /// A limit is reached: the job is refused, or was ended. What it means for the client is [`Limit::sort`].
    #[error("over a limit: {limit}{}", retry_text(*.retry_after_s))]
    OverLimit {
        /// Which one.
        limit: Limit,
        /// When it may be worth trying again, in seconds; `None` where time alone does not help.
        retry_after_s: Option<u32>,
    },
    /// The server's disk is full or its share used up: the operator has to act.
    #[error("not enough storage: {detail}")]
    NotEnoughStorage {
        /// For the log only.
        detail: String,
    },
    /// A fault of ours: the operator and the developers have to act. The text is for the log only.
    #[error("internal error: {detail}")]
    Internal {
        /// For the log only.
        detail: String,
    },
}

impl Error {
    /// A fault of ours, with a text for the log.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::Internal { detail: detail.to_string() }
    }

    /// A limit that time alone does not help with.
    #[must_use]
    pub fn over(limit: Limit) -> Self {
        Self::OverLimit { limit, retry_after_s: None }
    }

    /// When it may be worth trying again, in seconds: for a `Retry-After` header.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Busy { retry_after_s, .. } => Some(*retry_after_s),
            Self::OverLimit { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }

    /// A request with one fault.
    #[must_use]
    pub fn invalid(fault: Fault) -> Self {
        Self::Invalid(vec![fault])
    }

    /// A process that failed, with nothing more for the log.
    pub fn process_failed(message: impl Into<String>) -> Self {
        Self::ProcessFailed { message: message.into(), detail: String::new() }
    }

    /// What a client may read: no paths, no hosts, no internals.
    #[must_use]
    pub fn client_text(&self) -> String {
        match self {
            Self::Internal { .. } => {
                "internal error: the operator finds the cause in the server's log".into()
            }
            Self::NotEnoughStorage { .. } => "the server has not enough storage for this".into(),
            Self::ProcessFailed { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Trying the same again may help: the fault lies neither in the request nor in the process.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::AgentLost { .. } | Self::Interrupted { .. } | Self::Busy { .. })
    }
}

fn retry_text(retry_after_s: Option<u32>) -> String {
    retry_after_s.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
}

fn faults_text(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

fn detail_text(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// One thing wrong with a request: what, which rule, which value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it is about.
    pub subject: Subject,
    /// Sort of fault; decides the exception code.
    pub kind: FaultKind,
    /// The rule, as a clause that reads after the subject: `is required`, `must be at most 100`.
    pub rule: String,
    /// The offending value, shortened; `None` where there is none.
    pub value: Option<String>,
}

/// What a fault is about: the *locator* of OWS exceptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An input.
    Input(String),
    /// An output.
    Output(String),
    /// A parameter, element or member of the request itself.
    Parameter(String),
}

impl Subject {
    /// The bare name, as OWS locators want it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Input(name) | Self::Output(name) | Self::Parameter(name) => name,
        }
    }
}

/// The sorts of fault that the standards tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Mandatory and not there.
    Missing,
    /// Named, and the process (or request) knows no such thing.
    Unknown,
    /// More values than allowed.
    TooMany,
    /// Not of the type: a word for a number.
    Malformed,
    /// Of the type, but not allowed.
    NotAllowed,
    /// A media type, encoding, schema, unit or CRS that is not supported.
    Unsupported,
    /// Too many bytes.
    TooLarge,
}

/// Longest value quoted in a fault, in characters: enough to recognise it.
pub const QUOTED_CHARS_MAX: usize = 100;

impl Fault {
    /// A fault without a value.
    pub fn new(subject: Subject, kind: FaultKind, rule: impl Into<String>) -> Self {
        Self { subject, kind, rule: rule.into(), value: None }
    }

    /// With the offending value, cut after [`QUOTED_CHARS_MAX`] characters.
    #[must_use]
    pub fn with_value(mut self, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        let mut quoted: String = value.chars().take(QUOTED_CHARS_MAX).collect();
        if quoted.len() < value.len() {
            quoted.push('…');
        }
        self.value = Some(quoted);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Input(name) => write!(f, "input '{name}' {}", self.rule)?,
            Subject::Output(name) => write!(f, "output '{name}' {}", self.rule)?,
            Subject::Parameter(name) => write!(f, "parameter '{name}' {}", self.rule)?,
        }
        match &self.value {
            Some(value) => write!(f, ", not {value:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_input_rule_and_value() {
        let fault =
            Fault::new(Subject::Input("interval".into()), FaultKind::NotAllowed, "must be at least 1")
                .with_value("-5");
        assert_eq!(fault.to_string(), "input 'interval' must be at least 1, not \"-5\"");
        let error = Error::Invalid(vec![
            fault,
            Fault::new(Subject::Input("dem".into()), FaultKind::Missing, "is required"),
        ]);
        assert_eq!(
            error.client_text(),
            "invalid request: input 'interval' must be at least 1, not \"-5\"; input 'dem' is required"
        );
    }

    #[test]
    fn internals_stay_inside() {
        let error = Error::internal("open /var/lib/secret: denied");
        assert!(!error.client_text().contains("secret"));
        assert!(error.to_string().contains("secret"));
    }
}
