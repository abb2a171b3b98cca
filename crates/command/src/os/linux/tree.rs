//! Process trees, as `/proc` shows them.

use super::cgroup;
use crate::os::{KILL_WAIT_MAX, RUN_VARIABLE};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// First and longest pause between two rounds of killing: most die at once.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Kills everything below the calling process, which must be a subreaper, and reaps it. Gives the number of processes that
/// could not be ended. `reaped` sees every process that ended.
///
/// That no child is left proves that no descendant is: those who lose their parent become children of the subreaper.
pub(super) fn end_descendants(group: Option<&Path>, mut reaped: impl FnMut(Pid, WaitStatus)) -> usize {
    let deadline = Instant::now() + KILL_WAIT_MAX;
    let mut pause = PAUSE_MIN;
    loop {
        if reap(&mut reaped) == Children::None {
            return 0;
        }
        // At once, before one of them can make another.
        if let Some(group) = group {
            cgroup::kill(group);
        }
        let living = descendants(rustix::process::getpid());
        for pid in &living {
            // It may be gone already, or not ours to kill: the next round sees.
            let _gone = kill_process(*pid, Signal::KILL);
        }
        if Instant::now() >= deadline {
            return living.len().max(1);
        }
        sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether there are children.
#[derive(PartialEq, Eq)]
pub(super) enum Children {
    None,
    Some,
}

/// Reaps every child that has ended.
pub(super) fn reap(reaped: &mut impl FnMut(Pid, WaitStatus)) -> Children {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => reaped(pid, status),
            Ok(None) => return Children::Some,
            Err(Errno::INTR) => {}
            Err(_no_child) => return Children::None,
        }
    }
}

/// Every living process below `root`.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in all_pids() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root.as_raw_nonzero().get()];
    while let Some(pid) = open.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().filter_map(|pid| Pid::from_raw(*pid)));
        open.extend(below);
    }
    found
}

fn all_pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process that still runs: zombies have nothing left to kill.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state ppid …: the name may hold anything, also brackets.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let (state, rest) = rest.split_once(' ')?;
    if state == "Z" || state == "X" {
        return None;
    }
    rest.split(' ').next()?.parse().ok()
}

/// Processor time of all children that were reaped, and of theirs, in milliseconds; as exact as the kernel's ticks, mostly 10 ms.
pub(super) fn reaped_cpu_ms() -> Option<u64> {
    let stat = fs::read("/proc/self/stat").ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 2;
    // The third field and those behind it: cutime and cstime are the 16th and 17th.
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let ticks: Vec<u64> = rest.split(' ').skip(13).take(2).filter_map(|text| text.parse().ok()).collect();
    let [user, system] = ticks[..] else { return None };
    (user + system).saturating_mul(1000).checked_div(rustix::param::clock_ticks_per_second())
}

/// Kills every process that carries the run's mark in its environment. Gives the number of those that could not be ended.
/// Only for the case that the supervisor was killed: a process may have changed its environment.
pub(super) fn end_marked(run: &str) -> usize {
    let mark = format!("{RUN_VARIABLE}={run}").into_bytes();
    let deadline = Instant::now() + KILL_WAIT_MAX;
    loop {
        let marked: Vec<Pid> =
            all_pids().filter(|pid| has_mark(*pid, &mark)).filter_map(Pid::from_raw).collect();
        if marked.is_empty() || Instant::now() >= deadline {
            return marked.len();
        }
        for pid in marked {
            let _gone = kill_process(pid, Signal::KILL);
        }
        sleep(PAUSE_MAX);
    }
}

fn has_mark(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == mark))
}
