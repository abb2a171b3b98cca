//! `anabranch agent`: announces service files and runs them.

use crate::accounts::ORCHESTRATOR;
use crate::agent_config::{AgentFile, Wire, processors};
use crate::agent_data::HttpData;
use crate::cli;
use crate::folder::Folder;
use crate::join::Join;
use crate::load::{Drained, MachineLoad};
use crate::offering::Offering;
use crate::uploading::Uploads;
use crate::{local_services, signals, terminal, wps_remote_agent};
use anabranch_command::remove_stale_links;
use anabranch_remote::{Agent, AgentService, AgentSettings, LoadSource, Profile};
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Security, Timing};
use anabranch_xmpp::{RoomJoin, Trust};
use anyhow::{Context as _, anyhow, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest pause between tries to reach the server: short, because runs may be waiting to be reported, and an XMPP server bears
/// a try a second from each of its agents.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often the configuration is looked at.
const REREAD_PERIOD: Duration = Duration::from_secs(1);

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
    ensure!(
        arguments.join.is_none() || !config.as_ref().is_some_and(AgentFile::has_session),
        "--join and the configuration both say where to log in"
    );
    ensure!(arguments.capacity != Some(0), "--capacity must be at least 1");
    let profile = match &config {
        Some(config) => config.profile(arguments.capacity),
        None => Profile { capacity: arguments.capacity.unwrap_or_else(processors), labels: Vec::new() },
    };
    let folder = match &arguments.work {
        Some(folder) => folder.clone(),
        None => arguments.data.folder().join("runs").join(&name),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("can't make the folder for runs {}", folder.display()))?;
    let folder = std::fs::canonicalize(&folder)?;
    remove_stale_links(&services.services(), &folder);
    let offering = Offering::new(services.services(), uploads, profile);
    let offered = offering.offered.subscribe();
    if offered.borrow().is_empty() {
        let folder = arguments.services.display();
        terminal::note(format_args!("no service file in {folder} can be published: waiting for one"));
    }
    for service in &*offered.borrow() {
        terminal::line(format_args!("offering {}", service.process.description().id));
    }
    let rooms = namespaces(&offered.borrow());
    let watching = local_services::watch(services, |services| {
        tracing::info!(services = services.len(), "the services folder has changed");
        offering.replace(services);
    });
    let rules = config.as_ref().map(AgentFile::rules).unwrap_or_default();
    let machine = MachineLoad::new(rules);
    let measuring = Arc::clone(&machine).watch();
    let rereading = reread(arguments.config.as_deref(), |config| {
        machine.set_rules(config.rules());
        offering.set_profile(config.profile(arguments.capacity));
    });
    let data = Arc::new(HttpData::new(arguments.ca.clone()));
    let serving = async {
        let machine = Arc::clone(&machine);
        let profile = offering.profile.clone();
        let settings =
            AgentSettings { profile, drain, ..AgentSettings::new(Vec::new(), name.clone(), folder) };
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
        () = rereading => Ok(()),
    }
}

/// Tells of a configuration file each time it has changed, for ever. One that is wrong then is passed over.
async fn reread(file: Option<&Path>, mut tell: impl FnMut(AgentFile)) {
    let Some(file) = file else { return std::future::pending().await };
    let modified = || std::fs::metadata(file).ok()?.modified().ok();
    let mut before = modified();
    loop {
        tokio::time::sleep(REREAD_PERIOD).await;
        let now = modified();
        if now.is_none() || std::mem::replace(&mut before, now) == now {
            continue;
        }
        match AgentFile::load(file) {
            Ok(config) => {
                tracing::info!(file = %file.display(), "capacity, labels and the rules for load have been read again");
                tell(config);
            }
            Err(error) => {
                tracing::error!("capacity, labels and the rules for load stay as they were: {error:#}")
            }
        }
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

    #[tokio::test]
    async fn the_configuration_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "capacity = 2").unwrap();
        let (profiles, mut told) = watch::channel(None);
        let reading = reread(Some(&path), |config| drop(profiles.send_replace(Some(config.profile(None)))));
        let changing = async {
            for seconds in 1.. {
                std::fs::write(&path, "capacity = 3\nlabels = [\"gpu\"]").unwrap();
                // Seconds are all that some file systems tell of the time of a change.
                let later = std::time::SystemTime::now() + Duration::from_secs(seconds);
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
                if tokio::time::timeout(REREAD_PERIOD, told.changed()).await.is_ok() {
                    break;
                }
            }
            let profile = Profile { capacity: 3, labels: vec!["gpu".into()] };
            assert_eq!(*told.borrow_and_update(), Some(profile));
        };
        tokio::select! {
            () = reading => {}
            () = changing => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it has not been read again"),
        }
    }
}
