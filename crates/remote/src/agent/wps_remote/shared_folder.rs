//! What runs have left in the shared folder, removed when it is old.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::run_id::RunId;

/// Removes folders of runs in which nothing has changed for `keep`, and links named as runs are that lead nowhere. Those of `live` runs
/// stay however old they are, and so does whatever is not named as a run. Blocking. Gives how many were removed.
pub(super) fn sweep(folder: &Path, keep: Duration, live: &BTreeSet<RunId>) -> usize {
    let mut removed = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else {
            continue;
        };
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if live.contains(&run) {
            continue;
        }
        let result = if kind.is_symlink() && !path.exists() {
            fs::remove_file(&path)
        } else if kind.is_dir() && is_older(&path, keep) {
            fs::remove_dir_all(&path)
        } else {
            continue;
        };
        match result {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(path = %path.display(), %error, "old results can't be removed"),
        }
    }
    removed
}

/// Whether a folder, and every file in it, was left alone for so long. What can't be read counts as new.
fn is_older(folder: &Path, keep: Duration) -> bool {
    let old = |path: &Path| {
        let changed = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
        // Of tomorrow, by another machine's clock: not old.
        changed.ok().and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age >= keep)
    };
    let mut entries = fs::read_dir(folder).into_iter().flatten();
    old(folder) && entries.all(|entry| entry.is_ok_and(|entry| old(&entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::JobId;
    use std::time::SystemTime;

    /// Makes a folder of a run with a file, both of that age.
    fn run(at: &Path, age: Duration) -> RunId {
        let run = RunId::whole(JobId::random(), 1);
        let folder = at.join(run.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("out.zip"), "x").unwrap();
        let then = SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap() - age;
        for path in [folder.join("out.zip"), folder] {
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        }
        run
    }

    #[test]
    fn old_results_go_but_for_those_of_live_runs() {
        let temp = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        let (old, new, live) =
            (run(temp.path(), 3 * hour), run(temp.path(), hour), run(temp.path(), 3 * hour));
        let touched = run(temp.path(), 3 * hour);
        fs::write(temp.path().join(touched.to_string()).join("later"), "x").unwrap();
        let gone = RunId::whole(JobId::random(), 2);
        std::os::unix::fs::symlink(temp.path().join("nothing"), temp.path().join(gone.to_string())).unwrap();
        fs::create_dir(temp.path().join("archive")).unwrap();
        assert_eq!(sweep(temp.path(), 2 * hour, &BTreeSet::from([live])), 2);
        let is_there = |run: RunId| temp.path().join(run.to_string()).symlink_metadata().is_ok();
        assert_eq!([old, gone, new, live, touched].map(is_there), [false, false, true, true, true]);
        assert!(temp.path().join("archive").is_dir());
    }
}
