//! Private XML storage (XEP-0049 version 1.2) and vCards (XEP-0054 version 1.3): reading finds nothing, writing is not
//! allowed. Libraries ask for both at login and some wait for the answer.

use minidom::Element;

use crate::wire::stanza::{ElementExt, iq_result};

/// Both documents answer for something that was never stored with the question itself.
pub(super) fn nothing_stored(request: &Element, query: &Element) -> Element {
    iq_result(request).with_child(query.clone())
}
