//! Service files of a folder as processes, for server and agent alike.

use anabranch_command::{CommandProcess, Service, Settings, Supervisor, load_folder};
use anyhow::Context as _;
use std::path::Path;
use std::sync::Arc;

/// Loads every service file of a folder. A file with faults is reported, and the others are loaded all the same.
///
/// # Errors
/// Where the folder can't be read.
pub(crate) fn load(folder: &Path) -> anyhow::Result<Vec<Arc<Service>>> {
    let files = load_folder(folder)
        .with_context(|| format!("can't read the services folder {}", folder.display()))?;
    let mut services = Vec::new();
    for (path, loaded) in files {
        match loaded {
            Ok(service) => services.push(service),
            Err(report) => {
                for fault in &report.faults {
                    tracing::error!("{fault}");
                }
                tracing::error!(file = %path.display(), faults = report.faults.len(), "the service file is left out");
            }
        }
    }
    Ok(services)
}

/// A service as a process that this program runs.
pub(crate) fn process(service: &Arc<Service>) -> Arc<CommandProcess> {
    Arc::new(CommandProcess::new(Arc::clone(service), Settings { supervisor: Supervisor::this_program() }))
}
