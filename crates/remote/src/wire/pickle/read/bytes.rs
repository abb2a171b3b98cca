//! The arguments of opcodes that are bytes, and numbers as lines.

use super::super::{Pickle, PickleError};

/// Largest integer as bytes: Python writes no more than it needs, so that more are no integer of 64 bits.
const LONG_BYTES_MAX: usize = 9;

/// What is left of a pickle.
pub(super) struct Bytes<'a> {
    left: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self { left: pickle, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn malformed(&self, rule: &'static str) -> PickleError {
        PickleError::Malformed { at: self.at, rule }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let Some((taken, left)) = self.left.split_at_checked(len) else {
            return Err(self.malformed("it ends too early"));
        };
        self.left = left;
        self.at += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PickleError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A length; what it claims is checked when so much is taken.
    pub(super) fn len_u32(&mut self) -> Result<usize, PickleError> {
        let len = u32::from_le_bytes(self.array()?);
        usize::try_from(len).map_err(|_| self.malformed("it ends too early"))
    }

    /// An integer in two's complement, little end first.
    pub(super) fn long(&mut self, len: usize) -> Result<i64, PickleError> {
        if len > LONG_BYTES_MAX {
            return Err(self.malformed("an integer must fit into 64 bits"));
        }
        let bytes = self.take(len)?;
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [fill; 16];
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let number = i128::from_le_bytes(wide);
        i64::try_from(number).map_err(|_| self.malformed("an integer must fit into 64 bits"))
    }

    /// Up to the line end, which goes too.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let Some(len) = self.left.iter().position(|byte| *byte == b'\n') else {
            return Err(self.malformed("a line has no end"));
        };
        let line = self.take(len)?;
        self.take(1)?;
        Ok(line)
    }

    fn ascii_line(&mut self) -> Result<&'a str, PickleError> {
        let line = self.line()?;
        match std::str::from_utf8(line) {
            Ok(text) if text.is_ascii() => Ok(text),
            _ => Err(self.malformed("a line must be ASCII")),
        }
    }

    /// `I`: an integer, or a truth value written as `00` or `01`.
    pub(super) fn int_line(&mut self) -> Result<Pickle, PickleError> {
        match self.ascii_line()? {
            "00" => Ok(Pickle::Bool(false)),
            "01" => Ok(Pickle::Bool(true)),
            text => {
                text.parse().map(Pickle::Int).map_err(|_| self.malformed("an integer must fit into 64 bits"))
            }
        }
    }

    /// `L`: an integer, mostly with an `L` at its end.
    pub(super) fn long_line(&mut self) -> Result<i64, PickleError> {
        let text = self.ascii_line()?;
        let digits = text.strip_suffix('L').unwrap_or(text);
        digits.parse().map_err(|_| self.malformed("an integer must fit into 64 bits"))
    }

    pub(super) fn float_line(&mut self) -> Result<f64, PickleError> {
        let text = self.ascii_line()?;
        text.parse().map_err(|_| self.malformed("this is no number"))
    }

    pub(super) fn index_line(&mut self) -> Result<u32, PickleError> {
        let text = self.ascii_line()?;
        text.parse().map_err(|_| self.malformed("this is no index of the memo"))
    }

    /// A module or a name in it, shortened for messages.
    pub(super) fn name_line(&mut self) -> Result<String, PickleError> {
        const NAME_CHARS_MAX: usize = 100;
        let text = self.ascii_line()?;
        Ok(text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect())
    }
}
