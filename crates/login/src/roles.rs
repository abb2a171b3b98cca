//! Roles: the groups that rights are given to.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The role that may do everything.
pub const OPERATOR: &str = "operator";
/// The role of everyone who has logged in.
pub const USER: &str = "user";
/// The role of everyone, logged in or not.
pub const ANONYMOUS: &str = "anonymous";

/// The roles of someone. All clones share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Roles(Arc<BTreeSet<String>>);

impl Roles {
    /// Of someone who has not logged in.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Arc::new([ANONYMOUS.to_owned()].into()))
    }

    /// Of a user who has been given these. What anonymous callers and all users may, they may too.
    #[must_use]
    pub fn of_user(given: impl IntoIterator<Item = String>) -> Self {
        let own = given.into_iter().filter(|role| !role.is_empty());
        Self(Arc::new(own.chain([USER.to_owned(), ANONYMOUS.to_owned()]).collect()))
    }

    /// One of them is called so.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.0.contains(role)
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
