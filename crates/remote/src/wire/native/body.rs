//! Type and JSON body of each message. The one place where the names on the wire stand.

use anabranch_model::Error;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};

use crate::message::{LoadReport, Message};
use crate::wire::EncodeError;

/// The one type that is never answered, whatever is wrong with it: two programs that do not understand each other must
/// not go on saying so.
pub(super) const NOT_UNDERSTOOD: &str = "not-understood";

/// Type and body of a message.
pub(super) fn write(message: &Message) -> Result<(&'static str, Option<String>), EncodeError> {
    Ok(match message {
        Message::Invite => ("invite", None),
        Message::Hello(body) => ("hello", json(body)?),
        Message::Welcome(body) => ("welcome", json(body)?),
        Message::Register(body) => ("register", json(body)?),
        Message::Unregister(body) => ("unregister", json(body)?),
        Message::Registered(body) => ("registered", json(body)?),
        Message::LoadQuery => ("load-query", None),
        Message::Load(body) => ("load", json(body)?),
        Message::Drain => ("drain", None),
        Message::Undrain => ("undrain", None),
        Message::Goodbye => ("goodbye", None),
        Message::Execute(body) => ("execute", json(body)?),
        Message::Attach => ("attach", None),
        Message::Abort => ("abort", None),
        Message::Finish => ("finish", None),
        Message::Accepted => ("accepted", None),
        Message::CannotExecute(body) => ("cannot-execute", json(body)?),
        Message::Started => ("started", None),
        Message::Progress(body) => ("progress", json(body)?),
        Message::Log(body) => ("log", json(body)?),
        Message::Want(body) => ("want", json(body)?),
        Message::Piece(body) => ("piece", json(body)?),
        Message::Output(body) => ("output", json(body)?),
        Message::Completed => ("completed", None),
        Message::Failed(error) => ("failed", json(&Failure::of(error)?)?),
        Message::Aborted => ("aborted", None),
        Message::Forgotten => ("forgotten", None),
        Message::Acknowledge => ("acknowledge", None),
        Message::NotUnderstood(body) => (NOT_UNDERSTOOD, json(body)?),
    })
}

/// The message of a type and body; `None` where the type is unknown.
pub(super) fn read(kind: &str, text: &str) -> Option<Result<Message, serde_json::Error>> {
    Some(match kind {
        "invite" => Ok(Message::Invite),
        "hello" => parse(text, Message::Hello),
        "welcome" => parse(text, Message::Welcome),
        "register" => parse(text, Message::Register),
        "unregister" => parse(text, Message::Unregister),
        "registered" => parse(text, Message::Registered),
        "load-query" => Ok(Message::LoadQuery),
        "load" => parse(text, Message::Load).and_then(finite),
        "drain" => Ok(Message::Drain),
        "undrain" => Ok(Message::Undrain),
        "goodbye" => Ok(Message::Goodbye),
        "execute" => parse(text, |body| Message::Execute(Box::new(body))),
        "attach" => Ok(Message::Attach),
        "abort" => Ok(Message::Abort),
        "finish" => Ok(Message::Finish),
        "accepted" => Ok(Message::Accepted),
        "cannot-execute" => parse(text, Message::CannotExecute),
        "started" => Ok(Message::Started),
        "progress" => parse(text, Message::Progress).and_then(finite),
        "log" => parse(text, Message::Log),
        "want" => parse(text, Message::Want),
        "piece" => parse(text, Message::Piece),
        "output" => parse(text, Message::Output),
        "completed" => Ok(Message::Completed),
        "failed" => parse(text, |failure: Failure| Message::Failed(failure.into_error())),
        "aborted" => Ok(Message::Aborted),
        "forgotten" => Ok(Message::Forgotten),
        "acknowledge" => Ok(Message::Acknowledge),
        NOT_UNDERSTOOD => parse(text, Message::NotUnderstood),
        _ => return None,
    })
}

/// JSON has no infinity, but a number too large for 32 bits becomes one.
fn finite(message: Message) -> Result<Message, serde_json::Error> {
    let finite = match &message {
        Message::Progress(progress) => progress.percent.is_finite(),
        Message::Load(LoadReport { load, .. }) => {
            [load.cpu_percent, load.memory_percent, load.load_average].iter().all(|number| number.is_finite())
        }
        _ => true,
    };
    if finite { Ok(message) } else { Err(serde_json::Error::custom("a number is too large")) }
}

/// An error with its text, so that a program which does not know the sort of error still has the text.
#[derive(Serialize, Deserialize)]
struct Failure {
    text: String,
    error: serde_json::Value,
}

impl Failure {
    fn of(error: &Error) -> Result<Self, EncodeError> {
        let error_json =
            serde_json::to_value(error).map_err(|e| EncodeError::Unwritable(format!("error: {e}")))?;
        Ok(Self { text: error.client_text(), error: error_json })
    }

    fn into_error(self) -> Error {
        match serde_json::from_value(self.error) {
            Ok(error) => error,
            Err(_newer_sort) => Error::process_failed(self.text),
        }
    }
}

fn json(body: &impl Serialize) -> Result<Option<String>, EncodeError> {
    serde_json::to_string(body).map(Some).map_err(|e| EncodeError::Unwritable(e.to_string()))
}

fn parse<B: DeserializeOwned>(
    text: &str,
    message: impl FnOnce(B) -> Message,
) -> Result<Message, serde_json::Error> {
    serde_json::from_str(text).map(message)
}
