import { type BackendFactory, Queue, type QueueOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { RedisQueueBackend } from '../connection/bullmq-version.js';
import { backendArguments, EngineConnection } from '../connection/engine-connection.js';
import type { EngineKeys } from '../keys.js';
import { keptEvents } from './queue-catalog.js';

/** BullMQ's queue objects, created when they are needed. All share one connection. */
export class Queues {
  readonly #redis: Redis;
  readonly #keys: EngineKeys;
  readonly #queues = new Map<string, Queue>();

  constructor(redis: Redis, keys: EngineKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  get(name: string): Queue {
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = openQueue(name, this.#redis, this.#keys, {
        streams: { events: { maxLen: keptEvents } },
      });
      this.#queues.set(name, queue);
    }
    return queue;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
  }
}

/** Opens a queue of BullMQ on a connection that stays open when the queue is closed. */
export function openQueue(
  name: string,
  redis: Redis,
  { prefix }: EngineKeys,
  opts: Omit<QueueOptions, 'connection' | 'prefix'>,
): Queue {
  const backend: BackendFactory<RedisQueueBackend> = (queue, all) =>
    new RedisQueueBackend(...backendArguments(new EngineConnection(redis), prefix, queue, all));
  const queue = new Queue(name, { ...opts, connection: redis, prefix }, backend);
  // Each call reports its own failure. Without a listener, BullMQ prints whole errors, and some
  // contain a password.
  queue.on('error', () => undefined);
  return queue;
}
