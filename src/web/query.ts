import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { TaskflowError } from '../errors.js';
import type { AuditQuery } from '../http/access.js';
import type { FailureQuery, LogQuery, MetricsRange, SortKey, TaskFilter, TaskQuery } from '../tasks/engine.js';
import type { ExportFormat } from './export.js';
import { readQuery } from './read-input.js';
import type * as Schemas from './schemas.js';
import { readTime } from './time-text.js';

/** The schemas, loaded with the first request that needs them. */
export const loadSchemas = (): Promise<typeof Schemas> => import('./schemas.js');

/** A list's query, and how to make the cursor of its next page. */
export interface ListQuery {
  query: TaskQuery;
  cursor(next: string | null): string | null;
}

type ListInput = z.output<typeof Schemas.listQuery>;

/** Reads the query of a list. @throws TaskflowError INVALID_INPUT or INVALID_CURSOR naming what is wrong. */
export async function readListQuery(querystring: string, now: number): Promise<ListQuery> {
  const { listQuery } = await loadSchemas();
  const { limit = 50, cursor, ...wish } = readQuery(listQuery, querystring);
  const list = fingerprintOf(wish);
  return {
    query: { ...conditions(wish, now), limit, after: readCursor(cursor, list) },
    cursor: cursorOf(list),
  };
}

function cursorOf(list: string): ListQuery['cursor'] {
  return (next) => next && Buffer.from(`${list}.${next}`).toString('base64url');
}

/** Reads the query of an export. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readExportQuery(querystring: string, now: number): Promise<{ query: TaskQuery; format: ExportFormat }> {
  const { exportQuery } = await loadSchemas();
  const { format, ...wish } = readQuery(exportQuery, querystring);
  return { query: { ...conditions(wish, now), limit: 500 }, format };
}

/** Which tasks, in which order. */
function conditions(
  { sort = '-createdAt', ...filter }: Omit<ListInput, 'limit' | 'cursor'>,
  now: number,
): Omit<TaskQuery, 'limit' | 'after'> {
  const descending = sort.startsWith('-');
  return {
    ...filterOf(filter, now),
    sort: (descending ? sort.slice(1) : sort) as SortKey,
    order: descending ? 'descending' : 'ascending',
  };
}

/** A filter as the engine takes it. */
export function filterOf({ status, tag, q, from, to, ...same }: Omit<ListInput, 'limit' | 'cursor' | 'sort'>, now: number): TaskFilter {
  return { ...same, ...range({ from, to }, now), status: status && [...new Set(status)], tags: tag?.map(tagOf), text: q };
}

/** A key, or a key and its value after the first colon. */
function tagOf(text: string): { key: string; value?: string } {
  const colon = text.indexOf(':');
  return colon < 0 ? { key: text } : { key: text.slice(0, colon), value: text.slice(colon + 1) };
}

/** What a cursor is good for: the same filters and sort, with any limit. */
function fingerprintOf(wish: Readonly<Record<string, unknown>>): string {
  const sorted = Object.entries(wish).map(([name, value]): [string, unknown] => [name, Array.isArray(value) ? [...value].sort() : value]);
  return createHash('sha256')
    .update(JSON.stringify(sorted.sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('base64url')
    .slice(0, 8);
}

/** The engine checks the position itself, of which it alone knows the form. */
function readCursor(cursor: string | undefined, list: string): string | undefined {
  if (cursor === undefined) return undefined;
  const text = /^[\w-]+$/.test(cursor) ? Buffer.from(cursor, 'base64url').toString() : '';
  const dot = text.indexOf('.');
  if (dot !== list.length) throw new TaskflowError('INVALID_CURSOR', 'cursor is not one that a list gave.');
  if (text.slice(0, dot) !== list) throw new TaskflowError('INVALID_CURSOR', 'cursor belongs to a list with other filters.');
  return text.slice(dot + 1);
}

/** Reads the query of the kinds of failure. @throws TaskflowError INVALID_INPUT or INVALID_CURSOR naming what is wrong. */
export async function readFailureQuery(querystring: string, now: number): Promise<{ query: FailureQuery; cursor: ListQuery['cursor'] }> {
  const { failureQuery } = await loadSchemas();
  const { limit = 50, cursor, name, from } = readQuery(failureQuery, querystring);
  const list = fingerprintOf({ failures: true, name, from });
  return { query: { name, ...range({ from }, now), limit, after: readCursor(cursor, list) }, cursor: cursorOf(list) };
}

/** Reads the stretch of time of figures. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readFiguresQuery(querystring: string, now: number): Promise<MetricsRange> {
  const { figuresQuery } = await loadSchemas();
  return range(readQuery(figuresQuery, querystring), now);
}

/** Refuses parameters where there are none. @throws TaskflowError INVALID_INPUT. */
export async function readNoQuery(querystring: string): Promise<void> {
  if (querystring === '') return;
  const { noQuery } = await loadSchemas();
  readQuery(noQuery, querystring);
}

/** Reads the time before which history is deleted. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readHistoryQuery(querystring: string, now: number): Promise<{ before: number; dryRun: boolean }> {
  const { historyQuery } = await loadSchemas();
  const { before, dryRun } = readQuery(historyQuery, querystring);
  return { before: readTime(before, now) ?? 0, dryRun: dryRun === 'true' };
}

/** Reads the query of a task. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readDetailQuery(querystring: string): Promise<{ logLines: number | undefined }> {
  if (querystring === '') return { logLines: undefined };
  const { detailQuery } = await loadSchemas();
  return { logLines: readQuery(detailQuery, querystring).logs };
}

/** Reads the query of a task's log. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readLogQuery(querystring: string): Promise<LogQuery & { limit: number }> {
  const { logQuery } = await loadSchemas();
  const { q, limit = 500, ...same } = readQuery(logQuery, querystring);
  if (same.after !== undefined && same.before !== undefined)
    throw new TaskflowError('INVALID_INPUT', 'Give either after or before: lines are counted from one end.');
  return { ...same, limit, text: q };
}

/** Reads the query of the audit. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readAuditQuery(querystring: string, now: number): Promise<AuditQuery> {
  const { auditQuery } = await loadSchemas();
  const { action, actor, outcome, limit = 50, cursor, ...times } = readQuery(auditQuery, querystring);
  return { action, actor, outcome, limit, cursor, ...range(times, now) };
}

/** Reads the query of an export of the audit. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readAuditExportQuery(querystring: string, now: number): Promise<{ query: AuditQuery; format: ExportFormat }> {
  const { auditExportQuery } = await loadSchemas();
  const { format, action, actor, outcome, ...times } = readQuery(auditExportQuery, querystring);
  return { query: { action, actor, outcome, ...range(times, now) }, format };
}

/** Points of a series, at most. */
const maxPoints = 1500;
const day = 86_400_000;

/** Reads the query of the metrics. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readMetricsQuery(querystring: string, now: number): Promise<MetricsRange> {
  const { metricsQuery } = await loadSchemas();
  const { step, ...times } = readQuery(metricsQuery, querystring);
  const { from, to } = range(times, now);
  const end = to ?? now;
  if (from !== undefined && from >= end) throw new TaskflowError('INVALID_INPUT', 'from must be before to.');
  if (step !== undefined && (end - (from ?? end - day)) / (step * 1000) > maxPoints)
    throw new TaskflowError('INVALID_INPUT', `step is too small for the range: the series has at most ${maxPoints} points.`);
  return { from, to, step };
}

/** Times as Unix milliseconds; the schema has let none through that is not one. */
function range(
  { from, to }: { from?: string | undefined; to?: string | undefined },
  now: number,
): { from: number | undefined; to: number | undefined } {
  const read = (text: string | undefined): number | undefined => (text === undefined ? undefined : readTime(text, now));
  return { from: read(from), to: read(to) };
}
