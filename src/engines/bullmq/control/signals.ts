import type { Redis } from 'ioredis';
import { Background } from '../../../background.js';
import { runInEmptyContext } from '../../../empty-context.js';
import type { Logger } from '../../../options.js';
import { waitUnref } from '../../../waiting.js';
import { endConnection } from '../connection/connections.js';
import {
  connectRedis,
  placeOf,
  plainError,
  RedisTimeout,
  whenReady,
  withinTime,
} from '../connection/redis-connection.js';

/** Milliseconds. */
const times = {
  /** How long Redis holds a read if no signal comes. */
  idle: 5000,
  /** The same while requests are still open. */
  open: 500,
  /** How much longer a read may take before it counts as failed. */
  dead: 3000,
  /** The pause after a signal. Many may come at once, and each round reads all requests. */
  pause: 100,
  /** The pause after a failure. */
  retry: 500,
};

/** After this many failures in a row, which take a few seconds, they are logged. */
const maxSilent = 4;

interface SignalsDeps {
  /** The connection that is duplicated. */
  redis: Redis;
  /** The stream of signals. */
  key: string;
  /** Notes whether `look` succeeds. */
  work: Background;
  logger: Logger;
  /**
   * Does what a signal asks for, on another connection. Resolves to whether it must be repeated
   * soon, because requests are still open.
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
 * outdate. If its own connection fails, the process looks about once a second.
 */
export class Signals {
  readonly #deps: SignalsDeps;
  readonly #redis: Redis;
  readonly #waiting: Background;
  /** Failures in a row of the own connection, while the process could look. */
  #failures = 0;
  #closed = false;

  constructor(deps: SignalsDeps) {
    this.#deps = deps;
    this.#waiting = new Background(
      deps.logger,
      'waiting for signals about new queues and tasks to cancel',
    );
    this.#redis = connectRedis(deps.redis);
  }

  start(): void {
    void runInEmptyContext(() => this.#listen());
  }

  close(): void {
    this.#closed = true;
    endConnection(this.#redis);
  }

  async #listen(): Promise<void> {
    const { look, work } = this.#deps;
    while (!this.#closed) {
      const [position] = await Promise.allSettled([this.#position()]);
      try {
        const isOpen = await look();
        work.worked();
        await this.#wait(position, isOpen ? times.open : times.idle);
      } catch (error) {
        if (this.#closed) return;
        // Other log lines say that Redis is unreachable.
        this.#failures = 0;
        work.failed(error);
        await waitUnref(times.retry);
      }
    }
  }

  /** Returns the id of the last signal. */
  async #position(): Promise<string> {
    await whenReady(this.#redis);
    const [last] = await withinTime(this.#redis.xrevrange(this.#deps.key, '+', '-', 'COUNT', 1));
    return last?.[0] ?? '0-0';
  }

  /** Waits for a signal after the given one. Never rejects. */
  async #wait(position: PromiseSettledResult<string>, block: number): Promise<void> {
    try {
      if (position.status === 'rejected') throw position.reason;
      if (this.#closed) return;
      const reading = this.#redis.xread(
        'COUNT',
        1,
        'BLOCK',
        block,
        'STREAMS',
        this.#deps.key,
        position.value,
      );
      const signal = await withinTime(reading, block + times.dead);
      this.#failures = 0;
      this.#waiting.worked();
      if (signal) await waitUnref(times.pause);
    } catch (error) {
      await this.#failed(error);
    }
  }

  async #failed(error: unknown): Promise<void> {
    if (this.#closed) return;
    this.#failures += 1;
    if (this.#failures >= maxSilent)
      this.#waiting.failed(plainError(error), { redis: placeOf(this.#redis) });
    // The connection may be dead although neither end has closed it.
    if (error instanceof RedisTimeout && this.#redis.status === 'ready')
      this.#redis.disconnect(true);
    await waitUnref(times.retry);
  }
}
