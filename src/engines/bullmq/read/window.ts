import { randomInt } from 'node:crypto';
import { Notifier } from '../../../notifier.js';
import type { Changes } from '../../../tasks/engine.js';
import type { Aggregates, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { TaskDetail, TaskSummary } from '../../../tasks/types.js';
import type { Live } from '../../metrics.js';
import { aggregate } from '../../tables/read/aggregates.js';
import { readLive } from '../../tables/read/metrics.js';
import { Reader } from '../../tables/read/reader.js';
import { type Database, inMemory, openDatabase, rollBack } from '../../tables/schema/database.js';
import { layOut } from '../../tables/schema/layout.js';
import { compareEnds, idBytes, idOf } from '../../tables/schema/rows.js';
import { hasEnded, isNotRunning, stateCode } from '../../tables/schema/states.js';
import { Counters } from '../../tables/write/counters.js';
import { Failures } from '../../tables/write/failures.js';
import { Inserter } from '../../tables/write/insert.js';
import { Rollups } from '../../tables/write/rollup.js';
import { statusOf, type Transaction } from '../../tables/write/transaction.js';
import type { JobRef } from '../jobs/job-ids.js';
import { codes, type EndedGroup, type Group, groupOf } from './groups.js';
import { RowIds } from './row-ids.js';
import { WindowEnds } from './window-ends.js';
import { WindowMaintenance } from './window-maintenance.js';
import { type KnownRow, known, WindowRows, type WindowTask } from './window-rows.js';
import type { JobRules } from './window-task.js';

/** Maximum number of tasks that one step drops. */
const maxDropped = 2000;

/** Drops the indexes for claiming tasks. `owner` holds BullMQ's name of the queue. */
const layout = `
DROP INDEX task_ready; DROP INDEX task_waiting; DROP INDEX task_delayed;
CREATE INDEX window_ended ON task (owner, status, ended_at) WHERE ${hasEnded};
`;

/**
 * Holds the newest tasks in memory, in the tables of the embedded engine, which can answer any
 * list. It holds what lists show, but neither arguments nor results. Each change gets the next
 * revision. Tasks that are added without a change have the revision 0.
 */
export class Window {
  /** Maps its rows to public ids. */
  readonly ids: RowIds;
  /** Reads its ended tasks. */
  readonly ends: WindowEnds;
  /** Deletes old data and indexes failures. */
  readonly maintenance: WindowMaintenance;
  readonly #database: Database;
  readonly #reader: Reader;
  readonly #transaction: Transaction;
  readonly #rows: WindowRows;
  readonly #changed = new Notifier();
  /** The number of tasks of each queue and group. */
  readonly #sizes = new Map<string, number>();

  private constructor(database: Database, { hasOwnIds, keepsEnded }: JobRules) {
    this.#database = database;
    this.ids = new RowIds(database, hasOwnIds);
    this.ends = new WindowEnds(database);
    this.#reader = new Reader(database);
    const counters = new Counters(database);
    this.#transaction = {
      database,
      counters,
      rollups: new Rollups(database),
      failures: new Failures(database),
      inserter: new Inserter(database, counters),
      wanted: new Set(),
    };
    this.maintenance = new WindowMaintenance({
      reader: this.#reader,
      transaction: this.#transaction,
      write: (work) => this.write(work),
    });
    this.#rows = new WindowRows(this.#transaction, this.ids, keepsEnded);
  }

  static async open(rules: JobRules): Promise<Window> {
    const database = await openDatabase(inMemory);
    layOut(database, inMemory);
    database.exec(layout);
    // Revisions start at a random number, so a revision of another process's window is most likely
    // outside the range of this one.
    database.run(
      "UPDATE meta SET value = ? WHERE key IN ('rev', 'first_rev')",
      randomInt(1, 2 ** 48 - 1),
    );
    return new Window(database, rules);
  }

  close(): void {
    this.#changed.close();
    this.#database.close();
  }

  /** Counts the tasks by name, queue and state. */
  live(): Live[] {
    return readLive(this.#database);
  }

  /** Changes the window in one transaction. */
  write(work: () => void): void {
    const { counters, rollups, failures } = this.#transaction;
    this.#database.exec('BEGIN');
    try {
      counters.open();
      work();
      // Tasks are never claimed from a window.
      counters.ready.discard();
      rollups.write();
      failures.write();
      counters.close();
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#rows.takeResized();
      counters.discard();
      rollups.discard();
      failures.discard();
      rollBack(this.#database);
      throw error;
    }
    for (const { queue, status, by } of this.#rows.takeResized()) {
      const key = sizeKey(queue, groupOf(status));
      this.#sizes.set(key, (this.#sizes.get(key) ?? 0) + by);
    }
  }

  /** Notifies the watchers. */
  notify(): void {
    this.#changed.notify();
  }

  /** Stores a task as it is now, after `changes` changes since it was last stored. */
  put(task: WindowTask, changes: number): void {
    this.#forgetFormer(task);
    const row = this.#rows.get(task.id);
    const rev = this.#transaction.counters.nextRevs(changes) + changes - 1;
    if (row) this.#rows.update(row, task, rev);
    else this.#rows.insert(task, rev);
  }

  /** Adds a task that has not changed, unless it is in the window. */
  fill(task: WindowTask): void {
    this.#forgetFormer(task);
    if (!this.#rows.get(task.id)) this.#rows.insert(task, 0);
  }

  /** Drops the task of a former job that had the same id. */
  #forgetFormer(task: WindowTask): void {
    const former = this.ids.of(task);
    if (former !== undefined && former !== task.id) this.forget(former);
  }

  /** Drops a task that no longer exists. */
  forget(id: string): void {
    const row = this.#rows.get(id);
    if (row) this.#rows.forget(row);
  }

  /** Drops some tasks that ended between two times (Unix milliseconds). Returns how many. */
  dropEnded(
    queue: string,
    group: EndedGroup,
    after = -1,
    before = Number.MAX_SAFE_INTEGER,
  ): number {
    const rows = codes[group].flatMap((code) =>
      this.#database.all<KnownRow>(
        `${known} INDEXED BY window_ended
        WHERE owner = ? AND status = ? AND ${hasEnded} AND ended_at > ? AND ended_at < ?
          ORDER BY ended_at LIMIT ?`,
        ...[queue, code, after, before, maxDropped],
      ),
    );
    if (rows.length > 0)
      this.write(() => {
        for (const row of rows) this.#rows.forget(row);
      });
    return rows.length;
  }

  /**
   * Drops the oldest tasks of a group from the window, by end time or by creation time. They still
   * exist, so watchers are not notified. Returns their queues, and for each when its last dropped
   * task ended.
   */
  leaveOut(group: 'pending' | EndedGroup, n: number): Map<string, number> {
    // The condition makes SQLite use the index of the group.
    const [condition, order] =
      group === 'pending' ? [isNotRunning, 'id'] : [hasEnded, 'ended_at, id'];
    const rows = codes[group]
      .flatMap((code) =>
        this.#database.all<KnownRow>(
          `${known} WHERE status = ? AND ${condition} ORDER BY ${order} LIMIT ?`,
          code,
          n,
        ),
      )
      .sort(compareEnds)
      .slice(0, n);
    const left = new Map<string, number>();
    for (const row of rows) {
      left.set(row.owner, row.ended_at ?? 0);
      this.#rows.forget(row);
      this.#database.run(
        'DELETE FROM tombstone WHERE id = ?1 AND rev = (SELECT max(rev) FROM tombstone)',
        row.id,
      );
    }
    return left;
  }

  /** Counts the tasks, of one group or of all, and of one queue or of all. */
  size(group?: Group, queue?: string): number {
    if (group !== undefined && queue !== undefined)
      return this.#sizes.get(sizeKey(queue, group)) ?? 0;
    let sum = 0;
    for (const [key, n] of this.#sizes)
      if (group === undefined || key.startsWith(`${group}:`)) sum += n;
    return sum;
  }

  /** Returns the group of each job, or `undefined` for a job that is not in the window. */
  groupsOf(jobs: readonly JobRef[]): (Group | undefined)[] {
    const ids = jobs.map((job) => this.ids.of(job) ?? '');
    const rows = this.#database.all<{ id: Uint8Array; status: number }>(
      "SELECT id, status FROM task WHERE id IN (SELECT unhex(value, '-') FROM json_each(?))",
      JSON.stringify(ids),
    );
    const groups = new Map(rows.map((row) => [idOf(row.id), groupOf(statusOf(row))]));
    return ids.map((id) => groups.get(id));
  }

  /** Returns the ids of the waiting or of the running jobs of a queue. */
  jobIdsOf(queue: string, group: 'pending' | 'running'): string[] {
    const [index, condition] =
      group === 'running'
        ? ['task_running', `status = ${stateCode.running}`]
        : ['task_status', `status = ${stateCode.pending} AND ${isNotRunning}`];
    return this.#database
      .all<{ id: Uint8Array; key: string | null }>(
        `SELECT task.id, key FROM task INDEXED BY ${index} LEFT JOIN job ON job.id = task.id
          WHERE ${condition} AND owner = ?`,
        queue,
      )
      .map(({ id, key }) => key?.slice(queue.length + 1) ?? idOf(id));
  }

  /** Returns the row ids of some waiting or ended tasks, in the order of ids, after `after`. */
  idsAfter(
    queue: string,
    group: 'pending' | EndedGroup,
    after: string | undefined,
    limit: number,
  ): string[] {
    const start = after === undefined ? new Uint8Array() : idBytes(after);
    const query = `SELECT id FROM task INDEXED BY task_status WHERE status = ? AND ${isNotRunning}
      AND owner = ? AND id > ? ORDER BY id LIMIT ?`;
    const rows = codes[group].flatMap((code) =>
      this.#database.all<{ id: Uint8Array }>(query, code, queue, start, limit),
    );
    return rows
      .map(({ id }) => idOf(id))
      .sort()
      .slice(0, limit);
  }

  find(query: TaskQuery): TaskPage {
    const page = this.#reader.find(query);
    return { ...page, items: this.ids.named(page.items) };
  }

  /** Returns what the window has of a task: all but what only its job has. */
  detail(id: string): TaskDetail | undefined {
    const task = this.#reader.get(id, 0);
    return task && this.ids.named([task])[0];
  }

  /** Returns an aggregate of the tasks in the window. */
  aggregate<K extends keyof Aggregates>(
    kind: K,
    query: Aggregates[K]['query'],
  ): Aggregates[K]['answer'] {
    const answer = aggregate(
      { database: this.#database, reader: this.#reader, now: Date.now(), lastSign: () => 0 },
      kind,
      query,
    );
    if (kind !== 'failures') return answer;
    const { items, next } = answer as Aggregates['failures']['answer'];
    const names = this.ids.names(items.map(({ lastTaskId }) => lastTaskId));
    const named = items.map((item, n) => ({ ...item, lastTaskId: names[n] ?? item.lastTaskId }));
    return { items: named, next } as Aggregates[K]['answer'];
  }

  count(filter: TaskFilter): { n: number; more: boolean } {
    return this.#reader.count(filter);
  }

  /** Returns the tasks of some rows. Rows that are not in the window are left out. */
  summaries(ids: readonly string[]): readonly TaskSummary[] {
    return this.ids.named(this.#reader.summaries(ids));
  }

  async *watch(after: number, signal: AbortSignal): AsyncGenerator<Changes> {
    for await (const changes of this.#reader.watch(after, this.#changed, signal))
      yield {
        ...changes,
        upserts: this.ids.named(changes.upserts),
        removed: this.ids.names(changes.removed),
      };
  }

  revs(): { rev: number; oldestRev: number } {
    const { rev, oldestRev } = this.#reader.describe();
    return { rev, oldestRev };
  }
}

function sizeKey(queue: string, group: Group): string {
  return `${group}:${queue}`;
}
