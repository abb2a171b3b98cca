//! The configuration: a file as written ([`Config`] by serde, unknown keys refused), with every default in
//! `default-config.toml`, which is also the documentation.

use crate::folder::Folder;
use crate::http::tls;
use crate::log;
use crate::store_config;
use crate::upload_server::UploadServer;
use crate::{geoserver, login, telemetry};
use anabranch_egress::Policy;
use anabranch_engine::Quota;
use anabranch_model::ProcessId;
use anabranch_remote::message::{LABEL_CHARS_MAX, is_label};
use anyhow::Context as _;
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Longest `http.async_grace_ms`: whoever asks for an asynchronous execution wants an answer at once.
const ASYNC_GRACE_MS_MAX: u64 = 250;

/// Least `streaming.poll_ms`: more looks a second are an attack on whoever holds the playlist.
const POLL_MS_MIN: u64 = 50;

/// The commented default configuration.
pub(crate) const DEFAULT: &str = include_str!("../default-config.toml");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) service: Service,
    pub(crate) http: Http,
    pub(crate) login: login::Config,
    pub(crate) audit: Audit,
    pub(crate) log: log::Config,
    pub(crate) telemetry: telemetry::Config,
    pub(crate) xmpp: Xmpp,
    pub(crate) store: store_config::Store,
    pub(crate) services: Services,
    pub(crate) wps_remote: WpsRemote,
    pub(crate) balance: Balance,
    pub(crate) limits: Limits,
    /// By name.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Role>,
    /// By pattern of their identifiers.
    #[serde(default)]
    pub(crate) processes: BTreeMap<String, Processes>,
    pub(crate) callbacks: Callbacks,
    pub(crate) streaming: Streaming,
    pub(crate) egress: Policy,
    /// Where outputs of the server's own services are uploaded.
    pub(crate) upload: Option<UploadServer>,
    /// Where outputs become layers.
    pub(crate) geoserver: Option<geoserver::Config>,
}

/// How processes are run piece by piece.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Streaming {
    pub(crate) chunks_parallel_max: usize,
    pub(crate) poll_ms: u64,
    pub(crate) legacy_cut: bool,
    pub(crate) early_success: BTreeSet<ProcessId>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) title: String,
    pub(crate) r#abstract: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) provider: String,
    pub(crate) provider_site: String,
    pub(crate) languages: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: String,
    pub(crate) body_bytes_max: usize,
    pub(crate) upload_bytes_max: u64,
    pub(crate) head_ms_max: u64,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_address_max: usize,
    pub(crate) connections_exempt: Vec<IpNet>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) sync_s_max: u64,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) async_grace_ms: u64,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) tls: Option<tls::Config>,
}

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) file: PathBuf,
}

impl Audit {
    /// The file: the configured one, or that of the data folder.
    pub(crate) fn path(&self, folder: &Folder) -> PathBuf {
        if self.file.as_os_str().is_empty() { folder.audit() } else { folder.path().join(&self.file) }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Xmpp {
    pub(crate) domain: String,
    pub(crate) listen: SocketAddr,
    pub(crate) listen_tls: SocketAddr,
    pub(crate) plaintext_login: bool,
    pub(crate) room: String,
    pub(crate) service_rooms: Vec<String>,
    #[serde(default)]
    pub(crate) offers: BTreeMap<String, Vec<String>>,
    pub(crate) external: Option<ExternalXmpp>,
}

impl Xmpp {
    /// Names of the rooms where agents are met, the main one first.
    pub(crate) fn all_rooms(&self) -> impl Iterator<Item = &str> {
        let further = self.service_rooms.iter().filter(|room| **room != self.room);
        [&self.room].into_iter().chain(further).map(String::as_str)
    }
}

/// An XMPP server that is not ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalXmpp {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) account: String,
    pub(crate) password_file: PathBuf,
    pub(crate) conference: String,
    #[serde(default)]
    pub(crate) room_password_file: Option<PathBuf>,
    #[serde(default = "roots")]
    pub(crate) certificate: String,
}

fn roots() -> String {
    "roots".into()
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    Starttls,
    Direct,
    /// Not at all; the client refuses it for hosts other than loopback.
    Plain,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Services {
    pub(crate) folder: PathBuf,
}

/// How this server gets on with agents of GeoServer's WPS Remote.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WpsRemote {
    pub(crate) shared_folders: Vec<PathBuf>,
    pub(crate) uploads_folder: PathBuf,
}

/// Which agents get runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balance {
    pub(crate) cpu_percent_max: Option<f32>,
    pub(crate) memory_percent_max: Option<f32>,
    pub(crate) force: bool,
    #[serde(default)]
    pub(crate) preferred_labels: BTreeMap<ProcessId, BTreeSet<String>>,
}

impl Balance {
    fn check(&self) -> anyhow::Result<()> {
        for (key, max) in
            [("cpu_percent_max", self.cpu_percent_max), ("memory_percent_max", self.memory_percent_max)]
        {
            if let Some(max) = max {
                anyhow::ensure!(
                    max > 0.0 && max <= 100.0,
                    "balance.{key} must be above 0 and at most 100, not {max}"
                );
            }
        }
        let labels = self.preferred_labels.values().flatten();
        check_labels("balance.preferred_labels", labels)
    }
}

/// What agents may be called by their owners.
pub(crate) fn check_labels<'a>(
    key: &str,
    labels: impl IntoIterator<Item = &'a String>,
) -> anyhow::Result<()> {
    for label in labels {
        anyhow::ensure!(
            is_label(label),
            "{key} must hold 1 to {LABEL_CHARS_MAX} letters, digits and -_.:/ each, not {label:?}"
        );
    }
    Ok(())
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) queued_jobs_max: usize,
    pub(crate) parallel_runs_max: usize,
    pub(crate) hourly_jobs_max: Option<u64>,
    pub(crate) input_bytes_max: Option<u64>,
    pub(crate) stored_bytes_max: Option<u64>,
    pub(crate) run_s_max: u64,
    pub(crate) queue_s_max: u64,
    pub(crate) cpu_s_max: Option<u64>,
    pub(crate) free_bytes_min: u64,
    pub(crate) free_percent_min: u64,
    pub(crate) free_bytes_stop: u64,
    /// Of every user.
    #[serde(default)]
    pub(crate) each_user: Quota,
    pub(crate) output_bytes_max: u64,
    pub(crate) converted_bytes_max: u64,
    pub(crate) results_keep_s: u64,
    #[serde(default)]
    pub(crate) outputs_keep_s: BTreeMap<String, u64>,
    pub(crate) reattach_s_max: u64,
    pub(crate) drain_s_max: u64,
}

/// What becomes of a synchronous job whose client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnDisconnect {
    Dismiss,
    Keep,
}

/// What holds for the users of a role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    #[serde(default)]
    pub(crate) limits: Quota,
}

/// What holds for some processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Processes {
    #[serde(default)]
    pub(crate) limits: Quota,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Callbacks {
    pub(crate) secret_file: PathBuf,
    pub(crate) attempts_max: u32,
    pub(crate) keep_s: u64,
}

impl Config {
    /// The defaults, overlaid by a file.
    ///
    /// # Errors
    /// Where the file can't be read, is no TOML, has an unknown key or a value of the wrong type; with line and column.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Self::parse("") };
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("configuration {}", file.display()))?;
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        config.upload = config.upload.map(|upload| upload.relative_to(folder));
        config.store.relative_to(folder);
        if let Some(geoserver) =
            config.geoserver.as_mut().filter(|config| !config.password_file.as_os_str().is_empty())
        {
            geoserver.password_file = folder.join(&geoserver.password_file);
        }
        Ok(config)
    }

    /// Every key with its value: the defaults, overlaid by a file.
    ///
    /// # Errors
    /// Where the file can't be read or is no TOML.
    pub(crate) fn keys(file: Option<&Path>) -> anyhow::Result<toml::Table> {
        let read = |file: &Path| {
            std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))
        };
        merged(&file.map(read).transpose()?.unwrap_or_default())
    }

    /// Every place that says how long outputs of a class are kept, and what it says.
    fn output_classes(&self) -> impl Iterator<Item = (String, &BTreeMap<String, u64>)> {
        let roles = self.roles.iter().map(|(name, role)| (format!("roles.{name}.limits"), &role.limits));
        let processes =
            self.processes.iter().map(|(name, of)| (format!("processes.{name:?}.limits"), &of.limits));
        let quotas = std::iter::once(("limits.each_user".to_owned(), &self.limits.each_user));
        let quotas =
            quotas.chain(roles).chain(processes).map(|(place, quota)| (place, &quota.outputs_keep_s));
        std::iter::once(("limits".to_owned(), &self.limits.outputs_keep_s)).chain(quotas)
    }

    /// The defaults, overlaid by a text.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let config = Self::deserialize(merged(text)?)?;
        config.upload.as_ref().map_or(Ok(()), UploadServer::check)?;
        config.geoserver.as_ref().map_or(Ok(()), geoserver::Config::check)?;
        for (key, max) in [
            ("connections_max", config.http.connections_max),
            ("connections_per_address_max", config.http.connections_per_address_max),
        ] {
            anyhow::ensure!(max > 0, "http.{key} must be at least 1");
        }
        for (place, classes) in config.output_classes() {
            for (pattern, keep_s) in classes {
                anyhow::ensure!(
                    pattern.contains(['/', '*']),
                    "{place}.outputs_keep_s names media types, in which * stands for any characters, such as \"image/*\", not {pattern:?}"
                );
                anyhow::ensure!(*keep_s > 0, "{place}.outputs_keep_s.{pattern:?} must be at least 1 second");
            }
        }
        anyhow::ensure!(
            config.http.async_grace_ms <= ASYNC_GRACE_MS_MAX,
            "http.async_grace_ms must be at most {ASYNC_GRACE_MS_MAX}, not {}",
            config.http.async_grace_ms
        );
        anyhow::ensure!(
            config.http.upload_bytes_max >= config.http.body_bytes_max as u64,
            "http.upload_bytes_max must be at least http.body_bytes_max, not {}",
            config.http.upload_bytes_max
        );
        for folder in &config.wps_remote.shared_folders {
            anyhow::ensure!(
                folder.is_absolute() && folder.components().count() > 1,
                "wps_remote.shared_folders must hold absolute paths of folders, not {folder:?}"
            );
        }
        config.login.check()?;
        crate::publisher::Offers::new(&config.xmpp.offers)?;
        check_origins(&config.http.cors_origins)?;
        config.log.check()?;
        config.store.check(&config.http.public_url)?;
        config.balance.check()?;
        anyhow::ensure!(
            config.streaming.chunks_parallel_max > 0,
            "streaming.chunks_parallel_max must be at least 1"
        );
        anyhow::ensure!(
            config.streaming.poll_ms >= POLL_MS_MIN,
            "streaming.poll_ms must be at least {POLL_MS_MIN}, not {}",
            config.streaming.poll_ms
        );
        anyhow::ensure!(config.callbacks.attempts_max > 0, "callbacks.attempts_max must be at least 1");
        anyhow::ensure!(config.limits.parallel_runs_max > 0, "limits.parallel_runs_max must be at least 1");
        anyhow::ensure!(
            config.limits.free_percent_min < 100,
            "limits.free_percent_min must be below 100, not {}",
            config.limits.free_percent_min
        );
        anyhow::ensure!(!config.service.languages.is_empty(), "service.languages must name at least one");
        for tag in &config.service.languages {
            anyhow::ensure!(
                anabranch_ogc::service::is_language(tag),
                "service.languages must hold language tags such as \"en-US\", not {tag:?}"
            );
        }
        if !config.http.public_url.is_empty() {
            url::Url::parse(&config.http.public_url).with_context(|| {
                format!("http.public_url must be a URL, not {:?}", config.http.public_url)
            })?;
        }
        Ok(config)
    }
}

fn check_origins(origins: &[String]) -> anyhow::Result<()> {
    for origin in origins {
        let is_origin =
            url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
        anyhow::ensure!(
            is_origin || (origin == "*" && origins.len() == 1),
            "http.cors_origins must hold origins such as https://maps.example.org, or \"*\" alone, not {origin:?}"
        );
    }
    Ok(())
}

fn merged(text: &str) -> anyhow::Result<toml::Table> {
    let mut all: toml::Table = toml::from_str(DEFAULT)?;
    overlay(&mut all, toml::from_str(text)?);
    Ok(all)
}

fn overlay(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => overlay(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_complete() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.http.listen.port(), 8080);
        assert!(config.xmpp.external.is_none());
    }

    #[test]
    fn the_commented_keys_of_egress_are_its_defaults() {
        let (_, egress) = DEFAULT.split_once("\n[egress]\n").unwrap();
        let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        let keys: Vec<&str> =
            egress.lines().map(|line| line.trim_start_matches('#')).filter(is_key).collect();
        assert_eq!(keys.len(), 13, "every key of the policy: {keys:?}");
        let shown: Policy = toml::from_str(&keys.join("\n")).unwrap();
        // The three that are examples, because their default is to be empty.
        let Policy { deny, hosts, ca_file, .. } = Policy::default();
        assert_eq!(Policy { deny, hosts, ca_file, ..shown }, Policy::default());
    }

    #[test]
    fn the_commented_keys_of_balance_can_be_taken_as_they_are() {
        let (_, balance) = DEFAULT.split_once("\n[balance]\n").unwrap();
        let (balance, _) = balance.split_once("\n[limits]\n").unwrap();
        let is_prose = |line: &str| line.is_empty() || line.starts_with("# ");
        let lines = balance.lines().filter(|line| !is_prose(line)).map(|line| line.trim_start_matches('#'));
        let text = format!("[balance]\n{}", lines.collect::<Vec<_>>().join("\n"));
        let balance = Config::parse(&text).unwrap().balance;
        assert_eq!((balance.cpu_percent_max, balance.memory_percent_max), (Some(90.0), Some(90.0)));
        assert_eq!(balance.preferred_labels.values().flatten().collect::<Vec<_>>(), ["data:landsat"]);
    }

    #[test]
    fn the_commented_keys_of_login_can_be_taken_as_they_are() {
        let (_, login) = DEFAULT.split_once("\n[login]\n").unwrap();
        let (login, _) = login.split_once("\n[audit]\n").unwrap();
        let is_prose = |line: &str| line.is_empty() || line.starts_with("# ");
        let lines = login.lines().filter(|line| !is_prose(line)).map(|line| line.trim_start_matches('#'));
        let login =
            Config::parse(&format!("[login]\n{}", lines.collect::<Vec<_>>().join("\n"))).unwrap().login;
        assert_eq!((login.rights.len(), login.oidc.len(), login.proxy.is_some()), (1, 1, true));
        assert_eq!(login.oidc[0].user_claim, "preferred_username");
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let config =
            Config::parse("[limits]\nresults_keep_s = 60\n[egress]\nallow = [\"127.0.0.1:8099\"]").unwrap();
        assert_eq!((config.limits.results_keep_s, config.limits.drain_s_max), (60, 5));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        let error = |text| format!("{:#}", Config::parse(text).unwrap_err());
        assert!(error("[http]\nlisten_on = 1").contains("listen_on"));
        assert!(
            error("[http]\nlisten = \"nonsense\"").contains("listen")
                || error("[http]\nlisten = \"nonsense\"").contains("socket")
        );
        assert!(error("[http]\npublic_url = \"nonsense\"").contains("public_url"));
        assert!(error("[service]\nlanguages = []").contains("service.languages"));
        assert!(error("[service]\nlanguages = [\"en US\"]").contains("en US"));
        assert!(error("[wps_remote]\nshared_folders = [\"share\"]").contains("absolute paths"));
        assert!(error("[wps_remote]\nshared_folders = [\"/\"]").contains("absolute paths"));
        assert!(error("[balance]\ncpu_percent_max = 101").contains("at most 100, not 101"));
        assert!(error("[balance.preferred_labels]\n\"a:b\" = [\"x y\"]").contains("\"x y\""));
        assert!(error("[http]\ncors_origins = [\"https://h/path\"]").contains("https://h/path"));
        assert!(error("[http]\ncors_origins = [\"*\", \"https://h\"]").contains("alone"));
        assert!(
            error("[[login.oidc]]\nissuer = \"http://id.example.org\"\naudience = \"a\"").contains("https")
        );
        assert!(
            error("[[login.rights]]\nrole = \"x\"\nprocesses = [\"a/b\"]\nallow = [\"see\"]").contains("a/b")
        );
        assert!(error("[limits]\noutputs_keep_s = { image = 60 }").contains("limits.outputs_keep_s"));
        let no_time = "[processes.\"x*\".limits.outputs_keep_s]\n\"image/*\" = 0";
        assert!(
            error(no_time).contains("processes.\"x*\".limits.outputs_keep_s.\"image/*\" must be at least 1")
        );
        assert!(error("[http]\nasync_grace_ms = 251").contains("at most 250, not 251"));
        assert!(error("[http]\nupload_bytes_max = 1").contains("at least http.body_bytes_max, not 1"));
    }
}
