//! A spool for fuzzing.

use super::{Characters, Spool, SpoolFile, is_base64};
use anabranch_model::{Data, FormatHint};
use std::io;

/// A spool that needs no disk.
pub(crate) struct InMemory;

struct FileInMemory(Vec<u8>);

impl Spool for InMemory {
    fn characters(&self, _process: &str, _input: &str, format: &FormatHint) -> Characters {
        if is_base64(format) { Characters::Base64 } else { Characters::Data }
    }

    fn file(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(FileInMemory(Vec::new())))
    }
}

impl io::Write for FileInMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpoolFile for FileInMemory {
    fn finish(self: Box<Self>) -> io::Result<Data> {
        Ok(Data::Bytes(self.0.into()))
    }
}
