//! Verifies passwords away from the threads that answer requests, and remembers for a while which were right.

use crate::password::PasswordHash;
use anabranch_model::UserName;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Verifications at once: each takes a processor and 19 MiB for tens of milliseconds, and jobs want processors too.
const PARALLEL_MAX: usize = 2;
/// Verifications that wait; who comes then is asked to come again. Two seconds' worth.
const WAITING_MAX: usize = 64;
/// Right passwords that are remembered.
const KNOWN_MAX: usize = 1024;
/// How long: a removed user counts at once all the same, because the hash is part of what is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// Too many verifications wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// The verifier. What it remembers are keyed hashes, of use to nobody without the key, which is never written down.
pub(crate) struct Verifier {
    key: [u8; 32],
    known: Mutex<HashMap<[u8; 32], Instant>>,
    /// Who waits here when full: nobody, they are refused.
    waiting: Semaphore,
    /// Who waits here when full: at most [`WAITING_MAX`] logins.
    slots: Semaphore,
    /// What the passwords of users that do not exist are compared with, so that the time does not tell who exists.
    nobody: Arc<PasswordHash>,
}

impl Verifier {
    pub(crate) fn new(nobody: PasswordHash) -> Self {
        Self {
            key: rand::random(),
            known: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
            slots: Semaphore::new(PARALLEL_MAX),
            nobody: Arc::new(nobody),
        }
    }

    /// Whether this very login was right a short while ago.
    pub(crate) fn is_known(&self, user: &UserName, hash: &PasswordHash, password: &str) -> bool {
        let mark = self.mark(user, hash, password);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&mark).is_some_and(|since| since.elapsed() < KNOWN_FOR)
    }

    /// Whether the password is right; `hash` is `None` for users that do not exist or have no password.
    pub(crate) async fn verify(
        &self,
        user: &UserName,
        hash: Option<&PasswordHash>,
        password: &str,
    ) -> Result<bool, Overrun> {
        let _waiting = self.waiting.try_acquire().map_err(|_full| Overrun)?;
        let _slot = self.slots.acquire().await.map_err(|_closed| Overrun)?;
        let against = hash.cloned().map_or_else(|| Arc::clone(&self.nobody), Arc::new);
        let given = password.to_owned();
        let right = tokio::task::spawn_blocking(move || against.is_of(&given)).await.unwrap_or(false);
        let Some(hash) = hash.filter(|_| right) else { return Ok(false) };
        self.remember(self.mark(user, hash, password));
        Ok(true)
    }

    fn remember(&self, mark: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, since| since.elapsed() < KNOWN_FOR);
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(mark, Instant::now());
    }

    /// Depends on the hash too: with a new password nothing old is remembered.
    fn mark(&self, user: &UserName, hash: &PasswordHash, password: &str) -> [u8; 32] {
        // A key of HMAC may have any length, so that this can't fail; a mark of nothing would be known by nobody.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.key) else {
            return rand::random();
        };
        for part in [user.as_str().as_bytes(), hash.as_bytes(), password.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_passwords_are_remembered_until_they_change() {
        let verifier = Verifier::new(PasswordHash::of("of nobody at all").unwrap());
        let anna = UserName::new("anna").unwrap();
        let (old, new) =
            (PasswordHash::of("old password").unwrap(), PasswordHash::of("new password").unwrap());
        assert!(!verifier.is_known(&anna, &old, "old password"));
        assert_eq!(verifier.verify(&anna, Some(&old), "old password").await, Ok(true));
        assert!(verifier.is_known(&anna, &old, "old password"));
        assert!(!verifier.is_known(&anna, &old, "other password"));
        assert!(!verifier.is_known(&anna, &new, "old password"));
        assert_eq!(verifier.verify(&anna, Some(&new), "old password").await, Ok(false));
        assert_eq!(verifier.verify(&anna, None, "of nobody at all").await, Ok(false));
    }

    #[tokio::test]
    async fn more_than_can_wait_are_refused() {
        let verifier = Verifier::new(PasswordHash::of("of nobody at all").unwrap());
        let all = verifier.waiting.acquire_many(WAITING_MAX as u32).await.unwrap();
        let anna = UserName::new("anna").unwrap();
        assert_eq!(verifier.verify(&anna, None, "x").await, Err(Overrun));
        drop(all);
    }
}
