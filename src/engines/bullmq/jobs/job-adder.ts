import {
  type IRedisTransaction,
  type JobJson,
  QueueKeys,
  type RedisClient,
  type RedisConnection,
} from 'bullmq';
import type { Redis } from 'ioredis';
import { RedisQueueBackend } from '../connection/bullmq-version.js';
import { backendArguments, EngineConnection } from '../connection/engine-connection.js';
import type { EngineKeys } from '../keys.js';

/** Adds jobs to any queue with BullMQ's own scripts, over one connection of the caller. */
export class JobAdder {
  readonly #connection: RedisConnection;
  readonly #backend: RedisQueueBackend;
  readonly #names: QueueKeys;
  readonly #keysOf = new Map<string, ReturnType<QueueKeys['getKeys']>>();

  constructor(redis: Redis, { prefix }: EngineKeys) {
    this.#names = new QueueKeys(prefix);
    this.#connection = new EngineConnection(redis);
    // Only the scripts of this backend are used, so it needs no queue and no connection of its own.
    const args = backendArguments(this.#connection, prefix, '', { connection: redis });
    this.#backend = new RedisQueueBackend(...args, undefined, false);
  }

  /** The connection, once BullMQ's scripts are defined on it. */
  get client(): Promise<RedisClient> {
    return this.#connection.client;
  }

  /** Adds a job and resolves to its id. In a transaction, only `exec` returns the answer. */
  add(client: RedisClient | IRedisTransaction, queue: string, job: JobJson): Promise<string> {
    return this.#backend.addJobToTransaction(client, job, job.id, {}, this.#queueKeys(queue));
  }

  #queueKeys(queue: string): ReturnType<QueueKeys['getKeys']> {
    let keys = this.#keysOf.get(queue);
    if (!keys) {
      keys = this.#names.getKeys(queue);
      this.#keysOf.set(queue, keys);
    }
    return keys;
  }
}
