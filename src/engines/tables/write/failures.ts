import type { FailurePage, FailureQuery, StoredError } from '../../../tasks/engine.js';
import { invalidPosition } from '../read/position.js';
import type { Database } from '../schema/database.js';
import { toFailureKind } from '../schema/rows.js';

/** A task that failed for good, and when. */
interface Failed {
  seq: number;
  lane: number;
  at: number;
}

interface Kind extends Failed {
  name: string;
  message: string;
  n: number;
  first: number;
}

const hour = 3_600_000;
/** Hours that the trend of a kind shows. */
export const trendHours = 24;

/** Sums up failures by kind as they happen, so that no reader goes through the failed tasks. */
export class Failures {
  readonly #database: Database;
  readonly #kinds = new Map<string, Kind>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Adds one; `write` stores all that were added. */
  add({ fingerprint, name, message }: StoredError, { seq, lane, at }: Failed): void {
    const before = this.#kinds.get(fingerprint);
    const counted = { n: (before?.n ?? 0) + 1, first: Math.min(before?.first ?? at, at) };
    // Failures of the past may be added in any order.
    const last = before && before.at > at ? before : { seq, lane, at, name, message };
    this.#kinds.set(fingerprint, { ...last, ...counted });
  }

  /** Stores what was added: a row of a kind, and one of a kind and an hour. */
  write(): void {
    for (const [fingerprint, { seq, lane, at, name, message, n, first }] of this.#kinds) {
      this.#database.run(
        `INSERT INTO kind (fingerprint, lane, error_name, error_message, n, first_at, last_at, last_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT id FROM task WHERE seq = ?))
         ON CONFLICT DO UPDATE SET n = n + excluded.n, first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at),
           (lane, error_name, error_message, last_id) = (
             SELECT iif(new, excluded.lane, lane), iif(new, excluded.error_name, error_name),
               iif(new, excluded.error_message, error_message), iif(new, excluded.last_id, last_id)
             FROM (SELECT excluded.last_at >= last_at AS new))`,
        fingerprint,
        lane,
        name,
        message,
        n,
        first,
        at,
        seq,
      );
      this.#database.run(
        'INSERT INTO kind_hour (fingerprint, hour, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n',
        fingerprint,
        Math.floor(at / hour),
        n,
      );
    }
    this.#kinds.clear();
  }

  /** Forgets what a transaction that failed had added. */
  discard(): void {
    this.#kinds.clear();
  }
}

/** Reads the kinds of failure, the last seen first. */
export function readFailures(database: Database, { name, from = 0, limit, after }: FailureQuery, now: number): FailurePage {
  const [, at = '', fingerprint = ''] =
    after === undefined ? ['', String(Number.MAX_SAFE_INTEGER)] : (/^(\d{1,16})\.([0-9a-f]{16})$/.exec(after) ?? []);
  if (at === '') throw invalidPosition();
  const rows = database.all(
    `SELECT fingerprint, lane.name, error_name, error_message, n, first_at, last_at, last_id,
       (SELECT n FROM kind_tally WHERE kind_tally.fingerprint = kind.fingerprint AND status = 3) AS failed
     FROM kind JOIN lane ON lane.id = kind.lane WHERE (last_at, fingerprint) < (?, ?) AND last_at >= ? AND (? IS NULL OR lane.name = ?)
     ORDER BY last_at DESC, fingerprint DESC LIMIT ?`,
    Number(at),
    fingerprint,
    from,
    name ?? null,
    name ?? null,
    limit + 1,
  );
  const trends = readTrends(
    database,
    rows.map((row) => String(row.fingerprint)),
    now,
  );
  const items = rows.slice(0, limit).map((row) => toFailureKind(row, trends(String(row.fingerprint))));
  const last = rows[limit - 1];
  return { items, next: rows.length > limit && last ? `${String(last.last_at)}.${String(last.fingerprint)}` : null };
}

function readTrends(database: Database, fingerprints: readonly string[], now: number): (fingerprint: string) => number[] {
  const first = Math.floor(now / hour) - trendHours + 1;
  const counts = new Map(
    database
      .all(
        'SELECT fingerprint, hour, n FROM kind_hour WHERE fingerprint IN (SELECT value FROM json_each(?)) AND hour >= ?',
        JSON.stringify(fingerprints),
        first,
      )
      .map((row) => [`${String(row.fingerprint)} ${String(row.hour)}`, Number(row.n)]),
  );
  return (fingerprint) => Array.from({ length: trendHours }, (_, n) => counts.get(`${fingerprint} ${first + n}`) ?? 0);
}
