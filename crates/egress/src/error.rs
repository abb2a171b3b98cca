//! Errors with two texts: `Display` for the log, `client_text` for whoever sent the reference.
//!
//! The client text never names a resolved address, a redirect target, the text of a transport error or a byte
//! of a body: together they would turn the server into a probe of the network behind it. For the same reason a name
//! that is unknown and one whose addresses are all refused have one text, and so have, at an address that only an allow
//! rule opened, a closed port, a silent one and one that speaks something else. How long the answer took still tells a
//! silent port from a closed one: rules that name the port leave nothing to be found out.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::address::AddressClass;
use crate::headers::HeaderRefused;

/// A reference that the policy refuses, before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{reference}' may not be fetched: {reason}")]
pub struct Refused {
    /// The reference without its user name, password and query.
    pub reference: String,
    /// Why.
    pub reason: Reason,
}

impl Refused {
    /// The text for the client.
    pub fn client_text(&self) -> String {
        format!("the reference '{}' may not be fetched: {}", self.reference, self.reason.client_text())
    }
}

/// Why a reference may not be fetched. `Display` is for the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    /// Not an absolute URL.
    #[error("not an absolute URL")]
    NotAUrl,
    /// Longer than [`URL_BYTES_MAX`](crate::URL_BYTES_MAX).
    #[error("longer than {} bytes", crate::URL_BYTES_MAX)]
    TooLong,
    /// A scheme that is not in the policy.
    #[error("scheme '{0}' is not in the policy's schemes")]
    Scheme(String),
    /// A user name or password inside the URL.
    #[error("it carries a user name or password")]
    UserInfo,
    /// No host, or port 0.
    #[error("it names no host and port")]
    NoHost,
    /// A deny rule matches.
    #[error("a deny rule matches")]
    Denied,
    /// Public addresses are closed and no allow rule matches.
    #[error("no allow rule matches, and public addresses are closed")]
    NotListed,
    /// An address of a class that no allow rule opens.
    #[error("{ip} is a {class} address that no allow rule opens")]
    Address {
        /// The address, typed or resolved.
        ip: IpAddr,
        /// Its class.
        class: AddressClass,
    },
}

impl Reason {
    fn client_text(&self) -> String {
        match self {
            Self::NotAUrl => "it is not an absolute URL".to_owned(),
            Self::TooLong => format!("it is longer than {} bytes", crate::URL_BYTES_MAX),
            Self::Scheme(scheme) => format!("the scheme '{scheme}' is not allowed by this server's policy"),
            Self::UserInfo => "it carries a user name or password".to_owned(),
            Self::NoHost => "it names no host".to_owned(),
            Self::Denied | Self::NotListed | Self::Address { .. } => {
                "the address is not allowed by this server's policy".to_owned()
            }
        }
    }
}

/// A fetch that failed.
#[derive(Debug, Error)]
#[error("fetch of '{reference}': {fault}")]
pub struct EgressError {
    /// The reference as asked for (not where redirects led), without its user name, password and query.
    pub reference: String,
    /// What went wrong.
    pub fault: Fault,
    /// It went wrong before an answer of HTTP, at an address that only an allow rule opened.
    pub(crate) inside: bool,
}

/// What went wrong with a fetch. `Display` is for the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The policy refuses the reference, or where it redirects to.
    #[error("may not be fetched after {redirects} redirects: {reason}")]
    Refused {
        /// Why.
        reason: Reason,
        /// Redirects followed before the refusal; 0 means the reference itself.
        redirects: u32,
    },
    /// A request header that the caller may not set.
    #[error(transparent)]
    Header(HeaderRefused),
    /// The name has addresses, and none that the policy opens.
    #[error("no address of its host may be reached: {0}")]
    NoAddress(Reason),
    /// The name has no address.
    #[error("look-up of its host failed: {0}")]
    Lookup(io::Error),
    /// No connection.
    #[error("no connection: {}", chain(.0))]
    Connect(reqwest::Error),
    /// The TLS handshake failed, commonly by an unknown certificate authority.
    #[error("TLS failed: {}", chain(.0))]
    Tls(reqwest::Error),
    /// The connection broke, or what came over it was not HTTP.
    #[error("transfer failed: {}", chain(.0))]
    Transfer(reqwest::Error),
    /// A time limit passed.
    #[error("{wait} time-out after {ms} ms")]
    TimedOut {
        /// Which limit.
        wait: Wait,
        /// The limit, milliseconds.
        ms: u64,
    },
    /// More redirects than the policy allows, or a loop.
    #[error("more than {max} redirects")]
    Redirects {
        /// The limit.
        max: u32,
    },
    /// A redirect whose `Location` is not a URL.
    #[error("redirect without a valid location")]
    RedirectLocation,
    /// A status other than success, from [`Egress::fetch`](crate::Egress::fetch).
    #[error("status {0}")]
    Status(u16),
    /// A body in an encoding that was not asked for: anything but gzip, or gzip twice.
    #[error("content encoding '{0}' was not asked for")]
    Encoding(String),
    /// A gzip body that is damaged or cut off.
    #[error("gzip body: {0}")]
    Unpack(io::Error),
    /// A gzip body above [`Policy::unpacked_ratio_max`](crate::Policy::unpacked_ratio_max).
    #[error("unpacks to more than {ratio_max} times its size")]
    Ratio {
        /// The limit that was passed.
        ratio_max: u64,
    },
    /// A response body above its limit.
    #[error("larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit that was passed, bytes.
        bytes_max: u64,
    },
    /// A request body above [`Policy::request_body_bytes_max`](crate::Policy::request_body_bytes_max).
    #[error("request body of {bytes} bytes is larger than {bytes_max}")]
    RequestTooLarge {
        /// Its size, bytes.
        bytes: u64,
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// The file to send cannot be read.
    #[error("cannot read '{}' to send it: {source}", path.display())]
    RequestFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file to save to cannot be created or written.
    #[error("cannot save to '{}': {source}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The policy's own parts are unusable, such as an unreadable `ca_file`.
    #[error("egress is not usable: {0}")]
    Setup(String),
}

/// Which time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Name look-up, connection and TLS handshake.
    Connect,
    /// No byte moved.
    Idle,
    /// The whole fetch.
    Total,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Total => "total",
        })
    }
}

impl EgressError {
    /// The text for the client.
    pub fn client_text(&self) -> String {
        let reference = &self.reference;
        match &self.fault {
            Fault::Refused { reason, redirects: 0 } => {
                format!("the reference '{reference}' may not be fetched: {}", reason.client_text())
            }
            Fault::Refused { .. } => format!(
                "the reference '{reference}' may not be fetched: it redirects to an address that is not allowed by this server's policy"
            ),
            Fault::Header(refused) => refused.to_string(),
            Fault::Connect(_) | Fault::Tls(_) | Fault::Transfer(_) | Fault::TimedOut { .. }
                if self.inside =>
            {
                format!("the reference '{reference}' could not be fetched: no answer by HTTP")
            }
            fault => format!("the reference '{reference}' could not be fetched: {}", fault.client_text()),
        }
    }

    /// True where the same request may succeed later: no connection, time-out, broken transfer, status 408, 429
    /// or 5xx. For callers that retry callbacks and uploads.
    pub fn is_transient(&self) -> bool {
        match &self.fault {
            Fault::Lookup(_) | Fault::Connect(_) | Fault::Transfer(_) | Fault::TimedOut { .. } => true,
            Fault::Status(status) => matches!(status, 408 | 429 | 500..=599),
            Fault::Refused { .. }
            | Fault::NoAddress(_)
            | Fault::Header(_)
            | Fault::Tls(_)
            | Fault::Redirects { .. }
            | Fault::RedirectLocation
            | Fault::Encoding(_)
            | Fault::Unpack(_)
            | Fault::Ratio { .. }
            | Fault::TooLarge { .. }
            | Fault::RequestTooLarge { .. }
            | Fault::RequestFile { .. }
            | Fault::Save { .. }
            | Fault::Setup(_) => false,
        }
    }
}

impl From<Refused> for EgressError {
    fn from(refused: Refused) -> Self {
        Self {
            reference: refused.reference,
            fault: Fault::Refused { reason: refused.reason, redirects: 0 },
            inside: false,
        }
    }
}

impl Fault {
    fn client_text(&self) -> String {
        match self {
            Self::Refused { reason, .. } => reason.client_text(),
            Self::Header(refused) => refused.to_string(),
            Self::Lookup(_) | Self::NoAddress(_) => {
                "its host has no address that this server may reach".to_owned()
            }
            Self::Connect(_) => "no connection".to_owned(),
            Self::Tls(_) => "no trusted TLS connection".to_owned(),
            Self::Transfer(_) => "the transfer broke off".to_owned(),
            Self::TimedOut { .. } => "time-out".to_owned(),
            Self::Redirects { max } => format!("more than {max} redirects"),
            Self::RedirectLocation => "it redirects to no valid location".to_owned(),
            Self::Status(status) => format!("status {status}"),
            Self::Encoding(_) => "it was sent in a content encoding that was not asked for".to_owned(),
            Self::Unpack(_) => "it was sent as gzip that is damaged".to_owned(),
            Self::Ratio { ratio_max } => format!("it unpacks to more than {ratio_max} times its size"),
            Self::TooLarge { bytes_max } => format!("larger than {bytes_max} bytes"),
            Self::RequestTooLarge { bytes_max, .. } => {
                format!("the request body is larger than {bytes_max} bytes")
            }
            Self::RequestFile { .. } | Self::Save { .. } | Self::Setup(_) => {
                "an internal error of this server".to_owned()
            }
        }
    }

    /// Sorts a transport error by who has to act.
    pub(crate) fn from_transport(error: reqwest::Error, connect_ms_max: u64) -> Self {
        // The URL may carry a token in its query, and the caller names the reference anyway.
        let error = error.without_url();
        if error.is_timeout() {
            return Self::TimedOut { wait: Wait::Connect, ms: connect_ms_max };
        }
        if error.is_builder() {
            // A URL that the URL standard takes and HTTP's grammar doesn't.
            return Self::Refused { reason: Reason::NotAUrl, redirects: 0 };
        }
        if is_tls(&error) {
            return Self::Tls(error);
        }
        if error.is_connect() { Self::Connect(error) } else { Self::Transfer(error) }
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        // `io::Error::source` skips the error it wraps.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if cause.is::<rustls::Error>() || wrapped.is_some_and(|w| w.is::<rustls::Error>()) {
            return true;
        }
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    false
}

/// reqwest's own text hides the cause, which is what an operator needs.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
