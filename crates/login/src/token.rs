//! Bearer tokens of our own (RFC 6750): 256 random bits, of which the hash is kept.

use anabranch_model::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// What every token of ours begins with, so that scanners for leaked secrets can know it.
pub const PREFIX: &str = "anabranch_";
/// Most tokens of one user: more are forgotten ones.
pub const TOKENS_MAX: usize = 32;
/// Random bytes of a token: as hard to guess as a 256-bit key, so that a plain hash is enough.
const SECRET_BYTES: usize = 32;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is for, in its user's words; unique among the user's tokens.
    pub label: String,
    /// SHA-256 of it, base64url.
    pub(crate) sha256: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it is of use no more.
    pub expires: Timestamp,
}

/// A new token, shown once. It prints as nothing unless it is asked for.
pub struct NewToken(String);

impl NewToken {
    /// Makes one.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())))
    }

    /// The token itself, for its user.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn kept(&self, label: &str, created: Timestamp, expires: Timestamp) -> Token {
        Token { label: label.to_owned(), sha256: hash(&self.0), created, expires }
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

impl Token {
    /// Whether it is that token, given its hash, and still of use.
    pub(crate) fn is(&self, hash: &str, now: Timestamp) -> bool {
        bool::from(self.sha256.as_bytes().ct_eq(hash.as_bytes())) && now < self.expires
    }
}

/// The hash by which a token is known.
pub(crate) fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_until_it_expires() {
        let (token, at) = (NewToken::random(), |second| Timestamp::from_second(second).unwrap());
        let kept = token.kept("laptop", at(0), at(100));
        assert!(kept.is(&hash(token.secret()), at(99)));
        assert!(!kept.is(&hash(token.secret()), at(100)));
        assert!(!kept.is(&hash(NewToken::random().secret()), at(1)));
        assert!(!format!("{token:?} {kept:?}").contains(token.secret()));
        assert!(token.secret().len() > 50);
    }
}
