//! S3, by moto.

#![expect(clippy::disallowed_methods, reason = "the harness starts servers")]

use super::link::{Link, silent};
use super::support::{Server, file, free_port, listening, python_tool, settings, short, upload};
use anabranch_delivery::{S3, Settings, Target};
use anabranch_egress::{Egress, Policy, Request, parse_url};
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct Site {
    temp: tempfile::TempDir,
    _server: Server,
    port: u16,
}

impl Site {
    async fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = std::fs::File::create(temp.path().join("log")).unwrap();
        let mut command = Command::new(python_tool("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
        let server = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let server = Server(server.expect("moto_server: see scripts/install-tools.sh test"));
        listening(port).await;
        let site = Self { temp, _server: server, port };
        let made = egress(port).fetch(Request::put(site.url("results"), Vec::new())).await.unwrap();
        assert_eq!(made.status, 200);
        site
    }

    fn url(&self, path: &str) -> url::Url {
        parse_url(&format!("http://127.0.0.1:{}/{path}", self.port)).unwrap()
    }

    fn settings(&self, port: u16, bucket: &str) -> Settings {
        settings(Target::S3(S3 {
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            region: "us-east-1".into(),
            bucket: bucket.into(),
            access_key: "key".into(),
            secret_key: "secret".into(),
            ca_file: None,
        }))
    }

    fn file(&self, bytes: usize) -> PathBuf {
        file(self.temp.path(), bytes)
    }

    async fn get(&self, path: &str) -> Vec<u8> {
        let request = Request::get(self.url(path)).header("Authorization", AUTHORIZATION);
        egress(self.port).fetch(request).await.unwrap().bytes(1 << 30).await.unwrap().to_vec()
    }
}

/// moto looks at the key's name only.
const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

fn egress(port: u16) -> Egress {
    Egress::new(Policy { allow: vec![format!("127.0.0.1:{port}").parse().unwrap()], ..Policy::default() })
}

#[tokio::test]
async fn a_file_becomes_an_object() {
    let site = Site::start().await;
    let file = site.file(300_000);
    let (uploaded, reports) = upload(site.settings(site.port, "results"), &file).await.done();
    assert_eq!(site.get("results/base/wps/run/out.bin").await, std::fs::read(&file).unwrap());
    assert_eq!(uploaded.url, "s3://results/base/wps/run/out.bin");
    assert_eq!((uploaded.checked, uploaded.tries, reports), ("size and SHA-256", 1, vec![]));
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_goes_on_where_it_was_cut() {
    let site = Site::start().await;
    let link = Link::to(site.port, vec![usize::MAX, 20_000_000, 3_000_000]).await;
    let file = site.file(30_000_000);
    let (uploaded, reports) = upload(site.settings(link.port, "results"), &file).await.done();
    assert!(site.get("results/base/wps/run/out.bin").await == std::fs::read(&file).unwrap());
    assert!(uploaded.tries >= 2 && uploaded.tries <= 3, "{} {reports:?}", uploaded.tries);
    let unfinished = String::from_utf8(site.get("results?uploads").await).unwrap();
    assert!(!unfinished.contains("<UploadId>"), "{unfinished}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_said_and_tried_once() {
    let site = Site::start().await;
    let outcome = upload(site.settings(site.port, "nowhere"), &site.file(1)).await;
    assert!(outcome.reports.is_empty(), "{:?}", outcome.reports);
    let reason = outcome.reason();
    assert!(reason.starts_with("storing: there is no such bucket"), "{reason}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_its_limit() {
    let site = Site::start().await;
    let settings = Settings { limits: short(), ..site.settings(silent().await, "results") };
    let reason = upload(settings, &site.file(1)).await.reason();
    assert!(reason.starts_with("storing: the server can't be reached"), "{reason}");
}
