use thiserror::Error;

/// Why a session has stopped for good. Everything that may heal by itself is retried instead and seen as
/// [`BusEvent::Down`](crate::BusEvent::Down).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server refused the credentials; retrying would only get the account locked (RFC 6120 §6.5).
    #[error("login of \"{user}\" at \"{host}\" refused: {condition}")]
    WrongPassword { user: String, host: String, condition: String },
    /// The certificate is not the pinned one, not from a known issuer, expired, or for another name.
    #[error("certificate of \"{host}\" refused: {reason}")]
    Certificate { host: String, reason: String },
    /// TLS is wanted, and the server offers none.
    #[error("\"{host}\" offers no TLS, and plaintext is not allowed")]
    TlsNotOffered { host: String },
    /// The server offers no login method that is safe on this connection.
    #[error("\"{host}\" offers no usable login mechanism, only: {offered}")]
    NoMechanism { host: String, offered: String },
    /// The server could not prove that it knows our password (RFC 5802 §3): it is not the one it claims to be.
    #[error("\"{host}\" gave a wrong server signature at login")]
    ServerNotAuthentic { host: String },
    /// The password of a room is wrong, or one is needed (XEP-0045 §7.2.5).
    #[error("password of room \"{room}\" refused")]
    RoomPassword { room: String },
    /// We are banned from the room, or it is for members only (XEP-0045 §7.2.6, §7.2.7).
    #[error("entry to room \"{room}\" refused: {condition}")]
    RoomRefused { room: String, condition: String },
    /// Someone logged in with our full JID: reconnecting would start a fight without end (RFC 6120 §4.9.3.3).
    #[error("replaced by another session of \"{jid}\"")]
    Conflict { jid: String },
    /// A configured value makes no sense.
    #[error("configured {what} \"{value}\" is not valid: {reason}")]
    Config { what: &'static str, value: String, reason: String },
}
