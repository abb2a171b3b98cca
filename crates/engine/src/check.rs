//! Whether database and files of a data folder agree with each other: `anabranch check --store`.
//!
//! It only reads, and so may look at the folder of a server that runs: what is being made or removed at that moment looks like a fault, so
//! that a second look decides.

use crate::folders::{Folders, remove_folder};
use crate::results::PARTIAL;
use crate::store::files::each_file;
use crate::store::schema;
use crate::view::OutputSummary;
use anabranch_model::{DataFile, JobId};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pause before the second look at the folder of a server that runs: longer than anything is between a file and its row.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Most faults of the database itself that are told: they come in thousands where they come at all.
const DAMAGES_MAX: usize = 100;

/// What is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The database file itself.
    Damaged(String),
    /// Its schema is another one; nothing else was looked at. An older one is migrated by the next start.
    Schema {
        /// Schema of the file.
        found: usize,
        /// Schema known here.
        known: usize,
    },
    /// A row can't be read.
    Unreadable {
        /// Whose row.
        job: String,
        /// Why.
        reason: String,
    },
    /// A row speaks of a file that is missing, or of another size.
    File {
        /// Whose row.
        job: String,
        /// Which, below the data folder.
        path: PathBuf,
        /// Bytes that the row tells.
        told: u64,
        /// Bytes that are there; `None` without a file.
        found: Option<u64>,
    },
    /// A job tells of more or fewer chunks than it has.
    Chunks {
        /// Which job.
        job: String,
        /// Which output.
        output: String,
        /// Chunks that its row tells.
        told: u64,
        /// Chunks that there are.
        found: u64,
    },
    /// Rows that belong to no job.
    OrphanRows {
        /// Their table.
        table: &'static str,
        /// The row number of the job that there is not.
        sequence: i64,
    },
    /// A file or folder that belongs to no row.
    OrphanFile(PathBuf),
}

impl Finding {
    /// Nobody misses it: it may be removed.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        matches!(self, Self::OrphanRows { .. } | Self::OrphanFile(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(fault) => write!(f, "the database is damaged: {fault}"),
            Self::Schema { found, known } => {
                write!(f, "the database has schema {found}, this version knows {known}")
            }
            Self::Unreadable { job, reason } => write!(f, "job {job}: {reason}"),
            Self::File { job, path, found: None, .. } => {
                write!(f, "job {job}: {} is missing", path.display())
            }
            Self::File { job, path, told, found: Some(found) } => {
                write!(f, "job {job}: {} has {found} bytes instead of {told}", path.display())
            }
            Self::Chunks { job, output, told, found } => {
                write!(f, "job {job}: output '{output}' has {found} chunks and tells of {told}")
            }
            Self::OrphanRows { table, sequence } => {
                write!(f, "rows of table {table} belong to no job: {sequence}")
            }
            Self::OrphanFile(path) => write!(f, "{} belongs to no job", path.display()),
        }
    }
}

/// What a look at a store has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// A server has the folder open.
    pub in_use: bool,
    /// Jobs.
    pub jobs: usize,
    /// Files that rows speak of.
    pub files: usize,
    /// What is wrong, in a fixed order.
    pub findings: BTreeSet<Finding>,
}

/// Why a store can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is none.
    #[error("there is no job store in '{}'", .0.display())]
    NoStore(PathBuf),
    /// Its server keeps jobs in PostgreSQL.
    #[error(
        "the jobs of '{}' are in PostgreSQL, where this command does not look; a backup is one of the database by pg_dump, then one of \
         the files, and back again by pg_restore: see docs/backup.md",
        .0.display()
    )]
    Elsewhere(PathBuf),
    /// It is being written to.
    #[error("'{}' is in use by a server: stop it before anything is removed", .0.display())]
    InUse(PathBuf),
    /// A file or folder.
    #[error("'{}' can't be used: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database.
    #[error("the job database can't be used: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Looks at the store in a data folder. Blocking.
///
/// # Errors
/// [`CheckError`], where there is nothing to look at.
pub fn check_store(data: &Path) -> Result<StoreReport, CheckError> {
    let folders = open(data)?;
    let lock = lock(&folders)?;
    let mut report = look(&folders)?;
    report.in_use = lock.is_none();
    if report.in_use && !report.findings.is_empty() {
        std::thread::sleep(LOOK_AGAIN);
        let again = look(&folders)?;
        report.findings.retain(|finding| again.findings.contains(finding));
    }
    Ok(report)
}

/// Removes what belongs to no job, and nothing else; gives back what the store was like before. Blocking.
///
/// # Errors
/// [`CheckError`]; [`CheckError::InUse`] where a server runs.
pub fn repair_store(data: &Path) -> Result<StoreReport, CheckError> {
    let folders = open(data)?;
    let _lock = lock(&folders)?.ok_or_else(|| CheckError::InUse(data.to_owned()))?;
    let report = look(&folders)?;
    let mut connection = Connection::open(folders.database())?;
    let transaction = connection.transaction()?;
    for finding in &report.findings {
        match finding {
            Finding::OrphanRows { table, sequence } => {
                transaction.execute(&format!("DELETE FROM {table} WHERE sequence=?1"), [sequence])?;
            }
            Finding::OrphanFile(path) => remove(&folders.root().join(path))?,
            _ => {}
        }
    }
    transaction.commit()?;
    Ok(report)
}

fn remove(path: &Path) -> Result<(), CheckError> {
    if path.is_dir() {
        remove_folder(path);
        return Ok(());
    }
    fs::remove_file(path).map_err(|source| CheckError::Folder { path: path.to_owned(), source })
}

fn open(data: &Path) -> Result<Folders, CheckError> {
    let no_store = || CheckError::NoStore(data.to_owned());
    let folders = Folders::new(fs::canonicalize(data).map_err(|_missing| no_store())?, None);
    is_here(&folders)?;
    if folders.database().is_file() { Ok(folders) } else { Err(no_store()) }
}

/// The jobs are in this folder, if anywhere. Blocking.
pub(crate) fn is_here(folders: &Folders) -> Result<(), CheckError> {
    match folders.elsewhere().exists() {
        true => Err(CheckError::Elsewhere(folders.root().to_owned())),
        false => Ok(()),
    }
}

/// The lock of the data folder; `None` where a server has it.
pub(crate) fn lock(folders: &Folders) -> Result<Option<File>, CheckError> {
    let failed = |source| CheckError::Folder { path: folders.lock(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(folders.lock()).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A job, as far as it matters here.
struct Row {
    id: JobId,
    outputs: Vec<OutputSummary>,
    has_ended: bool,
}

struct Look<'a> {
    folders: &'a Folders,
    jobs: HashMap<i64, Row>,
    /// Files that rows speak of.
    spoken: HashSet<PathBuf>,
    findings: BTreeSet<Finding>,
}

fn look(folders: &Folders) -> Result<StoreReport, CheckError> {
    let connection = schema::open_reader(&folders.database())?;
    // One moment for all rows.
    let snapshot = connection.unchecked_transaction()?;
    let mut look = Look { folders, jobs: HashMap::new(), spoken: HashSet::new(), findings: BTreeSet::new() };
    look.integrity(&snapshot)?;
    let found: usize = snapshot.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == schema::known() {
        look.rows(&snapshot)?;
        look.files();
    } else {
        look.findings.insert(Finding::Schema { found, known: schema::known() });
    }
    let (jobs, files) = (look.jobs.len(), look.spoken.len());
    Ok(StoreReport { in_use: false, jobs, files, findings: look.findings })
}

impl Look<'_> {
    fn integrity(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(&format!("PRAGMA integrity_check({DAMAGES_MAX})"))?;
        for fault in statement.query_map([], |row| row.get::<_, String>(0))? {
            let fault = fault?;
            if fault != "ok" {
                self.findings.insert(Finding::Damaged(fault));
            }
        }
        Ok(())
    }

    fn rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT sequence, id, finished, outputs FROM jobs")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = JobId::from_bytes(row.get(1)?);
            let outputs = serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_else(|error| {
                let reason = format!("its outputs can't be read: {error}");
                self.findings.insert(Finding::Unreadable { job: id.to_string(), reason });
                Vec::new()
            });
            let has_ended = row.get::<_, Option<i64>>(2)?.is_some();
            self.jobs.insert(row.get(0)?, Row { id, outputs, has_ended });
        }
        self.orphan_rows(connection)?;
        self.chunks(connection)?;
        let root = self.folders.root();
        each_file(connection, root, |sequence, file| match file {
            Ok(file) => self.spoken_of(sequence, file),
            Err(error) => {
                let (job, reason) = (self.name(sequence), error.to_string());
                self.findings.insert(Finding::Unreadable { job, reason });
            }
        })
    }

    fn name(&self, sequence: i64) -> String {
        self.jobs.get(&sequence).map_or_else(|| format!("number {sequence}"), |job| job.id.to_string())
    }

    fn orphan_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for table in ["requests", "chunks", "callbacks"] {
            let sql = format!(
                "SELECT DISTINCT sequence FROM {table} WHERE sequence NOT IN (SELECT sequence FROM jobs)"
            );
            let mut statement = connection.prepare(&sql)?;
            for sequence in statement.query_map([], |row| row.get(0))? {
                self.findings.insert(Finding::OrphanRows { table, sequence: sequence? });
            }
        }
        Ok(())
    }

    /// A job tells of the chunks that it has.
    fn chunks(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT sequence, output, count(*) FROM chunks GROUP BY sequence, output";
        let mut counts: HashMap<(i64, usize), u64> = HashMap::new();
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            counts.insert((row.get(0)?, row.get(1)?), row.get(2)?);
        }
        for (sequence, job) in &self.jobs {
            for (number, output) in job.outputs.iter().enumerate() {
                let found = counts.get(&(*sequence, number)).copied().unwrap_or(0);
                let told = output.chunks.saturating_sub(output.removed);
                if found != told {
                    let (job, output) = (job.id.to_string(), output.id.clone());
                    let finding = Finding::Chunks { job, output, told, found };
                    self.findings.insert(finding);
                }
            }
        }
        Ok(())
    }

    fn spoken_of(&mut self, sequence: i64, file: &DataFile) {
        let found = fs::metadata(&file.path).ok().filter(fs::Metadata::is_file).map(|found| found.len());
        if found != Some(file.bytes) {
            let path = self.below(&file.path);
            self.findings.insert(Finding::File { job: self.name(sequence), path, told: file.bytes, found });
        }
        self.spoken.insert(file.path.clone());
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.folders.root()).unwrap_or(path).to_owned()
    }

    fn orphan(&mut self, path: &Path) {
        let path = self.below(path);
        self.findings.insert(Finding::OrphanFile(path));
    }

    /// Files without a row. Those of a run that goes on are no business of ours: the next start tidies them.
    fn files(&mut self) {
        let ended: HashMap<JobId, bool> = self.jobs.values().map(|job| (job.id, job.has_ended)).collect();
        for parent in [self.folders.jobs(), self.folders.results()] {
            for folder in entries(&parent) {
                let id = folder.file_name().and_then(|name| name.to_str()?.parse::<JobId>().ok());
                match id.and_then(|id| ended.get(&id)) {
                    None => self.orphan(&folder),
                    Some(true) if parent == self.folders.results() => self.results(&folder),
                    Some(_) => {}
                }
            }
        }
    }

    /// Files in the folder of a job that has ended.
    fn results(&mut self, folder: &Path) {
        for file in entries(folder).iter().flat_map(|output| entries(output)) {
            let partial = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL));
            if partial || !self.spoken.contains(&file) {
                self.orphan(&file);
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}
