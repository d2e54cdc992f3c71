import type { TaskFilter } from '../../../tasks/engine.js';
import { type TaskStatus, taskStatuses } from '../../../tasks/types.js';
import { taskIdOf } from '../job-ids.js';
import type { Marker } from '../keys.js';
import type { CatalogEntry } from '../queue-catalog.js';
import { type CountSource, readCounts, send } from '../read/counts.js';
import { waitingSets } from '../read/source.js';

/** How the first jobs that wait are read: new ones are at the head of BullMQ's list. */
const waiting = waitingSets.map(({ type, isList }) => [isList ? 'lrange' : 'zrange', type] as const);
const markers: readonly Marker[] = ['cancelled', 'interrupted'];
/** Failed jobs that are read in one go to leave those with a marker out. */
const pageSize = 1000;

/** Tasks by queue and state, which BullMQ keeps in sets: all of them, beyond what any process has read. */
export class StoredTasks {
  readonly #source: CountSource;

  constructor(source: CountSource) {
    this.#source = source;
  }

  /**
   * The tasks that a filter finds, and how many there are. If there are more than `limit`, these are the ones that BullMQ would
   * run first, or that ended first. Nothing if the filter has other conditions than queue and state.
   */
  async oldest(filter: TaskFilter, limit: number): Promise<{ ids: string[]; count: number } | undefined> {
    if (!isStored(filter)) return undefined;
    const { queue, status = taskStatuses } = filter;
    await this.#source.catalog.refresh();
    const entries = this.#source.catalog.all().filter(({ label }) => queue === undefined || label === queue);
    const found = (await Promise.all(entries.map((entry) => this.#idsOf(entry, status, limit)))).flat();
    // Ids of this package begin with the time; jobs of other programs come after them.
    const ids = [...new Set(found)].sort();
    if (ids.length <= limit) return { ids, count: ids.length };
    const counts = await readCounts(this.#source, entries);
    const count = status.reduce((sum, each) => sum + counts[each], 0);
    return { ids: ids.slice(0, limit), count: Math.max(count, limit) };
  }

  /** Ids of a queue in some states, of each one more than `limit` at most. */
  async #idsOf({ queue }: CatalogEntry, statuses: readonly TaskStatus[], limit: number): Promise<string[]> {
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

  async #read(queue: string, sets: readonly (readonly [command: 'lrange' | 'zrange', type: string])[], limit: number): Promise<string[]> {
    const { redis, keys } = this.#source;
    const range = { lrange: [-limit - 1, -1], zrange: [0, limit] };
    const answers = await send(
      redis,
      sets.map(([command, type]) => [command, keys.ofQueue(queue, type), ...range[command]]),
    );
    return (answers as string[][]).flat();
  }

  /** Failed jobs without a marker, the first that failed first. */
  async #failed(queue: string, limit: number): Promise<string[]> {
    const { redis, keys } = this.#source;
    const failed: string[] = [];
    for (let from = 0; failed.length <= limit; from += pageSize) {
      const ids = await redis.zrange(keys.ofQueue(queue, 'failed'), String(from), String(from + pageSize - 1));
      const scores = await send(
        redis,
        ids.flatMap((id) => markers.map((marker) => ['zscore', keys.marked(queue, marker), id])),
      );
      failed.push(...ids.filter((_id, n) => markers.every((_marker, m) => scores[n * markers.length + m] === null)));
      if (ids.length < pageSize) break;
    }
    return failed;
  }

  /** Jobs with a marker. BullMQ tells nothing when it removes old jobs, so markers before the oldest failed job are of none. */
  async #marked(queue: string, marker: Marker, limit: number): Promise<string[]> {
    const { redis, keys } = this.#source;
    const [, oldest] = await redis.zrange(keys.ofQueue(queue, 'failed'), '0', '0', 'WITHSCORES');
    if (oldest === undefined) return [];
    return redis.zrangebyscore(keys.marked(queue, marker), oldest, '+inf', 'LIMIT', 0, limit + 1);
  }
}

/** Whether BullMQ's sets tell which tasks a filter finds. */
function isStored({ name, tags = [], fingerprint, schedule, text, from, to }: TaskFilter): boolean {
  return [name, fingerprint, schedule, text, from, to].every((condition) => condition === undefined) && tags.length === 0;
}
