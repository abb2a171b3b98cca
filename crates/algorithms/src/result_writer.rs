//! A result whose size is not known before it is written.

use anabranch_model::{Data, Error};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Results up to here stay in memory, in bytes: a file costs more than it saves.
const MEMORY_BYTES_MAX: usize = 16 << 10;

/// How much is written to the file at once, in bytes.
const FILE_WRITE_BYTES: usize = 256 << 10;

/// Collects a result in memory as long as it is small, then in a file.
pub(crate) struct ResultWriter {
    path: PathBuf,
    file: Option<File>,
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
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.buffer),
            empty @ None => {
                File::create_new(&self.path).and_then(|file| empty.insert(file).write_all(&self.buffer))
            }
        };
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
