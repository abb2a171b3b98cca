//! What goes over a socket: guards, elements, logins, TLS. Both the server and the client stand on it.

pub(crate) mod guard;
pub(crate) mod scram;
pub(crate) mod tls;

pub(crate) mod ns;
pub(crate) mod stanza;
pub(crate) mod stream;
