//! Servers as processes, files to send, and limits that a test can wait for.

use anabranch_delivery::{Limits, RemotePath, Settings, Target, UploadError, Uploaded, Uploader, Verify};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A server's process, ended with the test.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that prints its port first.
pub(crate) fn start_telling_port(command: &mut Command) -> (Server, u16) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().expect("a port: see scripts/install-tools.sh test");
    (Server(child), port)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something listens there.
pub(crate) async fn listening(port: u16) {
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(since.elapsed() < DEADLINE, "nothing listens on port {port}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tries follow each other at once, and what hangs is noticed soon.
pub(crate) fn limits() -> Limits {
    Limits {
        tries_max: 3,
        pause_min: Duration::from_millis(10),
        pause_max: Duration::from_millis(50),
        connect: Duration::from_secs(5),
        reply: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        whole: Duration::from_secs(60),
    }
}

/// The limits of a test in which a server hangs.
pub(crate) fn short() -> Limits {
    let short = Duration::from_millis(300);
    Limits { tries_max: 2, connect: short, reply: short, stall: short, ..limits() }
}

pub(crate) fn settings(target: Target) -> Settings {
    let (folder, public_url) = ("base/wps".into(), None);
    Settings { target, folder, public_url, verify: Verify::Offered, limits: limits() }
}

/// What came of an upload.
pub(crate) struct Outcome {
    pub(crate) result: Result<Uploaded, Option<UploadError>>,
    pub(crate) reports: Vec<String>,
}

impl Outcome {
    pub(crate) fn done(self) -> (Uploaded, Vec<String>) {
        (self.result.unwrap(), self.reports)
    }

    pub(crate) fn reason(self) -> String {
        self.result.unwrap_err().expect("nobody cancelled it").reason
    }
}

/// Uploads a file as `run/out.bin`.
pub(crate) async fn upload(settings: Settings, file: &Path) -> Outcome {
    let uploader = Uploader::new(settings).unwrap();
    let reports = Mutex::new(Vec::new());
    let path = RemotePath::new(["run", "out.bin"]).unwrap();
    let result = uploader
        .upload(file, &path, &|text| reports.lock().unwrap().push(text), std::future::pending())
        .await;
    Outcome { result, reports: reports.into_inner().unwrap() }
}

/// A file whose bytes differ from place to place.
pub(crate) fn file(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join("to-send");
    let content: Vec<u8> = (0..bytes).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    std::fs::write(&path, content).unwrap();
    path
}

/// Both files hold the same.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{} differs", other.display());
}

/// Names of all files below a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// A program of Python's that was installed with `scripts/install-tools.sh test`.
pub(crate) fn python_tool(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/bin").join(name);
    if own.exists() { own } else { name.into() }
}
