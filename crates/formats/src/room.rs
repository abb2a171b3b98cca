//! How much a conversion may write, and where.

use std::io::{self, Write};
use std::path::Path;

/// Where a conversion may put what it makes, and how much. A few bytes of some formats become kilobytes of others: a row without values
/// one of empty cells, short names long ones.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// A folder for what formats can't hold in memory.
    pub scratch: &'a Path,
    /// Most bytes of the result, and of what lies in the folder on its way to it.
    pub bytes_max: u64,
}

/// Counts what is written, and refuses what is too much.
pub(crate) struct Capped<'a> {
    out: &'a mut dyn Write,
    left: u64,
    is_full: bool,
}

impl<'a> Capped<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, bytes_max: u64) -> Self {
        Self { out, left: bytes_max, is_full: false }
    }

    /// Something was refused. Writers of archives wrap errors, so the error alone doesn't tell.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }
}

impl Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.out.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
