import type { CommandResult } from '../../../tasks/commands.js';
import { canCancel, canRetry, isEnded } from '../../../tasks/states.js';
import { idBytes, idOf, tagsOf } from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
import { type SummaryRow, toSummary } from '../schema/summaries.js';
import { end } from './attempts.js';
import type { WriteOf } from './batch.js';
import { newTask } from './packed-tasks.js';
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

/** A task to which a command is applied. */
interface CommandRow extends DeletedTask {
  name: string;
  idempotency_key: string | null;
}

/**
 * Applies an action to a task. `act` returns the row after the action, or `undefined` if the state
 * of the task does not allow it.
 */
function onTask(
  { database }: Transaction,
  id: string,
  act: (row: CommandRow) => SummaryRow | undefined,
): CommandResult {
  const row = database.get<CommandRow>(
    `SELECT rowid, id, partition, status, searchable, fingerprint, idempotency_key,
      (SELECT name FROM partition WHERE partition.id = task.partition) AS name
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
function retry(
  transaction: Transaction,
  row: CommandRow,
  at: number,
  delay: number,
): SummaryRow | undefined {
  const status = statusOf(row);
  if (!canRetry(status) || !holdsKey(transaction, row, at)) return undefined;
  if (row.searchable === 1)
    transaction.database.run('DELETE FROM failure WHERE rowid = ?', row.rowid);
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
    row.rowid,
  );
  move(transaction, row.partition, status, 'pending');
  if (row.fingerprint !== null) {
    transaction.counters.countFailed(row.fingerprint, status, -1);
    transaction.counters.countFailed(row.fingerprint, 'pending', 1);
  }
  return summaryRow(transaction, row.rowid);
}

/**
 * Returns whether a task still holds its idempotency key. If the task was cancelled and no other
 * task has taken the key since, the task takes the key back.
 */
function holdsKey(
  { database }: Transaction,
  { id, name, idempotency_key: key }: CommandRow,
  at: number,
): boolean {
  if (key === null) return true;
  const held = database.get<{ id: Uint8Array; released: number }>(
    'SELECT id, released FROM idempotency WHERE name = ? AND key = ? AND expires_at > ?',
    name,
    key,
    at,
  );
  if (held && held.released === 0 && idOf(held.id) !== idOf(id)) return false;
  database.run(
    'UPDATE idempotency SET released = 0, id = ? WHERE name = ? AND key = ?',
    id,
    name,
    key,
  );
  return true;
}

function cancel(transaction: Transaction, row: CommandRow, at: number): SummaryRow | undefined {
  const status = statusOf(row);
  if (!canCancel(status)) return undefined;
  const { database, counters } = transaction;
  if (row.idempotency_key !== null)
    database.run(
      'UPDATE idempotency SET released = 1 WHERE name = ? AND key = ? AND id = ?',
      row.name,
      row.idempotency_key,
      row.id,
    );
  if (status === 'running') {
    // The process that runs the task sees this flag, aborts the handler and ends the task.
    database.run(
      'UPDATE task SET cancelling = 1, rev = ? WHERE rowid = ?',
      counters.nextRev(),
      row.rowid,
    );
  } else {
    database.run('UPDATE task SET started_at = NULL WHERE rowid = ?', row.rowid);
    end(transaction, { ...row, started_at: null }, 'pending', 'cancelled', at);
  }
  return summaryRow(transaction, row.rowid);
}

function runNow(transaction: Transaction, row: CommandRow, at: number): SummaryRow | undefined {
  if (statusOf(row) !== 'pending') return undefined;
  const { database, counters } = transaction;
  database.run(
    'UPDATE task SET run_at = min(run_at, ?), ready_at = NULL, rev = ? WHERE rowid = ?',
    at,
    counters.nextRev(),
    row.rowid,
  );
  counters.ready.changed(row.partition);
  return summaryRow(transaction, row.rowid);
}

function remove(transaction: Transaction, row: CommandRow): SummaryRow | undefined {
  if (!isEnded(statusOf(row))) return undefined;
  const last = summaryRow(transaction, row.rowid);
  deleteTask(transaction, row);
  return last;
}

/** What the deletion of a task needs. */
export interface DeletedTask {
  rowid: number;
  id: Uint8Array;
  partition: number;
  status: number;
  /** 1 if the word index has its words. */
  searchable: number | null;
  fingerprint: string | null;
}

/**
 * Deletes an ended task and all its data. A tombstone reports the deletion to readers of changes.
 */
export function deleteTask({ database, counters }: Transaction, row: DeletedTask): void {
  const { rowid, id, partition, fingerprint } = row;
  if (row.searchable === 1) database.run('DELETE FROM failure WHERE rowid = ?', rowid);
  database.run('DELETE FROM attempt WHERE task = ?', rowid);
  database.run('DELETE FROM log WHERE task = ?', rowid);
  const tags = database.value<string | null>('SELECT tags FROM task WHERE rowid = ?', rowid);
  for (const [key, value] of Object.entries(tagsOf(tags))) {
    database.run('DELETE FROM tag WHERE key = ? AND value = ? AND id = ?', key, value, id);
    counters.countTag(key, value, -1);
  }
  if (fingerprint !== null) counters.countFailed(fingerprint, statusOf(row), -1);
  database.run('DELETE FROM task WHERE rowid = ?', rowid);
  database.run('INSERT INTO tombstone (rev, id) VALUES (?, ?)', counters.nextRev(), id);
  counters.count(partition, statusOf(row), -1);
}

function copy(
  transaction: Transaction,
  row: CommandRow,
  newId: string,
  args: string | undefined,
  at: number,
): SummaryRow | undefined {
  if (!isEnded(statusOf(row))) return undefined;
  const { database, counters, inserter } = transaction;
  const task = database.value<string>(
    `SELECT ${newTask.sql} FROM task JOIN partition ON partition.id = task.partition
     WHERE rowid = ?4`,
    ...[newId, at, args ?? null, row.rowid],
  );
  inserter.add([JSON.parse(task)], at);
  inserter.flush();
  database.run('UPDATE task SET rerun_of = ? WHERE id = ?', row.id, idBytes(newId));
  database.run(
    'UPDATE task SET rerun_as = ?, rev = ? WHERE rowid = ?',
    idBytes(newId),
    counters.nextRev(),
    row.rowid,
  );
  return summaryRow(
    transaction,
    database.value('SELECT rowid FROM task WHERE id = ?', idBytes(newId)),
  );
}
