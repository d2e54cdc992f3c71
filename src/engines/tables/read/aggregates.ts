import type { Aggregates } from '../../../tasks/engine-queries.js';
import type { Database } from '../schema/database.js';
import { readFailures } from './failures.js';
import { readHistograms, readMetrics, readStatsSnapshot } from './metrics.js';
import type { Reader } from './reader.js';

interface Deps {
  database: Database;
  reader: Reader;
  /** Unix milliseconds. */
  now: number;
  /** Returns the seconds since the last heartbeat of a process. */
  lastSign(owner: string): number;
}

/** Answers an aggregate from counts and rollups that are kept up to date with each change. */
export function aggregate<K extends keyof Aggregates>(
  { database, reader, now, lastSign }: Deps,
  kind: K,
  query: Aggregates[K]['query'],
): Aggregates[K]['answer'] {
  const kinds: {
    [Kind in keyof Aggregates]: (...query: Aggregates[Kind]['query']) => Aggregates[Kind]['answer'];
  } = {
    statsSnapshot: () => readStatsSnapshot(database, now),
    metrics: (range) => readMetrics(database, range, now),
    failures: (wanted) => readFailures(database, wanted, now),
    workers: () => reader.workers(lastSign),
    waits: () => reader.waits(),
    histograms: (bounds) => readHistograms(database, bounds),
  };
  return kinds[kind](...query);
}
