import type { ScheduleState } from '../../tasks/engine.js';
import { isEnded } from '../../tasks/states.js';
import { timeOfTaskId } from '../../tasks/task-id.js';
import { type Attempt, type LogLevel, type LogLine, type TaskStatus, type TaskSummary, taskStatuses } from '../../tasks/types.js';
import type { Row, SqlValue } from './database.js';

/** The number a state is stored as. */
export const stateCode = Object.fromEntries(taskStatuses.map((status, n) => [status, n])) as Record<TaskStatus, number>;

/** The state of a number. */
export function stateOf(code: SqlValue | undefined): TaskStatus {
  const status = taskStatuses[Number(code)];
  if (!status) throw new RangeError(`${String(code)} is no state`);
  return status;
}

/** The 16 bytes of an id. */
export function idBytes(id: string): Uint8Array {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

/** The id of 16 bytes. */
export function idOf(bytes: SqlValue | undefined): string {
  const { buffer, byteOffset, length } = bytes as Uint8Array;
  const hex = Buffer.from(buffer, byteOffset, length).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The columns a summary is made of; all but the large ones. */
export const summaryColumns =
  '(SELECT name FROM lane WHERE lane.id = task.lane) AS name, (SELECT queue FROM lane WHERE lane.id = task.lane) AS queue, ' +
  'seq, id, status, priority, tags, source, run_at, started_at, ended_at, duration, attempt, max_attempts, cancelling, progress, progress_text, ' +
  'error_name, error_message, fingerprint';

const time = (value: SqlValue | undefined): string | null => (typeof value === 'number' ? new Date(value).toISOString() : null);
const text = (value: SqlValue | undefined): string => String(value ?? '');

/** A row of {@link summaryColumns} as lists and events show it. */
export function toSummary(row: Row): TaskSummary {
  const id = idOf(row.id);
  const status = stateOf(row.status);
  const ended = isEnded(status);
  return {
    id,
    name: text(row.name),
    status,
    queue: text(row.queue),
    priority: Number(row.priority),
    tags: row.tags ? (JSON.parse(text(row.tags)) as Record<string, string>) : {},
    source: row.source === 1 ? 'scheduled' : 'manual',
    createdAt: new Date(timeOfTaskId(id)).toISOString(),
    runAt: text(time(row.run_at)),
    startedAt: time(row.started_at),
    endedAt: ended ? time(row.ended_at) : null,
    duration: ended && typeof row.duration === 'number' ? row.duration / 1000 : null,
    attempt: Number(row.attempt),
    maxAttempts: Number(row.max_attempts),
    progress: typeof row.progress === 'number' ? row.progress : null,
    ...(typeof row.progress_text === 'string' && { progressText: row.progress_text }),
    error: row.error_name === null ? null : { name: text(row.error_name), message: text(row.error_message) },
    fingerprint: row.fingerprint === null ? null : text(row.fingerprint),
    ...(status === 'running' && row.cancelling === 1 && { engineState: 'cancelling' }),
  };
}

/** A row of the table `attempt`. */
export function toAttempt(row: Row): Attempt {
  return {
    number: Number(row.number),
    status: stateOf(row.status) as Attempt['status'],
    startedAt: text(time(row.started_at)),
    endedAt: time(row.ended_at),
    error:
      row.error_name === null
        ? null
        : { name: text(row.error_name), message: text(row.error_message), stack: row.stack === null ? null : text(row.stack) },
  };
}

/** A row of the table `log`. */
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

/** A row of the table `schedule`. */
export function toScheduleState(row: Row): ScheduleState {
  return {
    name: text(row.name),
    task: text(row.task),
    rule: text(row.rule),
    nextRunAt: time(row.next_at),
    lastRunAt: time(row.last_at),
    lastTaskId: row.last_id === null ? null : idOf(row.last_id),
    paused: row.paused_at !== null,
    skipped: Number(row.skipped),
  };
}
