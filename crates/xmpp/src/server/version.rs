//! Software version: XEP-0092 version 1.1, complete; the operating system is not told.

use minidom::Element;

use super::domain::DomainConfig;
use crate::wire::ns;
use crate::wire::stanza::{ElementExt, iq_result};

pub(super) fn answer(request: &Element, config: &DomainConfig) -> Element {
    let query = Element::bare("query", ns::VERSION)
        .with_child(Element::bare("name", ns::VERSION).with_text(&config.software_name))
        .with_child(Element::bare("version", ns::VERSION).with_text(&config.software_version));
    iq_result(request).with_child(query)
}
