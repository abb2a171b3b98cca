//! The binary from outside: starts it in a folder of its own on free loopback ports, talks to it as its users do, stops or kills it
//! by pid, and looks into its log.
//!
//! The binary is `$ANABRANCH_BIN`, or `anabranch` beside the folder of the test programs; `anabranch-agent` lies beside it.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // all of it is test code

pub mod link;
pub mod postgres;
pub mod power;
pub mod producer;
pub mod proxy;
mod random;
pub mod raw;
pub mod replay;
pub mod witness;
pub mod work;
pub mod xmpp_servers;

pub use random::Random;

use anabranch_egress::{Egress, Method, Policy, Request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longest wait for anything that has no limit of its own: generous, for machines that are busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ANABRANCH_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("anabranch");
    assert!(path.exists(), "{} is not there: build it first (make e2e)", path.display());
    path
}

/// The program that is an agent alone.
pub fn agent_binary() -> PathBuf {
    let path = binary().with_file_name("anabranch-agent");
    assert!(path.exists(), "{} is not there: build it first (make e2e)", path.display());
    path
}

/// A command that ends with the test, whatever happens.
#[expect(clippy::disallowed_methods, reason = "the harness starts the programs under test")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// The environment of a program with a clock that is wrong. Not `faketime`, which stands between a program and its signals.
pub fn clock_off_by(offset: &str) -> Vec<(String, String)> {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    let library = libraries.find(|library| library.exists()).expect("this test needs Debian's faketime");
    // Wrong is what clocks of machines tell of the day; by which time passes, the monotonic one, counts from their start anyway.
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", offset.into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    environment.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// A loopback port that is free, and given to nobody else of this program. Below those that the system gives to outgoing connections, so
/// that none of these takes it before a server does.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Programs that run one after the other, or at once, begin in different places.
    let begin = std::process::id().wrapping_mul(7919);
    loop {
        let number = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + number).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `look` gives something.
pub async fn eventually<T>(what: &str, within: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_at_pace(what, within, Duration::from_millis(25), look).await
}

/// The same where each look counts: `pace` lies between two.
pub async fn eventually_at_pace<T>(
    what: &str,
    within: Duration,
    pace: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {within:?}");
        tokio::time::sleep(pace).await;
    }
}

/// What a server is started with beside what the tests have.
#[derive(Default)]
pub struct Circumstances {
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// A program before it.
    pub before: Vec<String>,
}

/// A running server.
pub struct Server {
    child: Child,
    pub data: TempDir,
    pub http: SocketAddr,
    pub xmpp: SocketAddr,
    pub xmpp_tls: SocketAddr,
    /// In which circumstances it is started.
    pub around: Circumstances,
    starts: u32,
}

impl Server {
    pub async fn start() -> Self {
        Self::with_config("").await
    }

    /// With a configuration file of this text.
    pub async fn with_config(config: &str) -> Self {
        Self::start_in(config, |_data| Circumstances::default()).await
    }

    /// In circumstances that may depend on where its data folder is.
    pub async fn start_in(config: &str, around: impl FnOnce(&Path) -> Circumstances) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("config.toml"), config).unwrap();
        let around = around(&data.path().join("data"));
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (http, xmpp, xmpp_tls) = (port(), port(), port());
        let child = Self::spawn(&data, [http, xmpp, xmpp_tls], &around, 1);
        let mut server = Self { child, data, http, xmpp, xmpp_tls, around, starts: 1 };
        server.ready().await;
        server
    }

    fn spawn(
        data: &TempDir,
        [http, xmpp, xmpp_tls]: [SocketAddr; 3],
        around: &Circumstances,
        start: u32,
    ) -> Child {
        let file = |name: &str| std::fs::File::create(data.path().join(format!("{name}.{start}"))).unwrap();
        let mut words: Vec<std::ffi::OsString> = around.before.iter().map(Into::into).collect();
        words.push(binary().into());
        command(&words[0])
            .args(&words[1..])
            .envs(around.environment.iter().cloned())
            .args(["serve", "--config"])
            .arg(data.path().join("config.toml"))
            .arg("--data")
            .arg(data.path().join("data"))
            .args(["--listen", &http.to_string(), "--xmpp-listen", &xmpp.to_string()])
            .args(["--xmpp-tls-listen", &xmpp_tls.to_string()])
            .stdout(file("stdout"))
            .stderr(file("log"))
            .spawn()
            .unwrap()
    }

    async fn ready(&mut self) {
        let url = self.url("/readyz");
        let end = Instant::now() + DEADLINE;
        loop {
            if let Ok(reply) = try_get(&url).await
                && reply.status == 200
            {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < end, "the server was not ready in time: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn data_folder(&self) -> PathBuf {
        self.data.path().join("data")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join(format!("log.{}", self.starts))).unwrap_or_default()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.child.wait().await.unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the server stops in time").unwrap()
    }

    /// Waits for its end by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        tokio::time::timeout(within, self.child.wait()).await.expect("the server ends in time").unwrap()
    }

    /// Starts it again, with the same data and ports.
    pub async fn start_again(&mut self) {
        self.starts += 1;
        let addresses = [self.http, self.xmpp, self.xmpp_tls];
        self.child = Self::spawn(&self.data, addresses, &self.around, self.starts);
        self.ready().await;
    }

    pub async fn get(&self, path: &str) -> Reply {
        try_get(&self.url(path)).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Reply {
        send(Request::new(Method::Delete, self.url(path).parse().unwrap())).await.unwrap()
    }

    /// DELETE, of a server that may be gone.
    pub async fn try_delete(&self, path: &str) -> Result<Reply, String> {
        send(Request::new(Method::Delete, self.url(path).parse().unwrap())).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let request =
            Request::post(self.url(path).parse().unwrap(), body.into()).header("Content-Type", content_type);
        send(request).await.unwrap()
    }

    /// Executes a process synchronously by OGC API.
    pub async fn execute(&self, process: &str, body: &Value) -> Reply {
        self.post(&format!("/processes/{process}/execution"), "application/json", body.to_string()).await
    }

    /// Executes a process asynchronously and gives the job's id.
    pub async fn submit(&self, process: &str, body: &Value) -> String {
        let url = self.url(&format!("/processes/{process}/execution"));
        let request = Request::post(url.parse().unwrap(), body.to_string())
            .header("Content-Type", "application/json")
            .header("Prefer", "respond-async");
        let reply = send(request).await.unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["jobID"].as_str().unwrap().to_owned()
    }

    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}")).await.json()
    }

    /// Waits until a job is in one of these states.
    pub async fn job_in(&self, id: &str, states: &[&str], within: Duration) -> Value {
        eventually(&format!("job {id} in {states:?}"), within, async || {
            let reply = try_get(&self.url(&format!("/jobs/{id}"))).await.ok()?;
            let job: Value = serde_json::from_slice(&reply.body).ok()?;
            states.contains(&job["status"].as_str()?).then_some(job)
        })
        .await
    }

    /// Waits until a process is published, or not.
    pub async fn published(&self, process: &str, wanted: bool) {
        eventually(&format!("process {process} published: {wanted}"), DEADLINE, async || {
            let reply = try_get(&self.url(&format!("/processes/{process}"))).await.ok()?;
            ((reply.status == 200) == wanted).then_some(())
        })
        .await;
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().expect("it runs")).unwrap()).unwrap()
}

/// A running agent.
pub struct Agent {
    pub child: Child,
    pub folder: TempDir,
}

impl Agent {
    /// With service files by name and text, on the server's machine.
    pub fn start(server: &Server, name: &str, services: &[(&str, &str)]) -> Self {
        let arguments = ["--data".into(), server.data_folder().display().to_string()];
        Self::start_with(name, services, &arguments)
    }

    /// With other arguments than `--data`.
    pub fn start_with(name: &str, services: &[(&str, &str)], arguments: &[String]) -> Self {
        let folder = Self::folder_with(services);
        let child = Self::spawn(name, folder.path(), &folder.path().join("services"), arguments);
        Self { child, folder }
    }

    /// As the program that is an agent alone.
    pub fn start_alone(name: &str, services: &[(&str, &str)], arguments: &[String]) -> Self {
        let folder = Self::folder_with(services);
        let started = command(agent_binary());
        let child = Self::spawn_by(started, name, folder.path(), &folder.path().join("services"), arguments);
        Self { child, folder }
    }

    fn folder_with(services: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("services");
        std::fs::create_dir(&files).unwrap();
        for (file, text) in services {
            std::fs::write(files.join(file), text).unwrap();
        }
        folder
    }

    /// With a program before it that starts it in other circumstances.
    pub fn start_under(
        before: &[String],
        name: &str,
        services: &[(&str, &str)],
        arguments: &[String],
    ) -> Self {
        let folder = Self::folder_with(services);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut all = before.iter();
        let mut started = command(all.next().unwrap());
        started
            .args(all)
            .arg(binary())
            .args(["agent", "--name", name, "--capacity", "4", "--services"])
            .arg(folder.path().join("services"));
        if !arguments.iter().any(|argument| argument == "--work") {
            started.arg("--work").arg(folder.path().join("runs"));
        }
        let child = started.args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, folder }
    }

    /// With a folder of service files that is there, on the server's machine.
    pub fn start_in(server: &Server, name: &str, services: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--data".into(), server.data_folder().display().to_string()];
        let child = Self::spawn(name, folder.path(), services, &arguments);
        Self { child, folder }
    }

    fn spawn(name: &str, folder: &Path, services: &Path, arguments: &[String]) -> Child {
        let mut started = command(binary());
        started.arg("agent");
        Self::spawn_by(started, name, folder, services, arguments)
    }

    fn spawn_by(
        mut started: Command,
        name: &str,
        folder: &Path,
        services: &Path,
        arguments: &[String],
    ) -> Child {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        started
            .args(["--name", name, "--capacity", "4", "--services"])
            .arg(services)
            .arg("--work")
            .arg(folder.join("runs"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Starts it again, in the same folders, on the server's machine.
    pub fn start_again(&mut self, server: &Server, name: &str) {
        let arguments = ["--data".into(), server.data_folder().display().to_string()];
        let folder = self.folder.path();
        self.child = Self::spawn(name, folder, &folder.join("services"), &arguments);
    }

    /// Starts it again, in the same folders, with other arguments than `--data`.
    pub fn start_again_with(&mut self, name: &str, arguments: &[String]) {
        let folder = self.folder.path();
        self.child = Self::spawn(name, folder, &folder.join("services"), arguments);
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub async fn kill(&mut self) {
        kill_process(pid_of(&self.child), Signal::KILL).unwrap();
        self.child.wait().await.unwrap();
    }

    pub async fn stop(&mut self) -> ExitStatus {
        kill_process(pid_of(&self.child), Signal::TERM).unwrap();
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the agent stops in time").unwrap()
    }

    /// Waits for its end by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        tokio::time::timeout(within, self.child.wait()).await.expect("the agent ends in time").unwrap()
    }
}

/// An HTTP answer.
pub struct Reply {
    /// Where it came from: redirects are followed.
    pub url: String,
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// Headers that tests look at, beside those that have a field of their own.
const HEADERS: [&str; 11] = [
    "accept-ranges",
    "access-control-allow-origin",
    "cache-control",
    "content-range",
    "content-security-policy",
    "etag",
    "link",
    "retry-after",
    "sunset",
    "www-authenticate",
    "x-request-id",
];

impl Reply {
    /// One of [`HEADERS`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Where it is a text in JSON: its bytes.
    pub fn json_text(&self) -> Option<Vec<u8>> {
        let text: String = serde_json::from_slice(&self.body).ok()?;
        Some(text.into_bytes())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// GET, any status.
pub async fn try_get(url: &str) -> Result<Reply, String> {
    send(Request::get(url.parse().map_err(|error| format!("{error}"))?)).await
}

/// GET with an `Accept` header.
pub async fn get_as(url: &str, accept: &str) -> Reply {
    send(Request::get(url.parse().unwrap()).header("Accept", accept)).await.unwrap()
}

/// GET with headers.
pub async fn get_with(url: &str, headers: &[(&str, &str)]) -> Reply {
    let request = Request::get(url.parse().unwrap());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(request).await.unwrap()
}

/// POST with headers.
pub async fn post_as(url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    try_post(url, headers, body).await.unwrap()
}

/// POST with headers, to a server that may be gone.
pub async fn try_post(url: &str, headers: &[(&str, &str)], body: &str) -> Result<Reply, String> {
    let request = Request::post(url.parse().unwrap(), body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(request).await
}

/// Any method with headers and no body.
pub async fn ask(method: Method, url: &str, headers: &[(&str, &str)]) -> Reply {
    let request = Request::new(method, url.parse().unwrap());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(request).await.unwrap()
}

async fn send(request: Request) -> Result<Reply, String> {
    let policy = Policy { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Policy::default() };
    let response = Egress::new(policy).fetch_any_status(request).await.map_err(|error| error.to_string())?;
    let (status, url) = (response.status, response.url().to_string());
    let content_type = response.content_type.clone().unwrap_or_default();
    let location = response.header("location").map(str::to_owned);
    let headers =
        HEADERS.iter().filter_map(|name| Some((*name, response.header(name)?.to_owned()))).collect();
    let body = response.bytes(1 << 30).await.map_err(|error| error.to_string())?.to_vec();
    Ok(Reply { url, status, content_type, location, headers, body })
}

/// An answer that is looked at while it comes.
pub struct Opened {
    socket: tokio::net::TcpStream,
    pub seen: String,
}

impl Opened {
    /// GET, by a connection of its own.
    pub async fn get(url: &str, headers: &str) -> Self {
        let url: url::Url = url.parse().unwrap();
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let mut socket = tokio::net::TcpStream::connect(&host).await.unwrap();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let request = format!(
            "GET {}{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n",
            url.path()
        );
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
        Self { socket, seen: String::new() }
    }

    /// Reads until this has come; false where the answer ended before.
    pub async fn until(&mut self, text: &str) -> bool {
        let reading = async {
            let mut block = [0; 4096];
            while !self.seen.contains(text) {
                match tokio::io::AsyncReadExt::read(&mut self.socket, &mut block).await.unwrap() {
                    0 => return false,
                    count => self.seen.push_str(&String::from_utf8_lossy(&block[..count])),
                }
            }
            true
        };
        tokio::time::timeout(DEADLINE, reading)
            .await
            .unwrap_or_else(|_elapsed| panic!("{text:?} has not come"))
    }
}

/// `anabranch check --store` of a data folder.
pub async fn check_store(data: &Path) -> std::process::Output {
    command(binary()).args(["check", "--store", "--data"]).arg(data).output().await.unwrap()
}

/// Processes on this machine whose environment or arguments hold `marker`.
pub fn processes_with(marker: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        !zombie && line.windows(marker.len()).any(|window| window == marker.as_bytes())
    })
    .collect()
}

/// A service file that runs `/bin/sh` with a fixed script: shells are what tests are made of, not what services should be.
pub fn script_service(name: &str, script: &str, more: &str) -> String {
    format!(
        "namespace = \"default\"\nidentifier = \"{name}\"\ntitle = \"{name}\"\n{more}\n\
         [inputs.text]\ntitle = \"Text\"\ntype = \"string\"\nmin_occurs = 0\nmax_occurs = 3\nallow_leading_dash = true\n\
         [outputs.said]\ntitle = \"What it said\"\ntype = \"string\"\nstdout = true\n\
         [command]\nprogram = \"/bin/sh\"\narguments = [\"-c\", {script:?}, \"{name}\", [\"{{text}}\"]]\ntime_limit = \"5 min\"\n\
         [capacity]\nruns = 4\n"
    )
}
