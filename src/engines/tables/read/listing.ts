import type { TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskSummary } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { summariesOfSeqs, toSummaries } from '../schema/rows.js';
import { ListCount } from './list-count.js';
import { type Candidate, ListPlan, readCandidates, window } from './list-plan.js';
import { invalidPosition, type Position, readPosition, writePosition } from './position.js';
import { type Condition, paramsOf, type Source, whereOf } from './sources.js';

/*
 * A list is made of streams: queries that each give (seq, id, value) from one index in the order
 * asked for. They are merged, and only the tasks of the page itself are read whole. Conditions that
 * no index answers are applied to a window of candidates, so that a page costs the same however
 * rare what it looks for is: it may then be short, and has a next one. `ListPlan` chooses the
 * streams, `ListCount` counts what they give, and this file merges them into pages.
 */

const uncounted = { total: 0, totalRelation: 'gte' } as const;

/** Answers one page of a list. */
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

/** How many tasks a filter finds: beyond 10,000 a floor, but where they are kept count of. */
export function countTasks(database: Database, filter: TaskFilter): { n: number; more: boolean } {
  const query = { ...filter, limit: 1 };
  return new ListCount(database, query, new ListPlan(database, query)).count();
}

/** The summaries of candidates, in their order: with one query for all of them. */
function summariesOf(database: Database, candidates: readonly Candidate[]): TaskSummary[] {
  const seqs = JSON.stringify(candidates.map(({ seq }) => seq));
  const bySeq = toSummaries(database.get(summariesOfSeqs, seqs));
  return candidates.flatMap(({ seq }) => bySeq.get(seq) ?? []);
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

  /** The candidates of a page and one more, and where the next page begins. */
  page(): { found: Candidate[]; next: string | null } {
    const { limit, after, sort = 'createdAt' } = this.#query;
    const start = after === undefined ? undefined : readPosition(after, sort);
    const groups = this.#plan.groups();
    const first = start ? groups.findIndex(({ key }) => key === start.group) : 0;
    if (first === -1) throw invalidPosition();
    const found: Candidate[] = [];
    /** Group of the last one of this page. */
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
        return { found, next: writePosition(sort, { ...last, group: group ?? key }) };
      if (end) return { found, next: writePosition(sort, { ...end, group: key }) };
    }
    return { found, next: null };
  }

  /**
   * The first rows of all sources in order. `end` is where the looking stopped, if not at the end
   * of the list.
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
      sources.length === 1 ? rows : rows.filter((row, index) => row.seq !== rows[index - 1]?.seq);
    // Beyond where one source was left, others may have what belongs before it.
    const certain = end ? once.filter((row) => this.#compare(row, end as Candidate) <= 0) : once;
    return { rows: certain.slice(0, wanted), end };
  }

  /**
   * Of sources that have no task in common, by one statement: SQLite merges them sooner than this
   * thread does.
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
      sql: `SELECT seq, id, value FROM (${inner.sql}) AS candidate ${whereOf(rest)} LIMIT ?`,
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
