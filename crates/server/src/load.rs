//! What this machine is busy with, for the agent's load reports.

use anabranch_remote::{Load, LoadSource};
use std::sync::{Mutex, PoisonError};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Reads processor and memory use; the processors' share is that since the reading before. Zeros on a system that tells
/// nothing.
pub(crate) struct MachineLoad(Mutex<Option<System>>);

impl MachineLoad {
    pub(crate) fn new() -> Self {
        let system = System::new_with_specifics(kinds());
        if let Err(error) = &system {
            tracing::warn!(%error, "this system does not tell its load");
        }
        Self(Mutex::new(system.ok()))
    }
}

fn kinds() -> RefreshKind {
    RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing().with_usage())
        .with_memory(MemoryRefreshKind::nothing().with_ram())
}

impl LoadSource for MachineLoad {
    fn load(&self) -> Load {
        let mut system = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(system) = system.as_mut() else { return Load::default() };
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
}
