//! A second path to the folder of a run.

use crate::os;
use crate::service::{RUN_ID_TOKEN, Service};
use anabranch_model::{LogLine, LogSource, OutputSink};
use std::path::{Path, PathBuf};

/// The other path of the run's folder, while the run lasts.
pub(super) struct FolderLink(PathBuf);

impl FolderLink {
    /// Makes it, where the service wants it. Executables that are told their folder can do without: a failure is but logged.
    pub(super) fn make(service: &Service, work: &Path, run_id: &str, sink: &dyn OutputSink) -> Option<Self> {
        let path = PathBuf::from(service.command.folder_link.as_ref()?.replace(RUN_ID_TOKEN, run_id));
        let made =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| os::link_folder(work, &path));
        match made {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                let text = format!("the run's folder can't be linked to {}: {error}", path.display());
                sink.log(LogLine { source: LogSource::System, text });
                None
            }
        }
    }
}

impl Drop for FolderLink {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(link = %self.0.display(), %error, "the link to a run's folder can't be removed");
        }
    }
}
