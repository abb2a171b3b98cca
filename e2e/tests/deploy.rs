//! What `deploy/` holds: units that systemd takes, and command lines and configuration files from which a server, an agent and three nodes
//! with all that they need become ready. Of the files only paths, ports and names of hosts are changed.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, Reply, binary, command, eventually, free_port, post_as, script_service, try_get};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// A folder that stands for the root of the file system.
struct Root(TempDir);

impl Drop for Root {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = fs::read_dir(self.0.path()).unwrap().flatten().map(|entry| entry.path());
            for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
                eprintln!("--- {}\n{}", log.display(), fs::read_to_string(&log).unwrap_or_default());
            }
        }
    }
}

impl Root {
    /// With what `deploy/cluster` holds in `/etc/anabranch`, as the compose file mounts it, after some texts have been exchanged.
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for folder in ["/etc/anabranch", "/certificate", "/srv/anabranch", "/var/lib/prosody"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// A text in which every path lies below this root.
    fn rooted(&self, text: &str) -> String {
        let text = text.replace("/usr/local/bin/anabranch", &binary().display().to_string());
        let folders = ["/etc/anabranch", "/certificate", "/srv/anabranch", "/var/lib"];
        folders
            .iter()
            .fold(text, |text, folder| text.replace(folder, &self.path(folder).display().to_string()))
    }

    /// Puts a file of `deploy/cluster` into `/etc/anabranch`, each of these texts, which must be in it, exchanged.
    fn configure(&self, name: &str, as_name: &str, exchanged: &[(&str, &str)]) {
        let text = fs::read_to_string(deploy().join("cluster").join(name)).unwrap();
        let text = exchanged.iter().fold(text, |text, (old, new)| {
            assert!(text.contains(old), "deploy/cluster/{name} has no {old:?}");
            text.replace(old, new)
        });
        fs::write(self.path("/etc/anabranch").join(as_name), self.rooted(&text)).unwrap();
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
}

/// A program as it runs where nothing of its starter's environment is there.
struct Running {
    child: Child,
    name: String,
}

impl Running {
    fn start(root: &Root, name: &str, words: &[String], environment: &[(String, String)]) -> Self {
        let log = fs::File::create(root.path(&format!("{name}.log"))).unwrap();
        let child = command(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .envs(environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, name: name.to_owned() }
    }

    /// Waits until an address is answered with 200.
    async fn ready(&mut self, root: &Root, url: &str) {
        eventually(&format!("{} is ready", self.name), DEADLINE, async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended with {ended:?}: {}", self.name, root.log(&self.name));
            (try_get(url).await.ok()?.status == 200).then_some(())
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().expect("it runs")).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it stops in time").unwrap()
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The command line of a unit, of that instance.
fn exec_start(root: &Root, unit: &str, instance: &str) -> Vec<String> {
    let text = fs::read_to_string(deploy().join("systemd").join(unit)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    words(&root.rooted(&line.replace("%i", instance)))
}

async fn submit(base: &str, process: &str, body: &Value) -> String {
    submit_if_passed_on(base, process, body).await.expect("the proxy passes it on")
}

/// `None` where the proxy had sent the request to a node that has just died, and may not send it to another one: its job may be there.
async fn submit_if_passed_on(base: &str, process: &str, body: &Value) -> Option<String> {
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let reply = post_as(&format!("{base}/processes/{process}/execution"), &headers, &body.to_string()).await;
    if reply.status == 502 {
        return None;
    }
    assert_eq!(reply.status, 201, "{process}: {}", reply.text());
    Some(reply.json()["jobID"].as_str().unwrap().to_owned())
}

/// The results of a job, once it is successful there.
async fn results(base: &str, job: &str, output: &str) -> Reply {
    eventually(&format!("job {job} is successful at {base}"), DEADLINE, async || {
        let status = try_get(&format!("{base}/jobs/{job}")).await.ok()?;
        (status.json()["status"].as_str()? == "successful").then_some(())
    })
    .await;
    try_get(&format!("{base}/jobs/{job}/results/{output}")).await.unwrap()
}

#[tokio::test]
async fn systemd_takes_the_units() {
    let root = Root::new();
    for (unit, name) in [
        ("anabranch.service", "anabranch.service"),
        ("anabranch-agent.service", "anabranch-agent.service"),
        ("anabranch-node@.service", "anabranch-node@a.service"),
    ] {
        let text = fs::read_to_string(deploy().join("systemd").join(unit)).unwrap();
        let file = root.path(name);
        // The program, and what a node needs mounted, must be there.
        fs::write(&file, text.replace("/usr/local/bin/anabranch", &binary().display().to_string())).unwrap();
        let checked =
            command("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().await.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let about = said.lines().filter(|line| line.contains("anabranch")).collect::<Vec<_>>();
        assert!(checked.status.success() && about.is_empty(), "{unit}: {said}");
    }
}

#[tokio::test]
async fn the_unit_of_a_server_starts_one() {
    let root = Root::new();
    let [http, xmpp, xmpp_tls] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut line = exec_start(&root, "anabranch.service", "");
    // The defaults may be taken.
    line.extend(
        ["--listen", &http, "--xmpp-listen", &xmpp, "--xmpp-tls-listen", &xmpp_tls].map(str::to_owned),
    );
    let mut server = Running::start(&root, "server", &line, &[]);
    let base = format!("http://{http}");
    server.ready(&root, &format!("{base}/readyz")).await;
    let job = submit(&base, "echo", &json!({ "inputs": { "literalInput": "hello" } })).await;
    assert_eq!(results(&base, &job, "literalOutput").await.text(), "hello");
    assert!(root.path("/var/lib/anabranch/jobs.sqlite").exists(), "in the folder that systemd makes");
    assert!(server.stop().await.success());
}

/// A compose file as JSON, with what its anchors stand for.
async fn compose() -> Value {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let file = deploy().join("compose.yaml");
    let read = command("/usr/bin/python3").args(["-c", script]).arg(file).output().await.unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).unwrap()
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let pairs = service["environment"].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// A command of the compose file.
fn command_of(words: &Value) -> Vec<String> {
    words.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// PostgreSQL with the user, password and database that the image makes of its environment.
async fn postgres(root: &Root, service: &Value) -> (Child, u16) {
    let variable = |name: &str| service["environment"][name].as_str().unwrap().to_owned();
    let (user, password, port) = (variable("POSTGRES_USER"), variable("POSTGRES_PASSWORD"), free_port());
    let folder =
        tempfile::Builder::new().prefix("postgres-").tempdir_in(std::env::temp_dir()).unwrap().keep();
    let rules = folder.join("rules");
    fs::write(&rules, "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    let mut child = command(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-postgres.sh"))
        .arg(&folder)
        .arg(port.to_string())
        .args(["-c", &format!("hba_file={}", rules.display())])
        .kill_on_drop(false)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("PostgreSQL starts in time");
    assert_eq!(line.unwrap().as_deref(), Some("ready"), "PostgreSQL: scripts/install-tools.sh e2e");
    for sql in [
        format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"),
        format!("CREATE DATABASE {user} OWNER {user}"),
    ] {
        let mut psql = command("psql");
        psql.arg("-h").arg(&folder);
        let made =
            psql.args(["-U", "postgres", "-p", &port.to_string(), "-c", &sql, "postgres"]).output().await;
        let made = made.unwrap();
        assert!(
            made.status.success(),
            "{}: {}",
            root.0.path().display(),
            String::from_utf8_lossy(&made.stderr)
        );
    }
    (child, port)
}

/// Prosody by the script that its container runs.
async fn prosody(root: &Root, service: &Value) -> (Running, u16) {
    let port = free_port();
    // Where to listen, and that the test's user, who may be root, is the server's.
    let here = format!(
        "c2s_ports = {{ {port} }}\nc2s_direct_tls_ports = {{}}\nc2s_interfaces = {{ \"127.0.0.1\" }}\nrun_as_root = true\n\
         authentication ="
    );
    root.configure("prosody.cfg.lua", "prosody.cfg.lua", &[("authentication =", &here)]);
    let users = [("chown prosody", "true"), ("setpriv --reuid=prosody --regid=prosody --clear-groups ", "")];
    root.configure("start-prosody.sh", "start-prosody.sh", &users);
    root.configure("xmpp-password", "xmpp-password", &[]);
    let script = root.path("/etc/anabranch/start-prosody.sh").display().to_string();
    let mut server = Running::start(root, "prosody", &["/bin/sh".into(), script], &[]);
    let check = command_of(&service["healthcheck"]["test"]);
    assert_eq!(check[0], "CMD");
    let check: Vec<_> = check[1..].iter().map(|word| root.rooted(word)).collect();
    eventually("Prosody is healthy", DEADLINE, async || {
        let ended = server.child.try_wait().unwrap();
        assert!(ended.is_none(), "Prosody ended with {ended:?}: {}", root.log("prosody"));
        let healthy = command(&check[0]).args(&check[1..]).output().await.ok()?.status.success();
        (healthy && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
    })
    .await;
    (server, port)
}

#[tokio::test]
async fn the_nodes_of_the_compose_file_become_ready_and_do_a_job_together() {
    let root = Root::new();
    let compose = compose().await;
    let services = &compose["services"];
    for (service, what) in services.as_object().unwrap() {
        for mount in what["volumes"].as_array().into_iter().flatten() {
            let from = mount.as_str().unwrap().split(':').next().unwrap();
            let is_there = match from.strip_prefix("./") {
                Some(file) => deploy().join(file).exists(),
                None => compose["volumes"].as_object().unwrap().contains_key(from),
            };
            assert!(is_there, "{service} mounts {from}");
        }
    }
    let ((_postgres, database), (_prosody, xmpp)) =
        tokio::join!(postgres(&root, &services["postgres"]), prosody(&root, &services["prosody"]));

    let proxy = free_port();
    let ports = [(); 4].map(|()| free_port());
    let mut nodes = Vec::new();
    for (name, port) in ["a", "b", "c", "d"].into_iter().zip(ports) {
        root.configure(
            "node.toml",
            &format!("node-{name}.toml"),
            &[
                ("0.0.0.0:8080", &format!("127.0.0.1:{port}")),
                ("http://localhost:8080", &format!("http://127.0.0.1:{proxy}")),
                ("@postgres/", &format!("@127.0.0.1:{database}/")),
                ("host = \"prosody\"", "host = \"127.0.0.1\""),
                ("port = 5222", &format!("port = {xmpp}")),
            ],
        );
        let own = |words: Vec<String>| {
            let named = |word: String| match word.as_str() {
                word if word.ends_with("/node.toml") => {
                    word.replace("node.toml", &format!("node-{name}.toml"))
                }
                "/var/lib/anabranch" => format!("/var/lib/anabranch-{name}"),
                word => word.to_owned(),
            };
            words.into_iter().map(named).map(|word| root.rooted(&word)).collect::<Vec<_>>()
        };
        let (line, environment) = match &services[format!("node-{name}")] {
            // The fourth is one by the unit for nodes.
            Value::Null => {
                let unit = "anabranch-node@.service";
                let line = exec_start(&root, unit, name);
                let line =
                    line.into_iter().map(|word| word.replace("node.toml", &format!("node-{name}.toml")));
                let password = environment(&services["node-a"])
                    .into_iter()
                    .filter(|(name, _)| name.contains("PASSWORD"));
                (line.collect(), password.collect())
            }
            service => {
                let mut line = vec![binary().display().to_string()];
                line.extend(own(command_of(&service["command"])));
                (line, environment(service))
            }
        };
        nodes.push(Running::start(&root, &format!("node-{name}"), &line, &environment));
    }
    for (node, port) in nodes.iter_mut().zip(ports) {
        node.ready(&root, &format!("http://127.0.0.1:{port}/readyz")).await;
    }

    let of_node = |index: usize| format!("127.0.0.1:{}", ports[index]);
    let global = format!("{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}}\n:{proxy} {{");
    root.configure(
        "Caddyfile",
        "Caddyfile",
        &[
            (":8080 {\n\treverse_proxy", &format!("{global}\n\treverse_proxy")),
            ("node-a:8080", &of_node(0)),
            ("node-b:8080", &of_node(1)),
            ("node-c:8080", &of_node(2)),
        ],
    );
    let file = root.path("/etc/anabranch/Caddyfile").display().to_string();
    let line = words(&format!("caddy run --adapter caddyfile --config {file}"));
    let mut caddy =
        Running::start(&root, "caddy", &line, &[("HOME".into(), root.0.path().display().to_string())]);
    let base = format!("http://127.0.0.1:{proxy}");
    caddy.ready(&root, &format!("{base}/readyz")).await;

    // Large enough to be a file in the folder that they share.
    let input = json!({ "value": { "a": "x".repeat(200_000) }, "mediaType": "application/json" });
    let job =
        submit(&base, "echo", &json!({ "inputs": { "literalInput": "hello", "complexInput": input } })).await;
    for port in ports {
        let reply = results(&format!("http://127.0.0.1:{port}"), &job, "complexOutput").await;
        assert!(reply.body.len() > 200_000, "{}", reply.text());
    }
    assert!(root.path("/srv/anabranch/results").join(&job).exists());

    // An agent by its unit, as the account that is made for agents.
    let agent_file = format!(
        "host = \"127.0.0.1\"\nport = {xmpp}\ntls = \"starttls\"\ncertificate = \"/certificate/cert.pem\"\n\
         account = \"agent@anabranch.local\"\npassword_file = \"xmpp-password\"\n\
         rooms = [\"default@conference.anabranch.local\"]\norchestrator = \"orchestrator@anabranch.local\"\n"
    );
    fs::write(root.path("/etc/anabranch/agent.toml"), root.rooted(&agent_file)).unwrap();
    fs::create_dir(root.path("/etc/anabranch/services")).unwrap();
    let service = script_service("Big", "head -c 200000 /dev/zero | tr '\\0' x", "");
    fs::write(root.path("/etc/anabranch/services/big.toml"), service).unwrap();
    fs::create_dir_all(root.path("/var/lib/anabranch-agent")).unwrap();
    let agent = Running::start(&root, "agent", &exec_start(&root, "anabranch-agent.service", ""), &[]);
    eventually("the agent's process is published by every node", DEADLINE, async || {
        for port in ports {
            let reply = try_get(&format!("http://127.0.0.1:{port}/processes/default:Big")).await.ok()?;
            (reply.status == 200).then_some(())?;
        }
        Some(())
    })
    .await;
    let job = submit(&base, "default:Big", &json!({ "inputs": {} })).await;
    assert_eq!(results(&base, &job, "said").await.body.len(), 200_000, "{}", root.log("agent"));
    assert!(agent.stop().await.success());

    // One is killed: the proxy asks the others.
    nodes[0].signal(Signal::KILL);
    for _ in 0..6 {
        let job = eventually("another node takes a job", DEADLINE, async || {
            submit_if_passed_on(&base, "echo", &json!({ "inputs": { "literalInput": "on" } })).await
        })
        .await;
        assert_eq!(results(&base, &job, "literalOutput").await.text(), "on");
    }
    for node in nodes.drain(1..) {
        let name = node.name.clone();
        assert!(node.stop().await.success(), "{name}: {}", root.log(&name));
    }
}
