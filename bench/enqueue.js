// Durable enqueue at 100 callers: each awaits its enqueue, then makes the next. Ours is on disk when the promise resolves.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { TaskManager } from '../dist/index.js';
import { startRedis } from './lib/redis.js';
import { compare } from './lib/rounds.js';

const callers = 100;
const each = 150;

/** @param {(n: number) => Promise<unknown>} enqueue */
async function perSecond(enqueue) {
  const started = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let n = 0; n < each; n++) await enqueue(n);
    }),
  );
  return (callers * each) / ((performance.now() - started) / 1000);
}

const redis = await startRedis();
const connection = { host: '127.0.0.1', port: redis.port };
const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-bench-'));
let round = 0;

await compare('durable enqueue, 100 callers', {
  unit: 'tasks a second',
  peerName: 'BullMQ on Redis, everysec',
  rounds: 7,
  async ours() {
    const tasks = new TaskManager({ database: join(folder, `${round++}.db`), logger: false });
    const noop = tasks.define('noop');
    await noop.enqueue('warm');
    const result = await perSecond((n) => noop.enqueue(n));
    await tasks.stop();
    return result;
  },
  async peer() {
    const queue = new Queue(`bench${round}`, { connection });
    await queue.add('noop', { n: 'warm' });
    const result = await perSecond((n) => queue.add('noop', { n }));
    await queue.close();
    return result;
  },
});
rmSync(folder, { recursive: true, force: true });
redis.stop();
