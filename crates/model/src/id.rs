//! Identifiers of processes and jobs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest identifier of a process, input or output: longer ones are mistakes or attacks, and file names end at 255.
pub const IDENTIFIER_CHARS_MAX: usize = 200;

/// Identifier of a process: a plain name for a built-in (`echo`), `namespace:name` for a remote one
/// (`default:GdalContour`).
///
/// Letters, digits and `_ - . : ~`; it starts with a letter, a digit or `_`. Compared with regard to case, as WPS 1.0.0 §8 and
/// OGC API - Processes demand. All clones share one text: thousands of agents offer the same processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessId(Arc<str>);

/// A text that is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("identifier {text:?} {rule}")]
pub struct InvalidIdentifier {
    /// The text as given, cut after [`IDENTIFIER_CHARS_MAX`] characters.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Checks the rule shared by all identifiers: see [`ProcessId`].
///
/// # Errors
/// [`InvalidIdentifier`] naming the rule that is broken.
pub fn check_identifier(text: &str) -> Result<(), InvalidIdentifier> {
    let fail =
        |rule| Err(InvalidIdentifier { text: text.chars().take(IDENTIFIER_CHARS_MAX).collect(), rule });
    if text.is_empty() {
        return fail("is empty");
    }
    if text.len() > IDENTIFIER_CHARS_MAX {
        return fail("is longer than 200 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return fail("must start with a letter, a digit or '_'");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:~".contains(c)) {
        return fail("may hold letters, digits and _ - . : ~ only");
    }
    Ok(())
}

/// Labels that an agent may have, and a service may name: they travel in messages of limited size.
pub const LABELS_MAX: usize = 32;
/// Longest label, characters.
pub const LABEL_CHARS_MAX: usize = 64;

/// Whether a text may be a label of an agent: letters, digits and `-_.:/`, so that it needs quotes nowhere.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    !text.is_empty() && text.len() <= LABEL_CHARS_MAX && text.chars().all(good)
}

impl ProcessId {
    /// Reads an identifier.
    ///
    /// # Errors
    /// [`InvalidIdentifier`] where the text breaks the rule.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIdentifier> {
        let text = text.into();
        check_identifier(&text)?;
        Ok(Self(text.into()))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProcessId {
    type Error = InvalidIdentifier;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl FromStr for ProcessId {
    type Err = InvalidIdentifier;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl From<ProcessId> for String {
    fn from(id: ProcessId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifier of a job, made by the server: 122 random bits, because who knows an id may read and dismiss the job
/// (WPS 2.0 §7 privacy note).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(uuid::Uuid);

impl JobId {
    /// A new random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// The 16 bytes, for stores that index by them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From the 16 bytes of [`JobId::as_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl FromStr for JobId {
    type Err = InvalidIdentifier;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::try_parse(text).map(Self).map_err(|_not_a_uuid| InvalidIdentifier {
            text: text.chars().take(IDENTIFIER_CHARS_MAX).collect(),
            rule: "is not a UUID",
        })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_ids_keep_the_namespace_and_refuse_paths() {
        for good in ["echo", "default:GdalContour", "org.n52.javaps.test.EchoProcess", "_x", "7z"] {
            assert_eq!(ProcessId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "../x", "a/b", "a b", "-x", "é", "a\0", &"x".repeat(201)] {
            assert!(ProcessId::new(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn job_ids_round_trip() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(JobId::from_bytes(*id.as_bytes()), id);
        assert!("nonsense".parse::<JobId>().is_err());
    }
}
