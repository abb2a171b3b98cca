//! The agent's configuration file, for any XMPP server; see `examples/agent.toml`.

use crate::config::{Tls, check_labels};
use crate::load::rules::Rules;
use crate::remote_config::{self, RemoteConfig};
use crate::upload_server::UploadServer;
use crate::xmpp_session;
use anabranch_command::Dialect;
use anabranch_delivery::Uploader;
use anabranch_remote::message::LABELS_MAX;
use anabranch_remote::{AgentSettings, Profile, WpsRemoteSettings};
use anabranch_xmpp::RoomJoin;
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Timing};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration file of an agent, in whichever form.
pub(crate) enum AgentFile {
    /// A session only where the file names one.
    Own(Option<AgentConfig>, Machine),
    /// WPS Remote's `remote.config`.
    Remote(RemoteConfig),
}

impl AgentFile {
    /// Reads a file; paths in it are relative to it.
    ///
    /// # Errors
    /// Names the file and its faults.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        if Dialect::of(file, &text) != Dialect::AgentConfiguration {
            let (session, mut machine) =
                parse(&text).with_context(|| format!("agent configuration {}", file.display()))?;
            let folder = file.parent().unwrap_or_else(|| Path::new("."));
            machine.upload = machine.upload.map(|upload| upload.relative_to(folder));
            return Ok(Self::Own(session.map(|session| session.relative_to(file)), machine));
        }
        let read = remote_config::read(file, &text);
        for warning in &read.warnings {
            tracing::warn!("{warning}");
        }
        let faults: Vec<String> = read.faults.iter().map(ToString::to_string).collect();
        read.config.map(Self::Remote).with_context(|| format!("agent configuration:\n{}", faults.join("\n")))
    }

    pub(crate) fn wire(&self) -> Wire {
        match self {
            Self::Own(config, _) => config.as_ref().map_or(Wire::Native, |config| config.wire),
            Self::Remote(config) => config.wire,
        }
    }

    /// What its owner says of the machine; `capacity` wins over the file.
    pub(crate) fn profile(&self, capacity: Option<u32>) -> Profile {
        let (said, labels) = match self {
            Self::Own(_, machine) => (machine.capacity, machine.labels.clone()),
            Self::Remote(config) => (Some(config.capacity), Vec::new()),
        };
        Profile { capacity: capacity.or(said).unwrap_or_else(processors), labels }
    }

    /// What uploads outputs, where the file says where to.
    ///
    /// # Errors
    /// Where that can't be used.
    pub(crate) fn uploader(&self) -> anyhow::Result<Option<Uploader>> {
        let server = match self {
            Self::Own(_, machine) => machine.upload.as_ref(),
            Self::Remote(config) => config.uploader.as_ref(),
        };
        server.map(UploadServer::uploader).transpose()
    }

    /// Whether outputs go to a folder that the server shares.
    pub(crate) fn has_shared_folder(&self) -> bool {
        match self {
            Self::Own(config, _) => config.as_ref().is_some_and(|config| config.shared_folder.is_some()),
            Self::Remote(config) => config.wire == Wire::WpsRemote && config.shared_folder.is_some(),
        }
    }

    /// When the machine takes no more runs.
    pub(crate) fn rules(&self) -> Rules {
        match self {
            Self::Own(_, machine) => machine.load.clone(),
            Self::Remote(config) => config.rules.clone(),
        }
    }

    /// Whether it says where to log in.
    pub(crate) fn has_session(&self) -> bool {
        !matches!(self, Self::Own(None, _))
    }

    /// The session it describes, and the server's account. `namespaces` are those of the services that are offered.
    pub(crate) fn session(
        self,
        name: &str,
        namespaces: &[String],
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, String)> {
        match self {
            Self::Own(config, _) => config.context(NO_SESSION)?.session(name, backoff),
            Self::Remote(config) => config.session(name, namespaces, backoff),
        }
    }

    /// The sessions it describes, but for their resources and rooms, and what an agent of WPS Remote has to know.
    pub(crate) fn wps_remote(
        self,
        namespaces: &[String],
        agent: AgentSettings,
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, WpsRemoteSettings)> {
        let AgentSettings { instance, profile, folder, .. } = agent;
        let capacity = profile.borrow().capacity;
        match self {
            Self::Own(config, _) => {
                config.context(NO_SESSION)?.wps_remote(&instance, capacity, folder, backoff)
            }
            Self::Remote(config) => config.wps_remote(&instance, namespaces, capacity, folder, backoff),
        }
    }
}

/// Slots of a machine of which nothing is said.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()).unwrap_or(1)
}

/// What may be said of an agent's machine, whatever server it works for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Machine {
    /// Slots for runs, all services together.
    capacity: Option<u32>,
    labels: Vec<String>,
    load: Rules,
    /// Where outputs of its services are uploaded.
    upload: Option<UploadServer>,
}

impl Machine {
    const KEYS: [&str; 4] = ["capacity", "labels", "load", "upload"];

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.capacity != Some(0), "capacity must be at least 1");
        ensure!(self.labels.len() <= LABELS_MAX, "labels must not be more than {LABELS_MAX}");
        check_labels("labels", &self.labels)?;
        self.upload.as_ref().map_or(Ok(()), UploadServer::check)?;
        self.load.check()
    }
}

const NO_SESSION: &str = "the configuration does not say where to log in";

/// Checks the text of a file of our own.
pub(crate) fn parse(text: &str) -> anyhow::Result<(Option<AgentConfig>, Machine)> {
    let mut session: toml::Table = toml::from_str(text)?;
    let of_machine = Machine::KEYS.iter().filter_map(|key| session.remove_entry(*key)).collect();
    let machine: Machine = toml::Table::try_into(of_machine)?;
    machine.check()?;
    let session = if session.is_empty() { None } else { Some(session.try_into()?) };
    Ok((session, machine))
}

/// Where an agent logs in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentConfig {
    host: String,
    port: u16,
    tls: Tls,
    /// `name@domain`.
    account: String,
    password_file: PathBuf,
    /// `roots`, `sha256:HEX`, or the path of a PEM file.
    #[serde(default = "roots")]
    certificate: String,
    /// Bare JIDs.
    rooms: Vec<String>,
    #[serde(default)]
    room_password_file: Option<PathBuf>,
    /// `name@domain` of the server's account.
    orchestrator: String,
    /// What is spoken there.
    #[serde(default)]
    pub(crate) wire: Wire,
    /// See [`WpsRemoteSettings::shared_folder`].
    #[serde(default)]
    shared_folder: Option<PathBuf>,
    /// How long results stay there; for ever where absent.
    #[serde(default)]
    shared_keep_hours: Option<u32>,
}

/// As time.
pub(crate) fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}

/// A wire form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// Of an Anabranch server.
    #[default]
    Native,
    /// Of GeoServer's WPS Remote.
    WpsRemote,
}

fn roots() -> String {
    "roots".into()
}

impl AgentConfig {
    fn relative_to(mut self, file: &Path) -> Self {
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        self.password_file = folder.join(self.password_file);
        self.room_password_file = self.room_password_file.map(|path| folder.join(path));
        self
    }

    /// The session it describes, and the server's account.
    pub(crate) fn session(self, name: &str, backoff: Backoff) -> anyhow::Result<(ClientConfig, String)> {
        ensure!(self.shared_folder.is_none(), "shared_folder is for wire = \"wps-remote\" only");
        let (user, domain) = xmpp_session::split_account(&self.account)?;
        xmpp_session::split_account(&self.orchestrator).context("orchestrator")?;
        let room_password = self.room_password_file.as_deref().map(xmpp_session::read_secret).transpose()?;
        let join = |room: String| RoomJoin { room, nick: name.to_owned(), password: room_password.clone() };
        let config = ClientConfig {
            security: xmpp_session::security(self.tls, &self.certificate, &self.host)?,
            host: self.host,
            port: self.port,
            domain,
            user,
            password: xmpp_session::read_secret(&self.password_file)?,
            resource: name.to_owned(),
            rooms: self.rooms.into_iter().map(join).collect(),
            timing: Timing::default(),
            limits: ClientLimits::default(),
            backoff,
        };
        Ok((config, self.orchestrator))
    }
}

impl AgentConfig {
    /// The sessions it describes, but for their resources and rooms, and what an agent of WPS Remote has to know.
    pub(crate) fn wps_remote(
        mut self,
        name: &str,
        capacity: u32,
        folder: PathBuf,
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, WpsRemoteSettings)> {
        let shared_folder = self.shared_folder.take();
        if let Some(folder) = &shared_folder {
            ensure!(folder.is_absolute(), "shared_folder must be an absolute path, not {folder:?}");
        }
        ensure!(self.shared_keep_hours != Some(0), "shared_keep_hours must be at least 1");
        let shared_keep = self.shared_keep_hours.map(hours);
        let rooms = self.rooms.clone();
        let (config, orchestrator) = self.session(name, backoff)?;
        let settings = WpsRemoteSettings {
            rooms,
            room_password: config.rooms.first().and_then(|room| room.password.clone()),
            domain: config.domain.clone(),
            host: name.to_owned(),
            orchestrator,
            capacity,
            folder,
            shared_folder,
            shared_keep,
            shutdown: AgentSettings::SHUTDOWN,
        };
        Ok((config, settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_complete() {
        let (config, machine) = parse(include_str!("../../../examples/agent.toml")).unwrap();
        let config = config.unwrap();
        assert_eq!(config.tls, Tls::Starttls);
        assert_eq!(config.wire, Wire::Native);
        assert_eq!((machine.capacity, machine.labels), (Some(8), vec!["data:landsat".into(), "gpu".into()]));
        assert_eq!(machine.load.cpu_percent_max, Some(90.0));
        assert_eq!(machine.load.blacklist.len(), 1);
        assert!(parse("hots = 1").is_err());
    }

    #[test]
    fn a_machine_may_be_described_without_a_session() {
        let (session, machine) = parse("labels = [\"gpu\"]\n[load]\nmemory_percent_max = 80").unwrap();
        assert!(session.is_none());
        assert_eq!(machine.load.memory_percent_max, Some(80.0));
        let error = |text| format!("{:#}", parse(text).unwrap_err());
        assert!(error("labels = [\"a b\"]").contains("not \"a b\""));
        assert!(error("[load]\nwindow = 1").contains("window"));
        assert!(error("capacity = 0").contains("at least 1"));
    }

    #[test]
    fn the_example_for_geoserver_is_complete() {
        let (config, _) = parse(include_str!("../../../examples/agent-geoserver.toml")).unwrap();
        let mut config = config.unwrap();
        assert_eq!((config.wire, config.tls), (Wire::WpsRemote, Tls::Direct));
        let temp = tempfile::tempdir().unwrap();
        let password = temp.path().join("password");
        std::fs::write(&password, "secret").unwrap();
        (config.password_file, config.room_password_file) = (password.clone(), Some(password));
        let (_, settings) = config.wps_remote("vm", 2, temp.path().into(), Backoff::default()).unwrap();
        assert_eq!((settings.domain.as_str(), settings.host.as_str()), ("geoserver.org", "vm"));
        assert_eq!(settings.room_password.as_deref(), Some("secret"));
    }
}
