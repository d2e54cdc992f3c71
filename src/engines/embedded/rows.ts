import { isEnded } from '../../tasks/states.js';
import type { Attempt, LogLevel, LogLine, TaskStatus, TaskSummary } from '../../tasks/types.js';
import type { Row, SqlValue } from './database.js';

/** The columns a summary is made of; all but the large ones. */
export const summaryColumns =
  'id, rev, name, status, queue, priority, tags, source, created_at, run_at, started_at, ended_at, attempt, max_attempts, cancelling, error_name, error_message, fingerprint';

const time = (value: SqlValue | undefined): string | null => (typeof value === 'number' ? new Date(value).toISOString() : null);
const text = (value: SqlValue | undefined): string => String(value ?? '');

/** A row of {@link summaryColumns} as lists and events show it. */
export function toSummary(row: Row): TaskSummary {
  const status = row.status as TaskStatus;
  const ended = isEnded(status);
  const { started_at: started, ended_at: end } = row;
  return {
    id: text(row.id),
    name: text(row.name),
    status,
    queue: text(row.queue),
    priority: Number(row.priority),
    tags: row.tags ? (JSON.parse(text(row.tags)) as Record<string, string>) : {},
    source: row.source === 'scheduled' ? 'scheduled' : 'manual',
    createdAt: text(time(row.created_at)),
    runAt: text(time(row.run_at)),
    startedAt: time(started),
    endedAt: ended ? time(end) : null,
    duration: ended && typeof started === 'number' && typeof end === 'number' ? (end - started) / 1000 : null,
    attempt: Number(row.attempt),
    maxAttempts: Number(row.max_attempts),
    progress: null,
    error: row.error_name === null ? null : { name: text(row.error_name), message: text(row.error_message) },
    fingerprint: row.fingerprint === null ? null : text(row.fingerprint),
    ...(status === 'running' && row.cancelling === 1 && { engineState: 'cancelling' }),
  };
}

/** A row of the table `attempt`. */
export function toAttempt(row: Row): Attempt {
  return {
    number: Number(row.number),
    status: row.status as Attempt['status'],
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
  };
}
