import type { TaskStatus } from '../../../tasks/types.js';
import type { Database, SqlValue } from '../schema/database.js';
import { stateCode } from '../schema/rows.js';
import { ReadyPartitions } from './ready-partitions.js';

/** Changes of a count, by the two columns of its key. */
type Sums = Map<string, Map<SqlValue, number>>;

/** What a transaction counts: the numbers of changes and of tasks, and how many tasks there are of each partition, tag and kind of failure. */
export class Ledger {
  /** The first ready task of each partition. */
  readonly ready: ReadyPartitions;
  readonly #database: Database;
  readonly #lanes = new Map<string, number>();
  /** Changes of the live counts, by state and lane. */
  readonly #tally = new Map<number, number>();
  readonly #tags: Sums = new Map();
  readonly #kinds: Sums = new Map();
  #rev = 0;
  #seq = 0;
  #before = { rev: 0, seq: 0 };
  /** How often partitions were deleted, by any process. */
  #deletions = 0;

  constructor(database: Database) {
    this.#database = database;
    this.ready = new ReadyPartitions(database);
  }

  /** Begins to count; a transaction that may write is open. */
  open(): void {
    for (const { key, value } of this.#database.all("SELECT key, value FROM meta WHERE key IN ('rev', 'seq', 'partitions_deleted')")) {
      if (key === 'rev') this.#rev = Number(value);
      else if (key === 'seq') this.#seq = Number(value);
      else if (value !== this.#deletions) {
        // The id of a deleted partition must no longer be used.
        this.#deletions = Number(value);
        this.#lanes.clear();
      }
    }
    this.#before = { rev: this.#rev, seq: this.#seq };
  }

  /** Number of the next change. */
  nextRev(): number {
    this.#rev += 1;
    return this.#rev;
  }

  /** Numbers of so many changes; answers the first. */
  nextRevs(n: number): number {
    this.#rev += n;
    return this.#rev - n + 1;
  }

  /** Number of the next task. */
  nextSeq(): number {
    this.#seq += 1;
    return this.#seq;
  }

  /** Returns the id of the partition of a name and a queue, and creates the partition if it does not exist. */
  lane(name: string, queue: string): number {
    const key = `${name}\0${queue}`;
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    const database = this.#database;
    database.run(
      'INSERT OR IGNORE INTO lane (name, queue, paused) VALUES (?1, ?2, EXISTS (SELECT 1 FROM paused WHERE queue = ?2))',
      name,
      queue,
    );
    const lane = Number(database.get('SELECT id FROM lane WHERE name = ? AND queue = ?', name, queue)?.id);
    // Bounded: a queue for each customer is a use, a queue for each task is none.
    if (this.#lanes.size > 10_000) this.#lanes.clear();
    this.#lanes.set(key, lane);
    return lane;
  }

  /** Makes every process look up the ids of partitions again, after some were deleted. */
  forgetPartitions(): void {
    this.#lanes.clear();
    this.#database.run("UPDATE meta SET value = value + 1 WHERE key = 'partitions_deleted'");
  }

  /** Counts tasks of a partition that came into a state, or left it. */
  count(lane: number, status: TaskStatus, by: number): void {
    if (status === 'pending') this.ready.changed(lane);
    const key = lane * 8 + stateCode[status];
    this.#tally.set(key, (this.#tally.get(key) ?? 0) + by);
  }

  /** Counts a tag that a task has, or had. */
  countTag(key: string, value: string, by: 1 | -1): void {
    add(this.#tags, key, value, by);
  }

  /** Counts a task whose row has the fingerprint of a failure, by its state. */
  countKind(fingerprint: string, status: TaskStatus, by: 1 | -1): void {
    add(this.#kinds, fingerprint, stateCode[status], by);
  }

  /** Stores what was counted of partitions. A partition has no row for a state that none of its tasks is in. */
  writeTally(): void {
    for (const [key, by] of this.#tally) {
      const [status, lane] = [key % 8, Math.floor(key / 8)];
      if (by > 0)
        this.#database.run(
          'INSERT INTO tally (status, lane, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n',
          status,
          lane,
          by,
        );
      if (by < 0) this.#countDown(status, lane, -by);
    }
    this.#tally.clear();
  }

  #countDown(status: number, lane: number, by: number): void {
    this.#database.run('UPDATE tally SET n = n - ? WHERE status = ? AND lane = ?', by, status, lane);
    this.#database.run('DELETE FROM tally WHERE status = ? AND lane = ? AND n = 0', status, lane);
  }

  /** Stores all that was counted. */
  writeCounts(): void {
    this.writeTally();
    this.#writeSums(this.#tags, 'tag_tally', 'key', 'value');
    this.#writeSums(this.#kinds, 'kind_tally', 'fingerprint', 'status');
  }

  /** Stores everything, before the commit. */
  close(): void {
    this.ready.write();
    this.writeCounts();
    if (this.#rev !== this.#before.rev) this.#database.run("UPDATE meta SET value = ? WHERE key = 'rev'", this.#rev);
    if (this.#seq !== this.#before.seq) this.#database.run("UPDATE meta SET value = ? WHERE key = 'seq'", this.#seq);
  }

  #writeSums(sums: Sums, table: string, first: string, second: string): void {
    for (const [one, others] of sums) {
      for (const [other, by] of others) {
        if (by !== 0)
          this.#database.run(
            `INSERT INTO ${table} (${first}, ${second}, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n`,
            one,
            other,
            by,
          );
        if (by < 0) this.#database.run(`DELETE FROM ${table} WHERE ${first} = ? AND ${second} = ? AND n <= 0`, one, other);
      }
    }
    sums.clear();
  }

  /** Forgets what a transaction that failed had counted. */
  discard(): void {
    this.ready.discard();
    this.#tally.clear();
    this.#tags.clear();
    this.#kinds.clear();
    this.#lanes.clear();
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
