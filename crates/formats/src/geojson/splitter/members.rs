//! The members of a root object, read in whatever pieces its bytes come.

use super::super::cursor::unescape;
use super::super::error::Flaw;
use super::nested::{Nested, Text};

/// A walk through the members of an object, behind its `{`.
#[derive(Clone)]
pub(super) struct Members {
    at: At,
    name: Name,
    root_type: RootType,
}

/// What is awaited, or what the walk is in.
#[derive(Clone)]
enum At {
    NameOrEnd,
    Name,
    /// In a name, or in a text that is a value; where it begins behind its quote, as long as nothing is given away.
    InName(Text, usize),
    Colon,
    Value,
    InText(Text, usize),
    InNested(Nested),
    InScalar,
    CommaOrEnd,
}

/// The names that matter here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Features,
    Type,
    Other,
}

/// What `"type"` says, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RootType {
    NotSeen,
    Collection,
    Other,
}

/// Where a walk has come.
pub(super) enum Step {
    /// All bytes are looked at.
    NeedsBytes,
    /// Behind the `[` of the member `features`.
    Features,
    /// Behind the `}` of the object.
    End,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { at: At::NameOrEnd, name: Name::Other, root_type: RootType::NotSeen }
    }

    /// It is in a string, which must stay in the buffer until its end.
    pub(super) fn is_in_text(&self) -> bool {
        matches!(self.at, At::InName(..) | At::InText(..))
    }

    pub(super) fn may_be_collection(&self) -> bool {
        self.root_type != RootType::Other
    }

    /// The object has ended without features.
    pub(super) fn check_single(&self) -> Result<(), Flaw> {
        if self.root_type == RootType::Collection {
            return Err(Flaw::new(0, "a FeatureCollection must have an array 'features'"));
        }
        Ok(())
    }

    /// The object has ended at `at` and had features.
    pub(super) fn check_collection(&self, at: usize) -> Result<(), Flaw> {
        if self.root_type != RootType::Collection {
            return Err(Flaw::new(at, "an object with 'features' must have the 'type' FeatureCollection"));
        }
        Ok(())
    }

    /// Goes on at `scanned`.
    pub(super) fn advance(&mut self, bytes: &[u8], scanned: &mut usize) -> Result<Step, Flaw> {
        while *scanned < bytes.len() {
            match &mut self.at {
                At::InName(text, start) => {
                    if text.advance(bytes, scanned) {
                        self.name = Name::of(&bytes[*start..*scanned - 1]);
                        self.at = At::Colon;
                    }
                }
                At::InText(text, start) => {
                    if text.advance(bytes, scanned) {
                        let text = *start..*scanned - 1;
                        self.at = At::CommaOrEnd;
                        self.note_type(&bytes[text], *scanned)?;
                    }
                }
                At::InNested(nested) => {
                    if nested.advance(bytes, scanned)? {
                        self.at = At::CommaOrEnd;
                    }
                }
                At::InScalar => match bytes[*scanned] {
                    b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.' => *scanned += 1,
                    _ => self.at = At::CommaOrEnd,
                },
                At::NameOrEnd | At::Name | At::Colon | At::Value | At::CommaOrEnd => {
                    if let Some(step) = self.advance_between(bytes[*scanned], scanned)? {
                        return Ok(step);
                    }
                }
            }
        }
        Ok(Step::NeedsBytes)
    }

    /// One byte between names and values.
    fn advance_between(&mut self, byte: u8, scanned: &mut usize) -> Result<Option<Step>, Flaw> {
        let at = *scanned;
        *scanned += 1;
        match (&self.at, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (At::NameOrEnd | At::Name, b'"') => self.at = At::InName(Text::default(), *scanned),
            (At::NameOrEnd | At::CommaOrEnd, b'}') => return Ok(Some(Step::End)),
            (At::CommaOrEnd, b',') => self.at = At::Name,
            (At::Colon, b':') => self.at = At::Value,
            (At::Value, b'[') if self.name == Name::Features && self.root_type != RootType::Other => {
                self.at = At::CommaOrEnd;
                return Ok(Some(Step::Features));
            }
            (At::Value, b'{' | b'[') => {
                *scanned = at;
                self.at = At::InNested(Nested::new(byte));
            }
            (At::Value, b'"') => self.at = At::InText(Text::default(), *scanned),
            (At::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.at = At::InScalar,
            (At::Value, _) => return Err(Flaw::new(at, "a value must begin here")),
            (At::Colon, _) => return Err(Flaw::new(at, "a member's name must be followed by a colon")),
            (At::CommaOrEnd, _) => return Err(Flaw::new(at, "a member must be followed by ',' or '}'")),
            _ => return Err(Flaw::new(at, "a member's name must begin here")),
        }
        Ok(None)
    }

    fn note_type(&mut self, text: &[u8], at: usize) -> Result<(), Flaw> {
        if self.name != Name::Type {
            return Ok(());
        }
        if self.root_type != RootType::NotSeen {
            return Err(Flaw::new(at, "'type' must stand there once"));
        }
        let is_collection = unescape(text).is_some_and(|text| &*text == b"FeatureCollection");
        self.root_type = if is_collection { RootType::Collection } else { RootType::Other };
        Ok(())
    }
}

impl Name {
    fn of(raw: &[u8]) -> Self {
        // Longer than any name that matters with every character escaped: not worth a copy.
        if raw.len() > b"features".len() * b"\\u0066".len() {
            return Self::Other;
        }
        match unescape(raw).as_deref() {
            Some(b"features") => Self::Features,
            Some(b"type") => Self::Type,
            _ => Self::Other,
        }
    }
}
