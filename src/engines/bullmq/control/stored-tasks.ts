import type { Redis } from 'ioredis';
import type { TaskFilter } from '../../../tasks/engine-queries.js';
import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import { send } from '../connection/pipelines.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { type EngineKeys, markers } from '../keys.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { isOfSets, readCounts } from '../read/counts.js';
import type { CountedQueues } from '../read/marked-jobs.js';
import { waitingSets } from '../read/source.js';

/** Failed jobs per page when those with a marker are filtered out. */
const pageSize = 1000;

/** The keys of BullMQ and of markers in which the jobs of a queue are, each with its command. */
type Sets = readonly (readonly [command: 'lrange' | 'zrange', key: string])[];

/**
 * Finds tasks by queue and state in BullMQ's sets, including tasks that no process has read.
 * Returns the ids of the tasks that match a filter, and their number. If there are more than
 * `limit`, these are the tasks that BullMQ would run first, or that ended first. Returns
 * undefined if the filter has other conditions than queue and state.
 */
export async function oldestTasks(
  source: CountedQueues,
  filter: TaskFilter,
  limit: number,
): Promise<{ ids: string[]; count: number } | undefined> {
  if (!isOfSets(filter)) return undefined;
  const { catalog, marked } = source;
  const { queue, status = taskStatuses } = filter;
  await catalog.refresh();
  const entries = catalog.covered(queue);
  // It drops the markers that no longer hold, so that the sets below have only the others.
  await Promise.all(entries.map((entry) => marked.count(entry.queue)));
  const found = await Promise.all(entries.map((entry) => idsOf(source, entry, status, limit)));
  // Ids of this package begin with the time. Ids of other programs come after them.
  const ids = [...new Set(found.flat())].sort();
  if (ids.length <= limit) return { ids, count: ids.length };
  const counts = await readCounts(source, entries);
  const count = status.reduce((sum, each) => sum + counts[each], 0);
  return { ids: ids.slice(0, limit), count: Math.max(count, limit) };
}

/**
 * Returns the task ids of a queue in some states. It reads one more than `limit` per set, which
 * shows whether there are more.
 */
async function idsOf(
  { redis, keys }: CountedQueues,
  { queue }: CatalogEntry,
  statuses: readonly TaskStatus[],
  limit: number,
): Promise<string[]> {
  const key = (type: string): string => keys.ofQueue(queue, type);
  const sets: Record<TaskStatus, Sets> = {
    // BullMQ adds new jobs at the head of its lists.
    pending: waitingSets.map(({ type, isList }) => [isList ? 'lrange' : 'zrange', key(type)]),
    running: [['lrange', key('active')]],
    success: [['zrange', key('completed')]],
    failed: [],
    cancelled: [['zrange', keys.marked(queue, 'cancelled')]],
    interrupted: [['zrange', keys.marked(queue, 'interrupted')]],
  };
  const range = { lrange: [-limit - 1, -1], zrange: [0, limit] };
  const commands = statuses
    .flatMap((status) => sets[status])
    .map(([command, from]) => [command, from, ...range[command]]);
  const [found, failed] = await Promise.all([
    send(redis, commands) as Promise<string[][]>,
    statuses.includes('failed') ? unmarked(redis, keys, queue, limit) : [],
  ]);
  return [...found.flat(), ...failed].map((jobId) => taskIdOf(queue, jobId));
}

/** Returns failed jobs without a marker, oldest first. */
async function unmarked(
  redis: Redis,
  keys: EngineKeys,
  queue: string,
  limit: number,
): Promise<string[]> {
  const failed: string[] = [];
  for (let from = 0; failed.length <= limit; from += pageSize) {
    const ids = await redis.zrange(
      keys.ofQueue(queue, 'failed'),
      String(from),
      String(from + pageSize - 1),
    );
    const scores = await send(
      redis,
      ids.flatMap((id) => markers.map((marker) => ['zscore', keys.marked(queue, marker), id])),
    );
    failed.push(
      ...ids.filter((_id, n) =>
        markers.every((_marker, m) => scores[n * markers.length + m] === null),
      ),
    );
    if (ids.length < pageSize) break;
  }
  return failed;
}
