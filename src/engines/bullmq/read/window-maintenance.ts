import { levels, startOf } from '../../ended-stats.js';
import type { Reader } from '../../tables/read/reader.js';
import { dropExpired, makeSearchable } from '../../tables/write/maintenance.js';
import { dropPartitions, dropStatistics } from '../../tables/write/statistics.js';
import type { Transaction } from '../../tables/write/transaction.js';

/**
 * Maximum rows per step: failures that are added to the word index, expired rows, old statistics,
 * and partitions.
 */
const steps = { search: 100, expired: 500, statistics: 500, partitions: 100 };
/** Milliseconds: how long statistics are kept, and the time between two cleanups of partitions. */
const kept = { minutes: 7 * levels.day, hours: 400 * levels.day, partitions: levels.hour };

interface MaintenanceDeps {
  reader: Reader;
  transaction: Transaction;
  /** Changes the window in one transaction. */
  write(work: () => void): void;
}

/** Deletes old data of a window, and indexes its failures for search. */
export class WindowMaintenance {
  readonly #deps: MaintenanceDeps;
  /** When partitions are cleaned up next, in Unix milliseconds. */
  #nextPartitions = 0;

  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
  }

  /** Adds some failures to the word index. Returns whether there were any. */
  makeSearchable(): boolean {
    const { reader, transaction, write } = this.#deps;
    if (!reader.hasUnsearchable()) return false;
    const step = { kind: 'makeSearchable', limit: steps.search } as const;
    write(() => makeSearchable(transaction, step, Date.now()));
    return true;
  }

  /** Drops some deletions that are too old to be reported to watchers, and some old statistics. */
  dropExpired(): void {
    const { reader, transaction, write } = this.#deps;
    const at = Date.now();
    if (reader.hasExpired(at))
      write(() => dropExpired(transaction, { kind: 'dropExpired', limit: steps.expired, at }));
    const minutesBefore = startOf('hour', at - kept.minutes);
    const hoursBefore = startOf('day', at - kept.hours);
    const limit = steps.statistics;
    if (reader.hasOldStatistics(minutesBefore, hoursBefore))
      write(() =>
        dropStatistics(transaction, { kind: 'dropStatistics', minutesBefore, hoursBefore, limit }),
      );
    if (at < this.#nextPartitions || !reader.hasDroppedHours()) return;
    this.#nextPartitions = at + kept.partitions;
    for (let after: number | null = 0; after !== null; ) {
      const step = {
        kind: 'dropPartitions',
        after: after as number,
        limit: steps.partitions,
      } as const;
      write(() => {
        after = dropPartitions(transaction, step);
      });
    }
  }
}
