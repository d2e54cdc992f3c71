import type { TaskStatus } from '../../../tasks/types.js';
import {
  addEnded,
  addStats,
  type EndedStats,
  emptyStats,
  type Level,
  levels,
  startOf,
} from '../../ended-stats.js';
import { readStats } from '../read/statistics.js';
import type { Database } from '../schema/database.js';

/**
 * Gathers the statistics of the tasks that end within one transaction, and writes each rollup once.
 */
export class Rollups {
  readonly #database: Database;
  /**
   * The statistics by partition and minute. `write` derives the rollups of all levels from them.
   */
  readonly #pending = new Map<string, { at: number; partition: number; stats: EndedStats }>();

  constructor(database: Database) {
    this.#database = database;
  }

  add(at: number, partition: number, status: TaskStatus, ms: number | undefined): void {
    const minute = startOf('minute', at);
    const key = `${minute} ${partition}`;
    let entry = this.#pending.get(key);
    if (!entry) {
      entry = { at: minute, partition, stats: emptyStats() };
      this.#pending.set(key, entry);
    }
    addEnded(entry.stats, status, ms);
  }

  write(): void {
    for (const { at, partition, stats } of this.#pending.values())
      for (const level of Object.keys(levels) as Level[])
        this.addTo(level, startOf(level, at), partition, stats);
    this.#pending.clear();
  }

  /** Adds statistics to the stored rollup of a level and a time. */
  addTo(level: Level, at: number, partition: number, stats: EndedStats): void {
    const stored = this.#database.value<string | undefined>(
      'SELECT stats FROM rollup WHERE level = ? AND at = ? AND partition = ?',
      level,
      at,
      partition,
    );
    // Updated once an hour. It shows that no task has ended in a partition for some time, without
    // reading the rollups of that partition.
    if (!stored && level === 'hour')
      this.#database.run(
        'UPDATE partition SET active_at = max(active_at, ?) WHERE id = ?',
        at,
        partition,
      );
    const sum = stored ? readStats(stored) : emptyStats();
    addStats(sum, stats);
    this.#database.run(
      'INSERT OR REPLACE INTO rollup (level, at, partition, stats) VALUES (?, ?, ?, ?)',
      level,
      at,
      partition,
      JSON.stringify(sum),
    );
  }

  /** Discards the statistics of a failed transaction. */
  discard(): void {
    this.#pending.clear();
  }
}
