import type { Redis } from 'ioredis';
import { engineKeys } from '../../src/engines/bullmq/keys.js';
import { MarkedJobs } from '../../src/engines/bullmq/read/marked-jobs.js';

/**
 * Counts the tasks of the default queue continuously, as open dashboards do. Returns all counts of
 * failed tasks.
 */
export async function failedWhile(
  redis: Redis,
  prefix: string,
  act: () => Promise<void>,
): Promise<number[]> {
  const connections = Array.from({ length: 3 }, () => redis.duplicate());
  const failed = new Set<number>();
  let isOver = false;
  const counting = connections.map(async (connection) => {
    const marked = new MarkedJobs(connection, engineKeys(prefix));
    while (!isOver) failed.add((await marked.count('default')).failed);
    connection.disconnect();
  });
  try {
    await act();
  } finally {
    isOver = true;
    await Promise.all(counting);
  }
  return [...failed];
}
