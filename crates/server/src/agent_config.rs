//! The agent's configuration file, for any XMPP server; see `examples/agent.toml`.

use crate::config::Tls;
use crate::xmpp_session;
use anabranch_xmpp::RoomJoin;
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Timing};
use anyhow::Context as _;
use serde::Deserialize;
use std::path::{Path, PathBuf};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_complete() {
        let config = AgentConfig::parse(include_str!("../../../examples/agent.toml")).unwrap();
        assert_eq!(config.tls, Tls::Starttls);
        assert!(AgentConfig::parse("hots = 1").is_err());
    }
}
