import { isEnded } from '../../../tasks/states.js';
import { maxPausedQueues } from '../../paused-queues.js';
import type { Database } from '../schema/database.js';
import { idBytes, isUndefined, type ScheduleRow } from '../schema/rows.js';
import { stateOf } from '../schema/states.js';
import type { SummaryRow } from '../schema/summaries.js';
import type { WriteOf } from './batch.js';
import { newTask } from './packed-tasks.js';
import { summaryRow, type Transaction } from './transaction.js';

function scheduleOf(database: Database, name: string): ScheduleRow | undefined {
  return database.get('SELECT * FROM schedule WHERE name = ?', name);
}

/**
 * Stores a schedule. Its planned run is kept, unless the rule has changed or no run was planned.
 */
export function plan(
  { database }: Transaction,
  { name, task, rule, template, nextAt }: WriteOf<'plan'>,
): undefined {
  database.run(
    `INSERT INTO schedule (name, task, rule, template, next_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE
       SET task = excluded.task, rule = excluded.rule, template = excluded.template,
       next_at = coalesce(iif(rule = excluded.rule, next_at, NULL), excluded.next_at),
       undefined_at = NULL`,
    name,
    task,
    rule,
    JSON.stringify(template),
    nextAt,
  );
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
}

/**
 * Creates the task of a due run and plans the next run, unless another process has already done so.
 * Both happen in one commit, so each run happens once.
 */
export function fire(
  transaction: Transaction,
  { name, dueAt, nextAt, overlap, skip, newId, at }: WriteOf<'fire'>,
): SummaryRow | undefined {
  const { database } = transaction;
  const schedule = scheduleOf(database, name);
  if (!schedule || schedule.next_at !== dueAt || schedule.paused_at !== null) return undefined;
  database.run('UPDATE schedule SET next_at = ? WHERE name = ?', nextAt, name);
  if (!skip && (overlap || hasEnded(database, schedule.last_id)))
    return make(transaction, schedule, newId, at);
  database.run('UPDATE schedule SET skipped = skipped + 1 WHERE name = ?', name);
  return undefined;
}

/** Creates a task of a schedule now. The planned run stays as it is. */
export function runSchedule(
  transaction: Transaction,
  { name, newId, at }: WriteOf<'runSchedule'>,
): SummaryRow | undefined {
  const schedule = scheduleOf(transaction.database, name);
  return schedule && make(transaction, schedule, newId, at);
}

/** Creates a task from the template of a schedule, with times that count from now. */
function make(
  transaction: Transaction,
  { name, template }: ScheduleRow,
  newId: string,
  at: number,
): SummaryRow {
  const { database, inserter } = transaction;
  const values: (string | number | null)[] = JSON.parse(template);
  const { runAt, deadlineAt } = newTask.unpack(values);
  const { at: position } = newTask;
  values[position.id] = newId;
  values[position.runAt] = at;
  if (deadlineAt !== null) values[position.deadlineAt] = at + deadlineAt - runAt;
  inserter.add([values], at);
  inserter.flush();
  database.run(
    'UPDATE schedule SET last_at = ?, last_id = ? WHERE name = ?',
    at,
    idBytes(newId),
    name,
  );
  return summaryRow(
    transaction,
    database.value('SELECT rowid FROM task WHERE id = ?', idBytes(newId)),
  );
}

function hasEnded(database: Database, id: Uint8Array | null): boolean {
  const last = id && database.value<number | undefined>('SELECT status FROM task WHERE id = ?', id);
  return typeof last !== 'number' || isEnded(stateOf(last));
}

/**
 * Pauses or resumes a queue. If the queue is already paused, the first pause is kept. Returns
 * `false` if {@link maxPausedQueues} refuses the pause.
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
  if (paused)
    database.run(
      `UPDATE schedule SET paused_at = ?, paused_by = ?, pause_reason = ? WHERE name = ?
        AND paused_at IS NULL`,
      at,
      by,
      reason ?? null,
      name,
    );
  else
    database.run(
      `UPDATE schedule SET paused_at = NULL, next_at = NULL WHERE name = ?
        AND paused_at IS NOT NULL`,
      name,
    );
  return scheduleOf(database, name) !== undefined;
}

/** Removes a schedule that no process defines any more. The tasks that it created are kept. */
export function removeSchedule(
  { database }: Transaction,
  { name, at }: WriteOf<'removeSchedule'>,
): 'removed' | 'defined' | 'unknown' {
  const schedule = scheduleOf(database, name);
  if (!schedule) return 'unknown';
  if (!isUndefined(schedule.undefined_at, at)) return 'defined';
  database.run('DELETE FROM schedule WHERE name = ?', name);
  return 'removed';
}
