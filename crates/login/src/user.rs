//! What is kept of users.

use crate::password::PasswordHash;
use crate::token::{Token, hash};
use anabranch_model::{Timestamp, UserName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Roles that were given.
    #[serde(default)]
    pub roles: BTreeSet<String>,
    /// `None` for those who log in by other means only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// Bearer tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
}

/// All users, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Users(pub BTreeMap<UserName, User>);

/// A users file that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: not a users file as `anabranch user` writes it")]
pub struct UsersRefused {
    line: usize,
    column: usize,
}

impl Users {
    /// Reads the text of a users file (JSON: an object with an object for each user).
    ///
    /// # Errors
    /// Says where it breaks, not what is there: it holds hashes.
    pub fn parse(text: &str) -> Result<Self, UsersRefused> {
        let refused = |error: serde_json::Error| UsersRefused { line: error.line(), column: error.column() };
        serde_json::from_str(text).map_err(refused)
    }

    /// As a users file.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Nothing in it can fail to be written: names and roles are texts, and keys are names.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The user whose token that is.
    pub(crate) fn of_token(&self, token: &str, now: Timestamp) -> Option<&UserName> {
        let hash = hash(token);
        let has = |user: &User| user.tokens.iter().any(|token| token.is(&hash, now));
        self.0.iter().find(|(_, user)| has(user)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::NewToken;

    #[test]
    fn a_file_holds_everything_and_no_secret() {
        let (token, at) = (NewToken::random(), |second| Timestamp::from_second(second).unwrap());
        let user = User {
            roles: ["operator".to_owned()].into(),
            password: Some(PasswordHash::of("correct horse").unwrap()),
            tokens: vec![token.kept("ci", at(0), at(10))],
        };
        let users = Users([(UserName::new("anna").unwrap(), user)].into());
        let text = users.to_text();
        assert_eq!(Users::parse(&text).unwrap(), users);
        assert!(!text.contains("correct horse") && !text.contains(token.secret()));
        assert_eq!(users.of_token(token.secret(), at(5)).unwrap().as_str(), "anna");
        assert_eq!(users.of_token("anabranch_x", at(5)), None);
        for bad in ["", "[]", "{\"a/b\":{}}", "{\"a\":{\"password\":\"plain\"}}", "{\"a\":{\"other\":1}}"] {
            assert!(Users::parse(bad).is_err(), "{bad}");
        }
    }
}
