//! Where large values go while a document is parsed, so that no document is held whole.
//!
//! The parsers read from any [`std::io::BufRead`]; what they hold in memory is the structure of the document and its small values. The payload of a
//! complex input that is larger than [`Spooling::from_bytes`] is written to a file that the caller makes: this crate names no paths.

mod memory;

pub(crate) use memory::InMemory;

use anabranch_model::{Data, Error, FormatHint};
use std::io;

/// Payloads from this size on are spooled, in bytes: as much as the engine keeps of a value in memory, and as much as is read at once.
pub const SPOOL_FROM_BYTES: usize = 64 * 1024;

/// How a document is read that may be larger than memory.
pub struct Spooling<'a> {
    /// Where large payloads go.
    pub to: &'a mut dyn Spool,
    /// Payloads of more bytes than this are spooled; usually [`SPOOL_FROM_BYTES`].
    pub from_bytes: usize,
    /// Most bytes of the document that are held, which are all but those of spooled payloads.
    pub held_bytes_max: u64,
}

/// What the caller of a parser knows of processes, and where it keeps large payloads.
pub trait Spool {
    /// What the characters of this input are, given the format that the client says they have.
    fn characters(&self, process: &str, input: &str, format: &FormatHint) -> Characters;

    /// A new file for one payload.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::StorageFull`] becomes [`anabranch_model::Error::NotEnoughStorage`].
    fn file(&mut self) -> io::Result<Box<dyn SpoolFile>>;
}

/// A file that is being written. Where it is dropped unfinished, the payload was refused.
pub trait SpoolFile: io::Write {
    /// All of it is written.
    ///
    /// # Errors
    /// Those of the file system.
    fn finish(self: Box<Self>) -> io::Result<Data>;
}

/// What the characters of a payload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    /// No data of its own (a literal, a box, an input that nobody knows): held in memory, however long.
    Held,
    /// The data, as written.
    Data,
    /// The data as base64: decoded while it is read.
    Base64,
    /// The client does not say, and the process takes both text and binary formats: base64 where they begin like it, else the data.
    Unsaid,
}

/// Beginning of a value by which it shows whether it may be base64, in bytes. Text formats have a brace, a parenthesis, a comma or a tag
/// long before.
pub(crate) const TELLING_BYTES: usize = 1024;

impl Characters {
    /// What they are, given how they begin: never [`Characters::Unsaid`].
    pub(crate) fn told_by(self, begin: &[u8]) -> Self {
        let is_base64 =
            |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(byte);
        match self {
            Self::Unsaid if begin.iter().take(TELLING_BYTES).all(is_base64) => Self::Base64,
            Self::Unsaid => Self::Data,
            known => known,
        }
    }
}

/// The client says that what it sends is base64.
pub(crate) fn is_base64(format: &FormatHint) -> bool {
    format.encoding.as_deref().is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
}

/// What went wrong with reading or spooling, for the client: the [`Error`] that an [`io::Error`] holds, or what it comes to.
pub(crate) fn failure(error: &io::Error) -> Error {
    if let Some(known) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return known.clone();
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::NotEnoughStorage { detail: error.to_string() }
        }
        _ => Error::internal(format!("a request can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
