//! Results: the logs of chunks of a job that has finished, and the files they lie in.

use crate::folders::{self, io_error};
use crate::live::output_log;
use crate::view::Results;
use anabranch_model::{Data, DataFile, Error, Job, JobState, Outcome, OutputRequest, Value};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names of files that are being written begin so; the next start removes them.
pub(crate) const PARTIAL: &str = ".part-";

/// Checks that the results of a job may be read.
pub(crate) fn readable(job: &Job) -> Result<(), Error> {
    match &job.state {
        JobState::Finished(Outcome::Succeeded) => Ok(()),
        JobState::Finished(Outcome::Failed(error)) => Err(error.clone()),
        JobState::Finished(Outcome::Dismissed(_)) => Err(Error::Dismissed),
        JobState::Accepted | JobState::Running { .. } => Err(Error::ResultNotReady(job.id)),
    }
}

/// Requests and chunks, both in the order of the outputs, as results.
pub(crate) fn assemble(requests: &[OutputRequest], chunks: Vec<Vec<Value>>) -> Results {
    let logs = requests.iter().zip(chunks).filter(|(asked, chunks)| !chunks.is_empty() || asked.is_stream());
    Results { outputs: logs.map(|(request, chunks)| output_log(request, chunks)).collect() }
}

/// A file in the folder of its output, complete and on the disk, but without its number yet. Removed when dropped. That its number is
/// on the disk is seen to by the store's writer, before it commits the entry.
pub(crate) struct Staged {
    path: PathBuf,
    bytes: u64,
}

impl Staged {
    /// Writes `data` below `folder`, under names that `own` makes: bytes are written, a file below `scratch` is moved, any other is copied. Blocking.
    pub(crate) fn new(
        folder: &Path,
        data: &Data,
        scratch: Option<&Path>,
        own: impl Fn(String) -> String,
    ) -> Result<Self, Error> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        folders::make_synced(folder).map_err(|error| io_error("can't make", folder, &error))?;
        let path = folder.join(own(format!("{PARTIAL}{}", COUNTER.fetch_add(1, Ordering::Relaxed))));
        let staged = Self { path, bytes: data.len() };
        let stored = match data {
            Data::Bytes(bytes) => write_new(&staged.path, bytes),
            Data::File(file) => take_file(&file.path, &staged.path, scratch),
        };
        let bytes = stored.map_err(|error| io_error("can't store", &staged.path, &error))?;
        // The process may have written on since it measured the file.
        if bytes != staged.bytes {
            let text =
                format!("a result file changed from {} to {bytes} bytes while it was stored", staged.bytes);
            return Err(Error::process_failed(text));
        }
        Ok(staged)
    }

    /// Gives it its name in the log.
    pub(crate) fn place(mut self, name: &str) -> Result<DataFile, Error> {
        let path = self.path.with_file_name(name);
        fs::rename(&self.path, &path).map_err(|error| io_error("can't store", &path, &error))?;
        self.path = PathBuf::new();
        Ok(DataFile { path, bytes: self.bytes })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What can't be removed now is removed with the job.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<u64> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    // The entry may be on the disk within milliseconds: so must be what it speaks of.
    file.sync_data()?;
    Ok(bytes.len() as u64)
}

/// Reads a small file of `bytes` bytes into memory. Blocking.
pub(crate) fn read_small(path: &Path, bytes: u64, scratch: Option<&Path>) -> io::Result<Vec<u8>> {
    if let Some(scratch) = scratch.filter(|scratch| path.starts_with(scratch)) {
        check_own(path, scratch)?;
    }
    let mut content = Vec::new();
    File::open(path)?.take(bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 != bytes {
        return Err(io::Error::other("it changed while it was read"));
    }
    Ok(content)
}

fn take_file(from: &Path, to: &Path, scratch: Option<&Path>) -> io::Result<u64> {
    let Some(scratch) = scratch.filter(|scratch| from.starts_with(scratch)) else {
        return copy_file(from, to);
    };
    check_own(from, scratch)?;
    if fs::rename(from, to).is_err() {
        return copy_file(from, to);
    }
    let file = File::open(to)?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// What lies in the scratch folder was made by the run, and a link in it could point anywhere.
fn check_own(path: &Path, scratch: &Path) -> io::Result<()> {
    let folder = path.parent().map(fs::canonicalize).transpose()?;
    let scratch = fs::canonicalize(scratch)?;
    if folder.is_some_and(|folder| folder.starts_with(scratch)) && fs::symlink_metadata(path)?.is_file() {
        return Ok(());
    }
    Err(io::Error::other(format!("'{}' is no regular file of the run", path.display())))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<u64> {
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    let bytes = io::copy(&mut source, &mut target)?;
    target.sync_data()?;
    Ok(bytes)
}
