import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import { endConnection } from '../connection/connections.js';
import { connectRedis, RedisTimeout, whenReady, withinTime } from '../connection/redis-connection.js';

/**
 * Milliseconds: how long Redis holds a read if no signal comes, after what time more a read without
 * an answer counts as failed, the pause between two rounds, and the pause after a failure.
 */
const times = { idle: 5000, open: 500, dead: 3000, pause: 20, retry: 500 };

interface SignalsParts {
  /** The connection that is duplicated. */
  redis: Redis;
  /** The stream of signals. */
  key: string;
  work: Background;
  /**
   * Does what a signal asks for. Resolves to whether it must be repeated soon, because requests are
   * still open.
   */
  look(): Promise<boolean>;
}

/**
 * Wakes a process when another one adds a queue or cancels a running task. A signal is an entry of
 * a stream. It says nothing more, so the stream keeps only the last one. An idle process waits for
 * it on a connection of its own, which costs less than asking twice a second.
 *
 * Each round reads the position in the stream before it looks, and waits after that. So a signal
 * that comes meanwhile ends the wait at once, and no position is kept that a failover could
 * outdate.
 */
export class Signals {
  readonly #parts: SignalsParts;
  readonly #redis: Redis;
  #closed = false;

  constructor(parts: SignalsParts) {
    this.#parts = parts;
    this.#redis = connectRedis(parts.redis);
  }

  start(): void {
    void runInEmptyContext(() => this.#listen());
  }

  close(): void {
    this.#closed = true;
    endConnection(this.#redis);
  }

  async #listen(): Promise<void> {
    const { work } = this.#parts;
    while (!this.#closed) {
      try {
        await this.#round();
        work.worked();
      } catch (error) {
        if (this.#closed) return;
        work.failed(error);
        // The connection may be dead although neither end has closed it.
        if (error instanceof RedisTimeout && this.#redis.status === 'ready') this.#redis.disconnect(true);
        await wait(times.retry, undefined, { ref: false });
      }
    }
  }

  async #round(): Promise<void> {
    const { key, look } = this.#parts;
    await whenReady(this.#redis);
    const [last] = await withinTime(this.#redis.xrevrange(key, '+', '-', 'COUNT', 1));
    const block = (await look()) ? times.open : times.idle;
    if (this.#closed) return;
    await withinTime(this.#redis.xread('COUNT', 1, 'BLOCK', block, 'STREAMS', key, last?.[0] ?? '0-0'), block + times.dead);
    // Many signals may come at once.
    await wait(times.pause, undefined, { ref: false });
  }
}
