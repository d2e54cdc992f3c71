import type { TaskStatus } from '../../../tasks/types.js';
import type { Database, SqlValue } from '../schema/database.js';
import { stateCode } from '../schema/states.js';
import { ReadyPartitions } from './ready-partitions.js';

/** Changes of counts, by the two key columns of their table. */
type Sums = Map<string, Map<SqlValue, number>>;

/**
 * Counts the changes of a transaction: change numbers, row ids, and the tasks of each partition,
 * tag and failure group.
 */
export class Counters {
  /** The first ready task of each partition. */
  readonly ready: ReadyPartitions;
  readonly #database: Database;
  readonly #partitions = new Map<string, number>();
  /** Changes of the task counts, by partition and state. One number is the key of both. */
  readonly #tasks = new Map<number, number>();
  readonly #tags: Sums = new Map();
  readonly #failed: Sums = new Map();
  #rev = 0;
  #rowid = 0;
  #before = { rev: 0, rowid: 0 };
  /** How often partitions have been deleted, by any process. */
  #deletions = 0;

  constructor(database: Database) {
    this.#database = database;
    this.ready = new ReadyPartitions(database);
  }

  /** Starts counting. The caller has opened a write transaction. */
  open(): void {
    for (const { key, value } of this.#database.all<{ key: string; value: number }>(
      "SELECT key, value FROM meta WHERE key IN ('rev', 'rowid', 'partitions_deleted')",
    )) {
      if (key === 'rev') this.#rev = value;
      else if (key === 'rowid') this.#rowid = value;
      else if (value !== this.#deletions) {
        // Another process has deleted partitions, so their ids must no longer be used.
        this.#deletions = value;
        this.#partitions.clear();
      }
    }
    this.#before = { rev: this.#rev, rowid: this.#rowid };
  }

  /** Returns the next change number. */
  nextRev(): number {
    this.#rev += 1;
    return this.#rev;
  }

  /** Reserves `n` change numbers, and returns the first. */
  nextRevs(n: number): number {
    this.#rev += n;
    return this.#rev - n + 1;
  }

  /** Returns the next row id. */
  nextRowid(): number {
    this.#rowid += 1;
    return this.#rowid;
  }

  /**
   * Returns the id of the partition of a name and a queue. If the partition does not exist, creates
   * it.
   */
  partition(name: string, queue: string): number {
    const key = `${name}\0${queue}`;
    const known = this.#partitions.get(key);
    if (known !== undefined) return known;
    const database = this.#database;
    database.run(
      `INSERT OR IGNORE INTO partition (name, queue, paused) VALUES (?1, ?2, EXISTS (SELECT 1
        FROM paused WHERE queue = ?2))`,
      name,
      queue,
    );
    const partition = database.value<number>(
      'SELECT id FROM partition WHERE name = ? AND queue = ?',
      name,
      queue,
    );
    // The cache is bounded. An app may have a queue per customer, but a queue per task would fill
    // the memory.
    if (this.#partitions.size > 10_000) this.#partitions.clear();
    this.#partitions.set(key, partition);
    return partition;
  }

  /** Makes every process read the ids of partitions again, after some partitions were deleted. */
  forgetPartitions(): void {
    this.#partitions.clear();
    this.#database.run("UPDATE meta SET value = value + 1 WHERE key = 'partitions_deleted'");
  }

  /** Counts tasks of a partition that entered a state or left it. */
  count(partition: number, status: TaskStatus, by: number): void {
    if (status === 'pending') this.ready.changed(partition);
    const key = partition * 8 + stateCode[status];
    this.#tasks.set(key, (this.#tasks.get(key) ?? 0) + by);
  }

  /** Counts a tag that a task got or lost. */
  countTag(key: string, value: string, by: 1 | -1): void {
    add(this.#tags, key, value, by);
  }

  /** Counts a task with the fingerprint of a failure, by state. */
  countFailed(fingerprint: string, status: TaskStatus, by: 1 | -1): void {
    add(this.#failed, fingerprint, stateCode[status], by);
  }

  /**
   * Stores the task counts of partitions. If no task of a partition is in a state, the partition
   * has no row for that state.
   */
  writeTaskCounts(): void {
    for (const [key, by] of this.#tasks) {
      const [status, partition] = [key % 8, Math.floor(key / 8)];
      if (by > 0)
        this.#database.run(
          `INSERT INTO task_count (status, partition, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
            SET n = n + excluded.n`,
          status,
          partition,
          by,
        );
      if (by < 0) this.#countDown(status, partition, -by);
    }
    this.#tasks.clear();
  }

  #countDown(status: number, partition: number, by: number): void {
    this.#database.run(
      'UPDATE task_count SET n = n - ? WHERE status = ? AND partition = ?',
      by,
      status,
      partition,
    );
    this.#database.run(
      'DELETE FROM task_count WHERE status = ? AND partition = ? AND n = 0',
      status,
      partition,
    );
  }

  /** Stores all counts. */
  writeCounts(): void {
    this.writeTaskCounts();
    this.#writeSums(this.#tags, 'tag_count', 'key', 'value');
    this.#writeSums(this.#failed, 'failure_count', 'fingerprint', 'status');
  }

  /** Stores all counters before the commit. */
  close(): void {
    this.ready.write();
    this.writeCounts();
    if (this.#rev !== this.#before.rev)
      this.#database.run("UPDATE meta SET value = ? WHERE key = 'rev'", this.#rev);
    if (this.#rowid !== this.#before.rowid)
      this.#database.run("UPDATE meta SET value = ? WHERE key = 'rowid'", this.#rowid);
  }

  #writeSums(sums: Sums, table: string, first: string, second: string): void {
    for (const [one, others] of sums) {
      for (const [other, by] of others) {
        if (by !== 0)
          this.#database.run(
            `INSERT INTO ${table} (${first}, ${second}, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
              SET n = n + excluded.n`,
            one,
            other,
            by,
          );
        if (by < 0)
          this.#database.run(
            `DELETE FROM ${table} WHERE ${first} = ? AND ${second} = ? AND n <= 0`,
            one,
            other,
          );
      }
    }
    sums.clear();
  }

  /** Discards the counts of a failed transaction. */
  discard(): void {
    this.ready.discard();
    this.#tasks.clear();
    this.#tags.clear();
    this.#failed.clear();
    this.#partitions.clear();
  }
}

function add(sums: Sums, one: string, other: SqlValue, by: number): void {
  let others = sums.get(one);
  if (!others) {
    others = new Map();
    sums.set(one, others);
  }
  others.set(other, (others.get(other) ?? 0) + by);
}
