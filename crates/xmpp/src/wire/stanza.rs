//! Building and reading stanzas (RFC 6120 §8) as plain elements.
//!
//! They stay elements from the socket to the program: a router must pass on what it does not understand, and typed
//! stanzas drop unknown attributes and refuse a whole message for one odd child.

use minidom::Element;
use rxml::{Namespace, NcName};
pub(crate) use xmpp_parsers::jid::{BareJid, FullJid, Jid, NodePart, ResourcePart};

use super::guard::DEPTH_MAX;
use super::ns;

/// Chains the changes that building an element takes.
pub(crate) trait ElementExt: Sized {
    /// `name` must be a valid attribute name: ours are literals.
    fn with(self, name: &str, value: &str) -> Self;
    fn with_opt(self, name: &str, value: Option<&str>) -> Self;
    fn with_child(self, child: Element) -> Self;
    fn with_text(self, text: &str) -> Self;
    fn put(&mut self, name: &str, value: Option<&str>);
}

impl ElementExt for Element {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.put(name, Some(value));
        self
    }

    fn with_opt(mut self, name: &str, value: Option<&str>) -> Self {
        self.put(name, value);
        self
    }

    fn with_child(mut self, child: Element) -> Self {
        self.append_child(child);
        self
    }

    fn with_text(mut self, text: &str) -> Self {
        self.append_text_node(text);
        self
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        let Ok(name) = NcName::try_from(name) else {
            debug_assert!(false, "not an attribute name: {name:?}");
            return;
        };
        match value {
            Some(value) => self.set_attr(Namespace::NONE, name, value),
            None => drop(self.attrs_mut().remove(&Namespace::NONE, &name)),
        }
    }
}

/// Who has to act on an error (RFC 6120 §8.3.2) and what is wrong (§8.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    BadRequest,
    Conflict,
    FeatureNotImplemented,
    Forbidden,
    ItemNotFound,
    JidMalformed,
    NotAcceptable,
    NotAllowed,
    NotAuthorized,
    RemoteServerNotFound,
    /// `service-unavailable` that may pass: a room is full (XEP-0045 §7.2.9).
    RoomFull,
    ServiceUnavailable,
}

impl Condition {
    /// Error type and element name.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("modify", "bad-request"),
            Self::Conflict => ("cancel", "conflict"),
            Self::FeatureNotImplemented => ("cancel", "feature-not-implemented"),
            Self::Forbidden => ("auth", "forbidden"),
            Self::ItemNotFound => ("cancel", "item-not-found"),
            Self::JidMalformed => ("modify", "jid-malformed"),
            Self::NotAcceptable => ("modify", "not-acceptable"),
            Self::NotAllowed => ("cancel", "not-allowed"),
            Self::NotAuthorized => ("auth", "not-authorized"),
            Self::RemoteServerNotFound => ("cancel", "remote-server-not-found"),
            Self::RoomFull => ("wait", "service-unavailable"),
            Self::ServiceUnavailable => ("cancel", "service-unavailable"),
        }
    }

    pub(crate) fn element(self) -> Element {
        let (kind, name) = self.parts();
        Element::bare("error", ns::CLIENT)
            .with("type", kind)
            .with_child(Element::bare(name, ns::STANZA_ERROR))
    }
}

pub(crate) fn is_stanza(element: &Element) -> bool {
    element.has_ns(ns::CLIENT) && matches!(element.name(), "message" | "presence" | "iq")
}

pub(crate) fn iq(kind: &str, id: &str, to: Option<&str>) -> Element {
    Element::bare("iq", ns::CLIENT).with("type", kind).with("id", id).with_opt("to", to)
}

/// Empty `result` to a request, with the addresses exchanged.
pub(crate) fn iq_result(request: &Element) -> Element {
    answer(request, "result")
}

/// The error answer to a stanza; `None` for what must not be answered (RFC 6120 §8.3.1): errors and results.
pub(crate) fn bounce(stanza: &Element, condition: Condition) -> Option<Element> {
    match (stanza.name(), stanza.attr("type")) {
        (_, Some("error")) | ("iq", Some("result")) => None,
        _ => Some(answer(stanza, "error").with_child(condition.element())),
    }
}

fn answer(stanza: &Element, kind: &str) -> Element {
    Element::bare(stanza.name(), ns::CLIENT)
        .with("type", kind)
        .with_opt("id", stanza.attr("id"))
        .with_opt("from", stanza.attr("to"))
        .with_opt("to", stanza.attr("from"))
}

/// Name of the condition in an error stanza.
pub(crate) fn error_condition(stanza: &Element) -> String {
    let error = stanza.get_child("error", ns::CLIENT);
    let condition =
        error.and_then(|e| e.children().find(|c| c.has_ns(ns::STANZA_ERROR) && c.name() != "text"));
    condition.map_or("undefined-condition", Element::name).to_owned()
}

/// Whether an element can be written as XML that a guarded peer will read: no control characters, not too deep.
/// Gives the reason if not.
pub(crate) fn unwritable(element: &Element, depth: usize) -> Option<&'static str> {
    if depth > DEPTH_MAX {
        return Some("nested too deeply");
    }
    if NcName::try_from(element.name()).is_err() {
        return Some("element has a name that XML forbids");
    }
    let mut texts = element.texts().chain(element.attrs().iter().map(|(_, value)| value.as_str()));
    if texts.any(|text| !text.chars().all(is_xml_char)) {
        return Some("text has a character that XML forbids");
    }
    element.children().find_map(|child| unwritable(child, depth + 1))
}

/// XML 1.0 §2.2, production `Char`.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// How many bytes an element takes on the wire, or some more.
pub(crate) fn size_estimate(element: &Element) -> usize {
    // Start and end tag with their punctuation, and the namespace.
    let tags = 2 * element.name().len() + element.ns().len() + 24;
    let texts: usize = element.texts().map(escaped_len).sum();
    let attrs: usize =
        element.attrs().iter().map(|((_, name), value)| name.len() + escaped_len(value) + 8).sum();
    tags + texts + attrs + element.children().map(size_estimate).sum::<usize>()
}

/// Length of a text with its special characters escaped; the longest escape has six characters.
fn escaped_len(text: &str) -> usize {
    let special = |byte: &&u8| matches!(**byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'\t' | b'\n' | b'\r');
    text.len() + 5 * text.as_bytes().iter().filter(special).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_never_answered() {
        let ping = iq("get", "1", Some("a@x")).with("from", "b@x/1");
        let error = bounce(&ping, Condition::ServiceUnavailable).unwrap();
        assert_eq!((error.attr("from"), error.attr("to")), (Some("a@x"), Some("b@x/1")));
        assert_eq!(error_condition(&error), "service-unavailable");
        assert_eq!(bounce(&error, Condition::BadRequest), None);
        assert_eq!(bounce(&iq_result(&ping), Condition::BadRequest), None);
    }

    #[test]
    fn what_xml_cannot_carry_is_found() {
        let fine = Element::bare("body", ns::CLIENT).with_text("tab\tand \u{1f30d}");
        assert_eq!(unwritable(&fine, 1), None);
        let nul = Element::bare("message", ns::CLIENT).with_child(fine.with_text("\0"));
        assert!(unwritable(&nul, 1).is_some());
        let mut deep = Element::bare("a", ns::CLIENT);
        for _ in 0..DEPTH_MAX {
            deep = Element::bare("a", ns::CLIENT).with_child(deep);
        }
        assert!(unwritable(&deep, 1).is_some());
    }

    #[test]
    fn a_size_is_never_estimated_too_low() {
        let element = Element::bare("message", ns::CLIENT)
            .with("to", "a'b\"<&>@x")
            .with_child(Element::bare("body", ns::CLIENT).with_text(&"a & b\r\n".repeat(100)))
            .with_child(Element::bare("x", "urn:something:with:a:long:name").with("y", ""));
        assert!(size_estimate(&element) >= String::from(&element).len());
    }
}
