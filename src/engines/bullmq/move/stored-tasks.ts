import type { NewTask } from '../../../tasks/new-task.js';
import type { StoredError } from '../../../tasks/task-runner.js';
import type { Database } from '../../tables/schema/database.js';
import {
  type AttemptRow,
  detailsOf,
  type ErrorColumns,
  idBytes,
  idOf,
  type LogRow,
} from '../../tables/schema/rows.js';
import { stateCode, stateOf } from '../../tables/schema/states.js';
import { type TaskValues, toNewTask } from '../../tables/write/packed-tasks.js';
import { type AttemptRecord, attemptField, errorNote, jobFields } from '../jobs/task-job.js';

/** A pending task of the file. */
export interface PendingTask {
  /** It has its idempotency key until `idempotency.until`, which may have passed. */
  task: NewTask;
  /** Fields of the job's hash that a new job does not have. */
  fields: Readonly<Record<string, string | number>>;
  /** Its log, in the form of a log of BullMQ. */
  lines: readonly string[];
}

/** Maximum number of tasks that are read at once, and of their bytes. */
const atOnce = { tasks: 500, bytes: 8 * 1024 * 1024 };

const size = `length(args) + coalesce(length(tags), 0) + coalesce(length(stack), 0)
  + CASE attempt WHEN 0 THEN 0
    ELSE (SELECT coalesce(sum(length(stack) + coalesce(length(error_details), 0)), 0) FROM attempt
    WHERE attempt.task = rowid) END
  + CASE log_lines WHEN 0 THEN 0
    ELSE (SELECT coalesce(sum(length(message) + coalesce(length(fields), 0)), 0) FROM log
    WHERE log.task = rowid) END`;

const columns = `rowid, hex(task.id) AS id, partition.name, partition.queue, priority, tags,
  run_at AS runAt, deadline_at AS deadlineAt, attempts, max_interrupts AS interrupts, args,
  schedule, task.idempotency_key AS key, key.expires_at AS keyUntil, rerun_of, attempt,
  max_attempts, task.interrupts AS interrupted, started_at, error_name, error_message, stack,
  fingerprint`;

interface PendingRow
  extends Omit<TaskValues, 'source' | 'waitsFrom'>,
    Omit<ErrorColumns, 'error_details'> {
  rowid: number;
  rerun_of: Uint8Array | null;
  attempt: number;
  max_attempts: number;
  interrupted: number;
  started_at: number | null;
  fingerprint: string | null;
}

/** The task that an attempt or a log line belongs to. */
interface OfTask {
  task: number;
}

/**
 * Reads the next pending tasks, the oldest first. `after`: the id of the last task of the previous
 * call, or empty for the first call.
 */
export function readPending(database: Database, after: string): PendingTask[] {
  const sizes = database.all<{ id: string; size: number }>(
    `SELECT hex(id) AS id, ${size} AS size FROM task WHERE status = ${stateCode.pending} AND id > ?
      ORDER BY id LIMIT ?`,
    ...[idBytes(after), atOnce.tasks],
  );
  let bytes = 0;
  const fitting = sizes.findIndex((row, n) => {
    bytes += row.size;
    return bytes > atOnce.bytes && n > 0;
  });
  const last = sizes.at(fitting === -1 ? -1 : fitting - 1);
  if (!last) return [];
  const rows = database.all<PendingRow>(
    `SELECT ${columns} FROM task JOIN partition ON partition.id = task.partition
     LEFT JOIN idempotency AS key ON key.name = partition.name AND key.key = task.idempotency_key
       AND key.id = task.id AND released = 0
     WHERE status = ${stateCode.pending} AND task.id > ? AND task.id <= ? ORDER BY task.id`,
    ...[idBytes(after), idBytes(idOf(last.id))],
  );
  const rowids = JSON.stringify(rows.map(({ rowid }) => rowid));
  const attempts = byTask(
    database.all<AttemptRow & OfTask>(
      `SELECT task, number, status, started_at, ended_at, error_name, error_message, stack,
        error_details
       FROM attempt WHERE task IN (SELECT value FROM json_each(?)) ORDER BY task, number`,
      rowids,
    ),
  );
  const lines = byTask(
    database.all<Omit<LogRow, 'n'> & OfTask>(
      `SELECT task, at, attempt, level, late, message, fields FROM log WHERE task IN (SELECT value
        FROM json_each(?)) ORDER BY task, n`,
      rowids,
    ),
  );
  return rows.map((row) => taskOf(row, attempts.get(row.rowid) ?? [], lines.get(row.rowid) ?? []));
}

function byTask<Row extends OfTask>(rows: readonly Row[]): Map<number, Row[]> {
  const tasks = new Map<number, Row[]>();
  for (const row of rows) {
    const present = tasks.get(row.task);
    if (present) present.push(row);
    else tasks.set(row.task, [row]);
  }
  return tasks;
}

function taskOf(
  row: PendingRow,
  attempts: readonly AttemptRow[],
  lines: readonly Omit<LogRow, 'n'>[],
): PendingTask {
  return {
    task: {
      ...toNewTask({ ...row, id: idOf(row.id) }),
      ...(row.rerun_of !== null && { rerunOf: idOf(row.rerun_of) }),
    },
    fields: {
      ...historyOf(row, attempts),
      ...(lines.length > 0 && { [jobFields.logLines]: lines.length }),
    },
    lines: lines.map(lineOf),
  };
}

/** Returns the fields of a task that ran before: its attempts and its last error. */
function historyOf(row: PendingRow, attempts: readonly AttemptRow[]): PendingTask['fields'] {
  const { attempt, interrupted: interrupts, error_name: name, error_message, stack } = row;
  if (attempt === 0) return {};
  const seriesStart = row.max_attempts - row.attempts - interrupts;
  const records = attempts.map((each) => [
    attemptField(each.number),
    JSON.stringify(recordOf(each)),
  ]);
  const message = error_message ?? '';
  return {
    [jobFields.attempts]: attempt,
    ...(seriesStart > 0 && { [jobFields.seriesStart]: seriesStart }),
    ...(interrupts > 0 && { [jobFields.interrupts]: interrupts }),
    // BullMQ's own counts: of the present series, and of all starts.
    ...{ atm: Math.max(0, attempt - seriesStart - interrupts), ats: attempt },
    ...(row.started_at !== null && { processedOn: row.started_at }),
    ...(name !== null && {
      failedReason: message,
      stacktrace: JSON.stringify(stack === null ? [] : [stack]),
      [jobFields.error]: errorNote({
        name,
        message,
        stack: null,
        fingerprint: row.fingerprint ?? '',
      }),
    }),
    ...Object.fromEntries(records),
  };
}

function recordOf(row: AttemptRow): AttemptRecord {
  const { error_name: name, error_message: message, stack } = row;
  const error: StoredError | undefined =
    name === null
      ? undefined
      : { name, message: message ?? '', fingerprint: '', stack, ...detailsOf(row) };
  return {
    ...{
      start: row.started_at ?? 0,
      end: row.ended_at ?? 0,
      status: stateOf(row.status) as AttemptRecord['status'],
    },
    ...(error && { error }),
  };
}

function lineOf({ at, attempt, level, late, message, fields }: Omit<LogRow, 'n'>): string {
  return JSON.stringify({ at, level, message, fields, late: late === 1, attempt });
}
