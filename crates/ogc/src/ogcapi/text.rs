//! The characters of JSON that comes in pieces.

/// Bytes that must be UTF-8, cut anywhere.
#[derive(Default)]
pub(super) struct Utf8 {
    /// The beginning of a character.
    cut: Vec<u8>,
}

impl Utf8 {
    /// Looks at some more bytes. A character that never ends is for whoever knows the end.
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !self.cut.is_empty() {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            self.cut.push(*first);
            bytes = rest;
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(RULE),
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.cut.extend_from_slice(&bytes[error.valid_up_to()..]);
                Ok(())
            }
            Err(_) => Err(RULE),
        }
    }
}

const RULE: &str = "must be UTF-8";

/// The content of a string literal (RFC 8259 §7), cut anywhere; its quotes are left out.
#[derive(Default)]
pub(super) struct JsonString {
    state: State,
    content: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Begin,
    Characters,
    /// After a backslash; a high surrogate may stand before it.
    Escape {
        high: Option<u16>,
    },
    /// So many hexadecimal digits of a code unit have been read.
    Unit {
        high: Option<u16>,
        unit: u16,
        digits: u8,
    },
    /// A high surrogate needs a low one.
    High(u16),
    End,
}

impl JsonString {
    /// What some more of the literal stands for.
    pub(super) fn content(&mut self, literal: &[u8]) -> Result<&[u8], &'static str> {
        self.content.clear();
        let mut rest = literal;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Characters = self.state {
                let special = |byte: &u8| matches!(byte, b'"' | b'\\') || *byte < b' ';
                let bytes = rest.iter().position(special).unwrap_or(rest.len());
                self.content.extend_from_slice(&rest[..bytes]);
                rest = &rest[bytes..];
                let Some((&byte, after)) = rest.split_first() else { break };
                self.state = match byte {
                    b'"' => State::End,
                    b'\\' => State::Escape { high: None },
                    _ => return Err("must be JSON: a control character in a string must be escaped"),
                };
                rest = after;
                continue;
            }
            self.state = self.step(byte)?;
            rest = after;
        }
        Ok(&self.content)
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        const SURROGATE: &str = "must be a string of Unicode characters";
        const ESCAPE: &str = "must be JSON: an escape in a string is unknown";
        Ok(match self.state {
            State::Begin if byte == b'"' => State::Characters,
            State::High(high) if byte == b'\\' => State::Escape { high: Some(high) },
            State::High(_) => return Err(SURROGATE),
            State::Escape { high } if byte == b'u' => State::Unit { high, unit: 0, digits: 0 },
            State::Escape { high: Some(_) } => return Err(SURROGATE),
            State::Escape { high: None } => {
                self.content.push(match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return Err(ESCAPE),
                });
                State::Characters
            }
            State::Unit { high, unit, digits } => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                let unit = unit << 4 | digit.ok_or(ESCAPE)?;
                if digits < 3 {
                    return Ok(State::Unit { high, unit, digits: digits + 1 });
                }
                match (high, unit) {
                    (None, 0xD800..=0xDBFF) => State::High(unit),
                    (high, unit) => {
                        for character in char::decode_utf16(high.into_iter().chain([unit])) {
                            let character = character.map_err(|_half| SURROGATE)?;
                            let mut bytes = [0; 4];
                            self.content.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                        }
                        State::Characters
                    }
                }
            }
            State::Begin | State::Characters | State::End => {
                return Err("must be JSON: a string is expected");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(literal: &[u8], first: usize) -> Result<Vec<u8>, &'static str> {
        let mut string = JsonString::default();
        let mut all = string.content(&literal[..first])?.to_vec();
        all.extend_from_slice(string.content(&literal[first..])?);
        Ok(all)
    }

    #[test]
    fn strings_are_read_as_they_are_when_whole_wherever_they_are_cut() {
        for literal in [
            r#""a\"\\\/\b\f\n\r\tü€""#,
            r#""\u00fc\ud834\udd1e\u0000x""#,
            r#""""#,
            r#""\ud834""#,
            r#""\ud834x""#,
            r#""\ud834\n""#,
            r#""\udd1e""#,
            r#""\ud834\u0041""#,
            r#""\x""#,
            r#""\u12g4""#,
            "\"\n\"",
        ] {
            let expected = serde_json::from_str::<String>(literal).ok();
            for first in 0..=literal.len() {
                let found = content(literal.as_bytes(), first).ok();
                assert_eq!(found.as_deref(), expected.as_ref().map(String::as_bytes), "{literal} {first}");
            }
        }
    }

    #[test]
    fn utf_8_may_be_cut_anywhere() {
        let text = "aü€𝄞".as_bytes();
        for first in 0..=text.len() {
            let mut utf_8 = Utf8::default();
            utf_8.check(&text[..first]).unwrap();
            utf_8.check(&text[first..]).unwrap();
            let mut utf_8 = Utf8::default();
            let second = utf_8.check(&text[..first]).and_then(|()| utf_8.check(b"\xff"));
            second.unwrap_err();
        }
    }
}
