// From enqueue to done at 100 callers, one process that enqueues and runs: each caller awaits its enqueue, then makes the next.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue, Worker } from 'bullmq';
import { TaskManager } from '../dist/index.js';
import { startRedis } from './lib/redis.js';
import { compare } from './lib/rounds.js';

const callers = 100;
const each = 100;

/** @param {(n: number) => Promise<unknown>} enqueue @param {Promise<void>} done */
async function perSecond(enqueue, done) {
  const started = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let n = 0; n < each; n++) await enqueue(n);
    }),
  );
  await done;
  return (callers * each) / ((performance.now() - started) / 1000);
}

/** Resolves when it was called so many times. @param {number} times */
function counter(times) {
  let left = times;
  /** @type {() => void} */
  let resolve = () => {};
  const done = new Promise((/** @type {(value: void) => void} */ settle) => {
    resolve = settle;
  });
  return {
    done,
    count: () => {
      left -= 1;
      if (left === 0) resolve();
    },
  };
}

const redis = await startRedis(6398);
const connection = { host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: null };
const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-bench-'));
let round = 0;

await compare('enqueue to done, 100 callers', {
  unit: 'tasks a second',
  peerName: 'BullMQ on Redis, everysec',
  rounds: 7,
  async ours() {
    const { count, done } = counter(callers * each + 1);
    const tasks = new TaskManager({ database: join(folder, `${round++}.db`), logger: false, concurrency: 100 });
    const noop = tasks.task('noop', count);
    await tasks.start();
    await noop.enqueue();
    const result = await perSecond(() => noop.enqueue(), done);
    await tasks.stop();
    return result;
  },
  async peer() {
    const { count, done } = counter(callers * each + 1);
    const queue = new Queue(`drain${round}`, { connection });
    const worker = new Worker(`drain${round}`, async () => count(), { connection, concurrency: 100 });
    await queue.add('noop', {});
    const result = await perSecond(() => queue.add('noop', {}), done);
    await worker.close();
    await queue.close();
    return result;
  },
});
rmSync(folder, { recursive: true, force: true });
redis.stop();
