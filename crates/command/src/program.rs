//! Where an executable is.

use crate::os;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where programs are looked up where this program itself has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// The `PATH` that executables get: that of this program.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| PATH_DEFAULT.into())
}

/// The file that `program` names: looked up in [`search_path`], or relative to `folder` where it holds a `/`.
/// `None` where there is no such file, or it can't be executed.
pub(crate) fn find(program: &str, folder: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        let path = folder.join(program);
        return os::is_executable(&path).then_some(path);
    }
    // A relative entry of PATH would mean another program in every folder.
    let candidates =
        env::split_paths(&search_path()).filter(|folder| folder.is_absolute()).collect::<Vec<_>>();
    candidates.into_iter().map(|folder| folder.join(program)).find(|path| os::is_executable(path))
}
