//! Power failures: what was not synced is lost.
//!
//! A library preloaded into the server (`power/shim.c`) remembers what each `fsync` and `fdatasync` has made safe. When the power fails, the
//! data folder is made anew of that; or, as disks do, of that and some of what was written since.

use crate::{Random, command};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tempfile::TempDir;

/// What of what was never synced is on the disk all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// Each file and each folder by chance: the system may have written any of it.
    ByChance,
}

/// Watches a data folder.
pub struct Power {
    kept: TempDir,
    library: PathBuf,
}

impl Power {
    /// Compiles the library.
    pub async fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let library = kept.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/power/shim.c");
        let compiled = command("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-ldl", "-o"])
            .arg(&library)
            .output()
            .await
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Self { kept, library }
    }

    /// The environment of a server whose data lies in `data`; syncs of what matches `ignored` do not count.
    pub fn environment(&self, data: &Path, ignored: Option<&str>) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut variables = vec![
            ("LD_PRELOAD".to_owned(), text(&self.library)),
            ("POWER_ROOT".to_owned(), text(data)),
            ("POWER_KEPT".to_owned(), text(self.kept.path())),
        ];
        variables.extend(ignored.map(|pattern| ("POWER_IGNORED".to_owned(), pattern.to_owned())));
        variables
    }

    /// The data folder as it is found after a power failure, in the place of what it was. The server must have been killed.
    pub fn fail(&self, data: &Path, unsynced: Unsynced, random: &mut Random) {
        let before = data.with_extension("before");
        let _none_yet = fs::remove_dir_all(&before);
        fs::rename(data, &before).unwrap();
        fs::create_dir(data).unwrap();
        self.restore_folder(&key(&before), &before, data, unsynced, random);
    }

    fn restore_folder(&self, key: &str, now: &Path, to: &Path, unsynced: Unsynced, random: &mut Random) {
        let mut entries = self.kept_entries(key);
        if unsynced == Unsynced::ByChance && random.one_in(2) {
            entries = entries_now(now);
        }
        for Entry { is_folder, key, name } in entries {
            let (now, to) = (now.join(&name), to.join(&name));
            if is_folder {
                fs::create_dir(&to).unwrap();
                self.restore_folder(&key, &now, &to, unsynced, random);
            } else {
                self.restore_file(&key, &now, &to, unsynced, random);
            }
        }
    }

    fn restore_file(&self, key: &str, now: &Path, to: &Path, unsynced: Unsynced, random: &mut Random) {
        // Never synced: a name without content.
        let kept = fs::read(self.kept.path().join(format!("f-{key}"))).unwrap_or_default();
        let is_same = now.is_file() && self::key(now) == key;
        if unsynced == Unsynced::ByChance && is_same && random.one_in(2) {
            let written = fs::read(now).unwrap();
            // Files that grow are on the disk up to anywhere.
            let grew = written.len() > kept.len() && written.starts_with(&kept);
            let end =
                if grew { kept.len() + random.below(written.len() - kept.len() + 1) } else { written.len() };
            fs::write(to, &written[..end]).unwrap();
        } else {
            fs::write(to, kept).unwrap();
        }
    }

    fn kept_entries(&self, key: &str) -> Vec<Entry> {
        let text = fs::read_to_string(self.kept.path().join(format!("d-{key}"))).unwrap_or_default();
        let entry = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let (kind, key, name) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Entry { is_folder: kind == "d", key: key.into(), name: name.into() })
        };
        text.lines().map(|line| entry(line).unwrap()).filter(is_counted).collect()
    }
}

struct Entry {
    is_folder: bool,
    key: String,
    name: String,
}

/// The index of a write-ahead log is memory, in truth.
fn is_counted(entry: &Entry) -> bool {
    !entry.name.ends_with("-shm")
}

fn entries_now(folder: &Path) -> Vec<Entry> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entry = |found: fs::DirEntry| {
        let name = found.file_name().into_string().unwrap();
        Entry { is_folder: found.path().is_dir(), key: key(&found.path()), name }
    };
    entries.flatten().map(entry).filter(is_counted).collect()
}

/// As the library names a file.
fn key(path: &Path) -> String {
    let found = fs::symlink_metadata(path).unwrap();
    let born = found.created().unwrap().duration_since(UNIX_EPOCH).unwrap();
    format!("{}-{}.{}", found.ino(), born.as_secs(), born.subsec_nanos())
}
