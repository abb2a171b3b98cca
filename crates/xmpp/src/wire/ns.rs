//! XML namespaces, named after the documents that define them.

/// RFC 6120 §4.8.2.
pub(crate) const CLIENT: &str = "jabber:client";
pub(crate) const STREAM: &str = "http://etherx.jabber.org/streams";
pub(crate) const STREAM_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-streams";
pub(crate) const STANZA_ERROR: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
pub(crate) const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub(crate) const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(crate) const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// RFC 3921 §3; a no-op since RFC 6121, still asked for by old clients.
pub(crate) const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// RFC 6121 §2.
pub(crate) const ROSTER: &str = "jabber:iq:roster";
/// XEP-0030.
pub(crate) const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
pub(crate) const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// XEP-0045.
pub(crate) const MUC: &str = "http://jabber.org/protocol/muc";
pub(crate) const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
pub(crate) const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
pub(crate) const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";
/// XEP-0004.
pub(crate) const DATA_FORM: &str = "jabber:x:data";
/// XEP-0410.
pub(crate) const MUC_SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
/// XEP-0049.
pub(crate) const PRIVATE: &str = "jabber:iq:private";
/// XEP-0054.
pub(crate) const VCARD: &str = "vcard-temp";
/// XEP-0092.
pub(crate) const VERSION: &str = "jabber:iq:version";
/// XEP-0199.
pub(crate) const PING: &str = "urn:xmpp:ping";
/// XEP-0203 and its predecessor XEP-0091.
pub(crate) const DELAY: &str = "urn:xmpp:delay";
pub(crate) const LEGACY_DELAY: &str = "jabber:x:delay";
