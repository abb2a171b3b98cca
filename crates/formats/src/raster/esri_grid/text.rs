//! Words of a text, one after the other.

use super::malformed;
use crate::FormatError;
use std::io::{BufRead, BufReader, Read};

/// Bytes of a word: GDAL writes numbers with 20 digits, and 39 before the point where they are as large as single precision allows.
const WORD_BYTES_MAX: usize = 400;

const BUFFER_BYTES: usize = 64 << 10;

/// Reads words.
pub(super) struct Words {
    from: BufReader<Box<dyn Read + Send>>,
    word: Vec<u8>,
    line: u64,
}

impl Words {
    pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
        Self { from: BufReader::with_capacity(BUFFER_BYTES, from), word: Vec::new(), line: 1 }
    }

    /// The line of the last word, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next word, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, FormatError> {
        self.word.clear();
        loop {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Ok((!self.word.is_empty()).then_some(&self.word));
            }
            let skipped = if self.word.is_empty() {
                let skipped =
                    buffer.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(buffer.len());
                self.line += buffer[..skipped].iter().filter(|byte| **byte == b'\n').count() as u64;
                skipped
            } else {
                0
            };
            let rest = &buffer[skipped..];
            let end = rest.iter().position(u8::is_ascii_whitespace);
            let length = end.unwrap_or(rest.len());
            if self.word.len() + length > WORD_BYTES_MAX {
                return Err(malformed(
                    format!("may have at most {WORD_BYTES_MAX} characters in a word"),
                    self.line,
                ));
            }
            self.word.extend_from_slice(&rest[..length]);
            self.from.consume(skipped + length);
            if end.is_some() && !self.word.is_empty() {
                return Ok(Some(&self.word));
            }
        }
    }
}

/// The number that a word is.
pub(super) fn number(word: &[u8]) -> Option<f64> {
    if let Some(whole) = whole_number(word) {
        #[allow(clippy::cast_precision_loss)] // at most 15 digits
        return Some(whole as f64);
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A whole number of at most 15 digits, which a double holds exactly.
fn whole_number(word: &[u8]) -> Option<i64> {
    let (digits, sign) = match word {
        [b'-', digits @ ..] => (digits, -1),
        digits => (digits, 1),
    };
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    // The zero with a sign is a number with a fraction.
    (value != 0 || sign == 1).then_some(sign * value)
}

/// What is quoted of a word that is wrong.
pub(super) fn quoted(word: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&word[..word.len().min(40)]);
    format!("{shown:?}")
}
