//! `anabranch agent` with `wire = "wps-remote"`: an agent for GeoServer's WPS Remote module.

use crate::terminal;
use anabranch_remote::{AgentService, LoadSource, Sessions, WpsRemoteAgent, WpsRemoteSettings};
use anabranch_xmpp::client::ClientConfig;
use anabranch_xmpp::{Bus, ClientError, RoomJoin};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sessions of one account at one XMPP server.
struct Account(ClientConfig);

impl Sessions for Account {
    fn open(&self, resource: &str, room: RoomJoin) -> Result<Bus, ClientError> {
        let (resource, rooms) = (resource.to_owned(), vec![room]);
        anabranch_xmpp::client::connect(ClientConfig { resource, rooms, ..self.0.clone() })
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// Where a service can't be offered in this form, or a session is refused for good.
pub(crate) async fn run(
    config: ClientConfig,
    settings: WpsRemoteSettings,
    offered: watch::Receiver<Vec<AgentService>>,
    load: Arc<dyn LoadSource>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    for service in offered.borrow().iter() {
        settings.check(&service.process.description(), &service.uploaded)?;
    }
    let (host, port) = (&config.host, config.port);
    terminal::line(format_args!("agent {}: connecting to {host}:{port}", settings.host));
    let sessions = Arc::new(Account(config));
    WpsRemoteAgent::run(sessions, offered, settings, load, shutdown).await?;
    Ok(())
}
