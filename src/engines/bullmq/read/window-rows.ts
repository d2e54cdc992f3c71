import { isEnded } from '../../../tasks/states.js';
import { timeOfTaskId } from '../../../tasks/task-id.js';
import type { TaskStatus } from '../../../tasks/types.js';
import type { Row, SqlValue } from '../../tables/schema/database.js';
import { idBytes } from '../../tables/schema/rows.js';
import { stateCode } from '../../tables/schema/states.js';
import { recordAttempt } from '../../tables/write/attempts.js';
import { deleteTask } from '../../tables/write/commands.js';
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

interface RowsDeps {
  transaction: Transaction;
  ids: RowIds;
  /** Whether the ends of tasks are counted, and their attempts stored. */
  countsEnds: boolean;
}

/** What a row was before a change. */
interface Before {
  status: TaskStatus;
  attempt: number;
  endedAt: number | null;
}

/** Writes the rows of a window, and updates the counts in the tables of the embedded engine. */
export class WindowRows {
  readonly #transaction: Transaction;
  readonly #ids: RowIds;
  readonly #countsEnds: boolean;
  #resized: Resized[] = [];

  constructor({ transaction, ids, countsEnds }: RowsDeps) {
    this.#transaction = transaction;
    this.#ids = ids;
    this.#countsEnds = countsEnds;
  }

  /** Returns the changes of state since the last call. */
  takeResized(): Resized[] {
    return this.#resized.splice(0);
  }

  get(id: string): Row | undefined {
    return this.#transaction.database.get(`${known} WHERE id = ?`, idBytes(id));
  }

  /** Deletes a task. A tombstone reports the deletion to watchers. */
  forget(row: Row): void {
    deleteTask(this.#transaction, row);
    this.#resized.push({ queue: String(row.owner), status: statusOf(row), by: -1 });
  }

  insert(task: WindowTask, rev: number): void {
    const { counters } = this.#transaction;
    const { id, name, label, queue, status, tags, schedule } = task;
    const fingerprint = task.facts.error?.fingerprint;
    const partition = counters.partition(name, label);
    const hasTags = Object.keys(tags).length > 0;
    const rowid = this.#newRowid(id);
    this.#ids.add(task);
    this.#transaction.database.run(
      insertTask,
      ...[
        rowid,
        idBytes(id),
        partition,
        hasTags ? JSON.stringify(tags) : null,
        schedule === null ? 0 : 1,
        schedule,
      ],
      ...valuesOf(task, rev, status === 'failed' ? 0 : null),
    );
    for (const [key, value] of Object.entries(tags)) {
      this.#transaction.database.run(
        'INSERT INTO tag (key, value, id) VALUES (?, ?, ?)',
        key,
        value,
        idBytes(id),
      );
      counters.countTag(key, value, 1);
    }
    counters.count(partition, status, 1);
    if (fingerprint) counters.countFailed(fingerprint, status, 1);
    this.#resized.push({ queue, status, by: 1 });
    if (this.#countsEnds)
      this.#count(task, { rowid, partition }, { status: 'pending', attempt: 0, endedAt: null });
  }

  update(row: Row, task: WindowTask, rev: number): void {
    const { counters } = this.#transaction;
    const { queue, status, facts } = task;
    const fingerprint = facts.error?.fingerprint;
    const from = statusOf(row);
    const rowid = Number(row.rowid);
    if (typeof row.fingerprint === 'string') counters.countFailed(row.fingerprint, from, -1);
    if (fingerprint) counters.countFailed(fingerprint, status, 1);
    if (from !== status) {
      move(this.#transaction, Number(row.partition), from, status);
      this.#resized.push(
        { queue: String(row.owner), status: from, by: -1 },
        { queue, status, by: 1 },
      );
    }
    // The word index has the words of the error, so a task that failed again is indexed again.
    const isSame = from === status && row.ended_at === facts.endedAt;
    const searchable = status !== 'failed' ? null : isSame ? (row.searchable ?? 0) : 0;
    if (row.searchable === 1 && searchable !== 1)
      this.#transaction.database.run('DELETE FROM failure WHERE rowid = ?', rowid);
    this.#transaction.database.run(updateTask, ...valuesOf(task, rev, searchable), rowid);
    this.#ids.setState(task);
    const before = {
      status: from,
      attempt: Number(row.attempt),
      endedAt: row.ended_at === null ? null : Number(row.ended_at),
    };
    if (this.#countsEnds) this.#count(task, { rowid, partition: Number(row.partition) }, before);
  }

  /** Counts the end of a task, and stores the attempt that ended. */
  #count(
    { status, facts, stack = null }: WindowTask,
    { rowid, partition }: { rowid: number; partition: number },
    before: Before,
  ): void {
    const { startedAt, endedAt, attempt, error, runAt } = facts;
    const stored = error && { ...error, stack };
    const hasEnded = isEnded(status) && (before.status !== status || before.endedAt !== endedAt);
    if (hasEnded && endedAt !== null) {
      const ms = startedAt === null ? undefined : Math.max(0, endedAt - startedAt);
      this.#transaction.rollups.add(endedAt, partition, status, ms);
      if (status === 'failed' && stored?.fingerprint)
        this.#transaction.failures.add(stored, { rowid, partition, at: endedAt });
    }
    // A job may have run and failed between two reads. Then its attempt number has increased.
    const isRetried =
      status === 'pending' &&
      error !== null &&
      (before.status === 'running' || attempt > before.attempt);
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
    const last = this.#transaction.database.get(
      'SELECT max(rowid) AS rowid FROM task WHERE rowid >= ? AND rowid < ?',
      first,
      first + perMillisecond,
    )?.rowid;
    let rowid = typeof last === 'number' ? last + 1 : first;
    // If all ids of a millisecond are used, those of the next milliseconds follow.
    while (
      rowid >= first + perMillisecond &&
      this.#transaction.database.get('SELECT 1 FROM task WHERE rowid = ?', rowid)
    )
      rowid += 1;
    return rowid;
  }
}

/** The columns that are written once, and those that change, in the order of `valuesOf`. */
const fixed = ['rowid', 'id', 'partition', 'tags', 'source', 'schedule'];
const changing = [
  ...[
    'status',
    'rev',
    'searchable',
    'priority',
    'owner',
    'run_at',
    'max_attempts',
    'attempt',
    'started_at',
    'ended_at',
    'duration',
  ],
  ...[
    'progress',
    'progress_text',
    'error_name',
    'error_message',
    'fingerprint',
    'stack',
    'cancelling',
  ],
];
const insertTask = `INSERT INTO task (attempts, max_interrupts, args,
  ${[...fixed, ...changing].join(', ')})
  VALUES (1, 0, '[]'${', ?'.repeat(fixed.length + changing.length)})`;
const updateTask = `UPDATE task SET ${changing.map((column) => `${column} = ?`).join(', ')}
  WHERE rowid = ?`;

function valuesOf(task: WindowTask, rev: number, searchable: SqlValue): SqlValue[] {
  const { status, priority, queue, facts, progress, progressText, stack = null } = task;
  const { runAt, maxAttempts, attempt, startedAt, endedAt, error, isCancelling } = facts;
  const duration = endedAt === null || startedAt === null ? null : Math.max(0, endedAt - startedAt);
  return [
    ...[
      stateCode[status],
      rev,
      searchable,
      priority,
      queue,
      runAt,
      maxAttempts,
      attempt,
      startedAt,
      endedAt,
      duration,
    ],
    ...[
      progress,
      progressText,
      error?.name ?? null,
      error?.message ?? null,
      error?.fingerprint || null,
      stack,
      isCancelling ? 1 : 0,
    ],
  ];
}
