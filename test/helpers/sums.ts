import { expect } from '@jest/globals';
import type { Database } from '../../src/engines/tables/schema/database.js';

const firstReady = (column: string): string =>
  `(SELECT ${column} FROM task WHERE task.partition = partition.id AND status = 0
    AND ready_at IS NULL ORDER BY priority DESC, task.id LIMIT 1)`;

/** Queries of the stored counts, each with a query that computes them from the tasks. */
const sums: [kept: string, counted: string][] = [
  [
    'SELECT status, partition, n FROM task_count ORDER BY status, partition',
    `SELECT status, partition, count(*) AS n FROM task GROUP BY status, partition
      ORDER BY status, partition`,
  ],
  [
    'SELECT key, value, n FROM tag_count ORDER BY key, value',
    'SELECT key, value, count(*) AS n FROM tag GROUP BY key, value ORDER BY key, value',
  ],
  [
    'SELECT fingerprint, status, n FROM failure_count ORDER BY fingerprint, status',
    `SELECT fingerprint, status, count(*) AS n FROM task WHERE fingerprint IS NOT NULL
      GROUP BY fingerprint, status ORDER BY fingerprint, status`,
  ],
  [
    'SELECT id, paused, ready_priority, ready_id FROM partition ORDER BY id',
    `SELECT id, queue IN (SELECT queue
      FROM paused) AS paused, ${firstReady('priority')} AS ready_priority,
      ${firstReady('task.id')} AS ready_id
     FROM partition ORDER BY id`,
  ],
];

/**
 * Expects the stored counts to match the tasks. A transaction gives both reads the same snapshot.
 */
export function expectSums(database: Database): void {
  database.exec('BEGIN');
  try {
    for (const [kept, counted] of sums) expect(database.all(kept)).toEqual(database.all(counted));
  } finally {
    database.exec('COMMIT');
  }
}
