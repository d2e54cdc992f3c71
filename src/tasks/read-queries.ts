import type { z } from 'zod';
import { runInEmptyContext } from '../empty-context.js';
import { rangeError, typeError } from '../options.js';
import { checkArgument, plainCopy, withAbsent, withoutUndefined } from './check-schema.js';
import { type Cursors, cursorsOf } from './cursor.js';
import type {
  FailureQuery,
  LogQuery,
  MetricsRange,
  SortKey,
  TaskFilter,
  TaskQuery,
} from './engine-queries.js';
import type * as Queries from './query-schemas.js';
import { readTime } from './time-text.js';

/*
 * Checks queries in the terms of the HTTP API, and converts them to the form that an engine takes.
 * An engine can therefore trust its input.
 */

/** Loads the schemas with the first call that needs them. */
export const loadQueries = (): Promise<typeof Queries> =>
  runInEmptyContext(() => import('./query-schemas.js'));

type Schema = 'findQuery' | 'linesQuery' | 'detailQuery' | 'rangeQuery' | 'failureQuery';

/** A valid query for each schema, for error messages. */
const examples: Readonly<Record<Schema, string>> = {
  findQuery: "{ status: ['failed'], limit: 20 }",
  linesQuery: "{ level: 'warn', limit: 100 }",
  detailQuery: '{ logs: 100 }',
  rangeQuery: "{ from: '-1h' }",
  failureQuery: "{ from: '-1h', limit: 20 }",
};

/** Checks a query object. Members that are `undefined` count as absent. */
async function read<K extends Schema>(
  schema: K,
  query: unknown,
): Promise<z.output<(typeof Queries)[K]>> {
  const schemas = await loadQueries();
  const accepted = `an object such as ${examples[schema]}`;
  const given = query === undefined ? {} : query;
  const copy = withoutUndefined(plainCopy('query', given, accepted, ['from', 'to']));
  const checked = checkArgument('query', schemas[schema], copy) as z.output<(typeof Queries)[K]>;
  return withAbsent(schemas[schema], checked);
}

/** A query in the form that an engine takes, and the cursors of its list. */
export interface Paged<Q> {
  query: Q;
  cursors: Cursors;
}

/**
 * Reads the query of `find`.
 *
 * @throws TypeError, RangeError or TaskflowError if the query is not valid.
 */
export async function readFindQuery(query: unknown, now: number): Promise<Paged<TaskQuery>> {
  const {
    limit = 50,
    cursor,
    counted,
    sort = '-createdAt',
    ...conditions
  } = await read('findQuery', query);
  const cursors = cursorsOf({ ...conditions, sort });
  const descending = sort.startsWith('-');
  return {
    query: {
      ...filterOf(conditions, now),
      sort: (descending ? sort.slice(1) : sort) as SortKey,
      order: descending ? 'descending' : 'ascending',
      limit,
      after: cursors.read(cursor),
      counted,
    },
    cursors,
  };
}

type Conditions = z.output<typeof Queries.conditions>;

/** Returns checked conditions in the form that an engine takes. */
export function filterOf(
  { status, tag, q, from, to, ...same }: Conditions,
  now: number,
): TaskFilter {
  return {
    ...same,
    from: readTime(from, now),
    to: readTime(to, now),
    status: status && [...new Set(status)],
    tags: tag?.map(tagOf),
    text: q,
  };
}

/** Returns the key of a tag and its value, which follows the first colon. */
function tagOf(text: string): { key: string; value?: string } {
  const colon = text.indexOf(':');
  return colon < 0 ? { key: text } : { key: text.slice(0, colon), value: text.slice(colon + 1) };
}

/** Reads the query of `aggregate('failures')`. */
export async function readFailureQuery(query: unknown, now: number): Promise<Paged<FailureQuery>> {
  const { limit = 50, cursor, name, from } = await read('failureQuery', query);
  const cursors = cursorsOf({ failures: true, name, from });
  return {
    query: { name, from: readTime(from, now), limit, after: cursors.read(cursor) },
    cursors,
  };
}

/** Maximum number of points in a series. */
const maxPoints = 1500;
const day = 86_400_000;

/** Reads the query of `aggregate('metrics')`. */
export async function readRangeQuery(query: unknown, now: number): Promise<MetricsRange> {
  const { from, to, ...same } = await read('rangeQuery', query);
  const range = { ...same, from: readTime(from, now), to: readTime(to, now) };
  checkRange(range, now);
  return range;
}

/** Checks a range whose members are valid one by one. @throws RangeError. */
function checkRange({ from, to, step, series }: MetricsRange, now: number): void {
  const end = to ?? now;
  if (series !== false && from !== undefined && from >= end)
    throw rangeError('from must be before to');
  if (step !== undefined && (end - (from ?? end - day)) / (step * 1000) > maxPoints)
    throw rangeError(`step is too small for the range: the series has at most ${maxPoints} points`);
}

/** Reads the query of `get`. */
export async function readDetailQuery(query: unknown): Promise<{ logLines?: number | undefined }> {
  if (query === undefined) return { logLines: undefined };
  return { logLines: (await read('detailQuery', query)).logs };
}

/** Reads the query of `logs`. */
export async function readLinesQuery(query: unknown): Promise<LogQuery> {
  const { q, limit = 500, ...same } = await read('linesQuery', query);
  if (same.after !== undefined && same.before !== undefined)
    throw typeError('query has after and before; give only one of them');
  return { ...same, limit, text: q };
}
