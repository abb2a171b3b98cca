//! Outputs that go to a server of the site's own: pyftpdlib stands for it.

#![allow(clippy::unwrap_used)]

use e2e::xmpp_servers::{Maker, XmppServer};
use e2e::{Agent, DEADLINE, Server, command};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

const SERVICE: &str = r#"
namespace = "default"
identifier = "Made"
title = "Made"
[outputs.archive]
title = "Archive"
type = "complex"
formats = ["application/zip", "text/uri-list"]
file = "out.zip"
[outputs.archive.deliver]
upload = true
upload_folder = "/results/made"
[outputs.said]
title = "Said"
type = "string"
stdout = true
[outputs.said.deliver]
upload = true
[command]
program = "/bin/sh"
arguments = ["-c", "head -c 300000 /dev/zero > out.zip; printf done"]
time_limit = "1 min"
"#;

/// An FTP server, ended with the test.
struct Site {
    temp: TempDir,
    port: u16,
    _child: Child,
}

impl Site {
    async fn start(kind: &str, faults: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        std::fs::write(temp.path().join("password"), "s3cret päss\n").unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        let made = command("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", &at("key.pem"), "-out", &at("cert.pem")])
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let both = ["cert.pem", "key.pem"].map(|name| std::fs::read_to_string(at(name)).unwrap()).concat();
        std::fs::write(at("both.pem"), both).unwrap();
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/delivery/tests/uploads/ftp_server.py");
        // Debian's Python, which has Debian's pyftpdlib.
        let mut child = command("/usr/bin/python3")
            .arg(script)
            .args([&at("root"), kind, &at("both.pem")])
            .args(faults)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let port = line.trim().parse().expect("a port: see scripts/install-tools.sh e2e");
        Self { temp, port, _child: child }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// `[upload]` for it.
    fn config(&self, protocol: &str, more: &str) -> String {
        let password = self.temp.path().join("password");
        format!(
            "[upload]\nprotocol = \"{protocol}\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"ann\"\npassword_file = \"{}\"\n{more}",
            self.port,
            password.display()
        )
    }
}

async fn log(server: &Server, job: &str) -> String {
    server.get(&format!("/jobs/{job}/log")).await.text()
}

/// Address of what was uploaded, out of the job's log.
fn uploaded(log: &str, output: &str) -> String {
    let (_, rest) =
        log.split_once(&format!("output '{output}' was uploaded: ")).unwrap_or_else(|| panic!("{log}"));
    rest.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_agent_uploads_outputs_and_clients_have_the_content_or_the_address() {
    let site = Site::start("explicit", &["cut=100000"]).await;
    let server = Server::start().await;
    let certificate = site.temp.path().join("cert.pem");
    let more = format!("folder = \"site\"\ncertificate = \"{}\"\n", certificate.display());
    let config = site.temp.path().join("agent.toml");
    std::fs::write(&config, site.config("ftps", &more)).unwrap();
    let (data, config) = (server.data_folder().display().to_string(), config.display().to_string());
    let arguments = ["--data".into(), data, "--config".into(), config];
    let agent = Agent::start_with("a1", &[("made.toml", SERVICE)], &arguments);
    server.published("default:Made", true).await;

    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status} {}", agent.log());
    let archive = server.get(&format!("/jobs/{job}/results/archive")).await;
    assert_eq!((archive.content_type.as_str(), archive.body.len()), ("application/zip", 300_000));
    let log = log(&server, &job).await;
    assert!(log.contains("of 300000 bytes are there, tried again"), "{log}");
    let prefix = format!("ftps://127.0.0.1:{}/", site.port);
    let path = uploaded(&log, "archive").strip_prefix(&prefix).unwrap().to_owned();
    assert!(path.starts_with("site/results/made/") && path.ends_with("/out.zip"), "{path}");
    assert_eq!(std::fs::read(site.root().join(&path)).unwrap().len(), 300_000);
    let path = uploaded(&log, "said").strip_prefix(&prefix).unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(site.root().join(path)).unwrap(), "done");

    let asked = json!({
        "inputs": {}, "outputs": { "archive": { "format": { "mediaType": "text/uri-list" } } }, "response": "raw"
    });
    let address = server.execute("default:Made", &asked).await;
    assert_eq!(address.content_type, "text/uri-list", "{}", address.text());
    let path = address.text().strip_prefix(&prefix).unwrap().trim_end().to_owned();
    assert_eq!(std::fs::read(site.root().join(path)).unwrap().len(), 300_000);
}

#[tokio::test]
async fn an_upload_that_fails_fails_the_run_and_says_why() {
    let site = Site::start("plain", &["readonly"]).await;
    let services = tempfile::tempdir().unwrap();
    std::fs::write(services.path().join("made.toml"), SERVICE).unwrap();
    let config =
        site.config("ftp", "") + &format!("[services]\nfolder = \"{}\"\n", services.path().display());
    let server = Server::with_config(&config).await;
    server.published("default:Made", true).await;
    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("output 'archive' could not be uploaded: storing: the server says: 550"),
        "{status}"
    );
}

#[tokio::test]
async fn without_an_upload_server_the_content_comes_and_the_log_says_so() {
    let server = Server::start().await;
    let _agent = Agent::start(&server, "a1", &[("made.toml", SERVICE)]);
    server.published("default:Made", true).await;
    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    let log = log(&server, &job).await;
    assert!(log.contains("output 'archive' was not uploaded: no upload server is configured"), "{log}");
}

#[tokio::test]
async fn files_of_wps_remote_upload_as_the_original_does_and_the_server_finds_them() {
    let site = Site::start("plain", &[]).await;
    let xmpp = XmppServer::start(Maker::Anabranch).await;
    let uploads = format!("[wps_remote]\nuploads_folder = \"{}\"\n", site.root().display());
    let server = Server::with_config(&format!("{}\n{uploads}", xmpp.server_config())).await;
    let room_password = std::fs::read_to_string(xmpp.folder.path().join("xmpp/room-password")).unwrap();
    let remote_config = format!(
        "[DEFAULT]\nbus_class_name = xmppBus.XMPPBus\naddress = 127.0.0.1\nport = {port}\ndomain = {domain}\nuser = ann\n\
         password = {password}\nmucService = conference.%(domain)s\nmucServicePassword = {room}\nresource_file_dir = /tmp\n\
         certificate = {certificate}\norchestrator = orchestrator@%(domain)s\n\
         [UPLOADER]\nuploader_class_name = ftpUpload.FtpUpload\nuploader_host = 127.0.0.1:{ftp}\n\
         uploader_username = ann\nuploader_password = s3cret päss\n",
        port = xmpp.direct_tls_port,
        domain = xmpp.domain,
        password = xmpp.passwords["ann"],
        room = room_password.trim(),
        certificate = xmpp.certificate,
        ftp = site.port,
    );
    let config = site.temp.path().join("remote.config");
    std::fs::write(&config, remote_config).unwrap();
    let service = "[DEFAULT]\nservice = Zipped\nnamespace = default\ndescription = Zips\nactive = true\n\
         executable_path = /bin\nexecutable_cmd = /bin/sh make.sh\noutput_dir = /tmp/anabranch-e2e\n\
         unique_execution_id = %(unique_exe_id)s\nworkdir = %(output_dir)s/%(unique_execution_id)s\n\
         max_running_time_seconds = 60\n\
         [Output1]\nname = result1\ntype = application/zip\ndescription = Archive\nfilepath = %(workdir)s/out.zip\n\
         upload_data = true\nupload_data_root = /remote-wps/default\n";
    let files = tempfile::tempdir().unwrap();
    let script = files.path().join("make.sh");
    std::fs::write(&script, "head -c 300000 /dev/zero > \"$1/out.zip\"\n").unwrap();
    let command = format!("executable_cmd = /bin/sh {} %(workdir)s", script.display());
    let service = service.replace("executable_cmd = /bin/sh make.sh", &command);
    let arguments = ["--config".to_owned(), config.display().to_string()];
    let agent = Agent::start_with("vm", &[("service.config", &service)], &arguments);
    server.published("default:Zipped", true).await;
    let archive = server.execute("default:Zipped", &json!({ "inputs": {} })).await;
    assert_eq!((archive.status, archive.body.len()), (200, 300_000), "{} {}", archive.text(), agent.log());
    let stored = site.root().join("remote-wps/default");
    let run = std::fs::read_dir(&stored).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(run.join("out.zip")).unwrap().len(), 300_000);
}
