import type { Redis } from 'ioredis';
import type { EngineKeys } from '../keys.js';
import { RedisQueueBackend } from './bullmq-version.js';
import { endConnection } from './connections.js';
import { backendArguments, EngineConnection } from './engine-connection.js';
import { keepDatabase } from './redis-connection.js';
import { isAnswer } from './redis-errors.js';

/** What the backend of a worker is connected with. */
export interface WorkerDeps {
  /** Shared by all queues of this process. Its commands wait while Redis is unreachable. */
  redis: Redis;
  keys: EngineKeys;
  /** The name of this process in lists of workers. */
  name: string;
}

/** Milliseconds between two fetches that Redis refuses. */
const refusedDelay = 1000;

type BackendArguments = ConstructorParameters<typeof RedisQueueBackend>;

/**
 * BullMQ's own backend for a worker, with a connection of its own that waits for jobs. BullMQ waits
 * for the end of that connection when a worker closes, which ioredis never reports while it
 * connects. This backend ends it in any state.
 *
 * After a failed fetch, BullMQ's worker does not know when the next job is due, and would wait up
 * to ten seconds. This backend makes it ask at once, until an answer says so.
 */
export class WaitingBackend extends RedisQueueBackend {
  readonly #waiting: Redis | undefined;
  /** Whether the last fetch, or the last wait for a job, failed. */
  #hasFailed = false;

  constructor(waiting: Redis | undefined, ...rest: BackendArguments) {
    super(...rest);
    this.#waiting = waiting;
  }

  override async disconnectBlocking(wait = true): Promise<void> {
    if (this.#waiting?.status === 'ready') return super.disconnectBlocking(wait);
    if (this.#waiting && this.#waiting.status !== 'end') endConnection(this.#waiting);
  }

  override async waitForJob(timeout: number): ReturnType<RedisQueueBackend['waitForJob']> {
    if (this.#hasFailed) return null;
    try {
      return await super.waitForJob(timeout);
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }

  override async moveToActive(token: string, name?: string): Promise<unknown[]> {
    try {
      const answer = await super.moveToActive(token, name);
      this.#hasFailed = false;
      return answer;
    } catch (error) {
      this.#hasFailed = true;
      // Without this pause, the worker would ask again at once.
      if (isAnswer(error)) await new Promise((resolve) => setTimeout(resolve, refusedDelay));
      throw error;
    }
  }
}

/** The connections and keys of a worker's backend: the first one waits for jobs. */
export function workerArguments(
  { redis, keys, name }: WorkerDeps,
  queue: string,
  opts: BackendArguments[4],
): [waiting: Redis, ...rest: BackendArguments] {
  // The name by which BullMQ lists workers.
  const connectionName = `${keys.prefix}:${Buffer.from(queue).toString('base64')}:w:${name}`;
  const waiting = keepDatabase(redis.duplicate({ connectionName }));
  const main = new EngineConnection(redis, { shared: true, blocking: false });
  const blocking = new EngineConnection(waiting, { shared: false, blocking: true });
  return [waiting, ...backendArguments(main, keys.prefix, queue, opts), blocking];
}
