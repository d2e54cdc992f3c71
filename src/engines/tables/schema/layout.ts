import { applicationId, type Database, inMemory, layoutVersion, rollBack } from './database.js';
import { hasEnded, isNotRunning, stateCode } from './states.js';

/**
 * The tables and indexes of a new file. They may change until the first release. Any later change
 * needs a migration.
 *
 * - States are the numbers in states.ts.
 * - A partition is a name together with a queue. A task and its index entries refer to both with
 *   one small number.
 * - Ids are the 16 bytes of a UUIDv7, so the order of ids is the order of creation.
 * - An index is partial if some states need no entry, because each index entry adds about a
 *   microsecond to an enqueue or to the end of a task.
 */
const schema = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE partition (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  queue TEXT NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0,
  ready_priority INTEGER,
  ready_id BLOB,
  active_at INTEGER NOT NULL DEFAULT 0,
  UNIQUE (name, queue)
);
CREATE INDEX partition_ready ON partition (paused, name, ready_priority DESC, ready_id)
  WHERE ready_id IS NOT NULL;
CREATE TABLE paused (
  queue TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  paused_by TEXT NOT NULL DEFAULT '',
  reason TEXT
) WITHOUT ROWID;
CREATE TABLE task (
  rowid INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  rev INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  status INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  tags TEXT,
  source INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  ready_at INTEGER,
  deadline_at INTEGER,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  max_interrupts INTEGER NOT NULL,
  args TEXT NOT NULL,
  idempotency_key TEXT,
  schedule TEXT,
  rerun_of BLOB,
  rerun_as BLOB,
  attempt INTEGER NOT NULL DEFAULT 0,
  interrupts INTEGER NOT NULL DEFAULT 0,
  cancelling INTEGER NOT NULL DEFAULT 0,
  log_lines INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  started_at INTEGER,
  ended_at INTEGER,
  duration INTEGER,
  progress REAL,
  progress_text TEXT,
  error_name TEXT,
  error_message TEXT,
  fingerprint TEXT,
  searchable INTEGER,
  stack TEXT,
  result TEXT,
  result_omitted TEXT,
  error_details TEXT,
  waits_from INTEGER
);
CREATE INDEX task_rev ON task (rev);
CREATE INDEX task_status ON task (status, id) WHERE ${isNotRunning};
CREATE INDEX task_partition ON task (partition, status, id) WHERE ${isNotRunning};
CREATE INDEX task_ready ON task (partition, priority DESC, id) WHERE status = ${stateCode.pending}
  AND ready_at IS NULL;
CREATE INDEX task_waiting ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_delayed ON task (waits_from) WHERE ready_at IS NOT NULL
  AND waits_from IS NOT NULL;
CREATE INDEX task_running ON task (owner) WHERE status = ${stateCode.running};
CREATE INDEX task_started ON task (status, started_at, id) WHERE ${hasEnded};
CREATE INDEX task_retrying ON task (started_at, id) WHERE status = ${stateCode.pending}
  AND started_at IS NOT NULL;
CREATE INDEX task_ended ON task (status, ended_at, id) WHERE ${hasEnded};
CREATE INDEX task_duration ON task (status, duration, id) WHERE ${hasEnded};
CREATE INDEX task_fingerprint ON task (fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE INDEX task_schedule ON task (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX task_unsearchable ON task (searchable) WHERE searchable = 0;
CREATE TABLE tag (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  id BLOB NOT NULL,
  PRIMARY KEY (key, value, id)
) WITHOUT ROWID;
CREATE INDEX tag_key ON tag (key, id);
CREATE TABLE tag_count (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (key, value)
) WITHOUT ROWID;
CREATE INDEX tag_count_value ON tag_count (value);
CREATE VIRTUAL TABLE failure USING fts5(words, content='', contentless_delete=1, detail=none);
CREATE TABLE idempotency (
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  id BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
CREATE TABLE tombstone (rev INTEGER PRIMARY KEY, id BLOB NOT NULL);
CREATE TABLE attempt (
  task INTEGER NOT NULL,
  number INTEGER NOT NULL,
  status INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  error_name TEXT,
  error_message TEXT,
  stack TEXT,
  error_details TEXT,
  PRIMARY KEY (task, number)
) WITHOUT ROWID;
CREATE TABLE log (
  task INTEGER NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  level TEXT NOT NULL,
  late INTEGER NOT NULL,
  message TEXT NOT NULL,
  fields TEXT,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;
CREATE TABLE task_count (
  status INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (status, partition)
) WITHOUT ROWID;
CREATE TABLE rollup (
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  partition INTEGER NOT NULL,
  stats TEXT NOT NULL,
  PRIMARY KEY (level, at, partition)
) WITHOUT ROWID;
CREATE TABLE schedule (
  name TEXT PRIMARY KEY,
  task TEXT NOT NULL,
  rule TEXT NOT NULL,
  template TEXT NOT NULL,
  next_at INTEGER,
  paused_at INTEGER,
  last_at INTEGER,
  last_id BLOB,
  skipped INTEGER NOT NULL DEFAULT 0,
  paused_by TEXT NOT NULL DEFAULT '',
  pause_reason TEXT,
  undefined_at INTEGER
) WITHOUT ROWID;
CREATE TABLE shared (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  rev INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX shared_rev ON shared (rev);
CREATE INDEX shared_expiry ON shared (expires_at);
CREATE TABLE shared_log (
  log TEXT NOT NULL,
  n INTEGER NOT NULL,
  entry TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (log, n)
) WITHOUT ROWID;
CREATE TABLE failure_count (
  fingerprint TEXT NOT NULL,
  status INTEGER NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (fingerprint, status)
) WITHOUT ROWID;
CREATE TABLE failure_group (
  fingerprint TEXT PRIMARY KEY,
  partition INTEGER NOT NULL,
  error_name TEXT NOT NULL,
  error_message TEXT NOT NULL,
  n INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  last_id BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX failure_group_last ON failure_group (last_at, fingerprint);
CREATE TABLE failure_hour (
  hour INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (fingerprint, hour)
) WITHOUT ROWID;
CREATE INDEX failure_hour_hour ON failure_hour (hour);
CREATE TABLE worker (
  owner TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  slots INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  stuck INTEGER NOT NULL DEFAULT 0,
  stuck_attempts TEXT NOT NULL DEFAULT '[]',
  app TEXT NOT NULL DEFAULT '',
  tasks TEXT NOT NULL DEFAULT '[]',
  schedules TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
`;

/**
 * Creates the tables of a new file. If the tables exist, they are only checked. Several processes
 * may call this at the same time.
 */
export function layOut(database: Database, path: string): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = database.value<number>('PRAGMA user_version');
    if (version > layoutVersion)
      throw new Error('it was written by a newer version of koa-taskflow');
    if (version === 0) create(database);
    // Detects a damaged file here, so that the first query does not have to.
    if (database.get("SELECT value FROM meta WHERE key = 'rev'") === undefined)
      throw new Error('its change counter is missing');
    database.get('SELECT id FROM task ORDER BY rev DESC LIMIT 1');
    database.exec('COMMIT');
  } catch (error) {
    rollBack(database);
    throw error;
  }
  if (path === inMemory) return;
  database.get('PRAGMA journal_mode = WAL');
  // A connection that has switched to WAL must read once. Until then it blocks checkpoints like a
  // reader whose transaction is still open.
  database.get("SELECT value FROM meta WHERE key = 'rev'");
}

function create(database: Database): void {
  // The header must have these numbers before the file switches to WAL, because other processes
  // read them from the header when they open the file.
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${layoutVersion}`);
  database.exec(schema);
  // The first change number comes from the time, so that a change number of another file is outside
  // the range of this file.
  const first = Date.now() * 100;
  database.run(
    `INSERT INTO meta (key, value)
     VALUES ('rev', ?), ('first_rev', ?), ('rowid', 0), ('minutes_from', 0), ('hours_from', 0),
       ('partitions_deleted', 0)`,
    first,
    first,
  );
}
