//! XMPP servers as processes of their own, each with the accounts `orchestrator`, `ann` and `bob`: ours, and Debian's.

use crate::{DEADLINE, binary, command, eventually, free_port};
use rustix::process::{Signal, kill_process};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Child;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// `anabranch xmpp`
    Anabranch,
    Prosody,
    Ejabberd,
}

/// The accounts beside the server's own.
const USERS: [&str; 3] = ["orchestrator", "ann", "bob"];

/// A running server.
pub struct XmppServer {
    pub maker: Maker,
    pub port: u16,
    pub direct_tls_port: u16,
    pub domain: &'static str,
    /// What a client takes for its certificate: a pin or the path of a PEM file.
    pub certificate: String,
    /// By account.
    pub passwords: HashMap<&'static str, String>,
    pub folder: TempDir,
    child: Child,
}

impl XmppServer {
    pub async fn start(maker: Maker) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, direct_tls_port) = (free_port(), free_port());
        let mut passwords: HashMap<_, _> =
            USERS.into_iter().map(|user| (user, format!("{user}-password"))).collect();
        match maker {
            Maker::Anabranch => {}
            Maker::Prosody => prepare_prosody(folder.path(), [port, direct_tls_port], &passwords).await,
            Maker::Ejabberd => prepare_ejabberd(folder.path(), [port, direct_tls_port]).await,
        }
        let child = spawn(maker, folder.path(), [port, direct_tls_port], &passwords);
        let mut certificate = folder.path().join("cert.pem").display().to_string();
        ready(maker, port, folder.path()).await;
        if maker == Maker::Anabranch {
            for user in ["ann", "bob"] {
                let secret = invite(folder.path(), user).await;
                passwords.insert(user, secret);
            }
            let own = std::fs::read_to_string(folder.path().join("xmpp/orchestrator-password")).unwrap();
            passwords.insert("orchestrator", own);
            let external = std::fs::read_to_string(folder.path().join("external.toml")).unwrap();
            certificate =
                external.split("certificate = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        }
        let domain = if maker == Maker::Anabranch { "anabranch.local" } else { "localhost" };
        Self { maker, port, direct_tls_port, domain, certificate, passwords, folder, child }
    }

    /// `kill -9`
    pub async fn kill(&mut self) {
        let pid = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        self.child.wait().await.unwrap();
    }

    /// Starts it again, with the same data and ports.
    pub async fn start_again(&mut self) {
        let ports = [self.port, self.direct_tls_port];
        self.child = spawn(self.maker, self.folder.path(), ports, &self.passwords);
        ready(self.maker, self.port, self.folder.path()).await;
    }

    /// How `anabranch serve` comes to it.
    pub fn server_config(&self) -> String {
        let folder = self.folder.path();
        if self.maker == Maker::Anabranch {
            return std::fs::read_to_string(folder.join("external.toml")).unwrap();
        }
        let password = folder.join("password");
        std::fs::write(&password, &self.passwords["orchestrator"]).unwrap();
        format!(
            "[xmpp.external]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"starttls\"\naccount = \"orchestrator@localhost\"\n\
             password_file = \"{}\"\nconference = \"conference.localhost\"\ncertificate = \"{}\"\n",
            self.port,
            password.display(),
            self.certificate,
        )
    }

    /// Arguments by which an agent comes to it, logged in as `ann`.
    pub fn agent_arguments(&self) -> [String; 2] {
        let folder = self.folder.path();
        if self.maker == Maker::Anabranch {
            return ["--data".into(), folder.display().to_string()];
        }
        std::fs::write(folder.join("ann"), &self.passwords["ann"]).unwrap();
        let config = folder.join("agent.toml");
        let text = format!(
            "host = \"127.0.0.1\"\nport = {}\ntls = \"direct\"\ncertificate = \"{}\"\naccount = \"ann@localhost\"\n\
             password_file = \"ann\"\nrooms = [\"default@conference.localhost\"]\norchestrator = \"orchestrator@localhost\"\n",
            self.direct_tls_port, self.certificate
        );
        std::fs::write(&config, text).unwrap();
        ["--config".into(), config.display().to_string()]
    }
}

/// Written when a server is ready for logins; where there is none, it listens only then.
fn sign(maker: Maker) -> Option<&'static str> {
    match maker {
        Maker::Anabranch => Some("external.toml"),
        Maker::Prosody => None,
        Maker::Ejabberd => Some("ready"),
    }
}

fn spawn(maker: Maker, folder: &Path, ports: [u16; 2], passwords: &HashMap<&str, String>) -> Child {
    if let Some(sign) = sign(maker) {
        let _not_there_at_the_first_start = std::fs::remove_file(folder.join(sign));
    }
    let log = || std::fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
    let mut command = match maker {
        Maker::Anabranch => {
            let [port, direct_tls_port] = ports.map(|port| format!("127.0.0.1:{port}"));
            let mut command = command(binary());
            command.arg("xmpp").arg("--data").arg(folder);
            command.args(["--xmpp-listen", &port, "--xmpp-tls-listen", &direct_tls_port]);
            command
        }
        Maker::Prosody => {
            let mut command = command("prosody");
            command.arg("--config").arg(folder.join("prosody.cfg.lua")).arg("-F");
            command
        }
        Maker::Ejabberd => {
            // Erlang itself, and not ejabberdctl, which wants to be another user and leaves a port mapper behind.
            let accounts = passwords.iter().map(|(user, password)| {
                format!("ejabberd_auth:try_register(<<\"{user}\">>,<<\"localhost\">>,<<\"{password}\">>)")
            });
            let mut command = command("erl");
            command.args(["-noinput", "-mnesia", "dir", &format!("\"{}/mnesia\"", folder.display())]);
            let accounts = accounts.collect::<Vec<_>>().join(",");
            command.args(["-s", "ejabberd", "-eval"]);
            command.arg(format!("{accounts},file:write_file(\"{}/ready\",<<>>).", folder.display()));
            command.env("EJABBERD_CONFIG_PATH", folder.join("ejabberd.yml"));
            command.env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"));
            command.env("ERL_LIBS", ejabberd_libraries()).env("HOME", folder).current_dir(folder);
            command
        }
    };
    command.stdout(Stdio::from(log())).stderr(Stdio::from(log())).spawn().unwrap()
}

async fn ready(maker: Maker, port: u16, folder: &Path) {
    eventually(&format!("an XMPP server by {maker:?}"), DEADLINE, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        sign(maker).is_none_or(|sign| folder.join(sign).exists()).then_some(())
    })
    .await;
}

/// Makes an account of ours and gives its secret.
async fn invite(folder: &Path, user: &str) -> String {
    let invite = ["invite", user, "--host", "127.0.0.1", "--data"];
    let invited = command(binary()).args(invite).arg(folder).output().await.unwrap();
    assert!(invited.status.success(), "{}", String::from_utf8_lossy(&invited.stderr));
    let line = String::from_utf8(invited.stdout).unwrap();
    let secret = line.split(':').nth(2).unwrap().split('@').next().unwrap();
    // Percent-encoded, but for letters and digits.
    secret.replace("%2D", "-").replace("%5F", "_")
}

pub(crate) async fn certificate(folder: &Path) {
    let made = command("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .output()
        .await
        .unwrap();
    assert!(made.status.success());
}

async fn prepare_prosody(folder: &Path, [port, direct_tls]: [u16; 2], passwords: &HashMap<&str, String>) {
    certificate(folder).await;
    std::fs::create_dir(folder.join("data")).unwrap();
    let config = folder.join("prosody.cfg.lua");
    let text = format!(
        "pidfile = \"{0}/prosody.pid\"\ndata_path = \"{0}/data\"\nlog = {{ info = \"{0}/prosody.log\" }}\nrun_as_root = true\n\
         authentication = \"internal_hashed\"\nc2s_ports = {{ {port} }}\nc2s_direct_tls_ports = {{ {direct_tls} }}\n\
         c2s_interfaces = {{ \"127.0.0.1\" }}\nc2s_direct_tls_interfaces = {{ \"127.0.0.1\" }}\ns2s_ports = {{}}\n\
         c2s_require_encryption = true\nallow_registration = false\nstorage = \"internal\"\n\
         modules_enabled = {{ \"saslauth\", \"tls\", \"disco\", \"ping\", \"roster\" }}\nmodules_disabled = {{ \"s2s\" }}\n\
         ssl = {{ certificate = \"{0}/cert.pem\", key = \"{0}/key.pem\" }}\n\
         VirtualHost \"localhost\"\nComponent \"conference.localhost\" \"muc\"\n",
        folder.display()
    );
    std::fs::write(&config, text).unwrap();
    for (user, password) in passwords {
        let mut register = command("prosodyctl");
        register.arg("--config").arg(&config).args(["register", user, "localhost", password]);
        let registered = register.env("PROSODY_CONFIG", &config).output().await.unwrap();
        assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stdout));
    }
}

async fn prepare_ejabberd(folder: &Path, [port, direct_tls]: [u16; 2]) {
    certificate(folder).await;
    let pem = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    std::fs::write(folder.join("both.pem"), pem("key.pem") + &pem("cert.pem")).unwrap();
    let text = format!(
        "hosts: [localhost]\nloglevel: info\ncertfiles: [\"{}/both.pem\"]\nlisten:\n\
         - {{port: {port}, ip: \"127.0.0.1\", module: ejabberd_c2s, starttls_required: true, max_stanza_size: 262144}}\n\
         - {{port: {direct_tls}, ip: \"127.0.0.1\", module: ejabberd_c2s, tls: true, max_stanza_size: 262144}}\n\
         auth_method: internal\nauth_password_format: scram\n\
         modules:\n  mod_disco: {{}}\n  mod_ping: {{}}\n  mod_muc: {{host: conference.localhost}}\n",
        folder.display()
    );
    std::fs::write(folder.join("ejabberd.yml"), text).unwrap();
}

/// Where Debian puts ejabberd for this processor.
fn ejabberd_libraries() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let has_ejabberd = |folder: &std::path::PathBuf| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
    };
    let found = folders.into_iter().find(has_ejabberd).expect("these tests need Debian's ejabberd");
    found.display().to_string()
}
