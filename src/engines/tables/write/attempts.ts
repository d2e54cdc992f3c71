import type { StoredError } from '../../../tasks/task-runner.js';
import type { TaskStatus } from '../../../tasks/types.js';
import { interruptedError } from '../../interrupted-error.js';
import type { SqlValue } from '../schema/database.js';
import { detailsText } from '../schema/rows.js';
import { stateCode, stateOf } from '../schema/states.js';
import type { SummaryRow } from '../schema/summaries.js';
import type { WriteOf, Written } from './batch.js';
import { register } from './processes.js';
import { move, summaryRow, type Transaction, wantedRow } from './transaction.js';

/** Ends an attempt, if the process still owns it. */
export function finish(transaction: Transaction, write: WriteOf<'finish'>): Written['finish'] {
  const { rowid, owner, attempt, at, result, logs, progress, again } = write;
  const row = heldRow(transaction, rowid, owner, attempt);
  const before = !row && again ? storedBefore(transaction, write) : undefined;
  // An earlier submission was stored together with its log lines. Only its answer was lost.
  if (before) return before === 'cancelled' ? before : undefined;
  if (logs) writeLog(transaction, { logs });
  if (progress) writeProgress(transaction, { owner, entries: [progress] });
  if (!row) return 'lost';
  // If a cancellation was requested, the result of the handler is discarded.
  if (row.cancelling === 1) return endAttempt(transaction, row, 'cancelled', at) ?? 'cancelled';
  if (result.status === 'success')
    return endAttempt(transaction, row, 'success', at, undefined, result);
  if (result.retryIn === undefined) return endAttempt(transaction, row, 'failed', at, result.error);
  recordAttempt(transaction, row, 'failed', at, result.error);
  return toPending(transaction, row, at + Math.round(result.retryIn * 1000), at, 0, result.error);
}

/** Ends a cancelled attempt whose handler still runs. */
export function abandon(
  transaction: Transaction,
  { rowid, owner, attempt, at }: WriteOf<'abandon'>,
): Written['abandon'] {
  const row = heldRow(transaction, rowid, owner, attempt);
  return row ? (endAttempt(transaction, row, 'cancelled', at) ?? 'cancelled') : 'lost';
}

/**
 * Returns the state in which an earlier submission of the same write ended the attempt, if it was
 * stored.
 */
function storedBefore(
  { database }: Transaction,
  { rowid, attempt, at }: WriteOf<'finish'>,
): TaskStatus | undefined {
  const status = database.value<number | undefined>(
    `SELECT status FROM attempt WHERE task = ?1 AND number = ?2 AND ended_at = ?3
     UNION ALL SELECT status FROM task WHERE rowid = ?1 AND attempt = ?2 AND ended_at = ?3`,
    rowid,
    attempt,
    at,
  );
  return status === undefined ? undefined : stateOf(status);
}

/** An attempt that is recorded. */
interface AttemptColumns {
  rowid: number;
  attempt: number;
  started_at: number | null;
}

/** A task that a process runs. */
interface HeldRow extends AttemptColumns {
  partition: number;
  cancelling: number;
}

function heldRow(
  { database }: Transaction,
  rowid: number,
  owner: string,
  attempt: number,
): HeldRow | undefined {
  return database.get(
    `SELECT rowid, partition, attempt, started_at, cancelling FROM task
     WHERE rowid = ? AND owner = ? AND attempt = ? AND status = ${stateCode.running}`,
    rowid,
    owner,
    attempt,
  );
}

/** The result of a successful attempt. */
export interface Result {
  result?: string | null;
  resultOmitted?: string | null;
}

function endAttempt(
  transaction: Transaction,
  row: HeldRow,
  status: TaskStatus,
  at: number,
  error?: StoredError,
  result?: Result,
): SummaryRow | undefined {
  // The row of the task already describes an attempt that succeeded at the first try.
  if (status !== 'success' || row.attempt > 1) recordAttempt(transaction, row, status, at, error);
  end(transaction, row, 'running', status, at, error, result);
  return wantedRow(transaction, row.rowid, status);
}

/** A task that ends, with the fingerprint of its last failure if it was pending. */
interface EndingRow {
  rowid: number;
  partition: number;
  started_at: number | null;
  fingerprint?: string | null;
}

/** Ends a task and adds it to the statistics. If the clock was set back, its duration is 0. */
export function end(
  transaction: Transaction,
  { rowid, partition, started_at: startedAt, fingerprint }: EndingRow,
  from: TaskStatus,
  status: TaskStatus,
  at: number,
  error?: StoredError,
  { result = null, resultOmitted = null }: Result = {},
): void {
  const { database, counters, rollups, failures } = transaction;
  if (typeof fingerprint === 'string') counters.countFailed(fingerprint, from, -1);
  const duration = startedAt === null ? null : Math.max(0, at - startedAt);
  database.run(
    `UPDATE task SET status = ?, rev = ?, owner = NULL, cancelling = 0, ready_at = NULL,
      ended_at = ?, duration = ?, fingerprint = ?, searchable = ?, result = ?, result_omitted = ?,
       error_name = ?, error_message = ?, stack = ?, error_details = ?
         WHERE rowid = ?`,
    stateCode[status],
    counters.nextRev(),
    at,
    duration,
    error?.fingerprint || null,
    error ? 0 : null,
    result,
    resultOmitted,
    ...errorValues(error),
    rowid,
  );
  move(transaction, partition, from, status);
  rollups.add(at, partition, status, duration ?? undefined);
  if (!error?.fingerprint) return;
  counters.countFailed(error.fingerprint, status, 1);
  if (status === 'failed') failures.add(error, { rowid, partition, at });
}

/**
 * Makes a running task pending again. If `runAt` is in the future, the task is delayed until then.
 */
function toPending(
  transaction: Transaction,
  { rowid, partition }: HeldRow,
  runAt: number,
  now: number,
  interrupts: number,
  error: StoredError,
): SummaryRow | undefined {
  transaction.database.run(
    `UPDATE task SET status = ${stateCode.pending}, rev = ?, owner = NULL, cancelling = 0,
      run_at = ?, ready_at = ?,
      waits_from = ?, interrupts = interrupts + ?, max_attempts = max_attempts + ?,
       fingerprint = ?, error_name = ?, error_message = ?, stack = ?, error_details = ?
         WHERE rowid = ?`,
    transaction.counters.nextRev(),
    runAt,
    runAt > now ? runAt : null,
    now,
    interrupts,
    interrupts,
    error.fingerprint || null,
    ...errorValues(error),
    rowid,
  );
  move(transaction, partition, 'running', 'pending');
  if (error.fingerprint) transaction.counters.countFailed(error.fingerprint, 'pending', 1);
  return wantedRow(transaction, rowid, 'pending');
}

/** Stores an ended attempt. */
export function recordAttempt(
  { database }: Transaction,
  { rowid, attempt, started_at: startedAt }: AttemptColumns,
  status: TaskStatus,
  at: number,
  error?: StoredError,
): void {
  database.run(
    `INSERT OR REPLACE INTO attempt (task, number, status, started_at, ended_at, error_name,
      error_message, stack, error_details)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    rowid,
    attempt,
    stateCode[status],
    startedAt,
    at,
    ...errorValues(error),
  );
}

/** Returns the values of the columns error_name, error_message, stack and error_details. */
function errorValues(error: StoredError | undefined): SqlValue[] {
  return error
    ? [error.name, error.message, error.stack, detailsText(error)]
    : [null, null, null, null];
}

/** A running task whose process has died or is stopping. */
interface OrphanRow extends HeldRow {
  interrupts: number;
  max_interrupts: number;
  deadline_at: number | null;
}

/**
 * Takes over the running tasks of a process that has died or is stopping: ends them, or makes them
 * pending again.
 */
export function recover(transaction: Transaction, { owner, at }: WriteOf<'recover'>): SummaryRow[] {
  const rows = transaction.database.all<OrphanRow>(
    `SELECT rowid, partition, attempt, started_at, cancelling, interrupts, max_interrupts,
       deadline_at
     FROM task WHERE owner = ? AND status = ${stateCode.running} ORDER BY rowid`,
    owner,
  );
  for (const row of rows) {
    const mayRun =
      row.interrupts < row.max_interrupts && (row.deadline_at === null || row.deadline_at > at);
    if (row.cancelling === 1) endAttempt(transaction, row, 'cancelled', at);
    else if (mayRun) {
      recordAttempt(transaction, row, 'interrupted', at, interruptedError);
      toPending(transaction, row, at, at, 1, interruptedError);
    } else endAttempt(transaction, row, 'interrupted', at, interruptedError);
  }
  register(transaction, { worker: { owner } }, at);
  return rows.map(({ rowid }) => summaryRow(transaction, rowid));
}

/**
 * Makes running tasks pending again if their owner does not know that it claimed them. Their
 * handlers were not called, so the attempts do not count. A task with a requested cancellation ends
 * as cancelled.
 */
export function handBack(
  transaction: Transaction,
  { owner, held, at }: WriteOf<'handBack'>,
): undefined {
  const { database, counters } = transaction;
  const known = new Set(held.map(([rowid, attempt]) => `${rowid} ${attempt}`));
  const rows = database.all<HeldRow>(
    `SELECT rowid, partition, attempt, started_at, cancelling FROM task WHERE owner = ?
      AND status = ${stateCode.running}`,
    owner,
  );
  for (const row of rows) {
    if (known.has(`${row.rowid} ${row.attempt}`)) continue;
    if (row.cancelling === 1) endAttempt(transaction, row, 'cancelled', at);
    else {
      database.run(
        `UPDATE task SET status = ${stateCode.pending}, rev = ?, owner = NULL,
          attempt = attempt - 1,
           started_at = (SELECT last.started_at FROM attempt AS last WHERE last.task = task.rowid
             AND last.number = task.attempt - 1)
         WHERE rowid = ?`,
        counters.nextRev(),
        row.rowid,
      );
      move(transaction, row.partition, 'running', 'pending');
    }
  }
}

/** Stores log lines and numbers them. Lines of a deleted task are dropped. */
export function writeLog(
  { database }: Transaction,
  { logs }: Omit<WriteOf<'log'>, 'kind'>,
): undefined {
  for (const { task, at, attempt, level, late, message, fields } of logs) {
    const n = database.value<number | undefined>(
      'UPDATE task SET log_lines = log_lines + 1 WHERE rowid = ? RETURNING log_lines',
      task,
    );
    if (n === undefined) continue;
    database.run(
      `INSERT INTO log (task, n, at, attempt, level, late, message, fields)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      task,
      n,
      at,
      attempt,
      level,
      late ? 1 : 0,
      message,
      fields,
    );
  }
}

/** Stores the progress of attempts, if the process still owns them. */
export function writeProgress(
  { database, counters }: Transaction,
  { owner, entries }: Omit<WriteOf<'progress'>, 'kind'>,
): undefined {
  for (const { task, attempt, value, text } of entries) {
    database.run(
      `UPDATE task SET progress = ?, progress_text = ?, rev = ? WHERE rowid = ? AND owner = ?
        AND attempt = ? AND status = ${stateCode.running}`,
      value,
      text,
      counters.nextRev(),
      task,
      owner,
      attempt,
    );
  }
}
