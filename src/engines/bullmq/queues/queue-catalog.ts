import type { Redis } from 'ioredis';
import { TaskflowError } from '../../../errors.js';
import type { TaskRoute } from '../../../tasks/new-task.js';
import { redisScript, runScript } from '../connection/redis-script.js';
import { storedObject } from '../connection/stored-object.js';
import { type EngineKeys, isQueueName, queueName } from '../keys.js';

/** A BullMQ queue of this engine. */
export interface CatalogEntry {
  /** BullMQ's name of the queue. */
  readonly queue: string;
  /** The label of the queue, as users know it. */
  readonly label: string;
  /** The only task in the queue, if that task has a concurrency of its own. */
  readonly task?: string | undefined;
  /** How many of its jobs run at once across all processes. */
  readonly concurrency?: number | undefined;
  /**
   * Whether its jobs have priorities. BullMQ runs jobs without a priority first, so either all jobs
   * of a queue have one or none has.
   */
  readonly prioritized?: boolean | undefined;
}

/** The queues of an engine, and where they are stored. */
export interface StoredQueues {
  redis: Redis;
  keys: EngineKeys;
  catalog: QueueCatalog;
}

/** Called before a queue is changed, with its entry and the limit that the task defines. */
type CompareLimit = (known: CatalogEntry, defined: number | undefined) => void;

/** How many events BullMQ keeps of a queue. This engine reads none, and each has a whole result. */
export const keptEvents = 1000;
/** Maximum number of labels. A worker has a connection for each. */
export const maxLabels = 100;
/** Maximum number of names that are cached. */
const maxNames = 10_000;

/**
 * Lists the BullMQ queues of this engine. The list is in Redis, so that workers serve a queue that
 * another process has just named. Each process has a copy, which it refreshes while it runs or
 * shows tasks.
 */
export class QueueCatalog {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #compare: CompareLimit | undefined;
  #entries = new Map<string, CatalogEntry>();
  readonly #names = new Map<string, { shared: string; apart: string }>();

  constructor(redis: Redis, keys: EngineKeys, compare?: CompareLimit) {
    this.#redis = redis;
    this.#keys = keys;
    this.#compare = compare;
  }

  /** Returns all queues that this process knows. */
  all(): CatalogEntry[] {
    return [...this.#entries.values()];
  }

  get(queue: string): CatalogEntry | undefined {
    return this.#entries.get(queue);
  }

  /** Returns the queue of a label, and those of its tasks with a concurrency of their own. */
  ofLabel(label: string): CatalogEntry[] {
    return this.all().filter((entry) => entry.label === label);
  }

  /** Returns the queues that a query covers: those of its label, or all if it has none. */
  covered(label: string | undefined): CatalogEntry[] {
    return label === undefined ? this.all() : this.ofLabel(label);
  }

  /** Reads the list from Redis. A known queue that the list lacks stays known. */
  async refresh(): Promise<Readonly<Record<string, string>>> {
    const stored = await this.#redis.hgetall(this.#keys.queues);
    const entries = Object.entries(stored).flatMap(([queue, text]) => entryOf(queue, text));
    this.#entries = new Map([...this.all(), ...entries].map((entry) => [entry.queue, entry]));
    return stored;
  }

  /**
   * Reads the list from Redis, and adds the known queues that it lacks. Redis has lost data then,
   * or an operator has removed a queue while this process ran. No worker that starts later would
   * run the tasks of that queue.
   */
  async restore(): Promise<void> {
    // Queues that are added during the read may be missing from the answer.
    const known = this.all();
    const stored = await this.refresh();
    const lost = known.filter(({ queue }) => stored[queue] === undefined);
    await Promise.all(lost.map((entry) => this.#store(entry, 'if absent')));
  }

  /** Returns the queue of a task, if it is known and the task does not change its entry. */
  known(task: TaskRoute): CatalogEntry | undefined {
    const entry = this.#entries.get(this.queueOf(task));
    if (!entry || (task.priority !== 0 && !entry.prioritized)) return undefined;
    return task.concurrency === undefined || entry.concurrency === task.concurrency
      ? entry
      : undefined;
  }

  /** Returns the queue of a task. Adds or changes it in the list if needed. */
  async route(task: TaskRoute): Promise<CatalogEntry> {
    const same = this.known(task);
    if (same) return same;
    const { name, queue: label, priority, concurrency } = task;
    const queue = this.queueOf(task);
    await this.refresh();
    const known = this.#entries.get(queue);
    const labels = new Set(this.all().map((entry) => entry.label));
    if (!known && !labels.has(label) && labels.size >= maxLabels)
      throw new TaskflowError(
        'INVALID_INPUT',
        `cannot add the queue '${label}': on Redis there can be at most ${maxLabels} ` +
          'queues, and an empty queue counts until it is removed',
      );
    if (known) this.#compare?.(known, concurrency);
    const entry = {
      queue,
      label,
      task: queue === this.#namesOf(label, name).apart ? name : undefined,
      concurrency: concurrency ?? known?.concurrency,
      prioritized: priority !== 0 || known?.prioritized,
    };
    await this.#store(entry, 'always');
    this.#entries.set(queue, entry);
    return entry;
  }

  /**
   * Adds the queues of tasks to the list. A queue in the list stays as it is, because the process
   * that enqueues a task decides its limit and whether its queue has priorities.
   */
  async ensure(tasks: readonly TaskRoute[]): Promise<void> {
    for (const task of tasks) if (!this.#entries.has(this.queueOf(task))) await this.route(task);
  }

  /** Returns BullMQ's name of the queue of a task, whether or not the queue is in the list. */
  queueOf({ name, queue: label, concurrency }: TaskRoute): string {
    const { shared, apart } = this.#namesOf(label, name);
    return concurrency !== undefined || this.#entries.has(apart) ? apart : shared;
  }

  /** Returns the two queues that a task may go to. Escaping a name costs more than finding it. */
  #namesOf(label: string, name: string): { shared: string; apart: string } {
    const key = `${label}\0${name}`;
    let names = this.#names.get(key);
    if (!names) {
      names = { shared: queueName(label), apart: queueName(label, name) };
      if (this.#names.size >= maxNames) this.#names.clear();
      this.#names.set(key, names);
    }
    return names;
  }

  async #store({ queue, ...entry }: CatalogEntry, when: 'always' | 'if absent'): Promise<void> {
    const { queues, pauses, signals, ofQueue } = this.#keys;
    const { label, concurrency = '' } = entry;
    const shared = queueName(label);
    const keys = [queues, ofQueue(queue, 'meta'), pauses, signals, ofQueue(shared, 'meta')];
    const args = [queue, JSON.stringify(entry), label, concurrency, when, shared];
    await runScript(this.#redis, store, keys, args);
  }
}

/**
 * Stores a queue, and pauses it if it is new and its label is paused. This is one step, so that it
 * misses no pause that is made at the same time. Another program may have resumed the label, which
 * leaves the hash of pauses as it is. The queue that the tasks of the label share then runs.
 * KEYS: the hash of queues, BullMQ's settings of this queue, the hash of pauses, the stream that
 * wakes workers, BullMQ's settings of the shared queue. ARGV: the queue, its entry, its label, its
 * concurrency or an empty text, when to store it, and the shared queue.
 */
const store = redisScript(`
if ARGV[5] == 'if absent' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return end
local isNew = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'concurrency', ARGV[4]) end
if isNew == 1 then redis.call('HSET', KEYS[2], 'opts.maxLenEvents', ${keptEvents}) end
local function isResumed()
  if ARGV[6] == ARGV[1] or redis.call('HEXISTS', KEYS[1], ARGV[6]) == 0 then return false end
  return redis.call('HEXISTS', KEYS[5], 'paused') == 0
end
if isNew == 1 and redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 and not isResumed() then
  redis.call('HSET', KEYS[2], 'paused', 1)
end
redis.call('XADD', KEYS[4], 'MAXLEN', 1, '*', 'queue', ARGV[1])
`);

/**
 * Parses a stored entry. Returns no entry for a text of another form, or for a name that this
 * engine does not give: BullMQ refuses some of them, and one is the name of the queue of ticks.
 */
function entryOf(queue: string, text: string): CatalogEntry[] {
  const { label, task: stored, concurrency, prioritized } = storedObject(text);
  const task = typeof stored === 'string' ? stored : undefined;
  if (typeof label !== 'string' || !isQueueName(queue, label, task)) return [];
  return [
    {
      queue,
      label,
      task,
      concurrency: typeof concurrency === 'number' ? concurrency : undefined,
      prioritized: prioritized === true || undefined,
    },
  ];
}
