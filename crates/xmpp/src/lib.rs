//! An XMPP server to embed and a client session.
