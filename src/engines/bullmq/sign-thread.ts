import { workerData } from 'node:worker_threads';
import type { RedisOptions } from 'ioredis';
import { connectRedis } from './redis-connection.js';

/** What the thread is told. */
export interface SignOrders {
  connection: RedisOptions | string;
  /** The key of its process, and the milliseconds that it lasts. */
  key: string;
  lasts: number;
  /** When the event loop of the process turned last, in Unix milliseconds. */
  turned: BigInt64Array<SharedArrayBuffer>;
}

const { connection, key, lasts, turned } = workerData as SignOrders;
const redis = connectRedis(connection);

// Whose loop turns gives its signs itself. The sign stays as old as it is: that a process is stuck can be seen.
setInterval(() => {
  const last = Number(Atomics.load(turned, 0));
  if (Date.now() - last > 2000 && redis.status === 'ready') redis.set(key, last, 'PX', lasts).catch(() => undefined);
}, 1000);
