import type { Clock } from '../clock.js';
import type { Tables } from '../shared.js';

/**
 * If a stored time is more than this many milliseconds in the future, the clock counts as set back.
 * All processes on a file share one clock.
 */
export const clockTolerance = 1000;
/** Maximum number of delays in one commit. */
const delaysAtOnce = 1_000;

/**
 * Restarts the delays that begin more than {@link clockTolerance} in the future. A delay begins
 * before it is stored, so this only happens after the clock was set back. Without a restart, these
 * tasks would wait longer by the length of the jump. Returns whether there were any.
 *
 * This thread reads the delays and compares them with the clock at the same moment. The commit may
 * wait for a lock on the file. It then restarts only delays that have not changed since they were
 * read.
 */
export async function restartFutureDelays(
  { reader, commits }: Tables,
  clock: Clock,
): Promise<boolean> {
  for (let found = false; ; found = true) {
    const at = clock.now();
    const delays = reader.futureDelays(at + clockTolerance, delaysAtOnce);
    if (delays.length === 0) return found;
    await commits.submit({ kind: 'restartDelays', delays, at });
    if (delays.length < delaysAtOnce) return true;
  }
}
