//! Pickles of Python, as far as WPS Remote needs them: a map of input names to values.
//!
//! GeoServer puts the inputs of a request into a pickle of protocol 2, and its Python agents load it with the general
//! loader, by which whoever can write to the room runs code on the agent. Here a pickle is only data: it is read by a list
//! of opcodes that build data, within the limits below, and everything else is refused by its name. Two names that pickles
//! look up are taken, and nothing is looked up for them: `datetime.datetime` and `decimal.Decimal`, by which GeoServer
//! writes dates and decimals.
//!
//! Accepted: protocols 0, 1 and 2; values put into the memo and got from it. Refused: protocols above 2, references that
//! form a circle, integers beyond 64 bits, byte strings that are no UTF-8, keys that are no text, bytes after the end.
//!
//! Source: Python's `pickletools`, and what GeoServer's writer was seen to write.

mod opcode;
mod read;
mod write;

#[cfg(test)]
mod tests;

use jiff::civil::DateTime;

pub use read::read;
pub use write::write;

/// Largest pickle read, in bytes: that of a stanza, in which it comes.
pub const PICKLE_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of lists and maps: inputs need two levels, the map and the lists in it.
pub const DEPTH_MAX: usize = 8;

/// Most values, in the pickle and again in what it stands for: a value got from the memo counts each time.
pub const ITEMS_MAX: usize = 20_000;

/// Most values in the memo.
pub const MEMO_MAX: usize = 20_000;

/// Most bytes of texts in what a pickle stands for: a text in the memo may be got thousands of times.
pub const TEXT_BYTES_MAX: usize = 2 * PICKLE_BYTES_MAX;

/// A value in a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Pickle {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// `datetime.datetime`, in the time zone of whoever wrote it: the zone is lost.
    DateTime(DateTime),
    /// `decimal.Decimal`, as it was written.
    Decimal(String),
    List(Vec<Self>),
    /// In the order written; a name that comes twice is there twice.
    Map(Vec<(String, Self)>),
}

/// Why bytes are no pickle that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    #[error("a pickle of {bytes} bytes is larger than the {PICKLE_BYTES_MAX} allowed")]
    TooLarge { bytes: usize },
    #[error("pickle protocol {0} is not read here, only 0, 1 and 2")]
    Protocol(u8),
    /// It would do more than build data.
    #[error(
        "opcode {name} (0x{code:02x}) at byte {at} of the pickle is not allowed: it does more than build data"
    )]
    Forbidden { code: u8, name: &'static str, at: usize },
    #[error("the pickle names '{0}', and only 'datetime.datetime' and 'decimal.Decimal' may be named in one")]
    Global(String),
    #[error("the pickle holds more than {ITEMS_MAX} values")]
    TooMany,
    #[error("the pickle puts more than {MEMO_MAX} values into its memo")]
    Memo,
    #[error("the pickle nests more than {DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("the texts of the pickle have more than {TEXT_BYTES_MAX} bytes together")]
    TooMuchText,
    #[error("the pickle is malformed at byte {at}: {rule}")]
    Malformed { at: usize, rule: &'static str },
}

/// Reads anything; what can be read must survive being written and read again.
#[doc(hidden)]
pub fn fuzz_pickle(bytes: &[u8]) {
    let Ok(value) = read(bytes) else { return };
    let again = read(&write(&value));
    // NaN is not equal to itself.
    assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, PickleError>(value)));
}
