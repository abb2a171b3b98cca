//! A server on the loopback interface, clients of the crate, and a client of bare strings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anabranch_xmpp::client::{self, Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::server::{
    Limits, Listeners, LocalSession, MemoryAccounts, RoomConfig, Server, ServerConfig, ServerHandle,
};
use anabranch_xmpp::{Bus, BusEvent, Identity, Incoming, RoomJoin, ScramKeys, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes a tenth of it on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const DOMAIN: &str = "localhost";
pub(crate) const ROOM: &str = "jobs@conference.localhost";

pub(crate) struct TestServer {
    pub(crate) handle: ServerHandle,
    pub(crate) starttls: SocketAddr,
    pub(crate) direct_tls: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) shutdown: CancellationToken,
}

/// Limits that let tests wait for them.
pub(crate) fn limits() -> Limits {
    Limits { shutdown_timeout: Duration::from_secs(5), ..Limits::default() }
}

pub(crate) fn accounts() -> Arc<MemoryAccounts> {
    // Few rounds: a debug build on a shared machine logs in dozens of times here.
    let accounts = MemoryAccounts::default();
    for user in ["orch", "ann", "bob", "cat"] {
        accounts.insert(user, ScramKeys::derive_with(&format!("{user}-password"), b"0123456789abcdef", 4096));
    }
    Arc::new(accounts)
}

pub(crate) fn config(limits: Limits, identity: &Identity) -> ServerConfig {
    ServerConfig {
        domain: DOMAIN.into(),
        rooms: vec![RoomConfig::new("jobs", Some("room-password")), RoomConfig::new("open", None)],
        create_rooms: false,
        owners: vec!["orch".into()],
        accounts: accounts(),
        identity: Some(identity.clone()),
        plaintext_login: true,
        software_name: "test".into(),
        software_version: "1".into(),
        limits,
    }
}

pub(crate) async fn start(limits: Limits) -> TestServer {
    let identity = Identity::generate(&[DOMAIN.to_owned()]).unwrap();
    start_on(limits, identity, [0, 0]).await
}

/// Starts on given ports, 0 for any.
pub(crate) async fn start_on(limits: Limits, identity: Identity, ports: [u16; 2]) -> TestServer {
    let [starttls, direct_tls] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let starttls_listener = TcpListener::bind(starttls).await.unwrap();
    let direct_tls_listener = TcpListener::bind(direct_tls).await.unwrap();
    let starttls = starttls_listener.local_addr().unwrap();
    let direct_tls = direct_tls_listener.local_addr().unwrap();
    let listeners = Listeners { starttls: vec![starttls_listener], direct_tls: vec![direct_tls_listener] };
    let shutdown = CancellationToken::new();
    let handle = Server::start(config(limits, &identity), listeners, shutdown.clone()).unwrap();
    TestServer { handle, starttls, direct_tls, identity, shutdown }
}

impl TestServer {
    pub(crate) fn trust(&self) -> Trust {
        Trust::Fingerprint(self.identity.fingerprint().unwrap())
    }

    pub(crate) fn client_config(&self, user: &str, security: Security) -> ClientConfig {
        let address =
            if matches!(security, Security::DirectTls(_)) { self.direct_tls } else { self.starttls };
        ClientConfig {
            host: address.ip().to_string(),
            port: address.port(),
            domain: DOMAIN.into(),
            user: user.into(),
            password: format!("{user}-password"),
            resource: "test".into(),
            security,
            rooms: Vec::new(),
            timing: Timing::default(),
            limits: ClientLimits::default(),
            backoff: Backoff::new(Duration::from_millis(200)),
        }
    }

    /// A client without TLS, in the room under its user name.
    pub(crate) fn client_in_room(&self, user: &str) -> Bus {
        let rooms = vec![join(user)];
        client::connect(ClientConfig { rooms, ..self.client_config(user, Security::Plaintext) }).unwrap()
    }

    pub(crate) fn local(&self, user: &str) -> Bus {
        let session = LocalSession { user: user.into(), resource: "local".into(), rooms: vec![join(user)] };
        self.handle.local_session(session).unwrap()
    }

    pub(crate) async fn stop(&self) {
        self.shutdown.cancel();
        assert!(self.handle.stopped().await, "tasks are left after shutdown");
    }
}

pub(crate) fn join(nick: &str) -> RoomJoin {
    RoomJoin { room: ROOM.into(), nick: nick.into(), password: Some("room-password".into()) }
}

/// The first event that `pick` wants; the others are skipped.
pub(crate) async fn until<T>(bus: &mut Bus, what: &str, mut pick: impl FnMut(&BusEvent) -> Option<T>) -> T {
    let mut skipped = Vec::new();
    let search = async {
        loop {
            match bus.next().await {
                Some(event) => match pick(&event) {
                    Some(found) => return Some(found),
                    None => skipped.push(event),
                },
                None => return None,
            }
        }
    };
    match tokio::time::timeout(DEADLINE, search).await {
        Ok(Some(found)) => found,
        ended => {
            panic!("no {what} ({}), only {skipped:#?}", if ended.is_ok() { "ended" } else { "too late" })
        }
    }
}

pub(crate) async fn until_up(bus: &mut Bus) -> String {
    until(bus, "link", |event| if let BusEvent::Up { jid } = event { Some(jid.clone()) } else { None }).await
}

pub(crate) async fn until_joined(bus: &mut Bus) -> String {
    until(
        bus,
        "entry",
        |event| if let BusEvent::Joined { nick, .. } = event { Some(nick.clone()) } else { None },
    )
    .await
}

pub(crate) async fn until_message(bus: &mut Bus) -> Incoming {
    until(bus, "message", |event| if let BusEvent::Message(m) = event { Some(m.clone()) } else { None }).await
}

/// A client that says exactly what it is told, over plain TCP.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
    unread: String,
}

pub(crate) fn header() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         to='{DOMAIN}' version='1.0'>"
    )
}

impl Raw {
    pub(crate) async fn connect(server: &TestServer) -> Self {
        Self { socket: TcpStream::connect(server.starttls).await.unwrap(), unread: String::new() }
    }

    /// Logged in by PLAIN, bound, and alone.
    pub(crate) async fn logged_in(server: &TestServer, user: &str, resource: &str) -> Self {
        use base64::Engine;
        let mut raw = Self::connect(server).await;
        raw.say(&header()).await;
        raw.hear("</stream:features>").await;
        let token = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{user}-password"));
        raw.say(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>"))
            .await;
        raw.hear("<success").await;
        raw.say(&header()).await;
        raw.hear("</stream:features>").await;
        raw.say(&format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
        ))
        .await;
        raw.hear("</iq>").await;
        raw
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and including `end`.
    pub(crate) async fn hear(&mut self, end: &str) -> String {
        let reading = async {
            loop {
                if let Some(at) = self.unread.find(end) {
                    let rest = self.unread.split_off(at + end.len());
                    return std::mem::replace(&mut self.unread, rest);
                }
                assert!(self.read().await, "closed before {end:?}: {}", self.unread);
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("never heard {end:?}"))
    }

    /// Everything until the server closes the stream or the connection.
    pub(crate) async fn hear_all(&mut self) -> String {
        let reading = async { while !self.unread.contains("</stream:stream>") && self.read().await {} };
        tokio::time::timeout(DEADLINE, reading).await.expect("the server does not close the connection");
        std::mem::take(&mut self.unread)
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer).await {
            // A server that closes while we still send resets the connection.
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.unread.push_str(&String::from_utf8_lossy(&buffer[..n]));
                true
            }
        }
    }
}
