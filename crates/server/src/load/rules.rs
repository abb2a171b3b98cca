//! When a machine takes no more runs, as its owner says: `[load]` in the agent's configuration.

use anyhow::ensure;
use serde::Deserialize;

/// Window over which processors, memory and load average are looked at, in seconds.
const WINDOW_S_DEFAULT: u64 = 60;

/// Longest window, in seconds: a reading a second is kept.
pub(crate) const WINDOW_S_MAX: u64 = 3600;

/// Most programs on the list: each is compared with every process of the machine once a second.
const LISTED_MAX: usize = 100;

/// The owner's rules. Without any an agent takes runs as long as it has slots.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rules {
    /// Above it, in percent of all processors, no new runs are taken.
    pub(crate) cpu_percent_max: Option<f32>,
    /// The same for main memory.
    pub(crate) memory_percent_max: Option<f32>,
    /// The same for the load average of one minute.
    pub(crate) load_average_max: Option<f32>,
    pub(crate) window_s: u64,
    /// While one of these runs, no new runs are taken.
    pub(crate) blacklist: Vec<Listed>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cpu_percent_max: None,
            memory_percent_max: None,
            load_average_max: None,
            window_s: WINDOW_S_DEFAULT,
            blacklist: Vec::new(),
        }
    }
}

/// A program that wants the machine for itself: a process is meant whose name, working folder and command line hold these texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) folder: String,
    pub(crate) command_line: String,
}

impl Listed {
    /// An empty text is held by everything.
    pub(crate) fn is_meant(&self, process: &Running) -> bool {
        process.name.contains(&self.name)
            && process.folder.contains(&self.folder)
            && process.command_line.contains(&self.command_line)
    }
}

/// A process of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) name: String,
    /// Empty where it may not be read: that of another user.
    pub(crate) folder: String,
    pub(crate) command_line: String,
}

impl Rules {
    /// # Errors
    /// Names the key and the value.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (key, max) in
            [("cpu_percent_max", self.cpu_percent_max), ("memory_percent_max", self.memory_percent_max)]
        {
            if let Some(max) = max {
                ensure!(max > 0.0 && max <= 100.0, "load.{key} must be above 0 and at most 100, not {max}");
            }
        }
        if let Some(max) = self.load_average_max {
            ensure!(max > 0.0, "load.load_average_max must be above 0, not {max}");
        }
        ensure!(
            (1..=WINDOW_S_MAX).contains(&self.window_s),
            "load.window_s must be from 1 to {WINDOW_S_MAX}, not {}",
            self.window_s
        );
        ensure!(self.blacklist.len() <= LISTED_MAX, "load.blacklist must not list more than {LISTED_MAX}");
        ensure!(
            self.blacklist.iter().all(|listed| *listed != Listed::default()),
            "load.blacklist: each must have a name, folder or command_line, or it would mean every process"
        );
        Ok(())
    }
}
