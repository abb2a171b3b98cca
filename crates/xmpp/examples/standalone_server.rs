//! The server by itself, for trying other XMPP clients and libraries against it:
//! `cargo run --example standalone_server -- 5222 5223`. Accounts `orch`, `ann` and `bob`, each with its name and
//! `-password`; room `jobs@conference.localhost` with password `room-password`.

use std::error::Error;
use std::sync::Arc;

use anabranch_xmpp::Identity;
use anabranch_xmpp::server::{Limits, Listeners, MemoryAccounts, RoomConfig, Server, ServerConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let (starttls, direct_tls) = (ports.next().unwrap_or(Ok(5222))?, ports.next().unwrap_or(Ok(5223))?);
    let listeners = Listeners {
        starttls: vec![TcpListener::bind(("127.0.0.1", starttls)).await?],
        direct_tls: vec![TcpListener::bind(("127.0.0.1", direct_tls)).await?],
    };
    let accounts = [("orch", "orch-password"), ("ann", "ann-password"), ("bob", "bob-password")];
    // Load comes from one address and one account.
    let limits =
        Limits { connections_per_address_max: 2048, sessions_per_account_max: 2048, ..Limits::default() };
    let config = ServerConfig {
        domain: "localhost".into(),
        rooms: vec![RoomConfig::new("jobs", Some("room-password"))],
        create_rooms: true,
        owners: vec!["orch".into()],
        accounts: Arc::new(MemoryAccounts::with_passwords(accounts)),
        identity: Some(Identity::generate(&["localhost".to_owned()])?),
        plaintext_login: true,
        software_name: "standalone_server".into(),
        software_version: env!("CARGO_PKG_VERSION").into(),
        limits,
    };
    let shutdown = CancellationToken::new();
    let server = Server::start(config, listeners, shutdown.clone())?;
    tokio::signal::ctrl_c().await?;
    shutdown.cancel();
    server.stopped().await;
    Ok(())
}
