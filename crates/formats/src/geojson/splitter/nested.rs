//! The end of an object or array, found in whatever pieces its bytes come.

use super::super::cursor::DEPTH_MAX;
use super::super::error::Flaw;

/// Counts the brackets of one sort outside of strings. The other sort is not looked at: in coordinates this skips
/// everything but the end, and whoever reads the container itself finds brackets that do not match.
#[derive(Clone)]
pub(super) struct Nested {
    open: u8,
    depth: usize,
    text: Option<Text>,
}

impl Nested {
    /// Begins at the byte `open`, which is still to be read: `{` or `[`.
    pub(super) fn new(open: u8) -> Self {
        Self { open, depth: 0, text: None }
    }

    /// Goes on at `scanned`; true where the container has ended.
    pub(super) fn advance(&mut self, bytes: &[u8], scanned: &mut usize) -> Result<bool, Flaw> {
        let close = if self.open == b'{' { b'}' } else { b']' };
        loop {
            if let Some(text) = &mut self.text {
                if !text.advance(bytes, scanned) {
                    return Ok(false);
                }
                self.text = None;
            }
            let Some(hit) = memchr::memchr3(self.open, close, b'"', &bytes[*scanned..]) else {
                *scanned = bytes.len();
                return Ok(false);
            };
            let at = *scanned + hit;
            *scanned = at + 1;
            match bytes[at] {
                b'"' => self.text = Some(Text::default()),
                byte if byte == close => {
                    self.depth -= 1; // it began with `open`, so that depth is 1 or more here
                    if self.depth == 0 {
                        return Ok(true);
                    }
                }
                _ if self.depth == DEPTH_MAX => {
                    return Err(Flaw::new(at, "objects and arrays must not be nested deeper than 128"));
                }
                _ => self.depth += 1,
            }
        }
    }
}

/// The rest of a string, behind its first quote.
#[derive(Clone, Default)]
pub(super) struct Text {
    escaped: bool,
}

impl Text {
    /// Goes on at `scanned`; true where the string has ended, behind its last quote.
    pub(super) fn advance(&mut self, bytes: &[u8], scanned: &mut usize) -> bool {
        loop {
            if self.escaped && *scanned < bytes.len() {
                self.escaped = false;
                *scanned += 1;
            }
            let Some(hit) = memchr::memchr2(b'"', b'\\', &bytes[*scanned..]) else {
                *scanned = bytes.len();
                return false;
            };
            let at = *scanned + hit;
            *scanned = at + 1;
            if bytes[at] == b'"' {
                return true;
            }
            self.escaped = true;
        }
    }
}
