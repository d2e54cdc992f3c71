import { applicationId, type Database, inMemory, layoutVersion, rollBack } from './database.js';

const tables = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE task (
  id TEXT NOT NULL PRIMARY KEY,
  rev INTEGER NOT NULL,
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tags TEXT,
  source TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  run_at INTEGER NOT NULL,
  ready_at INTEGER,
  started_at INTEGER,
  ended_at INTEGER,
  attempt INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  interrupts INTEGER NOT NULL DEFAULT 0,
  max_interrupts INTEGER NOT NULL,
  cancelling INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  log_lines INTEGER NOT NULL DEFAULT 0,
  error_name TEXT,
  error_message TEXT,
  fingerprint TEXT,
  stack TEXT,
  args TEXT NOT NULL,
  result TEXT,
  result_omitted TEXT
);
CREATE INDEX task_status ON task (status, id);
CREATE INDEX task_name ON task (name, status, id);
CREATE INDEX task_rev ON task (rev);
CREATE INDEX task_ready ON task (name, priority DESC, id) WHERE status = 'pending' AND ready_at IS NULL;
CREATE INDEX task_waiting ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_owner ON task (owner) WHERE status = 'running';
CREATE TABLE attempt (
  task TEXT NOT NULL,
  number INTEGER NOT NULL,
  status TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  error_name TEXT,
  error_message TEXT,
  stack TEXT,
  PRIMARY KEY (task, number)
) WITHOUT ROWID;
CREATE TABLE log (
  task TEXT NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  level TEXT NOT NULL,
  message TEXT NOT NULL,
  fields TEXT,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;
CREATE TABLE tally (name TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, queue, status)) WITHOUT ROWID;
CREATE TABLE rollup (
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  name TEXT NOT NULL,
  queue TEXT NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (level, at, name, queue)
) WITHOUT ROWID;
CREATE TABLE shared (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL, rev INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX shared_rev ON shared (rev);
CREATE INDEX shared_expiry ON shared (expires_at);
CREATE TABLE journal (log TEXT NOT NULL, n INTEGER NOT NULL, entry TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (log, n)) WITHOUT ROWID;
`;

/** What turns each version into the next, from 1 on. */
const migrations = [
  // 2: an entry of a log has an end. Nothing has been written to one before.
  'DELETE FROM journal; ALTER TABLE journal ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0',
];

/** Waits for other processes instead of failing, and has every commit on the disk before it returns. */
export function prepareConnection(database: Database): void {
  database.exec('PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384');
}

/** Makes a new file ours and lays out its tables; leaves one that has them as it is. Safe to run in several processes at once. */
export function layOut(database: Database, path: string): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = Number(database.get('PRAGMA user_version')?.user_version);
    if (version > layoutVersion) throw new Error('it was written by a newer version of koa-taskflow');
    if (version === 0) {
      // The ids go into the header before the file turns to WAL, where other openers look for them.
      database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${layoutVersion}`);
      database.exec(tables);
      // The count of changes begins at the time, so that a number of another file is out of this one's range.
      const first = Date.now() * 100;
      database.run('INSERT INTO meta (key, value) VALUES (?, ?), (?, ?)', 'rev', first, 'first_rev', first);
    }
    if (version > 0 && version < layoutVersion) {
      for (const step of migrations.slice(version - 1)) database.exec(step);
      database.exec(`PRAGMA user_version = ${layoutVersion}`);
    }
    // A damaged file shows itself here rather than to the first caller.
    if (database.get("SELECT value FROM meta WHERE key = 'rev'") === undefined) throw new Error('it has lost its count of changes');
    database.get('SELECT id FROM task ORDER BY rev DESC LIMIT 1');
    database.exec('COMMIT');
  } catch (error) {
    rollBack(database);
    throw error;
  }
  if (path !== inMemory) database.get('PRAGMA journal_mode = WAL');
}
