//! The agent's configuration file, for any XMPP server; see `examples/agent.toml`.

use crate::config::Tls;
use crate::load::Reread;
use crate::remote_config::{self, RemoteConfig};
use crate::xmpp_session;
use anabranch_command::Dialect;
use anabranch_remote::{AgentSettings, WpsRemoteSettings};
use anabranch_xmpp::RoomJoin;
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Timing};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A configuration file of an agent, in whichever form.
pub(crate) enum AgentFile {
    Own(AgentConfig),
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
            return AgentConfig::load(file).map(Self::Own);
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
            Self::Own(config) => config.wire,
            Self::Remote(config) => config.wire,
        }
    }

    /// Slots for runs, where the file says how many.
    pub(crate) fn capacity(&self) -> Option<u32> {
        match self {
            Self::Own(_) => None,
            Self::Remote(config) => Some(config.capacity),
        }
    }

    /// When the machine takes no more runs, beside its slots, as `file` says at each moment.
    pub(crate) fn rules(file: Option<&Path>) -> Reread {
        let Some(file) = file.map(Path::to_owned) else { return Box::new(|| None) };
        Box::new(move || {
            let text = std::fs::read_to_string(&file).ok()?;
            let is_remote = Dialect::of(&file, &text) == Dialect::AgentConfiguration;
            is_remote.then(|| remote_config::read(&file, &text).config)?.map(|config| config.rules)
        })
    }

    /// The session it describes, and the server's account. `namespaces` are those of the services that are offered.
    pub(crate) fn session(
        self,
        name: &str,
        namespaces: &[String],
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, String)> {
        match self {
            Self::Own(config) => config.session(name, backoff),
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
        let AgentSettings { instance, capacity, folder, .. } = agent;
        match self {
            Self::Own(config) => config.wps_remote(&instance, capacity, folder, backoff),
            Self::Remote(config) => config.wps_remote(&instance, namespaces, capacity, folder, backoff),
        }
    }
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
    /// Reads a file; paths in it are relative to it.
    ///
    /// # Errors
    /// Names the file, the key and the fault.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let mut config =
            Self::parse(&text).with_context(|| format!("agent configuration {}", file.display()))?;
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        config.password_file = folder.join(config.password_file);
        config.room_password_file = config.room_password_file.map(|path| folder.join(path));
        Ok(config)
    }

    /// Checks a text.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
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
        let config = AgentConfig::parse(include_str!("../../../examples/agent.toml")).unwrap();
        assert_eq!(config.tls, Tls::Starttls);
        assert_eq!(config.wire, Wire::Native);
        assert!(AgentConfig::parse("hots = 1").is_err());
    }

    #[test]
    fn the_example_for_geoserver_is_complete() {
        let mut config = AgentConfig::parse(include_str!("../../../examples/agent-geoserver.toml")).unwrap();
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
