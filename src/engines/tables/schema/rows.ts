import type { Pause, ScheduleState } from '../../../tasks/queue-state.js';
import type {
  Attempt,
  ErrorDetails,
  FailureGroup,
  LogLevel,
  LogLine,
  ProcessInfo,
} from '../../../tasks/types.js';
import { stateOf } from './states.js';

/** Returns the 16 bytes of an id. */
export function idBytes(id: string): Uint8Array {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

/** Returns the id that 16 bytes, or their hexadecimal digits, stand for. */
export function idOf(bytes: Uint8Array | string): string {
  const hex =
    typeof bytes === 'string'
      ? bytes.toLowerCase()
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
  const start = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}`;
  return `${start}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Returns the id in a column that can be NULL. */
export function optionalId(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : idOf(bytes);
}

/** Returns the tags in a column `tags`, which is NULL if a task has none. */
export function tagsOf(tags: string | null): Record<string, string> {
  return tags === null ? {} : JSON.parse(tags);
}

/**
 * Recently formatted seconds. The times in a list are close together, and formatting a date is
 * costly.
 */
const seconds = new Map<number, string>();
const maxSeconds = 1000;

/** Returns the text of a time in Unix milliseconds. */
export function time(value: number): string {
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

/** Returns the text of a time that can be NULL. */
export function optionalTime(value: number | null): string | null {
  return value === null ? null : time(value);
}

/** The columns by which ended tasks are sorted. */
export interface EndedRow {
  id: Uint8Array;
  ended_at: number | null;
}

/** Compares two tasks by end time, then by id. */
export function compareEnds(a: EndedRow, b: EndedRow): number {
  return (a.ended_at ?? 0) - (b.ended_at ?? 0) || Buffer.compare(a.id, b.id);
}

/** The columns of an error, which are NULL in a row without an error. */
export interface ErrorColumns {
  error_name: string | null;
  error_message: string | null;
  stack: string | null;
  error_details: string | null;
}

/** A row of the table `attempt`. */
export interface AttemptRow extends ErrorColumns {
  number: number;
  status: number;
  started_at: number | null;
  ended_at: number | null;
}

/** Converts a row of the table `attempt`. */
export function toAttempt(row: AttemptRow): Attempt {
  const { number, error_name: name, error_message: message, stack } = row;
  return {
    number,
    status: stateOf(row.status) as Attempt['status'],
    startedAt: optionalTime(row.started_at) ?? '',
    endedAt: optionalTime(row.ended_at),
    error: name === null ? null : { name, message: message ?? '', stack, ...detailsOf(row) },
  };
}

/**
 * Returns the value of the column `error_details`: the code, cause and members of an error as JSON
 * text, or null if it has none of them.
 */
export function detailsText({ code, cause, errors, truncated }: ErrorDetails): string | null {
  const text = JSON.stringify({ code, cause, errors, truncated });
  return text === '{}' ? null : text;
}

/**
 * Returns the details that {@link detailsText} stored in a row of the table `task` or `attempt`.
 */
export function detailsOf({
  error_details: details,
}: Pick<ErrorColumns, 'error_details'>): ErrorDetails {
  return details === null ? {} : JSON.parse(details);
}

/** A row of the table `log`. */
export interface LogRow {
  n: number;
  at: number;
  attempt: number;
  level: LogLevel;
  late: number;
  message: string;
  fields: string | null;
}

/** Converts a row of the table `log`. */
export function toLogLine({ n, at, attempt, level, late, message, fields }: LogRow): LogLine {
  return {
    n,
    at: time(at),
    attempt,
    level,
    message,
    fields: fields === null ? null : JSON.parse(fields),
    ...(late === 1 && { late: true as const }),
  };
}

/** The columns of a process, with the number of its running tasks. */
export interface ProcessRow extends Omit<ProcessInfo, 'stuckAttempts' | 'startedAt' | 'lastSign'> {
  stuckAttempts: string;
  startedAt: number;
}

/** Converts a process. `lastSign`: the seconds since its last heartbeat. */
export function toProcess(row: ProcessRow, lastSign: number): ProcessInfo {
  const stuckAttempts = JSON.parse(row.stuckAttempts);
  return { ...row, stuckAttempts, startedAt: time(row.startedAt), lastSign };
}

/** The columns of a failure group, with the name of its function and its number of failed tasks. */
export interface FailureRow
  extends Omit<FailureGroup, 'error' | 'first' | 'last' | 'lastTaskId' | 'trend'> {
  errorName: string;
  errorMessage: string;
  first: number;
  last: number;
  lastTaskId: Uint8Array;
}

/** Converts a failure group with its trend. */
export function toFailureGroup(row: FailureRow, trend: readonly number[]): FailureGroup {
  const { errorName: name, errorMessage: message, first, last, lastTaskId, ...group } = row;
  return {
    ...group,
    error: { name, message },
    first: time(first),
    last: time(last),
    lastTaskId: idOf(lastTaskId),
    trend,
  };
}

/** A row of the table `paused`. */
export interface PauseRow {
  queue: string;
  at: number;
  paused_by: string;
  reason: string | null;
}

/** Returns who paused a queue or a schedule, when and why. */
export function toPause({ at, paused_by: by, reason }: Omit<PauseRow, 'queue'>): Pause {
  return { by, at: time(at), reason };
}

/** A row of the table `schedule`. */
export interface ScheduleRow {
  name: string;
  task: string;
  rule: string;
  /** The packed task from which each run is created, as JSON text. */
  template: string;
  next_at: number | null;
  paused_at: number | null;
  paused_by: string;
  pause_reason: string | null;
  last_at: number | null;
  last_id: Uint8Array | null;
  skipped: number;
  undefined_at: number | null;
}

/**
 * Milliseconds after which a schedule that no process defines counts as undefined. A deploy that
 * stops all processes before it starts new ones takes less time.
 */
const undefinedAfter = 60_000;

/** Returns whether a schedule counts as undefined that no process has defined since a time. */
export function isUndefined(since: number | null, at: number): boolean {
  return since !== null && since <= at - undefinedAfter;
}

/** Returns the pause of a schedule, or null if it is not paused. */
export function schedulePause(row: ScheduleRow): Pause | null {
  const { paused_at: at, pause_reason: reason, paused_by } = row;
  return at === null ? null : toPause({ at, paused_by, reason });
}

/** Converts a row of the table `schedule`. */
export function toScheduleState(row: ScheduleRow, now: number): ScheduleState {
  const pause = schedulePause(row);
  const { name, task, rule, skipped } = row;
  return {
    name,
    task,
    rule,
    nextRunAt: pause ? null : optionalTime(row.next_at),
    lastRunAt: optionalTime(row.last_at),
    lastTaskId: optionalId(row.last_id),
    paused: pause !== null,
    pause,
    skipped,
    undefinedSince: isUndefined(row.undefined_at, now) ? optionalTime(row.undefined_at) : null,
  };
}
