//! Service files of a folder as processes, for server and agent alike.

use crate::uploading::Uploads;
use anabranch_command::{CommandProcess, Looked, RunGroups, Service, ServiceFolder, Settings, Supervisor};
use anabranch_model::Process;
use anyhow::Context as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Time between two looks at the folder. A change counts at the second look that sees it the same, so it is published within two of
/// them and what reading takes: well below two seconds. A look costs a list of the folder.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// A program has one control group, and prepares it once.
static GROUPS: LazyLock<Option<RunGroups>> = LazyLock::new(RunGroups::prepare);

/// Loads every service file of a folder. A file with faults is reported, and the others are loaded all the same.
///
/// # Errors
/// Where the folder can't be read.
pub(crate) fn open(path: &Path) -> anyhow::Result<ServiceFolder> {
    let (folder, looked) = ServiceFolder::open(path)
        .with_context(|| format!("can't read the services folder {}", path.display()))?;
    report(&looked);
    Ok(folder)
}

fn report(looked: &Looked) {
    for report in &looked.refused {
        for fault in &report.faults {
            tracing::error!("{fault}");
        }
        tracing::error!(file = %report.path.display(), faults = report.faults.len(), "the service file is not taken up");
    }
}

/// Looks at the folder for ever, and tells of the services each time they have changed.
pub(crate) async fn watch(mut folder: ServiceFolder, mut tell: impl FnMut(Vec<Arc<Service>>)) {
    let mut is_lost = false;
    loop {
        tokio::time::sleep(LOOK_PERIOD).await;
        let look = move || (folder.look(), folder);
        // A folder on the network may take its time.
        let Ok((looked, looked_at)) = tokio::task::spawn_blocking(look).await else { return };
        folder = looked_at;
        match looked {
            Ok(looked) => {
                is_lost = false;
                report(&looked);
                if looked.changed {
                    tell(folder.services());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_lost, true) {
                    tracing::error!(%error, "the services folder can't be read: its services stay as they are");
                }
            }
        }
    }
}

/// A service as a process that this program runs.
pub(crate) fn process(service: &Arc<Service>, uploads: &Uploads) -> Arc<dyn Process> {
    let settings = Settings { supervisor: Supervisor::this_program(), groups: GROUPS.clone() };
    uploads.wrap(service, Arc::new(CommandProcess::new(Arc::clone(service), settings)))
}
