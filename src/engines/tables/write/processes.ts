import type { Database } from '../schema/database.js';
import type { WriteOf } from './batch.js';
import type { Transaction } from './transaction.js';

/**
 * Adds a process to the list of processes that have the file open, updates its entry, or removes
 * it.
 */
export function register(
  { database }: Transaction,
  { worker }: Pick<WriteOf<'register'>, 'worker'>,
  at: number,
): undefined {
  if ('pid' in worker) {
    const {
      owner,
      host,
      pid,
      version: of,
      slots,
      startedAt,
      stuck,
      stuckAttempts,
      app,
      tasks,
      schedules,
    } = worker;
    database.run(
      `INSERT OR REPLACE INTO worker (owner, host, pid, version, slots, started_at, stuck,
        stuck_attempts, app, tasks, schedules)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[owner, host, pid, of, slots, startedAt, stuck],
      ...[JSON.stringify(stuckAttempts), app, JSON.stringify(tasks), JSON.stringify(schedules)],
    );
  } else {
    database.run('DELETE FROM worker WHERE owner = ?', worker.owner);
  }
  noteUndefined(database, at);
}

/**
 * Stores the time since which no process on the list defines a schedule. Recovery removes a dead
 * process from the list within about a second.
 */
function noteUndefined(database: Database, at: number): void {
  const defined = 'name IN (SELECT value FROM worker, json_each(worker.schedules))';
  database.run(
    `UPDATE schedule SET undefined_at = NULL WHERE undefined_at IS NOT NULL AND ${defined}`,
  );
  database.run(
    `UPDATE schedule SET undefined_at = ? WHERE undefined_at IS NULL AND NOT ${defined}`,
    at,
  );
}
