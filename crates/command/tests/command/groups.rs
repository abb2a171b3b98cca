//! Control groups, where this machine lets us make them. Where it does not, these tests have nothing to show: that limits are missing is
//! tested in any case.

use super::support::{Run, assert_dead, is_alive, until};
use anabranch_command::RunGroups;
use anabranch_model::Error;
use std::path::Path;

/// The folder of the group that a process wrote to `group`.
fn folder_of(run: &Run) -> std::path::PathBuf {
    let text = std::fs::read_to_string(run.folder.path().join("group")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    assert!(path.contains("anabranch-run-"), "{path}");
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.is_dir() { unified.join(path) } else { Path::new("/sys/fs/cgroup").join(path) }
}

#[tokio::test]
async fn a_run_has_a_group_which_goes_with_it() {
    let Some(groups) = RunGroups::prepare() else { return };
    let mut run = Run::new("cat /proc/self/cgroup > {folder}/group; echo done > out", "");
    run.groups = Some(groups);
    run.execute().await.unwrap();
    until("the group is removed", || (!folder_of(&run).exists()).then_some(())).await;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(!own.contains("anabranch-run-"), "this program is in no group of a run: {own}");
}

#[tokio::test]
async fn nothing_survives_the_death_of_the_supervisor_in_a_group_whatever_hides() {
    let Some(groups) = RunGroups::prepare() else { return };
    if !can_kill_groups() {
        return;
    }
    // Its own session, no parent, and nothing left of the environment by which processes of a run are found else.
    let script = "
cat /proc/self/cgroup > {folder}/group
(setsid env -i sh -c 'echo $$ > {folder}/away.new; mv {folder}/away.new {folder}/away; exec sleep 1000' &)
while [ ! -e {folder}/away ]; do :; done
echo $PPID > {folder}/supervisor.new; mv {folder}/supervisor.new {folder}/supervisor
sleep 1000";
    let mut run = Run::new(script, "");
    run.groups = Some(groups);
    let kill = async {
        let pids = run.pids(&["away", "supervisor"]).await;
        let supervisor = rustix::process::Pid::from_raw(i32::try_from(pids[1]).unwrap()).unwrap();
        rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
        pids
    };
    let (result, pids) = tokio::join!(run.execute(), kill);
    assert_eq!(result, Err(Error::process_failed("sh was lost: its supervisor was killed")));
    until("all dead", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(())).await;
    assert_dead(&pids);
}

/// The kernel knows how to kill a group: since 5.14.
fn can_kill_groups() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

#[tokio::test]
async fn limits_that_can_t_hold_are_named_in_the_log() {
    let run = Run::new("ulimit -v; echo done > out", "[limits]\nrun_memory = '1 GiB'\nrun_cpus = 1.5\n");
    run.execute().await.unwrap();
    let log = run.sink.log_text();
    assert!(log.contains("limits.run_memory, limits.run_cpus can't hold on this machine"), "{log}");
    assert!(log.contains("1048576"), "the memory holds for each process instead: {log}");
}
