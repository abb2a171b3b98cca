//! FTP and FTPS, by pyftpdlib of Debian.

#![expect(clippy::disallowed_methods, reason = "the harness starts servers")]

use super::link::silent;
use super::support::{
    DEADLINE, Server, assert_same, file, names, settings, short, start_telling_port, upload,
};
use anabranch_delivery::{Ftp, FtpTls, Limits, RemotePath, Settings, Target, Uploader, Verify};
use rustls::pki_types::pem::PemObject as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

const PASSWORD: &str = "s3cret päss";

struct Site {
    temp: tempfile::TempDir,
    _server: Server,
    port: u16,
    certificate: String,
}

impl Site {
    fn start(kind: &str, faults: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".into(), "127.0.0.1".into()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let pem = temp.path().join("server.pem");
        std::fs::write(&pem, format!("{certificate}{}", key.serialize_pem())).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/uploads/ftp_server.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(temp.path().join("root")).arg(kind).arg(pem).args(faults);
        let log = std::fs::File::create(temp.path().join("log")).unwrap();
        let (server, port) = start_telling_port(command.stderr(log));
        Self { temp, _server: server, port, certificate }
    }

    fn plain(faults: &[&str]) -> Self {
        Self::start("plain", faults)
    }

    /// A client's configuration that trusts this site.
    fn tls(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(rustls::pki_types::CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap())
            .unwrap();
        config(roots)
    }

    fn settings(&self, tls: FtpTls) -> Settings {
        let (host, user, password) = ("127.0.0.1".into(), "ann".into(), PASSWORD.into());
        settings(Target::Ftp(Ftp { host, port: Some(self.port), user, password, tls }))
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

fn config(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn a_file_is_stored_in_folders_that_are_made() {
    let site = Site::plain(&[]);
    let file = site.file(300_000);
    let (uploaded, reports) = upload(site.settings(FtpTls::None), &file).await.done();
    assert_same(&file, &site.stored());
    assert_eq!(names(&site.root()), ["out.bin"], "nothing else is left");
    assert_eq!(uploaded.path, "base/wps/run/out.bin");
    assert_eq!(uploaded.url, format!("ftp://127.0.0.1:{}/base/wps/run/out.bin", site.port));
    assert_eq!((uploaded.checked, uploaded.tries, reports), ("size", 1, vec![]));
}

#[tokio::test]
async fn an_empty_file_and_a_public_url_will_do() {
    let site = Site::plain(&[]);
    let public_url = Some("https://files.example.org/data/".into());
    let (uploaded, _) =
        upload(Settings { public_url, ..site.settings(FtpTls::None) }, &site.file(0)).await.done();
    assert_eq!(uploaded.url, "https://files.example.org/data/run/out.bin");
    assert_eq!(std::fs::metadata(site.stored()).unwrap().len(), 0);
}

#[tokio::test]
async fn ftps_encrypts_after_the_greeting_or_before() {
    for kind in ["explicit", "implicit"] {
        let site = Site::start(kind, &[]);
        let file = site.file(300_000);
        let tls =
            if kind == "explicit" { FtpTls::Explicit(site.tls()) } else { FtpTls::Implicit(site.tls()) };
        let (uploaded, _) = upload(site.settings(tls), &file).await.done();
        assert_same(&file, &site.stored());
        assert!(uploaded.url.starts_with("ftps://127.0.0.1:"), "{kind}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_no_matter_of_trying_again() {
    let site = Site::start("explicit", &[]);
    let tls = FtpTls::Explicit(config(rustls::RootCertStore::empty()));
    let reason = upload(site.settings(tls), &site.file(1)).await.reason();
    assert!(reason.starts_with("TLS: the server's certificate is not trusted"), "{reason}");
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_was() {
    for kind in ["plain", "explicit"] {
        let site = Site::start(kind, &["cut=700000,200000"]);
        let file = site.file(2_000_000);
        let tls = if kind == "plain" { FtpTls::None } else { FtpTls::Explicit(site.tls()) };
        let (uploaded, reports) = upload(site.settings(tls), &file).await.done();
        assert_same(&file, &site.stored());
        assert_eq!(names(&site.root()), ["out.bin"]);
        assert_eq!((uploaded.tries, reports.len()), (3, 2), "{reports:?}");
    }
}

#[tokio::test]
async fn a_checksum_is_compared_where_the_server_offers_one_or_the_file_is_read_back() {
    for (faults, verify, checked) in [
        (["hash", "flip"], Verify::Offered, "size and SHA-256"),
        (["flip", ""], Verify::ReadBack, "size and SHA-256, read back"),
    ] {
        let site = Site::plain(&faults);
        let file = site.file(100_000);
        let (uploaded, reports) =
            upload(Settings { verify, ..site.settings(FtpTls::None) }, &file).await.done();
        assert_same(&file, &site.stored());
        assert_eq!((uploaded.checked, uploaded.tries), (checked, 2));
        assert!(
            reports[0].starts_with("the checksum of the file on the server is another one"),
            "{reports:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_tried_once() {
    let site = Site::plain(&[]);
    let mut settings = site.settings(FtpTls::None);
    if let Target::Ftp(ftp) = &mut settings.target {
        ftp.password = "wrong".into();
    }
    let outcome = upload(settings, &site.file(1)).await;
    assert!(outcome.reports.is_empty());
    let reason = outcome.reason();
    assert!(reason.starts_with("logging in: the server says: 530"), "{reason}");
    assert!(!reason.contains("wrong"), "{reason}");
}

#[tokio::test]
async fn who_may_not_write_is_told() {
    let site = Site::plain(&["readonly"]);
    let reason = upload(site.settings(FtpTls::None), &site.file(1)).await.reason();
    assert!(reason.starts_with("storing: the server says: 550"), "{reason}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_left() {
    let site = Site::plain(&["full=400000"]);
    let outcome = upload(site.settings(FtpTls::None), &site.file(1_000_000)).await;
    assert!(outcome.reports.len() < 10, "bounded");
    let reason = outcome.reason();
    assert_eq!(reason, "storing: the server says: 426 None; transfer aborted.", "the word of pyftpdlib");
    assert!(names(&site.root()).is_empty(), "{:?}", names(&site.root()));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_its_limit() {
    let temp = tempfile::tempdir().unwrap();
    let (host, user, password) = ("127.0.0.1".into(), "ann".into(), PASSWORD.into());
    let target = Target::Ftp(Ftp { host, port: Some(silent().await), user, password, tls: FtpTls::None });
    let reason =
        upload(Settings { limits: short(), ..settings(target) }, &file(temp.path(), 1)).await.reason();
    assert_eq!(reason, "the server's greeting: nothing came within 0.3 s");
}

#[tokio::test]
async fn an_upload_that_is_cancelled_leaves_nothing() {
    let site = Site::plain(&["cut=300000"]);
    let (settings, file) = (site.settings(FtpTls::None), site.file(1_000_000));
    let limits = Limits { pause_min: DEADLINE, pause_max: DEADLINE, ..settings.limits.clone() };
    let uploader = Uploader::new(Settings { limits, ..settings }).unwrap();
    let (path, cut) = (RemotePath::new(["run", "out.bin"]).unwrap(), tokio::sync::Notify::new());
    // In the pause after the first try, when a part of it is there.
    let report = |_text: String| {
        assert_eq!(names(&site.root()), [".out.bin.part"]);
        cut.notify_one();
    };
    let result = uploader.upload(&file, &path, &report, cut.notified()).await;
    assert_eq!(result, Err(None));
    assert!(names(&site.root()).is_empty(), "{:?}", names(&site.root()));
}
