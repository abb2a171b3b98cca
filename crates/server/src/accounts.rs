//! The accounts of the embedded XMPP server: a file of names and salted keys, read again when it has changed, so that
//! `anabranch invite` works while the server runs.

use crate::folder::{Folder, new_secret, write_private};
use anabranch_xmpp::ScramKeys;
use anabranch_xmpp::server::AccountStore;
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The account of the agents on this machine; each is told from the others by its name.
pub(crate) const LOCAL_ACCOUNT: &str = "local";
/// The server's own account. It needs no password where its session lives in the process of the XMPP server.
pub(crate) const ORCHESTRATOR: &str = "orchestrator";
/// Longest account name: it becomes part of a JID, and of log lines.
const NAME_CHARS_MAX: usize = 64;

/// Accounts in a file.
pub(crate) struct FileAccounts {
    path: PathBuf,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    modified: Option<SystemTime>,
    accounts: BTreeMap<String, ScramKeys>,
}

impl FileAccounts {
    pub(crate) fn new(folder: &Folder) -> Self {
        Self { path: folder.accounts(), cached: Mutex::default() }
    }
}

impl AccountStore for FileAccounts {
    fn keys(&self, user: &str) -> Option<ScramKeys> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        if modified.is_none() || modified != cached.modified {
            match read(&self.path) {
                Ok(accounts) => *cached = Cached { modified, accounts },
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "the accounts can't be read: the last ones hold"
                ),
            }
        }
        cached.accounts.get(user).cloned()
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<BTreeMap<String, ScramKeys>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, keys) =
                line.split_once(' ').with_context(|| format!("{}: a line has no keys", path.display()))?;
            let keys =
                keys.trim().parse().with_context(|| format!("{}: keys of '{name}'", path.display()))?;
            Ok((name.to_owned(), keys))
        })
        .collect()
}

/// Makes an account with a new secret, which is returned and kept nowhere; an account of that name gets a new one.
///
/// # Errors
/// Where the name is no account name or the file can't be written.
pub(crate) fn create(folder: &Folder, name: &str) -> anyhow::Result<String> {
    check_name(name)?;
    let secret = new_secret();
    set(folder, name, &secret)?;
    Ok(secret)
}

/// Gives an account this secret, making it if need be.
///
/// # Errors
/// Where the file can't be read or written.
pub(crate) fn set(folder: &Folder, name: &str, secret: &str) -> anyhow::Result<()> {
    let mut accounts = read(&folder.accounts())?;
    accounts.insert(name.to_owned(), ScramKeys::derive(secret));
    write(folder, &accounts)
}

/// Takes an account away.
///
/// # Errors
/// Where there is none of that name, or the file can't be read or written.
pub(crate) fn remove(folder: &Folder, name: &str) -> anyhow::Result<()> {
    check_name(name)?;
    let mut accounts = read(&folder.accounts())?;
    ensure!(accounts.remove(name).is_some(), "there is no account {name:?}");
    write(folder, &accounts)
}

fn write(folder: &Folder, accounts: &BTreeMap<String, ScramKeys>) -> anyhow::Result<()> {
    let lines: String = accounts.iter().map(|(name, keys)| format!("{name} {keys}\n")).collect();
    write_private(&folder.accounts(), &lines)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    ensure!(
        !name.is_empty() && name.len() <= NAME_CHARS_MAX,
        "an account name has 1 to {NAME_CHARS_MAX} characters"
    );
    ensure!(
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c)),
        "an account name has lower-case letters, digits, - _ . only, not {name:?}"
    );
    if name == ORCHESTRATOR {
        bail!("{name:?} is the server's own account");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invited_accounts_are_known_at_once_and_keep_no_secret() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let accounts = FileAccounts::new(&folder);
        assert!(accounts.keys("field-1").is_none());
        let secret = create(&folder, "field-1").unwrap();
        assert!(accounts.keys("field-1").unwrap().verify(&secret));
        assert!(!fs::read_to_string(folder.accounts()).unwrap().contains(&secret));
        let renewed = create(&folder, "field-1").unwrap();
        assert!(read(&folder.accounts()).unwrap()["field-1"].verify(&renewed));
        remove(&folder, "field-1").unwrap();
        assert!(remove(&folder, "field-1").is_err());
        assert!(read(&folder.accounts()).unwrap().is_empty());
    }

    #[test]
    fn bad_names_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        for name in ["", "a b", "A", "a@b", "orchestrator", &"x".repeat(65)] {
            assert!(create(&folder, name).is_err(), "{name:?}");
        }
    }
}
