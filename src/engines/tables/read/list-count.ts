import { taskStatuses } from '../../../tasks/types.js';
import { stateCode } from '../schema/states.js';
import type { ListPlan } from './list-plan.js';
import { type Condition, countedTo, isIn, paramsOf, type Source, whereOf } from './sources.js';

/** A number of tasks. `more`: there may be more than `n`. */
export interface Counted {
  n: number;
  more: boolean;
}

/**
 * Counts the tasks of a list, without reading more of them than a total needs. Up to 10,000, and if
 * counters answer the query, `n` is exact. Otherwise it is a lower bound, because counting all
 * tasks would take too long.
 */
export function countList(plan: ListPlan): Counted {
  const { database, query, span, partitions } = plan;
  const { status, tags = [], fingerprint, schedule, text, from, to } = query;

  const fromCounters = (): number => {
    const ids = partitions && new Set(partitions.map(({ id }) => id));
    return plan
      .taskCounts()
      .filter(({ state }) => !status || status.includes(state))
      .filter(({ partition }) => !ids || ids.has(partition))
      .reduce((sum, { n }) => sum + n, 0);
  };

  const ofFingerprint = (): number => {
    const states = (status ?? taskStatuses).map((each) => stateCode[each]);
    const { sql, params } = isIn('status', states);
    return database.value(
      `SELECT coalesce(sum(n), 0) FROM failure_count WHERE fingerprint = ? AND ${sql}`,
      fingerprint ?? null,
      ...params,
    );
  };

  const countRows = ({ sql, params }: Condition): number =>
    database.value(`SELECT count(*) FROM (${sql})`, ...params);

  const countOf = (source: Source): number =>
    source.n !== undefined && !span.bounded
      ? source.n
      : countRows(span.numbers(source, countedTo + 1));

  const counted = (): Counted => {
    const { sources, rest } = plan.sources();
    if (rest.length === 0) {
      // First each scan is counted alone, because that transfers no row ids to this thread. The row
      // ids are only needed if several scans have rows, which may be the same tasks.
      const counts = sources.map(countOf);
      const most = Math.max(0, ...counts);
      if (most > countedTo || counts.filter((n) => n > 0).length < 2)
        return { n: most, more: most > countedTo };
    }
    const seen = new Set<number>();
    let more = false;
    for (const source of sources) {
      const inner =
        rest.length === 0
          ? span.numbers(source, countedTo + 1)
          : span.select(source, undefined, countedTo + 1);
      const text = database.value<string>(
        `SELECT json_group_array(rowid) FROM (${inner.sql}) AS candidate ${whereOf(rest)}`,
        ...inner.params,
        ...paramsOf(rest),
      );
      const found: number[] = JSON.parse(text);
      for (const rowid of found) seen.add(rowid);
      // The scan may have further rows that match.
      if (rest.length > 0 && found.length <= countedTo) more ||= countRows(inner) > countedTo;
    }
    return { n: seen.size, more: more || seen.size > countedTo };
  };

  if (tags.length > 0 || [schedule, text, from, to].some((each) => each !== undefined))
    return counted();
  if (fingerprint === undefined) return { n: fromCounters(), more: false };
  return partitions ? counted() : { n: ofFingerprint(), more: false };
}
