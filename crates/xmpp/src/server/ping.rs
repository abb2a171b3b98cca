//! XMPP Ping: XEP-0199 version 2.0.1, complete.

use minidom::Element;

use crate::wire::ns;
use crate::wire::stanza::{ElementExt, iq, iq_result};

pub(super) fn answer(request: &Element) -> Element {
    iq_result(request)
}

/// Asks a silent client for a sign of life (§4.1); any answer will do.
pub(super) fn from_server(domain: &str, to: &str) -> Element {
    let id = crate::wire::scram::nonce();
    iq("get", &id, Some(to)).with("from", domain).with_child(Element::bare("ping", ns::PING))
}
