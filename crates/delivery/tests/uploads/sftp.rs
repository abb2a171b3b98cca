//! SFTP, by OpenSSH's sshd, as whoever runs the test.

#![expect(clippy::disallowed_methods, reason = "the harness starts servers")]

use super::link::{Link, silent};
use super::support::{Server, assert_same, file, free_port, listening, names, settings, short, upload};
use anabranch_delivery::{HostKeys, Settings, Sftp, SftpSecret, Target, Verify};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Site {
    temp: tempfile::TempDir,
    _server: Server,
    port: u16,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn make_key(path: &Path, passphrase: &str) {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", passphrase, "-f", path.to_str().unwrap()]);
}

impl Site {
    async fn start(sftp_options: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        make_key(&at("host"), "");
        make_key(&at("user"), "opens me");
        let port = free_port();
        std::fs::create_dir(at("root")).unwrap();
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPubkeyAuthentication yes\nPasswordAuthentication yes\n\
             AuthorizedKeysFile {user}.pub\nSubsystem sftp internal-sftp {sftp_options}\nMaxStartups 100\n",
            host = at("host").display(),
            user = at("user").display(),
        );
        std::fs::write(at("sshd_config"), configuration).unwrap();
        if run("id", &["-u"]).trim() == "0" {
            // Where root starts it, sshd wants this folder of its package's start script.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let log = std::fs::File::create(at("log")).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(at("sshd_config")).stdin(Stdio::null()).stderr(log);
        let server = Server(command.spawn().expect("sshd: see scripts/install-tools.sh test"));
        listening(port).await;
        Self { temp, _server: server, port }
    }

    fn fingerprint(&self) -> String {
        let shown = run("ssh-keygen", &["-l", "-f", self.temp.path().join("host.pub").to_str().unwrap()]);
        shown.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn sftp(&self) -> Sftp {
        let pem = std::fs::read_to_string(self.temp.path().join("user")).unwrap();
        Sftp {
            host: "127.0.0.1".into(),
            port: Some(self.port),
            user: run("id", &["-un"]).trim().to_owned(),
            secret: SftpSecret::Key { pem, passphrase: Some("opens me".into()) },
            host_keys: HostKeys::Pinned(self.fingerprint()),
        }
    }

    fn settings(&self, sftp: Sftp) -> Settings {
        let folder = format!("{}/base/wps", self.root().display());
        Settings { folder, ..settings(Target::Sftp(sftp)) }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    fn stored(&self) -> PathBuf {
        self.root().join("base/wps/run/out.bin")
    }

    fn file(&self, bytes: usize) -> PathBuf {
        file(self.temp.path(), bytes)
    }
}

#[tokio::test]
async fn a_file_is_stored_in_folders_that_are_made_and_read_back() {
    let site = Site::start("").await;
    std::fs::create_dir(site.root().join("base")).unwrap();
    let file = site.file(3_000_000);
    let settings = Settings { verify: Verify::ReadBack, ..site.settings(site.sftp()) };
    let (uploaded, reports) = upload(settings, &file).await.done();
    assert_same(&file, &site.stored());
    assert_eq!(names(&site.root()), ["out.bin"]);
    assert_eq!(uploaded.path, site.stored().display().to_string());
    let url = format!("sftp://127.0.0.1:{}{}", site.port, site.stored().display());
    assert_eq!((uploaded.url, uploaded.checked, reports), (url, "size and SHA-256, read back", vec![]));
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_was() {
    let site = Site::start("").await;
    let link = Link::to(site.port, vec![5_000_000, 3_000_000]).await;
    let file = site.file(9_000_000);
    let sftp = Sftp { port: Some(link.port), ..site.sftp() };
    let settings = Settings { verify: Verify::ReadBack, ..site.settings(sftp) };
    let (uploaded, reports) = upload(settings, &file).await.done();
    assert_same(&file, &site.stored());
    assert_eq!(names(&site.root()), ["out.bin"]);
    assert_eq!((uploaded.tries, link.connections()), (3, 3), "{reports:?}");
}

#[tokio::test]
async fn a_server_that_is_not_known_gets_no_password() {
    let site = Site::start("").await;
    let known_hosts = site.temp.path().join("known_hosts");
    let with = |host_keys| site.settings(Sftp { host_keys, ..site.sftp() });
    let known = || with(HostKeys::Known(vec![known_hosts.clone()]));
    let reason = upload(known(), &site.file(1)).await.reason();
    let expected = format!("its key {} is in none of {}", site.fingerprint(), known_hosts.display());
    assert!(reason.contains(&expected), "{reason}");
    assert!(reason.contains("ssh-keyscan"), "{reason}");
    let pinned = with(HostKeys::Pinned("SHA256:AAAA".into()));
    let reason = upload(pinned, &site.file(1)).await.reason();
    assert!(reason.contains("and SHA256:AAAA is pinned"), "{reason}");

    let host = std::fs::read_to_string(site.temp.path().join("host.pub")).unwrap();
    std::fs::write(&known_hosts, format!("[127.0.0.1]:{} {host}", site.port)).unwrap();
    upload(known(), &site.file(1)).await.done();

    let other = std::fs::read_to_string(site.temp.path().join("user.pub")).unwrap();
    std::fs::write(&known_hosts, format!("[127.0.0.1]:{} {other}", site.port)).unwrap();
    let reason = upload(known(), &site.file(1)).await.reason();
    assert!(reason.contains("is not known") && reason.contains("changed"), "{reason}");
}

#[tokio::test]
async fn wrong_secrets_are_said_and_tried_once() {
    let site = Site::start("").await;
    let pem = std::fs::read_to_string(site.temp.path().join("host")).unwrap();
    for secret in [SftpSecret::Password("wrong".into()), SftpSecret::Key { pem, passphrase: None }] {
        let outcome = upload(site.settings(Sftp { secret, ..site.sftp() }), &site.file(1)).await;
        assert!(outcome.reports.is_empty());
        let reason = outcome.reason();
        assert!(reason.starts_with("logging in: the server refuses"), "{reason}");
    }
    let pem = std::fs::read_to_string(site.temp.path().join("user")).unwrap();
    let secret = SftpSecret::Key { pem, passphrase: Some("wrong".into()) };
    let reason = upload(site.settings(Sftp { secret, ..site.sftp() }), &site.file(1)).await.reason();
    assert!(reason.starts_with("the private key can't be read"), "{reason}");
}

#[tokio::test]
async fn who_may_not_write_is_told() {
    let site = Site::start("-R").await;
    let reason = upload(site.settings(site.sftp()), &site.file(1)).await.reason();
    assert!(reason.starts_with("storing: Permission denied"), "{reason}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_its_limit() {
    let site = Site::start("").await;
    let sftp = Sftp { port: Some(silent().await), ..site.sftp() };
    let reason = upload(Settings { limits: short(), ..site.settings(sftp) }, &site.file(1)).await.reason();
    assert_eq!(reason, "SSH: nothing came within 0.3 s");
}
