//! Runs on a real Slurm cluster of one node, started for the test: munged, slurmctld and slurmd of Debian.

#![expect(clippy::disallowed_methods, reason = "the harness starts the cluster and asks it")]

use super::support::{DEADLINE, Run, assert_dead, until};
use anabranch_model::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

struct Cluster {
    folder: tempfile::TempDir,
    /// Ended in this order: munged last.
    daemons: Vec<Child>,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["munge", "state", "spool"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        std::fs::set_permissions(path.join("munge"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .unwrap();
        std::fs::write(path.join("munge/key"), [7; 1024]).unwrap();
        std::fs::set_permissions(path.join("munge/key"), std::os::unix::fs::PermissionsExt::from_mode(0o400))
            .unwrap();
        std::fs::write(path.join("slurm.conf"), configuration(path)).unwrap();
        let mut cluster = Self { folder, daemons: Vec::new() };
        let munge = cluster.folder.path().join("munge");
        let file = |option: &str, name: &str| format!("--{option}={}/{name}", munge.display());
        let munged: Vec<String> = ["key-file", "socket", "pid-file", "log-file", "seed-file"]
            .into_iter()
            .zip(["key", "socket", "pid", "log", "seed"])
            .map(|(option, name)| file(option, name))
            .chain(["--force".into(), "--foreground".into()])
            .collect();
        cluster.spawn("/usr/sbin/munged", &munged);
        until("munged listens", || munge.join("socket").exists().then_some(())).await;
        cluster.spawn("/usr/sbin/slurmctld", &["-D".into()]);
        cluster.spawn("/usr/sbin/slurmd", &["-D".into()]);
        until("the node is idle", || {
            cluster.ask("sinfo", &["--noheader", "--format=%t"]).trim().eq("idle").then_some(())
        })
        .await;
        cluster
    }

    fn spawn(&mut self, program: &str, arguments: &[String]) {
        let log =
            std::fs::File::options().append(true).create(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.folder.path().join("slurm.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("these tests need {program}: {error}"));
        self.daemons.insert(0, child);
    }

    /// What a command of Slurm says.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let said = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.folder.path().join("slurm.conf"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// A service that runs a script as a job; `slurm` is more of its section.
    fn run(&self, script: &str, command: &str, slurm: &str) -> Run {
        let configuration = self.folder.path().join("slurm.conf");
        let file = format!(
            "[command]\n{command}\nenvironment = {{ SLURM_CONF = '{}', GREETING = \"it's\" }}\n[slurm]\n{slurm}",
            configuration.display()
        );
        Run::new(script, &file)
    }

    fn queue(&self) -> String {
        self.ask("squeue", &["--noheader", "--format=%i %T"])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _gone = daemon.kill();
            let _status = daemon.wait();
        }
        // Steps of jobs wait for a controller that is gone.
        let mark = self.folder.path().display().to_string();
        for pid in std::fs::read_dir("/proc").unwrap().flatten() {
            let has_mark = std::fs::read(pid.path().join("environ"))
                .is_ok_and(|environ| environ.windows(mark.len()).any(|window| window == mark.as_bytes()));
            if has_mark {
                let pid = pid.file_name();
                let _gone = Command::new("kill").arg("-KILL").arg(pid).status();
            }
        }
    }
}

fn configuration(folder: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let (user, folder) = (user.trim(), folder.display());
    format!(
        "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmdPort={}\n\
         AuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket={folder}/munge/socket\nSlurmUser={user}\nSlurmdUser={user}\n\
         StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/slurmctld.pid\n\
         SlurmdPidFile={folder}/slurmd.pid\nSlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd.log\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n\
         ReturnToService=2\nSwitchType=switch/none\nMpiDefault=none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none\nSchedulerType=sched/builtin\nKillWait=2\n\
         SlurmdParameters=config_overrides\nSlurmdTimeout=30\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=500 State=UNKNOWN\n\
         PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n",
        free_port(),
        free_port(),
    )
}

/// A port that is free, and given to no other cluster of this program. Below those that the system gives to outgoing connections, so that
/// none of these takes it before a daemon does.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 30_000 + GIVEN.fetch_add(1, Ordering::Relaxed) % 2_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[tokio::test]
async fn jobs_end_as_runs_do() {
    let cluster = Cluster::start().await;
    let script = "echo \"$GREETING\" > out; echo 'progress: 40'; echo last words >&2; exit $1";
    let good = cluster.run(
        script,
        "",
        "partition = 'main'\ncpus = 1\nmemory = '100 MiB'\noptions = ['--comment=a b']",
    );
    good.execute().await.unwrap_or_else(|error| panic!("{error:?} {}", good.sink.log_text()));
    assert_eq!(good.sink.chunk("out"), "it's");
    let log = good.sink.log_text();
    assert!(log.contains("progress: 40") && log.contains("last words"), "{log}");
    let messages: Vec<_> =
        good.sink.progress.lock().unwrap().iter().filter_map(|(_, text)| text.clone()).collect();
    assert!(messages.iter().any(|text| text.contains("runs on") || text.ends_with("ran")), "{messages:?}");
    assert!(*good.sink.started.borrow() >= 1);

    let failed = cluster.run("echo last words >&2; exit 3", "", "");
    assert_eq!(failed.failure().await, "sh exited with code 3: last words");
    let refused = cluster.run("", "", "partition = 'nowhere'");
    let reason = refused.failure().await;
    assert!(reason.starts_with("Slurm took no job: ") && reason.contains("Invalid partition"), "{reason}");
    let slow = cluster.run("sleep 1003", "time_limit = '1 s'", "");
    assert_eq!(slow.execute().await, Err(Error::TimedOut { seconds_max: 1 }));
    until("no job is left", || cluster.queue().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_job_waits_its_turn_and_ends_when_its_run_is_dismissed_or_dropped() {
    let cluster = Cluster::start().await;
    let script = "echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid; exec sleep 1004";
    let first = Arc::new(cluster.run(script, "", ""));
    let execute = |run: &Arc<Run>| {
        let run = Arc::clone(run);
        tokio::spawn(async move { run.execute().await })
    };
    let executing = execute(&first);
    let pids = first.pids(&["pid"]).await;
    let second = Arc::new(cluster.run("echo > out", "", ""));
    let waiting = execute(&second);
    until("the place in the queue", || {
        let waiting = second.sink.waiting.lock().unwrap();
        waiting.iter().any(|text| text.contains("position 1")).then_some(())
    })
    .await;
    assert_eq!(*second.sink.started.borrow(), 0, "queued, it has not begun: {}", second.sink.log_text());
    assert_eq!(*second.sink.progress.lock().unwrap(), []);
    first.sink.cancel();
    let ended = tokio::time::timeout(DEADLINE, executing).await.unwrap().unwrap();
    assert_eq!(ended, Err(Error::Dismissed), "{}", first.sink.log_text());
    assert_dead(&pids);
    tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
    assert!(*second.sink.started.borrow() >= 1);

    // Whoever started it is gone: so is the job.
    let orphan = Arc::new(cluster.run(script, "", ""));
    let executing = execute(&orphan);
    let pids = orphan.pids(&["pid"]).await;
    executing.abort();
    until("the job of a dropped run is gone", || cluster.queue().is_empty().then_some(())).await;
    assert_dead(&pids);
}

#[tokio::test]
async fn a_node_that_fails_loses_its_job() {
    let mut cluster = Cluster::start().await;
    let run = Arc::new(cluster.run("echo > {folder}/begun; exec sleep 5", "", ""));
    let executing = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.execute().await }
    });
    let begun = run.folder.path().join("begun");
    until("the job has begun", || begun.exists().then_some(())).await;
    let mut node = cluster.daemons.remove(0);
    node.kill().unwrap();
    node.wait().unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    cluster.ask("scontrol", &["update", &format!("NodeName={host}"), "State=DOWN", "Reason=test"]);
    let ended = tokio::time::timeout(DEADLINE + Duration::from_secs(30), executing).await.unwrap().unwrap();
    assert_eq!(
        ended,
        Err(Error::AgentLost { reason: format!("node {host} of the cluster failed") }),
        "{}",
        run.sink.log_text()
    );
}
