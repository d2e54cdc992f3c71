import type { Redis } from 'ioredis';
import type { Owners } from '../table-home.js';
import { withinTime } from './redis-connection.js';

/** Milliseconds that a sign of life holds, and that one must be missed for, while this process can look, before its process is taken for dead. */
const times = { sign: 15_000, missed: 3000 };

/** Tells living processes from dead ones by keys that each renews every second, and that go by themselves. */
export class RedisOwners implements Owners {
  readonly #redis: Redis;
  readonly #keyOf: (owner: string) => string;
  /** When each was heard of last, and since when one is missed. */
  readonly #signs = new Map<string, number>();
  readonly #missed = new Map<string, number>();

  constructor(redis: Redis, keyOf: (owner: string) => string) {
    this.#redis = redis;
    this.#keyOf = keyOf;
    // Who was away cannot tell who else was.
    redis.on('close', () => this.#missed.clear());
  }

  async take(owner: string): Promise<void> {
    this.sign(owner);
  }

  async isAlive(owner: string): Promise<boolean> {
    let sign: string | null;
    try {
      sign = await withinTime(this.#redis.get(this.#keyOf(owner)));
    } catch {
      // Who cannot ask says of nobody that he is dead.
      return true;
    }
    if (sign !== null) {
      this.#signs.set(owner, Number(sign));
      this.#missed.delete(owner);
      return true;
    }
    // A Redis that was down for a while has lost the signs of all: they have the time to give new ones.
    const since = this.#missed.get(owner) ?? Date.now();
    this.#missed.set(owner, since);
    return Date.now() - since < times.missed;
  }

  sign(owner: string): void {
    const now = Date.now();
    this.#signs.set(owner, now);
    // Nobody's life depends on one of them.
    if (this.#redis.status === 'ready') this.#redis.set(this.#keyOf(owner), now, 'PX', times.sign).catch(() => undefined);
  }

  lastSign(owner: string, now: number): number {
    return Math.max(0, Math.round(now - (this.#signs.get(owner) ?? now)) / 1000);
  }

  forget(owner: string): void {
    this.#signs.delete(owner);
    this.#missed.delete(owner);
  }

  async release(owner: string): Promise<void> {
    if (this.#redis.status === 'ready') await withinTime(this.#redis.del(this.#keyOf(owner))).catch(() => undefined);
  }
}
