import type { Notifier } from '../../../notifier.js';
import type { Changes, EngineDescription } from '../../../tasks/engine.js';
import type { LogQuery, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import type { LogLine, ProcessInfo, TaskDetail, TaskSummary } from '../../../tasks/types.js';
import { type Database, rollBack } from '../schema/database.js';
import {
  idOf,
  type PauseRow,
  type ProcessRow,
  type ScheduleRow,
  toPause,
  toProcess,
  toScheduleState,
} from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
import { type SummaryRow, summaryColumns, toSummary } from '../schema/summaries.js';
import { countTasks, listTasks } from './listing.js';
import { countedTo } from './sources.js';
import { keptFrom, noQueue } from './statistics.js';
import { readDetail, readLogs } from './task-detail.js';
import { lastTombstone } from './tombstones.js';

/** A delay: the row id of its task, and its start in Unix milliseconds. */
export type Delay = readonly [rowid: number, waitsFrom: number];

/** Maximum number of rows in one change event. */
const rowsOfChange = 500;

/**
 * Selects the oldest ready task of each queue. It reads the index that claims use, one priority
 * after the other: one task for each partition and priority. Partitions without ready tasks are not
 * in that index.
 */
const oldestReady = `
WITH RECURSIVE each (partition, priority) AS (
  SELECT id, ready_priority FROM partition INDEXED BY partition_ready WHERE ready_id IS NOT NULL
  UNION ALL
  SELECT partition, (SELECT max(priority) FROM task INDEXED BY task_ready
    WHERE partition = each.partition AND status = ${stateCode.pending} AND ready_at IS NULL
      AND priority < each.priority) FROM each WHERE priority IS NOT NULL
)
SELECT queue, min(run_at) AS run_at FROM each JOIN partition ON partition.id = each.partition
  JOIN task ON task.rowid = (SELECT rowid FROM task INDEXED BY task_ready
    WHERE partition = each.partition AND status = ${stateCode.pending} AND ready_at IS NULL
      AND priority = each.priority ORDER BY id LIMIT 1)
WHERE each.priority IS NOT NULL GROUP BY queue`;

/**
 * Reads tasks, logs, schedules, processes and changes. `listing.ts` answers its lists and counts;
 * `aggregates.ts` answers statistics from counts and rollups. Every query reads an index, so its
 * cost does not depend on the length of the history.
 */
export class Reader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  find(query: TaskQuery): TaskPage {
    return this.#atOnce(() => listTasks(this.#database, query));
  }

  /** Counts the tasks of a filter. `more`: there may be more than `n`. */
  count(filter: TaskFilter): { n: number; more: boolean } {
    return this.#atOnce(() => countTasks(this.#database, filter));
  }

  /** Returns the tasks with the given ids. Unknown ids are left out. */
  summaries(ids: readonly string[]): TaskSummary[] {
    return this.#database
      .all<SummaryRow>(
        `SELECT ${summaryColumns} FROM task WHERE id IN (SELECT unhex(value, '-')
          FROM json_each(?))`,
        JSON.stringify(ids),
      )
      .map(toSummary);
  }

  /**
   * Runs several reads in one transaction. Otherwise a commit between them could make a total that
   * does not match its page.
   */
  #atOnce<T>(read: () => T): T {
    this.#database.exec('BEGIN');
    try {
      return read();
    } finally {
      rollBack(this.#database);
    }
  }

  get(id: string, logLines?: number): TaskDetail | undefined {
    return this.#atOnce(() => readDetail(this.#database, id, logLines));
  }

  logs(id: string, query: LogQuery): LogLine[] {
    return readLogs(this.#database, id, query);
  }

  rev(): number {
    return this.#database.value("SELECT value FROM meta WHERE key = 'rev'");
  }

  describe(): EngineDescription {
    return {
      engine: 'embedded',
      rev: this.rev(),
      oldestRev: this.#database.value("SELECT value FROM meta WHERE key = 'first_rev'"),
      queues: this.#queues(),
      schedules: this.schedules().map((row) => toScheduleState(row, Date.now())),
    };
  }

  #queues(): EngineDescription['queues'] {
    return this.#database
      .all<PauseRow | (Omit<PauseRow, 'at'> & { at: null })>(
        `SELECT queue, at, paused_by, reason FROM (SELECT queue FROM partition WHERE queue <> ?
           UNION SELECT queue FROM paused) LEFT JOIN paused USING (queue) ORDER BY queue`,
        noQueue,
      )
      .map((row) => {
        const pause = row.at === null ? null : toPause(row);
        return { name: row.queue, paused: pause !== null, pause };
      });
  }

  /** Returns for each queue since when its oldest ready task has been ready. */
  waits(): { queue: string; since: string }[] {
    return this.#database
      .all<{ queue: string; run_at: number }>(oldestReady)
      .map(({ queue, run_at: at }) => ({ queue, since: new Date(at).toISOString() }));
  }

  /** Returns the rows of all schedules. */
  schedules(): ScheduleRow[] {
    return this.#database.all('SELECT * FROM schedule ORDER BY name');
  }

  /**
   * Returns the current row of each task that changed after a change number: the newest 500, and
   * how many more changed.
   */
  changes(after: number): Changes {
    return this.#atOnce(() => this.#changes(after));
  }

  #changes(after: number): Changes {
    const rev = this.rev();
    const rows = this.#database.all<SummaryRow & { rev: number }>(
      `SELECT rev, ${summaryColumns} FROM task WHERE rev > ? ORDER BY rev DESC LIMIT ?`,
      after,
      rowsOfChange,
    );
    const gone = this.#database.all<{ rev: number; id: Uint8Array }>(
      'SELECT rev, id FROM tombstone WHERE rev > ? ORDER BY rev DESC LIMIT ?',
      after,
      rowsOfChange,
    );
    const dropped =
      this.#beyond('task', after, rows.length) + this.#beyond('tombstone', after, gone.length);
    rows.reverse();
    return {
      rev,
      upserts: rows.map(toSummary),
      removed: gone.map((row) => idOf(row.id)),
      revs: { upserts: rows.map((row) => row.rev), removed: gone.map((row) => row.rev) },
      dropped,
    };
  }

  /**
   * Yields the changes after a change number: immediately if there are any, then after each
   * notification.
   */
  async *watch(after: number, changed: Notifier, signal: AbortSignal): AsyncGenerator<Changes> {
    let rev = after;
    while (!signal.aborted && !changed.closed) {
      if (this.rev() <= rev) {
        await changed.wait(signal);
        continue;
      }
      const changes = this.changes(rev);
      rev = changes.rev;
      yield changes;
    }
  }

  /** Returns how many changes of a table are not among the rows that were read. */
  #beyond(table: 'task' | 'tombstone', after: number, read: number): number {
    if (read < rowsOfChange) return 0;
    const all = this.#database.value<number>(
      `SELECT count(*) FROM (SELECT 1 FROM ${table} WHERE rev > ? LIMIT ?)`,
      after,
      countedTo,
    );
    return all - read;
  }

  /** Returns delays that begin after a time, the latest first. */
  futureDelays(after: number, limit: number): Delay[] {
    return this.#database
      .all<{ rowid: number; from: number }>(
        `SELECT rowid, waits_from AS "from" FROM task WHERE ready_at IS NOT NULL
           AND waits_from IS NOT NULL AND waits_from > ?
         ORDER BY waits_from DESC LIMIT ?`,
        after,
        limit,
      )
      .map(({ rowid, from }) => [rowid, from]);
  }

  /** Returns whether there are failures that are not in the word index yet. */
  hasUnsearchable(): boolean {
    return this.#database.get('SELECT 1 FROM task WHERE searchable = 0 LIMIT 1') !== undefined;
  }

  /** Returns whether there are rollups of minutes or hours that are older than the given times. */
  hasOldStatistics(minutesBefore: number, hoursBefore: number): boolean {
    const sql = 'SELECT 1 FROM rollup WHERE level = ? AND at < ? LIMIT 1';
    return (
      this.#database.get(sql, 'minute', minutesBefore) !== undefined ||
      this.#database.get(sql, 'hour', hoursBefore) !== undefined
    );
  }

  /** Returns whether rollups of hours were ever dropped. No partition is dropped before that. */
  hasDroppedHours(): boolean {
    return keptFrom(this.#database, 'hour') > 0;
  }

  /** Returns whether a `dropExpired` write would drop anything. */
  hasExpired(at: number): boolean {
    const database = this.#database;
    return (
      database.get('SELECT 1 FROM idempotency WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
      database.get('SELECT 1 FROM shared WHERE expires_at <= ? LIMIT 1', at) !== undefined ||
      lastTombstone(database) !== undefined
    );
  }

  /** Returns the owners of running tasks, and the processes on the list. */
  owners(): string[] {
    return this.#database
      .all<{ owner: string }>(
        `SELECT DISTINCT owner FROM task WHERE status = ${stateCode.running} AND owner IS NOT NULL
          UNION SELECT owner
          FROM worker`,
      )
      .map(({ owner }) => owner);
  }

  /**
   * Returns the processes that have the file open. `lastSign` returns the seconds since the last
   * heartbeat of a process.
   */
  workers(lastSign: (owner: string) => number): ProcessInfo[] {
    return this.#database
      .all<ProcessRow>(
        `SELECT owner AS id, host, pid, version, slots,
           (SELECT count(*) FROM task WHERE status = ${stateCode.running}
             AND task.owner = worker.owner) AS running,
           stuck, stuck_attempts AS stuckAttempts, started_at AS startedAt
         FROM worker ORDER BY started_at, owner`,
      )
      .map((row) => toProcess(row, lastSign(row.id)));
  }

  /** Returns the running attempts of an owner for which a cancellation was requested. */
  toCancel(owner: string): { rowid: number; attempt: number }[] {
    return this.#database.all(
      `SELECT rowid, attempt FROM task WHERE owner = ? AND status = ${stateCode.running}
          AND cancelling = 1`,
      owner,
    );
  }
}
