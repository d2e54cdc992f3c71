import type { Queue } from 'bullmq';
import type { LogQuery } from '../../../tasks/engine-queries.js';
import { type LogLevel, type LogLine, logLevels } from '../../../tasks/types.js';
import { storedObject } from '../connection/stored-object.js';
import { isoTime } from '../jobs/job-view.js';

/** Maximum number of log lines that a filtered query searches. */
const maxLines = 10_000;

/** The stored lines of one log. */
export interface LineSource {
  count(): Promise<number>;
  /**
   * Reads the lines from index `start` up to, but not including, `end`, or fewer if they are long.
   * `first` is the index of the first line returned.
   */
  lines(start: number, end: number): Promise<{ lines: readonly string[]; first: number }>;
}

/**
 * Returns the log that BullMQ stores for a job. This does not use BullMQ's `getJobLogs`, because it
 * reads in a transaction, which Redis refuses if its memory is full.
 */
export function logOf(queue: Queue, id: string): LineSource {
  const key = queue.toKey(`${id}:logs`);
  const { client } = queue.getBackend();
  return {
    count: async () => (await client).llen(key),
    lines: async (first, end) => ({
      lines: await (await client).lrange(key, first, end - 1),
      first,
    }),
  };
}

/**
 * Reads lines of a task's log. This package stores a line as a JSON object. A line of another
 * program is text, whose attempt is not known, so a query for any attempt returns it.
 */
export async function readLines(log: LineSource, query: LogQuery): Promise<LogLine[]> {
  const { after = 0, before, limit = 500, attempt, level, text } = query;
  const isFiltered = attempt !== undefined || level !== undefined || text !== undefined;
  const count = await log.count();
  const end = before === undefined ? count : Math.min(count, before - 1);
  const size = isFiltered ? maxLines : limit;
  const start = before === undefined ? after : Math.max(after, end - size);
  if (start >= end) return [];
  const { lines: stored, first } = await log.lines(start, Math.min(end, start + size));
  const lines = stored
    .map((line, index) => lineOf(line, first + index + 1))
    .filter((line) => isWanted(line, query));
  return before === undefined ? lines.slice(0, limit) : lines.slice(-limit);
}

function lineOf(stored: string, n: number): LogLine {
  const { at, level, message, fields, attempt, late } = storedObject(stored);
  // A line of another program is text.
  if (typeof at !== 'number' || typeof message !== 'string' || !isLevel(level))
    return { n, at: null, attempt: null, level: 'info', message: stored, fields: null };
  return {
    n,
    at: isoTime(at),
    attempt: Number(attempt) || null,
    level,
    message,
    fields: typeof fields === 'string' ? storedObject(fields) : null,
    ...(late === true && { late }),
  };
}

function isLevel(level: unknown): level is LogLevel {
  return (logLevels as readonly unknown[]).includes(level);
}

function isWanted(line: LogLine, { attempt, level, text }: LogQuery): boolean {
  if (attempt !== undefined && line.attempt !== null && line.attempt !== attempt) return false;
  if (level !== undefined && logLevels.indexOf(line.level) < logLevels.indexOf(level)) return false;
  if (text === undefined) return true;
  const searched = `${line.message}\n${line.fields === null ? '' : JSON.stringify(line.fields)}`;
  return searched.toLowerCase().includes(text.toLowerCase());
}
