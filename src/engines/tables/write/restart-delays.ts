import type { WriteOf } from './batch.js';
import type { Transaction } from './transaction.js';

/** Restarts delays that have not changed since they were read. Deadlines move with them. */
export function restartDelays(
  { database, counters }: Transaction,
  { delays, at }: WriteOf<'restartDelays'>,
): undefined {
  database.run(
    `UPDATE task SET rev = ?1 + each.key, run_at = run_at - waits_from + ?2,
      ready_at = run_at - waits_from + ?2,
       deadline_at = deadline_at - waits_from + ?2, waits_from = ?2
     FROM json_each(?3) AS each
     WHERE task.rowid = each.value ->> 0 AND waits_from = each.value ->> 1
       AND ready_at IS NOT NULL`,
    counters.nextRevs(delays.length),
    at,
    JSON.stringify(delays),
  );
}
