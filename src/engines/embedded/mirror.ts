import type { StoredError } from '../../tasks/engine.js';
import { isEnded } from '../../tasks/states.js';
import type { TaskStatus } from '../../tasks/types.js';
import { recordAttempt } from './attempts.js';
import { deleteTask } from './commands.js';
import type { Database, Row } from './database.js';
import { detailsText, idBytes, stateCode } from './rows.js';
import { move, statusOf, type Transaction } from './transaction.js';
import type { Write } from './write.js';

type Of<K extends Write['kind']> = Extract<Write, { kind: K }>;

/** A task of another engine, as it is there now. Times are Unix milliseconds. */
export interface MirroredTask {
  /** Its id there. */
  key: string;
  /** The UUIDv7 it is kept under here; its time is when the task was created. */
  id: string;
  /** The other engine's word for its state. */
  engineState: string;
  name: string;
  queue: string;
  priority: number;
  source: 'manual' | 'scheduled';
  schedule: string | null;
  status: TaskStatus;
  runAt: number;
  /** Until when it waits; null for one that could run. */
  readyAt: number | null;
  startedAt: number | null;
  endedAt: number | null;
  attempt: number;
  maxAttempts: number;
  progress: number | null;
  progressText: string | null;
  error: StoredError | null;
}

/**
 * What the tasks of another engine are called there, beside the tables of the tasks themselves. A name is kept for as long as
 * the tombstone of its task, so that those who watch are told it.
 */
const mirrorLayout = `
CREATE TABLE mirrored (id BLOB PRIMARY KEY, key TEXT NOT NULL, state TEXT NOT NULL, gone INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX mirrored_key ON mirrored (key) WHERE gone IS NULL;
CREATE TRIGGER mirrored_gone AFTER INSERT ON tombstone BEGIN
  UPDATE mirrored SET gone = NEW.rev WHERE id = NEW.id;
END;
CREATE TRIGGER mirrored_forgotten AFTER DELETE ON tombstone BEGIN
  DELETE FROM mirrored WHERE id = OLD.id AND gone = OLD.rev;
END;
`;

/** Lays out what a database needs in which the tasks of another engine are shown. */
export function layOutMirror(database: Database): void {
  database.exec(mirrorLayout);
}

const columns = 'seq, id, lane, status, attempt, started_at, ended_at, fingerprint, searchable';

/** Takes in tasks as they are now; what they were before is summed up as if they had run here. */
export function mirror(transaction: Transaction, { tasks, at }: Of<'mirror'>): undefined {
  for (const task of tasks) put(transaction, task, at);
  return undefined;
}

/** Deletes tasks that the other engine has deleted. */
export function forget(transaction: Transaction, { keys }: Of<'forget'>): undefined {
  for (const key of keys) {
    const row = rowOf(transaction.database, key);
    if (row) deleteTask(transaction, row);
  }
  return undefined;
}

function rowOf(database: Database, key: string): Row | undefined {
  return database.get(`SELECT ${columns} FROM task WHERE id = (SELECT id FROM mirrored WHERE key = ? AND gone IS NULL)`, key);
}

function put(transaction: Transaction, task: MirroredTask, at: number): void {
  const { database } = transaction;
  let row = rowOf(database, task.key);
  if (row && Buffer.compare(row.id as Uint8Array, idBytes(task.id)) !== 0) {
    // The other engine has used an id again, for another task.
    deleteTask(transaction, row);
    row = undefined;
  }
  row ??= insert(transaction, task, at);
  database.run('UPDATE mirrored SET state = ? WHERE id = ?', task.engineState, row.id ?? null);
  update(transaction, row, task);
}

function insert({ database, inserter }: Transaction, task: MirroredTask, at: number): Row {
  const { id, name, queue, priority, source, runAt, maxAttempts, schedule } = task;
  database.run('INSERT OR REPLACE INTO mirrored (id, key, state) VALUES (?, ?, ?)', idBytes(id), task.key, task.engineState);
  inserter.add(
    { values: [id, name, queue, priority, null, source === 'scheduled' ? 1 : 0, runAt, null, maxAttempts, 0, '[]', schedule, null, null] },
    at,
  );
  inserter.flush();
  const row = rowOf(database, task.key);
  if (!row) throw new Error(`task ${task.key} is gone within its own transaction`);
  return row;
}

function update(transaction: Transaction, row: Row, task: MirroredTask): void {
  const { database, ledger, rollups, failures } = transaction;
  const { status, startedAt, endedAt, error, attempt } = task;
  const [seq, lane, from] = [Number(row.seq), Number(row.lane), statusOf(row)];
  const hasEnded = isEnded(status) && (from !== status || row.ended_at !== endedAt);
  const duration = isEnded(status) && startedAt !== null && endedAt !== null ? Math.max(0, endedAt - startedAt) : null;
  if (typeof row.fingerprint === 'string') ledger.countKind(row.fingerprint, from, -1);
  if (error?.fingerprint) ledger.countKind(error.fingerprint, status, 1);
  if (from !== status) move(transaction, lane, from, status);
  else if (status === 'pending') ledger.ready.changed(lane);
  const findable = status === 'failed' && !hasEnded ? (row.searchable ?? null) : status === 'failed' ? 0 : null;
  if (row.searchable === 1 && findable !== 1) database.run('DELETE FROM failure WHERE rowid = ?', seq);
  database.run(
    `UPDATE task SET status = ?, rev = ?, priority = ?, run_at = ?, ready_at = ?, max_attempts = ?, attempt = ?, started_at = ?, ended_at = ?,
       duration = ?, progress = ?, progress_text = ?, error_name = ?, error_message = ?, fingerprint = ?, stack = ?,
       error_details = ?, searchable = ? WHERE seq = ?`,
    stateCode[status],
    ledger.nextRev(),
    task.priority,
    task.runAt,
    status === 'pending' ? task.readyAt : null,
    task.maxAttempts,
    attempt,
    startedAt,
    endedAt,
    duration,
    task.progress,
    task.progressText,
    error?.name ?? null,
    error?.message ?? null,
    error?.fingerprint || null,
    error?.stack ?? null,
    detailsText(error),
    findable,
    seq,
  );
  if (hasEnded && endedAt !== null) {
    rollups.add(endedAt, lane, status, duration ?? undefined);
    if (status === 'failed' && error?.fingerprint) failures.add(error, { seq, lane, at: endedAt });
  }
  // Between two looks a task may have run and failed: then it is the number of the attempt that tells.
  const isRetried = status === 'pending' && error !== null && (from === 'running' || attempt > Number(row.attempt));
  const over = hasEnded || isRetried;
  // As with tasks of one's own: that one succeeded at the first try is told by the task itself.
  if (over && startedAt !== null && attempt > 0 && !(status === 'success' && attempt === 1)) {
    const as = status === 'pending' ? 'failed' : status;
    recordAttempt(transaction, { seq, attempt, started_at: startedAt }, as, endedAt ?? task.runAt, error ?? undefined);
  }
}
