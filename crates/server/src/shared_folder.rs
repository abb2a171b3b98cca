//! Folders in which agents of WPS Remote leave results: they name them by paths, and a path that leads anywhere else is not
//! followed.

use crate::config::WpsRemote;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Longest path taken, in bytes: `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4096;

/// What a site shares with its agents.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedFolders {
    /// An absolute path must lie in one of these.
    folders: Vec<PathBuf>,
    /// Where uploads appear that agents name relative to the root of their upload server.
    uploads: Option<PathBuf>,
}

/// Why a result is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharedError {
    #[error("it is in no folder that this server shares with agents (wps_remote.shared_folders)")]
    Outside,
    #[error("it is no file")]
    NoFile,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SharedFolders {
    pub(crate) fn new(config: &WpsRemote) -> Self {
        let uploads = Some(config.uploads_folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
        Self { folders: config.shared_folders.clone(), uploads }
    }

    /// Copies the file that an agent named.
    ///
    /// # Errors
    /// Where it is outside, no file, or can't be read or copied.
    pub(crate) fn copy(&self, named: &str, to: &Path) -> Result<(), SharedError> {
        let mut from = self.open(named)?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        io::copy(&mut from, &mut File::create(to)?)?;
        Ok(())
    }

    fn open(&self, named: &str) -> Result<File, SharedError> {
        if named.len() > PATH_BYTES_MAX || named.contains('\0') {
            return Err(SharedError::Outside);
        }
        let path = Path::new(named);
        let mut refused = SharedError::Outside;
        for (folder, path) in self.candidates(path) {
            match open_in(folder, &path) {
                Err(SharedError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    refused = SharedError::Io(error);
                }
                Err(SharedError::Outside) => {}
                opened => return opened,
            }
        }
        Err(refused)
    }

    /// Where a path may lead: as it stands, and as that of an upload.
    fn candidates(&self, path: &Path) -> Vec<(&Path, PathBuf)> {
        let folders = self.folders.iter().filter(|folder| path.starts_with(folder));
        let mut candidates: Vec<(&Path, PathBuf)> =
            folders.map(|folder| (folder.as_path(), path.to_owned())).collect();
        // Uploads are named relative to the root of a server, some with a slash before them.
        let below: PathBuf = path.components().filter(|part| !matches!(part, Component::RootDir)).collect();
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        if let Some(uploads) = self.uploads.as_deref().filter(|_| is_plain) {
            candidates.push((uploads, uploads.join(below)));
        }
        candidates
    }
}

/// Opens a file that lies in a folder when every link on the way has been followed.
fn open_in(folder: &Path, path: &Path) -> Result<File, SharedError> {
    let folder = fs::canonicalize(folder)?;
    let real = fs::canonicalize(path)?;
    if !real.starts_with(&folder) {
        return Err(SharedError::Outside);
    }
    // A pipe would wait for ever to be opened.
    if !fs::metadata(&real)?.is_file() {
        return Err(SharedError::NoFile);
    }
    let file = File::open(&real)?;
    // Whoever can write there may have put a link into the way since: what was opened must be what lies there without one.
    let (opened, lies_there) = (file.metadata()?, fs::symlink_metadata(fs::canonicalize(&real)?)?);
    let same = opened.is_file() && (opened.dev(), opened.ino()) == (lies_there.dev(), lies_there.ino());
    if same && fs::canonicalize(&real)? == real { Ok(file) } else { Err(SharedError::Outside) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Site {
        root: tempfile::TempDir,
        shared: SharedFolders,
    }

    fn site() -> Site {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["share/run", "uploads/wps/1", "secret", "share-not"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["share/run/out.zip", "uploads/wps/1/out.tif", "secret/key", "share-not/x"] {
            fs::write(at(file), file).unwrap();
        }
        symlink(at("secret/key"), at("share/run/link")).unwrap();
        symlink(at("secret"), at("share/folder")).unwrap();
        symlink(at("share/run/out.zip"), at("share/inner")).unwrap();
        let shared = SharedFolders { folders: vec![at("share")], uploads: Some(at("uploads")) };
        Site { root, shared }
    }

    impl Site {
        fn take(&self, named: &str) -> Result<String, SharedError> {
            let to = self.root.path().join("taken/here");
            self.shared.copy(named, &to).map(|()| fs::read_to_string(to).unwrap())
        }

        fn path(&self, name: &str) -> String {
            self.root.path().join(name).display().to_string()
        }
    }

    #[test]
    fn what_lies_in_a_shared_folder_is_taken() {
        let site = site();
        assert_eq!(site.take(&site.path("share/run/out.zip")).unwrap(), "share/run/out.zip");
        assert_eq!(site.take(&site.path("share/inner")).unwrap(), "share/run/out.zip", "a link within it");
        assert_eq!(site.take("wps/1/out.tif").unwrap(), "uploads/wps/1/out.tif");
        assert_eq!(site.take("/wps/1/out.tif").unwrap(), "uploads/wps/1/out.tif");
    }

    #[test]
    fn what_leads_anywhere_else_is_not() {
        let site = site();
        let outside = [
            "/etc/passwd".to_owned(),
            "../secret/key".into(),
            "wps/../../secret/key".into(),
            "/../secret/key".into(),
            String::new(),
            "a\0b".into(),
            "x".repeat(PATH_BYTES_MAX + 1),
            site.path("secret/key"),
            site.path("share/../secret/key"),
            site.path("share/run/../../secret/key"),
            site.path("share/run/link"),
            site.path("share/folder/key"),
            site.path("share-not/x"),
        ];
        for named in outside {
            assert!(site.take(&named).is_err(), "{named:?}");
        }
        assert!(matches!(site.take(&site.path("share/run")), Err(SharedError::NoFile)));
        assert!(matches!(site.take(&site.path("share/nothing")), Err(SharedError::Io(_))));
    }

    #[test]
    fn without_shared_folders_nothing_is_taken() {
        let site = site();
        let none = SharedFolders::default();
        for named in [site.path("share/run/out.zip"), "wps/1/out.tif".into(), "/etc/passwd".into()] {
            assert!(matches!(none.open(&named), Err(SharedError::Outside)), "{named:?}");
        }
    }
}
