import type { StoredError } from '../../../tasks/task-runner.js';
import type { Database } from '../schema/database.js';

/** A task that failed without a retry, and the time. */
interface Failed {
  rowid: number;
  partition: number;
  at: number;
}

interface Group extends Failed {
  name: string;
  message: string;
  n: number;
  first: number;
}

const hour = 3_600_000;
/** Groups failures as they happen, so that no reader has to read the failed tasks. */
export class Failures {
  readonly #database: Database;
  readonly #groups = new Map<string, Group>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Adds a failure. `write` stores all added failures. */
  add({ fingerprint, name, message }: StoredError, { rowid, partition, at }: Failed): void {
    const before = this.#groups.get(fingerprint);
    const counted = { n: (before?.n ?? 0) + 1, first: Math.min(before?.first ?? at, at) };
    // Failures may be added in any order of time.
    const last = before && before.at > at ? before : { rowid, partition, at, name, message };
    this.#groups.set(fingerprint, { ...last, ...counted });
  }

  /** Stores the added failures: one row per group, and one row per group and hour. */
  write(): void {
    for (const [fingerprint, { rowid, partition, at, name, message, n, first }] of this.#groups) {
      this.#database.run(
        `INSERT INTO failure_group (fingerprint, partition, error_name, error_message, n, first_at,
          last_at, last_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT id FROM task WHERE rowid = ?))
         ON CONFLICT DO UPDATE
           SET n = n + excluded.n, first_at = min(first_at, excluded.first_at),
           last_at = max(last_at, excluded.last_at),
           (partition, error_name, error_message, last_id) = (
             SELECT iif(new, excluded.partition, partition), iif(new, excluded.error_name,
               error_name),
               iif(new, excluded.error_message, error_message), iif(new, excluded.last_id, last_id)
             FROM (SELECT excluded.last_at >= last_at AS new))`,
        fingerprint,
        partition,
        name,
        message,
        n,
        first,
        at,
        rowid,
      );
      this.#database.run(
        `INSERT INTO failure_hour (fingerprint, hour, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
          SET n = n + excluded.n`,
        fingerprint,
        Math.floor(at / hour),
        n,
      );
    }
    this.#groups.clear();
  }

  /** Discards the failures of a failed transaction. */
  discard(): void {
    this.#groups.clear();
  }
}
