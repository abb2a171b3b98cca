//! What this machine is busy with, for the agent's load reports, and whether it takes runs.

mod monitor;
pub(crate) mod rules;

use anabranch_remote::{Drain, Load, LoadSource};
use monitor::{Monitor, Reading};
use rules::{Rules, Running};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate,
    RefreshKind, System, UpdateKind,
};

/// How often the machine is read: processes come and go in seconds.
const READ: Duration = Duration::from_secs(1);

/// The machine as it was read last. Zeros on a system that tells nothing.
pub(crate) struct MachineLoad {
    monitor: Mutex<Monitor>,
    system: Mutex<Option<System>>,
}

impl MachineLoad {
    pub(crate) fn new(rules: Rules) -> Arc<Self> {
        let system = System::new_with_specifics(kinds());
        if let Err(error) = &system {
            tracing::warn!(%error, "this system does not tell its load");
        }
        Arc::new(Self { monitor: Mutex::new(Monitor::new(rules)), system: Mutex::new(system.ok()) })
    }

    /// Reads the machine, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut clock = tokio::time::interval(READ);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let machine = Arc::clone(&self);
            // Reading hundreds of processes takes a few milliseconds.
            let _panicked = tokio::task::spawn_blocking(move || machine.read()).await;
        }
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        self.monitor().set_rules(rules);
    }

    fn read(&self) {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(system) = system.as_mut() else { return };
        system.refresh_specifics(kinds());
        let awake = if self.monitor().has_list() { awake(system) } else { Vec::new() };
        let total = system.total_memory();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "percentages for people"
        )]
        let load = Load {
            cpu_percent: system.global_cpu_usage(),
            memory_percent: if total == 0 {
                0.0
            } else {
                (system.used_memory() as f64 / total as f64 * 100.0) as f32
            },
            load_average: System::load_average().map_or(0.0, |average| average.one as f32),
        };
        self.monitor().take(&Reading { load, awake }, Instant::now());
    }

    fn monitor(&self) -> std::sync::MutexGuard<'_, Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadSource for MachineLoad {
    fn load(&self) -> Load {
        self.monitor().load()
    }

    fn full(&self) -> Option<String> {
        self.monitor().full()
    }
}

/// A machine whose owner can drain it, for a wire form that has no other word for it than to be full.
pub(crate) struct Drained {
    pub(crate) machine: Arc<MachineLoad>,
    pub(crate) drain: Drain,
}

impl LoadSource for Drained {
    fn load(&self) -> Load {
        self.machine.load()
    }

    fn full(&self) -> Option<String> {
        if self.drain.is_on() { Some("the agent is being drained".into()) } else { self.machine.full() }
    }
}

fn kinds() -> RefreshKind {
    RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_usage())
        .with_memory(MemoryRefreshKind::nothing().with_ram())
}

/// Processes that are not asleep.
fn awake(system: &mut System) -> Vec<Running> {
    let kind = ProcessRefreshKind::nothing()
        .without_tasks()
        .with_cmd(UpdateKind::OnlyIfNotSet)
        .with_cwd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let asleep = [ProcessStatus::Sleep, ProcessStatus::Idle, ProcessStatus::Zombie, ProcessStatus::Dead];
    system.processes().values().filter(|process| !asleep.contains(&process.status())).map(running).collect()
}

fn running(process: &Process) -> Running {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let arguments: Vec<String> = process.cmd().iter().map(|argument| text(argument)).collect();
    let name = text(process.name());
    // Linux cuts names after 15 bytes.
    let program = arguments.first().and_then(|program| program.rsplit('/').next());
    let name =
        program.filter(|program| program.starts_with(&name)).map_or_else(|| name.clone(), str::to_owned);
    Running {
        name,
        folder: process.cwd().map(|folder| folder.display().to_string()).unwrap_or_default(),
        command_line: arguments.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::rules::Listed;
    use super::*;

    #[test]
    fn the_machine_tells_its_load() {
        let machine = MachineLoad::new(Rules::default());
        assert_eq!(machine.load(), Load::default(), "it has not been read");
        machine.read();
        assert!(machine.load().memory_percent > 0.0, "some is always used");
        assert_eq!(machine.full(), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a program of the machine's owner, not of a run")]
    fn a_machine_with_a_listed_process_at_work_is_full() {
        let mark = format!("busy-{}", std::process::id());
        let full = || {
            let listed = Listed { name: "sh".into(), folder: "/".into(), command_line: mark.clone() };
            let machine = MachineLoad::new(Rules { blacklist: vec![listed], ..Rules::default() });
            machine.read();
            machine.full()
        };
        assert_eq!(full(), None);
        let mut busy =
            std::process::Command::new("/bin/sh").args(["-c", "while :; do :; done", &mark]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let reason =
            std::iter::repeat_with(full).take_while(|_| Instant::now() < deadline).find_map(|found| found);
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert_eq!(reason.as_deref(), Some("full: 'sh' runs, which is on its list"));
        assert_eq!(full(), None);
    }
}
