//! A result whose size is not known before it is written.

use anabranch_model::{Data, Error};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// Results up to here stay in memory, in bytes: a file costs more than it saves.
const MEMORY_BYTES_MAX: usize = 16 << 10;

/// How much is written to the file at once, in bytes.
const FILE_WRITE_BYTES: usize = 256 << 10;

/// How much is written to the file before the disk is told to begin with it, in bytes: telling costs about a tenth of a millisecond.
const WRITE_BACK_BYTES: u64 = 4 << 20;

/// Collects a result in memory as long as it is small, then in a file.
pub(crate) struct ResultWriter {
    path: PathBuf,
    file: Option<ResultFile>,
    buffer: Vec<u8>,
}

impl ResultWriter {
    /// Makes `name` in the folder `scratch` if a file is needed at all.
    pub(crate) fn new(scratch: &Path, name: &str) -> Self {
        Self { path: scratch.join(name), file: None, buffer: Vec::new() }
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < FILE_WRITE_BYTES { Ok(()) } else { self.flush() }
    }

    /// The whole result.
    pub(crate) fn finish(mut self) -> Result<Data, Error> {
        if self.file.is_none() && self.buffer.len() <= MEMORY_BYTES_MAX {
            return Ok(Data::Bytes(self.buffer.into()));
        }
        self.flush()?;
        Data::file(&self.path).map_err(|error| self.error(&error))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let file = match &mut self.file {
            Some(file) => Ok(file),
            empty @ None => ResultFile::create(&self.path).map(|file| empty.insert(file)),
        };
        let written = file.and_then(|file| file.append(&self.buffer));
        self.buffer.clear();
        written.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &io::Error) -> Error {
        let detail = format!("{}: {error}", self.path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::NotEnoughStorage { detail }
            }
            _ => Error::internal(detail),
        }
    }
}

/// A file that is on its way to the disk while it grows: whoever makes it durable at its end has little left to wait for.
struct ResultFile {
    file: File,
    bytes: u64,
    /// On their way, of these bytes.
    begun: u64,
}

impl ResultFile {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create_new(path)?, bytes: 0, begun: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        let new = NonZeroU64::new(self.bytes - self.begun).filter(|new| new.get() >= WRITE_BACK_BYTES);
        if new.is_some() {
            // Linux begins to write such pages, and keeps those that are not written yet. Where it does not, nothing is lost but time.
            let _ = fadvise(&self.file, self.begun, new, Advice::DontNeed);
            self.begun = self.bytes;
        }
        Ok(())
    }
}
