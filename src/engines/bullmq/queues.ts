import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { EngineKeys } from './keys.js';
import { keptEvents } from './queue-catalog.js';

/** BullMQ's queue objects, made when they are needed. All share one connection. */
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
      queue = new Queue(name, {
        connection: this.#redis,
        prefix: this.#keys.prefix,
        streams: { events: { maxLen: keptEvents } },
      });
      // Each call reports its own failure. Without a listener, BullMQ prints whole errors, and some hold a password.
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
  }
}
