//! The large values of a request in files, until a job takes them over.

use crate::app::App;
use anabranch_engine::Engine;
use anabranch_model::{Data, DataDescription, DataFile, Format, FormatHint, JobId, ProcessId, bind};
use anabranch_ogc::spool::{Characters, SPOOL_FROM_BYTES, Spool, SpoolFile, Spooling};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A folder for the files of one request, made when the first is. What no job has taken over is removed with it.
pub(crate) struct UploadFolder {
    path: PathBuf,
    made: OnceLock<()>,
}

impl UploadFolder {
    /// Below the engine's spool, from where jobs take files over without a copy.
    pub(crate) fn new(engine: &Engine) -> Self {
        Self { path: engine.spool().join(JobId::random().to_string()), made: OnceLock::new() }
    }

    fn file(&self, number: usize) -> io::Result<NewFile> {
        if self.made.get().is_none() {
            fs::create_dir(&self.path)?;
            let _first = self.made.set(());
        }
        let path = self.path.join(number.to_string());
        Ok(NewFile { file: File::create_new(&path)?, path, bytes: 0 })
    }
}

impl Drop for UploadFolder {
    fn drop(&mut self) {
        if self.made.get().is_none() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        // The last one to let go may be a handler, and to remove gigabytes takes a moment.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&path))),
            Err(_no_runtime) => remove(&path),
        }
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(path = %folder.display(), %error, "an upload could not be removed");
    }
}

/// Takes the large values of a request, and knows which of them are base64.
pub(crate) struct InputFiles {
    app: App,
    folder: Arc<UploadFolder>,
    files: usize,
}

impl InputFiles {
    pub(crate) fn new(app: &App, folder: &Arc<UploadFolder>) -> Self {
        Self { app: Arc::clone(app), folder: Arc::clone(folder), files: 0 }
    }

    /// For a parser.
    pub(crate) fn spooling(&mut self) -> Spooling<'_> {
        let held_bytes_max = self.app.body_bytes_max as u64;
        Spooling { to: self, from_bytes: SPOOL_FROM_BYTES, held_bytes_max }
    }
}

impl Spool for InputFiles {
    fn characters(&self, process: &str, input: &str, format: &FormatHint) -> Characters {
        let process = ProcessId::new(process).ok();
        let process = process.and_then(|process| self.app.engine.registry().get(&process).ok());
        let description = process.map(|process| process.description());
        match description.as_ref().and_then(|process| process.input(input)).map(|input| &input.data) {
            Some(DataDescription::Complex(domain)) if bind::is_base64(domain, format) => {
                let is_said = format.media_type.is_some() || format.encoding.is_some();
                let may_be_text = !domain.formats.iter().all(Format::is_binary);
                if may_be_text && !is_said { Characters::Unsaid } else { Characters::Base64 }
            }
            Some(DataDescription::Literal(_) | DataDescription::BoundingBox(_)) => Characters::Held,
            // What nobody knows is refused later, and until then must not be held.
            Some(DataDescription::Complex(_)) | None => Characters::Data,
        }
    }

    fn file(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        self.files += 1;
        let made = self.folder.file(self.files).inspect_err(|error| log(&self.folder.path, error));
        Ok(Box::new(made?))
    }
}

struct NewFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).inspect_err(|error| log(&self.path, error))?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Here, for the client is not told what the operator has to know.
fn log(path: &Path, error: &io::Error) {
    tracing::error!(path = %path.display(), %error, "a large value of a request can't be stored");
}

impl SpoolFile for NewFile {
    fn finish(self: Box<Self>) -> io::Result<Data> {
        Ok(Data::File(DataFile { path: self.path, bytes: self.bytes }))
    }
}
