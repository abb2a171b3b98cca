//! `anabranch agent`: announces service files and runs them.

use crate::accounts::ORCHESTRATOR;
use crate::agent_config::{AgentFile, Wire};
use crate::agent_data::HttpData;
use crate::cli;
use crate::folder::Folder;
use crate::join::Join;
use crate::load::{Drained, MachineLoad, RulesFile};
use crate::uploading::Uploads;
use crate::{local_services, signals, terminal, wps_remote_agent};
use anabranch_command::{Service, remove_stale_links};
use anabranch_remote::{Agent, AgentService, AgentSettings, LoadSource};
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::{RoomJoin, Trust};
use anyhow::{Context as _, anyhow, ensure};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest pause between tries to reach the server: short, because runs may be waiting to be reported, and an XMPP server bears
/// a try a second from each of its agents.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The namespace of services that name none.
const NAMESPACE_DEFAULT: &str = "default";

/// Runs an agent until a signal asks it to stop.
///
/// # Errors
/// Where it can't be started, or is refused for good: password, certificate, room.
pub(crate) async fn agent(arguments: &cli::Agent) -> anyhow::Result<()> {
    let shutdown = signals::shutdown_token()?;
    let drain = signals::drain_switch()?;
    let name = arguments.name.clone().unwrap_or_else(host_name);
    check_name(&name)?;
    let services = local_services::open(&arguments.services)?;
    let config = arguments.config.as_deref().map(AgentFile::load).transpose()?;
    let uploads = match &config {
        Some(config) => {
            Uploads { uploader: config.uploader()?.map(Arc::new), shared_folder: config.has_shared_folder() }
        }
        None => Uploads::none(),
    };
    let offered_first = offer(&services.services(), &uploads);
    if offered_first.is_empty() {
        let folder = arguments.services.display();
        terminal::note(format_args!("no service file in {folder} can be published: waiting for one"));
    }
    for service in &offered_first {
        terminal::line(format_args!("offering {}", service.process.description().id));
    }

    ensure!(
        arguments.join.is_none() || !config.as_ref().is_some_and(AgentFile::has_session),
        "--join and the configuration both say where to log in"
    );
    let labels = config.as_ref().map(AgentFile::labels).unwrap_or_default();
    let capacity = config.as_ref().and_then(AgentFile::capacity);
    let capacity = arguments.capacity.or(capacity).unwrap_or_else(processors);
    ensure!(capacity > 0, "--capacity must be at least 1");
    let folder = match &arguments.work {
        Some(folder) => folder.clone(),
        None => arguments.data.folder().join("runs").join(&name),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("can't make the folder for runs {}", folder.display()))?;
    let folder = std::fs::canonicalize(&folder)?;
    remove_stale_links(&services.services(), &folder);
    let rooms = namespaces(&offered_first);
    let whole = |services: Vec<AgentService>| within(services, capacity);
    let (sender, offered) = watch::channel(whole(offered_first));
    let watching = local_services::watch(services, |services| {
        tracing::info!(services = services.len(), "the services folder has changed");
        sender.send_replace(whole(offer(&services, &uploads)));
    });
    let rules = config.as_ref().map(AgentFile::rules).unwrap_or_default();
    let machine = MachineLoad::new(rules);
    let measuring = Arc::clone(&machine).watch(
        arguments
            .config
            .clone()
            .map(|path| RulesFile { path, read: |file| AgentFile::load(file).map(|config| config.rules()) }),
    );
    let data = Arc::new(HttpData::new(arguments.ca.clone()));
    let serving = async {
        let settings =
            AgentSettings { capacity, labels, drain, ..AgentSettings::new(Vec::new(), name.clone(), folder) };
        match config {
            Some(config) if config.wire() == Wire::WpsRemote => {
                let load = Arc::new(Drained { machine, drain: settings.drain.clone() });
                let (config, settings) = config.wps_remote(&rooms, settings, backoff())?;
                wps_remote_agent::run(config, settings, offered, load, shutdown).await
            }
            Some(config) if config.has_session() => {
                let (config, orchestrator) = config.session(&name, &rooms, backoff())?;
                serve(config, orchestrator, settings, data, offered, machine, shutdown).await
            }
            Some(_) | None => {
                let (config, orchestrator) = session(arguments, &name)?;
                serve(config, orchestrator, settings, data, offered, machine, shutdown).await
            }
        }
    };
    tokio::select! {
        ended = serving => ended,
        () = watching => Ok(()),
        () = measuring => Ok(()),
    }
}

/// Serves an Anabranch server.
async fn serve(
    config: ClientConfig,
    orchestrator_account: String,
    settings: AgentSettings,
    data: Arc<HttpData>,
    offered: watch::Receiver<Vec<AgentService>>,
    load: Arc<dyn LoadSource>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let settings = AgentSettings {
        orchestrator_nick: orchestrator_account.split('@').next().unwrap_or(ORCHESTRATOR).to_owned(),
        orchestrator_account: Some(orchestrator_account),
        ..settings
    };
    terminal::line(format_args!(
        "agent {}: connecting to {}:{}",
        settings.instance, config.host, config.port
    ));
    let bus = anabranch_xmpp::client::connect(config)?;
    Agent::run(bus, offered, settings, data, load, shutdown).await?;
    Ok(())
}

fn offer(services: &[Arc<Service>], uploads: &Uploads) -> Vec<AgentService> {
    let uploaded = |service: &Service| match &uploads.uploader {
        Some(_) => uploads.of(service),
        None => Vec::new(),
    };
    let offer = |service: &Arc<Service>| AgentService {
        process: local_services::process(service, uploads),
        runs_max: service.capacity.runs,
        weight: slots(service.capacity.weight),
        uploaded: uploaded(service),
    };
    services.iter().map(offer).collect()
}

/// What weighs more than the machine can take, takes it whole: weights of WPS Remote count against a capacity of 100.
fn within(mut services: Vec<AgentService>, capacity: u32) -> Vec<AgentService> {
    for service in services.iter_mut().filter(|service| service.weight > capacity) {
        let id = &service.process.description().id;
        tracing::warn!(process.id = %id, weight = service.weight, capacity, "a run takes the whole capacity");
        service.weight = capacity;
    }
    services
}

/// The namespaces of services, for which WPS Remote has a room each; with nothing to offer yet the usual one.
fn namespaces(services: &[AgentService]) -> Vec<String> {
    let of = |service: &AgentService| {
        let id = service.process.description().id.to_string();
        id.split_once(':').map(|(namespace, _)| namespace.to_owned())
    };
    let mut namespaces: Vec<String> = services.iter().filter_map(of).collect();
    namespaces.sort();
    namespaces.dedup();
    if namespaces.is_empty() { vec![NAMESPACE_DEFAULT.to_owned()] } else { namespaces }
}

/// A service's weight in whole slots: what weighs anything takes one at least.
fn slots(weight: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and clamped")]
    let slots = weight.ceil().clamp(1.0, 1_000_000.0) as u32;
    slots
}

fn processors() -> u32 {
    std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()).unwrap_or(1)
}

fn host_name() -> String {
    sysinfo::System::host_name().ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "agent".into())
}

/// The name becomes a nickname, a resource and a folder.
fn check_name(name: &str) -> anyhow::Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        !name.is_empty() && name.len() <= 100 && name.chars().all(good) && !name.starts_with('.'),
        "--name has 1 to 100 letters, digits, - _ . and does not begin with a dot; it is {name:?}"
    );
    ensure!(name != ORCHESTRATOR, "--name {name:?} is the server's own");
    Ok(())
}

/// Where to log in without a configuration file, and the bare JID of the server's account.
fn session(arguments: &cli::Agent, name: &str) -> anyhow::Result<(ClientConfig, String)> {
    let line = match &arguments.join {
        Some(line) => line.clone(),
        None => local_line(arguments)?,
    };
    let join = Join::parse(&line)?;
    let pin = join.pin.parse().map_err(|error| anyhow!("the certificate pin of the --join URL: {error}"))?;
    let orchestrator = format!("{ORCHESTRATOR}@{}", join.domain);
    let config = ClientConfig {
        host: join.host,
        port: join.port,
        domain: join.domain,
        user: join.account,
        password: join.secret,
        resource: name.to_owned(),
        security: Security::StartTls(Trust::Fingerprint(pin)),
        rooms: vec![RoomJoin { room: join.room, nick: name.to_owned(), password: Some(join.room_password) }],
        timing: Timing::default(),
        limits: ClientLimits::default(),
        backoff: backoff(),
    };
    Ok((config, orchestrator))
}

fn backoff() -> Backoff {
    Backoff::new(RECONNECT_PAUSE_MAX)
}

/// The line that the server on this machine keeps in its data folder.
fn local_line(arguments: &cli::Agent) -> anyhow::Result<String> {
    let folder: PathBuf = arguments.data.folder();
    let path = Folder::open(&folder)?.local_join();
    std::fs::read_to_string(&path).with_context(|| {
        format!(
            "no server has run with the data folder {}: start `anabranch serve` first, or give --join for a server on another machine",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_nicknames_and_folders() {
        for good in ["a", "field-1", "host.example.org"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "orchestrator", &"x".repeat(101)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weights_are_whole_slots() {
        assert_eq!([0.0, 0.5, 1.0, 1.5, 4.0].map(slots), [1, 1, 1, 2, 4]);
    }
}
