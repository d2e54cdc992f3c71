import { packing } from '../schema/packing.js';
import { stateCode } from '../schema/states.js';
import { type Result, recordAttempt } from './attempts.js';
import type { WriteOf } from './batch.js';
import { move, type Transaction } from './transaction.js';

/** What `succeed` stores of an attempt. */
const success = packing<
  Required<Result> & { rowid: number; owner: string; attempt: number; at: number }
>({
  rowid: 'rowid',
  owner: 'owner',
  attempt: 'attempt',
  at: 'ended_at',
  result: 'result',
  resultOmitted: 'result_omitted',
});

/** What `succeed` reads of a task that it has ended. */
const succeeded = packing<{
  rowid: number;
  partition: number;
  attempt: number;
  startedAt: number;
  endedAt: number;
  duration: number;
}>({
  rowid: 'rowid',
  partition: 'partition',
  attempt: 'attempt',
  startedAt: 'started_at',
  endedAt: 'ended_at',
  duration: 'duration',
});

/**
 * Ends the successful attempts of a batch with one statement. Returns the row ids of the tasks that
 * it left out, because a cancellation was requested or the owner has changed.
 */
export function succeed(
  transaction: Transaction,
  writes: readonly WriteOf<'finish'>[],
): Set<number> {
  const { database, counters, rollups } = transaction;
  const list = writes.map(({ rowid, owner, attempt, at, result }) => {
    const { result: value = null, resultOmitted = null } = result as Result;
    return success.pack({ rowid, owner, attempt, at, result: value, resultOmitted });
  });
  const { at } = success;
  const rows = database.all<{ ended: string }>(
    `UPDATE task SET status = ${stateCode.success}, rev = ?1 + each.key, owner = NULL,
      ended_at = each.value ->> ${at.at},
      duration = max(0, (each.value ->> ${at.at}) - started_at),
       result = each.value ->> ${at.result}, result_omitted = each.value ->> ${at.resultOmitted}
     FROM json_each(?2) AS each
     WHERE task.rowid = each.value ->> ${at.rowid} AND owner = each.value ->> ${at.owner}
       AND attempt = each.value ->> ${at.attempt}
       AND status = ${stateCode.running} AND cancelling = 0
     RETURNING ${succeeded.sql} AS ended`,
    counters.nextRevs(list.length),
    JSON.stringify(list),
  );
  const left = new Set(writes.map(({ rowid }) => rowid));
  for (const { ended } of rows) {
    const { rowid, partition, attempt, startedAt, endedAt, duration } = succeeded.unpack(
      JSON.parse(ended),
    );
    left.delete(rowid);
    move(transaction, partition, 'running', 'success');
    rollups.add(endedAt, partition, 'success', duration);
    const row = { rowid, attempt, started_at: startedAt };
    if (attempt > 1) recordAttempt(transaction, row, 'success', endedAt);
  }
  return left;
}
