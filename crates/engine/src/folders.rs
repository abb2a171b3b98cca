//! The folder of jobs: who lies where.
//!
//! ```text
//! spool/
//! jobs/<job>/{inputs,fetched,scratch,log}     made when first needed
//! results/<job>/<output>/<n>
//! ```
//!
//! Where several nodes have it, `spool`, `fetched`, `scratch` and `<n>` end with the number of their node (`scratch.17`): a node that is
//! taken for dead, and does not know yet, must not touch what its successor has made. For one node it is the data folder, where
//! `lock` and `jobs.sqlite` lie too.

use anabranch_model::id::check_identifier;
use anabranch_model::{Error, JobId};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Paths below the data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    root: PathBuf,
    /// Ends the names of what only one node may touch.
    mark: String,
}

impl Folders {
    /// `root` must be absolute; `node` is this one where there may be several.
    pub(crate) fn new(root: PathBuf, node: Option<i64>) -> Self {
        Self { root, mark: node.map(|node| format!(".{node}")).unwrap_or_default() }
    }

    /// The name of a file or folder of this node.
    pub(crate) fn own(&self, name: impl std::fmt::Display) -> String {
        format!("{name}{}", self.mark)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("jobs.sqlite")
    }

    /// Says that the jobs of the server that has this data folder are in PostgreSQL.
    pub(crate) fn elsewhere(&self) -> PathBuf {
        self.root.join("jobs.postgres")
    }

    /// Where front ends put request bodies, and runs leave what is to be removed; emptied when the engine is opened.
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join(self.own("spool"))
    }

    /// Those of all nodes, with their numbers. Blocking.
    pub(crate) fn spools(&self) -> Vec<(i64, PathBuf)> {
        let number = |path: PathBuf| {
            let number = path.file_name()?.to_str()?.strip_prefix("spool.")?.parse().ok()?;
            Some((number, path))
        };
        entries(&self.root).into_iter().filter_map(number).collect()
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.jobs().join(job.to_string())
    }

    /// Values that came with the request.
    pub(crate) fn inputs(&self, job: JobId) -> PathBuf {
        self.job(job).join("inputs")
    }

    /// Values read from references, for one attempt.
    pub(crate) fn fetched(&self, job: JobId) -> PathBuf {
        self.job(job).join(self.own("fetched"))
    }

    pub(crate) fn scratch(&self, job: JobId) -> PathBuf {
        self.job(job).join(self.own("scratch"))
    }

    pub(crate) fn log(&self, job: JobId) -> PathBuf {
        self.job(job).join("log")
    }

    pub(crate) fn job_results(&self, job: JobId) -> PathBuf {
        self.results().join(job.to_string())
    }

    /// Where an output's chunks lie. Identifiers come from descriptions, which agents write: one that could be
    /// more than a name becomes its number.
    pub(crate) fn output(&self, job: JobId, output: &str, number: usize) -> PathBuf {
        let safe = check_identifier(output).is_ok() && !output.contains(':');
        let name = if safe { output.to_owned() } else { format!("output-{number}") };
        self.job_results(job).join(name)
    }

    /// Removes the results of a run that is to be forgotten: where there are several nodes, those that were made here. Blocking.
    pub(crate) fn forget_results(&self, job: JobId) {
        let folder = self.job_results(job);
        if self.mark.is_empty() {
            return remove_folder(&folder);
        }
        for file in entries(&folder).iter().flat_map(|output| entries(output)) {
            if file.to_string_lossy().ends_with(&self.mark) {
                // What can't be removed now goes with the job.
                let _ = fs::remove_file(file);
            }
        }
    }

    /// Takes a folder of a run out of its job at once; where it is now it is to be removed, else the next start does it. Blocking.
    pub(crate) fn set_aside(&self, folder: &Path) -> PathBuf {
        let aside = self.spool().join(JobId::random().to_string());
        if fs::rename(folder, &aside).is_err() {
            remove_folder(folder);
        }
        aside
    }

    /// Removes what a job left outside the database. Blocking.
    pub(crate) fn remove_job(&self, job: JobId) {
        remove_folder(&self.job(job));
        remove_folder(&self.job_results(job));
    }
}

/// What lies in a folder; nothing where it is not there. Blocking.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Makes a folder and those above it, readable by nobody else. Blocking.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a folder and those above it, so that a power failure does not undo it. Blocking.
pub(crate) fn make_synced(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_synced(parent)?;
    make(path)?;
    sync(parent)
}

/// Syncs the entries of a folder: to sync a file does not say that its name is on the disk. Blocking.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Removes a folder with all in it; one that is not there is fine. Blocking.
pub(crate) fn remove_folder(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a folder could not be removed");
        }
        _ => {}
    }
}

/// An error of the file system as the job's own error.
pub(crate) fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    let detail = format!("{what} '{}': {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NotEnoughStorage { detail },
        _ => Error::internal(detail),
    }
}

/// Runs blocking work away from the runtime's workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    #[cfg(test)]
    if crate::tests::simulation::is_on() {
        crate::tests::simulation::disturb().await;
        return Ok(work());
    }
    let lost = |error| Error::internal(format!("blocking work was lost: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_names_never_paths() {
        let folders = Folders::new("/d".into(), None);
        let job = JobId::random();
        let base = folders.job_results(job);
        assert_eq!(folders.output(job, "result", 0), base.join("result"));
        for bad in ["../x", "a/b", ".", "..", "", "c:d", "a b"] {
            assert_eq!(folders.output(job, bad, 3), base.join("output-3"), "{bad:?}");
        }
    }
}
