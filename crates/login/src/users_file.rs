//! The users file as a running server sees it: read again when it has changed.

use crate::user::Users;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Between two looks at the file: a new password or a removed user counts after that long.
const LOOK: Duration = Duration::from_millis(250);

/// The file, and what it said last.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    looked: Option<Instant>,
    /// Time and length of the file that was read.
    read: Option<(SystemTime, u64)>,
    users: Option<Arc<Users>>,
}

impl UsersFile {
    /// A file that need not be there.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, cached: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The users; `None` while there has never been a file. Where it has vanished or can't be read, the last ones hold: a server that has
    /// users never goes back to having none by an accident. Looks at the file a few times a second at most.
    pub fn users(&self) -> Option<Arc<Users>> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            cached.looked = Some(Instant::now());
            self.look(&mut cached);
        }
        cached.users.clone()
    }

    fn look(&self, cached: &mut Cached) {
        let found = fs::metadata(&self.path).and_then(|found| Ok((found.modified()?, found.len())));
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if cached.read.take().is_some() {
                    tracing::error!(path = %self.path.display(), "the users file is gone: the last users hold");
                }
                return;
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the users file can't be read: the last users hold");
                cached.users.get_or_insert_default();
                return;
            }
        };
        if cached.read == Some(found) {
            return;
        }
        cached.read = Some(found);
        let read = fs::read_to_string(&self.path).map_err(|error| error.to_string());
        match read.and_then(|text| Users::parse(&text).map_err(|error| error.to_string())) {
            Ok(users) => cached.users = Some(Arc::new(users)),
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "the users file can't be read: the last users hold");
                // One that was never good locks everyone out, rather than letting everyone in.
                cached.users.get_or_insert_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::User;
    use anabranch_model::UserName;

    fn soon(file: &UsersFile, holds: impl Fn(Option<&Users>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(file.users().as_deref()) {
            assert!(Instant::now() < deadline, "it should have been seen by now");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn changes_count_and_accidents_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = UsersFile::new(folder.path().join("users.json"));
        assert!(file.users().is_none());
        let anna = Users([(UserName::new("anna").unwrap(), User::default())].into());
        fs::write(file.path(), anna.to_text()).unwrap();
        soon(&file, |users| users.is_some_and(|users| users.0.len() == 1));
        fs::write(file.path(), "{").unwrap();
        soon(&file, |users| users == Some(&anna));
        fs::remove_file(file.path()).unwrap();
        soon(&file, |users| users == Some(&anna));
        fs::write(file.path(), "{}\n\n").unwrap();
        soon(&file, |users| users.is_some_and(|users| users.0.is_empty()));
    }

    #[test]
    fn a_file_that_was_never_good_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = UsersFile::new(folder.path().join("users.json"));
        fs::write(file.path(), "nonsense").unwrap();
        assert_eq!(file.users().as_deref(), Some(&Users::default()));
    }
}
