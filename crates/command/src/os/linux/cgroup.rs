//! Control groups (version 2): limits for a run as a whole, and an end that no process of it escapes.
//!
//! They are used where this program may make groups: as a service with `Delegate=yes`, or as the superuser. Elsewhere there are none, and
//! nothing but these limits is missing.

use crate::service::RunLimits;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Period that shares of processors are counted in, in microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;

/// Smallest share that the kernel takes, in microseconds of a period.
const CPU_QUOTA_US_MIN: u64 = 1000;

/// Group of this program itself, where the one it was started in has to be free of processes.
const OWN: &str = "anabranch";

/// Begins the names of groups of runs; the mark of the run follows, which begins with the number of the process that made it.
const RUN: &str = "anabranch-run-";

/// The controllers behind the limits.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Where groups of runs are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunGroups {
    folder: PathBuf,
    /// The group of this program.
    own: PathBuf,
    controllers: Vec<&'static str>,
}

impl RunGroups {
    /// Prepares the group in which this program runs; `None` where it may not make groups. Removes what was left by programs that were
    /// killed. To be called once, before a run is started.
    #[must_use]
    pub fn prepare() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let folder = own_folder(&mounts, &groups)?;
        match Self::prepare_in(&folder) {
            Ok(groups) => {
                let controllers = groups.controllers.join(" ");
                tracing::info!(folder = %folder.display(), controllers, "runs get control groups of their own");
                groups.remove_left();
                Some(groups)
            }
            Err(error) => {
                tracing::info!(folder = %folder.display(), %error, "runs get no control groups: limits.run_... do not hold");
                None
            }
        }
    }

    fn prepare_in(folder: &Path) -> io::Result<Self> {
        // Only the root of all groups may have processes and groups with limits at once.
        let is_root = !folder.join("cgroup.type").exists();
        let own = if is_root { folder.to_owned() } else { folder.join(OWN) };
        if !is_root {
            let others = fs::read_to_string(folder.join("cgroup.procs"))?;
            let own_pid = std::process::id().to_string();
            if others.lines().any(|pid| pid != own_pid) {
                return Err(io::Error::other("other processes are in it"));
            }
            make(&own)?;
            fs::write(own.join("cgroup.procs"), own_pid)?;
        }
        let offered = fs::read_to_string(folder.join("cgroup.controllers"))?;
        let offered: Vec<&str> = offered.split_whitespace().collect();
        let enable = |controller: &&'static str| {
            offered.contains(controller)
                && fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")).is_ok()
        };
        let controllers = CONTROLLERS.into_iter().filter(|controller| enable(controller)).collect();
        let groups = Self { folder: folder.to_owned(), own, controllers };
        // Whether it may make any shows when it does.
        drop(groups.make_run(&format!("{}-probe", std::process::id()), &RunLimits::default())?);
        Ok(groups)
    }

    /// Removes groups of programs that are gone, with all that still runs in them.
    fn remove_left(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let maker =
                name.to_str().and_then(|name| name.strip_prefix(RUN)?.split('-').next()?.parse::<u32>().ok());
            if maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists()) {
                drop(RunGroup { folder: entry.path(), own: self.own.clone() });
            }
        }
    }

    /// A group for a run, with those of its limits that can hold.
    ///
    /// # Errors
    /// Where it can't be made.
    pub(crate) fn make_run(&self, run: &str, limits: &RunLimits) -> io::Result<RunGroup> {
        let folder = self.folder.join(format!("{RUN}{run}"));
        make(&folder)?;
        let group = RunGroup { folder, own: self.own.clone() };
        for (controller, file, value) in limit_files(limits) {
            if self.controllers.contains(&controller) {
                fs::write(group.folder.join(file), value)?;
            }
        }
        Ok(group)
    }

    /// The limits that do not hold here, as a service file names them.
    pub(crate) fn missing(groups: Option<&Self>, limits: &RunLimits) -> Vec<&'static str> {
        let has = |controller: &str| groups.is_some_and(|groups| groups.controllers.contains(&controller));
        let given = [
            ("run_memory", "memory", limits.memory_bytes.is_some()),
            ("run_processes", "pids", limits.processes.is_some()),
            ("run_cpus", "cpu", limits.cpu_millis.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, controller, given)| *given && !has(controller))
            .map(|(name, ..)| name)
            .collect()
    }
}

/// What is written for limits: controller, file, value.
fn limit_files(limits: &RunLimits) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        files.push(("memory", "memory.max", bytes.to_string()));
        // Else a run could go on in the swap, and its end would take one process and leave the others waiting for it.
        files.push(("memory", "memory.oom.group", "1".into()));
    }
    if let Some(processes) = limits.processes {
        files.push(("pids", "pids.max", processes.to_string()));
    }
    if let Some(millis) = limits.cpu_millis {
        let quota = (millis.saturating_mul(CPU_PERIOD_US) / 1000).max(CPU_QUOTA_US_MIN);
        files.push(("cpu", "cpu.max", format!("{quota} {CPU_PERIOD_US}")));
    }
    files
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The folder of the group that a process is in, from its `mountinfo` and `cgroup`.
fn own_folder(mounts: &str, groups: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Of a part of the tree only, paths would not be those of `/proc`.
        (after.split(' ').next()? == "cgroup2" && root == "/").then_some(point)
    })?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(own))
}

/// The group of a run; dropping it ends what is in it and removes it.
#[derive(Debug)]
pub(crate) struct RunGroup {
    folder: PathBuf,
    own: PathBuf,
}

impl RunGroup {
    /// Its folder, and that of the group of whoever starts the run.
    pub(crate) fn folders(&self) -> (&Path, &Path) {
        (&self.folder, &self.own)
    }

    /// Kills every process in it, those too that are being made.
    pub(crate) fn kill(&self) {
        kill(&self.folder);
    }
}

impl Drop for RunGroup {
    fn drop(&mut self) {
        // Where a process takes its time to die, the next start of a program removes it.
        if fs::remove_dir(&self.folder).is_err() {
            self.kill();
            let _left = fs::remove_dir(&self.folder);
        }
    }
}

/// Kills every process of a group. Before Linux 5.14 there is no such file, and whoever kills by other means has to do.
pub(super) fn kill(folder: &Path) {
    let _old_kernel = fs::write(folder.join("cgroup.kill"), "1");
}

/// Moves the calling process.
pub(super) fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found() {
        let hybrid = "30 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      31 20 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let groups = "4:pids:/x\n0::/system.slice/anabranch.service\n";
        let wanted = Path::new("/sys/fs/cgroup/unified/system.slice/anabranch.service");
        assert_eq!(own_folder(hybrid, groups).as_deref(), Some(wanted));
        assert_eq!(own_folder(hybrid, "4:pids:/x\n"), None);
        assert_eq!(own_folder("31 20 0:27 /part /mnt rw - cgroup2 cgroup2 rw\n", groups), None);
        assert_eq!(own_folder("", groups), None);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let limits = RunLimits { memory_bytes: Some(1 << 30), processes: Some(64), cpu_millis: Some(1500) };
        let files: Vec<_> =
            limit_files(&limits).into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
        assert_eq!(
            files,
            ["memory.max=1073741824", "memory.oom.group=1", "pids.max=64", "cpu.max=150000 100000"]
        );
        assert_eq!(RunGroups::missing(None, &limits), ["run_memory", "run_processes", "run_cpus"]);
        let memory = RunGroups { folder: "/".into(), own: "/".into(), controllers: vec!["memory"] };
        assert_eq!(RunGroups::missing(Some(&memory), &limits), ["run_processes", "run_cpus"]);
        assert!(RunGroups::missing(None, &RunLimits::default()).is_empty());
    }

    #[test]
    fn what_can_t_hold_is_not_written() {
        let temp = tempfile::tempdir().unwrap();
        let groups =
            RunGroups { folder: temp.path().into(), own: temp.path().into(), controllers: vec!["pids"] };
        let limits = RunLimits { memory_bytes: Some(1), processes: Some(7), cpu_millis: None };
        let group = groups.make_run("1-2-3", &limits).unwrap();
        let folder = temp.path().join("anabranch-run-1-2-3");
        assert_eq!(fs::read_to_string(folder.join("pids.max")).unwrap(), "7");
        assert!(!folder.join("memory.max").exists());
        fs::remove_file(folder.join("pids.max")).unwrap();
        drop(group);
        assert!(!folder.exists());
    }
}
