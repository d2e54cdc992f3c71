import type { Database } from '../schema/database.js';
import { stateCode } from '../schema/states.js';

/*
 * A partition is a name together with a queue: a row of `partition`. Each row holds the priority
 * and the id of the first of its tasks that could run now, and an index has the rows that hold one.
 * A claim walks that index, so it visits no partition whose tasks all wait for their time, and none
 * beyond those that it takes tasks of.
 */

/** The columns of a partition that say what its first ready task is. */
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

  /** Notes that a task of the partition may have become ready, or may be ready no longer. */
  changed(partition: number): void {
    this.#changed.add(partition);
  }

  /**
   * The partitions that were noted and are not stored yet: of these the stored rows may be wrong.
   */
  unstored(): readonly number[] {
    return [...this.#changed];
  }

  /** Stores the first ready task of each partition that was noted. */
  write(): void {
    if (this.#changed.size === 0) return;
    this.#database.run(writeAll, JSON.stringify([...this.#changed]));
    this.#changed.clear();
  }

  /** Forgets what a transaction that failed had noted. */
  discard(): void {
    this.#changed.clear();
  }
}
