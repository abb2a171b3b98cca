//! The server to embed: accounts, rooms, and nothing that a message bus does not need.
//!
//! | file | what | completeness |
//! |---|---|---|
//! | `domain.rs` | routing, RFC 6120 §10, RFC 6121 §8 | one domain, no subscriptions, nothing stored |
//! | `negotiate.rs` | STARTTLS, SASL, binding, RFC 6120 §5 to §7 | SCRAM-SHA-256, SCRAM-SHA-1, PLAIN under TLS |
//! | `muc.rs` | rooms, XEP-0045 and XEP-0410 | see there |
//! | `disco.rs` | XEP-0030 | without nodes |
//! | `ping.rs` | XEP-0199 | complete |
//! | `version.rs` | XEP-0092 | complete |
//! | `storage.rs` | XEP-0049, XEP-0054 | always empty |
//! | `roster.rs` | RFC 6121 §2 | always empty |
//!
//! [`Domain`] is the server without IO; `router.rs` puts it behind a lock and gives each session a bounded queue;
//! `listener.rs`, `negotiate.rs` and `session.rs` are one task per connection; `local.rs` is a session within the
//! process.

mod accounts;
mod disco;
pub mod domain;
mod failed_logins;
mod limits;
mod listener;
pub(crate) mod local;
mod muc;
mod negotiate;
mod ping;
mod roster;
mod router;
mod session;
mod storage;
mod version;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use accounts::{AccountStore, MemoryAccounts};
pub use domain::{Domain, DomainConfig, DomainConfigError};
pub use limits::Limits;
pub use local::LocalSession;
pub use muc::RoomConfig;
pub use router::{Counters, SessionInfo};

use self::failed_logins::FailedLogins;
use self::listener::Places;
use self::negotiate::Port;
use self::router::Router;
use crate::bus::Bus;
use crate::client::ClientError;
use crate::wire::stream::Silence;
use crate::wire::tls::{Identity, TlsError, server_config};

/// What a server is to be. There is no `Default`: whoever embeds it decides about each.
#[derive(Clone)]
pub struct ServerConfig {
    /// Domain of the accounts, such as `anabranch.local`; the rooms are at `conference.` and this.
    pub domain: String,
    pub rooms: Vec<RoomConfig>,
    /// Whether any account may make a room by entering it; owners always may.
    pub create_rooms: bool,
    /// User names that are owners and moderators of every room.
    pub owners: Vec<String>,
    pub accounts: Arc<dyn AccountStore>,
    /// Certificate and key; without them there is no TLS, and only plaintext login.
    pub identity: Option<Identity>,
    /// Whether login without TLS is allowed from loopback addresses. From others it never is.
    pub plaintext_login: bool,
    /// Told to whoever asks (XEP-0092).
    pub software_name: String,
    pub software_version: String,
    pub limits: Limits,
}

/// Bound sockets to serve on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Plain at first, TLS on request (RFC 6120 §5); usually port 5222.
    pub starttls: Vec<TcpListener>,
    /// TLS at once (XEP-0368); usually port 5223. What older libraries call SSL.
    pub direct_tls: Vec<TcpListener>,
}

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum ServerError {
    #[error(transparent)]
    Config(#[from] DomainConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("a listener for direct TLS needs a certificate")]
    NoCertificate,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A running server. Dropping it does not stop the server; cancelling the token does.
#[derive(Clone)]
pub struct ServerHandle {
    context: Arc<Context>,
}

/// What the tasks of a server share.
struct Context {
    domain: String,
    accounts: Arc<dyn AccountStore>,
    tls: Option<Arc<rustls::ServerConfig>>,
    plaintext_login: bool,
    limits: Limits,
    router: Arc<Router>,
    places: Places,
    failed_logins: FailedLogins,
    password_checks: Semaphore,
    /// Makes the salts of users who do not exist; new with each start, as an attacker will hardly wait for that.
    decoy_secret: [u8; 32],
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Context {
    fn silence(&self) -> Silence {
        Silence { ask_after: self.limits.idle_ping_after, answer_within: self.limits.idle_ping_timeout }
    }
}

impl Server {
    /// Starts a server on bound sockets, none of them needed for local sessions. It runs until `shutdown` is
    /// cancelled; [`ServerHandle::stopped`] tells when it has. Must be called within a Tokio runtime.
    pub fn start(
        config: ServerConfig,
        listeners: Listeners,
        shutdown: CancellationToken,
    ) -> Result<ServerHandle, ServerError> {
        let tls = config.identity.as_ref().map(server_config).transpose()?;
        if tls.is_none() && !listeners.direct_tls.is_empty() {
            return Err(ServerError::NoCertificate);
        }
        let domain = Domain::new(config.domain_config())?;
        let limits = config.limits;
        let context = Arc::new(Context {
            domain: config.domain,
            accounts: config.accounts,
            tls,
            plaintext_login: config.plaintext_login,
            router: Router::new(domain, &limits),
            places: Places::default(),
            failed_logins: FailedLogins::new(limits.failed_logins_max, limits.failed_logins_window),
            password_checks: Semaphore::new(limits.password_checks_max),
            decoy_secret: rand::random(),
            limits,
            shutdown,
            tasks: TaskTracker::new(),
        });
        let ports = listeners.starttls.into_iter().map(|l| (l, Port::StartTls));
        for (listener, port) in ports.chain(listeners.direct_tls.into_iter().map(|l| (l, Port::DirectTls))) {
            context.tasks.spawn(listener::run(listener, port, Arc::clone(&context)));
        }
        context.tasks.spawn(end_sessions_at_shutdown(Arc::clone(&context)));
        Ok(ServerHandle { context })
    }
}

async fn end_sessions_at_shutdown(context: Arc<Context>) {
    context.shutdown.cancelled().await;
    context.router.shut_down();
    context.tasks.close();
}

impl ServerConfig {
    fn domain_config(&self) -> DomainConfig {
        DomainConfig {
            domain: self.domain.clone(),
            rooms_domain: self.rooms_domain(),
            rooms: self.rooms.clone(),
            create_rooms: self.create_rooms,
            owners: self.owners.clone(),
            software_name: self.software_name.clone(),
            software_version: self.software_version.clone(),
            rooms_max: self.limits.rooms_max,
            rooms_per_session_max: self.limits.rooms_per_session_max,
            sessions_per_account_max: self.limits.sessions_per_account_max,
        }
    }

    /// Domain of the rooms.
    pub fn rooms_domain(&self) -> String {
        format!("conference.{}", self.domain)
    }
}

impl ServerHandle {
    /// A session within this process, for the program that embeds the server. It re-enters its rooms if it is ever
    /// ended for being slow, and ends with the server.
    pub fn local_session(&self, session: LocalSession) -> Result<Bus, ClientError> {
        local::start(&self.context, session)
    }

    /// Ends the sessions of a user, whose account was changed or removed; gives how many there were.
    pub fn disconnect(&self, user: &str) -> usize {
        self.context.router.disconnect(user)
    }

    /// Bound sessions, local ones included.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.context.router.sessions()
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.context.router.counters()
    }

    /// Waits until the server has stopped after its token was cancelled: sessions are told and joined, within
    /// [`Limits::shutdown_timeout`]. Gives whether all ended in time; the others end by themselves soon after.
    pub async fn stopped(&self) -> bool {
        self.context.shutdown.cancelled().await;
        tokio::time::timeout(self.context.limits.shutdown_timeout, self.context.tasks.wait()).await.is_ok()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("domain", &self.context.domain).finish_non_exhaustive()
    }
}
