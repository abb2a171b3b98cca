//! The tables in PostgreSQL, and how older ones become today's. What a column means: [`super::super::schema`].

use super::session::Session;
use crate::engine::OpenError;
use crate::store::sql::StoreError;

/// One step for each version of the schema, run in order. Steps are never changed, only added.
const MIGRATIONS: [&str; 3] = [FIRST, CLASSES, ACCOUNTS];

/// Held while the tables are made: nodes may start at the same moment. Any number that nobody else uses.
const LOCK: i64 = 0x616e_6162;

const FIRST: &str = "
    CREATE TABLE nodes (                 -- a row for each start of a server, until all its jobs have another owner
        node  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name  TEXT NOT NULL,
        beat  BIGINT NOT NULL DEFAULT 0, -- counts signs of life
        batch BIGINT NOT NULL DEFAULT 0, -- number of its last transaction
        dead  BIGINT NOT NULL DEFAULT 0  -- 1: its transactions are refused
    ) WITH (fillfactor = 20);
    CREATE SEQUENCE sequences;           -- of blocks of row numbers
    CREATE TABLE jobs (
        sequence       BIGINT PRIMARY KEY,
        id             BYTEA NOT NULL,
        process        TEXT NOT NULL,
        state          BIGINT NOT NULL,
        created        BIGINT NOT NULL,
        started        BIGINT,
        finished       BIGINT,
        updated        BIGINT NOT NULL,
        expires        BIGINT,
        attempt        BIGINT NOT NULL,
        sync           BIGINT NOT NULL,
        on_restart     BIGINT,
        agent          TEXT,
        requeued       TEXT,
        detail         TEXT,
        outputs        TEXT NOT NULL,
        owner          TEXT,
        stored_bytes   BIGINT NOT NULL,
        node           BIGINT NOT NULL DEFAULT current_setting('anabranch.node')::BIGINT, -- that has it
        duration_us    BIGINT GENERATED ALWAYS AS (finished - started) STORED,
        duration_class BIGINT GENERATED ALWAYS AS (CASE
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
            ELSE 10 END) STORED
    );
    CREATE UNIQUE INDEX jobs_id ON jobs (id);
    CREATE INDEX jobs_created ON jobs (created, sequence);
    CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;
    CREATE INDEX jobs_unfinished ON jobs (node, sequence) WHERE finished IS NULL;
    CREATE INDEX jobs_state_duration ON jobs (state, duration_class, created, sequence, duration_us);
    CREATE INDEX jobs_process_duration ON jobs (process, state, duration_class, created, sequence, duration_us);
    CREATE INDEX jobs_owner ON jobs (owner, created, sequence) WHERE owner IS NOT NULL;
    CREATE INDEX jobs_owner_state ON jobs (owner, state, duration_class, created, sequence, duration_us)
        WHERE owner IS NOT NULL;
    CREATE INDEX jobs_owner_process ON jobs (owner, process, state, duration_class, created, sequence, duration_us)
        WHERE owner IS NOT NULL;
    CREATE TABLE requests (sequence BIGINT PRIMARY KEY, request TEXT NOT NULL);
    CREATE TABLE chunks (
        sequence BIGINT NOT NULL,
        output   BIGINT NOT NULL,
        number   BIGINT NOT NULL,
        value    TEXT NOT NULL,
        PRIMARY KEY (sequence, output, number)
    );
    CREATE TABLE callbacks (sequence BIGINT NOT NULL, event BIGINT NOT NULL, PRIMARY KEY (sequence, event));
    CREATE TABLE tombstones (
        id    BYTEA PRIMARY KEY,
        owner TEXT,
        why   BIGINT NOT NULL,
        at    BIGINT NOT NULL
    );
    CREATE INDEX tombstones_at ON tombstones (at);
    CREATE TABLE dismissals (            -- asked of the owner of a job by another node
        sequence BIGINT PRIMARY KEY,
        who      BIGINT NOT NULL
    );";

const CLASSES: &str = "
    ALTER TABLE jobs ADD COLUMN outputs_expire BIGINT;
    CREATE INDEX jobs_outputs_expire ON jobs (outputs_expire) WHERE outputs_expire IS NOT NULL;";

/// What users and processes have at each node: [`crate::nodes`].
const ACCOUNTS: &str = "CREATE TABLE accounts (
        node BIGINT PRIMARY KEY,
        held TEXT NOT NULL               -- as JSON
    );";

/// Makes or migrates the tables.
///
/// # Errors
/// Where they are of a newer version, or the database can't be used.
pub(crate) async fn migrate(session: &mut Session) -> Result<(), OpenError> {
    let known = MIGRATIONS.len();
    let found = session.talk(async |connected| {
        let client = &connected.client;
        let begin = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({LOCK}); CREATE TABLE IF NOT EXISTS versions (version BIGINT NOT NULL)"
        );
        client.batch_execute(&begin).await?;
        let found = client.query_one("SELECT coalesce(max(version), 0) FROM versions", &[]).await?;
        let found = usize::try_from(found.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
        for step in MIGRATIONS.iter().skip(found) {
            client.batch_execute(step).await?;
        }
        let end = format!("DELETE FROM versions; INSERT INTO versions VALUES ({})", found.max(known));
        client.batch_execute(&end).await?;
        client.batch_execute("COMMIT").await?;
        Ok(found)
    });
    match found.await {
        Ok(found) if found > known => Err(OpenError::TooNew { found, known }),
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::into(error)),
    }
}
