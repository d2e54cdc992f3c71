import type { Transaction } from './transaction.js';

/**
 * Milliseconds by which a stored time may lie too far in the future without the clock having been set
 * back: a batch carries its time from before it waited for the lock on the file, and another process
 * may have written meanwhile.
 */
export const clockTolerance = 60_000;

/**
 * Starts the delays again that seem to begin in the future, which only happens after the clock was set back: otherwise these
 * tasks would also wait for the length of the jump. Tasks that were given an absolute time keep it. Returns whether it found
 * any, at most so many at a time.
 */
export function restartDelays({ database, ledger }: Transaction, at: number, limit: number): boolean {
  const latest = database.get('SELECT max(waits_from) AS latest FROM task WHERE ready_at IS NOT NULL AND waits_from IS NOT NULL')?.latest;
  if (typeof latest !== 'number' || latest <= at + clockTolerance) return false;
  const rows = database.all(
    `SELECT seq FROM task WHERE ready_at IS NOT NULL AND waits_from IS NOT NULL AND waits_from > ? ORDER BY waits_from DESC LIMIT ?`,
    at + clockTolerance,
    limit,
  );
  database.run(
    `UPDATE task SET rev = ?1 + each.key, run_at = run_at - waits_from + ?2, ready_at = run_at - waits_from + ?2,
       deadline_at = deadline_at - waits_from + ?2, waits_from = ?2
     FROM json_each(?3) AS each WHERE task.seq = each.value`,
    ledger.nextRevs(rows.length),
    at,
    JSON.stringify(rows.map(({ seq }) => seq)),
  );
  return true;
}
