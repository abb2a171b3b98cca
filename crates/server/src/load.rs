//! What this machine is busy with, for the agent's load reports, and when it takes no more runs.

use anabranch_remote::{Load, LoadSource};
use std::ffi::OsStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate,
    RefreshKind, System, UpdateKind,
};

/// Time between two looks at the processes: a look reads three files of each.
const PROCESSES_PERIOD: Duration = Duration::from_secs(5);

/// Rules of the machine's owner, beside its slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// No run is taken while processors or memory are busier than this, in percent, over `window`.
    pub(crate) percent_max: Option<f32>,
    /// What the means are over.
    pub(crate) window: Duration,
    /// No run is taken while one of these is at work.
    pub(crate) blacklist: Vec<Blacklisted>,
}

/// A program that wants the machine for itself: a process that has each text in its place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Blacklisted {
    /// In its name.
    pub(crate) name: String,
    /// In its working folder.
    pub(crate) cwd: String,
    /// In its command line.
    pub(crate) cmdline: String,
}

/// Reads processor and memory use; the processors' share is that since the reading before. Zeros on a system that tells
/// nothing.
pub(crate) struct MachineLoad {
    reread: Reread,
    state: Mutex<State>,
}

/// Gives the rules as they are now; `None` leaves them as they were.
pub(crate) type Reread = Box<dyn Fn() -> Option<Rules> + Send + Sync>;

struct State {
    rules: Rules,
    system: Option<System>,
    /// Means of processors and memory, in percent, and when they were taken.
    means: Option<(f32, f32, Instant)>,
    /// Name of a process on the blacklist, and when it was looked for.
    blacklisted: Option<(Option<String>, Instant)>,
}

impl MachineLoad {
    /// The rules are read again for every report, so that an owner may change them while the agent runs.
    pub(crate) fn new(reread: Reread) -> Self {
        let system = System::new_with_specifics(kinds());
        if let Err(error) = &system {
            tracing::warn!(%error, "this system does not tell its load");
        }
        let rules = reread().unwrap_or_default();
        let state = State { rules, system: system.ok(), means: None, blacklisted: None };
        Self { reread, state: Mutex::new(state) }
    }
}

fn kinds() -> RefreshKind {
    RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_usage())
        .with_memory(MemoryRefreshKind::nothing().with_ram())
}

impl LoadSource for MachineLoad {
    fn load(&self) -> Load {
        let rules = (self.reread)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rules = rules.unwrap_or_else(|| std::mem::take(&mut state.rules));
        let Some(load) = state.system.as_mut().map(measure) else { return Load::default() };
        let now = Instant::now();
        state.means = Some(match state.means {
            None => (load.cpu_percent, load.memory_percent, now),
            Some((cpu, memory, before)) => {
                let weight = weight(now - before, state.rules.window);
                let mean = |before: f32, now: f32| before + (now - before) * weight;
                (mean(cpu, load.cpu_percent), mean(memory, load.memory_percent), now)
            }
        });
        load
    }

    fn full(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if let (Some(max), Some((cpu, memory, _))) = (state.rules.percent_max, state.means) {
            for (what, percent) in [("processors", cpu), ("memory", memory)] {
                if percent > max {
                    return Some(format!("{what} are used by {percent:.0} %, above the {max:.0} % allowed"));
                }
            }
        }
        if state.rules.blacklist.is_empty() {
            return None;
        }
        let now = Instant::now();
        if state.blacklisted.as_ref().is_none_or(|(_, looked)| now - *looked >= PROCESSES_PERIOD) {
            let found = state.system.as_mut().and_then(|system| find(system, &state.rules.blacklist));
            state.blacklisted = Some((found, now));
        }
        let (found, _) = state.blacklisted.as_ref()?;
        found.as_ref().map(|name| format!("'{name}', which is on the blacklist, is at work"))
    }
}

/// How much the latest value counts in a mean over `window`.
fn weight(since: Duration, window: Duration) -> f32 {
    if window.is_zero() { 1.0 } else { 1.0 - (-since.as_secs_f32() / window.as_secs_f32()).exp() }
}

fn measure(system: &mut System) -> Load {
    system.refresh_specifics(kinds());
    let total = system.total_memory();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "percentages for people"
    )]
    Load {
        cpu_percent: system.global_cpu_usage(),
        memory_percent: if total == 0 {
            0.0
        } else {
            (system.used_memory() as f64 / total as f64 * 100.0) as f32
        },
        load_average: System::load_average().map_or(0.0, |average| average.one as f32),
    }
}

/// The name of a process on the list that is not asleep, as the original judges.
fn find(system: &mut System, blacklist: &[Blacklisted]) -> Option<String> {
    let kind = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always).with_cwd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let mut awake = system.processes().values().filter(|process| process.status() != ProcessStatus::Sleep);
    let found = awake.find(|process| blacklist.iter().any(|rule| rule.matches(process)))?;
    Some(found.name().to_string_lossy().into_owned())
}

impl Blacklisted {
    fn matches(&self, process: &Process) -> bool {
        let has = |text: &OsStr, part: &str| text.to_string_lossy().contains(part);
        let command: Vec<_> = process.cmd().iter().map(|word| word.to_string_lossy()).collect();
        has(process.name(), &self.name)
            && process.cwd().is_some_and(|folder| has(folder.as_os_str(), &self.cwd))
            && command.join(" ").contains(&self.cmdline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_follow_slowly_over_long_windows() {
        let minute = Duration::from_secs(60);
        assert!((weight(minute, Duration::ZERO) - 1.0).abs() < f32::EPSILON);
        assert!(weight(Duration::from_secs(1), minute) < 0.02);
        assert!(weight(10 * minute, minute) > 0.99);
    }

    #[test]
    fn a_machine_above_its_threshold_is_full() {
        let machine =
            |percent_max| MachineLoad::new(Box::new(move || Some(Rules { percent_max, ..Rules::default() })));
        let full = |machine: &MachineLoad| {
            machine.load();
            machine.full()
        };
        assert_eq!(full(&machine(Some(100.0))), None);
        // Some memory is always used.
        let reason = full(&machine(Some(0.0))).unwrap();
        assert!(reason.ends_with("%, above the 0 % allowed"), "{reason}");
        assert_eq!(full(&machine(None)), None);
    }

    #[test]
    fn rules_are_read_again_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("remote.config");
        let write = |threshold: &str| {
            let text = format!(
                "[DEFAULT]\naddress = x\ndomain = d\nuser = u\npassword = p\nmucService = c\nload_threshold = {threshold}\n"
            );
            std::fs::write(&file, text).unwrap();
        };
        write("100");
        let machine = MachineLoad::new(crate::agent_config::AgentFile::rules(Some(&file)));
        let full = || {
            machine.load();
            machine.full().is_some()
        };
        assert!(!full());
        write("0");
        assert!(full());
        write("many");
        assert!(full());
        write("100");
        assert!(!full());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a program of the machine's owner, not of a run")]
    fn a_machine_with_a_blacklisted_process_at_work_is_full() {
        let mark = format!("busy-{}", std::process::id());
        let full = || {
            let rule = Blacklisted { name: "sh".into(), cwd: "/".into(), cmdline: mark.clone() };
            let rules = Rules { blacklist: vec![rule], ..Rules::default() };
            MachineLoad::new(Box::new(move || Some(rules.clone()))).full()
        };
        assert_eq!(full(), None);
        let mut busy =
            std::process::Command::new("/bin/sh").args(["-c", "while :; do :; done", &mark]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let reason =
            std::iter::repeat_with(full).take_while(|_| Instant::now() < deadline).find_map(|found| found);
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert_eq!(reason.as_deref(), Some("'sh', which is on the blacklist, is at work"));
        assert_eq!(full(), None);
    }
}
