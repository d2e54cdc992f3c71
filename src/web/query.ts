import { createHash } from 'node:crypto';
import { TaskflowError } from '../errors.js';
import type { AuditQuery } from '../http/access.js';
import type { MetricsRange, TaskQuery } from '../tasks/engine.js';
import { type TaskStatus, taskStatuses } from '../tasks/types.js';
import type { ExportFormat } from './export.js';

/** The parameters of a query, each known and given once unless it may repeat. */
class Parameters {
  readonly #values: URLSearchParams;

  constructor(querystring: string, known: readonly string[], repeatable: readonly string[] = []) {
    this.#values = new URLSearchParams(querystring);
    for (const name of new Set(this.#values.keys())) {
      if (!known.includes(name))
        throw invalid(`There is no parameter ${JSON.stringify(name.slice(0, 64))}; there are: ${known.join(', ')}.`);
      if (!repeatable.includes(name) && this.#values.getAll(name).length > 1) throw invalid(`${name} may be given once.`);
    }
  }

  one(name: string): string | undefined {
    return this.#values.get(name) ?? undefined;
  }

  all(name: string): readonly string[] {
    return this.#values.getAll(name);
  }

  whole(name: string, min: number, max: number): number | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw invalid(`${name} must be a whole number from ${min} to ${max}.`);
    return value;
  }

  /** ISO 8601, or a time before now such as `-6h`. Unix milliseconds. */
  time(name: string, now: number): number | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    const relative = /^-(\d{1,6})([smhd])$/.exec(text);
    if (relative) return now - Number(relative[1]) * unitMilliseconds[relative[2] as keyof typeof unitMilliseconds];
    const value = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(value)) throw invalid(`${name} must be a time such as 2026-11-03T14:00:00Z, or -6h, -7d relative to now.`);
    return value;
  }
}

const unitMilliseconds = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function invalid(detail: string): TaskflowError {
  return new TaskflowError('INVALID_INPUT', detail);
}

/** What a cursor is good for: the same filters, with any limit. */
function fingerprintOf(status: readonly string[], name: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify([[...status].sort(), name ?? null]))
    .digest('base64url')
    .slice(0, 8);
}

const taskId = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether a text has the form of a task's id (UUIDv7). */
export function isTaskId(text: string): boolean {
  return taskId.test(text);
}

/** A list's query, and how to make the cursor of its next page. */
export interface ListQuery {
  query: TaskQuery;
  cursor(next: string | null): string | null;
}

/** Reads the query of a list. @throws TaskflowError INVALID_INPUT or INVALID_CURSOR naming what is wrong. */
export function readListQuery(querystring: string): ListQuery {
  const parameters = new Parameters(querystring, ['status', 'name', 'limit', 'cursor'], ['status']);
  const { status, name } = readFilters(parameters);
  const filters = fingerprintOf(status ?? [], name);
  return {
    query: {
      status,
      name,
      limit: parameters.whole('limit', 1, 500) ?? 50,
      after: readCursor(parameters.one('cursor'), filters),
    },
    cursor: (next) => next && Buffer.from(`${filters}.${next}`).toString('base64url'),
  };
}

/** Which tasks a list or an export shows. */
function readFilters(parameters: Parameters): Pick<TaskQuery, 'status' | 'name'> {
  const status = parameters.all('status');
  const name = parameters.one('name');
  for (const each of status) {
    if (!(taskStatuses as readonly string[]).includes(each)) throw invalid(`status must be one of ${taskStatuses.join(', ')}.`);
  }
  if (name !== undefined && (name === '' || name.length > 128)) throw invalid('name must have 1 to 128 characters.');
  return { status: status.length === 0 ? undefined : ([...new Set(status)] as TaskStatus[]), name };
}

/** Reads the query of an export. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export function readExportQuery(querystring: string): { query: TaskQuery; format: ExportFormat } {
  const parameters = new Parameters(querystring, ['format', 'status', 'name'], ['status']);
  const format = parameters.one('format');
  if (format !== 'csv' && format !== 'ndjson') throw invalid('format must be csv or ndjson.');
  return { query: { ...readFilters(parameters), limit: 500 }, format };
}

function readCursor(cursor: string | undefined, filters: string): string | undefined {
  if (cursor === undefined) return undefined;
  const text = /^[\w-]{1,200}$/.test(cursor) ? Buffer.from(cursor, 'base64url').toString() : '';
  const [of, position = ''] = text.split('.', 2);
  if (!isTaskId(position)) throw new TaskflowError('INVALID_CURSOR', 'cursor is not one that a list gave.');
  if (of !== filters) throw new TaskflowError('INVALID_CURSOR', 'cursor belongs to a list with other filters.');
  return position;
}

const outcomes = ['done', 'refused', 'failed'] as const;

/** Reads the query of the audit. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export function readAuditQuery(querystring: string, now: number): AuditQuery {
  const parameters = new Parameters(querystring, ['action', 'actor', 'outcome', 'from', 'to', 'limit', 'cursor']);
  const text = (name: string): string | undefined => {
    const value = parameters.one(name);
    if (value !== undefined && (value === '' || value.length > 256)) throw invalid(`${name} must have 1 to 256 characters.`);
    return value;
  };
  const outcome = parameters.one('outcome');
  const known = outcomes.find((each) => each === outcome);
  if (outcome !== undefined && !known) throw invalid(`outcome must be one of ${outcomes.join(', ')}.`);
  return {
    action: text('action'),
    actor: text('actor'),
    outcome: known,
    from: parameters.time('from', now),
    to: parameters.time('to', now),
    limit: parameters.whole('limit', 1, 500) ?? 50,
    cursor: parameters.one('cursor'),
  };
}

/** Points of a series, at most. */
const maxPoints = 1500;

/** Reads the query of the metrics. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export function readMetricsQuery(querystring: string, now: number): MetricsRange {
  const parameters = new Parameters(querystring, ['from', 'to', 'step']);
  const from = parameters.time('from', now);
  const to = parameters.time('to', now);
  const step = parameters.whole('step', 60, 31_536_000);
  const end = to ?? now;
  if (from !== undefined && from >= end) throw invalid('from must be before to.');
  if (step !== undefined && (end - (from ?? end - unitMilliseconds.d)) / (step * 1000) > maxPoints)
    throw invalid(`step is too small for the range: the series has at most ${maxPoints} points.`);
  return { from, to, step };
}
