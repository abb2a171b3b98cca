use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::ScramKeys;

/// Who may log in. Asked once per login, from async tasks: an implementation answers from memory.
pub trait AccountStore: Send + Sync + 'static {
    /// Keys of an account; `None` if there is no such user. `user` is in the normal form of the local part of a JID
    /// (lower case).
    fn keys(&self, user: &str) -> Option<ScramKeys>;
}

/// Accounts kept in memory.
#[derive(Debug, Default)]
pub struct MemoryAccounts {
    accounts: RwLock<HashMap<String, ScramKeys>>,
}

impl MemoryAccounts {
    /// Adds accounts by user name and password; deriving their keys takes some milliseconds each.
    pub fn with_passwords<'a>(accounts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let accounts =
            accounts.into_iter().map(|(user, password)| (user.to_owned(), ScramKeys::derive(password)));
        Self { accounts: RwLock::new(accounts.collect()) }
    }

    /// Adds an account, or changes its password. `user` in lower case.
    pub fn insert(&self, user: &str, keys: ScramKeys) {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned(), keys);
    }

    /// Removes an account. Its sessions go on until
    /// [`ServerHandle::disconnect`](crate::server::ServerHandle::disconnect).
    pub fn remove(&self, user: &str) {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(user);
    }
}

impl AccountStore for MemoryAccounts {
    fn keys(&self, user: &str) -> Option<ScramKeys> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }
}
