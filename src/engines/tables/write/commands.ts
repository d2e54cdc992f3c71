import type { CommandResult } from '../../../tasks/commands.js';
import { canCancel, canRetry, isEnded } from '../../../tasks/states.js';
import type { Row } from '../schema/database.js';
import { idBytes, idOf, toSummary } from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
import { end } from './attempts.js';
import type { WriteOf } from './batch.js';
import { move, statusOf, summaryRow, type Transaction } from './transaction.js';

/** Applies a command to each task, and returns the result for each. */
export function command(
  transaction: Transaction,
  write: WriteOf<'retry' | 'cancel' | 'delete' | 'run'>,
): CommandResult[] {
  const { kind, ids, at } = write;
  if (kind === 'retry')
    return ids.map((id, n) =>
      onTask(transaction, id, (row) => retry(transaction, row, at, write.delays?.[n] ?? 0)),
    );
  const act = { cancel, delete: remove, run: runNow }[kind];
  return ids.map((id) => onTask(transaction, id, (row) => act(transaction, row, at)));
}

/** Creates a new task from each ended task. The two tasks refer to each other. */
export function rerun(
  transaction: Transaction,
  { ids, newIds, args, at }: WriteOf<'rerun'>,
): CommandResult[] {
  return ids.map((id, index) =>
    onTask(transaction, id, (row) => copy(transaction, row, newIds[index] ?? '', args, at)),
  );
}

/**
 * Applies an action to a task. `act` returns the row after the action, or `undefined` if the state
 * of the task does not allow it.
 */
function onTask(
  { database }: Transaction,
  id: string,
  act: (row: Row) => Row | undefined,
): CommandResult {
  const row = database.get(
    `SELECT rowid, id, partition, status, started_at, owner, searchable, fingerprint,
      idempotency_key, (SELECT name FROM partition WHERE partition.id = task.partition) AS name
      FROM task WHERE id = ?`,
    idBytes(id),
  );
  if (!row) return { id, ok: false, code: 'TASK_NOT_FOUND' };
  const after = act(row);
  return after
    ? { id, ok: true, task: toSummary(after) }
    : { id, ok: false, code: 'TASK_STATE_CONFLICT', status: statusOf(row) };
}

/** Starts a new series of attempts. The earlier attempts stay in the history. */
function retry(transaction: Transaction, row: Row, at: number, delay: number): Row | undefined {
  const status = statusOf(row);
  if (!canRetry(status) || !holdsKey(transaction, row, at)) return undefined;
  if (row.searchable === 1)
    transaction.database.run('DELETE FROM failure WHERE rowid = ?', row.rowid ?? null);
  transaction.database.run(
    `UPDATE task SET status = ${stateCode.pending}, rev = ?, run_at = ?, ready_at = ?,
      waits_from = ?,
      ended_at = NULL, duration = NULL, interrupts = 0, searchable = NULL,
       deadline_at = deadline_at - run_at + ?, max_attempts = attempt + attempts WHERE rowid = ?`,
    transaction.counters.nextRev(),
    at + delay,
    delay > 0 ? at + delay : null,
    at,
    at + delay,
    row.rowid ?? null,
  );
  move(transaction, Number(row.partition), status, 'pending');
  if (typeof row.fingerprint === 'string') {
    transaction.counters.countFailed(row.fingerprint, status, -1);
    transaction.counters.countFailed(row.fingerprint, 'pending', 1);
  }
  return summaryRow(transaction, Number(row.rowid));
}

/**
 * Returns whether a task still holds its idempotency key. If the task was cancelled and no other
 * task has taken the key since, the task takes the key back.
 */
function holdsKey({ database }: Transaction, row: Row, at: number): boolean {
  if (row.idempotency_key === null) return true;
  const [name, key] = [row.name ?? null, row.idempotency_key ?? null];
  const held = database.get(
    'SELECT id, released FROM idempotency WHERE name = ? AND key = ? AND expires_at > ?',
    name,
    key,
    at,
  );
  if (held && held.released === 0 && idOf(held.id) !== idOf(row.id)) return false;
  database.run(
    'UPDATE idempotency SET released = 0, id = ? WHERE name = ? AND key = ?',
    row.id ?? null,
    name,
    key,
  );
  return true;
}

function cancel(transaction: Transaction, row: Row, at: number): Row | undefined {
  const status = statusOf(row);
  if (!canCancel(status)) return undefined;
  const { database, counters } = transaction;
  if (row.idempotency_key !== null)
    database.run(
      'UPDATE idempotency SET released = 1 WHERE name = ? AND key = ? AND id = ?',
      row.name ?? null,
      row.idempotency_key ?? null,
      row.id ?? null,
    );
  if (status === 'running') {
    // The process that runs the task sees this flag, aborts the handler and ends the task.
    database.run(
      'UPDATE task SET cancelling = 1, rev = ? WHERE rowid = ?',
      counters.nextRev(),
      row.rowid ?? null,
    );
  } else {
    database.run('UPDATE task SET started_at = NULL WHERE rowid = ?', row.rowid ?? null);
    end(transaction, { ...row, started_at: null }, 'pending', 'cancelled', at, undefined, {});
  }
  return summaryRow(transaction, Number(row.rowid));
}

function runNow(transaction: Transaction, row: Row, at: number): Row | undefined {
  if (statusOf(row) !== 'pending') return undefined;
  const { database, counters } = transaction;
  database.run(
    'UPDATE task SET run_at = min(run_at, ?), ready_at = NULL, rev = ? WHERE rowid = ?',
    at,
    counters.nextRev(),
    row.rowid ?? null,
  );
  counters.ready.changed(Number(row.partition));
  return summaryRow(transaction, Number(row.rowid));
}

function remove(transaction: Transaction, row: Row): Row | undefined {
  if (!isEnded(statusOf(row))) return undefined;
  const last = summaryRow(transaction, Number(row.rowid));
  deleteTask(transaction, row);
  return last;
}

/**
 * Deletes an ended task and all its data. A tombstone reports the deletion to readers of changes.
 */
export function deleteTask({ database, counters }: Transaction, row: Row): void {
  const [rowid, id] = [row.rowid ?? null, row.id ?? null];
  if (row.searchable === 1) database.run('DELETE FROM failure WHERE rowid = ?', rowid);
  database.run('DELETE FROM attempt WHERE task = ?', rowid);
  database.run('DELETE FROM log WHERE task = ?', rowid);
  const tags = database.get('SELECT tags FROM task WHERE rowid = ?', rowid)?.tags;
  if (typeof tags === 'string') {
    for (const [key, value] of Object.entries(JSON.parse(tags) as Record<string, string>)) {
      database.run('DELETE FROM tag WHERE key = ? AND value = ? AND id = ?', key, value, id);
      counters.countTag(key, value, -1);
    }
  }
  if (typeof row.fingerprint === 'string') counters.countFailed(row.fingerprint, statusOf(row), -1);
  database.run('DELETE FROM task WHERE rowid = ?', rowid);
  database.run('INSERT INTO tombstone (rev, id) VALUES (?, ?)', counters.nextRev(), id);
  counters.count(Number(row.partition), statusOf(row), -1);
}

function copy(
  transaction: Transaction,
  row: Row,
  newId: string,
  args: string | undefined,
  at: number,
): Row | undefined {
  if (!isEnded(statusOf(row))) return undefined;
  const { database, counters, inserter } = transaction;
  const task = database.get(
    `SELECT name, queue, priority, tags, deadline_at - run_at AS deadline, attempts,
      max_interrupts, args
     FROM task JOIN partition ON partition.id = task.partition WHERE rowid = ?`,
    row.rowid ?? null,
  ) as Record<string, string | number | null> | undefined;
  if (!task) return undefined;
  const {
    name = null,
    queue = null,
    priority = null,
    tags = null,
    deadline,
    attempts = null,
    max_interrupts: interrupts = null,
  } = task;
  const deadlineAt = typeof deadline === 'number' ? at + deadline : null;
  const values = [
    newId,
    name,
    queue,
    priority,
    tags,
    0,
    at,
    deadlineAt,
    attempts,
    interrupts,
    args ?? task.args ?? null,
    null,
    null,
    null,
    null,
  ];
  inserter.add({ values }, at);
  inserter.flush();
  database.run('UPDATE task SET rerun_of = ? WHERE id = ?', row.id ?? null, idBytes(newId));
  database.run(
    'UPDATE task SET rerun_as = ?, rev = ? WHERE rowid = ?',
    idBytes(newId),
    counters.nextRev(),
    row.rowid ?? null,
  );
  const made = database.get('SELECT rowid FROM task WHERE id = ?', idBytes(newId));
  return summaryRow(transaction, Number(made?.rowid));
}
