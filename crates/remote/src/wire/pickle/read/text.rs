//! The arguments of opcodes that are texts.

use super::super::PickleError;
use super::bytes::Bytes;

impl Bytes<'_> {
    pub(super) fn utf8(&mut self, len: usize) -> Result<String, PickleError> {
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.malformed("a text must be UTF-8")),
        }
    }

    /// `S`: a string literal of Python, with its quotes.
    pub(super) fn string_line(&mut self) -> Result<String, PickleError> {
        let line = self.line()?;
        let ([b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) = line else {
            return Err(self.malformed("a string must be in quotes"));
        };
        let (mut bytes, mut rest) = (Vec::with_capacity(inner.len()), inner);
        loop {
            rest = match rest {
                [] => break,
                [b'\\', b'x', high, low, left @ ..] => {
                    let byte = hex(&[*high, *low]).and_then(|code| u8::try_from(code).ok());
                    bytes.push(byte.ok_or_else(|| self.malformed("an escape is wrong"))?);
                    left
                }
                [b'\\', escaped, left @ ..] => {
                    bytes.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'\\' | b'\'' | b'"' => *escaped,
                        _ => return Err(self.malformed("an escape is wrong")),
                    });
                    left
                }
                [byte, left @ ..] => {
                    bytes.push(*byte);
                    left
                }
            };
        }
        String::from_utf8(bytes).map_err(|_| self.malformed("a text must be UTF-8"))
    }

    /// `V`: Latin-1, and `\u` with four or `\U` with eight hexadecimal digits for the rest (Python's raw-unicode-escape).
    pub(super) fn unicode_line(&mut self) -> Result<String, PickleError> {
        let line = self.line()?;
        let (mut text, mut rest) = (String::with_capacity(line.len()), line);
        loop {
            rest = match rest {
                [] => return Ok(text),
                [b'\\', b'u', a, b, c, d, left @ ..] => {
                    text.push(self.escaped(&[*a, *b, *c, *d])?);
                    left
                }
                [b'\\', b'U', a, b, c, d, e, f, g, h, left @ ..] => {
                    text.push(self.escaped(&[*a, *b, *c, *d, *e, *f, *g, *h])?);
                    left
                }
                [byte, left @ ..] => {
                    text.push(char::from(*byte));
                    left
                }
            };
        }
    }

    fn escaped(&self, digits: &[u8]) -> Result<char, PickleError> {
        hex(digits).and_then(char::from_u32).ok_or_else(|| self.malformed("an escape is wrong"))
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}
