//! Whose a job is, and through whose eyes it is seen.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a user, in characters: what an e-mail address or the subject of a token can have.
pub const USER_NAME_CHARS_MAX: usize = 128;

/// Name of a user: 1 to [`USER_NAME_CHARS_MAX`] characters, no control characters, no `/`. Compared with regard to case.
/// All clones share one text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(Arc<str>);

/// A text that is no user name. It is not repeated: it may be a password in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user name {0}")]
pub struct InvalidUserName(&'static str);

impl UserName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidUserName`] naming the rule that is broken.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidUserName> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidUserName("is empty"));
        }
        if text.chars().count() > USER_NAME_CHARS_MAX {
            return Err(InvalidUserName("has more than 128 characters"));
        }
        if text.chars().any(|c| c.is_control() || c == '/') {
            return Err(InvalidUserName("must have no control characters and no '/'"));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = InvalidUserName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl FromStr for UserName {
    type Err = InvalidUserName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Through whose eyes jobs are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees every job.
    Operator,
    /// Sees the jobs that are theirs.
    User(UserName),
    /// Sees the jobs that are nobody's and whose identifiers they know; they have no list.
    Anonymous,
}

impl Viewer {
    /// The owner of a job, when the job itself asks for others.
    #[must_use]
    pub fn owner(owner: Option<&UserName>) -> Self {
        owner.map_or(Self::Anonymous, |name| Self::User(name.clone()))
    }

    /// Sees a job of this owner; of nobody, where that is `None`.
    #[must_use]
    pub fn sees(&self, owner: Option<&UserName>) -> bool {
        match self {
            Self::Operator => true,
            Self::User(name) => owner == Some(name),
            Self::Anonymous => owner.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_never_repeated() {
        for good in ["anna", "anna@example.org", "Ä. Öz", "urn:x:1|2", &"x".repeat(128)] {
            assert_eq!(UserName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a\nb", "a\0", &"secret".repeat(30)] {
            let refused = UserName::new(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !refused.contains(bad), "{refused}");
        }
    }

    #[test]
    fn a_job_is_seen_by_its_owner_and_operators() {
        let name = |text: &str| UserName::new(text).unwrap();
        let (anna, ben) = (name("anna"), name("ben"));
        for (viewer, of_anna, of_nobody) in [
            (Viewer::Operator, true, true),
            (Viewer::User(anna.clone()), true, false),
            (Viewer::User(ben), false, false),
            (Viewer::Anonymous, false, true),
        ] {
            assert_eq!((viewer.sees(Some(&anna)), viewer.sees(None)), (of_anna, of_nobody), "{viewer:?}");
        }
    }
}
