import { isEnded } from '../../../tasks/states.js';
import { maxPausedQueues } from '../../paused-queues.js';
import type { Database, Row } from '../schema/database.js';
import { idBytes, isUndefined } from '../schema/rows.js';
import type { WriteOf } from './batch.js';
import { packedAt } from './packed-tasks.js';
import { statusOf, summaryRow, type Transaction } from './transaction.js';

/**
 * Stores a schedule. Its planned run is kept, unless the rule has changed or no run was planned.
 */
export function plan(
  { database }: Transaction,
  { name, task, rule, template, nextAt }: WriteOf<'plan'>,
): undefined {
  const planned = database.get('SELECT rule, next_at FROM schedule WHERE name = ?', name);
  const kept =
    planned?.rule === rule && typeof planned.next_at === 'number' ? planned.next_at : nextAt;
  database.run(
    `INSERT INTO schedule (name, task, rule, template, next_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE
       SET task = excluded.task, rule = excluded.rule, template = excluded.template,
       next_at = excluded.next_at,
       undefined_at = NULL`,
    name,
    task,
    rule,
    JSON.stringify(template.values),
    kept,
  );
  return undefined;
}

/**
 * Restarts an interval after the clock was set back, unless the planned run or the rule has changed
 * in the meantime.
 */
export function restartInterval(
  { database }: Transaction,
  { name, rule, dueAt, nextAt }: WriteOf<'restartInterval'>,
): undefined {
  database.run(
    'UPDATE schedule SET next_at = ? WHERE name = ? AND rule = ? AND next_at = ?',
    nextAt,
    name,
    rule,
    dueAt,
  );
  return undefined;
}

/**
 * Creates the task of a due run and plans the next run, unless another process has already done so.
 * Both happen in one commit, so each run happens once.
 */
export function fire(
  transaction: Transaction,
  { name, dueAt, nextAt, overlap, skip, newId, at }: WriteOf<'fire'>,
): Row | undefined {
  const { database } = transaction;
  const schedule = database.get(
    'SELECT name, template, next_at, paused_at, last_id FROM schedule WHERE name = ?',
    name,
  );
  if (!schedule || schedule.next_at !== dueAt || schedule.paused_at !== null) return undefined;
  database.run('UPDATE schedule SET next_at = ? WHERE name = ?', nextAt, name);
  if (!skip && (overlap || hasEnded(transaction, schedule)))
    return make(transaction, schedule, newId, at);
  database.run('UPDATE schedule SET skipped = skipped + 1 WHERE name = ?', name);
  return undefined;
}

/** Creates a task of a schedule now. The planned run stays as it is. */
export function runSchedule(
  transaction: Transaction,
  { name, newId, at }: WriteOf<'runSchedule'>,
): Row | undefined {
  const schedule = transaction.database.get(
    'SELECT name, template FROM schedule WHERE name = ?',
    name,
  );
  return schedule && make(transaction, schedule, newId, at);
}

/** Creates a task from the template of a schedule, with times that count from now. */
function make(transaction: Transaction, { name, template }: Row, newId: string, at: number): Row {
  const { database, inserter } = transaction;
  const values = JSON.parse(String(template)) as (string | number | null)[];
  const [runAt, deadlineAt] = [values[packedAt.runAt], values[packedAt.deadlineAt]];
  values[packedAt.id] = newId;
  values[packedAt.runAt] = at;
  if (typeof deadlineAt === 'number') values[packedAt.deadlineAt] = at + deadlineAt - Number(runAt);
  inserter.add({ values }, at);
  inserter.flush();
  database.run(
    'UPDATE schedule SET last_at = ?, last_id = ? WHERE name = ?',
    at,
    idBytes(newId),
    name ?? null,
  );
  const made = database.get('SELECT rowid FROM task WHERE id = ?', idBytes(newId));
  return summaryRow(transaction, Number(made?.rowid));
}

function hasEnded({ database }: Transaction, { last_id: id }: Row): boolean {
  const last = id && database.get('SELECT status FROM task WHERE id = ?', id);
  return !last || isEnded(statusOf(last));
}

/**
 * Pauses or resumes a queue. If the queue is already paused, the first pause is kept. Returns
 * whether it was done: see {@link maxPausedQueues}.
 */
export function pauseQueue(
  { database }: Transaction,
  { queue, paused, by, reason, at }: WriteOf<'pauseQueue'>,
): boolean {
  if (!paused) database.run('DELETE FROM paused WHERE queue = ?', queue);
  else if (!canPause(database, queue)) return false;
  else
    database.run(
      'INSERT OR IGNORE INTO paused (queue, at, paused_by, reason) VALUES (?, ?, ?, ?)',
      queue,
      at,
      by,
      reason ?? null,
    );
  database.run('UPDATE partition SET paused = ? WHERE queue = ?', paused ? 1 : 0, queue);
  return true;
}

function canPause(database: Database, queue: string): boolean {
  const allowed = database.get(
    `SELECT 1 WHERE EXISTS (SELECT 1 FROM partition WHERE queue = ?1)
      OR EXISTS (SELECT 1 FROM paused WHERE queue = ?1)
      OR (SELECT COUNT(*) FROM paused) < ?2`,
    queue,
    maxPausedQueues,
  );
  return allowed !== undefined;
}

/** Pauses or resumes a schedule. Runs that were due during the pause are not caught up. */
export function pauseSchedule(
  { database }: Transaction,
  { name, paused, by, reason, at }: WriteOf<'pauseSchedule'>,
): boolean {
  const schedule = database.get('SELECT paused_at FROM schedule WHERE name = ?', name);
  if (!schedule) return false;
  if (paused && schedule.paused_at === null)
    database.run(
      'UPDATE schedule SET paused_at = ?, paused_by = ?, pause_reason = ? WHERE name = ?',
      at,
      by,
      reason ?? null,
      name,
    );
  else if (!paused && schedule.paused_at !== null)
    database.run('UPDATE schedule SET paused_at = NULL, next_at = NULL WHERE name = ?', name);
  return true;
}

/** Removes a schedule that no process defines any more. The tasks that it created are kept. */
export function removeSchedule(
  { database }: Transaction,
  { name, at }: WriteOf<'removeSchedule'>,
): 'removed' | 'defined' | 'unknown' {
  const schedule = database.get('SELECT undefined_at FROM schedule WHERE name = ?', name);
  if (!schedule) return 'unknown';
  if (!isUndefined(schedule, at)) return 'defined';
  database.run('DELETE FROM schedule WHERE name = ?', name);
  return 'removed';
}
