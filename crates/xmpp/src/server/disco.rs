//! Service discovery: XEP-0030 version 2.5, without nodes.

use minidom::Element;

use super::muc::RoomConfig;
use crate::wire::ns;
use crate::wire::stanza::{Condition, ElementExt, iq_result};

/// What the server itself can do.
pub(super) fn server_info(request: &Element, query: &Element) -> Result<Element, Condition> {
    refuse_node(query)?;
    let features = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, ns::VERSION];
    Ok(info(request, ("server", "im", "Anabranch"), &features))
}

/// The one further service: the rooms.
pub(super) fn server_items(request: &Element, rooms_domain: &str) -> Element {
    items(request, [(rooms_domain.to_owned(), Some("rooms".to_owned()))])
}

/// XEP-0045 §6.2.
pub(super) fn rooms_info(request: &Element, query: &Element) -> Result<Element, Condition> {
    refuse_node(query)?;
    let features = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::MUC, ns::PING];
    Ok(info(request, ("conference", "text", "rooms"), &features))
}

/// XEP-0045 §6.4: the features tell the room's configuration.
pub(super) fn room_info(request: &Element, query: &Element, room: &RoomConfig) -> Result<Element, Condition> {
    refuse_node(query)?;
    let password = if room.password.is_some() { "muc_passwordprotected" } else { "muc_unsecured" };
    let lasting = if room.temporary { "muc_temporary" } else { "muc_persistent" };
    let features = [
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::MUC,
        ns::MUC_SELF_PING,
        password,
        lasting,
        "muc_open",
        "muc_public",
        "muc_nonanonymous",
        "muc_unmoderated",
    ];
    Ok(info(request, ("conference", "text", &room.name), &features))
}

/// A list of addresses with their names.
pub(super) fn items(request: &Element, items: impl IntoIterator<Item = (String, Option<String>)>) -> Element {
    let mut query = Element::bare("query", ns::DISCO_ITEMS);
    for (jid, name) in items {
        let item = Element::bare("item", ns::DISCO_ITEMS).with("jid", &jid).with_opt("name", name.as_deref());
        query.append_child(item);
    }
    iq_result(request).with_child(query)
}

fn info(request: &Element, (category, kind, name): (&str, &str, &str), features: &[&str]) -> Element {
    let identity = Element::bare("identity", ns::DISCO_INFO);
    let mut query = Element::bare("query", ns::DISCO_INFO)
        .with_child(identity.with("category", category).with("type", kind).with("name", name));
    for feature in features {
        query.append_child(Element::bare("feature", ns::DISCO_INFO).with("var", feature));
    }
    iq_result(request).with_child(query)
}

/// There are no nodes, so whatever is asked for does not exist (XEP-0030 §3.2).
fn refuse_node(query: &Element) -> Result<(), Condition> {
    if query.attr("node").is_some() { Err(Condition::ItemNotFound) } else { Ok(()) }
}
