import type { TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import { taskStatuses } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { stateCode } from '../schema/states.js';
import type { ListPlan } from './list-plan.js';
import { type Condition, countedTo, paramsOf, type Source, whereOf } from './sources.js';

/** Counts the tasks of a list, without reading more of them than a total needs. */
export class ListCount {
  readonly #database: Database;
  readonly #query: TaskQuery;
  readonly #plan: ListPlan;

  constructor(database: Database, query: TaskQuery, plan: ListPlan) {
    this.#database = database;
    this.#query = query;
    this.#plan = plan;
  }

  /** Returns the total of a list, up to 10,000. */
  total(): Pick<TaskPage, 'total' | 'totalRelation'> {
    const { n, more } = this.count();
    return { total: Math.min(n, countedTo), totalRelation: more || n > countedTo ? 'gte' : 'eq' };
  }

  /**
   * Counts the tasks. `more`: there may be more than `n`, because counting them all would take too
   * long.
   */
  count(): { n: number; more: boolean } {
    const { tags = [], fingerprint, schedule, text, from, to } = this.#query;
    const simple =
      tags.length === 0 && [schedule, text, from, to].every((each) => each === undefined);
    if (simple && fingerprint === undefined) return { n: this.#tallied(), more: false };
    if (simple && fingerprint !== undefined && !this.#plan.partitions)
      return { n: this.#ofKind(fingerprint), more: false };
    const { n, more } = this.#counted();
    return { n, more: more || n > countedTo };
  }

  #tallied(): number {
    const { status } = this.#query;
    const partitions = this.#plan.partitions && new Set(this.#plan.partitions.map(({ id }) => id));
    let total = 0;
    for (const { state, partition, n } of this.#plan.taskCounts())
      if ((!status || status.includes(state)) && (!partitions || partitions.has(partition)))
        total += n;
    return total;
  }

  #ofKind(fingerprint: string): number {
    const states = (this.#query.status ?? taskStatuses).map((each) => stateCode[each]);
    return this.#database.value<number>(
      `SELECT coalesce(sum(n), 0) FROM failure_count WHERE fingerprint = ?
        AND status IN (SELECT value FROM json_each(?))`,
      fingerprint,
      JSON.stringify(states),
    );
  }

  #counted(): { n: number; more: boolean } {
    const { sources, rest } = this.#plan.sources();
    if (rest.length === 0) {
      // First each scan is counted alone, because that transfers no row ids to this thread. The row
      // ids are only needed if several scans have rows, which may be the same tasks.
      const counts = sources.map((source) => this.#countOf(source));
      const most = Math.max(0, ...counts);
      if (most > countedTo || counts.filter((n) => n > 0).length < 2)
        return { n: most, more: false };
    }
    const seen = new Set<number>();
    let more = false;
    for (const source of sources) {
      const inner =
        rest.length === 0
          ? this.#plan.span.numbers(source, countedTo + 1)
          : this.#plan.span.select(source, undefined, countedTo + 1);
      const text = this.#database.value<string>(
        `SELECT json_group_array(rowid) FROM (${inner.sql}) AS candidate ${whereOf(rest)}`,
        ...inner.params,
        ...paramsOf(rest),
      );
      const found: number[] = JSON.parse(text);
      for (const rowid of found) seen.add(rowid);
      if (rest.length > 0 && found.length <= countedTo)
        more ||= this.#reaches(source, countedTo + 1);
    }
    return { n: seen.size, more };
  }

  #countOf(source: Source): number {
    if (source.n !== undefined && !this.#plan.span.bounded) return source.n;
    return this.#countRows(this.#plan.span.numbers(source, countedTo + 1));
  }

  /** Returns whether a scan has at least this many rows. */
  #reaches(source: Source, rows: number): boolean {
    return this.#countRows(this.#plan.span.select(source, undefined, rows)) === rows;
  }

  #countRows({ sql, params }: Condition): number {
    return this.#database.value(`SELECT count(*) FROM (${sql})`, ...params);
  }
}
