import type { CommandResult } from '../../../tasks/commands.js';
import { canCancel, canRetry, isEnded } from '../../../tasks/states.js';
import { idBytes, idOf, tagsOf } from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
import { type SummaryRow, toSummary } from '../schema/summaries.js';
import { end } from './attempts.js';
import type { OnTasks, WriteOf } from './batch.js';
import { newTask } from './packed-tasks.js';
import { move, statusOf, summaryRow, type Transaction } from './transaction.js';

/** A task to which a command is applied. */
interface CommandRow extends DeletedTask {
  name: string;
  idempotency_key: string | null;
}

/**
 * Makes the function that applies a command to each of its tasks and returns the result for each.
 * `act` returns the row of a task after the command, or `undefined` if the state of the task does
 * not allow the command. `n` is the position of the task in the list.
 */
function onTasks<W extends OnTasks>(
  act: (transaction: Transaction, row: CommandRow, write: W, n: number) => SummaryRow | undefined,
) {
  return (transaction: Transaction, write: W): CommandResult[] =>
    write.ids.map((id, n) => {
      const row = transaction.database.get<CommandRow>(
        `SELECT rowid, id, partition, status, searchable, fingerprint, idempotency_key,
          (SELECT name FROM partition WHERE partition.id = task.partition) AS name
          FROM task WHERE id = ?`,
        idBytes(id),
      );
      if (!row) return { id, ok: false, code: 'TASK_NOT_FOUND' };
      const after = act(transaction, row, write, n);
      return after
        ? { id, ok: true, task: toSummary(after) }
        : { id, ok: false, code: 'TASK_STATE_CONFLICT', status: statusOf(row) };
    });
}

/** Starts a new series of attempts. The earlier attempts stay in the history. */
export const retry = onTasks<WriteOf<'retry'>>((transaction, row, { at, delays }, n) => {
  const { database, counters } = transaction;
  const status = statusOf(row);
  if (!canRetry(status) || !holdsKey(transaction, row, at)) return undefined;
  if (row.searchable === 1) database.run('DELETE FROM failure WHERE rowid = ?', row.rowid);
  const delay = delays?.[n] ?? 0;
  database.run(
    `UPDATE task SET status = ${stateCode.pending}, rev = ?, run_at = ?, ready_at = ?,
      waits_from = ?,
      ended_at = NULL, duration = NULL, interrupts = 0, searchable = NULL,
       deadline_at = deadline_at - run_at + ?, max_attempts = attempt + attempts WHERE rowid = ?`,
    counters.nextRev(),
    at + delay,
    delay > 0 ? at + delay : null,
    at,
    at + delay,
    row.rowid,
  );
  move(transaction, row.partition, status, 'pending');
  if (row.fingerprint !== null) {
    counters.countFailed(row.fingerprint, status, -1);
    counters.countFailed(row.fingerprint, 'pending', 1);
  }
  return summaryRow(transaction, row.rowid);
});

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

/** Ends pending tasks as cancelled, and requests the cancellation of running ones. */
export const cancel = onTasks<WriteOf<'cancel'>>((transaction, row, { at }) => {
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
});

/** Makes pending tasks ready now. */
export const run = onTasks<WriteOf<'run'>>((transaction, row, { at }) => {
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
});

/** Deletes ended tasks. */
export const remove = onTasks<WriteOf<'delete'>>((transaction, row) => {
  if (!isEnded(statusOf(row))) return undefined;
  const last = summaryRow(transaction, row.rowid);
  deleteTask(transaction, row);
  return last;
});

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

/** Creates a new task from each ended task. The two tasks refer to each other. */
export const rerun = onTasks<WriteOf<'rerun'>>((transaction, row, { newIds, args, at }, n) => {
  if (!isEnded(statusOf(row))) return undefined;
  const { database, counters, inserter } = transaction;
  const newId = newIds[n] ?? '';
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
});
