//! A copy of a data folder, made while its server runs, and its way back: `anabranch backup`, `anabranch restore`.
//!
//! Rows first, in one moment; then the files that they speak of. That order is right because a file is complete and in its place before
//! its row is written, never changes, and goes only after its row has gone. So a file that is missing belongs to a job that was removed
//! in between, or is being repeated: the former is left out, the latter forgets its chunks anyway when it is taken up again.

use crate::check::{CheckError, is_here, lock};
use crate::folders::{self, Folders};
use crate::store::files::each_file;
use crate::store::schema;
use crate::view::OutputSummary;
use anabranch_model::JobId;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What of a data folder is not copied as it is: the database and job files have their own way, the rest is of the running server only.
const NOT_COPIED: [&str; 8] =
    ["lock", "server.json", "spool", "jobs", "results", "jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"];

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Jobs.
    pub jobs: usize,
    /// Files of inputs and results.
    pub files: usize,
    /// Finished jobs that were removed while the copy was made, and are not in it.
    pub removed: usize,
    /// Finished jobs that lack a file, in the store itself: see [`crate::check_store`].
    pub damaged: Vec<JobId>,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something is there.
    #[error("'{}' is there already", .0.display())]
    Exists(PathBuf),
    /// The store to be copied.
    #[error(transparent)]
    Store(#[from] CheckError),
    /// It was written by a newer version.
    #[error(
        "the job database has schema {found}, this version knows {known}: it was written by a newer version"
    )]
    TooNew {
        /// Schema of the file.
        found: usize,
        /// Schema known here.
        known: usize,
    },
    /// A file or folder.
    #[error("can't copy '{}': {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error("the job database can't be copied: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Copies a data folder to `to`, which must not be there: it appears once it is complete and on the disk. The server may run. Files of
/// inputs and results, which never change, are linked where that is possible. Blocking.
///
/// # Errors
/// [`CopyError`].
pub fn back_up(data: &Path, to: &Path) -> Result<Copied, CopyError> {
    copy(data, to)
}

/// Makes a data folder of a backup, at a place where none is; the backup stays as it is. Blocking.
///
/// # Errors
/// [`CopyError`].
pub fn restore(backup: &Path, data: &Path) -> Result<Copied, CopyError> {
    let folders = Folders::new(backup.to_owned(), None);
    if !folders.database().is_file() {
        return Err(CheckError::NoStore(backup.to_owned()).into());
    }
    // A backup has no lock; a data folder has.
    if folders.lock().exists() && lock(&folders)?.is_none() {
        return Err(CheckError::InUse(backup.to_owned()).into());
    }
    let found =
        schema::open_reader(&folders.database())?.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > schema::known() {
        return Err(CopyError::TooNew { found, known: schema::known() });
    }
    copy(backup, data)
}

fn copy(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    if to.exists() && fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let no_store = |_missing| CheckError::NoStore(from.to_owned());
    let from = Folders::new(fs::canonicalize(from).map_err(no_store)?, None);
    is_here(&from)?;
    if !from.database().is_file() {
        return Err(CheckError::NoStore(from.root().to_owned()).into());
    }
    let unfinished = unfinished(to);
    folders::remove_folder(&unfinished);
    folders::make(&unfinished).map_err(at(&unfinished))?;
    let target = Folders::new(unfinished.clone(), None);
    let copied = copy_into(&from, &target)?;
    sync_all(&unfinished).map_err(at(&unfinished))?;
    fs::rename(&unfinished, to).map_err(at(to))?;
    let parent = fs::canonicalize(to).map_err(at(to))?;
    parent.parent().map_or(Ok(()), folders::sync).map_err(at(to))?;
    Ok(copied)
}

/// Beside the place where it will be, so that it needs a new name only.
fn unfinished(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_else(|| OsStr::new("anabranch")).to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |source| CopyError::File { path, source }
}

fn copy_into(from: &Folders, to: &Folders) -> Result<Copied, CopyError> {
    let source = copy_rows(from, to)?;
    copy_files(from, to, &source)
}

/// One moment of all rows, however much is written meanwhile; gives the database that they come from.
pub(crate) fn copy_rows(from: &Folders, to: &Folders) -> Result<Connection, CopyError> {
    let source = schema::open_reader(&from.database())?;
    source.execute("VACUUM INTO ?1", [to.database().to_string_lossy()])?;
    Ok(source)
}

/// The files that the rows speak of, and all else.
pub(crate) fn copy_files(from: &Folders, to: &Folders, source: &Connection) -> Result<Copied, CopyError> {
    let rows = Connection::open(to.database())?;
    let mut copied = Copied::default();
    let mut missing = BTreeSet::new();
    // A file that several rows speak of is copied once.
    let mut done = HashSet::new();
    let mut failed = None;
    each_file(&rows, Path::new(""), |sequence, file| {
        let Ok(file) = file else { return };
        if failed.is_some() || !is_ours(&file.path) || !done.insert(file.path.clone()) {
            return;
        }
        match link(&from.root().join(&file.path), &to.root().join(&file.path)) {
            Ok(()) => copied.files += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.insert(sequence);
            }
            Err(error) => failed = Some(at(&file.path)(error)),
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    settle(source, &rows, &missing, &mut copied)?;
    copy_logs(&rows, from, to)?;
    copied.jobs = rows.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
    rows.close().map_err(|(_, error)| error)?;
    copy_rest(from.root(), to.root())?;
    Ok(copied)
}

/// A path as the store writes it: below the data folder, and nowhere else.
fn is_ours(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Takes out jobs whose files went while they were copied.
fn settle(
    source: &Connection,
    rows: &Connection,
    missing: &BTreeSet<i64>,
    copied: &mut Copied,
) -> Result<(), CopyError> {
    for sequence in missing {
        let ended = |connection: &Connection| {
            let sql = "SELECT id, finished IS NOT NULL FROM jobs WHERE sequence=?1";
            let read = |row: &rusqlite::Row<'_>| Ok((JobId::from_bytes(row.get(0)?), row.get::<_, bool>(1)?));
            connection.query_row(sql, [sequence], read).optional()
        };
        let Some((id, has_ended)) = ended(rows)? else { continue };
        if ended(source)?.is_none() {
            for table in ["jobs", "requests", "chunks", "callbacks"] {
                rows.execute(&format!("DELETE FROM {table} WHERE sequence=?1"), [sequence])?;
            }
            copied.removed += 1;
        } else if has_ended && take_over_outputs(source, rows, *sequence)? {
            // The job is whole without them.
        } else if has_ended {
            copied.damaged.push(id);
        }
    }
    Ok(())
}

/// Takes the outputs of a job as they are by now, where some went before their job while they were copied; true where some did.
fn take_over_outputs(source: &Connection, rows: &Connection, sequence: i64) -> rusqlite::Result<bool> {
    let outputs = |connection: &Connection| {
        let sql = "SELECT outputs, outputs_expire, stored_bytes FROM jobs WHERE sequence=?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
        };
        connection.query_row(sql, [sequence], read)
    };
    let (now, then) = (outputs(source)?, outputs(rows)?);
    if now.0 == then.0 {
        return Ok(false);
    }
    let sql = "UPDATE jobs SET outputs=?2, outputs_expire=?3, stored_bytes=?4 WHERE sequence=?1";
    rows.execute(sql, (sequence, &now.0, now.1, now.2))?;
    let all: Vec<OutputSummary> = serde_json::from_str(&now.0).unwrap_or_default();
    for (place, _) in all.iter().enumerate().filter(|(_, output)| output.is_removed()) {
        rows.execute("DELETE FROM chunks WHERE sequence=?1 AND output=?2", (sequence, place))?;
    }
    Ok(true)
}

fn copy_logs(rows: &Connection, from: &Folders, to: &Folders) -> Result<(), CopyError> {
    let mut statement = rows.prepare("SELECT id FROM jobs")?;
    for id in statement.query_map([], |row| row.get(0))? {
        let id = JobId::from_bytes(id?);
        copy_file(&from.log(id), &to.log(id))?;
    }
    Ok(())
}

/// Accounts, keys, certificates, notes: small files of whoever else keeps something here.
fn copy_rest(from: &Path, to: &Path) -> Result<(), CopyError> {
    for entry in fs::read_dir(from).map_err(at(from))?.flatten() {
        if !NOT_COPIED.iter().any(|name| entry.file_name() == *name) {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), CopyError> {
    if !from.is_dir() {
        return copy_file(from, to);
    }
    folders::make(to).map_err(at(to))?;
    // What goes meanwhile is not needed any more.
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    entries.flatten().try_for_each(|entry| copy_tree(&entry.path(), &to.join(entry.file_name())))
}

/// A file that is not there is fine: it is not needed any more, or was never needed.
fn copy_file(from: &Path, to: &Path) -> Result<(), CopyError> {
    if !from.is_file() {
        return Ok(());
    }
    to.parent().map_or(Ok(()), folders::make).map_err(at(to))?;
    match fs::copy(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(from)(error)),
        _ => Ok(()),
    }
}

/// For files that never change.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    to.parent().map_or(Ok(()), folders::make)?;
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => fs::copy(from, to).map(|_bytes| ()),
        linked => linked,
    }
}

/// Syncs a folder with all in it.
fn sync_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)?.flatten() {
            sync_all(&entry.path())?;
        }
    }
    File::open(path)?.sync_all()
}
