-- A job store as version 5 of the schema left it: a job that succeeded, one that failed, one that ran, one that waited.
CREATE TABLE jobs (
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
INSERT INTO syncs VALUES (0);
ALTER TABLE jobs ADD COLUMN duration_us INTEGER AS (finished - started) VIRTUAL;
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
CREATE INDEX jobs_process_duration ON jobs (process, state, duration_class, created, sequence, duration_us);
CREATE TABLE callbacks (
   sequence INTEGER NOT NULL,       -- of its job
   event    INTEGER NOT NULL,       -- 0 in progress, 1 succeeded, 2 failed or dismissed
   PRIMARY KEY (sequence, event)
) WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN owner TEXT;
CREATE INDEX jobs_owner ON jobs (owner, created) WHERE owner IS NOT NULL;
CREATE INDEX jobs_owner_state ON jobs (owner, state, duration_class, created, sequence, duration_us)
   WHERE owner IS NOT NULL;
CREATE INDEX jobs_owner_process ON jobs (owner, process, state, duration_class, created, sequence, duration_us)
   WHERE owner IS NOT NULL;
ALTER TABLE jobs ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE tombstones (
   id    BLOB PRIMARY KEY,
   owner TEXT,
   why   INTEGER NOT NULL,          -- 0 expired, 1 dismissed, 2 for newer jobs, 3 by an operator
   at    INTEGER NOT NULL           -- microseconds since 1970
) WITHOUT ROWID;
CREATE INDEX tombstones_at ON tombstones (at);
INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, attempt, sync, on_restart, agent, requeued, detail, outputs)
VALUES (1, x'fd870b2ed1cb49d6b89167c68718a6ba', 'echo', 2, 1795913072607951, 1795913072665323, 1795913072665409, 1795913072665409, 4102444800000000, 1, 0, NULL, NULL, NULL, NULL, '[{"id":"text","chunks":1,"bytes":5}]');
INSERT INTO requests VALUES (1, '{"request":{"process":"echo","inputs":[{"id":"text","data":{"text":{"text":"hello","form":"json_string"}},"format":{},"data_type":null,"uom":null}],"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}],"mode":"async","response":"raw","lineage":false},"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}]}');
INSERT INTO chunks VALUES (1, 0, 0, '{"literal":{"text":"hello","data_type":"string"}}');
INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, attempt, sync, on_restart, agent, requeued, detail, outputs)
VALUES (2, x'11111111111141118111111111111111', 'echo', 3, 1795913072672640, 1795913072686879, 1795913072686955, 1795913072686955, 4102444800000000, 1, 0, NULL, NULL, NULL, '{"finished":{"failed":{"process_failed":{"message":"exit code 1","detail":""}}}}', '[{"id":"text","chunks":0,"bytes":0}]');
INSERT INTO requests VALUES (2, '{"request":{"process":"echo","inputs":[{"id":"text","data":{"text":{"text":"waits","form":"json_string"}},"format":{},"data_type":null,"uom":null}],"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}],"mode":"async","response":"raw","lineage":false},"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}]}');
INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, attempt, sync, on_restart, agent, requeued, detail, outputs)
VALUES (3, x'145b04f4e8f94282b8ff87753a1ff3dc', 'echo', 1, 1795913072690702, 1795913072776385, NULL, 1795913075786463, NULL, 1, 0, 1, NULL, NULL, '{"running":{"progress":4.9999995,"message":"pausing","dismissing":null}}', '[{"id":"text","chunks":0,"bytes":0}]');
INSERT INTO requests VALUES (3, '{"request":{"process":"echo","inputs":[{"id":"text","data":{"text":{"text":"again","form":"json_string"}},"format":{},"data_type":null,"uom":null}],"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}],"mode":"async","response":"raw","lineage":false},"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}]}');
INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, expires, attempt, sync, on_restart, agent, requeued, detail, outputs)
VALUES (4, x'22222222222242228222222222222222', 'echo', 0, 1795913072672640, NULL, NULL, 1795913072686955, NULL, 1, 0, NULL, NULL, NULL, NULL, '[{"id":"text","chunks":0,"bytes":0}]');
INSERT INTO requests VALUES (4, '{"request":{"process":"echo","inputs":[{"id":"text","data":{"text":{"text":"waits","form":"json_string"}},"format":{},"data_type":null,"uom":null}],"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}],"mode":"async","response":"raw","lineage":false},"outputs":[{"id":"text","format":{},"transmission":"value","uom":null}]}');
INSERT INTO callbacks VALUES (4, 1);
UPDATE jobs SET stored_bytes = 10 WHERE sequence = 1;
PRAGMA user_version = 5;
