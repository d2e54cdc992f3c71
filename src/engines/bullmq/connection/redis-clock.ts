import type { Redis } from 'ioredis';
import type { Logger } from '../../../options.js';
import { placeOf } from './redis-connection.js';
import { infoField } from './redis-info.js';

/**
 * Milliseconds by which the clock of this process differs from that of Redis when it counts as
 * wrong, and below which it counts as right again.
 */
const difference = { wrong: 2000, right: 1000 };

/** Returns the time of Redis in an answer to `INFO server`, in Unix milliseconds. */
function timeOf(info: string): number | undefined {
  const microseconds = infoField(info, 'server_time_usec');
  return microseconds === undefined ? undefined : Math.floor(Number(microseconds) / 1000);
}

/** Reads the time of Redis. Unix milliseconds. */
export async function redisTime(redis: Redis): Promise<number> {
  return timeOf(await redis.info('server')) ?? Date.now();
}

/**
 * The clock of Redis. All processes judge by it which processes live, because the clock of a host
 * may be wrong. It logs one `error` line when the clock of this process differs from it, and one
 * `info` line when both agree again.
 */
export class RedisClock {
  readonly #redis: Redis;
  readonly #logger: Logger;
  #isWrong = false;

  constructor(redis: Redis, logger: Logger) {
    this.#redis = redis;
    this.#logger = logger;
  }

  /** Returns the time of Redis in Unix milliseconds. */
  async now(): Promise<number> {
    return timeOf(await this.info()) ?? Date.now();
  }

  /** Returns the answer to `INFO server`, which has the time of Redis, and compares the clocks. */
  async info(): Promise<string> {
    const asked = Date.now();
    const info = await this.#redis.info('server');
    this.#compare(asked, timeOf(info), Date.now());
    return info;
  }

  /**
   * Redis read its clock between `asked` and `answered`. The clocks differ only if its time is
   * outside of that span.
   */
  #compare(asked: number, time: number | undefined, answered: number): void {
    // This clock may have been set back in between.
    if (time === undefined || answered < asked) return;
    const ahead = Math.max(0, asked - time) - Math.max(0, time - answered);
    const isWrong = Math.abs(ahead) > (this.#isWrong ? difference.right : difference.wrong);
    if (isWrong === this.#isWrong) return;
    this.#isWrong = isWrong;
    const fields = { redis: placeOf(this.#redis), secondsAhead: Math.round(ahead / 100) / 10 };
    if (isWrong)
      this.#logger.error(fields, 'the clock of this process differs from the clock of Redis');
    else
      this.#logger.info(fields, 'the clock of this process agrees with the clock of Redis again');
  }
}
