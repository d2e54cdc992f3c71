import type { z } from 'zod';
import { runInEmptyContext } from '../empty-context.js';
import { TaskflowError } from '../errors.js';
import type { AuditQuery } from '../http/access.js';
import { readRangeQuery } from '../tasks/read-queries.js';
import type {
  DetailQuery,
  FailuresQuery,
  FindQuery,
  LinesQuery,
  RangeQuery,
} from '../tasks/source.js';
import { readTime } from '../tasks/time-text.js';
import type { ExportFormat } from './export.js';
import { readQuery } from './read-input.js';
import type * as Schemas from './schemas.js';

/*
 * Reads query strings into the queries of a TaskSource, which have the same names. An error names the wrong parameter, and
 * defaults that only HTTP has are filled in.
 */

/** The schemas, loaded with the first request that needs them. */
export const loadSchemas = (): Promise<typeof Schemas> =>
  runInEmptyContext(() => import('./schemas.js'));

/** Reads the query of a list. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readListQuery(querystring: string): Promise<FindQuery> {
  return readQuery((await loadSchemas()).listQuery, querystring);
}

/** Reads the query of an export. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readExportQuery(
  querystring: string,
  now: number,
): Promise<{ query: FindQuery; format: ExportFormat }> {
  const { format, from, to, ...query } = readQuery((await loadSchemas()).exportQuery, querystring);
  // A time relative to now stays the same for all pages of the export.
  const at = (text: string | undefined): Date | undefined =>
    text === undefined ? undefined : new Date(readTime(text, now) ?? 0);
  return { query: { ...query, from: at(from), to: at(to) }, format };
}

/** Reads the query of the failure groups. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readFailureQuery(querystring: string): Promise<FailuresQuery> {
  return readQuery((await loadSchemas()).failureQuery, querystring);
}

/** Reads the range of time of figures. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readFiguresQuery(querystring: string): Promise<RangeQuery> {
  return readQuery((await loadSchemas()).figuresQuery, querystring);
}

/** Refuses parameters where there are none. @throws TaskflowError INVALID_INPUT. */
export async function readNoQuery(querystring: string): Promise<void> {
  if (querystring === '') return;
  const { noQuery } = await loadSchemas();
  readQuery(noQuery, querystring);
}

/** Reads the time before which history is deleted. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readHistoryQuery(
  querystring: string,
  now: number,
): Promise<{ before: number; dryRun: boolean }> {
  const { historyQuery } = await loadSchemas();
  const { before, dryRun } = readQuery(historyQuery, querystring);
  return { before: readTime(before, now) ?? 0, dryRun: dryRun === 'true' };
}

/** Reads the query of a task. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readDetailQuery(querystring: string): Promise<DetailQuery> {
  return querystring === '' ? {} : readQuery((await loadSchemas()).detailQuery, querystring);
}

/** Reads the query of a task's log. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readLogQuery(querystring: string): Promise<LinesQuery & { limit: number }> {
  const { limit = 500, ...query } = readQuery((await loadSchemas()).logQuery, querystring);
  if (query.after !== undefined && query.before !== undefined)
    throw new TaskflowError(
      'INVALID_INPUT',
      'Give either after or before: lines are counted from one end.',
    );
  return { ...query, limit };
}

/** Reads the query of the audit. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readAuditQuery(querystring: string, now: number): Promise<AuditQuery> {
  const { auditQuery } = await loadSchemas();
  const { limit = 50, cursor, ...query } = readQuery(auditQuery, querystring);
  return { ...auditConditions(query, now), limit, cursor };
}

/** Reads the query of an export of the audit. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readAuditExportQuery(
  querystring: string,
  now: number,
): Promise<{ query: AuditQuery; format: ExportFormat }> {
  const { auditExportQuery } = await loadSchemas();
  const { format, ...query } = readQuery(auditExportQuery, querystring);
  return { query: auditConditions(query, now), format };
}

type AuditConditions = Omit<z.output<typeof Schemas.auditQuery>, 'limit' | 'cursor'>;

/** The schema has accepted only valid times. */
function auditConditions(
  { action, actor, outcome, from, to }: AuditConditions,
  now: number,
): AuditQuery {
  const at = (text: string | undefined): number | undefined =>
    text === undefined ? undefined : readTime(text, now);
  return { action, actor, outcome, from: at(from), to: at(to) };
}

/** Reads the query of the metrics. @throws TaskflowError INVALID_INPUT naming what is wrong. */
export async function readMetricsQuery(querystring: string): Promise<RangeQuery> {
  const query = readQuery((await loadSchemas()).metricsQuery, querystring);
  // Its members are right; whether they go together is checked with the same words as for calls from code.
  await readRangeQuery(query, Date.now()).catch((cause: Error) => {
    throw new TaskflowError('INVALID_INPUT', `${cause.message}.`, { cause });
  });
  return query;
}
