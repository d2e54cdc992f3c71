import type { NewTask } from '../../../tasks/new-task.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { StoredError } from '../../../tasks/task-runner.js';
import type { Database, Row } from '../../tables/schema/database.js';
import { detailsOf, idBytes, idOf } from '../../tables/schema/rows.js';
import { stateCode, stateOf } from '../../tables/schema/states.js';
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

const columns = `rowid, task.id, partition.name, partition.queue, priority, tags, run_at,
  deadline_at, attempts, max_attempts, max_interrupts, args, task.idempotency_key, schedule,
  rerun_of, attempt, interrupts, started_at, error_name, error_message, fingerprint,
  stack, key.expires_at`;

/**
 * Reads the next pending tasks, the oldest first. `after`: the id of the last task of the previous
 * call, or empty for the first call.
 */
export function readPending(database: Database, after: string): PendingTask[] {
  const sizes = database.all(
    `SELECT hex(id) AS id, ${size} AS size FROM task WHERE status = ${stateCode.pending} AND id > ?
      ORDER BY id LIMIT ?`,
    ...[idBytes(after), atOnce.tasks],
  );
  let bytes = 0;
  const fitting = sizes.findIndex((row, n) => {
    bytes += Number(row.size);
    return bytes > atOnce.bytes && n > 0;
  });
  const last = sizes.at(fitting === -1 ? -1 : fitting - 1);
  if (!last) return [];
  const rows = database.all(
    `SELECT ${columns} FROM task JOIN partition ON partition.id = task.partition
     LEFT JOIN idempotency AS key ON key.name = partition.name AND key.key = task.idempotency_key
       AND key.id = task.id AND released = 0
     WHERE status = ${stateCode.pending} AND task.id > ? AND task.id <= ? ORDER BY task.id`,
    ...[idBytes(after), idBytes(idOf(last.id))],
  );
  const rowids = JSON.stringify(rows.map(({ rowid }) => rowid));
  const attempts = byTask(
    database.all(
      `SELECT task, number, status, started_at, ended_at, error_name, error_message, stack,
        error_details
       FROM attempt WHERE task IN (SELECT value FROM json_each(?)) ORDER BY task, number`,
      rowids,
    ),
  );
  const lines = byTask(
    database.all(
      `SELECT task, at, attempt, level, late, message, fields FROM log WHERE task IN (SELECT value
        FROM json_each(?)) ORDER BY task, n`,
      rowids,
    ),
  );
  return rows.map((row) => taskOf(row, attempts.get(row.rowid) ?? [], lines.get(row.rowid) ?? []));
}

function byTask(rows: readonly Row[]): Map<unknown, Row[]> {
  const tasks = new Map<unknown, Row[]>();
  for (const row of rows) {
    const present = tasks.get(row.task);
    if (present) present.push(row);
    else tasks.set(row.task, [row]);
  }
  return tasks;
}

function taskOf(row: Row, attempts: readonly Row[], lines: readonly Row[]): PendingTask {
  const id = idOf(row.id);
  const { tags, schedule, deadline_at: deadline, rerun_of: rerunOf, idempotency_key: key } = row;
  return {
    task: {
      ...{
        id,
        name: String(row.name),
        queue: String(row.queue),
        priority: Number(row.priority),
        args: String(row.args),
      },
      ...{
        source: schedule === null ? 'manual' : 'scheduled',
        createdAt: timeOfTaskId(id),
        runAt: Number(row.run_at),
      },
      ...{ attempts: Number(row.attempts), interrupts: Number(row.max_interrupts) },
      tags: tags === null ? {} : (JSON.parse(String(tags)) as Record<string, string>),
      ...(schedule !== null && { schedule: String(schedule) }),
      ...(deadline !== null && { deadlineAt: Number(deadline) }),
      ...(rerunOf !== null && { rerunOf: idOf(rerunOf) }),
      ...(key !== null && { idempotency: { key: String(key), until: Number(row.expires_at) } }),
    },
    fields: {
      ...historyOf(row, attempts),
      ...(lines.length > 0 && { [jobFields.logLines]: lines.length }),
    },
    lines: lines.map(lineOf),
  };
}

/** Returns the fields of a task that ran before: its attempts and its last error. */
function historyOf(row: Row, attempts: readonly Row[]): PendingTask['fields'] {
  const attempt = Number(row.attempt);
  if (attempt === 0) return {};
  const interrupts = Number(row.interrupts);
  const seriesStart = Number(row.max_attempts) - Number(row.attempts) - interrupts;
  const records = attempts.map((each) => [
    attemptField(Number(each.number)),
    JSON.stringify(recordOf(each)),
  ]);
  const message = String(row.error_message ?? '');
  return {
    [jobFields.attempts]: attempt,
    ...(seriesStart > 0 && { [jobFields.seriesStart]: seriesStart }),
    ...(interrupts > 0 && { [jobFields.interrupts]: interrupts }),
    // BullMQ's own counts: of the present series, and of all starts.
    ...{ atm: Math.max(0, attempt - seriesStart - interrupts), ats: attempt },
    ...(row.started_at !== null && { processedOn: Number(row.started_at) }),
    ...(row.error_name !== null && {
      failedReason: message,
      stacktrace: JSON.stringify(row.stack === null ? [] : [row.stack]),
      [jobFields.error]: errorNote({
        name: String(row.error_name),
        message,
        stack: null,
        fingerprint: String(row.fingerprint ?? ''),
      }),
    }),
    ...Object.fromEntries(records),
  };
}

function recordOf(row: Row): AttemptRecord {
  const error: StoredError | undefined =
    row.error_name === null
      ? undefined
      : {
          ...{
            name: String(row.error_name),
            message: String(row.error_message ?? ''),
            fingerprint: '',
          },
          ...{ stack: row.stack === null ? null : String(row.stack), ...detailsOf(row) },
        };
  return {
    ...{
      start: Number(row.started_at),
      end: Number(row.ended_at),
      status: stateOf(row.status) as AttemptRecord['status'],
    },
    ...(error && { error }),
  };
}

function lineOf({ at, attempt, level, late, message, fields }: Row): string {
  return JSON.stringify({ at, level, message, fields, late: late === 1, attempt });
}
