import type { StoredError } from '../../../tasks/engine.js';
import type { Database } from '../schema/database.js';

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
