//! Isolation by bubblewrap (`bwrap`): the executable sees the system read-only, its own folders alone can be written, nothing of
//! other runs or of people's homes is there, and no network unless it is allowed.
//!
//! The executable is process of a namespace of its own, which ends as a whole: at the end of its time, or when it is dismissed, it is
//! killed without a polite signal before.

use crate::folders::Folders;
use crate::program;
use crate::service::{Isolation, Service};
use anabranch_model::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program, of Debian's package bubblewrap.
pub(crate) const BUBBLEWRAP: &str = "bwrap";

/// Folders that the executable finds empty: homes, sockets of services, files of other programs.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run", "/tmp", "/var/tmp"];

/// The program and arguments that run an executable in isolation.
///
/// # Errors
/// Where bubblewrap is not installed.
pub(crate) fn wrap(
    isolation: &Isolation,
    service: &Service,
    folders: &Folders,
    program: &Path,
    arguments: Vec<OsString>,
) -> Result<(PathBuf, Vec<OsString>), Error> {
    let Some(bubblewrap) = program::find(BUBBLEWRAP, &service.folder) else {
        let message = "bubblewrap, in which it is to run, is not installed on this machine";
        return Err(Error::process_failed(message));
    };
    let mut wrapped: Vec<OsString> =
        ["--die-with-parent", "--unshare-all", "--cap-drop", "ALL"].map(OsString::from).to_vec();
    if isolation.network {
        wrapped.push("--share-net".into());
    }
    let mut mount = |how: &str, folder: &Path| {
        wrapped.push(how.into());
        wrapped.push(folder.into());
        if how != "--tmpfs" {
            wrapped.push(folder.into());
        }
    };
    mount("--ro-bind", Path::new("/"));
    let other_runs = folders.work.parent().and_then(Path::parent);
    let hidden = HIDDEN.into_iter().map(Path::new).filter(|folder| folder.is_dir()).chain(other_runs);
    hidden.for_each(|folder| mount("--tmpfs", folder));
    // What is shown again has to come after what was hidden around it.
    let shown = isolation.visible.iter().chain([&service.folder]).chain(&service.command.working_folder);
    shown.for_each(|folder| mount("--ro-bind", folder));
    for own in [&folders.work, &folders.home, &folders.temporary] {
        mount("--bind", own);
    }
    wrapped.extend(["--dev", "/dev", "--proc", "/proc", "--chdir"].map(OsString::from));
    wrapped.push(service.command.working_folder.as_ref().unwrap_or(&folders.work).into());
    wrapped.push("--".into());
    wrapped.push(program.into());
    wrapped.extend(arguments);
    Ok((bubblewrap, wrapped))
}
