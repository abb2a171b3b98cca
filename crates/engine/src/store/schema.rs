//! The tables, and how older ones become today's.

use crate::engine::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// One step for each version of the schema, run in order; `user_version` counts them. Steps are never changed, only
/// added.
const MIGRATIONS: [&str; 6] = [FIRST, DURATIONS, CALLBACKS, OWNERS, KEPT, CLASSES];

const FIRST: &str = "CREATE TABLE jobs (
        sequence   INTEGER PRIMARY KEY,  -- order of acceptance
        id         BLOB NOT NULL,        -- 16 bytes
        process    TEXT NOT NULL,
        state      INTEGER NOT NULL,     -- 0 accepted, 1 running, 2 succeeded, 3 failed, 4 dismissed
        created    INTEGER NOT NULL,     -- times in microseconds since 1970
        started    INTEGER,
        finished   INTEGER,
        updated    INTEGER NOT NULL,
        expires    INTEGER,              -- when the finished job is removed
        attempt    INTEGER NOT NULL,
        sync       INTEGER NOT NULL,     -- 1 where the client waits
        on_restart INTEGER,              -- of the run under way: 0 fail, 1 requeue, 2 reattach
        agent      TEXT,
        requeued   TEXT,
        detail     TEXT,                 -- the state as JSON, where it holds more than its name
        outputs    TEXT NOT NULL         -- summary of each output as JSON
     );
     CREATE UNIQUE INDEX jobs_id ON jobs (id);
     CREATE INDEX jobs_created ON jobs (created);
     CREATE INDEX jobs_process ON jobs (process, created);
     CREATE INDEX jobs_state ON jobs (state, created);
     CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;
     CREATE TABLE requests (
        sequence INTEGER PRIMARY KEY,
        request  TEXT NOT NULL
     );
     CREATE TABLE chunks (
        sequence INTEGER NOT NULL,
        output   INTEGER NOT NULL,       -- place among the outputs asked for
        number   INTEGER NOT NULL,
        value    TEXT NOT NULL,          -- JSON; files by their path below the data folder
        PRIMARY KEY (sequence, output, number)
     ) WITHOUT ROWID;
     CREATE TABLE syncs (count INTEGER NOT NULL);
     INSERT INTO syncs VALUES (0);";

/// Durations, so that lists by them run down an index: see [`super::page`].
const DURATIONS: &str = "ALTER TABLE jobs ADD COLUMN duration_us INTEGER AS (finished - started) VIRTUAL;
     ALTER TABLE jobs ADD COLUMN duration_class INTEGER AS (CASE
        WHEN finished - started IS NULL THEN NULL
        WHEN finished - started < 1 THEN 0
        WHEN finished - started < 500000 THEN 1
        WHEN finished - started < 4500000 THEN 2
        WHEN finished - started < 16500000 THEN 3
        WHEN finished - started < 64500000 THEN 4
        WHEN finished - started < 256500000 THEN 5
        WHEN finished - started < 1024500000 THEN 6
        WHEN finished - started < 4096500000 THEN 7
        WHEN finished - started < 16384500000 THEN 8
        WHEN finished - started < 65536500000 THEN 9
        ELSE 10 END) VIRTUAL;
     DROP INDEX jobs_state;
     DROP INDEX jobs_process;
     CREATE INDEX jobs_state_duration ON jobs (state, duration_class, created, sequence, duration_us);
     CREATE INDEX jobs_process_duration ON jobs (process, state, duration_class, created, sequence, duration_us);";

/// Callbacks that are still due. One that was delivered, given up or overtaken is removed.
const CALLBACKS: &str = "CREATE TABLE callbacks (
        sequence INTEGER NOT NULL,       -- of its job
        event    INTEGER NOT NULL,       -- 0 in progress, 1 succeeded, 2 failed or dismissed
        PRIMARY KEY (sequence, event)
     ) WITHOUT ROWID;";

/// Owners, and the indexes of their lists. Jobs of nobody in particular are in none of them.
const OWNERS: &str = "ALTER TABLE jobs ADD COLUMN owner TEXT;
     CREATE INDEX jobs_owner ON jobs (owner, created) WHERE owner IS NOT NULL;
     CREATE INDEX jobs_owner_state ON jobs (owner, state, duration_class, created, sequence, duration_us)
        WHERE owner IS NOT NULL;
     CREATE INDEX jobs_owner_process ON jobs (owner, process, state, duration_class, created, sequence, duration_us)
        WHERE owner IS NOT NULL;";

/// What is kept of jobs, and what is remembered of those that were removed.
const KEPT: &str = "ALTER TABLE jobs ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
     CREATE TABLE tombstones (
        id    BLOB PRIMARY KEY,
        owner TEXT,
        why   INTEGER NOT NULL,          -- 0 expired, 1 dismissed, 2 for newer jobs, 3 by an operator
        at    INTEGER NOT NULL           -- microseconds since 1970
     ) WITHOUT ROWID;
     CREATE INDEX tombstones_at ON tombstones (at);";

/// Outputs that go before their job.
const CLASSES: &str =
    "ALTER TABLE jobs ADD COLUMN outputs_expire INTEGER; -- when the first output goes whose files are there
     CREATE INDEX jobs_outputs_expire ON jobs (outputs_expire) WHERE outputs_expire IS NOT NULL;";

/// Pages of write-ahead log before it is worked into the database: 32 MiB, so that hot pages are copied once, not
/// forty times.
const CHECKPOINT_PAGES: i64 = 8192;

/// Longest wait for a lock on the database. Only a reader of another program (a backup) can hold one.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Prepared statements kept by a connection; there are fewer.
const STATEMENTS_MAX: usize = 64;

/// The version of the schema that is known here.
pub(crate) fn known() -> usize {
    MIGRATIONS.len()
}

/// Opens the database for writing, makes or migrates it.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the database for reading only.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > MIGRATIONS.len() {
        return Err(OpenError::TooNew { found, known: MIGRATIONS.len() });
    }
    let transaction = connection.transaction()?;
    for step in &MIGRATIONS[found..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_first_version_is_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let connection = open(&path).unwrap();
        let due: usize =
            connection.query_row("SELECT count(*) FROM callbacks", [], |row| row.get(0)).unwrap();
        assert_eq!(due, 0);
    }

    #[test]
    fn a_new_database_is_made_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.sqlite");
        let connection = open(&path).unwrap();
        let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, MIGRATIONS.len());
        connection.pragma_update(None, "user_version", 999).unwrap();
        drop(connection);
        assert!(matches!(open(&path), Err(OpenError::TooNew { found: 999, .. })));
    }
}
