//! Roster (RFC 6121 §2.1): always empty. Nobody subscribes to anybody here, yet clients ask at login and wait.

use minidom::Element;

use crate::wire::ns;
use crate::wire::stanza::{ElementExt, iq_result};

pub(super) fn empty(request: &Element) -> Element {
    iq_result(request).with_child(Element::bare("query", ns::ROSTER))
}
