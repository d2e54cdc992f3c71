import type { Delay } from '../../tables/read/delays.js';
import type { Clock } from '../clock.js';
import type { GroupCommit } from '../group-commit.js';

/**
 * Milliseconds that a time may lie ahead before the clock counts as set back. All processes on a
 * file share one clock.
 */
export const clockTolerance = 1000;
/** Delays of one commit. */
const delaysAtOnce = 1_000;

interface Storage {
  reader: { futureDelays(after: number, limit: number): Delay[] };
  commits: Pick<GroupCommit, 'submit'>;
  clock: Clock;
}

/**
 * Starts the delays again that begin more than {@link clockTolerance} in the future. A delay begins
 * before it is stored, so this only happens after the clock was set back: otherwise these tasks
 * would also wait for the length of the jump. Returns whether it found any.
 *
 * The delays are read and compared with the clock on this thread at one moment. Their commit may
 * wait for a lock on the file, and then only starts those again that are still as they were read.
 */
export async function restartFutureDelays({ reader, commits, clock }: Storage): Promise<boolean> {
  for (let found = false; ; found = true) {
    const at = clock.now();
    const delays = reader.futureDelays(at + clockTolerance, delaysAtOnce);
    if (delays.length === 0) return found;
    await commits.submit<'restartDelays'>({ kind: 'restartDelays', delays, at });
    if (delays.length < delaysAtOnce) return true;
  }
}
