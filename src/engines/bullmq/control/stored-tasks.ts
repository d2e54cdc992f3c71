import type { TaskFilter } from '../../../tasks/engine-queries.js';
import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import { send } from '../connection/pipelines.js';
import { taskIdOf } from '../jobs/job-ids.js';
import { type Marker, markers } from '../keys.js';
import type { CatalogEntry } from '../queues/queue-catalog.js';
import { isOfSets, readCounts } from '../read/counts.js';
import type { CountedQueues } from '../read/marked-jobs.js';
import { waitingSets } from '../read/source.js';

/** The commands that read the first waiting jobs. BullMQ adds new jobs at the head of its list. */
const waiting = waitingSets.map(
  ({ type, isList }) => [isList ? 'lrange' : 'zrange', type] as const,
);
/** Failed jobs per page when those with a marker are filtered out. */
const pageSize = 1000;

/** Finds tasks by queue and state in BullMQ's sets, including tasks that no process has read. */
export class StoredTasks {
  readonly #source: CountedQueues;

  constructor(source: CountedQueues) {
    this.#source = source;
  }

  /**
   * Returns the ids of the tasks that match a filter, and their number. If there are more than
   * `limit`, these are the tasks that BullMQ would run first, or that ended first. Returns
   * undefined if the filter has other conditions than queue and state.
   */
  async oldest(
    filter: TaskFilter,
    limit: number,
  ): Promise<{ ids: string[]; count: number } | undefined> {
    if (!isOfSets(filter)) return undefined;
    const { queue, status = taskStatuses } = filter;
    await this.#source.catalog.refresh();
    const entries = this.#source.catalog
      .all()
      .filter(({ label }) => queue === undefined || label === queue);
    // It drops the markers that no longer hold, so that the sets below have only the others.
    await Promise.all(entries.map((entry) => this.#source.marked.count(entry.queue)));
    const found = (
      await Promise.all(entries.map((entry) => this.#idsOf(entry, status, limit)))
    ).flat();
    // Ids of this package begin with the time. Ids of other programs come after them.
    const ids = [...new Set(found)].sort();
    if (ids.length <= limit) return { ids, count: ids.length };
    const counts = await readCounts(this.#source, entries);
    const count = status.reduce((sum, each) => sum + counts[each], 0);
    return { ids: ids.slice(0, limit), count: Math.max(count, limit) };
  }

  /**
   * Returns the task ids of a queue in some states. It reads one more than `limit` per set, which
   * shows whether there are more.
   */
  async #idsOf(
    { queue }: CatalogEntry,
    statuses: readonly TaskStatus[],
    limit: number,
  ): Promise<string[]> {
    const ofStatus = {
      pending: () => this.#read(queue, waiting, limit),
      running: () => this.#read(queue, [['lrange', 'active']], limit),
      success: () => this.#read(queue, [['zrange', 'completed']], limit),
      failed: () => this.#failed(queue, limit),
      cancelled: () => this.#marked(queue, 'cancelled', limit),
      interrupted: () => this.#marked(queue, 'interrupted', limit),
    } satisfies Record<TaskStatus, () => Promise<string[]>>;
    const jobIds = (await Promise.all(statuses.map((status) => ofStatus[status]()))).flat();
    return jobIds.map((jobId) => taskIdOf(queue, jobId));
  }

  async #read(
    queue: string,
    sets: readonly (readonly [command: 'lrange' | 'zrange', type: string])[],
    limit: number,
  ): Promise<string[]> {
    const { redis, keys } = this.#source;
    const range = { lrange: [-limit - 1, -1], zrange: [0, limit] };
    const answers = await send(
      redis,
      sets.map(([command, type]) => [command, keys.ofQueue(queue, type), ...range[command]]),
    );
    return (answers as string[][]).flat();
  }

  /** Returns failed jobs without a marker, oldest first. */
  async #failed(queue: string, limit: number): Promise<string[]> {
    const { redis, keys } = this.#source;
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

  /** Returns jobs with a marker, oldest first. */
  #marked(queue: string, marker: Marker, limit: number): Promise<string[]> {
    const { redis, keys } = this.#source;
    return redis.zrange(keys.marked(queue, marker), '0', String(limit));
  }
}
