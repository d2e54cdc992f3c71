import { deadlineError } from '../../deadline-error.js';
import type { Database, Row } from '../schema/database.js';
import type { ClaimedRow } from '../schema/rows.js';
import { stateCode } from '../schema/states.js';
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
  const expired: Row[] = [];
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
    ? claimed.map(([rowid]) => summaryRow(transaction, rowid))
    : [];
  return { claimed, begun, expired, more, nextDue: due };
}

/** Returns when the next delayed task is due. */
function nextDue(database: Database): number | null {
  const due = database.get('SELECT min(ready_at) AS due FROM task WHERE ready_at IS NOT NULL')?.due;
  return typeof due === 'number' ? due : null;
}

/** Makes due tasks ready, those that were due first before the others. */
function makeReady({ database, counters }: Transaction, at: number): void {
  const row = database.get(
    `SELECT json_group_array(rowid) AS rowids, json_group_array(DISTINCT partition) AS partitions
     FROM (SELECT rowid, partition FROM task WHERE ready_at <= ? ORDER BY ready_at LIMIT ?)`,
    at,
    maxAtOnce,
  );
  const partitions = JSON.parse(String(row?.partitions)) as number[];
  if (partitions.length === 0) return;
  database.run(
    'UPDATE task SET ready_at = NULL WHERE rowid IN (SELECT value FROM json_each(?))',
    row?.rowids ?? null,
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
  const rows = database.all(
    `UPDATE task SET status = ${stateCode.running}, rev = ?1 + each.key, owner = ?2,
      attempt = attempt + 1,
      started_at = max(?3, min(run_at, ?5)), ended_at = NULL, duration = NULL,
       progress = NULL, progress_text = NULL, error_name = NULL, error_message = NULL,
         fingerprint = NULL, stack = NULL,
       error_details = NULL
     FROM json_each(?4) AS each WHERE task.rowid = each.value
     RETURNING rowid, json_array(tags, attempt, max_attempts, attempts, log_lines, deadline_at,
       args) AS rest`,
    counters.nextRevs(tasks.length),
    owner,
    at,
    JSON.stringify(tasks.map(({ rowid }) => rowid)),
    // This commit may have waited for the file while another process stored the task. A task must
    // not start before it is due.
    Date.now(),
  );
  const rests = new Map(rows.map(({ rowid, rest }) => [rowid, String(rest)]));
  return tasks.map((task) => {
    move(transaction, task.partition, 'pending', 'running');
    if (task.fingerprint !== null) counters.countFailed(task.fingerprint, 'pending', -1);
    const rest = JSON.parse(rests.get(task.rowid) ?? '') as [
      string | null,
      number,
      number,
      number,
      number,
      number | null,
      string,
    ];
    return [task.rowid, task.id, task.name, task.queue, ...rest];
  });
}

function expire(
  transaction: Transaction,
  { rowid, partition, name, fingerprint: before }: Ready,
  at: number,
): Row {
  transaction.database.run('UPDATE task SET started_at = NULL WHERE rowid = ?', rowid);
  end(
    transaction,
    { rowid, partition, started_at: null, fingerprint: before },
    'pending',
    'failed',
    at,
    deadlineError(name),
    {},
  );
  return summaryRow(transaction, rowid);
}
