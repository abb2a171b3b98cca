//! Reading JSON: the members of an object in order, none twice, and no deeper than a limit.
//!
//! Only what a request is made of is looked into. Values of inputs stay as written: whether their own members repeat is a
//! matter of their format.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// Deepest nesting of arrays and objects: GeoJSON needs about ten; a parser that recurses needs an end.
pub(super) const DEPTH_MAX: usize = 64;

/// The members of an object, as written.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Of the text of an object; `None` where it is none.
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        if kind(raw) != Kind::Object {
            return None;
        }
        serde_json::from_str(raw.get()).ok()
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }

    /// The content of a member that is a string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(string)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, raw)| (name.as_str(), *raw))
    }

    /// A name that comes twice.
    pub(super) fn duplicate(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.0.len());
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a JSON text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// What a value is, by its first character: it has been parsed before.
pub(super) fn kind(raw: &RawValue) -> Kind {
    match raw.get().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The content of a string.
pub(super) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The values of an array, as written.
pub(super) fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// No array or object lies deeper than [`DEPTH_MAX`]. Counts brackets, so it takes any text and never recurses.
pub(super) fn depth_is_allowed(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        assert!(depth_is_allowed(&format!("{}1{}", "[".repeat(64), "]".repeat(64))));
        assert!(!depth_is_allowed(&format!("{}1{}", "[".repeat(65), "]".repeat(65))));
        assert!(depth_is_allowed(&format!("\"{}\\\"[\"", "[".repeat(100))));
        assert!(!depth_is_allowed(&"{\"a\":".repeat(10_000)));
    }

    #[test]
    fn members_keep_their_text_and_repeat_visibly() {
        let members: Members<'_> = serde_json::from_str(r#"{"a": 1.50, "b" : {"c":[]} , "a":2}"#).unwrap();
        assert_eq!(members.get("a").unwrap().get(), "1.50");
        assert_eq!(members.get("b").unwrap().get(), r#"{"c":[]}"#);
        assert_eq!(members.duplicate(), Some("a"));
    }
}
