//! The bytes of a document as UTF-8, in blocks: decoded, checked, counted.

use super::XmlError;
use std::io::{self, BufRead, Read};

/// Bytes taken from the input at a time: large enough for few calls, small enough for many documents at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Bytes in which a declaration has to name the encoding; what is declared later is too late to matter.
const DECLARATION_BYTES_MAX: usize = 200;
/// The byte order mark of UTF-8.
const MARK_BYTES_MAX: usize = 3;
/// `<`, `/` and `>` around a tag.
const DELIMITERS_BYTES: usize = 3;

/// Reads UTF-8, UTF-16 with a byte order mark, and ISO 8859-1 and US-ASCII where the declaration says so. Control characters, which XML
/// has no place for, are refused.
pub(super) struct Source<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Found by the first bytes.
    encoding: Option<Encoding>,
    /// Read and not decoded: the beginning of a character, or of the document.
    raw: Vec<u8>,
    /// Decoded: whole characters only.
    block: Vec<u8>,
    /// Consumed bytes of the block.
    at: usize,
    is_at_end: bool,
    /// What is wrong with the bytes that follow the block.
    broken: Option<XmlError>,
    consumed: u64,
    lines: usize,
    /// Everything consumed is copied to it, where it is there.
    pub(super) copy: Option<Vec<u8>>,
    /// While a tag is read: bytes that it may have, and may still have.
    tag_bytes: Option<(usize, usize)>,
}

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Latin1,
    Utf16(fn([u8; 2]) -> u16),
}

impl<'a> Source<'a> {
    pub(super) fn new(input: Box<dyn BufRead + 'a>) -> Self {
        let (raw, block) = Default::default();
        Self {
            input,
            encoding: None,
            raw,
            block,
            at: 0,
            is_at_end: false,
            broken: None,
            consumed: 0,
            lines: 0,
            copy: None,
            tag_bytes: None,
        }
    }

    /// UTF-8 without a byte order mark, whatever it declares.
    pub(super) fn utf_8(input: Box<dyn BufRead + 'a>) -> Self {
        Self { encoding: Some(Encoding::Utf8), ..Self::new(input) }
    }

    /// What can be read without waiting.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.block[self.at..]
    }

    /// Waits until that many bytes can be read; there are fewer only at the end of the document.
    ///
    /// # Errors
    /// Those of the input, and an [`XmlError`] where it is no text.
    pub(super) fn ensure(&mut self, bytes: usize) -> io::Result<()> {
        while self.ahead().len() < bytes && !self.is_at_end {
            // Not before: which fault is found first must not depend on how the bytes come in.
            if let Some(broken) = &self.broken {
                return Err(io::Error::other(broken.clone()));
            }
            self.read_more()?;
        }
        Ok(())
    }

    /// All bytes consumed so far, counted as UTF-8.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The line that is read, counted from 1.
    pub(super) fn line(&self) -> usize {
        1 + self.lines
    }

    /// A tag begins, and must not be longer.
    pub(super) fn begin_tag(&mut self, bytes_max: usize) {
        self.tag_bytes = Some((bytes_max, bytes_max + DELIMITERS_BYTES));
    }

    pub(super) fn end_tag(&mut self) {
        self.tag_bytes = None;
    }

    fn read_more(&mut self) -> io::Result<()> {
        self.block.drain(..self.at);
        self.at = 0;
        let count = loop {
            match self.input.fill_buf() {
                Ok(bytes) => {
                    let bytes = &bytes[..bytes.len().min(BLOCK_BYTES)];
                    self.raw.extend_from_slice(bytes);
                    break bytes.len();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.input.consume(count);
        self.is_at_end = count == 0;
        if self.encoding.is_none() {
            if self.raw.len() < MARK_BYTES_MAX + DECLARATION_BYTES_MAX && !self.is_at_end {
                return Ok(());
            }
            self.encoding = self.find_encoding();
        }
        let decoded = self.block.len();
        let broken = match self.encoding {
            None => Err("has an encoding that is not supported: UTF-8, UTF-16 and ISO-8859-1 are"),
            Some(encoding) => decode(encoding, &mut self.raw, &mut self.block, self.is_at_end),
        };
        let allowed = without_control_characters(&self.block[decoded..]);
        let broken = match allowed {
            None => broken,
            Some(bytes) => {
                self.block.truncate(decoded + bytes);
                Err("has a control character")
            }
        };
        if let Err(rule) = broken {
            let line = self.line() + count_lines(self.ahead());
            self.broken = Some(XmlError { line, rule: format!("the document {rule}") });
            self.is_at_end = false;
        }
        Ok(())
    }

    /// By the byte order mark, which is removed, or the declaration; `None` for one that is not supported.
    fn find_encoding(&mut self) -> Option<Encoding> {
        let (mark, encoding) = match self.raw.as_slice() {
            [0xFE, 0xFF, ..] => (2, Some(Encoding::Utf16(u16::from_be_bytes))),
            [0xFF, 0xFE, ..] => (2, Some(Encoding::Utf16(u16::from_le_bytes))),
            [0xEF, 0xBB, 0xBF, rest @ ..] => (3, declared_encoding(rest)),
            bytes => (0, declared_encoding(bytes)),
        };
        self.raw.drain(..mark);
        encoding
    }
}

/// What quick-xml reads from; it is shown tags only.
impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ensure(1)?;
        match self.tag_bytes {
            Some((bytes_max, 0)) => {
                let rule = format!("the document has a start tag longer than {bytes_max} bytes");
                Err(io::Error::other(XmlError { line: self.line(), rule }))
            }
            Some((_, left)) => Ok(&self.ahead()[..self.ahead().len().min(left)]),
            None => Ok(self.ahead()),
        }
    }

    fn consume(&mut self, bytes: usize) {
        let consumed = &self.block[self.at..self.at + bytes];
        self.lines += count_lines(consumed);
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(consumed);
        }
        self.consumed += bytes as u64;
        self.at += bytes;
        if let Some((_, left)) = &mut self.tag_bytes {
            *left = left.saturating_sub(bytes);
        }
    }
}

/// How many bytes come before a character that XML has no place for; `None` where there is none.
fn without_control_characters(bytes: &[u8]) -> Option<usize> {
    let is_forbidden = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    // Without a way out in the middle the compiler compares many bytes at once.
    if !bytes.iter().fold(false, |found, byte| found | is_forbidden(byte)) {
        return None;
    }
    bytes.iter().position(is_forbidden)
}

fn count_lines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

/// Moves whole characters from `raw` to `text`; gives the rule that is broken by what follows them.
fn decode(
    encoding: Encoding,
    raw: &mut Vec<u8>,
    text: &mut Vec<u8>,
    is_at_end: bool,
) -> Result<(), &'static str> {
    match encoding {
        Encoding::Utf8 => utf8(raw, text, is_at_end),
        // The first 256 characters of Unicode are those of ISO 8859-1.
        Encoding::Latin1 => {
            let mut character = [0; 4];
            for byte in raw.drain(..) {
                text.extend_from_slice(char::from(byte).encode_utf8(&mut character).as_bytes());
            }
            Ok(())
        }
        Encoding::Utf16(unit) => utf16(unit, raw, text, is_at_end),
    }
}

fn utf8(raw: &mut Vec<u8>, text: &mut Vec<u8>, is_at_end: bool) -> Result<(), &'static str> {
    match std::str::from_utf8(raw) {
        Ok(_) => {
            text.append(raw);
            Ok(())
        }
        Err(error) => {
            text.extend(raw.drain(..error.valid_up_to()));
            let is_cut = error.error_len().is_none() && !is_at_end;
            if is_cut { Ok(()) } else { Err("is no UTF-8") }
        }
    }
}

/// A byte too many at the end of the document is not looked at.
fn utf16(
    unit: fn([u8; 2]) -> u16,
    raw: &mut Vec<u8>,
    text: &mut Vec<u8>,
    is_at_end: bool,
) -> Result<(), &'static str> {
    let mut units: Vec<u16> = raw.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    let is_high_surrogate = |unit: &u16| (0xD800..0xDC00).contains(unit);
    if units.last().is_some_and(is_high_surrogate) && !is_at_end {
        units.pop();
    }
    raw.drain(..units.len() * 2);
    let mut character = [0; 4];
    for decoded in char::decode_utf16(units) {
        let decoded = decoded.map_err(|_not_text| "is no UTF-16")?;
        text.extend_from_slice(decoded.encode_utf8(&mut character).as_bytes());
    }
    Ok(())
}

/// The encoding that an XML declaration names; `None` for one that is not supported.
fn declared_encoding(bytes: &[u8]) -> Option<Encoding> {
    match declared_name(bytes).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii" | "utf-16") => Some(Encoding::Utf8),
        Some("iso-8859-1" | "latin1") => Some(Encoding::Latin1),
        Some(_) => None,
    }
}

/// The name of the encoding in an XML declaration, in lower case.
fn declared_name(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().take(DECLARATION_BYTES_MAX).position(|byte| *byte == b'>')?;
    let declaration = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix("<?xml")?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split_once(quote).map(|(name, _)| name.to_ascii_lowercase())
}
