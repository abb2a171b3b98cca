//! The data folder: what of it is the binary's own. Job and result stores are the engine's.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `xmpp/cert.pem`, `xmpp/key.pem` | the embedded XMPP server's certificate | 0600 |
//! | `xmpp/accounts` | one line an account: name, salted keys | 0600 |
//! | `xmpp/room-password` | of the room where agents and server meet | 0600 |
//! | `xmpp/orchestrator-password` | of the account of servers, where `anabranch xmpp` runs | 0600 |
//! | `external.toml` | the configuration by which servers come to `anabranch xmpp` | 0600 |
//! | `local.join` | the line by which an agent on this machine joins | 0600 |
//! | `agent-data.key` | signs the URLs under which agents fetch and upload | 0600 |
//! | `agent-data/` | what agents fetch and upload, a folder a run; `sent/` has a file for each run that was sent | |
//! | `users.json` | who may log in: roles, hashes of passwords and tokens | 0600 |
//! | `audit.jsonl` | who did what | 0600 |
//! | `server.json` | where the running server listens | 0600 |

use anyhow::Context as _;
use base64::Engine as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Length of generated secrets, in bytes: as hard to guess as a 256-bit key.
const SECRET_BYTES: usize = 32;

/// The data folder.
#[derive(Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens it, making it if need be, for its owner only.
    ///
    /// # Errors
    /// Where it can't be made.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&path.join("xmpp")).with_context(|| format!("can't make the data folder {}", path.display()))?;
        let path = fs::canonicalize(path)
            .with_context(|| format!("can't find the data folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn xmpp(&self) -> PathBuf {
        self.0.join("xmpp")
    }

    pub(crate) fn users(&self) -> PathBuf {
        self.0.join("users.json")
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    pub(crate) fn accounts(&self) -> PathBuf {
        self.0.join("xmpp/accounts")
    }

    pub(crate) fn local_join(&self) -> PathBuf {
        self.0.join("local.join")
    }

    pub(crate) fn server_json(&self) -> PathBuf {
        self.0.join("server.json")
    }

    /// A secret kept in a file of that name: read, or made at the first call.
    ///
    /// # Errors
    /// Where the file can't be read or written.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<String> {
        secret_in(&self.0, name)
    }
}

/// A secret kept in a file of a folder, which other servers may have too: read, or made at the first call of whoever is first.
///
/// # Errors
/// Where the file can't be read or written.
pub(crate) fn secret_in(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    let read = || fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()));
    if !path.exists() {
        let own = folder.join(format!("{name}.{}", new_secret()));
        write_private(&own, &new_secret())?;
        // A link fails where the file is there, whole or not at all.
        let linked = fs::hard_link(&own, &path);
        fs::remove_file(&own).with_context(|| format!("can't remove {}", own.display()))?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("can't make {}", path.display()));
        }
    }
    Ok(read()?.trim().to_owned())
}

/// A secret that nobody can guess, in characters that need no quoting anywhere.
pub(crate) fn new_secret() -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>())
}

/// Writes a file for the owner only, whole or not at all.
///
/// # Errors
/// Names the file.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        path.parent().map_or(Ok(()), sync_entries)
    };
    write().with_context(|| format!("can't write {}", path.display()))
}

/// Syncs the entries of a folder, so that a power failure does not undo what was made in it. Blocking.
pub(crate) fn sync_entries(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn secrets_are_made_once_and_private() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(&temp.path().join("data")).unwrap();
        let secret = folder.secret("agent-data.key").unwrap();
        assert_eq!(folder.secret("agent-data.key").unwrap(), secret);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("agent-data.key")), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
    }
}
