import type { TaskStatus } from '../../../tasks/types.js';
import {
  addEnded,
  addFigures,
  type Figures,
  type Level,
  levels,
  noFigures,
  startOf,
} from '../../figures.js';
import { readFigures } from '../read/statistics.js';
import type { Database } from '../schema/database.js';

/**
 * Gathers the statistics of the tasks that end within one transaction, and writes each rollup once.
 */
export class Rollups {
  readonly #database: Database;
  /**
   * The statistics by partition and minute. `write` derives the rollups of all levels from them.
   */
  readonly #pending = new Map<string, { at: number; partition: number; figures: Figures }>();

  constructor(database: Database) {
    this.#database = database;
  }

  add(at: number, partition: number, status: TaskStatus, ms: number | undefined): void {
    const minute = startOf('minute', at);
    const key = `${minute} ${partition}`;
    let entry = this.#pending.get(key);
    if (!entry) {
      entry = { at: minute, partition, figures: noFigures() };
      this.#pending.set(key, entry);
    }
    addEnded(entry.figures, status, ms);
  }

  write(): void {
    for (const { at, partition, figures } of this.#pending.values())
      for (const level of Object.keys(levels) as Level[])
        this.addTo(level, startOf(level, at), partition, figures);
    this.#pending.clear();
  }

  /** Adds statistics to the stored rollup of a level and a time. */
  addTo(level: Level, at: number, partition: number, figures: Figures): void {
    const stored = this.#database.get(
      'SELECT figures FROM rollup WHERE level = ? AND at = ? AND partition = ?',
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
    const sum = stored ? readFigures(stored) : noFigures();
    addFigures(sum, figures);
    this.#database.run(
      'INSERT OR REPLACE INTO rollup (level, at, partition, figures) VALUES (?, ?, ?, ?)',
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
