import type { Database } from '../schema/database.js';
import { stateCode } from '../schema/states.js';

/*
 * A partition is a name together with a queue, and a row of the table `partition`. The row holds
 * the priority and the id of the partition's first ready task, or nulls if no task is ready. A
 * partial index contains only rows with a ready task. A claim reads that index, so it skips every
 * partition whose tasks are all delayed.
 */

/** Selects a column of the first ready task of a partition. */
const firstReady = (column: 'priority' | 'id', partition: string): string =>
  `(SELECT ${column} FROM task INDEXED BY task_ready WHERE partition = ${partition}
    AND status = ${stateCode.pending}
    AND ready_at IS NULL ORDER BY priority DESC, id LIMIT 1)`;

const writeAll = `
UPDATE partition SET ready_priority = first.priority, ready_id = first.id
FROM (SELECT value AS partition, ${firstReady('priority', 'value')} AS priority,
  ${firstReady('id', 'value')} AS id FROM json_each(?)) AS first
WHERE partition.id = first.partition AND (ready_id IS NOT first.id
  OR ready_priority IS NOT first.priority)`;

/** Updates the first ready task of each partition that a transaction changes. */
export class ReadyPartitions {
  readonly #database: Database;
  readonly #changed = new Set<number>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Marks a partition whose first ready task may have changed. */
  changed(partition: number): void {
    this.#changed.add(partition);
  }

  /** Returns the marked partitions. The stored first ready task of each may be outdated. */
  unstored(): readonly number[] {
    return [...this.#changed];
  }

  /** Stores the first ready task of each marked partition. */
  write(): void {
    if (this.#changed.size === 0) return;
    this.#database.run(writeAll, JSON.stringify([...this.#changed]));
    this.#changed.clear();
  }

  /** Discards the marks of a failed transaction. */
  discard(): void {
    this.#changed.clear();
  }
}
