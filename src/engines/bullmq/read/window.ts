import { randomInt } from 'node:crypto';
import type { Changes, TaskFilter, TaskPage, TaskQuery } from '../../../tasks/engine.js';
import { isEnded } from '../../../tasks/states.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskStatus, TaskSummary } from '../../../tasks/types.js';
import { Bell } from '../../embedded/bell.js';
import { deleteTask } from '../../embedded/commands.js';
import { type Database, inMemory, openDatabase, type Row, rollBack } from '../../embedded/database.js';
import { Failures } from '../../embedded/failures.js';
import { Inserter } from '../../embedded/insert.js';
import { layOut } from '../../embedded/layout.js';
import { Ledger } from '../../embedded/ledger.js';
import { readLive } from '../../embedded/metrics.js';
import { Reader } from '../../embedded/reader.js';
import { Rollups } from '../../embedded/rollup.js';
import { idBytes, idOf, stateCode } from '../../embedded/rows.js';
import { move, statusOf, type Transaction } from '../../embedded/transaction.js';
import { dropExpired, makeSearchable } from '../../embedded/upkeep-writes.js';
import type { Live } from '../../figures.js';

/** A job as a row of the window. */
export interface WindowTask {
  summary: TaskSummary;
  /** BullMQ's name of its queue. */
  queue: string;
  schedule: string | null;
}

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

/** Failed tasks that are added to the word index in one step, and expired tombstones that are dropped in one. */
const steps = { search: 100, expired: 500 };

/** Indexes by which tasks are claimed, which a window does not do. `owner` holds BullMQ's name of the queue. */
const layout = `
DROP INDEX task_ready; DROP INDEX task_waiting; DROP INDEX task_delayed;
CREATE INDEX window_ended ON task (owner, status, ended_at) WHERE status > 1;
`;

const known = 'SELECT seq, id, lane, status, owner, fingerprint, searchable, ended_at FROM task';

/**
 * The newest tasks in memory, in the tables of the embedded engine, which can be asked for any list. It holds what a list
 * shows, and neither arguments nor results. Each change has the next number; tasks that come into the window without a change
 * have none.
 */
export class Window {
  readonly #database: Database;
  readonly #reader: Reader;
  readonly #transaction: Transaction;
  readonly #changed = new Bell();
  /** Tasks of each queue and group. */
  readonly #sizes = new Map<string, number>();
  /** Changes of these in the transaction that is open. */
  #resized: [queue: string, status: TaskStatus, by: number][] = [];

  private constructor(database: Database) {
    this.#database = database;
    this.#reader = new Reader(database);
    const ledger = new Ledger(database);
    this.#transaction = {
      ...{ database, ledger, rollups: new Rollups(database), failures: new Failures(database) },
      ...{ inserter: new Inserter(database, ledger), wanted: new Set() },
    };
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
      this.#resized = [];
      ledger.discard();
      rollBack(this.#database);
      throw error;
    }
    for (const [queue, status, by] of this.#resized.splice(0)) {
      const key = sizeKey(queue, groupOf(status));
      this.#sizes.set(key, (this.#sizes.get(key) ?? 0) + by);
    }
  }

  /** Tells those who watch. */
  tell(): void {
    this.#changed.ring();
  }

  /** Takes in a task as it is now, after so many changes. */
  put(task: WindowTask, changes: number): void {
    const row = this.#row(task.summary.id);
    const rev = this.#transaction.ledger.nextRevs(changes) + changes - 1;
    if (row) this.#update(row, task, rev);
    else this.#insert(task, rev);
  }

  /** Takes in a task that has not changed, unless it is here. */
  fill(task: WindowTask): void {
    if (!this.#row(task.summary.id)) this.#insert(task, 0);
  }

  /** Drops a task that is gone. */
  forget(id: string): void {
    const row = this.#row(id);
    if (row) this.#forget(row);
  }

  #forget(row: Row): void {
    deleteTask(this.#transaction, row);
    this.#resized.push([String(row.owner), statusOf(row), -1]);
  }

  /** Drops the tasks of a queue and group that ended before a time, some of them, and returns how many. */
  forgetEnded(queue: string, group: 'completed' | 'failed', before: number, limit: number): number {
    const rows = codes[group].flatMap((code) =>
      this.#database.all(
        `${known} INDEXED BY window_ended WHERE owner = ? AND status = ? AND status > 1 AND ended_at < ? ORDER BY ended_at LIMIT ?`,
        queue,
        code,
        before,
        limit,
      ),
    );
    for (const row of rows) this.#forget(row);
    return rows.length;
  }

  /** Leaves out the oldest tasks of a group: those that ended, or were created, first. They are not gone, so no reader is told. Returns their queues. */
  leaveOut(group: Group, n: number): Set<string> {
    const order = group === 'completed' || group === 'failed' ? 'ended_at, id' : 'id';
    const rows = codes[group]
      .flatMap((code) => this.#database.all(`${known} WHERE status = ? AND ${indexed(group)} ORDER BY ${order} LIMIT ?`, code, n))
      .sort((a, b) => Number(a.ended_at) - Number(b.ended_at) || Buffer.compare(a.id as Uint8Array, b.id as Uint8Array))
      .slice(0, n);
    for (const row of rows) {
      this.#forget(row);
      this.#database.run('DELETE FROM tombstone WHERE id = ?1 AND rev = (SELECT max(rev) FROM tombstone)', row.id ?? null);
    }
    return new Set(rows.map(({ owner }) => String(owner)));
  }

  /** How many tasks of a group there are, of one queue or of all. */
  size(group: Group, queue?: string): number {
    if (queue !== undefined) return this.#sizes.get(sizeKey(queue, group)) ?? 0;
    let sum = 0;
    for (const [key, n] of this.#sizes) if (key.startsWith(`${group}:`)) sum += n;
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

  /** Drops tombstones of deletes that are too long ago to be told. */
  dropExpired(): void {
    const at = Date.now();
    if (this.#reader.hasExpired(at))
      this.write(() => void dropExpired(this.#transaction, { kind: 'dropExpired', limit: steps.expired, at }));
  }

  #row(id: string): Row | undefined {
    return this.#database.get(`${known} WHERE id = ?`, idBytes(id));
  }

  #insert({ summary, queue, schedule }: WindowTask, rev: number): void {
    const { ledger } = this.#transaction;
    const { id, name, status, tags, fingerprint, source, priority } = summary;
    const lane = ledger.lane(name, summary.queue);
    const hasTags = Object.keys(tags).length > 0;
    this.#database.run(
      `INSERT INTO task (seq, id, rev, lane, status, priority, tags, source, schedule, owner, attempts, max_interrupts, args, searchable,
         run_at, max_attempts, attempt, started_at, ended_at, duration, progress, progress_text, error_name, error_message, fingerprint, cancelling)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, '[]', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      this.#newSeq(id),
      idBytes(id),
      rev,
      lane,
      stateCode[status],
      priority,
      hasTags ? JSON.stringify(tags) : null,
      source === 'scheduled' ? 1 : 0,
      schedule,
      queue,
      status === 'failed' ? 0 : null,
      ...valuesOf(summary),
    );
    for (const [key, value] of Object.entries(tags)) {
      this.#database.run('INSERT INTO tag (key, value, id) VALUES (?, ?, ?)', key, value, idBytes(id));
      ledger.countTag(key, value, 1);
    }
    ledger.count(lane, status, 1);
    if (fingerprint) ledger.countKind(fingerprint, status, 1);
    this.#resized.push([queue, status, 1]);
  }

  #update(row: Row, { summary, queue }: WindowTask, rev: number): void {
    const { ledger } = this.#transaction;
    const { status, fingerprint, priority } = summary;
    const from = statusOf(row);
    const seq = Number(row.seq);
    if (typeof row.fingerprint === 'string') ledger.countKind(row.fingerprint, from, -1);
    if (fingerprint) ledger.countKind(fingerprint, status, 1);
    const values = valuesOf(summary);
    if (from !== status) {
      move(this.#transaction, Number(row.lane), from, status);
      this.#resized.push([String(row.owner), from, -1], [queue, status, 1]);
    }
    // The index has the words of the error, so one that failed again is added again.
    const isSame = from === status && row.ended_at === timeOf(summary.endedAt);
    const searchable = status !== 'failed' ? null : isSame ? (row.searchable ?? 0) : 0;
    if (row.searchable === 1 && searchable !== 1) this.#database.run('DELETE FROM failure WHERE rowid = ?', seq);
    this.#database.run(
      `UPDATE task SET status = ?, rev = ?, priority = ?, owner = ?, searchable = ?, run_at = ?, max_attempts = ?, attempt = ?, started_at = ?,
         ended_at = ?, duration = ?, progress = ?, progress_text = ?, error_name = ?, error_message = ?, fingerprint = ?, cancelling = ? WHERE seq = ?`,
      stateCode[status],
      rev,
      priority,
      queue,
      searchable,
      ...values,
      seq,
    );
  }

  /** Row ids go up with the time of creation, since the word index gives what it finds in their order. */
  #newSeq(id: string): number {
    const first = Math.max(1, timeOfTaskId(id) - firstTime) * perMillisecond;
    const last = this.#database.get('SELECT max(seq) AS seq FROM task WHERE seq >= ? AND seq < ?', first, first + perMillisecond)?.seq;
    let seq = typeof last === 'number' ? last + 1 : first;
    while (this.#database.get('SELECT 1 FROM task WHERE seq = ?', seq)) seq += 1;
    return seq;
  }
}

/** Unix milliseconds from which row ids count, and ids of one millisecond. */
const firstTime = 1_500_000_000_000;
const perMillisecond = 4096;

function sizeKey(queue: string, group: Group): string {
  return `${group}:${queue}`;
}

/** What makes SQLite use the index in which the oldest tasks of a group come first. */
function indexed(group: Group): string {
  return group === 'completed' || group === 'failed' ? 'status > 1' : group === 'pending' ? 'status <> 1' : 'TRUE';
}

function timeOf(text: string | null): number | null {
  return text === null ? null : Date.parse(text);
}

/** The columns that change, in the order in which the statements name them. */
function valuesOf(summary: TaskSummary): (string | number | null)[] {
  const { status, runAt, maxAttempts, attempt, startedAt, endedAt, duration, progress, progressText, error, fingerprint } = summary;
  return [
    Date.parse(runAt),
    maxAttempts,
    attempt,
    timeOf(startedAt),
    isEnded(status) ? timeOf(endedAt) : null,
    duration === null ? null : Math.round(duration * 1000),
    progress,
    progressText ?? null,
    error?.name ?? null,
    error?.message ?? null,
    fingerprint,
    summary.engineState === 'cancelling' ? 1 : 0,
  ];
}
