import type { FailurePage, FailureQuery } from '../../../tasks/engine-queries.js';
import type { Database } from '../schema/database.js';
import { type FailureRow, toFailureGroup } from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
import { invalidPosition } from './position.js';

const hour = 3_600_000;
/** Number of hours in the trend of a group. */
export const trendHours = 24;

/** Reads failure groups, the group that was seen last first. */
export function readFailures(
  database: Database,
  { name, from = 0, limit, after }: FailureQuery,
  now: number,
): FailurePage {
  const [, at = '', fingerprint = ''] =
    after === undefined
      ? ['', String(Number.MAX_SAFE_INTEGER)]
      : (/^(\d{1,16})\.([0-9a-f]{16})$/.exec(after) ?? []);
  if (at === '') throw invalidPosition();
  const rows = database.all<FailureRow>(
    `SELECT fingerprint, partition.name, error_name AS errorName, error_message AS errorMessage,
       n AS count, coalesce((SELECT n FROM failure_count
         WHERE failure_count.fingerprint = failure_group.fingerprint
         AND status = ${stateCode.failed}), 0) AS failed, first_at AS first, last_at AS last,
       last_id AS lastTaskId
     FROM failure_group JOIN partition ON partition.id = failure_group.partition
       WHERE (last_at, fingerprint) < (?1, ?2) AND last_at >= ?3
         AND (?4 IS NULL OR partition.name = ?4)
     ORDER BY last_at DESC, fingerprint DESC LIMIT ?5`,
    Number(at),
    fingerprint,
    from,
    name ?? null,
    limit + 1,
  );
  const trends = readTrends(database, rows, now);
  const items = rows.slice(0, limit).map((row) => toFailureGroup(row, trends(row.fingerprint)));
  const last = rows[limit - 1];
  const next = rows.length > limit && last ? `${last.last}.${last.fingerprint}` : null;
  return { items, next };
}

function readTrends(
  database: Database,
  groups: readonly FailureRow[],
  now: number,
): (fingerprint: string) => number[] {
  const first = Math.floor(now / hour) - trendHours + 1;
  const counts = new Map(
    database
      .all<{ fingerprint: string; hour: number; n: number }>(
        `SELECT fingerprint, hour, n FROM failure_hour WHERE fingerprint IN (SELECT value
          FROM json_each(?)) AND hour >= ?`,
        JSON.stringify(groups.map(({ fingerprint }) => fingerprint)),
        first,
      )
      .map(({ fingerprint, hour: at, n }) => [`${fingerprint} ${at}`, n]),
  );
  return (fingerprint) =>
    Array.from({ length: trendHours }, (_, n) => counts.get(`${fingerprint} ${first + n}`) ?? 0);
}
