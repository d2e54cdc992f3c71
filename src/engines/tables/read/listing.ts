import type { TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { summariesOfRowids, toSummaries } from '../schema/summaries.js';
import { ListCount } from './list-count.js';
import { type Candidate, ListPlan, readCandidates, window } from './list-plan.js';
import { invalidPosition, type Position, readPosition, writePosition } from './position.js';
import { type Condition, paramsOf, type Source, whereOf } from './sources.js';

/*
 * A list is merged from index scans. Each scan (`Source`) returns the row id, id and sort value of
 * candidates in the order of one index. `ListPlan` chooses the scans, `ListCount` counts their
 * rows, and this file merges them into pages. Only the tasks of the page are read in full.
 *
 * No index answers the remaining conditions, the residual filter (`rest`). It is applied to a
 * limited number of candidates (`window`), so that a page costs the same however rare its matches
 * are. Such a page may have fewer tasks than requested and still have a next page.
 */

const uncounted = { total: 0, totalRelation: 'gte' } as const;

/** Returns one page of a list. */
export function listTasks(database: Database, query: TaskQuery): TaskPage {
  const plan = new ListPlan(database, query);
  const { found, next } = new Listing(database, query, plan).page();
  const items = summariesOf(database, found.slice(0, query.limit));
  return {
    items,
    next,
    ...(query.counted === false ? uncounted : new ListCount(database, query, plan).total()),
  };
}

/**
 * Counts the tasks of a filter. Up to 10,000, and if counters answer the filter, `n` is exact.
 * Otherwise it is a lower bound.
 */
export function countTasks(database: Database, filter: TaskFilter): { n: number; more: boolean } {
  const query = { ...filter, limit: 1 };
  return new ListCount(database, query, new ListPlan(database, query)).count();
}

/** Returns the summaries of candidates in their order, with one query. */
function summariesOf(database: Database, candidates: readonly Candidate[]): TaskSummary[] {
  const rowids = JSON.stringify(candidates.map(({ rowid }) => rowid));
  const byRowid = toSummaries(database.value(summariesOfRowids, rowids));
  return candidates.flatMap(({ rowid }) => byRowid.get(rowid) ?? []);
}

class Listing {
  readonly #database: Database;
  readonly #query: TaskQuery;
  readonly #plan: ListPlan;

  constructor(database: Database, query: TaskQuery, plan: ListPlan) {
    this.#database = database;
    this.#query = query;
    this.#plan = plan;
  }

  /** Returns the candidates of a page, one more if there is one, and the start of the next page. */
  page(): { found: Candidate[]; next: string | null } {
    const { limit, after, sort = 'createdAt' } = this.#query;
    const start = after === undefined ? undefined : readPosition(after, sort);
    const groups = this.#plan.groups();
    const first = start ? groups.findIndex(({ key }) => key === start.group) : 0;
    if (first === -1) throw invalidPosition();
    const found: Candidate[] = [];
    /** The group of the last candidate on this page. */
    let group: string | undefined;
    for (const { key, sources, rest } of groups.slice(first)) {
      const { rows, end } = this.#merge(
        sources,
        rest,
        limit + 1 - found.length,
        start?.group === key ? start : undefined,
      );
      found.push(...rows);
      const last = found[limit - 1];
      if (last) group ??= key;
      if (found.length > limit && last)
        return { found, next: writePosition(sort, last, group ?? key) };
      if (end) return { found, next: writePosition(sort, end, key) };
    }
    return { found, next: null };
  }

  /**
   * Returns the first rows of all scans in order. `end` is the candidate at which a scan reached
   * the scan limit, if one did.
   */
  #merge(
    sources: readonly Source[],
    rest: readonly Condition[],
    wanted: number,
    after: Position | undefined,
  ): { rows: Candidate[]; end: Candidate | undefined } {
    if (rest.length === 0 && this.#query.text === undefined)
      return { rows: this.#takeMerged(sources, wanted, after), end: undefined };
    let end: Candidate | undefined;
    const rows: Candidate[] = [];
    for (const source of sources) {
      const taken =
        rest.length === 0
          ? readCandidates(this.#database, this.#plan.span.select(source, after, wanted))
          : this.#takeSome(source, rest, wanted, after);
      rows.push(...('rows' in taken ? taken.rows : taken));
      if ('end' in taken && taken.end && (!end || this.#compare(taken.end, end) < 0))
        end = taken.end;
    }
    rows.sort((a, b) => this.#compare(a, b));
    const once =
      sources.length === 1
        ? rows
        : rows.filter((row, index) => row.rowid !== rows[index - 1]?.rowid);
    // One scan stopped at `end`, so it may have further rows that belong before the rows after
    // `end`.
    const certain = end ? once.filter((row) => this.#compare(row, end as Candidate) <= 0) : once;
    return { rows: certain.slice(0, wanted), end };
  }

  /**
   * Reads the candidates of scans that share no task with one statement, because SQLite merges them
   * faster than this thread.
   */
  #takeMerged(
    sources: readonly Source[],
    wanted: number,
    after: Position | undefined,
  ): Candidate[] {
    const [first] = sources;
    if (!first) return [];
    if (sources.length === 1)
      return readCandidates(this.#database, this.#plan.span.select(first, after, wanted));
    return readCandidates(this.#database, this.#plan.span.selectMerged(sources, after, wanted));
  }

  #takeSome(
    source: Source,
    rest: readonly Condition[],
    wanted: number,
    after: Position | undefined,
  ): { rows: Candidate[]; end: Candidate | undefined } {
    const inner = this.#plan.span.select(source, after, window);
    const rows = readCandidates(this.#database, {
      sql: `SELECT rowid, id, value FROM (${inner.sql}) AS candidate ${whereOf(rest)} LIMIT ?`,
      params: [...inner.params, ...paramsOf(rest), wanted],
    });
    if (rows.length >= wanted) return { rows, end: undefined };
    const [last] = readCandidates(this.#database, {
      sql: `${inner.sql} OFFSET ${window - 1}`,
      params: [...inner.params.slice(0, -1), 1],
    });
    return { rows, end: last };
  }

  #compare(a: Candidate, b: Candidate): number {
    const order = (a.value ?? 0) - (b.value ?? 0) || (a.id < b.id ? -1 : Number(a.id > b.id));
    return this.#plan.descending ? -order : order;
  }
}
