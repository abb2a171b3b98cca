//! The embedded XMPP server: within `anabranch serve`, or by `anabranch xmpp` as a process of its own, for several servers or for
//! restarts of the one without losing the other.

use crate::accounts::{self, FileAccounts, LOCAL_ACCOUNT, ORCHESTRATOR};
use crate::cli;
use crate::config::{Config, Xmpp};
use crate::folder::{Folder, write_private};
use crate::join::Join;
use crate::serve::bind;
use crate::{signals, terminal};
use anabranch_xmpp::server::{
    AccountStore as _, Limits, Listeners, RoomConfig, Server, ServerConfig, ServerHandle,
};
use anabranch_xmpp::{Identity, RoomJoin};
use anyhow::ensure;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at whose account has been taken away.
const REVOKED_LOOK: Duration = Duration::from_millis(500);

/// A running server.
pub(crate) struct Embedded {
    pub(crate) handle: ServerHandle,
    /// The rooms where agents and server meet, the main one first; the nick is to be chosen.
    pub(crate) rooms: Vec<RoomJoin>,
    /// Domain of the rooms.
    conference: String,
    /// Where this machine reaches its STARTTLS port.
    address: SocketAddr,
    /// SHA-256 of its certificate, in hexadecimal.
    pin: String,
}

/// Starts it with the accounts of the data folder, and writes the line by which agents on this machine join.
///
/// # Errors
/// Where ports, certificate or accounts can't be had.
pub(crate) async fn start(
    config: &Xmpp,
    folder: &Folder,
    shutdown: CancellationToken,
) -> anyhow::Result<Embedded> {
    let room_password = folder.secret("xmpp/room-password")?;
    let identity = Identity::load_or_create(&folder.xmpp(), std::slice::from_ref(&config.domain))?;
    let starttls = bind(config.listen, "XMPP").await?;
    let direct_tls = bind(config.listen_tls, "XMPP with direct TLS").await?;
    let address = loopback_of(starttls.local_addr()?);
    let accounts = Arc::new(FileAccounts::new(folder));
    let server = ServerConfig {
        domain: config.domain.clone(),
        rooms: config.all_rooms().map(|room| RoomConfig::new(room, Some(&room_password))).collect(),
        create_rooms: false,
        owners: vec![ORCHESTRATOR.into()],
        accounts: Arc::clone(&accounts) as _,
        identity: Some(identity.clone()),
        plaintext_login: config.plaintext_login,
        software_name: "Anabranch".into(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        limits: Limits::default(),
    };
    let conference = server.rooms_domain();
    let pin = identity.fingerprint()?.to_string();
    let join = Join {
        account: LOCAL_ACCOUNT.into(),
        secret: String::new(),
        host: address.ip().to_string(),
        port: address.port(),
        domain: config.domain.clone(),
        room: format!("{}@{conference}", config.room),
        room_password: room_password.clone(),
        pin: pin.clone(),
    };
    renew_local_join(folder, join)?;
    let listeners = Listeners { starttls: vec![starttls], direct_tls: vec![direct_tls] };
    let handle = Server::start(server, listeners, shutdown.clone())?;
    let ending = end_revoked(handle.clone(), accounts);
    tokio::spawn(shutdown.run_until_cancelled_owned(ending));
    let join = |room: &str| RoomJoin {
        room: format!("{room}@{conference}"),
        nick: String::new(),
        password: Some(room_password.clone()),
    };
    let rooms = config.all_rooms().map(join).collect();
    Ok(Embedded { handle, rooms, conference, address, pin })
}

/// Ends the sessions of accounts that have been taken away.
async fn end_revoked(handle: ServerHandle, accounts: Arc<FileAccounts>) {
    loop {
        tokio::time::sleep(REVOKED_LOOK).await;
        let (sessions, known) = (handle.sessions(), Arc::clone(&accounts));
        // Sessions within this process need no account. The accounts may be read from their file.
        let revoked = tokio::task::spawn_blocking(move || {
            let is_revoked = |user: &String| known.keys(user).is_none();
            let users =
                sessions.into_iter().filter(|session| session.address.is_some()).map(|session| session.user);
            users.filter(is_revoked).collect::<BTreeSet<_>>()
        });
        for user in revoked.await.unwrap_or_default() {
            let ended = handle.disconnect(&user);
            tracing::warn!(user, ended, "an agent's account was revoked: its sessions are ended");
        }
    }
}

/// `anabranch xmpp`: runs it until a signal asks it to stop. Writes a configuration by which servers come to it.
///
/// # Errors
/// As [`start`], or where the configuration is for another XMPP server.
pub(crate) async fn xmpp(arguments: &cli::Xmpp) -> anyhow::Result<()> {
    let mut config = Config::load(arguments.config.as_deref())?;
    arguments.xmpp.overlay(&mut config.xmpp);
    let config = config.xmpp;
    ensure!(
        config.external.is_none(),
        "the configuration has [xmpp.external]: `anabranch xmpp` is that server"
    );
    let shutdown = signals::shutdown_token()?;
    let folder = Folder::open(&arguments.data.folder())?;
    let password = folder.secret(ORCHESTRATOR_PASSWORD)?;
    accounts::set(&folder, ORCHESTRATOR, &password)?;
    let embedded = start(&config, &folder, shutdown.clone()).await?;
    let external = folder.path().join("external.toml");
    write_private(&external, &external_toml(&config, &folder, &embedded))?;
    terminal::line(format_args!("XMPP at {}", embedded.address));
    terminal::line(format_args!("anabranch serve --config {}", external.display()));
    tracing::info!(address = %embedded.address, data = %folder.path().display(), "ready");
    shutdown.cancelled().await;
    embedded.handle.stopped().await;
    tracing::info!("stopped");
    Ok(())
}

/// File of the password of the account that servers log in with.
const ORCHESTRATOR_PASSWORD: &str = "xmpp/orchestrator-password";

fn external_toml(config: &Xmpp, folder: &Folder, embedded: &Embedded) -> String {
    let file = |name: &str| toml::Value::from(folder.path().join(name).display().to_string());
    let (host, port) = (embedded.address.ip(), embedded.address.port());
    format!(
        "# Written by `anabranch xmpp` at each start: how `anabranch serve` on this machine comes to it.\n\
         [xmpp]\nroom = {room}\nservice_rooms = {service_rooms}\n\n[xmpp.external]\nhost = \"{host}\"\nport = {port}\ntls = \"starttls\"\n\
         account = \"{ORCHESTRATOR}@{domain}\"\npassword_file = {password}\nconference = \"{conference}\"\n\
         room_password_file = {room_password}\ncertificate = \"sha256:{pin}\"\n",
        room = toml::Value::from(config.room.clone()),
        service_rooms = toml::Value::from(config.service_rooms.clone()),
        domain = config.domain,
        password = file(ORCHESTRATOR_PASSWORD),
        conference = embedded.conference,
        room_password = file("xmpp/room-password"),
        pin = embedded.pin,
    )
}

/// The address under which this machine reaches a listener.
fn loopback_of(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Writes the line by which agents on this machine join. The secret is kept over restarts, so that agents that are already
/// running come back; ports and certificate are those of now.
fn renew_local_join(folder: &Folder, mut join: Join) -> anyhow::Result<()> {
    let known = std::fs::read_to_string(folder.local_join()).ok().and_then(|line| Join::parse(&line).ok());
    join.secret = match known {
        Some(known) if known.account == LOCAL_ACCOUNT => known.secret,
        _ => accounts::create(folder, LOCAL_ACCOUNT)?,
    };
    write_private(&folder.local_join(), &join.to_string())
}
