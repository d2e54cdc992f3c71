import type { GroupCommit } from '../../embedded/group-commit.js';
import type { Database } from '../schema/database.js';
import type { Write } from './batch.js';
import type { Transaction } from './transaction.js';

/** A delay: the `seq` of its task, and from when it counts, in Unix milliseconds. */
export type Delay = readonly [seq: number, waitsFrom: number];

/** Milliseconds that a time may lie ahead before the clock counts as set back. All processes on a file share one clock. */
export const clockTolerance = 1000;
/** Delays of one commit. */
const delaysAtOnce = 1_000;

interface Storage {
  reader: { futureDelays(after: number, limit: number): Delay[] };
  commits: Pick<GroupCommit, 'submit'>;
}

/**
 * Starts the delays again that begin more than {@link clockTolerance} in the future. A delay begins before it is stored, so this
 * only happens after the clock was set back: otherwise these tasks would also wait for the length of the jump. Returns whether it
 * found any.
 *
 * The delays are read and compared with the clock on this thread at one moment. Their commit may wait for a lock on the file, and
 * then only starts those again that are still as they were read.
 */
export async function restartFutureDelays({ reader, commits }: Storage): Promise<boolean> {
  for (let found = false; ; found = true) {
    const at = Date.now();
    const delays = reader.futureDelays(at + clockTolerance, delaysAtOnce);
    if (delays.length === 0) return found;
    await commits.submit<'restartDelays'>({ kind: 'restartDelays', delays, at });
    if (delays.length < delaysAtOnce) return true;
  }
}

/** Delays that begin after a time, the latest first. */
export function futureDelays(database: Database, after: number, limit: number): Delay[] {
  return database
    .all(
      `SELECT seq, waits_from FROM task WHERE ready_at IS NOT NULL AND waits_from IS NOT NULL AND waits_from > ?
       ORDER BY waits_from DESC LIMIT ?`,
      after,
      limit,
    )
    .map(({ seq, waits_from: from }) => [Number(seq), Number(from)]);
}

/** Starts delays again that have not changed since they were read. Deadlines move with them. */
export function restartDelays({ database, ledger }: Transaction, { delays, at }: Extract<Write, { kind: 'restartDelays' }>): undefined {
  database.run(
    `UPDATE task SET rev = ?1 + each.key, run_at = run_at - waits_from + ?2, ready_at = run_at - waits_from + ?2,
       deadline_at = deadline_at - waits_from + ?2, waits_from = ?2
     FROM json_each(?3) AS each WHERE task.seq = each.value ->> 0 AND waits_from = each.value ->> 1 AND ready_at IS NOT NULL`,
    ledger.nextRevs(delays.length),
    at,
    JSON.stringify(delays),
  );
  return undefined;
}
