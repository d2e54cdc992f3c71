import type { TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { summariesOfRowids, toSummaries } from '../schema/summaries.js';
import { type Counted, countList } from './list-count.js';
import {
  type Candidate,
  type ListPlan,
  planList,
  readCandidates,
  type Scans,
  window,
} from './list-plan.js';
import { invalidPosition, type Position, readPosition, writePosition } from './position.js';
import { type Condition, countedTo, paramsOf, type Source, whereOf } from './sources.js';

/*
 * A list is merged from index scans. Each scan (`Source`) returns the row id, id and sort value of
 * candidates in the order of one index. `planList` chooses the scans, `countList` counts their
 * rows, and this file merges them into pages. Only the tasks of the page are read in full.
 *
 * No index answers the remaining conditions, the residual filter (`rest`). It is applied to a
 * limited number of candidates (`window`), so that a page costs the same however rare its matches
 * are. Such a page may have fewer tasks than requested and still have a next page.
 */

const uncounted = { total: 0, totalRelation: 'gte' } as const;

/** Returns one page of a list. */
export function listTasks(database: Database, query: TaskQuery): TaskPage {
  const plan = planList(database, query);
  const { found, next } = pageOf(plan);
  const items = summariesOf(database, found.slice(0, query.limit));
  return { items, next, ...(query.counted === false ? uncounted : totalOf(plan)) };
}

/** Returns the total of a list, up to 10,000. */
function totalOf(plan: ListPlan): Pick<TaskPage, 'total' | 'totalRelation'> {
  const { n, more } = countList(plan);
  return { total: Math.min(n, countedTo), totalRelation: more || n > countedTo ? 'gte' : 'eq' };
}

/** Counts the tasks of a filter. */
export function countTasks(database: Database, filter: TaskFilter): Counted {
  return countList(planList(database, { ...filter, limit: 1 }));
}

/** Returns the summaries of candidates in their order, with one query. */
function summariesOf(database: Database, candidates: readonly Candidate[]): TaskSummary[] {
  const rowids = JSON.stringify(candidates.map(({ rowid }) => rowid));
  const byRowid = toSummaries(database.value(summariesOfRowids, rowids));
  return candidates.flatMap(({ rowid }) => byRowid.get(rowid) ?? []);
}

/** Returns the candidates of a page, one more if there is one, and the start of the next page. */
function pageOf(plan: ListPlan): { found: Candidate[]; next: string | null } {
  const { limit, after, sort = 'createdAt' } = plan.query;
  const start = after === undefined ? undefined : readPosition(after, sort);
  const groups = plan.groups();
  const first = start ? groups.findIndex(({ key }) => key === start.group) : 0;
  if (first === -1) throw invalidPosition();
  const found: Candidate[] = [];
  /** The group of the last candidate on this page. */
  let group: string | undefined;
  for (const { key, ...scans } of groups.slice(first)) {
    const position = start?.group === key ? start : undefined;
    const { rows, end } = merge(plan, scans, limit + 1 - found.length, position);
    found.push(...rows);
    const last = found[limit - 1];
    if (last) group ??= key;
    if (found.length > limit && last)
      return { found, next: writePosition(sort, last, group ?? key) };
    if (end) return { found, next: writePosition(sort, end, key) };
  }
  return { found, next: null };
}

/** The rows of some scans. `end`: the candidate at which a scan reached the scan limit, if any. */
interface Rows {
  rows: Candidate[];
  end?: Candidate | undefined;
}

/** Returns the first rows of all scans in order. */
function merge(
  plan: ListPlan,
  { sources, rest }: Scans,
  wanted: number,
  after: Position | undefined,
): Rows {
  const { database, query, span, descending } = plan;
  // Without a text, the scans share no task, and SQLite merges them faster than this thread.
  if (rest.length === 0 && query.text === undefined)
    return {
      rows:
        sources.length === 0
          ? []
          : readCandidates(database, span.selectMerged(sources, after, wanted)),
    };
  const compare = (a: Candidate, b: Candidate): number => {
    const order = (a.value ?? 0) - (b.value ?? 0) || (a.id < b.id ? -1 : Number(a.id > b.id));
    return descending ? -order : order;
  };
  const parts = sources.map((source) => takeSome(plan, source, rest, wanted, after));
  const [end] = parts.flatMap((part) => part.end ?? []).sort(compare);
  const rows = parts.flatMap((part) => part.rows).sort(compare);
  // The scan that stopped at `end` may have further rows that belong before the rows after `end`.
  const certain = rows.filter(
    (row, index) => row.rowid !== rows[index - 1]?.rowid && (!end || compare(row, end) <= 0),
  );
  return { rows: certain.slice(0, wanted), end };
}

function takeSome(
  { database, span }: ListPlan,
  source: Source,
  rest: readonly Condition[],
  wanted: number,
  after: Position | undefined,
): Rows {
  if (rest.length === 0)
    return { rows: readCandidates(database, span.select(source, after, wanted)) };
  const inner = span.select(source, after, window);
  const rows = readCandidates(database, {
    sql: `SELECT rowid, id, value FROM (${inner.sql}) AS candidate ${whereOf(rest)} LIMIT ?`,
    params: [...inner.params, ...paramsOf(rest), wanted],
  });
  if (rows.length >= wanted) return { rows };
  const [end] = readCandidates(database, {
    sql: `${inner.sql} OFFSET ${window - 1}`,
    params: [...inner.params.slice(0, -1), 1],
  });
  return { rows, end };
}
