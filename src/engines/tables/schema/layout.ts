import { existsSync } from 'node:fs';
import { taskStatuses } from '../../../tasks/types.js';
import { copyDatabase } from './copy.js';
import { applicationId, type Database, inMemory, layoutVersion, rollBack } from './database.js';

/**
 * Layout 3, on which the later steps of {@link migrations} build, for new files too.
 *
 * States are numbers, in the order of `taskStatuses`: 0 pending, 1 running, 2 success, 3 failed, 4 interrupted, 5 cancelled.
 * A lane is a name together with a queue, so that a task and its index entries hold one small number for both. Ids are the 16
 * bytes of a UUIDv7: ordered by id is ordered by creation. Indexes are partial wherever a state needs no entry: each one
 * costs every enqueue or every end about a microsecond.
 */
const layout3 = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT NOT NULL, queue TEXT NOT NULL, UNIQUE (name, queue));
CREATE TABLE paused (queue TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE task (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  rev INTEGER NOT NULL,
  lane INTEGER NOT NULL,
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
  result_omitted TEXT
);
CREATE INDEX task_rev ON task (rev);
CREATE INDEX task_status ON task (status, id) WHERE status <> 1;
CREATE INDEX task_lane ON task (lane, status, id) WHERE status <> 1;
CREATE INDEX task_ready ON task (lane, priority DESC, id) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_waiting ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_running ON task (owner) WHERE status = 1;
CREATE INDEX task_started ON task (status, started_at, id) WHERE status > 1;
CREATE INDEX task_retrying ON task (started_at, id) WHERE status = 0 AND started_at IS NOT NULL;
CREATE INDEX task_ended ON task (status, ended_at, id) WHERE status > 1;
CREATE INDEX task_duration ON task (status, duration, id) WHERE status > 1;
CREATE INDEX task_fingerprint ON task (fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE INDEX task_schedule ON task (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX task_unsearchable ON task (searchable) WHERE searchable = 0;
CREATE TABLE tag (key TEXT NOT NULL, value TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (key, value, id)) WITHOUT ROWID;
CREATE INDEX tag_key ON tag (key, id);
CREATE INDEX tag_value ON tag (value, id);
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
CREATE TABLE tally (status INTEGER NOT NULL, lane INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (status, lane)) WITHOUT ROWID;
CREATE TABLE rollup (
  level TEXT NOT NULL,
  at INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (level, at, lane)
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
  skipped INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE shared (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER NOT NULL, rev INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX shared_rev ON shared (rev);
CREATE INDEX shared_expiry ON shared (expires_at);
CREATE TABLE journal (log TEXT NOT NULL, n INTEGER NOT NULL, entry TEXT NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (log, n)) WITHOUT ROWID;
`;

/** A state of layout 2, which was a word, as its number. */
const stateNumber = (column: string): string =>
  `CASE ${column} ${taskStatuses.map((status, n) => `WHEN '${status}' THEN ${n}`).join(' ')} END`;

/** What turns each version into the next, from 1 on. */
const migrations = [
  // 2: an entry of a log has an end. Nothing has been written to one before.
  'DELETE FROM journal; ALTER TABLE journal ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0',
  // 3: lanes, states as numbers, ids as bytes, and columns and tables for all that layout 2 could not do.
  `
${['meta', 'task', 'attempt', 'log', 'tally', 'rollup', 'shared', 'journal'].map((table) => `ALTER TABLE ${table} RENAME TO old_${table};`).join('\n')}
DROP INDEX task_status; DROP INDEX task_name; DROP INDEX task_rev; DROP INDEX task_ready; DROP INDEX task_waiting; DROP INDEX task_owner;
DROP INDEX shared_rev; DROP INDEX shared_expiry;
${layout3}
INSERT INTO meta SELECT key, value FROM old_meta;
INSERT INTO meta SELECT 'seq', coalesce(max(rowid), 0) FROM old_task;
INSERT INTO lane (name, queue) SELECT DISTINCT name, queue FROM (SELECT name, queue FROM old_task UNION SELECT name, queue FROM old_rollup UNION SELECT name, queue FROM old_tally);
INSERT INTO task (seq, id, rev, lane, status, priority, tags, source, run_at, ready_at, attempts, max_attempts, max_interrupts, args, attempt,
    interrupts, cancelling, log_lines, owner, started_at, ended_at, duration, error_name, error_message, fingerprint, searchable, stack, result, result_omitted)
  SELECT old_task.rowid, unhex(old_task.id, '-'), rev, lane.id, ${stateNumber('status')}, priority, tags, source = 'scheduled', run_at, ready_at, attempts, max_attempts,
    max_interrupts, args, attempt, interrupts, cancelling, log_lines, owner, started_at, ended_at,
    CASE WHEN status IN ('pending', 'running') THEN NULL ELSE ended_at - started_at END, error_name, error_message, fingerprint,
    CASE status WHEN 'failed' THEN 0 END, stack, result, result_omitted
  FROM old_task JOIN lane ON lane.name = old_task.name AND lane.queue = old_task.queue;
INSERT INTO tag SELECT t.key, t.value, task.id FROM task, json_each(task.tags) AS t WHERE task.tags IS NOT NULL;
INSERT INTO attempt SELECT old_task.rowid, number, ${stateNumber('old_attempt.status')}, old_attempt.started_at, old_attempt.ended_at, old_attempt.error_name,
    old_attempt.error_message, old_attempt.stack FROM old_attempt JOIN old_task ON old_task.id = old_attempt.task;
INSERT INTO log SELECT old_task.rowid, n, at, old_log.attempt, level, 0, message, fields FROM old_log JOIN old_task ON old_task.id = old_log.task;
INSERT INTO tally SELECT status, lane, count(*) FROM task GROUP BY status, lane;
INSERT INTO rollup SELECT level, at, lane.id, figures FROM old_rollup JOIN lane USING (name, queue);
INSERT INTO shared SELECT * FROM old_shared;
INSERT INTO journal SELECT log, n, entry, expires_at FROM old_journal;
${['meta', 'task', 'attempt', 'log', 'tally', 'rollup', 'shared', 'journal'].map((table) => `DROP TABLE old_${table};`).join('\n')}
`,
  // 4: how many tasks have each tag and each kind of failure, so that no list counts them; the failures by kind; the processes.
  `
DROP INDEX tag_value;
CREATE TABLE tag_tally (key TEXT NOT NULL, value TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (key, value)) WITHOUT ROWID;
CREATE INDEX tag_tally_value ON tag_tally (value);
CREATE TABLE kind_tally (fingerprint TEXT NOT NULL, status INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (fingerprint, status)) WITHOUT ROWID;
CREATE TABLE kind (
  fingerprint TEXT PRIMARY KEY,
  lane INTEGER NOT NULL,
  error_name TEXT NOT NULL,
  error_message TEXT NOT NULL,
  n INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  last_id BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX kind_last ON kind (last_at, fingerprint);
CREATE TABLE kind_hour (hour INTEGER NOT NULL, fingerprint TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (fingerprint, hour)) WITHOUT ROWID;
CREATE INDEX kind_hour_hour ON kind_hour (hour);
CREATE TABLE worker (
  owner TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  slots INTEGER NOT NULL,
  started_at INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO tag_tally SELECT key, value, count(*) FROM tag GROUP BY key, value;
INSERT INTO kind_tally SELECT fingerprint, status, count(*) FROM task WHERE fingerprint IS NOT NULL GROUP BY fingerprint, status;
INSERT INTO kind SELECT fingerprint, lane, error_name, coalesce(error_message, ''), count(*), 0, max(ended_at), id FROM task
  WHERE fingerprint IS NOT NULL AND status = 3 GROUP BY fingerprint;
UPDATE kind SET first_at = (SELECT min(ended_at) FROM task WHERE task.fingerprint = kind.fingerprint AND status = 3);
INSERT INTO kind_hour SELECT ended_at / 3600000 AS hour, fingerprint, count(*) FROM task
  WHERE fingerprint IS NOT NULL AND status = 3 GROUP BY fingerprint, hour;
`,
  // 5: who paused what, and why.
  `
ALTER TABLE paused ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';
ALTER TABLE paused ADD COLUMN reason TEXT;
ALTER TABLE schedule ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';
ALTER TABLE schedule ADD COLUMN pause_reason TEXT;
`,
  // 6: further causes of an error, executors whose handler outlives its attempt, and statistics that expire.
  `
ALTER TABLE task ADD COLUMN error_details TEXT;
ALTER TABLE attempt ADD COLUMN error_details TEXT;
ALTER TABLE lane ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane ADD COLUMN ready_priority INTEGER;
ALTER TABLE lane ADD COLUMN ready_id BLOB;
UPDATE lane SET paused = 1 WHERE queue IN (SELECT queue FROM paused);
UPDATE lane SET ready_priority = task.priority, ready_id = task.id FROM task
  WHERE task.seq = (SELECT seq FROM task WHERE lane = lane.id AND status = 0 AND ready_at IS NULL ORDER BY priority DESC, id LIMIT 1);
CREATE INDEX lane_ready ON lane (paused, name, ready_priority DESC, ready_id) WHERE ready_id IS NOT NULL;
DELETE FROM tally WHERE n = 0;
ALTER TABLE worker ADD COLUMN stuck INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN stuck_attempts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE lane ADD COLUMN active_at INTEGER NOT NULL DEFAULT 0;
UPDATE lane SET active_at = last.at FROM (SELECT lane, max(at) AS at FROM rollup WHERE level = 'day' GROUP BY lane) AS last
  WHERE lane.id = last.lane;
INSERT INTO meta (key, value) VALUES ('minutes_from', 0), ('hours_from', 0), ('partitions_deleted', 0);
ALTER TABLE worker ADD COLUMN app TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN tasks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE worker ADD COLUMN schedules TEXT NOT NULL DEFAULT '[]';
ALTER TABLE schedule ADD COLUMN undefined_at INTEGER;
ALTER TABLE task ADD COLUMN waits_from INTEGER;
CREATE INDEX task_delayed ON task (waits_from) WHERE ready_at IS NOT NULL AND waits_from IS NOT NULL;
`,
];

/** Makes a new file ours and lays out its tables; leaves one that has them as it is. Safe to run in several processes at once. */
export function layOut(database: Database, path: string): void {
  if (path !== inMemory) keepCopy(database, path);
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = Number(database.get('PRAGMA user_version')?.user_version);
    if (version > layoutVersion) throw new Error('it was written by a newer version of koa-taskflow');
    if (version === 0) {
      // The ids go into the header before the file turns to WAL, where other openers look for them.
      database.exec(`PRAGMA application_id = ${applicationId}`);
      database.exec(layout3);
      // The count of changes begins at the time, so that a number of another file is out of this one's range.
      const first = Date.now() * 100;
      database.run("INSERT INTO meta (key, value) VALUES ('rev', ?), ('first_rev', ?), ('seq', 0)", first, first);
    }
    for (const step of migrations.slice((version || 3) - 1)) database.exec(step);
    database.exec(`PRAGMA user_version = ${layoutVersion}`);
    // A damaged file shows itself here rather than to the first caller.
    if (database.get("SELECT value FROM meta WHERE key = 'rev'") === undefined) throw new Error('it has lost its count of changes');
    database.get('SELECT id FROM task ORDER BY rev DESC LIMIT 1');
    database.exec('COMMIT');
  } catch (error) {
    rollBack(database);
    throw error;
  }
  if (path === inMemory) return;
  database.get('PRAGMA journal_mode = WAL');
  // Until a connection has read once in this mode, it stands in the way of emptying the log like one that still reads.
  database.get("SELECT value FROM meta WHERE key = 'rev'");
}

/** Keeps a copy of what is about to be migrated, as `tasks.db.layout-2` beside `tasks.db`. */
function keepCopy(database: Database, path: string): void {
  const version = Number(database.get('PRAGMA user_version')?.user_version);
  const copy = `${path}.layout-${version}`;
  if (version > 0 && version < layoutVersion && !existsSync(copy)) copyDatabase(database, copy);
}
