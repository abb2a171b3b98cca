//! JSON text (RFC 8259), token by token.

use super::error::Flaw;
use super::number;
use std::borrow::Cow;
use std::ops::Range;

/// Deepest nesting of objects and arrays within one feature: the limit of most JSON readers, and far beyond GeoJSON's needs.
pub const DEPTH_MAX: usize = 128;

/// A place in JSON text. Never recurses; every method leaves it behind what it has read, or gives the flaw.
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// At the start of a range of a text and confined to it; offsets count from the start of the text. A range outside of the
    /// text is empty.
    #[must_use]
    pub fn over(bytes: &'a [u8], range: Range<usize>) -> Self {
        let end = range.end.min(bytes.len());
        Self { bytes: &bytes[..end], at: range.start.min(end) }
    }

    /// Offset in the text.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// A flaw at this place.
    pub fn flaw(&self, rule: impl Into<Cow<'static, str>>) -> Flaw {
        Flaw::new(self.at, rule)
    }

    /// The next byte that is no white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Steps over a byte, where it is the next that is no white space.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Steps over a byte that has to be there.
    ///
    /// # Errors
    /// Where it is not.
    #[inline]
    pub fn expect(&mut self, byte: u8, rule: &'static str) -> Result<(), Flaw> {
        if self.take(byte) { Ok(()) } else { Err(self.flaw(rule)) }
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// Where something does.
    pub fn expect_end(&mut self) -> Result<(), Flaw> {
        if self.peek().is_none() { Ok(()) } else { Err(self.flaw("nothing may follow here")) }
    }

    /// Steps over a string; gives what stands between its quotes, escapes and all.
    ///
    /// # Errors
    /// Where there is no string, or it does not end.
    pub fn string(&mut self) -> Result<&'a [u8], Flaw> {
        self.expect(b'"', "a string must begin here")?;
        let start = self.at;
        let mut from = start;
        while let Some(hit) = memchr::memchr2(b'"', b'\\', self.bytes.get(from..).unwrap_or_default()) {
            if self.bytes[from + hit] == b'"' {
                self.at = from + hit + 1;
                return Ok(&self.bytes[start..from + hit]);
            }
            from += hit + 2;
        }
        Err(Flaw::new(start - 1, "a string must end with a quote"))
    }

    /// Steps over the name of a member and its colon; gives the name without escapes.
    ///
    /// # Errors
    /// Where there is no name, or its escapes are none of JSON's.
    pub fn name(&mut self) -> Result<Cow<'a, [u8]>, Flaw> {
        let name = self.text()?;
        self.expect(b':', "a member's name must be followed by a colon")?;
        Ok(name)
    }

    /// Steps over a string; gives its characters without escapes.
    ///
    /// # Errors
    /// Where there is no string, or its escapes are none of JSON's.
    pub fn text(&mut self) -> Result<Cow<'a, [u8]>, Flaw> {
        self.peek();
        let start = self.at;
        let raw = self.string()?;
        unescape(raw).ok_or_else(|| Flaw::new(start, "a string's escapes must be those of JSON"))
    }

    /// Reads a number; may be infinite where it is too large for a double.
    ///
    /// # Errors
    /// Where there is none.
    #[inline]
    pub fn number(&mut self) -> Result<f64, Flaw> {
        self.number_with(|_value| Ok(()))
    }

    /// Reads a number that `check` agrees with.
    #[inline]
    pub(super) fn number_with(
        &mut self,
        check: impl FnOnce(f64) -> Result<(), &'static str>,
    ) -> Result<f64, Flaw> {
        self.peek();
        let (value, end) = number::read(self.bytes, self.at).map_err(|rule| self.flaw(rule))?;
        check(value).map_err(|rule| self.flaw(rule))?;
        self.at = end;
        Ok(value)
    }

    /// Steps over an array of two or more numbers without white space, as most positions are written, and gives the first
    /// two. `None` means nothing: it may be there in another form.
    #[inline(always)]
    pub(super) fn plain_position(&mut self) -> Option<([f64; 2], Range<usize>)> {
        let (point, end) = match self.position_in_degrees() {
            Some(position) => position,
            None => self.any_plain_position()?,
        };
        let start = std::mem::replace(&mut self.at, end);
        Some((point, start..end))
    }

    /// The position that begins here, with the offset behind it.
    #[inline(always)]
    fn position_in_degrees(&self) -> Option<([f64; 2], usize)> {
        if *self.bytes.get(self.at)? != b'[' {
            return None;
        }
        let (x, comma) = number::read_degrees(self.bytes, self.at + 1)?;
        if *self.bytes.get(comma)? != b',' {
            return None;
        }
        let (y, close) = number::read_degrees(self.bytes, comma + 1)?;
        self.end_of_position(close).map(|end| ([x, y], end))
    }

    /// The same for all plain numbers. Not inlined: the usual position is read faster where nothing else is in the way.
    #[inline(never)]
    fn any_plain_position(&mut self) -> Option<([f64; 2], usize)> {
        self.peek();
        if *self.bytes.get(self.at)? != b'[' {
            return None;
        }
        let (x, comma) = number::read_plain(self.bytes, self.at + 1)?;
        if *self.bytes.get(comma)? != b',' {
            return None;
        }
        let (y, close) = number::read_plain(self.bytes, comma + 1)?;
        self.end_of_position(close).map(|end| ([x, y], end))
    }

    /// Behind the bracket that closes a position; the number before `at` was its second.
    #[inline(always)]
    fn end_of_position(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at)? {
            b']' => Some(at + 1),
            b',' => self.behind_further_numbers(at),
            _ => None,
        }
    }

    #[inline(never)]
    fn behind_further_numbers(&self, mut at: usize) -> Option<usize> {
        while *self.bytes.get(at)? == b',' {
            (_, at) = number::read_plain(self.bytes, at + 1)?;
        }
        (*self.bytes.get(at)? == b']').then_some(at + 1)
    }

    /// Steps over the comma to the next array, where nothing else is between them.
    #[inline]
    pub(super) fn take_to_array(&mut self) -> bool {
        let is_there = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b",["));
        self.at += usize::from(is_there);
        is_there
    }

    /// Steps over an array, calling `element` at the start of each; gives the range of the whole.
    ///
    /// # Errors
    /// Where there is no array, or whatever `element` says.
    pub fn list<E: From<Flaw>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        self.expect(b'[', "an array must begin here")?;
        let start = self.at - 1;
        if self.take(b']') {
            return Ok(start..self.at);
        }
        loop {
            element(self)?;
            if self.take(b']') {
                return Ok(start..self.at);
            }
            self.expect(b',', "an element must be followed by ',' or ']'")?;
        }
    }

    /// Steps over any value that stands `depth` containers deep; gives its range.
    ///
    /// # Errors
    /// Where it is no JSON, or deeper than [`DEPTH_MAX`].
    pub fn skip_value(&mut self, depth: usize) -> Result<Range<usize>, Flaw> {
        self.peek();
        let start = self.at;
        let mut open = Nesting { objects: 0, depth, floor: depth };
        loop {
            if self.begin_value(&mut open)? {
                while self.end_value(&mut open)? {}
                if open.depth == open.floor {
                    return Ok(start..self.at);
                }
            }
        }
    }

    /// Steps over a scalar or into a container; true where a value has ended.
    fn begin_value(&mut self, open: &mut Nesting) -> Result<bool, Flaw> {
        match self.peek() {
            Some(b'{') => {
                open.push(true).map_err(|rule| self.flaw(rule))?;
                self.at += 1;
                if self.take(b'}') {
                    open.depth -= 1;
                    return Ok(true);
                }
                self.skip_name()?;
                Ok(false)
            }
            Some(b'[') => {
                open.push(false).map_err(|rule| self.flaw(rule))?;
                self.at += 1;
                if self.take(b']') {
                    open.depth -= 1;
                    return Ok(true);
                }
                Ok(false)
            }
            Some(b'"') => self.string().map(|_| true),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number().map(|_| true),
        }
    }

    /// Steps over what follows a value; true where that ended another value.
    fn end_value(&mut self, open: &mut Nesting) -> Result<bool, Flaw> {
        if open.depth == open.floor {
            return Ok(false);
        }
        let in_object = open.in_object();
        if self.take(b',') {
            if in_object {
                self.skip_name()?;
            }
            return Ok(false);
        }
        let (close, rule) = if in_object {
            (b'}', "a member must be followed by ',' or '}'")
        } else {
            (b']', "an element must be followed by ',' or ']'")
        };
        self.expect(close, rule)?;
        open.depth -= 1;
        Ok(true)
    }

    fn skip_name(&mut self) -> Result<(), Flaw> {
        self.string()?;
        self.expect(b':', "a member's name must be followed by a colon")
    }

    fn word(&mut self, word: &'static [u8]) -> Result<bool, Flaw> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.flaw("a value must be an object, array, string, number, true, false or null"));
        }
        self.at += word.len();
        Ok(true)
    }

    /// The next bytes that are neither `needle_a` nor `needle_b`, without stepping over them.
    pub(super) fn until(&self, needle_a: u8, needle_b: u8) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        &rest[..memchr::memchr2(needle_a, needle_b, rest).unwrap_or(rest.len())]
    }

    /// Steps over bytes already looked at.
    pub(super) fn step_over(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.bytes.len());
    }
}

/// Which of the open containers are objects: one bit each, the innermost lowest.
struct Nesting {
    objects: u128,
    depth: usize,
    /// The depth at which the walk began.
    floor: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) -> Result<(), &'static str> {
        if self.depth >= DEPTH_MAX {
            return Err("a feature must not be nested deeper than 128 objects and arrays");
        }
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        self.objects & (1 << (self.depth - 1)) != 0
    }
}

/// The characters of a JSON string as UTF-8, `None` where its escapes are none of JSON's.
pub(super) fn unescape(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Some(Cow::Borrowed(raw));
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(|text| Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stepped_over_as_serde_json_reads_them() {
        for good in [
            r#"{"a":[1,-2.5e3,{"b":"\"]}\\"},[],{}],"c":null}"#,
            "[]",
            " {} ",
            "[[[true,false]]]",
            "\"\\u0061\"",
            "-0.5",
        ] {
            let mut cursor = Cursor::new(good.as_bytes());
            cursor.skip_value(0).unwrap();
            cursor.expect_end().unwrap();
        }
        for bad in [
            "", "{", "[1,]", "{,}", "{\"a\"}", "{\"a\":}", "[1 2]", "[}", "{]", "tru", "\"", "\"\\\"", "+1",
            "{1:2}",
        ] {
            let mut cursor = Cursor::new(bad.as_bytes());
            assert!(cursor.skip_value(0).and_then(|_| cursor.expect_end()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nesting_has_a_floor_and_a_ceiling() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Cursor::new(deep(128).as_bytes()).skip_value(0).is_ok());
        assert!(Cursor::new(deep(129).as_bytes()).skip_value(0).is_err());
        assert!(Cursor::new(deep(29).as_bytes()).skip_value(100).is_err());
        assert!(Cursor::new(deep(10_000).as_bytes()).skip_value(0).is_err());
    }
}
