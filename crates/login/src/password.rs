//! Passwords, kept as Argon2id hashes (RFC 9106) in the PHC string form.

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Shortest password, in bytes (NIST SP 800-63B §5.1.1: at least 8 characters).
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Longest password, in bytes: longer ones are mistakes, or attacks on the time that hashing takes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The hash of a password. It prints as nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

/// A password that is not taken, or a hash that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// By its length.
    #[error("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    /// No random numbers, or no memory.
    #[error("the password can't be hashed")]
    NotHashed,
    /// In a file.
    #[error("the hash of a password is not in the PHC form of argon2")]
    NoHash,
}

impl PasswordHash {
    /// Hashes a password with a new salt; takes tens of milliseconds and 19 MiB (the parameters that OWASP asks for).
    ///
    /// # Errors
    /// Where it is too short or too long.
    pub fn of(password: &str) -> Result<Self, PasswordRefused> {
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(PasswordRefused::Length);
        }
        let hash = Argon2::default().hash_password(password.as_bytes());
        hash.map(|hash: phc::PasswordHash| Self(hash.to_string()))
            .map_err(|_error| PasswordRefused::NotHashed)
    }

    /// Whether it is the hash of that password; takes as long as hashing it.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        phc::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = PasswordRefused;
    fn try_from(text: String) -> Result<Self, PasswordRefused> {
        let is_ours = text.starts_with("$argon2") && phc::PasswordHash::new(&text).is_ok();
        if is_ours { Ok(Self(text)) } else { Err(PasswordRefused::NoHash) }
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_one_password_and_shows_nothing() {
        let hash = PasswordHash::of("correct horse").unwrap();
        assert!(hash.is_of("correct horse") && !hash.is_of("correct horsf"));
        assert_eq!(format!("{hash:?}"), "PasswordHash");
        let text = String::from(hash.clone());
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_eq!(PasswordHash::try_from(text), Ok(hash));
        assert_eq!(PasswordHash::of("short"), Err(PasswordRefused::Length));
        assert_eq!(PasswordHash::of(&"x".repeat(1025)), Err(PasswordRefused::Length));
        assert_eq!(PasswordHash::try_from("plain text".to_owned()), Err(PasswordRefused::NoHash));
    }
}
