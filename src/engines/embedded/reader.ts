import type { Changes, EngineDescription, LogQuery, TaskPage, TaskQuery } from '../../tasks/engine.js';
import { type LogLine, type TaskDetail, type TaskStatus, taskStatuses } from '../../tasks/types.js';
import type { Database, Row, SqlValue } from './database.js';
import { summaryColumns, toAttempt, toLogLine, toSummary } from './rows.js';

/** Totals are counted this far and no further. */
const countedTo = 10_000;
/** Rows of one change event. */
const rowsOfChange = 500;

/** All SQL that reads tasks. Every query answers from an index, whatever the length of the history. */
export class Reader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  find({ status, name, limit, after }: TaskQuery): TaskPage {
    const rows = this.#firstRows(status, name, limit + 1, after);
    const items = rows.slice(0, limit).map(toSummary);
    const counted = this.#countTasks(status, name);
    return {
      items,
      next: rows.length > limit ? (items.at(-1)?.id ?? null) : null,
      total: Math.min(counted, countedTo),
      totalRelation: counted > countedTo ? 'gte' : 'eq',
    };
  }

  /** The newest rows. An index holds the ids of each state in order, so several states are read apart and merged. */
  #firstRows(status: readonly TaskStatus[] | undefined, name: string | undefined, limit: number, after: string | undefined): Row[] {
    const end = after ?? '~';
    if (status === undefined && name === undefined) return this.#database.all(pageQueries.all, end, limit);
    const rows = (status ?? taskStatuses).flatMap((each) =>
      name === undefined
        ? this.#database.all(pageQueries.byStatus, each, end, limit)
        : this.#database.all(pageQueries.byName, name, each, end, limit),
    );
    return rows.sort((a, b) => (String(a.id) < String(b.id) ? 1 : -1)).slice(0, limit);
  }

  #countTasks(status: readonly TaskStatus[] | undefined, name: string | undefined): number {
    const rows =
      name === undefined
        ? this.#database.all('SELECT status, n FROM tally')
        : this.#database.all('SELECT status, n FROM tally WHERE name = ?', name);
    return rows.reduce((sum, row) => (status === undefined || status.includes(row.status as TaskStatus) ? sum + Number(row.n) : sum), 0);
  }

  get(id: string): TaskDetail | undefined {
    const row = this.#database.get(`SELECT ${summaryColumns}, stack, args, result, result_omitted FROM task WHERE id = ?`, id);
    if (!row) return undefined;
    return {
      ...toSummary(row),
      args: JSON.parse(String(row.args)) as readonly unknown[],
      attempts: this.#attempts(row),
      logs: this.logs(id, {}),
      result: row.result === null ? null : (JSON.parse(String(row.result)) as unknown),
      ...(row.result_omitted !== null && { resultOmitted: String(row.result_omitted) }),
      stack: row.stack === null ? null : String(row.stack),
      rerunOf: null,
      rerunAs: null,
    };
  }

  /** Attempts that ended are rows of their own, but for one that succeeded at the first try: the task says it all. */
  #attempts(task: Row): TaskDetail['attempts'] {
    const ended = this.#database.all('SELECT * FROM attempt WHERE task = ? ORDER BY number', task.id ?? null).map(toAttempt);
    const number = Number(task.attempt);
    const status = String(task.status);
    if (number === 0 || ended.some((attempt) => attempt.number === number) || status === 'pending') return ended;
    return [...ended, toAttempt({ ...task, number, status })];
  }

  logs(id: string, { after = 0, limit = 10_000 }: LogQuery): LogLine[] {
    return this.#database
      .all('SELECT n, at, attempt, level, message, fields FROM log WHERE task = ? AND n > ? ORDER BY n LIMIT ?', id, after, limit)
      .map(toLogLine);
  }

  rev(): number {
    return Number(this.#database.get("SELECT value FROM meta WHERE key = 'rev'")?.value);
  }

  describe(): EngineDescription {
    const first = this.#database.get("SELECT value FROM meta WHERE key = 'first_rev'");
    return { engine: 'embedded', rev: this.rev(), oldestRev: Number(first?.value) };
  }

  /** The present row of every task that changed after a number: the newest 500, and how many more there are. */
  changes(after: number): Changes {
    const rev = this.rev();
    const rows = this.#database.all(`SELECT ${summaryColumns} FROM task WHERE rev > ? ORDER BY rev DESC LIMIT ?`, after, rowsOfChange);
    const full = rows.length === rowsOfChange;
    const dropped = full
      ? Number(this.#database.get('SELECT count(*) AS n FROM (SELECT 1 FROM task WHERE rev > ? LIMIT ?)', after, countedTo)?.n) -
        rows.length
      : 0;
    return { rev, upserts: rows.reverse().map(toSummary), removed: [], dropped };
  }

  /** Owners of running tasks. */
  owners(): string[] {
    return this.#database
      .all("SELECT DISTINCT owner FROM task WHERE status = 'running' AND owner IS NOT NULL")
      .map((row) => String(row.owner));
  }

  /** Running tasks of an owner that are to be cancelled. */
  toCancel(owner: string): string[] {
    return this.#database
      .all("SELECT id FROM task WHERE owner = ? AND status = 'running' AND cancelling = 1", owner)
      .map((row) => String(row.id));
  }

  /** Changes whenever another connection has committed. */
  dataVersion(): SqlValue {
    return this.#database.get('PRAGMA data_version')?.data_version ?? null;
  }
}

/** The queries of a page, in one place so that a test can ask SQLite for their plans. */
export const pageQueries = {
  all: `SELECT ${summaryColumns} FROM task WHERE id < ? ORDER BY id DESC LIMIT ?`,
  byStatus: `SELECT ${summaryColumns} FROM task WHERE status = ? AND id < ? ORDER BY id DESC LIMIT ?`,
  byName: `SELECT ${summaryColumns} FROM task WHERE name = ? AND status = ? AND id < ? ORDER BY id DESC LIMIT ?`,
};
