//! `remote.config`, the configuration of WPS Remote's agents, read as it is.
//!
//! Five keys are ours, because the original checks no certificate, has no other place for secrets than the file, trusts whoever
//! is called as the server, and knows one server: `certificate`, `…_file` for each password, `orchestrator`, `wire` (`native` for an
//! Anabranch server), and, because it leaves results for ever, `shared_keep_hours`. Passwords also come from the environment, which wins.

use crate::agent_config::{Wire, hours};
use crate::config::Tls;
use crate::load::rules::{Listed, Rules, WINDOW_S_MAX};
use crate::upload_password;
use crate::upload_server::{PASSPHRASE_VARIABLE, PASSWORD_VARIABLE, Protocol, UploadServer};
use crate::xmpp_session;
use anabranch_command::ini::{self, DEFAULT, Ini, Keys, Section};
use anabranch_command::{Findings, Located};
use anabranch_remote::{AgentSettings, WpsRemoteSettings};
use anabranch_xmpp::RoomJoin;
use anabranch_xmpp::client::{Backoff, ClientConfig, ClientLimits, Timing};
use std::path::{Path, PathBuf};

/// Port for direct TLS.
const PORT_DEFAULT: u16 = 5223;

/// What an agent of the original takes at once, in the weights of its services.
const CAPACITY_DEFAULT: u32 = 100;

/// Load above which an agent of the original takes nothing: none is.
const LOAD_PERCENT_DEFAULT: f32 = 100.0;

/// What an agent of the original judges its load by.
const WINDOW_MINUTES_DEFAULT: u64 = 15;

/// The server's account, where the file names none: the original's default.
const MANAGER_DEFAULT: &str = "admin";

const UPLOADER: &str = "UPLOADER";
const UPLOADERS: [(&str, Protocol); 3] = [
    ("ftpUpload.FtpUpload", Protocol::Ftp),
    ("ftpsUpload.FtpsUpload", Protocol::Ftps),
    ("sftpUpload.SFtpUpload", Protocol::Sftp),
];

/// What a file says.
#[derive(Debug, PartialEq)]
pub(crate) struct RemoteConfig {
    host: String,
    port: u16,
    domain: String,
    user: String,
    password: String,
    conference: String,
    room_password: Option<String>,
    certificate: String,
    orchestrator: String,
    pub(crate) wire: Wire,
    pub(crate) shared_folder: Option<PathBuf>,
    shared_keep_hours: Option<u32>,
    /// Where outputs are uploaded.
    pub(crate) uploader: Option<UploadServer>,
    /// Weights of all runs at once.
    pub(crate) capacity: u32,
    /// When it takes none beside that.
    pub(crate) rules: Rules,
}

/// A file, and what is wrong with it.
pub(crate) struct Read {
    pub(crate) faults: Vec<Located>,
    pub(crate) warnings: Vec<Located>,
    /// Where there are no faults.
    pub(crate) config: Option<RemoteConfig>,
}

/// Reads a file; relative paths in it start at its folder.
pub(crate) fn read(path: &Path, text: &str) -> Read {
    let mut findings = Findings::default();
    let ini = ini::parse(&mut findings, text, Keys::LowerCase);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let config = read_default(&mut findings, &ini, folder);
    let uploader = read_uploader(&mut findings, &ini, folder);
    let config = config.map(|config| RemoteConfig { uploader, ..config });
    let config = config.filter(|_| !findings.has_faults());
    let (faults, warnings) = findings.locate(path, text);
    Read { faults, warnings, config }
}

/// A section that is being read.
struct Table<'i> {
    ini: &'i Ini,
    section: &'i Section,
    folder: &'i Path,
    known: Vec<&'static str>,
}

impl<'i> Table<'i> {
    fn new(ini: &'i Ini, section: &'i Section, folder: &'i Path) -> Self {
        Self { ini, section, folder, known: Vec::new() }
    }

    fn fault(&self, findings: &mut Findings, key: &str, text: &str) {
        let span = self.section.entry(key).map_or(&self.section.span, |entry| &entry.span);
        findings.fault(span, format!("[{}]: {key} {text}", self.section.name));
    }

    fn warn(&self, findings: &mut Findings, key: &str, text: &str) {
        let span = self.section.entry(key).map_or(&self.section.span, |entry| &entry.span);
        findings.warn(span, format!("[{}]: {key} {text}", self.section.name));
    }

    fn text(&mut self, findings: &mut Findings, key: &'static str) -> Option<String> {
        self.known.push(key);
        let entry = self.section.entry(key)?;
        match self.ini.interpolate(self.section, entry, &[]) {
            Ok(value) => Some(value).filter(|value| !value.is_empty()),
            Err(fault) => {
                self.fault(findings, key, &fault);
                None
            }
        }
    }

    fn required(&mut self, findings: &mut Findings, key: &'static str) -> Option<String> {
        let found = self.text(findings, key);
        if found.is_none() {
            self.fault(findings, key, "is missing");
        }
        found
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
        rule: &str,
    ) -> Option<T> {
        let text = self.text(findings, key)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.fault(findings, key, &format!("must be {rule}, not {text:?}"));
        }
        number
    }

    /// From the environment, or a file, or the file itself.
    fn secret(
        &mut self,
        findings: &mut Findings,
        variable: &str,
        file_key: &'static str,
        key: &'static str,
    ) -> Option<String> {
        let file = self.text(findings, file_key);
        let own = self.text(findings, key);
        if let Ok(value) = std::env::var(variable) {
            return Some(value);
        }
        let Some(file) = file else { return own };
        match xmpp_session::read_secret(&self.folder.join(file)) {
            Ok(secret) => Some(secret),
            Err(error) => {
                self.fault(findings, file_key, &format!("names a file that does not do: {error:#}"));
                None
            }
        }
    }

    fn finish(self, findings: &mut Findings) {
        for entry in &self.section.entries {
            if !self.known.contains(&entry.key.as_str()) {
                self.warn(findings, &entry.key, "means nothing here");
            }
        }
    }
}

fn read_default(findings: &mut Findings, ini: &Ini, folder: &Path) -> Option<RemoteConfig> {
    let Some(section) = ini.section(DEFAULT) else {
        findings.fault(&(0..0), format!("section [{DEFAULT}] is missing"));
        return None;
    };
    let mut table = Table::new(ini, section, folder);
    let class = table.text(findings, "bus_class_name");
    if class.is_some_and(|class| class != "xmppBus.XMPPBus") {
        table.warn(
            findings,
            "bus_class_name",
            "is not xmppBus.XMPPBus: no other class is known, none is loaded",
        );
    }
    let host = table.required(findings, "address");
    let port = table.number(findings, "port", "a port");
    let domain = table.required(findings, "domain");
    let user = table.required(findings, "user");
    let password = table.secret(findings, "ANABRANCH_XMPP_PASSWORD", "password_file", "password");
    if password.is_none() && !section.has("password_file") {
        table.fault(
            findings,
            "password",
            "is missing: it, password_file, or the variable ANABRANCH_XMPP_PASSWORD",
        );
    }
    let conference = table.required(findings, "mucservice");
    let room_password =
        table.secret(findings, "ANABRANCH_ROOM_PASSWORD", "mucservicepassword_file", "mucservicepassword");
    let certificate = table.text(findings, "certificate").unwrap_or_else(|| "roots".into());
    let orchestrator = table.text(findings, "orchestrator");
    let capacity = table.number(findings, "capacity", "a whole number").unwrap_or(CAPACITY_DEFAULT);
    if capacity == 0 {
        table.fault(findings, "capacity", "must be at least 1");
    }
    let rules = rules(findings, &mut table);
    // Where runs are kept is the agent's own (--work).
    let _elsewhere = table.text(findings, "resource_file_dir");
    let shared_folder = table.text(findings, "wps_execution_shared_dir").map(PathBuf::from);
    if shared_folder.as_ref().is_some_and(|path| path.is_relative()) {
        table.fault(findings, "wps_execution_shared_dir", "must be an absolute path");
    }
    let shared_keep_hours = table.number(findings, "shared_keep_hours", "a whole number of hours");
    if shared_keep_hours == Some(0) {
        table.fault(findings, "shared_keep_hours", "must be at least 1");
    }
    let wire = wire(findings, &mut table);
    table.finish(findings);
    let domain = domain?;
    Some(RemoteConfig {
        host: host?,
        port: port.unwrap_or(PORT_DEFAULT),
        user: user?,
        password: password?,
        conference: conference?,
        room_password,
        certificate,
        orchestrator: orchestrator.unwrap_or_else(|| format!("{MANAGER_DEFAULT}@{domain}")),
        domain,
        wire,
        shared_folder,
        shared_keep_hours,
        uploader: None,
        capacity,
        rules,
    })
}

fn wire(findings: &mut Findings, table: &mut Table<'_>) -> Wire {
    match table.text(findings, "wire").as_deref() {
        None | Some("wps-remote") => Wire::WpsRemote,
        Some("native") => Wire::Native,
        Some(other) => {
            table.fault(findings, "wire", &format!("must be wps-remote or native, not {other:?}"));
            Wire::WpsRemote
        }
    }
}

fn rules(findings: &mut Findings, table: &mut Table<'_>) -> Rules {
    // One threshold for both, which at 100 % is never crossed.
    let percent_max =
        table.number(findings, "load_threshold", "a percentage").unwrap_or(LOAD_PERCENT_DEFAULT);
    let minutes = table.number(findings, "load_average_scan_minutes", "a whole number of minutes");
    let window_s: u64 = minutes.unwrap_or(WINDOW_MINUTES_DEFAULT).saturating_mul(60);
    if window_s > WINDOW_S_MAX {
        let rule = format!("is more than {} minutes, which are taken", WINDOW_S_MAX / 60);
        table.warn(findings, "load_average_scan_minutes", &rule);
    }
    Rules {
        cpu_percent_max: Some(percent_max),
        memory_percent_max: Some(percent_max),
        load_average_max: None,
        window_s: window_s.clamp(1, WINDOW_S_MAX),
        blacklist: blacklist(findings, table),
    }
}

fn blacklist(findings: &mut Findings, table: &mut Table<'_>) -> Vec<Listed> {
    #[derive(serde::Deserialize)]
    struct Entry {
        name: String,
        cwd: String,
        cmdline: String,
    }
    let Some(text) = table.text(findings, "process_blacklist") else { return Vec::new() };
    let entries = serde_json::from_str(&text).unwrap_or_else(|_other_form| {
        let rule = "is no JSON array of {\"name\": …, \"cwd\": …, \"cmdline\": …}, so nothing is on it";
        table.warn(findings, "process_blacklist", rule);
        Vec::new()
    });
    let listed = |entry: Entry| Listed { name: entry.name, folder: entry.cwd, command_line: entry.cmdline };
    entries.into_iter().map(listed).collect()
}

/// `[UPLOADER]`. Five keys are ours: how server and account prove themselves, and where clients find what is there.
fn read_uploader(findings: &mut Findings, ini: &Ini, folder: &Path) -> Option<UploadServer> {
    let section = ini.section(UPLOADER)?;
    let mut table = Table::new(ini, section, folder);
    let class = table.required(findings, "uploader_class_name");
    let known = class.as_ref().and_then(|class| UPLOADERS.iter().find(|(name, _)| name == class));
    if class.is_some() && known.is_none() {
        let names = UPLOADERS.map(|(name, _)| name).join(", ");
        let rule = format!("is none of {names}: classes are not loaded, and nothing is uploaded");
        table.warn(findings, "uploader_class_name", &rule);
    }
    let host = table.required(findings, "uploader_host");
    let user = table.required(findings, "uploader_username");
    let password = table.secret(findings, PASSWORD_VARIABLE, "uploader_password_file", "uploader_password");
    let key = table.text(findings, "uploader_private_rsa_key");
    let passphrase =
        table.secret(findings, PASSPHRASE_VARIABLE, "uploader_passphrase_file", "uploader_passphrase");
    let mut ours = |key| table.text(findings, key);
    let certificate = ours("uploader_certificate");
    let host_key = ours("uploader_host_key");
    let known_hosts = ours("uploader_known_hosts").map(PathBuf::from);
    let private_key_file = ours("uploader_private_key").map(PathBuf::from);
    let public_url = ours("uploader_public_url");
    let password = match (password, key, passphrase) {
        (None, ..) => {
            if private_key_file.is_none() {
                table.fault(findings, "uploader_password", "is missing");
            }
            None
        }
        (Some(encrypted), Some(key), Some(passphrase)) => {
            let decrypted = std::fs::read_to_string(folder.join(&key))
                .map_err(anyhow::Error::from)
                .and_then(|pem| upload_password::decrypt(&pem, &passphrase, &encrypted));
            let fault = |error| format!("can't be decrypted with {key}: {error:#}");
            decrypted.map_err(|error| table.fault(findings, "uploader_password", &fault(error))).ok()
        }
        (Some(clear), ..) => Some(clear),
    };
    let place = host.as_deref().map(host_and_port);
    if let Some(Err(port)) = &place {
        table.fault(
            findings,
            "uploader_host",
            &format!("must be HOST or HOST:PORT, not with the port {port:?}"),
        );
    }
    let server = match (known, place, user) {
        (Some((_, protocol)), Some(Ok((host, port))), Some(user)) => Some(UploadServer {
            password,
            certificate,
            host_key,
            known_hosts,
            private_key_file,
            public_url,
            ..UploadServer::at(*protocol, host, port, user)
        }),
        _ => None,
    };
    if let Some(Err(error)) = server.as_ref().map(UploadServer::check) {
        let text = error.to_string();
        let key = text.strip_prefix("upload.").unwrap_or(&text);
        let (key, rule) = key.split_once(' ').unwrap_or((key, ""));
        table.fault(findings, &format!("uploader_{key}"), rule);
    }
    table.finish(findings);
    server.map(|server| server.relative_to(folder))
}

/// What stands before the last colon, and the port behind it; the wrong port else.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    match text.rsplit_once(':') {
        None => Ok((text.to_owned(), None)),
        Some((host, port)) => match port.trim().parse() {
            Ok(port) => Ok((host.trim_matches(['[', ']']).to_owned(), Some(port))),
            Err(_no_port) => Err(port.to_owned()),
        },
    }
}

impl RemoteConfig {
    /// The session it describes, in the rooms of these namespaces, and the server's account.
    pub(crate) fn session(
        self,
        name: &str,
        namespaces: &[String],
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, String)> {
        let join = |namespace: &String| RoomJoin {
            room: format!("{namespace}@{}", self.conference),
            nick: name.to_owned(),
            password: self.room_password.clone(),
        };
        let config = ClientConfig {
            security: xmpp_session::security(Tls::Direct, &self.certificate, &self.host)?,
            rooms: namespaces.iter().map(join).collect(),
            host: self.host,
            port: self.port,
            domain: self.domain,
            user: self.user,
            password: self.password,
            resource: name.to_owned(),
            timing: Timing::default(),
            limits: ClientLimits::default(),
            backoff,
        };
        Ok((config, self.orchestrator))
    }

    /// The sessions it describes, but for their resources and rooms, and what an agent of WPS Remote has to know.
    pub(crate) fn wps_remote(
        mut self,
        name: &str,
        namespaces: &[String],
        capacity: u32,
        folder: PathBuf,
        backoff: Backoff,
    ) -> anyhow::Result<(ClientConfig, WpsRemoteSettings)> {
        let shared_folder = self.shared_folder.take();
        let shared_keep = self.shared_keep_hours.map(hours);
        let room_password = self.room_password.clone();
        let (config, orchestrator) = self.session(name, namespaces, backoff)?;
        let settings = WpsRemoteSettings {
            rooms: config.rooms.iter().map(|joined| joined.room.clone()).collect(),
            room_password,
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

    const GOOD: &str = "[DEFAULT]\nbus_class_name = xmppBus.XMPPBus\naddress = 127.0.0.1\nport = 5223\ndomain = geoserver.org\nuser = default.GdalContour\npassword = secret\nmucService = conference.%(domain)s\nmucServicePassword = admin\nresource_file_dir = /tmp\n";

    fn said(text: &str) -> Vec<String> {
        let read = read(Path::new("remote.config"), text);
        assert_eq!(read.config.is_some(), read.faults.is_empty());
        read.faults
            .iter()
            .chain(&read.warnings)
            .map(|found| format!("{}: {}", found.line, found.text))
            .collect()
    }

    #[test]
    fn the_original_s_file_is_read() {
        let read = read(Path::new("remote.config"), GOOD);
        let config = read.config.unwrap();
        assert_eq!(
            (config.conference.as_str(), config.port, config.capacity),
            ("conference.geoserver.org", 5223, 100)
        );
        assert_eq!(config.orchestrator, "admin@geoserver.org");
        assert_eq!((config.rules.cpu_percent_max, config.rules.window_s), (Some(100.0), 900));
        let (client, _) = config.session("a1", &["default".into()], Backoff::default()).unwrap();
        assert_eq!(client.rooms[0].room, "default@conference.geoserver.org");
        assert_eq!(client.rooms[0].password.as_deref(), Some("admin"));
        assert_eq!(said(GOOD), [""; 0]);
    }

    #[test]
    fn faults_name_line_and_key() {
        let found = said(
            "[DEFAULT]\naddress = x\nport = many\ndomain = d\nmucService = conference.%(domian)s\ncapacity = 0\nprocess_blacklist = [a, b]\ncolour = red\n",
        );
        assert_eq!(
            found,
            [
                "1: [DEFAULT]: user is missing",
                "1: [DEFAULT]: password is missing: it, password_file, or the variable ANABRANCH_XMPP_PASSWORD",
                "3: [DEFAULT]: port must be a port, not \"many\"",
                "5: [DEFAULT]: mucservice refers to %(domian)s, which is neither in [DEFAULT] nor in [DEFAULT], did you mean %(domain)s?",
                "5: [DEFAULT]: mucservice is missing",
                "6: [DEFAULT]: capacity must be at least 1",
                "7: [DEFAULT]: process_blacklist is no JSON array of {\"name\": …, \"cwd\": …, \"cmdline\": …}, so nothing is on it",
                "8: [DEFAULT]: colour means nothing here",
            ]
        );
    }

    #[test]
    fn secrets_come_from_files_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from a file\n").unwrap();
        let text = GOOD.replace("password = secret", "password_file = secret");
        let config = read(&folder.path().join("remote.config"), &text).config.unwrap();
        assert_eq!(config.password, "from a file");
        assert!(
            said(&GOOD.replace("password = secret", "password_file = none"))[0]
                .contains("names a file that does not do")
        );
    }

    #[test]
    fn an_encrypted_upload_password_is_tried() {
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/upload-key/old.pem");
        let encrypted = include_str!("../testdata/upload-key/encrypted.txt").trim();
        let with = |passphrase: &str| {
            said(&format!(
                "{GOOD}[UPLOADER]\nuploader_class_name = ftpUpload.FtpUpload\nuploader_host = ftp.example.org:21\nuploader_username = u\nuploader_password = {encrypted}\nuploader_private_rsa_key = {}\nuploader_passphrase = {passphrase}\n",
                key.display()
            ))
        };
        assert_eq!(with("f00bar"), [""; 0]);
        assert!(with("other")[0].starts_with("15: [UPLOADER]: uploader_password can't be decrypted with "));
    }

    #[test]
    fn an_uploader_says_where_and_how() {
        let with = |more: &str| {
            let text = format!(
                "{GOOD}[UPLOADER]\nuploader_username = u\nuploader_password = p\nuploader_host = ftp.example.org{more}"
            );
            read(Path::new("remote.config"), &text)
        };
        let place = |more: &str| {
            let config = with(more).config.unwrap_or_else(|| panic!("{:?}", with(more).faults));
            config.uploader.map(|server| server.uploader().unwrap().place())
        };
        let ftp = ":2121\nuploader_class_name = ftpUpload.FtpUpload";
        assert_eq!(place(ftp).as_deref(), Some("ftp://ftp.example.org:2121/"));
        let sftp = "\nuploader_class_name = sftpUpload.SFtpUpload\nuploader_host_key = SHA256:x";
        assert_eq!(place(sftp).as_deref(), Some("sftp://ftp.example.org/"));
        assert_eq!(place("\nuploader_class_name = mine.Uploader"), None, "no class is loaded");
        let fault = |more: &str| with(more).faults[0].text.clone();
        assert!(fault(":x\nuploader_class_name = ftpUpload.FtpUpload").contains("not with the port \"x\""));
        let wrong = fault("\nuploader_class_name = ftpUpload.FtpUpload\nuploader_host_key = SHA256:x");
        assert_eq!(wrong, "[UPLOADER]: uploader_host_key is for sftp only");
    }
}
