//! The wire form of GeoServer's WPS Remote, both ends of it: a line of text in the body of a private message.
//!
//! ```text
//! topic=progress&id=b00000000000001&message=41.67
//! ```
//!
//! | body | messages |
//! |---|---|
//! | `invite`, `getloadavg` | [`Message::Invite`], [`Message::LoadQuery`] |
//! | `register`, `unregister` | [`Message::Register`], [`Message::Goodbye`] |
//! | `loadavg` | [`Message::Load`] |
//! | `request` | [`Message::Execute`]; the inputs are a [pickle](super::pickle) |
//! | `cantexec` | [`Message::CannotExecute`] |
//! | `progress`, `log` | [`Message::Progress`], [`Message::Log`] of one line |
//! | `completed` | a [`Message::Output`] for each output, then [`Message::Completed`] |
//! | `error` | [`Message::Failed`] |
//! | `finish`, `abort` | [`Message::Finish`], [`Message::Abort`], of the run whose occupant it is sent to |
//!
//! Nothing is numbered, acknowledged or sent again, but `completed`, which an agent repeats until `finish`. A run is named by
//! an [`ExecutionId`]; ours are [`RunId`](crate::RunId)s as they stand.
//!
//! Accepted: fields in any order, unknown fields (ignored), `=` in values, log lines that are not encoded (the original's
//! agents encode none). Refused: bodies above [`BODY_READ_BYTES_MAX`], unknown topics, ids that are no [`ExecutionId`].

mod grammar;
mod outputs;
mod register;
mod request;
mod types;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anabranch_model::{Error, LogLine, LogSource, ProcessDescription, ProcessId};
use grammar::{
    Fields, percent, percent_pickle, percent_url, unpercent, unpercent_bytes, unpercent_if_encoded,
};
use serde_json::Value;

use super::{BODY_BYTES_MAX, DecodeError, EncodeError, escaped_len};
use crate::load::Load;
use crate::message::{CannotExecute, Execute, LoadReport, Log, Message, Progress, Register};

pub use outputs::wire_name;

/// Largest body read, in bytes: that of a stanza.
pub const BODY_READ_BYTES_MAX: usize = 1024 * 1024;

/// Runs that an agent is given at once: it does not tell how many it takes, but refuses those that are too many for it.
/// The number is its default capacity.
pub const RUNS_MAX: u32 = 100;

/// Longest topic quoted in an error, in characters.
const QUOTED_CHARS_MAX: usize = 100;

/// What a body says.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The run, where the body names it.
    pub execution: Option<ExecutionId>,
    /// Root of the orchestrator's web service: said in a request, repeated in `completed`, and of no use here.
    pub base_url: String,
    pub messages: Vec<Message>,
    /// What ran: titles of outputs, and how they are to be published, are said at its end. `None` in what has been read.
    pub described: Option<Arc<ProcessDescription>>,
}

impl Body {
    /// About no run.
    #[must_use]
    pub fn session(message: Message) -> Self {
        Self { execution: None, base_url: String::new(), messages: vec![message], described: None }
    }

    /// About a run.
    #[must_use]
    pub fn run(execution: ExecutionId, message: Message) -> Self {
        Self { execution: Some(execution), ..Self::session(message) }
    }
}

/// The name of a run: it becomes a nickname, a resource and a file name at the original's agents, and therefore has 1 to 64
/// letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutionId(String);

impl ExecutionId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`ExecutionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an execution is named by 1 to 64 letters, digits, '_' and '-'")]
pub struct InvalidExecutionId;

impl FromStr for ExecutionId {
    type Err = InvalidExecutionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidExecutionId)
        }
    }
}

impl From<crate::run_id::RunId> for ExecutionId {
    fn from(run: crate::run_id::RunId) -> Self {
        Self(run.to_string())
    }
}

/// Writes a body.
///
/// # Errors
/// Where the form has no words for what is to be said, or the body would be larger than [`BODY_BYTES_MAX`].
pub fn encode(body: &Body) -> Result<String, EncodeError> {
    let text = write(body).map_err(EncodeError::Unwritable)?;
    let bytes = escaped_len(&text);
    if bytes > BODY_BYTES_MAX { Err(EncodeError::TooLarge { bytes }) } else { Ok(text) }
}

fn write(body: &Body) -> Result<String, String> {
    let id = || body.execution.as_ref().ok_or("a message about a run must name it");
    let Some((last, before)) = body.messages.split_last() else {
        return Err("there is nothing to say".into());
    };
    Ok(match last {
        Message::Completed => {
            let mut text = format!(
                "topic=completed&id={}&baseURL={}&message=completed",
                id()?,
                percent_url(&body.base_url)
            );
            for message in before {
                let Message::Output(output) = message else {
                    return Err("before the end there are outputs only".into());
                };
                text.push('&');
                let described = body.described.as_ref().and_then(|process| process.output(&output.id));
                text.push_str(&outputs::write(output, described)?);
            }
            text
        }
        _ if !before.is_empty() => {
            return Err("several messages are one body at the end of a run only".into());
        }
        Message::Invite => "topic=invite".into(),
        Message::LoadQuery => "topic=getloadavg".into(),
        Message::Finish => "topic=finish".into(),
        Message::Abort => "topic=abort".into(),
        Message::Register(register) => {
            let (service, json) = register::write(&register.description);
            format!("topic=register&service={service}&message={}", percent(&json))
        }
        Message::Load(report) => write_load(report.load),
        Message::Execute(execute) => format!(
            "topic=request&id={}&baseURL={}&message={}",
            id()?,
            percent_url(&body.base_url),
            percent_pickle(&request::write(&execute.inputs)?)
        ),
        Message::CannotExecute(_) => {
            format!("topic=cantexec&id=master&message=cantexec&output=Cannot%20Execute&exec_id={}", id()?)
        }
        Message::Progress(progress) => format!("topic=progress&id={}&message={:?}", id()?, progress.percent),
        Message::Log(log) => {
            let lines: Vec<&str> = log.lines.iter().map(|line| line.text.as_str()).collect();
            // An empty value makes the whole message invalid at the other end.
            let text = Some(lines.join("\n")).filter(|text| !text.is_empty()).unwrap_or_else(|| " ".into());
            format!("topic=log&id={}&level=INFO&message={}", id()?, percent(&text))
        }
        Message::Failed(error) => {
            let json = Value::String(error.client_text()).to_string();
            format!("topic=error&id={}&message={}", id()?, percent(&json))
        }
        Message::Hello(_)
        | Message::Welcome(_)
        | Message::Unregister(_)
        | Message::Registered(_)
        | Message::Drain
        | Message::Undrain
        | Message::Goodbye
        | Message::Attach
        | Message::Accepted
        | Message::Started
        | Message::Output(_)
        | Message::Aborted
        | Message::Forgotten
        | Message::Acknowledge
        | Message::Piece(_)
        | Message::Want(_)
        | Message::NotUnderstood(_) => return Err("WPS Remote has no such message".into()),
    })
}

/// With a decimal point in each number, which the original's server needs.
fn write_load(load: Load) -> String {
    let in_bounds = |number: f32| if number.is_finite() { number.clamp(0.0, 100.0) } else { 0.0 };
    let memory = format!(
        r#"{{"vmem_value": {:?}, "vmem_description": "Percentage of Memory used by the server."}}"#,
        in_bounds(load.memory_percent)
    );
    let processors = format!(
        r#"{{"loadavg_description": "Average Load on CPUs during the last 15 minutes.", "loadavg_value": {:?}}}"#,
        in_bounds(load.cpu_percent)
    );
    format!(
        "topic=loadavg&id=master&message=loadavg&result_vmem={}&result_loadavg={}",
        percent(&memory),
        percent(&processors)
    )
}

/// Reads a body; `None` where it is none of this protocol. `service` is the process whose occupant it was sent to: a
/// request does not name it. Without one, requests are not understood.
///
/// # Errors
/// Where it is of this protocol, and can't be read.
pub fn decode(text: &str, service: Option<&ProcessId>) -> Option<Result<Body, DecodeError>> {
    if !text.trim_start().starts_with("topic=") {
        return None;
    }
    let malformed = |kind: &str, reason| DecodeError::Malformed { kind: shortened(kind), reason };
    if text.len() > BODY_READ_BYTES_MAX {
        let reason = format!("its body is larger than {BODY_READ_BYTES_MAX} bytes");
        return Some(Err(malformed("", reason)));
    }
    let fields = match Fields::split(text.trim()) {
        Ok(fields) => fields,
        Err(reason) => return Some(Err(malformed("", reason))),
    };
    let topic = fields.get("topic").unwrap_or_default();
    match read(topic, &fields, text, service) {
        Ok(Some(body)) => Some(Ok(body)),
        Ok(None) => Some(Err(DecodeError::UnknownType { kind: shortened(topic) })),
        Err(reason) => Some(Err(malformed(topic, reason))),
    }
}

fn read(
    topic: &str,
    fields: &Fields<'_>,
    text: &str,
    service: Option<&ProcessId>,
) -> Result<Option<Body>, String> {
    let base_url = fields.get("baseURL").unwrap_or_default().to_owned();
    let of_run = |key: &str, messages: Vec<Message>| {
        let id = fields.need(key)?.parse::<ExecutionId>();
        let execution = Some(id.map_err(|error| error.to_string())?);
        Ok::<_, String>(Body { execution, base_url: base_url.clone(), messages, described: None })
    };
    let body = match (topic, service) {
        ("invite", _) => Body::session(Message::Invite),
        ("getloadavg", _) => Body::session(Message::LoadQuery),
        ("finish", _) => Body::session(Message::Finish),
        ("abort", _) => Body::session(Message::Abort),
        ("unregister", _) => Body::session(Message::Goodbye),
        ("register", _) => Body::session(Message::Register(Register {
            revision: 0,
            description: register::read(fields.need("service")?, &unpercent(fields.need("message")?)?)?,
            runs_max: RUNS_MAX,
            weight: 1,
            preferred_labels: Vec::new(),
        })),
        ("loadavg", _) => Body::session(Message::Load(read_load(fields)?)),
        ("request", Some(service)) => {
            let execute = Execute {
                process: service.clone(),
                offer: 1,
                inputs: request::read(&unpercent_bytes(fields.need("message")?))?,
                outputs: Vec::new(),
                fed: None,
                cpu_s_max: None,
            };
            of_run("id", vec![Message::Execute(Box::new(execute))])?
        }
        ("cantexec", _) => {
            let refusal = CannotExecute { offer: 1, reason: "it can't execute now".into(), never: false };
            of_run("exec_id", vec![Message::CannotExecute(refusal)])?
        }
        ("progress", _) => of_run("id", vec![Message::Progress(read_progress(fields)?)])?,
        ("log", _) => of_run("id", vec![Message::Log(read_log(fields, text))])?,
        ("completed", _) => {
            let mut messages = Vec::new();
            // Anything else ends the run without outputs, as with the original's server.
            if fields.get("message") == Some("completed") {
                messages.extend(outputs::read(fields)?.into_iter().map(Message::Output));
            }
            messages.push(Message::Completed);
            of_run("id", messages)?
        }
        ("error", _) => of_run("id", vec![Message::Failed(read_error(fields.need("message")?)?)])?,
        _ => return Ok(None),
    };
    Ok(Some(body))
}

fn read_load(fields: &Fields<'_>) -> Result<LoadReport, String> {
    let number = |field: &str, member: &str| {
        let json: Value =
            serde_json::from_str(&unpercent(fields.need(field)?)?).map_err(|error| error.to_string())?;
        let number = json.get(member).and_then(Value::as_f64);
        #[expect(clippy::cast_possible_truncation, reason = "a percentage for comparisons")]
        number
            .map(|number| number.clamp(0.0, 100.0) as f32)
            .ok_or_else(|| format!("its '{member}' is no number"))
    };
    let load = Load {
        cpu_percent: number("result_loadavg", "loadavg_value")?,
        memory_percent: number("result_vmem", "vmem_value")?,
        load_average: 0.0,
    };
    Ok(LoadReport { load, running: 0, slots: 0, draining: false, full: None })
}

fn read_progress(fields: &Fields<'_>) -> Result<Progress, String> {
    let text = fields.need("message")?;
    match text.trim().parse::<f32>() {
        Ok(percent) if percent.is_finite() => {
            Ok(Progress { percent, message: None, waiting: false, cpu_ms: None })
        }
        _ => Err(format!("its progress is no number: '{}'", shortened(text))),
    }
}

/// The line is everything behind `message=`: the original's agents encode nothing in it.
fn read_log(fields: &Fields<'_>, text: &str) -> Log {
    let line = text.split_once("&message=").map_or("", |(_, line)| line);
    let line = unpercent_if_encoded(line);
    let text = match fields.get("level") {
        None | Some("INFO" | "") => line,
        Some(level) => format!("[{}] {line}", shortened(level)),
    };
    Log { dropped: 0, lines: vec![LogLine { source: LogSource::Stdout, text }] }
}

/// A JSON string, percent-encoded; one of the original's texts is neither.
fn read_error(text: &str) -> Result<Error, String> {
    let text = unpercent(text)?;
    Ok(Error::process_failed(serde_json::from_str::<String>(&text).unwrap_or(text)))
}

fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

/// Reads anything; what can be read and written must be read again as it was.
#[doc(hidden)]
pub fn fuzz_wps_remote_body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let service = ProcessId::new("default:Upper").ok();
    let Some(Ok(body)) = decode(text, service.as_ref()) else { return };
    let Ok(written) = encode(&body) else { return };
    let again = decode(&written, service.as_ref());
    let Some(Ok(again)) = again else { panic!("{written} can't be read: {again:?}") };
    assert_eq!(encode(&again).as_deref(), Ok(written.as_str()), "as of {body:?}");
}
