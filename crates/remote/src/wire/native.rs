//! The native wire form: one element, with a JSON container (XEP-0335 v0.1) for what has structure.
//!
//! ```xml
//! <anabranch xmlns='urn:anabranch:agent:1' type='progress' run='<job>-<attempt>' seq='7' ack='2'>
//!   <json xmlns='urn:xmpp:json:0'>{"percent":41.5,"message":null}</json>
//! </anabranch>
//! ```
//!
//! Accepted: any order of attributes, members in any order, unknown attributes and members (ignored, so that newer
//! programs may add). Refused: another version of the namespace, unknown types (both answered by `not-understood`), a body
//! above [`BODY_BYTES_MAX`], a run named otherwise than [`RunId`] names it, `seq` without `run`.

mod body;

use anabranch_xmpp::Element;
use minidom::rxml::NcName;

use super::{BODY_BYTES_MAX, DecodeError, EncodeError, Envelope};
use crate::run_id::RunId;

/// Name of this form in [`Hello::wires`](crate::message::Hello::wires).
pub const NATIVE: &str = "native-1";

/// Namespace of the element; the number is the version of the form.
pub const NAMESPACE: &str = "urn:anabranch:agent:1";

const NAMESPACE_STEM: &str = "urn:anabranch:agent:";
const ELEMENT: &str = "anabranch";
/// XEP-0335 §3.
const JSON_NAMESPACE: &str = "urn:xmpp:json:0";
/// Longest unknown type quoted in an answer, in characters.
const QUOTED_CHARS_MAX: usize = 100;

/// Writes a message as an element.
///
/// # Errors
/// Where its body is larger than [`BODY_BYTES_MAX`].
pub fn encode(envelope: &Envelope) -> Result<Element, EncodeError> {
    let (kind, json) = body::write(&envelope.message)?;
    let mut element = Element::builder(ELEMENT, NAMESPACE).attr(name("type")?, kind);
    if let Some(run) = envelope.run {
        element = element.attr(name("run")?, run.to_string()).attr(name("ack")?, envelope.ack.to_string());
        if envelope.seq > 0 {
            element = element.attr(name("seq")?, envelope.seq.to_string());
        }
    }
    if let Some(json) = json {
        let json = without_noncharacters(json);
        let bytes = escaped_len(&json);
        if bytes > BODY_BYTES_MAX {
            return Err(EncodeError::TooLarge { bytes });
        }
        element = element.append(Element::builder("json", JSON_NAMESPACE).append(json).build());
    }
    Ok(element.build())
}

/// Reads a message; `None` where the element is not of this protocol.
///
/// # Errors
/// Where it is, and can't be read.
pub fn decode(element: &Element) -> Option<Result<Envelope, DecodeError>> {
    let namespace = element.ns();
    if element.name() != ELEMENT || !namespace.starts_with(NAMESPACE_STEM) {
        return None;
    }
    if namespace != NAMESPACE {
        if element.attr("type") == Some(body::NOT_UNDERSTOOD) {
            return None;
        }
        return Some(Err(DecodeError::Version { namespace: shortened(&namespace) }));
    }
    match decode_body(element) {
        Err(DecodeError::Malformed { kind, .. }) if kind == body::NOT_UNDERSTOOD => None,
        read => Some(read),
    }
}

fn decode_body(element: &Element) -> Result<Envelope, DecodeError> {
    let kind = element.attr("type").unwrap_or_default();
    let malformed = |reason: String| DecodeError::Malformed { kind: shortened(kind), reason };
    let run = match element.attr("run") {
        Some(text) => Some(text.parse::<RunId>().map_err(|e| malformed(e.to_string()))?),
        None => None,
    };
    let number = |attribute: &str| match element.attr(attribute) {
        Some(text) => text.parse::<u64>().map_err(|_| malformed(format!("{attribute} is no number"))),
        None => Ok(0),
    };
    let (seq, ack) = (number("seq")?, number("ack")?);
    let json = element.get_child("json", JSON_NAMESPACE).map(Element::text).unwrap_or_default();
    if json.len() > BODY_BYTES_MAX {
        return Err(malformed(format!("its body is larger than {BODY_BYTES_MAX} bytes")));
    }
    let message = match body::read(kind, &json) {
        Some(read) => read.map_err(|e| malformed(e.to_string()))?,
        None => return Err(DecodeError::UnknownType { kind: shortened(kind) }),
    };
    if message.is_sequenced() && (run.is_none() || seq == 0) {
        return Err(malformed("it has no run or no place in it".into()));
    }
    if !message.is_sequenced() && seq != 0 || run.is_none() && ack != 0 {
        return Err(malformed("it can't have a place in a run".into()));
    }
    Ok(Envelope { run, seq, ack, message })
}

fn name(text: &str) -> Result<NcName, EncodeError> {
    NcName::try_from(text).map_err(|e| EncodeError::Unwritable(e.to_string()))
}

/// JSON leaves two characters as they are that XML 1.0 §2.2 forbids; in JSON they stand within strings only.
fn without_noncharacters(json: String) -> String {
    if json.contains(['\u{FFFE}', '\u{FFFF}']) {
        json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
    } else {
        json
    }
}

/// Length as XML text when every writer on the way escapes all that may be escaped.
pub(crate) fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'&' => "&amp;".len(),
            b'<' | b'>' => "&lt;".len(),
            b'"' | b'\'' => "&quot;".len(),
            _ => 1,
        })
        .sum()
}

fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

/// Reads anything; what can be read must survive being written and read again.
#[doc(hidden)]
pub fn fuzz_native(bytes: &[u8]) {
    let Ok(element) = Element::from_reader(bytes) else { return };
    let Some(Ok(envelope)) = decode(&element) else { return };
    if let Ok(written) = encode(&envelope) {
        let again = decode(&written);
        // NaN is no JSON, so what has been read can be compared.
        assert_eq!(again, Some(Ok(envelope)));
    }
}

#[cfg(test)]
mod tests;
