import { randomInt } from 'node:crypto';
import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { Bell } from '../../embedded/bell.js';
import { type Database, inMemory, openDatabase, rollBack } from '../../embedded/database.js';
import { Failures } from '../../embedded/failures.js';
import { Inserter } from '../../embedded/insert.js';
import { layOut } from '../../embedded/layout.js';
import { Ledger } from '../../embedded/ledger.js';
import { readLive } from '../../embedded/metrics.js';
import { Reader } from '../../embedded/reader.js';
import { Rollups } from '../../embedded/rollup.js';
import { idBytes, idOf, stateCode } from '../../embedded/rows.js';
import { statusOf, type Transaction } from '../../embedded/transaction.js';
import { dropExpired, makeSearchable } from '../../embedded/upkeep-writes.js';
import type { Live } from '../../figures.js';
import { known, WindowRows, type WindowTask } from './window-rows.js';

/** Which tasks of a queue are counted together: those that BullMQ keeps in the same set, or lets wait. */
export type Group = 'pending' | 'running' | 'completed' | 'failed';

/** The group of a state. */
export function groupOf(status: TaskStatus): Group {
  if (status === 'pending' || status === 'running') return status;
  return status === 'success' ? 'completed' : 'failed';
}

/** States of a group, as they are stored. */
const codes: Record<Group, readonly number[]> = {
  pending: [stateCode.pending],
  running: [stateCode.running],
  completed: [stateCode.success],
  failed: [stateCode.failed, stateCode.interrupted, stateCode.cancelled],
};

/** Times between which tasks ended, in Unix milliseconds. */
interface EndRange {
  after?: number | undefined;
  before?: number | undefined;
}

/** Rows of one step: failures that are added to the word index, expired rows, and tasks that BullMQ has removed. */
const steps = { search: 100, expired: 500, dropped: 2000 };

/** Indexes by which tasks are claimed, which a window does not do. `owner` holds BullMQ's name of the queue. */
const layout = `
DROP INDEX task_ready; DROP INDEX task_waiting; DROP INDEX task_delayed;
CREATE INDEX window_ended ON task (owner, status, ended_at) WHERE status > 1;
`;

/**
 * The newest tasks in memory, in the tables of the embedded engine, which can be asked for any list. It holds what a list
 * shows, and neither arguments nor results. Each change has the next number; tasks that come into the window without a change
 * have none.
 */
export class Window {
  readonly #database: Database;
  readonly #reader: Reader;
  readonly #transaction: Transaction;
  readonly #rows: WindowRows;
  readonly #changed = new Bell();
  /** Tasks of each queue and group. */
  readonly #sizes = new Map<string, number>();

  private constructor(database: Database) {
    this.#database = database;
    this.#reader = new Reader(database);
    const ledger = new Ledger(database);
    this.#transaction = {
      ...{ database, ledger, rollups: new Rollups(database), failures: new Failures(database) },
      ...{ inserter: new Inserter(database, ledger), wanted: new Set() },
    };
    this.#rows = new WindowRows(this.#transaction);
  }

  static async open(): Promise<Window> {
    const database = await openDatabase(inMemory);
    layOut(database, inMemory);
    database.exec(layout);
    // A number of another window, which another process may have given, is most likely outside the range of this one.
    database.run("UPDATE meta SET value = ? WHERE key IN ('rev', 'first_rev')", randomInt(1, 2 ** 48 - 1));
    return new Window(database);
  }

  close(): void {
    this.#changed.close();
    this.#database.close();
  }

  /** How many tasks of each name and queue are in each state. */
  live(): Live[] {
    return readLive(this.#database);
  }

  /** Changes the window in one transaction. */
  write(work: () => void): void {
    const { ledger } = this.#transaction;
    this.#database.exec('BEGIN');
    try {
      ledger.open();
      work();
      // No task is claimed here.
      ledger.ready.discard();
      ledger.close();
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#rows.takeResized();
      ledger.discard();
      rollBack(this.#database);
      throw error;
    }
    for (const { queue, status, by } of this.#rows.takeResized()) {
      const key = sizeKey(queue, groupOf(status));
      this.#sizes.set(key, (this.#sizes.get(key) ?? 0) + by);
    }
  }

  /** Notifies the watchers. */
  tell(): void {
    this.#changed.ring();
  }

  /** Stores a task as it is now, after this number of changes. */
  put(task: WindowTask, changes: number): void {
    const row = this.#rows.get(task.id);
    const rev = this.#transaction.ledger.nextRevs(changes) + changes - 1;
    if (row) this.#rows.update(row, task, rev);
    else this.#rows.insert(task, rev);
  }

  /** Takes in a task that has not changed, unless it is here. */
  fill(task: WindowTask): void {
    if (!this.#rows.get(task.id)) this.#rows.insert(task, 0);
  }

  /** Drops a task that is gone. */
  forget(id: string): void {
    const row = this.#rows.get(id);
    if (row) this.#rows.forget(row);
  }

  /** Drops some of the tasks of a queue and group that ended between two times. Returns how many. */
  dropEnded(queue: string, group: 'completed' | 'failed', { after = -1, before = Number.MAX_SAFE_INTEGER }: EndRange): number {
    const rows = codes[group].flatMap((code) =>
      this.#database.all(
        `${known} INDEXED BY window_ended
        WHERE owner = ? AND status = ? AND status > 1 AND ended_at > ? AND ended_at < ? ORDER BY ended_at LIMIT ?`,
        ...[queue, code, after, before, steps.dropped],
      ),
    );
    if (rows.length > 0)
      this.write(() => {
        for (const row of rows) this.#rows.forget(row);
      });
    return rows.length;
  }

  /** When the task of a group ended that ended first, in Unix milliseconds. */
  oldestEnd(group: 'completed' | 'failed'): number | undefined {
    const ends = codes[group].flatMap((code) => {
      const end = this.#database.get(
        'SELECT min(ended_at) AS at FROM task INDEXED BY task_ended WHERE status = ? AND status > 1',
        code,
      )?.at;
      return typeof end === 'number' ? [end] : [];
    });
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  /**
   * Drops the oldest tasks of a group from the window: those that ended, or were created, first. They still exist, so watchers are
   * not notified. Returns their queues.
   */
  leaveOut(group: Group, n: number): Set<string> {
    const order = group === 'completed' || group === 'failed' ? 'ended_at, id' : 'id';
    const rows = codes[group]
      .flatMap((code) => this.#database.all(`${known} WHERE status = ? AND ${indexed(group)} ORDER BY ${order} LIMIT ?`, code, n))
      .sort((a, b) => Number(a.ended_at) - Number(b.ended_at) || Buffer.compare(a.id as Uint8Array, b.id as Uint8Array))
      .slice(0, n);
    for (const row of rows) {
      this.#rows.forget(row);
      this.#database.run('DELETE FROM tombstone WHERE id = ?1 AND rev = (SELECT max(rev) FROM tombstone)', row.id ?? null);
    }
    return new Set(rows.map(({ owner }) => String(owner)));
  }

  /** How many tasks there are, of one group or of all, and of one queue or of all. */
  size(group?: Group, queue?: string): number {
    if (group !== undefined && queue !== undefined) return this.#sizes.get(sizeKey(queue, group)) ?? 0;
    let sum = 0;
    for (const [key, n] of this.#sizes) if (group === undefined || key.startsWith(`${group}:`)) sum += n;
    return sum;
  }

  /** The states of some tasks, those that are here. */
  states(ids: readonly string[]): Map<string, TaskStatus> {
    const rows = this.#database.all(
      "SELECT id, status FROM task WHERE id IN (SELECT unhex(value, '-') FROM json_each(?))",
      JSON.stringify(ids),
    );
    return new Map(rows.map((row) => [idOf(row.id), statusOf(row)]));
  }

  /** Ids of the tasks of a queue that wait, or that run. */
  idsOf(queue: string, group: 'pending' | 'running'): string[] {
    const index = group === 'running' ? 'task_running WHERE status = 1' : 'task_status WHERE status = 0 AND status <> 1';
    return this.#database.all(`SELECT id FROM task INDEXED BY ${index} AND owner = ?`, queue).map(({ id }) => idOf(id));
  }

  /** Ids of some ended tasks of a queue and group, after one in the order of ids. */
  idsOfEnded(queue: string, group: 'completed' | 'failed', after: string | undefined, limit: number): string[] {
    const start = after === undefined ? new Uint8Array() : idBytes(after);
    return codes[group]
      .flatMap((code) =>
        this.#database.all(
          'SELECT id FROM task INDEXED BY task_status WHERE status = ? AND status <> 1 AND owner = ? AND id > ? ORDER BY id LIMIT ?',
          code,
          queue,
          start,
          limit,
        ),
      )
      .map(({ id }) => idOf(id))
      .sort()
      .slice(0, limit);
  }

  find(query: TaskQuery): TaskPage {
    return this.#reader.find(query);
  }

  count(filter: TaskFilter): { n: number; more: boolean } {
    return this.#reader.count(filter);
  }

  summaries(ids: readonly string[]): TaskSummary[] {
    return this.#reader.summaries(ids);
  }

  watch(after: number, signal: AbortSignal): AsyncIterable<Changes> {
    return this.#reader.watch(after, this.#changed, signal);
  }

  revs(): { rev: number; oldestRev: number } {
    const { rev, oldestRev } = this.#reader.describe();
    return { rev, oldestRev };
  }

  /** Whether there are failures that a search does not find yet. */
  hasUnsearchable(): boolean {
    return this.#reader.hasUnsearchable();
  }

  /** Adds some failures to the word index. */
  makeSearchable(): void {
    this.write(() => void makeSearchable(this.#transaction, { kind: 'makeSearchable', limit: steps.search }, Date.now()));
  }

  /** Drops tombstones of deletes that are too old to be reported to watchers. */
  dropExpired(): void {
    const at = Date.now();
    if (this.#reader.hasExpired(at))
      this.write(() => void dropExpired(this.#transaction, { kind: 'dropExpired', limit: steps.expired, at }));
  }
}

function sizeKey(queue: string, group: Group): string {
  return `${group}:${queue}`;
}

/** What makes SQLite use the index in which the oldest tasks of a group come first. */
function indexed(group: Group): string {
  return group === 'completed' || group === 'failed' ? 'status > 1' : group === 'pending' ? 'status <> 1' : 'TRUE';
}
