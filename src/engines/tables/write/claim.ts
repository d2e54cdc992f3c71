import { deadlineError } from '../../deadline-error.js';
import { type ClaimedRow, claimedTask } from '../schema/claimed-task.js';
import type { Database } from '../schema/database.js';
import { stateCode } from '../schema/states.js';
import type { SummaryRow } from '../schema/summaries.js';
import { end } from './attempts.js';
import type { BatchResult, Claim } from './batch.js';
import { type Ready, readyTasks } from './ready-tasks.js';
import { move, summaryRow, type Transaction } from './transaction.js';

/**
 * Maximum number of delayed tasks that one claim makes ready, and number of expired tasks after
 * which it stops.
 */
const maxAtOnce = 1_000;

/**
 * Default maximum size of the arguments of one claim, in bytes. It keeps the answer well below the
 * maximum length of a JavaScript string.
 */
const claimBytes = 32 * 1024 * 1024;

/**
 * Claims the first ready tasks: by priority, then by age, over all partitions that are not paused.
 * If the deadline of a task has passed, ends the task as failed instead. `more` is true if ready
 * tasks are left because this claim reached a limit.
 */
export function claim(
  transaction: Transaction,
  request: Claim,
): Pick<BatchResult, 'claimed' | 'begun' | 'expired' | 'more'> & { nextDue: number | null } {
  const { database } = transaction;
  const { owner, limit, at, bytes = claimBytes } = request;
  let due = nextDue(database);
  let more = false;
  if (due !== null && due <= at) {
    makeReady(transaction, at);
    due = nextDue(database);
  }
  const claimed: ClaimedRow[] = [];
  const expired: SummaryRow[] = [];
  let room = bytes;
  while (claimed.length < limit) {
    const wanted = limit - claimed.length;
    const ready = readyTasks(transaction, request.names, wanted);
    const late = ready.filter(({ deadlineAt }) => deadlineAt !== null && deadlineAt <= at);
    for (const task of late) expired.push(expire(transaction, task, at));
    const timely = late.length === 0 ? ready : ready.filter((task) => !late.includes(task));
    const fitting = timely.filter((task, index) => {
      room -= task.bytes;
      return room >= 0 || claimed.length + index === 0;
    });
    if (fitting.length > 0) claimed.push(...begin(transaction, fitting, owner, at));
    more ||= fitting.length < timely.length || (late.length > 0 && expired.length >= maxAtOnce);
    if (late.length === 0 || more) break;
  }
  const begun = transaction.wanted.has('running')
    ? claimed.map((row) => summaryRow(transaction, claimedTask.unpack(row).rowid))
    : [];
  return { claimed, begun, expired, more, nextDue: due };
}

/** Returns when the next delayed task is due. */
function nextDue(database: Database): number | null {
  return database.value('SELECT min(ready_at) FROM task WHERE ready_at IS NOT NULL');
}

/** Makes due tasks ready, those that were due first before the others. */
function makeReady({ database, counters }: Transaction, at: number): void {
  const row = database.get<{ rowids: string; partitions: string }>(
    `SELECT json_group_array(rowid) AS rowids, json_group_array(DISTINCT partition) AS partitions
     FROM (SELECT rowid, partition FROM task WHERE ready_at <= ? ORDER BY ready_at LIMIT ?)`,
    at,
    maxAtOnce,
  );
  const partitions: number[] = JSON.parse(row?.partitions ?? '[]');
  if (!row || partitions.length === 0) return;
  database.run(
    'UPDATE task SET ready_at = NULL WHERE rowid IN (SELECT value FROM json_each(?))',
    row.rowids,
  );
  for (const partition of partitions) counters.ready.changed(partition);
}

function begin(
  transaction: Transaction,
  tasks: readonly Ready[],
  owner: string,
  at: number,
): ClaimedRow[] {
  const { database, counters } = transaction;
  const rows = database.all<{ rowid: number; claimed: string }>(
    `UPDATE task SET status = ${stateCode.running}, rev = ?1 + each.key, owner = ?2,
      attempt = attempt + 1,
      started_at = max(?3, min(run_at, ?5)), ended_at = NULL, duration = NULL,
       progress = NULL, progress_text = NULL, error_name = NULL, error_message = NULL,
         fingerprint = NULL, stack = NULL,
       error_details = NULL
     FROM json_each(?4) AS each WHERE task.rowid = each.value
     RETURNING rowid, (SELECT ${claimedTask.sql} FROM partition
       WHERE partition.id = task.partition) AS claimed`,
    counters.nextRevs(tasks.length),
    owner,
    at,
    JSON.stringify(tasks.map(({ rowid }) => rowid)),
    // This commit may have waited for the file while another process stored the task. A task must
    // not start before it is due.
    Date.now(),
  );
  const packed = new Map(rows.map(({ rowid, claimed }) => [rowid, claimed]));
  return tasks.map(({ rowid, partition, fingerprint }) => {
    move(transaction, partition, 'pending', 'running');
    if (fingerprint !== null) counters.countFailed(fingerprint, 'pending', -1);
    return JSON.parse(packed.get(rowid) ?? '');
  });
}

function expire(
  transaction: Transaction,
  { rowid, partition, fingerprint }: Ready,
  at: number,
): SummaryRow {
  const name = transaction.database.value<string>(
    `UPDATE task SET started_at = NULL WHERE rowid = ?
     RETURNING (SELECT name FROM partition WHERE partition.id = task.partition)`,
    rowid,
  );
  end(
    transaction,
    { rowid, partition, started_at: null, fingerprint },
    'pending',
    'failed',
    at,
    deadlineError(name),
  );
  return summaryRow(transaction, rowid);
}
