import { hostname } from 'node:os';
import { version } from '../../package-files.js';
import type { Transaction } from './transaction.js';
import type { WorkerRow, Write } from './write.js';

/** This process, as the others are told of it. */
export function describeWorker(owner: string, slots: number): WorkerRow {
  return { owner, host: hostname(), pid: process.pid, version, slots, startedAt: Date.now(), stuck: 0, stuckAttempts: [] };
}

/** Puts a process on the list of those that have the file open, updates what the list says about it, or takes it off. */
export function introduce({ database }: Transaction, { worker }: Pick<Extract<Write, { kind: 'introduce' }>, 'worker'>): undefined {
  if (!('pid' in worker)) {
    database.run('DELETE FROM worker WHERE owner = ?', worker.owner);
    return undefined;
  }
  const { owner, host, pid, version: of, slots, startedAt, stuck, stuckAttempts } = worker;
  database.run(
    `INSERT OR REPLACE INTO worker (owner, host, pid, version, slots, started_at, stuck, stuck_attempts)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    owner,
    host,
    pid,
    of,
    slots,
    startedAt,
    stuck,
    JSON.stringify(stuckAttempts),
  );
  return undefined;
}
