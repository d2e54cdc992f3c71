import { trendHours } from '../read/failures.js';
import { lastTombstone } from '../read/tombstones.js';
import { compareEnds, type EndedRow } from '../schema/rows.js';
import { hasEnded, stateCode } from '../schema/states.js';
import type { WriteOf } from './batch.js';
import { type DeletedTask, deleteTask } from './commands.js';
import type { Transaction } from './transaction.js';

/** Maximum number of failure groups. Beyond it, groups without any stored task are dropped. */
const maxFailureGroups = 10_000;
/** Maximum number of failure groups, and of their hours, that one call deletes. */
const groupsAtOnce = 200;

/**
 * Deletes up to `limit` ended tasks, the oldest first: those that ended before a time, and those
 * beyond the number to keep.
 */
export function prune(
  transaction: Transaction,
  { endedBefore, keep, limit }: WriteOf<'prune'>,
): number {
  const { database, counters } = transaction;
  counters.writeTaskCounts();
  const ended = database.value<number>(
    `SELECT coalesce(sum(n), 0) FROM task_count WHERE ${hasEnded}`,
  );
  const beyond = keep === null ? 0 : Math.max(0, ended - keep);
  const before = endedBefore ?? 0;
  const oldest = Object.values(stateCode)
    .filter((status) => status > stateCode.running)
    .flatMap((status) =>
      database.all<DeletedTask & EndedRow>(
        `SELECT rowid, id, partition, status, searchable, fingerprint, ended_at FROM task
          WHERE status = ? AND ${hasEnded} ORDER BY ended_at, id LIMIT ?`,
        status,
        limit,
      ),
    )
    .sort(compareEnds)
    .slice(0, limit);
  const doomed = oldest.filter((row, index) => index < beyond || (row.ended_at ?? 0) < before);
  for (const row of doomed) deleteTask(transaction, row);
  if (doomed.length > 0) trimTombstones(transaction);
  counters.writeCounts();
  dropFailureGroups(transaction, before);
  return doomed.length;
}

/**
 * Drops failure groups that are older than the kept tasks, and the oldest ones beyond the maximum.
 * A group that still has tasks is kept. Each call checks only a few of the oldest groups, so that
 * it is short.
 */
function dropFailureGroups({ database }: Transaction, before: number): void {
  const n = database.value<number>(
    'SELECT count(*) FROM (SELECT 1 FROM failure_group LIMIT ?)',
    maxFailureGroups + 1,
  );
  const until = n > maxFailureGroups ? Number.MAX_SAFE_INTEGER : before;
  database.run(
    `DELETE FROM failure_group WHERE fingerprint IN (
       SELECT fingerprint FROM (SELECT fingerprint FROM failure_group WHERE last_at < ?
         ORDER BY last_at LIMIT ?) AS old
       WHERE NOT EXISTS (SELECT 1 FROM failure_count
         WHERE failure_count.fingerprint = old.fingerprint AND n > 0))`,
    until,
    groupsAtOnce,
  );
}

function trimTombstones({ database }: Transaction): void {
  const last = lastTombstone(database);
  if (last === undefined) return;
  database.run('DELETE FROM tombstone WHERE rev <= ?', last);
  // Before this change number, deletions may be missing. A reader cannot resume from there.
  database.run("UPDATE meta SET value = max(value, ?) WHERE key = 'first_rev'", last);
}

/** A failed task whose words are not in the word index. */
interface Unindexed {
  rowid: number;
  name: string;
  error_name: string | null;
  error_message: string | null;
  tags: string | null;
}

/**
 * Adds failures to the word index. This runs some time after the failures, so that it does not slow
 * them down.
 */
export function makeSearchable(
  transaction: Transaction,
  { limit }: WriteOf<'makeSearchable'>,
  at: number,
): number {
  const { database } = transaction;
  dropFailureGroups(transaction, 0);
  dropHours(transaction, at);
  const rows = database.all<Unindexed>(
    `SELECT rowid, (SELECT name FROM partition
      WHERE partition.id = task.partition) AS name, error_name, error_message, tags
     FROM task WHERE searchable = 0 LIMIT ?`,
    limit,
  );
  for (const row of rows) {
    const words = [row.name, row.error_name, row.error_message, row.tags]
      .filter((text) => text !== null)
      .join(' ');
    database.run('INSERT INTO failure (rowid, words) VALUES (?, ?)', row.rowid, words);
    database.run('UPDATE task SET searchable = 1 WHERE rowid = ?', row.rowid);
  }
  return rows.length;
}

/** Deletes the hours that no trend shows any more. */
function dropHours({ database }: Transaction, at: number): void {
  database.run(
    `DELETE FROM failure_hour WHERE (fingerprint, hour) IN (SELECT fingerprint, hour
      FROM failure_hour WHERE hour < ? LIMIT ?)`,
    Math.floor(at / 3_600_000) - trendHours,
    groupsAtOnce,
  );
}

/**
 * Drops some of the expired idempotency keys and shared values, and all tombstones beyond the
 * maximum.
 */
export function dropExpired(
  transaction: Transaction,
  { limit, at }: WriteOf<'dropExpired'>,
): number {
  const { database } = transaction;
  const keys = database.run(
    `DELETE FROM idempotency WHERE (name, key) IN (SELECT name, key FROM idempotency
      WHERE expires_at <= ? LIMIT ?)`,
    at,
    limit,
  );
  const values = database.run(
    'DELETE FROM shared WHERE key IN (SELECT key FROM shared WHERE expires_at <= ? LIMIT ?)',
    at,
    limit,
  );
  trimTombstones(transaction);
  return keys + values;
}
