import { Worker } from 'node:worker_threads';
import type { Redis } from 'ioredis';
import { packageFile } from '../../package-files.js';
import type { Owners } from '../table-home.js';
import { forThread, type RedisConnection, withinTime } from './redis-connection.js';
import type { SignOrders } from './sign-thread.js';

/** Milliseconds that a sign of life holds, and that one must be missed for, while this process can look, before its process is taken for dead. */
const times = { sign: 15_000, missed: 3000 };

const threadFile = packageFile('dist/engines/bullmq/sign-thread.js');

/**
 * Tells living processes from dead ones by keys that each renews every second, and that go by themselves. While its event loop
 * is busy with a task, a thread renews that of its process.
 */
export class RedisOwners implements Owners {
  readonly #redis: Redis;
  readonly #keyOf: (owner: string) => string;
  /** When each was heard of last, and since when one is missed. */
  readonly #signs = new Map<string, number>();
  readonly #missed = new Map<string, number>();
  readonly #turned = new BigInt64Array(new SharedArrayBuffer(8));
  #owner: string | undefined;
  #thread: Worker | undefined;

  constructor(redis: Redis, keyOf: (owner: string) => string) {
    this.#redis = redis;
    this.#keyOf = keyOf;
    // Who was away cannot tell who else was.
    redis.on('close', () => this.#missed.clear());
  }

  async take(owner: string): Promise<void> {
    this.#owner = owner;
    this.sign(owner);
  }

  /** Has a thread give the signs of this process while its loop cannot. Not where the options hold what no thread can be given. */
  standIn(connection: RedisConnection): void {
    const options = forThread(connection);
    if (this.#owner === undefined || this.#thread || options === undefined) return;
    const orders: SignOrders = { connection: options, key: this.#keyOf(this.#owner), lasts: times.sign, turned: this.#turned };
    this.#thread = new Worker(threadFile, { workerData: orders, execArgv: [] });
    // Without it the process has its own signs.
    this.#thread.on('error', () => {});
    this.#thread.unref();
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
    Atomics.store(this.#turned, 0, BigInt(now));
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
    await this.#thread?.terminate();
    if (this.#redis.status === 'ready') await withinTime(this.#redis.del(this.#keyOf(owner))).catch(() => undefined);
  }
}
