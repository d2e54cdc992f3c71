import type { Redis } from 'ioredis';
import { TaskflowError } from '../../../errors.js';
import type { NewTask } from '../../../tasks/engine.js';
import { redisScript, runScript } from '../connection/redis-script.js';
import { type EngineKeys, queueName } from '../keys.js';
import type { LimitWarnings } from './limit-warnings.js';

/** A BullMQ queue of this engine. */
export interface CatalogEntry {
  /** BullMQ's name of it. */
  readonly queue: string;
  /** The queue as users know it. */
  readonly label: string;
  /** The only task in it, if that task has a concurrency of its own. */
  readonly task?: string;
  /** How many of its jobs run at once over all processes. */
  readonly concurrency?: number;
  /** Whether its jobs have priorities. BullMQ runs jobs without one first, so a queue has them for all jobs or for none. */
  readonly prioritized?: boolean;
}

/** What of a task decides its queue. */
type RoutedTask = Pick<NewTask, 'name' | 'queue' | 'priority' | 'concurrency'>;

/** Events that BullMQ keeps of a queue: each `completed` event carries the whole result, and nothing here reads them. */
export const keptEvents = 1000;
/** Queues that users may name. A worker holds a connection for each. */
export const mostLabels = 100;
/** Names of queues that are remembered. */
const mostNames = 10_000;

/**
 * Which BullMQ queues this engine has. The list is in Redis, so that workers serve a queue that another process has just
 * named; each process keeps a copy and refreshes it while it runs tasks or shows them.
 */
export class QueueCatalog {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #warnings: LimitWarnings | undefined;
  #entries = new Map<string, CatalogEntry>();
  readonly #names = new Map<string, { shared: string; apart: string }>();

  constructor(redis: Redis, keys: EngineKeys, warnings?: LimitWarnings) {
    this.#redis = redis;
    this.#keys = keys;
    this.#warnings = warnings;
  }

  /** All queues that this process knows of. */
  all(): CatalogEntry[] {
    return [...this.#entries.values()];
  }

  get(queue: string): CatalogEntry | undefined {
    return this.#entries.get(queue);
  }

  /** The queues of a label: its own, and those of its tasks with a concurrency of their own. */
  ofLabel(label: string): CatalogEntry[] {
    return this.all().filter((entry) => entry.label === label);
  }

  /** Reads the list of Redis. No queue is ever taken off it, so what it lacks was lost with the data of Redis, and is added again. */
  async refresh(): Promise<void> {
    // Only these were in the list for certain when it was read.
    const known = this.all();
    const stored = await this.#redis.hgetall(this.#keys.queues);
    const entries = Object.entries(stored).flatMap(([queue, text]) => entryOf(queue, text));
    this.#entries = new Map([...this.all(), ...entries].map((entry) => [entry.queue, entry]));
    const lost = known.filter(({ queue }) => stored[queue] === undefined);
    // A Redis that can only be read refuses this. The next call tries again.
    await Promise.all(lost.map((entry) => this.#store(entry, 'if absent').catch(() => undefined)));
  }

  /** The queue that a task goes to, if this process knows it and the task changes nothing about it. */
  known(task: RoutedTask): CatalogEntry | undefined {
    const entry = this.#entries.get(this.#queueOf(task));
    if (!entry || (task.priority !== 0 && !entry.prioritized)) return undefined;
    return task.concurrency === undefined || entry.concurrency === task.concurrency ? entry : undefined;
  }

  /** The queue that a task goes to, which is added to the list if it is new. */
  async route(task: RoutedTask): Promise<CatalogEntry> {
    const same = this.known(task);
    if (same) return same;
    const { name, queue: label, priority, concurrency } = task;
    const queue = this.#queueOf(task);
    const before = this.#entries.get(queue);
    return this.add({
      ...before,
      ...{ queue, label },
      ...(queue === this.#namesOf(label, name).apart && { task: name }),
      ...(concurrency !== undefined && { concurrency }),
      ...((priority !== 0 || before?.prioritized) && { prioritized: true }),
    });
  }

  #queueOf({ name, queue: label, concurrency }: RoutedTask): string {
    const { shared, apart } = this.#namesOf(label, name);
    return concurrency !== undefined || this.#entries.has(apart) ? apart : shared;
  }

  /** The two queues that a task may go to. Escaping a name costs more than finding it. */
  #namesOf(label: string, name: string): { shared: string; apart: string } {
    const key = `${label}\0${name}`;
    let names = this.#names.get(key);
    if (!names) {
      names = { shared: queueName(label), apart: queueName(label, name) };
      if (this.#names.size >= mostNames) this.#names.clear();
      this.#names.set(key, names);
    }
    return names;
  }

  /** Adds a queue to the list, or changes it there. */
  async add(entry: CatalogEntry): Promise<CatalogEntry> {
    await this.refresh();
    const { queue } = entry;
    const known = this.#entries.get(queue);
    if (!known && new Set(this.all().map(({ label }) => label)).size >= mostLabels)
      throw new TaskflowError(
        'INVALID_INPUT',
        `the queue '${entry.label}' would be number ${mostLabels + 1}; on Redis there can be ${mostLabels}`,
      );
    if (known) this.#warnings?.compare(known, entry.concurrency);
    const merged = { ...known, ...entry };
    await this.#store(merged, 'always');
    this.#entries.set(queue, merged);
    return merged;
  }

  async #store({ queue, ...entry }: CatalogEntry, when: 'always' | 'if absent'): Promise<void> {
    const keys = [this.#keys.queues, this.#keys.ofQueue(queue, 'meta'), this.#keys.pauses];
    await runScript(this.#redis, store, keys, [queue, JSON.stringify(entry), entry.label, entry.concurrency ?? '', when]);
  }
}

/**
 * Stores a queue, and pauses it if it is new and its label is paused. One step, so that it cannot miss a pause that is made
 * meanwhile. KEYS: the hash of queues, what BullMQ keeps of this one, the hash of pauses. ARGV: the queue, its entry, its
 * label, its concurrency or nothing, and when to store it.
 */
const store = redisScript(`
if ARGV[5] == 'if absent' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return end
local isNew = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'concurrency', ARGV[4]) end
if isNew == 1 then redis.call('HSET', KEYS[2], 'opts.maxLenEvents', ${keptEvents}) end
if isNew == 1 and redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then redis.call('HSET', KEYS[2], 'paused', 1) end
`);

/** An entry as it is stored; none for text of another shape. */
function entryOf(queue: string, text: string): CatalogEntry[] {
  try {
    const { label, task, concurrency, prioritized } = JSON.parse(text) as Partial<CatalogEntry>;
    if (typeof label !== 'string') return [];
    return [
      {
        ...{ queue, label },
        ...(typeof task === 'string' && { task }),
        ...(typeof concurrency === 'number' && { concurrency }),
        ...(prioritized === true && { prioritized }),
      },
    ];
  } catch {
    return [];
  }
}
