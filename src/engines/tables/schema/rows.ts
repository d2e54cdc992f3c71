import type { Pause, ScheduleState } from '../../../tasks/queue-state.js';
import { isEnded } from '../../../tasks/states.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { ClaimedTask } from '../../../tasks/task-runner.js';
import type {
  Attempt,
  ErrorDetails,
  FailureGroup,
  LogLevel,
  LogLine,
  ProcessInfo,
  StuckAttempt,
  TaskSummary,
} from '../../../tasks/types.js';
import type { Row, SqlValue } from './database.js';
import { stateOf } from './states.js';

/** Returns the 16 bytes of an id. */
export function idBytes(id: string): Uint8Array {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

/** Returns the id that 16 bytes, or their hexadecimal digits, stand for. */
export function idOf(bytes: SqlValue | undefined): string {
  const hex = typeof bytes === 'string' ? bytes.toLowerCase() : hexOf(bytes as Uint8Array);
  const start = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}`;
  return `${start}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function hexOf({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('hex');
}

/** The columns of a summary, in the order of {@link PackedSummary}. */
const packed = [
  ...['hex(task.id)', 'partition.name', 'partition.queue'],
  ...[
    'status',
    'priority',
    'tags',
    'source',
    'run_at',
    'started_at',
    'ended_at',
    'duration',
    'attempt',
    'max_attempts',
  ],
  ...['cancelling', 'progress', 'progress_text', 'error_name', 'error_message', 'fingerprint'],
];

type PackedSummary = [
  id: string,
  name: string,
  queue: string,
  status: number,
  priority: number,
  tags: string | null,
  source: number,
  runAt: number,
  startedAt: number | null,
  endedAt: number | null,
  duration: number | null,
  attempt: number,
  maxAttempts: number,
  cancelling: number,
  progress: number | null,
  progressText: string | null,
  errorName: string | null,
  errorMessage: string | null,
  fingerprint: string | null,
];

/**
 * Recently formatted seconds. The times in a list are close together, and formatting a date is
 * costly.
 */
const seconds = new Map<number, string>();
const maxSeconds = 1000;

function time(value: SqlValue | undefined): string | null {
  if (typeof value !== 'number') return null;
  const second = Math.floor(value / 1000);
  const milliseconds = String(value - second * 1000).padStart(3, '0');
  return `${seconds.get(second) ?? writeSecond(second)}${milliseconds}Z`;
}

function writeSecond(second: number): string {
  const written = new Date(second * 1000).toISOString().slice(0, -4);
  if (seconds.size >= maxSeconds) seconds.clear();
  seconds.set(second, written);
  return written;
}

const text = (value: SqlValue | undefined): string => String(value ?? '');

const columns = `json_array(${packed.join(', ')})`;
const joined = 'task CROSS JOIN partition ON partition.id = task.partition';

/**
 * The columns of a summary. All but two are packed into one JSON text, because the driver takes
 * longer to return twenty values than SQLite takes to build that text.
 */
export const summaryColumns = `rowid, status, (SELECT ${columns} FROM partition
  WHERE partition.id = task.partition) AS summary`;

/** Selects the summaries of the tasks whose row ids are in a JSON list, as one JSON text. */
export const summariesOfRowids = `
  SELECT json_group_array(json_array(rowid, ${columns})) AS summaries
  FROM ${joined} WHERE rowid IN (SELECT value FROM json_each(?))`;

/** Converts a row of {@link summaryColumns} to the summary that lists and events show. */
export function toSummary(row: Row): TaskSummary {
  return summaryOf(JSON.parse(text(row.summary)) as PackedSummary);
}

/** Returns the summaries that {@link summariesOfRowids} selected, by row id. */
export function toSummaries(row: Row | undefined): Map<number, TaskSummary> {
  const summaries = JSON.parse(text(row?.summaries)) as [number, PackedSummary][];
  return new Map(summaries.map(([rowid, summary]) => [rowid, summaryOf(summary)]));
}

function summaryOf(summary: PackedSummary): TaskSummary {
  const [
    hex,
    name,
    queue,
    code,
    priority,
    tags,
    source,
    runAt,
    startedAt,
    endedAt,
    duration,
    attempt,
    maxAttempts,
    ...rest
  ] = summary;
  const [cancelling, progress, progressText, errorName, errorMessage, fingerprint] = rest;
  const id = idOf(hex);
  const status = stateOf(code);
  const ended = isEnded(status);
  return {
    id,
    name,
    status,
    queue,
    priority,
    tags: tags === null ? {} : (JSON.parse(tags) as Record<string, string>),
    source: source === 1 ? 'scheduled' : 'manual',
    createdAt: text(time(timeOfTaskId(id))),
    runAt: text(time(runAt)),
    startedAt: time(startedAt),
    endedAt: ended ? time(endedAt) : null,
    duration: ended && duration !== null ? duration / 1000 : null,
    attempt,
    maxAttempts,
    progress,
    ...(progressText !== null && { progressText }),
    error: errorName === null ? null : { name: errorName, message: errorMessage ?? '' },
    fingerprint,
    ...(status === 'running' && cancelling === 1 && { engineState: 'cancelling' }),
  };
}

/**
 * The fields of a claimed task that its process needs. Each row crosses between threads as JSON,
 * and an array takes a microsecond less than an object.
 */
export type ClaimedRow = [
  rowid: number,
  id: string,
  name: string,
  queue: string,
  tags: string | null,
  attempt: number,
  maxAttempts: number,
  attempts: number,
  logLines: number,
  deadlineAt: number | null,
  args: string,
];

/** Converts a claimed row to the task that a runner takes. */
export function toClaimed([
  ,
  id,
  name,
  queue,
  tags,
  attempt,
  maxAttempts,
  attempts,
  logLines,
  deadlineAt,
  args,
]: ClaimedRow): ClaimedTask {
  return {
    id: idOf(id),
    name,
    queue,
    tags: tags === null ? {} : (JSON.parse(tags) as Record<string, string>),
    attempt,
    args,
    tryNumber: attempt - (maxAttempts - attempts),
    logLines,
    deadlineAt: deadlineAt ?? undefined,
  };
}

/** Returns the number of characters of a claimed row's arguments. */
export function argsLength(row: ClaimedRow): number {
  return row[10].length;
}

/** Converts a row of the table `attempt`. */
export function toAttempt(row: Row): Attempt {
  return {
    number: Number(row.number),
    status: stateOf(row.status) as Attempt['status'],
    startedAt: text(time(row.started_at)),
    endedAt: time(row.ended_at),
    error:
      row.error_name === null
        ? null
        : {
            name: text(row.error_name),
            message: text(row.error_message),
            stack: row.stack === null ? null : text(row.stack),
            ...detailsOf(row),
          },
  };
}

/**
 * Returns the value of the column `error_details`: the code, cause and members of an error as JSON
 * text, or null if it has none of them.
 */
export function detailsText(error: ErrorDetails | null | undefined): string | null {
  if (!error) return null;
  const { code, cause, errors, truncated } = error;
  if (code === undefined && cause === undefined && errors === undefined && truncated === undefined)
    return null;
  return JSON.stringify({ code, cause, errors, truncated });
}

/**
 * Returns the details that {@link detailsText} stored in a row of the table `task` or `attempt`.
 */
export function detailsOf({ error_details: details }: Row): ErrorDetails {
  return typeof details === 'string' ? (JSON.parse(details) as ErrorDetails) : {};
}

/** Converts a row of the table `log`. */
export function toLogLine(row: Row): LogLine {
  return {
    n: Number(row.n),
    at: text(time(row.at)),
    attempt: Number(row.attempt),
    level: row.level as LogLevel,
    message: text(row.message),
    fields: row.fields === null ? null : (JSON.parse(text(row.fields)) as Record<string, unknown>),
    ...(row.late === 1 && { late: true as const }),
  };
}

/** Converts a row of the table `worker` together with the number of its running tasks. */
export function toWorker(row: Row, lastSign: number): ProcessInfo {
  return {
    id: text(row.owner),
    host: text(row.host),
    pid: Number(row.pid),
    version: text(row.version),
    slots: Number(row.slots),
    running: Number(row.running),
    stuck: Number(row.stuck),
    stuckAttempts: JSON.parse(text(row.stuck_attempts)) as StuckAttempt[],
    startedAt: text(time(row.started_at)),
    lastSign,
  };
}

/**
 * Converts a row of `failure_group` together with the name of its function, its number of failed
 * tasks and its trend.
 */
export function toFailureGroup(row: Row, trend: readonly number[]): FailureGroup {
  return {
    fingerprint: text(row.fingerprint),
    name: text(row.name),
    error: { name: text(row.error_name), message: text(row.error_message) },
    count: Number(row.n),
    failed: Number(row.failed ?? 0),
    first: text(time(row.first_at)),
    last: text(time(row.last_at)),
    lastTaskId: idOf(row.last_id),
    trend,
  };
}

/**
 * Returns who paused a queue or a schedule, when and why, from the columns `at`, `paused_by` and
 * `reason`.
 */
export function toPause({ at, paused_by: by, reason }: Row): Pause {
  return { by: text(by), at: text(time(at)), reason: reason === null ? null : text(reason) };
}

/**
 * Milliseconds after which a schedule that no process defines counts as undefined. A deploy that
 * stops all processes before it starts new ones takes less time.
 */
const undefinedAfter = 60_000;

/** Returns whether a schedule counts as undefined. */
export function isUndefined({ undefined_at: since }: Row, at: number): boolean {
  return typeof since === 'number' && since <= at - undefinedAfter;
}

/** Converts a row of the table `schedule`. */
export function toScheduleState(row: Row, now: number): ScheduleState {
  return {
    name: text(row.name),
    task: text(row.task),
    rule: text(row.rule),
    nextRunAt: row.paused_at === null ? time(row.next_at) : null,
    lastRunAt: time(row.last_at),
    lastTaskId: row.last_id === null ? null : idOf(row.last_id),
    paused: row.paused_at !== null,
    pause:
      row.paused_at === null
        ? null
        : toPause({ ...row, at: row.paused_at ?? null, reason: row.pause_reason ?? null }),
    skipped: Number(row.skipped),
    undefinedSince: isUndefined(row, now) ? time(row.undefined_at) : null,
  };
}
