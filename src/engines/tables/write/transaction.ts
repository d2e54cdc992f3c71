import type { TaskStatus } from '../../../tasks/types.js';
import type { Database } from '../schema/database.js';
import { stateOf } from '../schema/states.js';
import { type SummaryRow, summaryColumns } from '../schema/summaries.js';
import type { Counters } from './counters.js';
import type { Failures } from './failures.js';
import type { Inserter } from './insert.js';
import type { Rollups } from './rollup.js';

/** The dependencies that all writes of a batch share. */
export interface Transaction {
  readonly database: Database;
  readonly counters: Counters;
  readonly rollups: Rollups;
  readonly failures: Failures;
  readonly inserter: Inserter;
  /** States whose transitions an observer in this process is subscribed to. */
  wanted: ReadonlySet<TaskStatus>;
}

/** Updates the counts for the transition of a task from one state to another. */
export function move(
  { counters }: Transaction,
  partition: number,
  from: TaskStatus,
  to: TaskStatus,
): void {
  counters.count(partition, from, -1);
  counters.count(partition, to, 1);
}

/** Returns the summary row of a task. */
export function summaryRow({ database }: Transaction, rowid: number): SummaryRow {
  const row = database.get<SummaryRow>(`SELECT ${summaryColumns} FROM task WHERE rowid = ?`, rowid);
  if (!row) throw new Error(`task ${rowid} is gone within its own transaction`);
  return row;
}

/** Returns the summary row of a task, if an observer is subscribed to its state. */
export function wantedRow(
  transaction: Transaction,
  rowid: number,
  status: TaskStatus,
): SummaryRow | undefined {
  return transaction.wanted.has(status) ? summaryRow(transaction, rowid) : undefined;
}

/** Returns the state of a row. */
export function statusOf(row: { status: number }): TaskStatus {
  return stateOf(row.status);
}
