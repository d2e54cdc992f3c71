import { isEnded } from '../../../tasks/states.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskStatus } from '../../../tasks/types.js';
import type { SqlValue } from '../../tables/schema/database.js';
import { type EndedRow, idBytes } from '../../tables/schema/rows.js';
import { stateCode } from '../../tables/schema/states.js';
import { recordAttempt } from '../../tables/write/attempts.js';
import { type DeletedTask, deleteTask } from '../../tables/write/commands.js';
import { addTags } from '../../tables/write/insert.js';
import { tagsText } from '../../tables/write/packed-tasks.js';
import { move, statusOf, type Transaction } from '../../tables/write/transaction.js';
import type { ShownJob } from '../jobs/job-view.js';
import type { JobRow, RowIds } from './row-ids.js';

/** A job as a row of the window. */
export interface WindowTask extends ShownJob, JobRow {
  /** The stack of its error, if it is kept. */
  readonly stack?: string | null;
}

/** A task that entered (`by` is 1) or left (`by` is -1) a state. */
export interface Resized {
  queue: string;
  status: TaskStatus;
  by: 1 | -1;
}

/** The time at which row ids begin, in Unix milliseconds, and the number of ids per millisecond. */
const firstTime = 1_500_000_000_000;
const perMillisecond = 4096;
/**
 * The last millisecond after `firstTime` for which row ids are safe integers, in the year 2087.
 * Other programs may write any time.
 */
const lastTime = 2 ** 41 - 1;

/** Selects the columns that a change of a task needs. */
export const known = `SELECT rowid, id, partition, status, owner, attempt, fingerprint, searchable,
  ended_at FROM task`;

/** A row of {@link known}. `owner` is BullMQ's name of the queue. */
export interface KnownRow extends DeletedTask, EndedRow {
  owner: string;
  attempt: number;
}

/** Writes the rows of a window, and updates the counts in the tables of the embedded engine. */
export class WindowRows {
  readonly #transaction: Transaction;
  readonly #ids: RowIds;
  readonly #countsEnds: boolean;
  #resized: Resized[] = [];
  /** The statements, which are the same for all tasks. */
  #insertTask: string | undefined;
  #updateTask: string | undefined;

  /** @param countsEnds Whether the ends of tasks are counted, and their attempts stored. */
  constructor(transaction: Transaction, ids: RowIds, countsEnds: boolean) {
    this.#transaction = transaction;
    this.#ids = ids;
    this.#countsEnds = countsEnds;
  }

  /** Returns the changes of state since the last call. */
  takeResized(): Resized[] {
    return this.#resized.splice(0);
  }

  get(id: string): KnownRow | undefined {
    return this.#transaction.database.get(`${known} WHERE id = ?`, idBytes(id));
  }

  /** Deletes a task. A tombstone reports the deletion to watchers. */
  forget(row: KnownRow): void {
    deleteTask(this.#transaction, row);
    this.#resized.push({ queue: row.owner, status: statusOf(row), by: -1 });
  }

  insert(task: WindowTask, rev: number): void {
    const { database, counters } = this.#transaction;
    const { name, label, queue, status, tags, schedule } = task;
    const fingerprint = task.error?.fingerprint;
    const partition = counters.partition(name, label);
    const rowid = this.#newRowid(task.id);
    const id = idBytes(task.id);
    this.#ids.add(task);
    const source = schedule === null ? 0 : 1;
    const fixed = { rowid, id, partition, tags: tagsText(tags), source, schedule };
    const changing = columnsOf(task, rev, status === 'failed' ? 0 : null);
    const values = [...Object.values(fixed), ...Object.values(changing)];
    this.#insertTask ??= `INSERT INTO task (attempts, max_interrupts, args,
      ${[...Object.keys(fixed), ...Object.keys(changing)].join(', ')})
      VALUES (1, 0, '[]'${', ?'.repeat(values.length)})`;
    database.run(this.#insertTask, ...values);
    addTags(database, counters, id, tags);
    counters.count(partition, status, 1);
    if (fingerprint) counters.countFailed(fingerprint, status, 1);
    this.#resized.push({ queue, status, by: 1 });
    if (this.#countsEnds)
      this.#count(task, {
        rowid,
        partition,
        status: stateCode.pending,
        attempt: 0,
        ended_at: null,
      });
  }

  update(row: KnownRow, task: WindowTask, rev: number): void {
    const { counters } = this.#transaction;
    const { queue, status } = task;
    const fingerprint = task.error?.fingerprint;
    const from = statusOf(row);
    const { rowid, partition } = row;
    if (row.fingerprint !== null) counters.countFailed(row.fingerprint, from, -1);
    if (fingerprint) counters.countFailed(fingerprint, status, 1);
    if (from !== status) {
      move(this.#transaction, partition, from, status);
      this.#resized.push({ queue: row.owner, status: from, by: -1 }, { queue, status, by: 1 });
    }
    // The word index has the words of the error, so a task that failed again is indexed again.
    const isSame = from === status && row.ended_at === task.endedAt;
    const searchable = status === 'failed' ? (isSame && row.searchable) || 0 : null;
    if (row.searchable === 1 && searchable !== 1)
      this.#transaction.database.run('DELETE FROM failure WHERE rowid = ?', rowid);
    const columns = columnsOf(task, rev, searchable);
    this.#updateTask ??= `UPDATE task SET
      ${Object.keys(columns).join(' = ?, ')} = ? WHERE rowid = ?`;
    this.#transaction.database.run(this.#updateTask, ...Object.values(columns), rowid);
    this.#ids.setState(task);
    if (this.#countsEnds) this.#count(task, row);
  }

  /**
   * Counts the end of a task, and stores the attempt that ended. `before` is its row before the
   * change.
   */
  #count(
    { status, startedAt, endedAt, attempt, error, runAt, stack = null }: WindowTask,
    before: Omit<KnownRow, 'id' | 'owner' | 'searchable' | 'fingerprint'>,
  ): void {
    const { rowid, partition } = before;
    const from = statusOf(before);
    const stored = error && { ...error, stack };
    const hasEnded = isEnded(status) && (from !== status || before.ended_at !== endedAt);
    if (hasEnded && endedAt !== null) {
      const ms = startedAt === null ? undefined : Math.max(0, endedAt - startedAt);
      this.#transaction.rollups.add(endedAt, partition, status, ms);
      if (status === 'failed' && stored?.fingerprint)
        this.#transaction.failures.add(stored, { rowid, partition, at: endedAt });
    }
    // A job may have run and failed between two reads. Then its attempt number has increased.
    const isRetried =
      status === 'pending' && error !== null && (from === 'running' || attempt > before.attempt);
    if (!(hasEnded || isRetried) || startedAt === null || attempt === 0) return;
    // If the first attempt succeeded, the row of the task describes it.
    if (status === 'success' && attempt === 1) return;
    const as = status === 'pending' ? 'failed' : status;
    recordAttempt(
      this.#transaction,
      { rowid, attempt, started_at: startedAt },
      as,
      endedAt ?? runAt,
      stored ?? undefined,
    );
  }

  /**
   * Returns a row id. Row ids increase with the creation time, because the word index returns its
   * matches in the order of row ids.
   */
  #newRowid(id: string): number {
    const first = Math.max(1, Math.min(lastTime, timeOfTaskId(id) - firstTime)) * perMillisecond;
    const last = this.#transaction.database.value<number | null>(
      'SELECT max(rowid) FROM task WHERE rowid >= ? AND rowid < ?',
      first,
      first + perMillisecond,
    );
    let rowid = last === null ? first : last + 1;
    // If all ids of a millisecond are used, those of the next milliseconds follow.
    while (
      rowid >= first + perMillisecond &&
      this.#transaction.database.get('SELECT 1 FROM task WHERE rowid = ?', rowid)
    )
      rowid += 1;
    return rowid;
  }
}

/** Returns the columns that change. */
function columnsOf(
  task: WindowTask,
  rev: number,
  searchable: number | null,
): Record<string, SqlValue> {
  const { status, priority, queue, progress, progressText, stack = null } = task;
  const { runAt, maxAttempts, attempt, startedAt, endedAt, error, isCancelling } = task;
  return {
    status: stateCode[status],
    rev,
    searchable,
    priority,
    owner: queue,
    run_at: runAt,
    attempt,
    stack,
    progress,
    max_attempts: maxAttempts,
    started_at: startedAt,
    ended_at: endedAt,
    duration: endedAt === null || startedAt === null ? null : Math.max(0, endedAt - startedAt),
    progress_text: progressText,
    error_name: error?.name ?? null,
    error_message: error?.message ?? null,
    fingerprint: error?.fingerprint || null,
    cancelling: isCancelling ? 1 : 0,
  };
}
