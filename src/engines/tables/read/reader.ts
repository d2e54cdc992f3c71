import type { Changes, EngineDescription } from '../../../tasks/engine.js';
import type { LogQuery, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine-queries.js';
import {
  type LogLine,
  logLevels,
  type ProcessInfo,
  type TaskDetail,
  type TaskSummary,
} from '../../../tasks/types.js';
import type { Notifier } from '../../notifier.js';
import { type Database, type Row, rollBack, type SqlValue } from '../schema/database.js';
import {
  detailsOf,
  idBytes,
  idOf,
  summaryColumns,
  toAttempt,
  toLogLine,
  toPause,
  toScheduleState,
  toSummary,
  toWorker,
} from '../schema/rows.js';
import { stateCode, stateOf } from '../schema/states.js';
import { hasExpired } from './expired.js';
import { type Delay, futureDelays } from './future-delays.js';
import { countTasks, listTasks } from './listing.js';
import { countedTo } from './sources.js';
import { hasOldStatistics, keptFrom, noQueue } from './statistics.js';

/** Maximum number of rows in one change event. */
const rowsOfChange = 500;
/** A number greater than that of any log line. */
const lastNumber = Number.MAX_SAFE_INTEGER;

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
      .all(
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
    return this.#atOnce(() => this.#detail(id, logLines));
  }

  #detail(id: string, logLines: number | undefined): TaskDetail | undefined {
    const row = this.#database.get(
      `SELECT ${summaryColumns}, attempt, started_at, ended_at, error_name, error_message, stack,
        error_details, args,
         result, result_omitted, rerun_of, rerun_as
       FROM task WHERE id = ?`,
      idBytes(id),
    );
    if (!row) return undefined;
    const summary = toSummary(row);
    return {
      ...summary,
      error: summary.error && { ...summary.error, ...detailsOf(row) },
      args: JSON.parse(String(row.args)) as readonly unknown[],
      attempts: this.#attempts(row),
      logs: logLines === 0 ? [] : this.logs(id, { before: lastNumber, limit: logLines }),
      result: row.result === null ? null : (JSON.parse(String(row.result)) as unknown),
      ...(row.result_omitted !== null && { resultOmitted: String(row.result_omitted) }),
      stack: row.stack === null ? null : String(row.stack),
      rerunOf: row.rerun_of === null ? null : idOf(row.rerun_of),
      rerunAs: row.rerun_as === null ? null : idOf(row.rerun_as),
    };
  }

  /**
   * Returns the attempts of a task. An ended attempt has a row of its own, except one that
   * succeeded at the first try: the row of the task describes it.
   */
  #attempts(task: Row): TaskDetail['attempts'] {
    const ended = this.#database
      .all('SELECT * FROM attempt WHERE task = ? ORDER BY number', task.rowid ?? null)
      .map(toAttempt);
    const number = Number(task.attempt);
    if (
      number === 0 ||
      ended.some((attempt) => attempt.number === number) ||
      stateOf(task.status) === 'pending'
    )
      return ended;
    return [...ended, toAttempt({ ...task, number })];
  }

  /**
   * Scans the lines of one task. Their number is limited, so they need no further index that would
   * slow down writing.
   */
  logs(
    id: string,
    { after = 0, before, attempt, level, text, limit = 10_000 }: LogQuery,
  ): LogLine[] {
    const conditions = ['task = (SELECT rowid FROM task WHERE id = ?)', 'n > ?'];
    const values: SqlValue[] = [idBytes(id), after];
    if (before !== undefined) {
      conditions.push('n < ?');
      values.push(before);
    }
    if (attempt !== undefined) {
      conditions.push('attempt = ?');
      values.push(attempt);
    }
    if (level !== undefined) {
      conditions.push('level IN (SELECT value FROM json_each(?))');
      values.push(JSON.stringify(logLevels.slice(logLevels.indexOf(level))));
    }
    if (text !== undefined) {
      const like = `%${text.replace(/[\\%_]/g, '\\$&')}%`;
      conditions.push("(message LIKE ? ESCAPE '\\' OR fields LIKE ? ESCAPE '\\')");
      values.push(like, like);
    }
    const order = before === undefined ? 'n' : 'n DESC';
    const sql = `SELECT n, at, attempt, level, late, message, fields FROM log
      WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT ?`;
    const lines = this.#database.all(sql, ...values, limit).map(toLogLine);
    return before === undefined ? lines : lines.reverse();
  }

  rev(): number {
    return Number(this.#database.get("SELECT value FROM meta WHERE key = 'rev'")?.value);
  }

  describe(): EngineDescription {
    const first = this.#database.get("SELECT value FROM meta WHERE key = 'first_rev'");
    return {
      engine: 'embedded',
      rev: this.rev(),
      oldestRev: Number(first?.value),
      queues: this.#queues(),
      schedules: this.schedules().map((row) => toScheduleState(row, Date.now())),
    };
  }

  #queues(): EngineDescription['queues'] {
    const paused = new Map(
      this.#database.all('SELECT * FROM paused').map((row) => [String(row.queue), toPause(row)]),
    );
    return this.#database
      .all(
        `SELECT queue FROM partition WHERE queue <> ? UNION SELECT queue FROM paused
          ORDER BY queue`,
        noQueue,
      )
      .map((row) => {
        const name = String(row.queue);
        return { name, paused: paused.has(name), pause: paused.get(name) ?? null };
      });
  }

  /** Returns for each queue since when its oldest ready task has been ready. */
  waits(): { queue: string; since: string }[] {
    return this.#database.all(oldestReady).map((row) => ({
      queue: String(row.queue),
      since: new Date(Number(row.run_at)).toISOString(),
    }));
  }

  /** Returns the rows of all schedules. */
  schedules(): Row[] {
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
    const rows = this.#database.all(
      `SELECT rev, ${summaryColumns} FROM task WHERE rev > ? ORDER BY rev DESC LIMIT ?`,
      after,
      rowsOfChange,
    );
    const gone = this.#database.all(
      'SELECT rev, id FROM tombstone WHERE rev > ? ORDER BY rev DESC LIMIT ?',
      after,
      rowsOfChange,
    );
    const dropped =
      this.#beyond('task', after, rows.length) + this.#beyond('tombstone', after, gone.length);
    rows.reverse();
    const revs = {
      upserts: rows.map((row) => Number(row.rev)),
      removed: gone.map((row) => Number(row.rev)),
    };
    return {
      rev,
      upserts: rows.map(toSummary),
      removed: gone.map((row) => idOf(row.id)),
      revs,
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
    const all = this.#database.get(
      `SELECT count(*) AS n FROM (SELECT 1 FROM ${table} WHERE rev > ? LIMIT ?)`,
      after,
      countedTo,
    );
    return Number(all?.n) - read;
  }

  /** Returns delays that begin after a time, the latest first. */
  futureDelays(after: number, limit: number): Delay[] {
    return futureDelays(this.#database, after, limit);
  }

  /** Returns whether there are failures that are not in the word index yet. */
  hasUnsearchable(): boolean {
    return this.#database.get('SELECT 1 FROM task WHERE searchable = 0 LIMIT 1') !== undefined;
  }

  /** Returns whether there are rollups of minutes or hours that are older than the given times. */
  hasOldStatistics(minutesBefore: number, hoursBefore: number): boolean {
    return hasOldStatistics(this.#database, minutesBefore, hoursBefore);
  }

  /** Returns whether rollups of hours were ever dropped. No partition is dropped before that. */
  hasDroppedHours(): boolean {
    return keptFrom(this.#database, 'hour') > 0;
  }

  /** Returns whether any stored item has expired. */
  hasExpired(at: number): boolean {
    return hasExpired(this.#database, at);
  }

  /** Returns the owners of running tasks, and the processes on the list. */
  owners(): string[] {
    return this.#database
      .all(
        `SELECT DISTINCT owner FROM task WHERE status = ${stateCode.running} AND owner IS NOT NULL
          UNION SELECT owner
          FROM worker`,
      )
      .map((row) => String(row.owner));
  }

  /**
   * Returns the processes that have the file open. `lastSign` returns the seconds since the last
   * heartbeat of a process.
   */
  workers(lastSign: (owner: string) => number): ProcessInfo[] {
    return this.#database
      .all(
        `SELECT owner, host, pid, version, slots, started_at, stuck, stuck_attempts,
           (SELECT count(*) FROM task WHERE status = ${stateCode.running}
             AND task.owner = worker.owner) AS running
         FROM worker ORDER BY started_at, owner`,
      )
      .map((row) => toWorker(row, lastSign(String(row.owner))));
  }

  /** Returns the running attempts of an owner for which a cancellation was requested. */
  toCancel(owner: string): { rowid: number; attempt: number }[] {
    return this.#database
      .all(
        `SELECT rowid, attempt FROM task WHERE owner = ? AND status = ${stateCode.running}
          AND cancelling = 1`,
        owner,
      )
      .map((row) => ({ rowid: Number(row.rowid), attempt: Number(row.attempt) }));
  }
}
