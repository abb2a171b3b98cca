//! How runs end, and that nothing of them is left.

use super::support::{DEADLINE, Run, assert_dead, host_program, is_alive, until};
use anabranch_model::Error;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes its process id, whole, into a file.
const TELL: &str = "tell() { echo $2 > {folder}/$1.new; mv {folder}/$1.new {folder}/$1; }\n";

/// A main process, a child in the same group, and one that has left group and session.
const TREE: &str = "
sleep 1000 & tell child $!
setsid sh -c 'echo $$ > {folder}/away.new; mv {folder}/away.new {folder}/away; exec sleep 1000' &
tell main $$
";

fn tree(rest: &str, file: &str) -> Run {
    Run::new(&format!("{TELL}{TREE}{rest}"), file)
}

const TREE_PIDS: &[&str] = &["main", "child", "away"];

#[tokio::test]
async fn other_exit_codes_fail_with_the_last_words() {
    let run = Run::new("echo fine; echo 'ERROR 4: no such file' >&2; exit 3", "");
    assert_eq!(run.failure().await, "sh exited with code 3: ERROR 4: no such file");
    let run = Run::new("exit 3", "[command]\nsuccess = [0, 3]");
    assert_eq!(run.failure().await, "output 'out' was not written (expected file out)");
    let run = Run::new("kill -SEGV $$", "");
    assert_eq!(run.failure().await, "sh was ended by SIGSEGV (invalid memory access)");
}

#[tokio::test]
async fn executables_that_are_missing_are_named_without_their_folder() {
    let run = Run::new("", "[command]\nprogram = '/no/such/tool'");
    assert_eq!(run.failure().await, "executable 'tool' does not exist on this machine");
    assert_eq!(*run.sink.started.borrow(), 0);
    let run = Run::new("", "[command]\nprogram = '{folder}/bad'");
    std::fs::write(run.folder.path().join("bad"), "#!/no/such/interpreter\n").unwrap();
    let mut rights = std::fs::metadata(run.folder.path().join("bad")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
    std::fs::set_permissions(run.folder.path().join("bad"), rights).unwrap();
    let failure = run.failure().await;
    assert!(failure.starts_with("bad can't be started: No such file or directory"), "{failure}");
}

#[tokio::test]
async fn a_run_without_end_meets_its_time_limit() {
    let run = tree("wait", "[command]\ntime_limit = '1 s'");
    let (result, pids) = tokio::join!(run.execute(), run.pids(TREE_PIDS));
    assert_eq!(result, Err(Error::TimedOut { seconds_max: 1 }));
    assert_dead(&pids);
}

#[tokio::test]
async fn whoever_ignores_the_polite_signal_is_killed() {
    let run = Arc::new(tree(
        "trap '' TERM INT HUP; tell ready $$; while :; do sleep 1; done",
        "[command]\ngrace = '200 ms'",
    ));
    let task = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.execute().await }
    });
    let pids = run.pids(TREE_PIDS).await;
    run.pids(&["ready"]).await;
    let before = Instant::now();
    run.sink.cancel();
    assert_eq!(task.await.unwrap(), Err(Error::Dismissed));
    assert_dead(&pids);
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert_eq!(*run.sink.started.borrow(), 1);
}

#[tokio::test]
async fn a_polite_executable_may_clean_up() {
    let script = "trap 'echo cleaned >&2; exit 0' TERM; tell main $$; while :; do sleep 0.05; done";
    let run = Run::new(&format!("{TELL}{script}"), "");
    let cancel = async {
        run.pids(&["main"]).await;
        run.sink.cancel();
    };
    let (result, ()) = tokio::join!(run.execute(), cancel);
    assert_eq!(result, Err(Error::Dismissed));
    // The shell may report the end of its own child, which got the signal too.
    assert!(run.sink.log_text().ends_with("Stderr cleaned\n"));
}

#[tokio::test]
async fn what_outlives_a_run_that_ended_well_is_killed_too() {
    // The main process ends at once; its child, and one that forked twice and left the session, go on.
    let script = "
tell main $$
sleep 1000 & tell child $!
(setsid sh -c 'echo $$ > {folder}/away.new; mv {folder}/away.new {folder}/away; exec sleep 1000' &)
while [ ! -e {folder}/away ]; do :; done
echo done > out";
    let run = Run::new(&format!("{TELL}{script}"), "");
    run.execute().await.unwrap();
    assert_dead(&run.pids(TREE_PIDS).await);
    assert_eq!(run.sink.chunk("out"), "done");
}

#[tokio::test]
async fn dropping_a_run_ends_it() {
    let run = tree("wait", "");
    let pids = tokio::select! {
        result = run.execute() => panic!("{result:?}"),
        pids = run.pids(TREE_PIDS) => pids,
    };
    until("all dead", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(())).await;
}

#[tokio::test]
async fn nothing_survives_the_death_of_the_supervisor() {
    let run = tree("tell supervisor $PPID; wait", "");
    let kill = async {
        let pids = run.pids(TREE_PIDS).await;
        signal(run.pids(&["supervisor"]).await[0]);
        pids
    };
    let (result, pids) = tokio::join!(run.execute(), kill);
    assert_eq!(result, Err(Error::process_failed("sh was lost: its supervisor was killed")));
    assert_dead(&pids);
}

/// `kill -9`.
fn signal(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the program under test, to be killed")]
async fn nothing_survives_the_death_of_this_program() {
    let run = tree("trap '' TERM HUP; wait", "");
    let place = run.folder.path().to_str().unwrap();
    let file = format!(
        "identifier = 'x'\n[outputs.o]\ntype = 'string'\nfile = 'o'\n[command]\nprogram = '/bin/sh'\narguments = ['{place}/script']\n"
    );
    std::fs::write(run.folder.path().join("x.toml"), file).unwrap();
    let mut host = tokio::process::Command::new(host_program())
        .arg(run.folder.path().join("x.toml"))
        .env("TMPDIR", place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = run.pids(TREE_PIDS).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.start_kill().unwrap();
    host.wait().await.unwrap();
    until("all dead", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(())).await;
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let file = "[inputs.name]\ntype = 'string'\nmin_occurs = 0\n[outputs.out]\ntype = 'complex'\nformats = ['text/plain']\nstdout = true\n
[command]\nprogram = '/usr/bin/env'\nenvironment = { MINE = 'a b', NAME = '{name}', NONE = 'x{name}' }\npass_environment = ['CARGO_PKG_NAME', 'NO_SUCH_VARIABLE']";
    let run = Run::new("", &file.replace(", NONE = 'x{name}'", ""));
    run.execute_with(&[("name", "-n\u{e9}")]).await.unwrap();
    let variables = run.sink.chunk("out");
    let mut names: Vec<_> = variables.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ANABRANCH_RUN", "CARGO_PKG_NAME", "HOME", "LANG", "MINE", "NAME", "PATH", "TMPDIR"]);
    assert!(variables.contains("MINE=a b\n") && variables.contains("NAME=-n\u{e9}\n"));
    let run = Run::new("", file);
    run.execute().await.unwrap();
    let variables = run.sink.chunk("out");
    assert!(!variables.contains("\nN"), "variables without a value are left out: {variables}");
}

#[tokio::test]
async fn limits_hold() {
    let run = Run::new(
        "ulimit -v; ulimit -n; ulimit -f; ulimit -t; ulimit -c",
        "
[outputs.out]\ntype = 'string'\nstdout = true
[limits]\nmemory = '1 GiB'\nopen_files = 64\nfile_size = '1 MiB'\ncpu_time = '7 s'",
    );
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("out"), "1048576\n64\n2048\n7\n0");
    let run = Run::new("exec head -c 4096 /dev/zero > out", "[limits]\nfile_size = 1024");
    assert_eq!(run.failure().await, "sh was ended by SIGXFSZ (limit of file size)");
}

#[tokio::test]
async fn a_request_that_is_cancelled_before_it_begins_starts_nothing() {
    let run = Run::new("echo > {folder}/ran", "");
    run.sink.cancel();
    assert_eq!(run.execute().await, Err(Error::Dismissed));
    assert!(!run.folder.path().join("ran").exists());
}

/// From the call to the first instruction of the executable, which writes the time of its own start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_is_quick() {
    let mut times = Vec::new();
    for _ in 0..20 {
        let run = Run::new(
            "",
            "[outputs.out]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/date'\narguments = ['+%s%N']",
        );
        let before = std::time::SystemTime::now();
        run.execute().await.unwrap();
        let began = std::time::UNIX_EPOCH + Duration::from_nanos(run.sink.chunk("out").parse().unwrap());
        times.push(began.duration_since(before).unwrap());
    }
    times.sort_unstable();
    println!("submission to first instruction: median {:?}, slowest {:?}", times[10], times[19]);
    assert!(times[10] < DEADLINE / 10);
}
